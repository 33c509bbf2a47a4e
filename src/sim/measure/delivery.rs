//! Messages to one node: what became of them.

use std::{collections::BTreeMap, time::Duration};

use super::{Condition, Distribution};

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Outcome {
    /// The sender was told that it arrived.
    Delivered {
        /// Sessions on its way.
        hops: u8,
        /// From sending it to hearing that it arrived.
        rtt: Duration,
    },
    /// The sender was told this reason code.
    Failed(String),
    /// Its sender or the node that it was for has gone meanwhile, so nothing was owed.
    Moot,
}

/// What became of the messages of one load, by what the network was going through.
#[derive(Debug, Default)]
pub(in crate::sim) struct Deliveries {
    rows: BTreeMap<(usize, Condition), Row>,
}

/// Messages of one load that were sent under one condition.
#[derive(Debug, Default)]
pub(in crate::sim) struct Row {
    pub(in crate::sim) sent: u64,
    pub(in crate::sim) delivered: u64,
    pub(in crate::sim) moot: u64,
    pub(in crate::sim) failed: BTreeMap<String, u64>,
    pub(in crate::sim) hops: Distribution,
    /// In milliseconds.
    pub(in crate::sim) rtt: Distribution,
}

impl Deliveries {
    /// What became of a message of this load that was sent under this condition.
    pub(in crate::sim) fn add(&mut self, load: usize, condition: Condition, outcome: Outcome) {
        let row = self.rows.entry((load, condition)).or_default();
        row.sent += 1;
        match outcome {
            Outcome::Delivered { hops, rtt } => {
                row.delivered += 1;
                row.hops.add(u64::from(hops));
                row.rtt.add(u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX));
            }
            Outcome::Failed(code) => *row.failed.entry(code).or_default() += 1,
            Outcome::Moot => row.moot += 1,
        }
    }

    /// All rows, by load and condition.
    pub(in crate::sim) fn rows(&self) -> impl Iterator<Item = (usize, Condition, &Row)> {
        self.rows.iter().map(|((load, condition), row)| (*load, *condition, row))
    }
}

impl Row {
    /// The share of those delivered among those that were owed; none if none were.
    pub(in crate::sim) fn share(&self) -> Option<f64> {
        share(self.delivered, self.sent - self.moot)
    }
}

/// A share, to six decimals and never rounded up to all; none of nothing.
pub(in crate::sim) fn share(some: u64, all: u64) -> Option<f64> {
    if all == 0 {
        return None;
    }
    let rounded = (some as f64 / all as f64 * 1e6).floor() / 1e6;
    Some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moot_is_not_owed() {
        let mut deliveries = Deliveries::default();
        let delivered = |hops| Outcome::Delivered { hops, rtt: Duration::from_millis(70) };
        deliveries.add(0, Condition::Churn, delivered(2));
        deliveries.add(0, Condition::Churn, delivered(4));
        deliveries.add(0, Condition::Churn, Outcome::Moot);
        deliveries.add(0, Condition::Churn, Outcome::Failed("no-route".to_owned()));
        deliveries.add(0, Condition::Steady, Outcome::Moot);
        let rows: Vec<_> = deliveries.rows().collect();
        assert_eq!((rows.len(), rows[0].1, rows[0].2.share()), (2, Condition::Steady, None));
        let row = rows[1].2;
        assert_eq!((row.sent, row.share()), (4, Some(0.666_666)));
        assert_eq!(row.hops.summary().mean, 3.0);
        assert_eq!(row.failed, [("no-route".to_owned(), 1)].into());
    }

    #[test]
    fn only_all_is_one() {
        assert_eq!(share(9_999_999, 10_000_000), Some(0.999_999));
        assert_eq!(share(10_000_000, 10_000_000), Some(1.0));
    }
}
