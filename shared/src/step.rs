//! The named steps of a push and a pull, on both sides: the points at which a crash would fall between two things
//! that belong together.
//!
//! Tests hear of each step that is reached, by the feature `steps`; they end the process there, or look. Without the
//! feature, which no program is shipped with, reaching one does nothing.

#[cfg(feature = "steps")]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "steps")]
static HOOK: std::sync::OnceLock<Box<dyn Fn(&'static str) + Send + Sync>> =
    std::sync::OnceLock::new();

/// The server's steps, in the order in which a push and then a pull come to them. From `push.begun` to
/// `push.before_commit` a transaction is open.
pub const OF_SERVER: [&str; 18] = [
    "push.read",
    "push.queued",
    "push.taken",
    "push.begun",
    "push.locked",
    "push.merged",
    "push.flushed",
    "push.ledger",
    "push.receipts",
    "push.before_commit",
    "push.committed",
    "push.answered",
    "push.sending",
    "pull.read",
    "pull.first_chunk",
    "pull.anchored",
    "pull.between_chunks",
    "pull.last_chunk",
];

/// The client's steps, in the order in which a sync comes to them. The last four are those of a client whose cursor
/// the server does not know any more, and of a copied file.
pub const OF_CLIENT: [&str; 18] = [
    "log.read",
    "freeze.before_commit",
    "freeze.frozen",
    "send.before",
    "send.answered",
    "settle.begun",
    "settle.row",
    "settle.before_commit",
    "settle.settled",
    "page.asked",
    "page.read",
    "page.row",
    "page.before_commit",
    "page.applied",
    "resync.begun",
    "resync.finished",
    "identity.before_commit",
    "identity.renewed",
];

/// Tells that the work has come to `step`, one of [`OF_SERVER`] or [`OF_CLIENT`].
#[inline]
pub fn reach(step: &'static str) {
    #[cfg(feature = "steps")]
    if let Some(hook) = HOOK.get() {
        hook(step);
    }
    #[cfg(not(feature = "steps"))]
    let _ = step;
}

/// Has `hook` called at every step from now on, in the thread that reaches it. The first hook of a process stays.
#[cfg(feature = "steps")]
pub fn on_each(hook: impl Fn(&'static str) + Send + Sync + 'static) {
    drop(HOOK.set(Box::new(hook)));
}

/// Has `end` called at the step that the environment names in `COLSYNC_KILL_AT`, if it does: `push.merged:2` is the second time that a push is merged.
///
/// # Errors
/// If what it names is no step.
#[cfg(feature = "steps")]
pub fn end_as_told(end: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
    let Ok(at) = std::env::var("COLSYNC_KILL_AT") else {
        return Ok(());
    };
    if on_nth(&at, end) {
        Ok(())
    } else {
        Err(format!("COLSYNC_KILL_AT={at} names no step"))
    }
}

/// Has `end` called when a step is reached for the nth time, as `at` tells in the form `push.merged:2`; false if it
/// names no step, or no number from 1 on.
#[cfg(feature = "steps")]
fn on_nth(at: &str, end: impl Fn() + Send + Sync + 'static) -> bool {
    let named = at.split_once(':').and_then(|(name, number)| {
        let mut all = OF_SERVER.into_iter().chain(OF_CLIENT);
        let step = all.find(|step| *step == name)?;
        let number: u64 = number.parse().ok()?;
        (number > 0).then_some((step, number))
    });
    let Some((awaited, number)) = named else {
        return false;
    };
    let reached = AtomicU64::new(0);
    on_each(move |step| {
        if step == awaited && reached.fetch_add(1, Ordering::SeqCst) + 1 == number {
            end();
        }
    });
    true
}
