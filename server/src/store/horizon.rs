//! What of the feed was visible at some moment: PostgreSQL's snapshot, which a counter's value is a
//! simple case of.

use std::fmt;
use std::str::FromStr;

/// Transactions below `xmin`, and those below `xmax` that are not `open`, are visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Horizon {
    pub(crate) xmin: i64,
    pub(crate) xmax: i64,
    pub(crate) open: Vec<i64>,
}

impl Horizon {
    /// The moment at which exactly the positions up to `last` are visible.
    pub(crate) fn up_to(last: i64) -> Horizon {
        Horizon {
            xmin: last + 1,
            xmax: last + 1,
            open: Vec::new(),
        }
    }

    /// Whether what `txid` wrote was visible.
    pub(crate) fn sees(&self, txid: i64) -> bool {
        txid < self.xmin || (txid < self.xmax && !self.open.contains(&txid))
    }
}

/// The text of `pg_current_snapshot()`: `xmin:xmax:open,open`.
impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: Vec<String> = self.open.iter().map(i64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, open.join(","))
    }
}

impl FromStr for Horizon {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (xmin, xmax, open) = (next().parse()?, next().parse()?, next());
        let open = open
            .split(',')
            .filter(|txid| !txid.is_empty())
            .map(str::parse);
        Ok(Horizon {
            xmin,
            xmax,
            open: open.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_open_at_the_snapshot_is_not_visible_though_later_ones_are() {
        let horizon: Horizon = "100:121:100,110".parse().unwrap();
        let seen: Vec<i64> = [99, 100, 105, 110, 120, 121]
            .into_iter()
            .filter(|&x| horizon.sees(x))
            .collect();
        assert_eq!(seen, [99, 105, 120]);
        assert_eq!(horizon.to_string(), "100:121:100,110");
        assert_eq!("7:7:".parse(), Ok(Horizon::up_to(6)));
    }
}
