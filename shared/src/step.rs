//! The named steps of a push and a pull, on both sides: the points at which a crash would fall between two things
//! that belong together.
//!
//! Tests hear of each step that is reached, by the feature `steps`; they end the process there, or look. Without the
//! feature, which no program is shipped with, reaching one does nothing.

#[cfg(feature = "steps")]
static HOOK: std::sync::OnceLock<Box<dyn Fn(&'static str) + Send + Sync>> =
    std::sync::OnceLock::new();

/// Tells that the work has come to `step`, named as in docs/reliability.md.
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
