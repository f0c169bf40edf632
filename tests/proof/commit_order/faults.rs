//! What may happen to a PostgreSQL, and that it comes back.

use std::process::Command;
use std::time::{Duration, Instant};

use colsync_tests::Server;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};

/// For how long it is away, or has no connection left.
const AWAY: Duration = Duration::from_millis(400);
const EXHAUSTED: Duration = Duration::from_millis(2_500);

/// How long what is left of a killed one may be in the way.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Stopped at once, as a crash would.
    Stopped,
    /// Stopped as an administrator does, and started.
    Restarted,
    /// Its first process killed.
    Killed,
    /// One of the server's own backends killed, which takes all others along.
    BackendKilled,
    /// Every connection taken by others.
    Exhausted,
}

pub(crate) const ALL: [Fault; 5] = [
    Fault::Stopped,
    Fault::Restarted,
    Fault::Killed,
    Fault::BackendKilled,
    Fault::Exhausted,
];

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Stopped => "postgres_stopped_at_once",
            Fault::Restarted => "postgres_restarted",
            Fault::Killed => "postgres_killed",
            Fault::BackendKilled => "backends_killed",
            Fault::Exhausted => "connections_exhausted",
        }
    }

    /// Has it happen, and leaves a PostgreSQL that answers.
    pub(crate) fn happen(self, server: &Server) {
        let cluster = server.cluster();
        match self {
            Fault::Stopped => {
                cluster.stop();
                std::thread::park_timeout(AWAY);
                cluster.resume();
            }
            Fault::Restarted => {
                cluster.stop_fast();
                cluster.resume();
            }
            Fault::Killed => {
                cluster.kill_9();
                std::thread::park_timeout(AWAY);
                let started = Instant::now();
                while !cluster.try_resume() {
                    assert!(started.elapsed() < PATIENCE, "PostgreSQL stays away");
                }
            }
            Fault::BackendKilled => {
                let pids = server.column(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                     AND pid <> pg_backend_pid() LIMIT 1",
                );
                for pid in pids.into_iter().flatten() {
                    let killed = Command::new("kill").args(["-KILL", &pid]).status();
                    assert!(killed.unwrap().success());
                }
                until_it_answers(server);
            }
            Fault::Exhausted => exhaust(server),
        }
    }
}

fn until_it_answers(server: &Server) {
    let started = Instant::now();
    // It begins to refuse a moment after the kill.
    std::thread::park_timeout(AWAY);
    while PgConnection::establish(&server.url()).is_err() {
        assert!(started.elapsed() < PATIENCE, "PostgreSQL stays away");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Takes every connection that there is, those of the server too, and keeps them for a while.
fn exhaust(server: &Server) {
    let mut taken: Vec<PgConnection> = Vec::new();
    let take_all = |taken: &mut Vec<PgConnection>| {
        while let Ok(mut conn) = PgConnection::establish(&server.url()) {
            conn.batch_execute("SET application_name = 'taken'")
                .unwrap();
            taken.push(conn);
        }
    };
    take_all(&mut taken);
    let started = Instant::now();
    while started.elapsed() < EXHAUSTED {
        // Whoever has one has to ask for another, and finds that there is none.
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \
                      datname = current_database() AND pid <> pg_backend_pid() \
                      AND application_name <> 'taken'";
        taken[0].batch_execute(others).unwrap();
        take_all(&mut taken);
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
