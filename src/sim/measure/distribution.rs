//! Many whole numbers, and what is said of them in a few.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// How often each value occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: BTreeMap<u64, u64>,
    n: u64,
    sum: u128,
}

/// A distribution in a few numbers; all are zero if there was nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many values.
    pub n: u64,
    /// Their mean, to three decimals.
    pub mean: f64,
    /// Half of them are not above this one.
    pub p50: u64,
    /// 99 of 100 are not above this one.
    pub p99: u64,
    /// The highest.
    pub max: u64,
}

impl Distribution {
    /// Counts one more value.
    pub fn add(&mut self, value: u64) {
        *self.counts.entry(value).or_default() += 1;
        self.n += 1;
        self.sum += u128::from(value);
    }

    /// Counts all values of another.
    pub fn merge(&mut self, other: &Self) {
        for (value, n) in &other.counts {
            *self.counts.entry(*value).or_default() += n;
        }
        self.n += other.n;
        self.sum += other.sum;
    }

    /// How many values there are.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// Each value, in order, and how often it occurred.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(value, n)| (*value, *n))
    }

    /// The lowest value that at least this share (0 to 1) of all are not above; zero if there are
    /// none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (self.n as f64 * share).ceil().max(1.0);
        let mut seen = 0;
        for (value, n) in &self.counts {
            seen += n;
            if seen as f64 >= rank {
                return *value;
            }
        }
        self.max()
    }

    /// The highest value; zero if there are none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.counts.last_key_value().map_or(0, |(value, _)| *value)
    }

    /// In a few numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            n: self.n,
            mean: ratio(self.sum as f64, self.n as f64),
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            max: self.max(),
        }
    }
}

impl FromIterator<u64> for Distribution {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut all = Self::default();
        values.into_iter().for_each(|value| all.add(value));
        all
    }
}

impl Serialize for Distribution {
    /// As a list of pairs: value and count.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.counts())
    }
}

/// A quotient to three decimals; zero if there is nothing to divide by.
pub(in crate::sim) fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { (a / b * 1000.0).round() / 1000.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_figures_and_one_value_is_all_of_them() {
        assert_eq!(Distribution::default().summary(), Summary::default());
        let one = Distribution::from_iter([7]).summary();
        assert_eq!(one, Summary { n: 1, mean: 7.0, p50: 7, p99: 7, max: 7 });
    }

    #[test]
    fn a_quantile_is_a_value_that_so_many_are_not_above() {
        let hundred: Distribution = (1..=100).collect();
        let summary = Summary { n: 100, mean: 50.5, p50: 50, p99: 99, max: 100 };
        assert_eq!(hundred.summary(), summary);
        assert_eq!((hundred.quantile(0.0), hundred.quantile(1.0)), (1, 100));
    }

    proptest! {
        #[test]
        fn figures_are_those_of_the_sorted_list(mut values: Vec<u16>, split in 0_usize..50) {
            let mut first: Distribution = values.iter().take(split).map(|v| u64::from(*v)).collect();
            let rest: Distribution = values.iter().skip(split).map(|v| u64::from(*v)).collect();
            first.merge(&rest);
            values.sort_unstable();
            let summary = first.summary();
            prop_assert_eq!(summary.n as usize, values.len());
            if let Some(last) = values.last() {
                prop_assert_eq!(summary.max, u64::from(*last));
                let rank = (values.len() as f64 * 0.99).ceil() as usize;
                prop_assert_eq!(summary.p99, u64::from(values[rank - 1]));
                let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
                prop_assert!((summary.mean - mean).abs() < 0.001);
            }
        }
    }
}
