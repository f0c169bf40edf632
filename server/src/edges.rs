//! Where time and random ids enter the server: the one place that reads the clock and makes them.
//!
//! Everything behind it takes them as arguments; `clippy.toml` bans the calls elsewhere.

use colsync_shared::Time;
use uuid::Uuid;

/// The time now, in whole microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> Time {
    #[cfg(feature = "simulation")]
    if let Some(set) = colsync_shared::simulation::now() {
        return set;
    }
    Time::from(chrono::Utc::now())
}

/// Whether the time is a simulation's, in which nothing is left to chance.
pub(crate) fn is_simulated() -> bool {
    #[cfg(feature = "simulation")]
    let set = colsync_shared::simulation::now();
    #[cfg(not(feature = "simulation"))]
    let set = None::<Time>;
    set.is_some()
}

/// Has `work` done beside a request, which does not wait for it; but in a simulation.
pub(crate) async fn beside(work: impl Future<Output = ()> + 'static) {
    if is_simulated() {
        work.await;
    } else {
        actix_web::rt::spawn(work);
    }
}

/// A new id that sorts by the time it was made.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes random ids"
)]
pub(crate) fn uuid7() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(made) = colsync_shared::simulation::uuid7() {
        return made;
    }
    Uuid::now_v7()
}

/// A new id that tells nothing about when it was made.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes random ids"
)]
pub(crate) fn uuid4() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(made) = colsync_shared::simulation::uuid4() {
        return made;
    }
    Uuid::new_v4()
}

/// An identity for a table that is being adopted. Counted ones would come again after a restore, for other tables or
/// for other rows of the same.
pub(crate) fn table_id() -> i64 {
    // The first 48 bits of such an id are random, and fit into a JSON number.
    let (high, _) = uuid4().as_u64_pair();
    i64::try_from(high >> 16).unwrap_or(i64::MAX)
}

/// 32 bytes from the system's random source, 244 of their bits random.
pub(crate) fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    for half in bytes.chunks_mut(16) {
        half.copy_from_slice(uuid4().as_bytes());
    }
    bytes
}
