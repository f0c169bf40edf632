//! The commands: each asks the library and says what it answered. `watch` has a file of its own.

use std::collections::BTreeSet;
use std::path::Path;

use colsync_client::{Client, Conflict, DeadLetter, FileStatus, Pending, Report, Tracked};
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::args::{Command, DeadLetters};
use super::failure::{DONE, Failure, NEEDS_YOU};
use super::output::Output;
use super::progress::Bar;
use super::show::{self, count, harmless, short};
use super::table::Listing;
use super::watch;

/// Does what is asked of `client`, which syncs the file at `path`; gives the exit code.
pub(super) fn run(
    client: &Client,
    path: &Path,
    command: Command,
    output: &Output,
) -> Result<u8, Failure> {
    match command {
        Command::Init { tables } => {
            let bar = Bar::new(output);
            bar.say("asking the server for its tables");
            let tracked = client.init(&tables)?;
            drop(bar);
            output.answer(&tracked, |tracked| tracked_tables(tracked))?;
        }
        Command::Track { tables } => {
            let tracked: Result<Vec<Tracked>, _> =
                tables.iter().map(|table| client.track(table)).collect();
            output.answer(&tracked?, |tracked| tracked_tables(tracked))?;
        }
        Command::Untrack {
            tables,
            drop_unpushed,
        } => {
            for table in &tables {
                client.untrack(table, drop_unpushed)?;
            }
            let document = json!({ "untracked": tables });
            output.answer(&document, |_| {
                format!("no longer tracked: {}", harmless(&tables.join(", ")))
            })?;
        }
        Command::Sync => return sync(client, output),
        Command::Watch { interval } => watch::run(client, interval, output)?,
        Command::Status => output.answer(&client.status()?, |status| file_status(path, status))?,
        Command::Pending => output.answer(&client.pending()?, |edits| pending(edits))?,
        Command::Original { table, id } => match client.original(&table, &id)? {
            Some(row) => output.answer(&row, original)?,
            None => return Err(Failure::NoOriginal { table, id }),
        },
        Command::Undo { table, id } => {
            client.undo(&table, &id)?;
            let document = json!({ "undone": { "table": table, "id": id } });
            output.answer(&document, |_| {
                format!(
                    "{} {} is as it was before its edits",
                    harmless(&table),
                    harmless(&id)
                )
            })?;
        }
        Command::Conflicts => output.answer(&client.conflicts()?, |found| conflicts(found))?,
        Command::DeadLetters { what } => dead_letters(client, what, output)?,
    }
    Ok(DONE)
}

/// A sync's report, and what it has left for the user.
#[derive(Serialize)]
struct Synced {
    #[serde(flatten)]
    report: Report,
    dead_letters: u64,
}

fn sync(client: &Client, output: &Output) -> Result<u8, Failure> {
    let bar = Bar::new(output);
    let report = client.sync_with(&|progress| bar.show(progress))?;
    drop(bar);
    let dead_letters = client.status()?.dead_letters;
    let synced = Synced {
        report,
        dead_letters,
    };
    output.answer(&synced, synced_text)?;
    let needs_you = dead_letters > 0 || !synced.report.waiting.is_empty();
    Ok(if needs_you { NEEDS_YOU } else { DONE })
}

fn synced_text(synced: &Synced) -> String {
    let mut lines = vec![report_line(&synced.report)];
    let waiting = synced.report.waiting.iter();
    lines.extend(waiting.map(|why| format!("edits wait: {}", harmless(why))));
    if synced.dead_letters > 0 {
        lines.push(format!(
            "{} refused by the server: see colsync-client dead-letters",
            count(synced.dead_letters, "edit")
        ));
    }
    lines.join("\n")
}

