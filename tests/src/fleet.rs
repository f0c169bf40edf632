//! Many clients in one process, on a few threads: each has its turn once in every interval, at a moment of its own.

use std::time::{Duration, Instant};

/// Shares `all` out to so many threads, as evenly as cards are dealt.
#[must_use]
pub fn deal<T>(all: impl IntoIterator<Item = T>, threads: usize) -> Vec<Vec<T>> {
    let mut crews: Vec<Vec<T>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, one) in all.into_iter().enumerate() {
        crews[number % threads].push(one);
    }
    crews
}

/// Runs `work` on each of `parts`, each on a thread of its own.
///
/// # Panics
/// If the work does.
pub fn on_threads<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads = parts
            .into_iter()
            .map(|part| scope.spawn(move || work(part)));
        let threads: Vec<_> = threads.collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    })
}

/// Waits for the moment of client `number` of `all` in the interval from `start`; gives it.
#[must_use]
pub fn moment(number: u64, all: u64, start: Instant, interval: Duration) -> Instant {
    let due = start + interval.mul_f64(number as f64 / all as f64);
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    due
}
