//! How far a sync is, on stderr while it is a terminal.

use std::time::Duration;

use colsync_client::Progress;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

const SPINNER: &str = "{spinner} {msg} {elapsed}";
const BAR: &str = "{spinner} {msg} [{bar:30}] {human_pos}/{human_len} {elapsed}";
const TICK: Duration = Duration::from_millis(120);

/// A spinner, and a bar while the whole is known. Gone when dropped.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// Hidden for programs; by itself also where stderr is no terminal.
    pub(super) fn new(output: &Output) -> Self {
        let target = if output.is_json() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if !bar.is_hidden() {
            bar.set_style(style(SPINNER));
            bar.enable_steady_tick(TICK);
        }
        Bar { bar }
    }

    /// Says `message` of something whose end is not known.
    pub(super) fn say(&self, message: impl Into<String>) {
        if self.bar.length().is_some() {
            self.bar.unset_length();
            self.bar.set_style(style(SPINNER));
        }
        self.bar.set_message(message.into());
    }

    /// Shows what the library tells of a sync.
    pub(super) fn show(&self, progress: Progress) {
        match progress {
            Progress::Schema => self.say("asking for the schema"),
            Progress::Pushing { sent, left } => {
                if self.bar.length().is_none() {
                    self.bar.set_style(style(BAR));
                    self.bar.set_message("pushing");
                }
                self.bar.set_length(sent.saturating_add(left));
                self.bar.set_position(sent);
            }
            Progress::Pulling { rows, first } => {
                let all = if first { " of everything" } else { "" };
                self.say(format!("pulling{all}: {} rows", HumanCount(rows)));
            }
            // The library may come to tell more.
            _ => self.say("syncing"),
        }
    }

    /// Runs `print` while the bar is out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A template with a mistake in it shows as indicatif's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_mistake| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_hold_no_mistake() {
        for template in [SPINNER, BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn programs_see_no_bar() {
        let bar = Bar::new(&Output::new(true));
        bar.show(Progress::Pulling {
            rows: 1,
            first: true,
        });
        assert!(bar.bar.is_hidden());
    }
}
