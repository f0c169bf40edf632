//! The commit queue: requests wait here for a writer, which commits all that is waiting at once.
//!
//! A commit's cost is shared by the requests in flight, and each is still answered only after its own
//! durable commit. The queue is bounded: when it is full, a request is refused, not kept waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::edges;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::sync::commit;
use crate::sync::submission::{Answer, Refusal, Submission};

/// Edits that one transaction takes at the most; a larger submission goes by itself.
const BATCH_EDITS: usize = 4_096;

struct Waiting {
    submission: Submission,
    answer: oneshot::Sender<Answer>,
}

/// The door of the queue; cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: SyncSender<Waiting>,
    depth: Arc<AtomicUsize>,
}

/// The writers behind the queue. They end when the last [`Queue`] is gone and everything is answered.
pub(crate) struct Writers(Vec<JoinHandle<()>>);

/// Opens a queue of `capacity` submissions with `writers` threads that commit to `store`.
pub(crate) fn open(
    store: &Arc<Store>,
    metrics: &Arc<Metrics>,
    capacity: usize,
    writers: usize,
) -> (Queue, Writers) {
    let (sender, receiver) = sync_channel(capacity);
    let receiver = Arc::new(Mutex::new(receiver));
    let depth = Arc::new(AtomicUsize::new(0));
    let threads = (0..writers.max(1)).map(|_| {
        let (receiver, store) = (receiver.clone(), store.clone());
        let (metrics, depth) = (metrics.clone(), depth.clone());
        std::thread::spawn(move || write(&receiver, &store, &metrics, &depth))
    });
    let threads = threads.collect();
    (Queue { sender, depth }, Writers(threads))
}

impl Queue {
    /// Hands `submission` to a writer and waits for its commit.
    pub(crate) async fn submit(&self, submission: Submission) -> Answer {
        let (answer, committed) = oneshot::channel();
        self.depth.fetch_add(1, Ordering::Relaxed);
        match self.sender.try_send(Waiting { submission, answer }) {
            Ok(()) => committed.await.unwrap_or(Err(Refusal::Internal)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.depth.fetch_sub(1, Ordering::Relaxed);
                Err(Refusal::Busy)
            }
        }
    }
}

impl Writers {
    /// Waits until everything accepted is committed and answered. The queue must be closed.
    pub(crate) fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                log::error!("a writer thread panicked");
            }
        }
    }
}

fn write(
    receiver: &Mutex<Receiver<Waiting>>,
    store: &Store,
    metrics: &Metrics,
    depth: &AtomicUsize,
) {
    let mut conn = None;
    while let Some(batch) = take(receiver) {
        let left = depth
            .fetch_sub(batch.len(), Ordering::Relaxed)
            .saturating_sub(batch.len());
        metrics.queued(left);
        let edits = batch
            .iter()
            .map(|waiting| waiting.submission.items.len())
            .sum();
        let started = Instant::now();
        let answers = commit_batch(&mut conn, store, &batch);
        metrics.committed(edits, started.elapsed());
        let answers = answers.unwrap_or_else(|refusal| vec![Err(refusal); batch.len()]);
        for (waiting, answer) in batch.into_iter().zip(answers) {
            for receipt in answer.iter().flat_map(|accepted| &accepted.receipts) {
                metrics.receipt(receipt);
            }
            // A requester that went away has its edits committed all the same.
            drop(waiting.answer.send(answer));
        }
    }
}

/// All that is waiting, up to the bound; `None` when the queue is closed and empty.
fn take(receiver: &Mutex<Receiver<Waiting>>) -> Option<Vec<Waiting>> {
    let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
    let first = receiver.recv().ok()?;
    let mut edits = first.submission.items.len();
    let mut batch = vec![first];
    while edits < BATCH_EDITS {
        let Ok(next) = receiver.try_recv() else { break };
        edits += next.submission.items.len();
        batch.push(next);
    }
    Some(batch)
}

fn commit_batch(
    conn: &mut Option<crate::store::Pooled>,
    store: &Store,
    batch: &[Waiting],
) -> Result<Vec<Answer>, Refusal> {
    let submissions: Vec<&Submission> = batch.iter().map(|waiting| &waiting.submission).collect();
    let schema = store.schema();
    let committed = match conn.take().map_or_else(|| store.connect(), Ok) {
        Ok(mut open) => {
            let committed = commit::commit_batch(&mut open, &schema, &submissions, edges::now());
            // After a failure the connection may be the cause: the next batch gets a fresh one.
            if committed.is_ok() {
                *conn = Some(open);
            }
            committed
        }
        Err(unreachable) => Err(unreachable),
    };
    committed.map_err(|failure| match failure {
        StoreError::Unavailable(cause) => {
            log::warn!(
                "commit of {} requests: database unavailable: {cause}",
                batch.len()
            );
            Refusal::Unavailable
        }
        failure @ (StoreError::Retry(_) | StoreError::Raced) => {
            log::warn!("commit of {} requests: gave up: {failure}", batch.len());
            Refusal::Busy
        }
        failure => {
            log::error!("commit of {} requests: {failure}", batch.len());
            Refusal::Internal
        }
    })
}
