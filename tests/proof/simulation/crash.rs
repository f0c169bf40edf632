//! Ends the work of a client or of the server at one of its steps, as a kill does: whatever it held in memory is
//! gone, and its open transaction is rolled back.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use colsync_shared::step::{self, OF_CLIENT, OF_SERVER};

/// A death to come: where this step is reached for the nth time more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    step: &'static str,
    left: u8,
}

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
    static OWN: RefCell<Option<Death>> = const { RefCell::new(None) };
}

static SERVERS: Mutex<Option<Death>> = Mutex::new(None);
static SERVER_DIED: AtomicBool = AtomicBool::new(false);
/// Whether the server's writer is at work.
static WRITES: AtomicBool = AtomicBool::new(false);

/// What a thread dies of.
struct Killed;

impl Death {
    /// At a step of a client.
    pub(super) fn of_client(number: usize, nth: u8) -> Death {
        Death {
            step: OF_CLIENT[number % OF_CLIENT.len()],
            left: nth,
        }
    }

    /// At a step of the server.
    pub(super) fn of_server(number: usize, nth: u8) -> Death {
        Death {
            step: OF_SERVER[number % OF_SERVER.len()],
            left: nth,
        }
    }
}

/// Hears of all steps from now on.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| step::on_each(reached));
}

fn reached(step: &'static str) {
    let dies = if IS_CLIENT.get() {
        OWN.with_borrow_mut(|death| comes(death, step))
    } else {
        let mut death = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = comes(&mut death, step);
        if dies {
            SERVER_DIED.store(true, Ordering::SeqCst);
        }
        match step {
            "push.taken" => WRITES.store(!dies, Ordering::SeqCst),
            "push.answered" => WRITES.store(false, Ordering::SeqCst),
            _ => {}
        }
        dies
    };
    if dies {
        // Without a panic's message.
        resume_unwind(Box::new(Killed));
    }
}

fn comes(death: &mut Option<Death>, reached: &str) -> bool {
    let Some(awaited) = death else {
        return false;
    };
    if awaited.step != reached {
        return false;
    }
    awaited.left -= 1;
    let is_now = awaited.left == 0;
    if is_now {
        *death = None;
    }
    is_now
}

/// This thread is a client's, and dies by `death`.
pub(super) fn in_client(death: Option<Death>) {
    IS_CLIENT.set(true);
    OWN.set(death);
}

/// The server dies by `death`, if that is any.
pub(super) fn in_server(death: Option<Death>) {
    *SERVERS.lock().unwrap_or_else(PoisonError::into_inner) = death;
}

/// Whether a death of the server's is to come.
pub(super) fn is_awaited() -> bool {
    let death = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    death.is_some()
}

/// Waits until the server's writer, who goes on for a moment after it has answered, is through with what it does or
/// has died of it. So it is not left to chance which request a death belongs to.
pub(super) fn until_written() {
    let begun = Instant::now();
    while WRITES.load(Ordering::SeqCst) && !SERVER_DIED.load(Ordering::SeqCst) {
        assert!(begun.elapsed() < LONG, "the server's writer does not end");
        std::thread::yield_now();
    }
    WRITES.store(false, Ordering::SeqCst);
}

/// Longer than any transaction takes.
const LONG: Duration = Duration::from_secs(60);

/// Whether the server has died since this was asked last.
pub(super) fn server_died() -> bool {
    SERVER_DIED.swap(false, Ordering::SeqCst)
}
