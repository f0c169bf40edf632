//! Where pulls wait that perhaps bring nothing, and who asks the database for all of them at once.
//!
//! Whoever comes while a question is under way waits for the next one, which is asked for all that wait then. Must not
//! know what is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::store::Store;
use crate::store::error::StoreError;
use crate::sync::feed::{Chunk, PullError, Request};
use crate::sync::idle;

/// Questions under way at the most. There is more than one only where one takes long, as for a lock on a table.
const QUESTIONS: usize = 4;
/// How long a question may take before the next is asked beside it.
const LONG: Duration = Duration::from_millis(50);

/// What a pull hears.
pub(crate) enum Heard {
    /// Its client has everything: the whole answer, and the anchor that it stays at.
    Nothing(Chunk, String),
    /// There is something to look for.
    Perhaps(Request),
}

struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Heard, PullError>>,
}

struct State {
    waiting: Vec<Waiting>,
    /// Questions under way.
    asking: usize,
    /// When the last one was asked.
    asked: Instant,
}

/// The pulls that wait.
pub(crate) struct Asker {
    store: Arc<Store>,
    state: Mutex<State>,
}

impl Asker {
    pub(crate) fn new(store: Arc<Store>) -> Arc<Asker> {
        let state = Mutex::new(State {
            waiting: Vec::new(),
            asking: 0,
            asked: Instant::now(),
        });
        Arc::new(Asker { store, state })
    }

    /// Waits for what the next question brings to `request`.
    ///
    /// # Errors
    /// As a pull.
    pub(crate) async fn ask(self: &Arc<Self>, request: Request) -> Result<Heard, PullError> {
        let (answer, told) = oneshot::channel();
        if self.add(Waiting { request, answer }) {
            let asker = self.clone();
            tokio::task::spawn_blocking(move || asker.work());
        }
        told.await.unwrap_or_else(|_gone| {
            let failure = StoreError::Other("a question ended without an answer".to_owned());
            Err(PullError::Store(failure))
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether someone has to begin to ask.
    fn add(&self, new: Waiting) -> bool {
        let mut state = self.lock();
        state.waiting.push(new);
        let begins =
            state.asking == 0 || (state.asking < QUESTIONS && state.asked.elapsed() > LONG);
        if begins {
            state.asking += 1;
            state.asked = Instant::now();
        }
        begins
    }

    /// Asks until nobody waits.
    fn work(&self) {
        let _turn = Turn(self);
        while let Some(waiting) = self.take() {
            let (requests, answers): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .map(|waiting| (waiting.request, waiting.answer))
                .unzip();
            let told = self
                .store
                .connect()
                .and_then(|mut conn| idle::answers(&mut conn, &requests));
            let told = told.unwrap_or_else(|failure| {
                // What else it is may be about one table, and each goes and sees for itself.
                let everyones = matches!(failure, StoreError::Unavailable(_));
                let each = |_request: &Request| match everyones {
                    true => Err(PullError::Store(failure.clone())),
                    false => Ok(None),
                };
                requests.iter().map(each).collect()
            });
            for ((request, answer), told) in requests.into_iter().zip(answers).zip(told) {
                let heard = told.map(|told| match told {
                    Some((chunk, anchor)) => Heard::Nothing(chunk, anchor),
                    None => Heard::Perhaps(request),
                });
                // Whoever went away needs none.
                drop(answer.send(heard));
            }
        }
    }

    /// All that wait; `None` when nobody does, and this one's work is over.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.asking -= 1;
            return None;
        }
        state.asked = Instant::now();
        Some(std::mem::take(&mut state.waiting))
    }
}

/// Someone at work. One that ends by a panic makes room for another.
struct Turn<'a>(&'a Asker);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().asking -= 1;
        }
    }
}
