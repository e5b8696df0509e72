//! The figures: samples by what was measured and by whom.

use std::collections::BTreeMap;

use super::measure::Sample;
use super::verb::Figure;

/// Samples of one figure of one runtime.
#[derive(Default)]
pub struct Cell {
    pub samples: Vec<Sample>,
    /// Runs that failed after the first one had worked.
    pub failures: usize,
    /// Why nothing was measured.
    pub skipped: Option<String>,
    /// System calls of one run.
    pub calls: Option<usize>,
}

/// All cells, by figure and index of the runtime.
pub type Table = BTreeMap<(Figure, usize), Cell>;

/// Median and 95th percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub p95: f64,
}

impl Cell {
    /// Spread of what `pick` takes from every sample; `None` without samples.
    pub fn spread(&self, pick: fn(&Sample) -> u64) -> Option<Spread> {
        let mut values: Vec<u64> = self.samples.iter().map(pick).collect();
        values.sort_unstable();
        Some(Spread { median: quantile(&values, 50)?, p95: quantile(&values, 95)? })
    }
}

/// The value below which `percent` of the sorted values lie, interpolated.
fn quantile(sorted: &[u64], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (at, rest) = (last * percent / 100, last * percent % 100);
    let (low, high) = (sorted[at] as f64, sorted[(at + 1).min(last)] as f64);
    Some(low + (high - low) * rest as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[], 50), None);
        assert_eq!(quantile(&[7], 95), Some(7.0));
        assert_eq!(quantile(&[1, 2, 3, 4], 50), Some(2.5));
        assert_eq!(quantile(&(0..=100).collect::<Vec<_>>(), 95), Some(95.0));
    }
}
