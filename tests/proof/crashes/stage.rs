//! A server with clients whose apps write, and the kills on it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_tests::convergence::all_become_equal;
use colsync_tests::process::said;
use colsync_tests::tables::{TODOS, WIDE};
use colsync_tests::{Backend, Client, Device, Journal, Server, Writer};
use fastrand::Rng;

use crate::beside::{SetOnDrop, write_and_sync};
use crate::counter::Counter;

/// What SIGKILL is called on.
const KILL: i32 = 9;

/// A server that has not come to a step after this never does.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all go on after a restart, before they are compared.
const AFTERWARDS: Duration = Duration::from_millis(40);

/// The device that is killed, and one whose app goes on.
const DEVICES: u64 = 2;

pub(crate) struct Stage {
    server: Server,
    /// The first is the one whose program is killed.
    devices: Vec<Device>,
    apps: Vec<Writer>,
    counters: Vec<Counter>,
    random: Rng,
}

impl Stage {
    pub(crate) fn new(backend: Backend, seed: u64) -> Stage {
        let server = Server::on(backend)
            .table(TODOS)
            .table(WIDE)
            .policy("c0", "counter")
            // A first pull of so few rows has several chunks.
            .section("[limits]\npage_rows = 10")
            .start();
        Counter::prepare(&server);
        let devices = (0..DEVICES).map(|_| Device::new(&server).tracking(TODOS));
        let devices: Vec<Device> = devices.collect();
        let apps = (1..).zip(&devices);
        let mut apps: Vec<Writer> = apps
            .map(|(number, device)| Writer::new(number, device, seed))
            .collect();
        for app in &mut apps {
            (0..60).for_each(|_| app.edit());
        }
        let stage = Stage {
            counters: vec![Counter::new(&server, 1), Counter::new(&server, 2)],
            server,
            devices,
            apps,
            random: Rng::with_seed(seed),
        };
        all_become_equal(&stage.server, &stage.devices);
        stage
    }

    /// Kills the server the nth time that it comes to `step`, and starts it again while all go on.
    pub(crate) fn kill_server_at(&mut self, step: &str) {
        let nth = self.random.u64(1..=4);
        self.server.terminate();
        self.server.resume_until(step, nth);
        let over = AtomicBool::new(false);
        let reader = self.server.client("who always begins anew");
        let (server, seed) = (&mut self.server, self.random.u64(..));
        let status = std::thread::scope(|scope| {
            let _over = SetOnDrop(&over);
            for (device, app) in self.devices.iter().zip(&mut self.apps) {
                let over = &over;
                scope.spawn(move || write_and_sync(device, app, over, seed));
            }
            for counter in &mut self.counters {
                scope.spawn(|| counter.count(&over));
            }
            scope.spawn(|| pull_from_the_beginning(&reader, &over));
            let status = end_of(server);
            server.resume();
            std::thread::park_timeout(AFTERWARDS);
            status
        });
        let signal = status.expect("the server never comes to it").signal();
        assert_eq!(signal, Some(KILL), "the server ended by itself");
    }

    /// Kills the first device's program when its sync comes to `step`, and syncs again, while its app and all others
    /// go on.
    pub(crate) fn kill_client_at(&mut self, step: &str) {
        if step.starts_with("identity") {
            self.put_an_older_file_back();
        }
        let over = AtomicBool::new(false);
        let random = &mut self.random;
        let (server, seed) = (&self.server, random.u64(..));
        let (killed, well) = self.devices.split_first().unwrap();
        let (app, others) = self.apps.split_first_mut().unwrap();
        std::thread::scope(|scope| {
            let _over = SetOnDrop(&over);
            for (device, app) in well.iter().zip(others) {
                let over = &over;
                scope.spawn(move || write_and_sync(device, app, over, seed));
            }
            scope.spawn(|| self.counters[0].count(&over));
            // The syncs beside it may not have brought anything yet, nor all edits have come to something.
            for _ in 0..20 {
                (0..random.u8(1..6)).for_each(|_| app.edit());
                if step.starts_with("resync") {
                    server.sql("DELETE FROM colsync_anchors");
                }
                let in_a_row = ["settle.row", "page.row"].contains(&step);
                let nth = if in_a_row { random.u64(1..=3) } else { 1 };
                let told = sync_until(killed, step, nth, app);
                if told.status.signal() == Some(KILL) {
                    let told = killed.run(&["sync"]);
                    assert!(told.status.success(), "after the kill: {}", said(&told));
                    return;
                }
                assert!(told.status.success(), "{}", said(&told));
            }
            panic!("the client never comes to it");
        });
    }

    /// Puts the file of the first device back to what it was before its last push.
    fn put_an_older_file_back(&mut self) {
        let (device, app) = (&self.devices[0], &mut self.apps[0]);
        let file = device.path();
        let before = app.away(device, || std::fs::read(file).unwrap());
        (0..5).for_each(|_| app.edit());
        device.client().sync().unwrap();
        app.away(device, || {
            for beside in ["-wal", "-shm"] {
                drop(std::fs::remove_file(format!("{}{beside}", file.display())));
            }
            std::fs::write(file, before).unwrap();
        });
    }

    /// Ends with a panic unless all come to the same, nothing waits, and each push has counted once.
    pub(crate) fn assert_equal(&self) {
        all_become_equal(&self.server, &self.devices);
        assert_eq!(Counter::counted(&self.server), self.counted());
    }

    /// Pushes of the counters that were answered.
    pub(crate) fn counted(&self) -> u64 {
        self.counters.iter().map(Counter::answered).sum()
    }

    /// Values that apps have written.
    pub(crate) fn values(&self) -> u64 {
        self.apps.iter().map(Writer::values).sum()
    }

    /// What of all that was written is not accounted for.
    pub(crate) fn unaccounted(self) -> Vec<String> {
        let journals = self.apps.into_iter().map(Writer::journal);
        let journal = Journal::of_all(journals.collect::<Vec<_>>());
        journal.unaccounted(&self.server, &self.devices)
    }
}

/// Waits until the server has ended by itself.
fn end_of(server: &mut Server) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let ended = server.ended();
        if ended.is_some() {
            return ended;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    server.kill_9();
    None
}

fn pull_from_the_beginning(reader: &Client, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        // Whatever becomes of the answer: the server has come to each of a pull's steps for it.
        drop(
            reader
                .request("GET", "/v1/sync/pull?tables=todos")
                .try_send(),
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Runs a sync that is killed at `step`, if it comes there; the app edits meanwhile.
fn sync_until(device: &Device, step: &str, nth: u64, app: &mut Writer) -> Output {
    let mut sync = device.command(&["sync"]);
    sync.env("COLSYNC_KILL_AT", format!("{step}:{nth}"));
    std::thread::scope(|scope| {
        let sync = scope.spawn(move || sync.output().unwrap());
        while !sync.is_finished() {
            app.edit();
            std::thread::park_timeout(Duration::from_millis(5));
        }
        sync.join().unwrap()
    })
}
