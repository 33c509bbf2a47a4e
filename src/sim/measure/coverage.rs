//! Messages to all nodes: who got them, when, how, and how often.

use std::{collections::BTreeMap, time::Duration};

use super::{super::network::NodeIndex, Bits, Condition, Distribution};

/// When nobody is owed a message any more: lost copies are repaired within seconds.
pub(in crate::sim) const SETTLE: Duration = Duration::from_secs(30);

/// A message that was published.
#[derive(Debug)]
pub(in crate::sim) struct Published {
    /// Its load.
    pub(in crate::sim) load: usize,
    /// What the network is going through.
    pub(in crate::sim) condition: Condition,
    /// When.
    pub(in crate::sim) at: Duration,
    /// Who published it.
    pub(in crate::sim) origin: NodeIndex,
    /// Who is to get it, its origin not among them.
    pub(in crate::sim) owed: Bits,
}

/// What it was that a node got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Arrival {
    /// A message that it was to get.
    First,
    /// One that it had been given before.
    Again,
    /// One that it was not owed, or not any more.
    Unowed,
    /// Its own.
    Own,
}

#[derive(Debug)]
struct Open {
    published: Published,
    got: Bits,
    /// The longest way to any node so far.
    hops: u64,
    /// When the latest node got it.
    last: Duration,
}

/// The messages of one load that were published under one condition.
#[derive(Debug, Default)]
pub(in crate::sim) struct Row {
    pub(in crate::sim) messages: u64,
    /// Messages that everybody got who was owed them.
    pub(in crate::sim) complete: u64,
    /// Deliveries that were owed: to nodes that lived all the time.
    pub(in crate::sim) owed: u64,
    /// Those of them that were made.
    pub(in crate::sim) made: u64,
    /// Deliveries of a message to a node that had it already.
    pub(in crate::sim) again: u64,
    /// The sessions on the way to each node.
    pub(in crate::sim) hops: Distribution,
    /// The same to the last node of each message.
    pub(in crate::sim) last_hops: Distribution,
    /// From publishing to each node, in milliseconds.
    pub(in crate::sim) latency: Distribution,
    /// The same to the last node of each message.
    pub(in crate::sim) last_latency: Distribution,
}

/// The accounts of all messages to all.
#[derive(Debug, Default)]
pub(in crate::sim) struct Coverage {
    open: BTreeMap<u64, Open>,
    rows: BTreeMap<(usize, Condition), Row>,
}

impl Coverage {
    /// A message is published under this number.
    pub(in crate::sim) fn published(&mut self, number: u64, published: Published) {
        let last = published.at;
        self.open.insert(number, Open { published, got: Bits::default(), hops: 0, last });
    }

    /// A message could not be published: it is as if it had never been.
    pub(in crate::sim) fn refused(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// A node got the message of this number.
    pub(in crate::sim) fn delivered(
        &mut self,
        number: u64,
        node: NodeIndex,
        hops: u8,
        now: Duration,
    ) -> Arrival {
        let Some(open) = self.open.get_mut(&number) else { return Arrival::Unowed };
        let Published { load, condition, at, origin, owed } = &open.published;
        if *origin == node {
            return Arrival::Own;
        }
        let row = self.rows.entry((*load, *condition)).or_default();
        if !open.got.insert(node) {
            row.again += 1;
            return Arrival::Again;
        }
        if !owed.contains(node) {
            return Arrival::Unowed;
        }
        let hops = u64::from(hops);
        row.hops.add(hops);
        row.latency.add(millis(now.saturating_sub(*at)));
        open.hops = open.hops.max(hops);
        open.last = now;
        Arrival::First
    }

    /// A node has gone: it is owed nothing any more.
    pub(in crate::sim) fn gone(&mut self, node: NodeIndex) {
        for open in self.open.values_mut() {
            open.published.owed.remove(node);
        }
    }

    /// Draws the line under all messages that were published long enough ago.
    pub(in crate::sim) fn settle(&mut self, now: Duration) {
        let is_over = |open: &Open| open.published.at + SETTLE <= now;
        while let Some(first) = self.open.first_entry().filter(|first| is_over(first.get())) {
            let Open { published, got, hops, last } = first.remove();
            let Published { load, condition, at, owed, .. } = published;
            let row = self.rows.entry((load, condition)).or_default();
            let (n_owed, n_made) = (count(owed.len()), count(owed.n_common(&got)));
            row.messages += 1;
            row.complete += u64::from(n_owed == n_made);
            row.owed += n_owed;
            row.made += n_made;
            row.last_hops.add(hops);
            row.last_latency.add(millis(last.saturating_sub(at)));
        }
    }

    /// All rows, by load and condition.
    pub(in crate::sim) fn rows(&self) -> impl Iterator<Item = (usize, Condition, &Row)> {
        self.rows.iter().map(|((load, condition), row)| (*load, *condition, row))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn published(secs: u64, owed: &[NodeIndex]) -> Published {
        let owed = owed.iter().copied().collect();
        Published { load: 0, condition: Condition::Steady, at: at(secs), origin: 0, owed }
    }

    #[test]
    fn who_lives_all_the_time_is_owed_each_message_once() {
        let mut coverage = Coverage::default();
        coverage.published(1, published(0, &[1, 2, 3, 4]));
        assert_eq!(coverage.delivered(1, 0, 0, at(0)), Arrival::Own);
        assert_eq!(coverage.delivered(1, 1, 1, at(1)), Arrival::First);
        assert_eq!(coverage.delivered(1, 2, 3, at(2)), Arrival::First);
        assert_eq!(coverage.delivered(1, 2, 3, at(3)), Arrival::Again);
        // A newcomer is welcome to it.
        assert_eq!(coverage.delivered(1, 9, 7, at(3)), Arrival::Unowed);
        coverage.gone(4);
        coverage.settle(at(29));
        assert_eq!(coverage.rows().next().unwrap().2.messages, 0);
        coverage.settle(at(30));
        assert_eq!(coverage.delivered(1, 3, 1, at(31)), Arrival::Unowed, "too late");
        let row = coverage.rows().next().unwrap().2;
        assert_eq!((row.messages, row.complete, row.owed, row.made, row.again), (1, 0, 3, 2, 1));
        assert_eq!((row.last_hops.max(), row.last_latency.max()), (3, 2000));
        assert_eq!(row.hops.summary().mean, 2.0);
    }

    #[test]
    fn what_could_not_be_published_was_never_owed() {
        let mut coverage = Coverage::default();
        coverage.published(1, published(0, &[1]));
        coverage.published(2, published(1, &[1]));
        coverage.refused(1);
        coverage.delivered(2, 1, 1, at(1));
        coverage.settle(at(60));
        let row = coverage.rows().next().unwrap().2;
        assert_eq!((row.messages, row.complete), (1, 1));
    }

    #[test]
    fn a_node_that_got_it_and_went_is_no_longer_counted() {
        let mut coverage = Coverage::default();
        coverage.published(1, published(0, &[1, 2]));
        coverage.delivered(1, 1, 1, at(1));
        coverage.gone(1);
        coverage.settle(at(60));
        let row = coverage.rows().next().unwrap().2;
        assert_eq!((row.owed, row.made), (1, 0));
    }
}
