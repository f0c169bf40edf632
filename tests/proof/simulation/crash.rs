//! Ends the work of a client or of the server at one of its steps, as a kill does: whatever it held in memory is
//! gone, and its open transaction is rolled back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use colsync_shared::step;

/// A death to come: where the step numbered `0` is reached for the `1`st time more.
pub(super) type Death = (usize, u8);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
    static OWN: RefCell<Option<Death>> = const { RefCell::new(None) };
}

static SERVERS: Mutex<Option<Death>> = Mutex::new(None);
static SERVER_DIED: AtomicBool = AtomicBool::new(false);
static REACHED: Mutex<(BTreeSet<&str>, BTreeSet<&str>)> =
    Mutex::new((BTreeSet::new(), BTreeSet::new()));

/// What a thread dies of.
struct Killed;

/// Hears of all steps from now on.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| step::on_each(reached));
}

fn reached(step: &'static str) {
    let is_client = IS_CLIENT.get();
    let number = {
        let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = if is_client {
            &mut reached.0
        } else {
            &mut reached.1
        };
        steps.insert(step);
        number(step)
    };
    let dies = if is_client {
        OWN.with_borrow_mut(|death| comes(death, number))
    } else {
        let mut death = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = comes(&mut death, number);
        if dies {
            SERVER_DIED.store(true, Ordering::SeqCst);
        }
        dies
    };
    if dies {
        // Without a panic's message.
        resume_unwind(Box::new(Killed));
    }
}

/// Steps are told apart by a number that does not depend on which were reached before.
fn number(step: &str) -> usize {
    step.bytes().fold(0, |sum: usize, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    }) % 16
}

fn comes(death: &mut Option<Death>, number: usize) -> bool {
    let Some((at, left)) = death else {
        return false;
    };
    if *at % 16 != number {
        return false;
    }
    *left -= 1;
    let is_now = *left == 0;
    if is_now {
        *death = None;
    }
    is_now
}

/// This thread is a client's, and dies by `death`.
pub(super) fn of_client(death: Option<Death>) {
    IS_CLIENT.set(true);
    OWN.set(death);
}

/// The server dies by `death`, unless it is none.
pub(super) fn of_server(death: Option<Death>) {
    *SERVERS.lock().unwrap_or_else(PoisonError::into_inner) = death;
}

/// Whether the server has died since this was asked last.
pub(super) fn server_died() -> bool {
    SERVER_DIED.swap(false, Ordering::SeqCst)
}

/// How many steps of clients and of the server were reached in all.
pub(super) fn steps() -> (usize, usize) {
    let reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    (reached.0.len(), reached.1.len())
}
