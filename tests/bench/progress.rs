//! How far a measurement is: a bar where someone looks at it, and lines where they are kept.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far one measurement is. It is told on stderr.
pub(crate) struct Progress {
    what: String,
    bar: ProgressBar,
}

impl Progress {
    /// Begins a measurement of so many steps.
    pub(crate) fn new(what: impl Into<String>, steps: u32) -> Progress {
        let what = what.into();
        let bar = ProgressBar::with_draw_target(Some(steps.into()), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {bar:20} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap());
        bar.set_prefix(what.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { what, bar }
    }

    /// Says what is being done.
    pub(crate) fn say(&self, text: impl Into<String>) {
        let text = text.into();
        if self.bar.is_hidden() {
            eprintln!("{}: {text}", self.what);
        }
        self.bar.set_message(text);
    }

    /// One step is done, with this result.
    pub(crate) fn step(&self, text: impl Into<String>) {
        self.bar.inc(1);
        let steps = (self.bar.position(), self.bar.length().unwrap_or_default());
        let text = text.into();
        if self.bar.is_hidden() {
            eprintln!("{} {}/{}: {text}", self.what, steps.0, steps.1);
        }
        self.bar.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