/// A report in a line.
pub(super) fn report_line(report: &Report) -> String {
    let fates = [
        (report.superseded, "superseded"),
        (report.merged, "merged"),
        (report.held, "held"),
        (report.rejected, "refused"),
    ];
    let fates: Vec<String> = fates
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, fate)| format!("{n} {fate}"))
        .collect();
    let fates = match fates.as_slice() {
        [] => String::new(),
        some => format!(" ({})", some.join(", ")),
    };
    let removed = match report.removed {
        0 => String::new(),
        n => format!(", removed {}", count(n, "row")),
    };
    format!(
        "pushed {}{fates}, pulled {}{removed}; {} sent, {} received",
        count(report.pushed, "edit"),
        count(report.pulled, "row"),
        HumanBytes(report.sent_bytes),
        HumanBytes(report.received_bytes),
    )
}

fn tracked_tables(tracked: &[Tracked]) -> String {
    let mut listing = Listing::new(&["table", "columns", "rows there already"]);
    for table in tracked {
        listing.row([
            short(&table.table),
            table.columns.to_string(),
            table.existing.to_string(),
        ]);
    }
    listing.or("the server has no tables")
}

fn file_status(path: &Path, status: &FileStatus) -> String {
    let synced = status.synced_at.map(show::time);
    let server = status.server.as_deref().map(show::url);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none yet".to_owned());
    let mut facts = vec![
        ("file", harmless(&path.display().to_string())),
        ("client", harmless(&status.client)),
        ("server", or_none(server)),
        ("synced", or_none(synced)),
        ("pending", count(status.pending, "edit")),
        ("dead letters", status.dead_letters.to_string()),
        ("conflicts", status.conflicts.to_string()),
        ("held rows", status.held.to_string()),
    ];
    if let Some(offset) = status.clock_offset_us {
        facts.push(("clock", clock(offset)));
    }
    if let Some(error) = &status.last_error {
        facts.push(("last error", harmless(error)));
    }
    let waiting = status.waiting.iter();
    facts.extend(waiting.map(|why| ("edits wait", harmless(why))));
    let stay_out = status.tables.iter();
    let stay_out: BTreeSet<&String> = stay_out
        .filter_map(|table| table.stays_out.as_ref())
        .collect();
    let stay_out = stay_out
        .into_iter()
        .filter(|why| !status.waiting.contains(why));
    facts.extend(stay_out.map(|why| ("stays out", harmless(why))));
    let mut lines: Vec<String> = facts
        .into_iter()
        .map(|(name, fact)| format!("{name:<13} {fact}"))
        .collect();
    let mut listing = Listing::new(&["table", "pending", "rows"]);
    for table in &status.tables {
        listing.row([
            short(&table.name),
            table.pending.to_string(),
            table.rows.to_string(),
        ]);
    }
    lines.push(listing.or("no table is tracked"));
    lines.join("\n")
}

/// How far the device's clock is from the server's; positive: the server's is ahead.
fn clock(offset_us: i64) -> String {
    let ms = offset_us.unsigned_abs() / 1000;
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let way = if offset_us < 0 { "ahead of" } else { "behind" };
    format!("{seconds}.{ms:03} s {way} the server's")
}

fn pending(edits: &[Pending]) -> String {
    let mut listing = Listing::new(&[
        "table", "id", "op", "column", "original", "edited", "at", "waits",
    ]);
    for edit in edits {
        let mut line = |column: &str, original: &str, edited: &str, at| {
            listing.row([
                short(&edit.table),
                short(&edit.id),
                show::op(edit.op).to_owned(),
                short(column),
                original.to_owned(),
                edited.to_owned(),
                show::time(at),
                edit.waiting.as_deref().map(short).unwrap_or_default(),
            ]);
        };
        if edit.columns.is_empty() {
            line("", "", "", edit.at);
        }
        for (name, diff) in &edit.columns {
            let (original, edited) = (show::value(&diff.original), show::value(&diff.edited));
            line(name, &original, &edited, diff.at);
        }
    }
    listing.or("nothing is pending")
}

fn original(row: &serde_json::Map<String, Json>) -> String {
    let mut listing = Listing::new(&["column", "original"]);
    for (name, value) in row {
        listing.row([short(name), show::value(value)]);
    }
    listing.or("the row has no columns")
}

