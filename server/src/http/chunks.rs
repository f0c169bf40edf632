//! The way of a pull's chunks from the thread that reads the database to whoever sends them.

use std::sync::mpsc as turns;

use actix_web::error::ErrorInternalServerError;
use actix_web::web::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use crate::edges;
use crate::store::error::StoreError;

/// Chunks that wait for a slow reader.
const AHEAD: usize = 2;

type Chunk = Result<Bytes, StoreError>;

/// Where chunks go in.
pub(super) struct Sender {
    chunks: mpsc::Sender<Chunk>,
    /// In a simulation: that the next one is asked for. None is made ahead there, or it would be left to chance what
    /// has changed when it is read.
    asked: Option<turns::Receiver<()>>,
}

impl Sender {
    /// Waits until there is room for the chunk; whether more can be sent.
    pub(super) fn send(&self, chunk: Chunk) -> bool {
        let is_taken = self.chunks.blocking_send(chunk).is_ok();
        is_taken && self.asked.as_ref().is_none_or(|asked| asked.recv().is_ok())
    }
}

/// A sender, and the body of an answer that has what goes in there.
pub(super) fn channel() -> (Sender, impl Stream<Item = Result<Bytes, actix_web::Error>>) {
    let (sender, chunks) = mpsc::channel::<Chunk>(AHEAD);
    let (ask, asked) = edges::is_simulated().then(turns::channel).unzip();
    let sender = Sender {
        chunks: sender,
        asked,
    };
    let stream = stream::unfold((chunks, true), move |(mut chunks, is_first)| {
        // The first one is made unasked. Where the sender is gone, there is an end to be received.
        if let Some(ask) = ask.as_ref().filter(|_| !is_first) {
            ask.send(()).unwrap_or_default();
        }
        async move {
            let chunk = chunks.recv().await?;
            Some((chunk.map_err(ErrorInternalServerError), (chunks, false)))
        }
    });
    (sender, stream)
}
