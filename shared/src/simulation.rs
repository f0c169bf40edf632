//! Time and chance as a simulation has them: a clock that it sets, and random ids that come again with a seed.
//!
//! Behind the feature `simulation`, with which no program is shipped. Where nothing was set, the edges read the
//! system's clock and its random source as ever.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use uuid::{Builder, Uuid};

use crate::Time;

/// No time was set; no time of the years 1 to 9999 is the same.
const UNSET: i64 = i64::MIN;

static NOW: AtomicI64 = AtomicI64::new(UNSET);
static RANDOM: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: Cell<i64> = const { Cell::new(UNSET) };
}

/// Sets the clock of all threads that have none of their own.
pub fn set_now(now: Time) {
    NOW.store(now.micros(), Ordering::SeqCst);
}

/// Sets the clock of this thread alone: that of a client.
pub fn set_own_now(now: Time) {
    OWN.set(now.micros());
}

/// What comes of `work`, with a clock of its own at `now`.
pub fn at<T>(now: Time, work: impl FnOnce() -> T) -> T {
    let before = OWN.replace(now.micros());
    let done = work();
    OWN.set(before);
    done
}

/// The time that was set for this thread, or else for all.
#[must_use]
pub fn now() -> Option<Time> {
    let set = |micros: i64| (micros != UNSET).then(|| Time::from_micros(micros));
    set(OWN.get()).or_else(|| set(NOW.load(Ordering::SeqCst)))
}

/// Begins the row of random ids that belongs to `seed`; 0 ends it.
pub fn seed(seed: u64) {
    RANDOM.store(seed, Ordering::SeqCst);
}

/// The next random id, if there is a seed: after the version 4 of RFC 9562.
#[must_use]
pub fn uuid4() -> Option<Uuid> {
    bytes().map(|random| Builder::from_random_bytes(random).into_uuid())
}

/// The next id that sorts by the time that was set, if there is a seed: after the version 7 of RFC 9562.
#[must_use]
pub fn uuid7() -> Option<Uuid> {
    let millis = u64::try_from(now()?.micros() / 1000).ok()?;
    let random = bytes()?;
    let tail = random.last_chunk::<10>()?;
    Some(Builder::from_unix_timestamp_millis(millis, tail).into_uuid())
}

fn bytes() -> Option<[u8; 16]> {
    if RANDOM.load(Ordering::SeqCst) == 0 {
        return None;
    }
    let halves = (u128::from(next()) << 64) | u128::from(next());
    Some(halves.to_le_bytes())
}

/// After Vigna's public-domain `splitmix64`.
fn next() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = RANDOM.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
