//! Checks of the harness end in a panic; of a suite, what one says is something found, and the suite goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does `work`; an error is what it panicked with.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Whoever gives the work throws away what it left half done.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}
