//! What goes on beside the faults: an app that edits, and its client that syncs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use colsync_client::Error;
use colsync_tests::{Device, Writer};
use fastrand::Rng;

/// Edits and syncs, through whatever the server does, until it is `over`.
///
/// # Panics
/// If a sync fails otherwise than for want of an answer.
pub(crate) fn write_and_sync(device: &Device, app: &mut Writer, over: &AtomicBool, seed: u64) {
    let mut random = Rng::with_seed(seed);
    while !over.load(Ordering::SeqCst) {
        (0..random.u8(1..4)).for_each(|_| app.edit());
        match device.client().sync() {
            Ok(_) | Err(Error::Unreachable(_)) => {}
            Err(other) => panic!("a client: {other:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(random.u64(1..30)));
    }
}

/// Ends what goes on when whoever it goes on for has come to an end, or failed.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
