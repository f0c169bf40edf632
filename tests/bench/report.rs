//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// Figures of one kind.
pub(crate) struct Table {
    /// What the figures are of, and how they are to be read.
    pub(crate) title: &'static str,
    /// One a column; the first two name the line, the others are of numbers.
    pub(crate) heads: &'static [&'static str],
    pub(crate) lines: Vec<Line>,
}

/// One figure.
pub(crate) struct Line {
    /// For people, one a column.
    pub(crate) cells: Vec<String>,
    /// The same and more, for programs.
    pub(crate) object: Json,
}

/// All tables, for people.
pub(crate) fn text(tables: &[Table]) -> String {
    let texts: Vec<String> = tables.iter().map(Table::text).collect();
    texts.join("\n")
}

/// An array with an object a line of any table.
pub(crate) fn json(tables: Vec<Table>) -> Json {
    let lines = tables.into_iter().flat_map(|table| table.lines);
    lines.map(|line| line.object).collect()
}

impl Table {
    fn text(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|&head| head.to_owned()).collect();
        let lines: Vec<&[String]> = std::iter::once(heads.as_slice())
            .chain(self.lines.iter().map(|line| line.cells.as_slice()))
            .collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|at| lines.iter().map(|cells| cells[at].chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = format!("{}\n", self.title);
        for cells in lines {
            for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(text, "{cell:width$}"),
                    1 => write!(text, "  {cell:width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                }
                .unwrap();
            }
            text.push('\n');
        }
        text
    }
}

/// What both sides took or did, by round.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) ours: Vec<f64>,
    pub(crate) baseline: Vec<f64>,
}

impl Rounds {
    /// Of the medians.
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.baseline)
    }

    /// The smallest ratio of a round and the largest, for people.
    pub(crate) fn spread(&self) -> String {
        let ratios = self.ours.iter().zip(&self.baseline).map(|(a, b)| a / b);
        let (low, high) = ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| {
            (ratio.min(low), ratio.max(high))
        });
        format!("{low:.2}-{high:.2}")
    }
}

/// Runs both sides, now the one first and now the other, so that neither has the warmer machine.
pub(crate) fn in_turn<T>(round: u32, mut side: impl FnMut(Side) -> T) -> (T, T) {
    if round.is_multiple_of(2) {
        let ours = side(Side::Ours);
        (ours, side(Side::Baseline))
    } else {
        let baseline = side(Side::Baseline);
        (side(Side::Ours), baseline)
    }
}

/// Whose work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// With colsync.
    Ours,
    /// Without it.
    Baseline,
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}
