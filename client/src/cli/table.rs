//! Tables for people, as wide as the terminal.
//!
//! Cells come from [`super::show`], which has made them harmless.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Row, Table, presets};

/// The width of a terminal that does not tell its own.
const WIDTH: u16 = 100;

/// A table with these columns; of a row that is too wide, each cell is cut.
pub(super) struct Listing {
    table: Table,
}

impl Listing {
    pub(super) fn new(header: &[&str]) -> Self {
        Listing::of_width(header, width())
    }

    fn of_width(header: &[&str], width: Option<u16>) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_truncation_indicator("…");
        table.set_header(header);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
        }
        Listing { table }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let mut row = Row::from(cells);
        row.max_height(1);
        self.table.add_row(row);
    }

    /// The table, or `nothing` if it has no rows.
    pub(super) fn or(self, nothing: &str) -> String {
        if self.table.is_empty() {
            return nothing.to_owned();
        }
        self.table.to_string()
    }
}

/// How wide stdout is; None if it is no terminal. A shell tells it to programs that it was asked to
/// (`export COLUMNS`).
fn width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|columns| columns.parse().ok());
    Some(told.filter(|width| *width > 0).unwrap_or(WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widest(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn a_table_fits_the_width_and_each_row_a_line() {
        let mut listing = Listing::of_width(&["id", "note", "edited"], Some(40));
        for _row in 0..2 {
            listing.row(["1".to_owned(), "many words ".repeat(9), "x".repeat(60)]);
        }
        let text = listing.or("");
        assert!(widest(&text) <= 40, "{text}");
        assert!(text.contains('…'), "{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
    }

    #[test]
    fn in_a_pipe_nothing_more_is_cut() {
        let mut listing = Listing::of_width(&["id"], None);
        listing.row(["x".repeat(300)]);
        let text = listing.or("");
        assert!(text.contains(&"x".repeat(300)), "{text}");
    }

    #[test]
    fn without_rows_there_is_no_table() {
        assert_eq!(Listing::new(&["id"]).or("nothing"), "nothing");
    }
}
