//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

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
    /// What the figure should be.
    pub(crate) targets: Vec<Target>,
}

/// What a figure should be, and what it is.
pub(crate) struct Target {
    /// The figure's name; empty for the line's ratio.
    of: &'static str,
    bound: Bound,
    unit: &'static str,
    value: f64,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    /// A ratio that should not be below `bound`.
    pub(crate) fn at_least(bound: f64, value: f64) -> Target {
        Target {
            of: "",
            bound: Bound::AtLeast(bound),
            unit: "",
            value,
        }
    }

    /// A ratio that should not be above `bound`.
    pub(crate) fn at_most(bound: f64, value: f64) -> Target {
        Target {
            of: "",
            bound: Bound::AtMost(bound),
            unit: "",
            value,
        }
    }

    /// The same of another figure of the line.
    pub(crate) fn of(self, of: &'static str, unit: &'static str) -> Target {
        Target { of, unit, ..self }
    }

    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.value >= bound,
            Bound::AtMost(bound) => self.value <= bound,
        }
    }

    fn text(&self) -> String {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => ('≥', bound),
            Bound::AtMost(bound) => ('≤', bound),
        };
        let text = format!("{} {sign} {bound} {}", self.of, self.unit);
        text.trim().to_owned()
    }

    fn object(&self) -> Json {
        let (name, bound) = match self.bound {
            Bound::AtLeast(bound) => ("at_least", bound),
            Bound::AtMost(bound) => ("at_most", bound),
        };
        let of = if self.of.is_empty() { "ratio" } else { self.of };
        json!({ "of": of, name: bound, "unit": self.unit, "value": self.value, "met": self.is_met() })
    }
}

impl Line {
    /// A figure that has no target.
    pub(crate) fn new(cells: Vec<String>, object: Json) -> Line {
        Line {
            cells,
            object,
            targets: Vec::new(),
        }
    }

    /// Says what the figure should be.
    pub(crate) fn should(mut self, targets: impl IntoIterator<Item = Target>) -> Line {
        self.targets.extend(targets);
        self
    }

    /// The two cells about the targets.
    fn verdict(&self) -> [String; 2] {
        let targets: Vec<String> = self.targets.iter().map(Target::text).collect();
        let missed: Vec<String> = self
            .targets
            .iter()
            .filter(|target| !target.is_met())
            .map(Target::text)
            .collect();
        let verdict = match (self.targets.len(), missed.len()) {
            (0, _) => String::new(),
            (_, 0) => "met".to_owned(),
            (1, _) => "missed".to_owned(),
            (_, _) => format!("missed {}", missed.join(", ")),
        };
        [targets.join(", "), verdict]
    }
}

/// An array with an object a line of any table.
pub(crate) fn json(tables: Vec<Table>) -> Json {
    let lines = tables.into_iter().flat_map(|table| table.lines);
    lines
        .map(|line| {
            let mut object = line.object;
            if !line.targets.is_empty() {
                object["targets"] = line.targets.iter().map(Target::object).collect();
            }
            object
        })
        .collect()
}

impl Table {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let has_targets = self.lines.iter().any(|line| !line.targets.is_empty());
        let mut heads: Vec<String> = self.heads.iter().map(|&head| head.to_owned()).collect();
        let numbers = heads.len();
        if has_targets {
            heads.extend(["target".to_owned(), String::new()]);
        }
        let mut lines = vec![heads];
        for line in &self.lines {
            let mut cells = line.cells.clone();
            if has_targets {
                cells.extend(line.verdict());
            }
            lines.push(cells);
        }
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|at| lines.iter().map(|cells| cells[at].chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = format!("{}\n", self.title);
        for cells in lines {
            let mut line = String::new();
            for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(line, "{cell:width$}"),
                    at if at == 1 || at >= numbers => write!(line, "  {cell:width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                }
                .unwrap();
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
