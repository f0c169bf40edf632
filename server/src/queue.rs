//! The commit queue: requests wait here for a writer, which commits all that is waiting at once.
//!
//! A commit's cost is shared by the requests in flight, and each is still answered only after its own
//! durable commit. The queue is bounded: when it is full, a request is refused, not kept waiting.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use colsync_shared::step;
use tokio::sync::oneshot;

use crate::edges;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::sync::commit;
use crate::sync::submission::{Answer, Refusal, Submission};

/// Edits that one transaction takes at the most; a larger submission goes by itself.
const BATCH_EDITS: usize = 4_096;
/// Edits that are worth a transaction of their own, without more company.
const WORTHWHILE_EDITS: usize = 64;
/// How long a writer waits, at the most, for those that it has just answered to ask again.
const GATHERING: Duration = Duration::from_millis(2);

struct Waiting {
    submission: Submission,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn edits(&self) -> usize {
        self.submission.items.len()
    }
}

/// What waits, and who is at work.
#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Edits of all that waits.
    edits: usize,
    /// Submissions that the last transaction committed, and how long that took.
    last: (usize, Duration),
    /// So many submissions a writer waits for, a little while.
    awaited: Option<usize>,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

/// The door of the queue; cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Door>);

/// Closes the queue when its last holder is gone.
struct Door(Arc<Shared>);

/// The writers behind the queue. They end when the last [`Queue`] is gone and everything is answered.
pub(crate) struct Writers(Vec<JoinHandle<()>>);

/// Opens a queue of `capacity` submissions with `writers` threads that commit to `store`.
pub(crate) fn open(
    store: &Arc<Store>,
    metrics: &Arc<Metrics>,
    capacity: usize,
    writers: usize,
) -> (Queue, Writers) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        changed: Condvar::new(),
        capacity,
    });
    let threads = (0..writers.max(1)).map(|_| {
        let (shared, store, metrics) = (shared.clone(), store.clone(), metrics.clone());
        std::thread::spawn(move || write(&shared, &store, &metrics))
    });
    let threads = threads.collect();
    (Queue(Arc::new(Door(shared))), Writers(threads))
}

impl Queue {
    /// Hands `submission` to a writer and waits for its commit.
    pub(crate) async fn submit(&self, submission: Submission) -> Answer {
        let (answer, committed) = oneshot::channel();
        if !self.0.0.add(Waiting { submission, answer }) {
            return Err(Refusal::Busy);
        }
        step::reach("push.queued");
        committed.await.unwrap_or(Err(Refusal::Internal))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room for it.
    fn add(&self, new: Waiting) -> bool {
        let mut state = self.lock();
        if state.waiting.len() >= self.capacity {
            return false;
        }
        state.edits += new.edits();
        state.waiting.push_back(new);
        match state.awaited {
            // Whoever gathers is to hear it, and not another.
            Some(many) if state.waiting.len() >= many || state.is_worthwhile() => {
                drop(state);
                self.changed.notify_all();
            }
            None => {
                drop(state);
                self.changed.notify_one();
            }
            Some(_) => {}
        }
        true
    }

    /// What the next transaction is to commit; `None` when the queue is closed and empty.
    fn take(&self) -> Option<(Vec<Waiting>, Work<'_>)> {
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() && state.awaited.is_none() {
                state = self.gather(state);
                let batch = state.take_batch();
                let edits: usize = batch.iter().map(Waiting::edits).sum();
                if !state.waiting.is_empty() {
                    self.changed.notify_one();
                }
                let work = Work {
                    shared: self,
                    submissions: batch.len(),
                    edits,
                    begun: Instant::now(),
                };
                return Some((batch, work));
            }
            if state.closed && state.waiting.is_empty() {
                return None;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for half as many submissions as the last transaction answered, but not longer than half of what that
    /// took: whoever was answered is likely to ask again, and then shares the commit. The other half come while
    /// this one is committed.
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let (answered, took) = state.last;
        let many = answered / 2;
        let until = Instant::now() + GATHERING.min(took / 2);
        state.awaited = Some(many);
        while state.waiting.len() < many && !state.is_worthwhile() && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.awaited = None;
        state
    }
}

impl State {
    fn is_worthwhile(&self) -> bool {
        self.edits >= WORTHWHILE_EDITS
    }

    /// All that is waiting, up to the bound.
    fn take_batch(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::with_capacity(self.waiting.len());
        let mut edits = 0;
        while edits < BATCH_EDITS
            && let Some(next) = self.waiting.pop_front()
        {
            edits += next.edits();
            batch.push(next);
        }
        self.edits -= edits;
        batch
    }
}

/// A transaction under way. What it has taken is known when it ends, also where it ends by a panic.
struct Work<'a> {
    shared: &'a Shared,
    submissions: usize,
    edits: usize,
    begun: Instant,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.shared.lock().last = (self.submissions, self.begun.elapsed());
    }
}

fn write(shared: &Shared, store: &Store, metrics: &Metrics) {
    let mut conn = None;
    while let Some((batch, work)) = shared.take() {
        let one = AssertUnwindSafe(|| {
            step::reach("push.taken");
            metrics.queued(shared.lock().waiting.len());
            write_batch(&mut conn, store, metrics, batch, work);
        });
        // Whoever waited is told by the end of the channel, and the next are not kept waiting for nobody.
        if catch_unwind(one).is_err() {
            log::error!("a writer panicked");
            conn = None;
        }
    }
}

fn write_batch(
    conn: &mut Option<crate::store::Pooled>,
    store: &Store,
    metrics: &Metrics,
    batch: Vec<Waiting>,
    work: Work<'_>,
) {
    let answers = commit_batch(conn, store, &batch);
    metrics.committed(work.edits, work.begun.elapsed());
    drop(work);
    let answers = answers.unwrap_or_else(|refusal| vec![Err(refusal); batch.len()]);
    for (waiting, answer) in batch.into_iter().zip(answers) {
        for receipt in answer.iter().flat_map(|accepted| &accepted.receipts) {
            metrics.receipt(receipt);
        }
        // A requester that went away has its edits committed all the same.
        drop(waiting.answer.send(answer));
    }
    step::reach("push.answered");
}

fn commit_batch(
    conn: &mut Option<crate::store::Pooled>,
    store: &Store,
    batch: &[Waiting],
) -> Result<Vec<Answer>, Refusal> {
    let submissions: Vec<&Submission> = batch.iter().map(|waiting| &waiting.submission).collect();
    let schema = store.schema();
    let committed = match conn.take().map_or_else(|| store.connect_to_write(), Ok) {
        Ok(mut open) => {
            let committed = commit::commit_batch(&mut open, &schema, &submissions, edges::now());
            // After a failure the connection may be the cause: the next batch gets a fresh one.
            if committed.is_ok() {
                step::reach("push.committed");
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
