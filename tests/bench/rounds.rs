//! Rounds: both sides of a figure, one after the other and again, and what is told of all of them.

/// What both sides took or did, by round.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) ours: Vec<f64>,
    pub(crate) baseline: Vec<f64>,
}

impl Rounds {
    /// Adds a round.
    pub(crate) fn push(&mut self, (ours, baseline): (f64, f64)) {
        self.ours.push(ours);
        self.baseline.push(baseline);
    }

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

/// The µs that this share of the `sorted` ones did not exceed, in ms.
pub(crate) fn at_share(sorted: &[u32], share: f64) -> f64 {
    let place = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    f64::from(sorted.get(place).copied().unwrap_or_default()) / 1_000.0
}
