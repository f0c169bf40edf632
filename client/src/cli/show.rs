//! How values look to people: harmless to a terminal, and short enough to read.
//!
//! Whatever comes from a database or a server goes through here before it is printed.

use colsync_shared::{Op, Time};
use serde_json::Value as Json;

/// The most characters of a value in a table.
const LONGEST: usize = 60;

/// `text` without anything that a terminal would obey: control characters, and those that reorder or hide
/// what is beside them.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if is_hostile(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// The same for a text of several lines that are ours.
pub(super) fn harmless_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(harmless).collect();
    lines.join("\n")
}

/// A JSON text with everything escaped that a terminal would obey; it means the same to a program. Such
/// characters stand only in its strings.
pub(super) fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` cut to `longest` characters, the last of them telling so.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest.saturating_sub(1)).collect();
    kept + "…"
}

/// A text in a table.
pub(super) fn short(text: &str) -> String {
    // Escaping makes it longer, never shorter: what is beyond cannot be seen.
    let seen: String = text.chars().take(LONGEST + 1).collect();
    cut(&harmless(&seen), LONGEST)
}

/// A value in a table, as JSON: `"1"` is not `1`.
pub(super) fn value(value: &Json) -> String {
    short(&value.to_string())
}

/// A value in a table where there may be none.
pub(super) fn value_or_nothing(found: Option<&Json>) -> String {
    found.map(value).unwrap_or_default()
}

/// A time in a table, in UTC to the second.
pub(super) fn time(at: Time) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// An edit's kind.
pub(super) fn op(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Replace => "replace",
        Op::HardDelete => "hard delete",
    }
}

/// `1 edit`, `2 edits`.
pub(super) fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", indicatif::HumanCount(n))
}

/// A server's URL without the password that may stand in it.
pub(super) fn url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let bare = match authority.rsplit_once('@') {
        Some((_user, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    };
    harmless(&bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Clears the screen, renames the window, rings, hides, reorders; the last are one-byte escapes.
    const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{8}\r\u{202e}b\u{9b}31m\u{200b}\u{7f}";

    #[test]
    fn a_hostile_value_sends_no_terminal_escapes() {
        for shown in [
            harmless(HOSTILE),
            short(HOSTILE),
            value(&json!(HOSTILE)),
            value(&json!({ HOSTILE: [HOSTILE] })),
            url(HOSTILE),
        ] {
            assert!(!shown.chars().any(is_hostile), "{shown:?}");
        }
        assert_eq!(harmless("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(harmless("Grüße, 東京 👍"), "Grüße, 東京 👍");
        assert_eq!(harmless_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
    }

    #[test]
    fn json_means_the_same_after_it_was_made_harmless() {
        let hostile = json!({ HOSTILE: format!("{HOSTILE}\u{e0041}\\\"") });
        let shown = harmless_json(&hostile.to_string());
        assert!(!shown.chars().any(is_hostile), "{shown:?}");
        assert_eq!(serde_json::from_str::<Json>(&shown).unwrap(), hostile);
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let long = value(&json!("x".repeat(1000)));
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.starts_with("\"xxx") && long.ends_with('…'), "{long}");
        assert_eq!(cut("ééé", 3), "ééé");
        assert_eq!(cut("éééé", 3), "éé…");
        assert_eq!(short(&"\u{1b}".repeat(100)).chars().count(), LONGEST);
    }

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        assert_eq!(url("https://ana:s3c@ret@host:1/p@q"), "https://host:1/p@q");
        assert_eq!(url("https://host/p@q"), "https://host/p@q");
    }

    #[test]
    fn counts_are_said_as_people_do() {
        assert_eq!(count(0, "edit"), "0 edits");
        assert_eq!(count(1, "edit"), "1 edit");
        assert_eq!(count(12_345, "row"), "12,345 rows");
    }
}
