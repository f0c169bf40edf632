//! The housekeeper: forgets, once an hour, what is older than the configured retention.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::edges;
use crate::store::Store;
use crate::store::error::StoreError;

const EVERY: Duration = Duration::from_secs(3_600);
const DAY_MICROS: i64 = 86_400_000_000;

/// Keeps house until it is stopped.
pub(crate) struct Housekeeper {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts keeping `store` free of what is older than `days`.
pub(crate) fn start(store: Arc<Store>, days: u32) -> Housekeeper {
    let (stop, stopped) = channel();
    let thread = std::thread::spawn(move || {
        loop {
            if let Err(failure) = purge(&store, days) {
                log::warn!("purging what is older than {days} days: {failure}");
            }
            if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    Housekeeper { stop, thread }
}

/// Forgets what is older than `days`.
pub(crate) fn purge(store: &Store, days: u32) -> Result<(), StoreError> {
    let cutoff = edges::now().shifted(-i64::from(days) * DAY_MICROS);
    store.connect()?.purge(cutoff)
}

impl Housekeeper {
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            log::error!("the housekeeper panicked");
        }
    }
}