fn conflicts(conflicts: &[Conflict]) -> String {
    let mut listing = Listing::new(&[
        "n", "table", "id", "column", "outcome", "original", "mine", "theirs", "result", "at",
    ]);
    for conflict in conflicts {
        listing.row([
            conflict.number.to_string(),
            short(&conflict.table),
            short(&conflict.id),
            conflict.column.as_deref().map(short).unwrap_or_default(),
            short(&conflict.outcome),
            show::value_or_nothing(conflict.base.as_ref()),
            show::value_or_nothing(conflict.mine.as_ref()),
            show::value_or_nothing(conflict.theirs.as_ref()),
            show::value_or_nothing(conflict.result.as_ref()),
            show::time(conflict.at),
        ]);
    }
    listing.or("there were no conflicts")
}

fn dead_letters(
    client: &Client,
    what: Option<DeadLetters>,
    output: &Output,
) -> Result<(), Failure> {
    match what.unwrap_or(DeadLetters::List) {
        DeadLetters::List => output.answer(&client.dead_letters()?, |letters| refused(letters)),
        DeadLetters::Retry { numbers, all } => {
            let numbers = if all {
                let letters = client.dead_letters()?;
                letters.iter().map(|letter| letter.number).collect()
            } else {
                numbers
            };
            for &number in &numbers {
                client.retry_dead_letter(number)?;
            }
            let n = numbers.len() as u64;
            output.answer(&json!({ "retried": numbers }), |_| {
                format!(
                    "{} will be pushed again with the next sync",
                    count(n, "edit")
                )
            })
        }
        DeadLetters::Discard { numbers } => {
            for &number in &numbers {
                client.discard_dead_letter(number)?;
            }
            let n = numbers.len() as u64;
            output.answer(&json!({ "discarded": numbers }), |_| {
                format!("{} forgotten", count(n, "refused edit"))
            })
        }
    }
}

fn refused(letters: &[DeadLetter]) -> String {
    let mut listing = Listing::new(&["n", "table", "id", "code", "field", "detail", "edit", "at"]);
    for letter in letters {
        listing.row([
            letter.number.to_string(),
            short(&letter.table),
            short(&letter.id),
            short(&letter.code),
            letter.field.as_deref().map(short).unwrap_or_default(),
            short(&letter.detail),
            show::value(&letter.edit),
            show::time(letter.at),
        ]);
    }
    listing.or("no dead letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_happened_and_nothing_that_did_not() {
        let mut report = Report {
            pushed: 1,
            applied: 1,
            pulled: 1200,
            sent_bytes: 200,
            ..Report::default()
        };
        assert_eq!(
            report_line(&report),
            "pushed 1 edit, pulled 1,200 rows; 200 B sent, 0 B received"
        );
        report.pushed = 4;
        report.superseded = 2;
        report.rejected = 1;
        report.removed = 1;
        assert_eq!(
            report_line(&report),
            "pushed 4 edits (2 superseded, 1 refused), pulled 1,200 rows, removed 1 row; \
             200 B sent, 0 B received"
        );
    }

    #[test]
    fn a_report_names_what_needs_the_user() {
        let report = Report {
            waiting: vec!["todos: the server\u{1b}[2J has no such column".to_owned()],
            ..Report::default()
        };
        let text = synced_text(&Synced {
            report,
            dead_letters: 2,
        });
        assert!(
            text.contains("edits wait: todos: the server\\u{1b}[2J"),
            "{text}"
        );
        assert!(text.contains("2 edits refused"), "{text}");
    }

    #[test]
    fn a_report_for_programs_is_flat() {
        let synced = Synced {
            report: Report::default(),
            dead_letters: 2,
        };
        let json = serde_json::to_value(&synced).unwrap();
        assert_eq!(
            (&json["pushed"], &json["dead_letters"]),
            (&json!(0), &json!(2))
        );
    }

    #[test]
    fn the_clock_is_told_in_seconds() {
        assert_eq!(clock(1_500_000), "1.500 s behind the server's");
        assert_eq!(clock(-61_007_000), "61.007 s ahead of the server's");
    }
}
