//! What was done to the network, and how long it took to recover. Pure.

use std::time::Duration;

use crate::sim::{
    measure::ratio,
    report::{ChurnRow, KillRow, PartitionRow},
};

/// What was done. Times are since the first join; only what has happened is here.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    churns: Vec<Churn>,
    kills: Vec<Kill>,
    partitions: Vec<Partition>,
}

#[derive(Debug)]
struct Churn {
    from: Duration,
    to: Option<Duration>,
    replaced: u64,
    /// Looks at it, and the sum of the shares of nodes that lacked something then.
    looks: u32,
    lacking: f64,
    mended: Option<Duration>,
}

#[derive(Debug)]
struct Kill {
    at: Duration,
    killed: usize,
    survivors: usize,
    connected: bool,
    mended: Option<Duration>,
}

#[derive(Debug)]
struct Partition {
    at: Duration,
    sides: [usize; 2],
    healed: Option<Duration>,
    connected: Option<Duration>,
    routed: Option<Duration>,
    mended: Option<Duration>,
}

impl Ledger {
    pub(super) fn churn_began(&mut self, now: Duration) {
        let (to, mended) = (None, None);
        let churn = Churn { from: now, to, replaced: 0, looks: 0, lacking: 0.0, mended };
        self.churns.push(churn);
    }

    /// Nodes were replaced, in all the times of churn that are going on.
    pub(super) fn replaced(&mut self, n: usize) {
        if let Some(churn) = self.churns.iter_mut().find(|churn| churn.to.is_none()) {
            churn.replaced += u64::try_from(n).unwrap_or(u64::MAX);
        }
    }

    /// The time of churn that began first has ended.
    pub(super) fn churn_ended(&mut self, now: Duration) {
        if let Some(churn) = self.churns.iter_mut().find(|churn| churn.to.is_none()) {
            churn.to = Some(now);
        }
    }

    pub(super) fn killed(
        &mut self,
        at: Duration,
        killed: usize,
        survivors: usize,
        connected: bool,
    ) {
        self.kills.push(Kill { at, killed, survivors, connected, mended: None });
    }

    pub(super) fn split(&mut self, at: Duration, sides: [usize; 2]) {
        let (healed, connected, routed, mended) = (None, None, None, None);
        self.partitions.push(Partition { at, sides, healed, connected, routed, mended });
    }

    pub(super) fn healed(&mut self, now: Duration) {
        if let Some(partition) = self.partitions.last_mut() {
            partition.healed = Some(now);
        }
    }

    /// So many of all nodes lack a session.
    pub(super) fn looked(&mut self, lacking: usize, nodes: usize) {
        for churn in self.churns.iter_mut().filter(|churn| churn.to.is_none()) {
            churn.looks += 1;
            churn.lacking += lacking as f64 / nodes.max(1) as f64;
        }
    }

    /// No node lacks anything.
    pub(super) fn mended(&mut self, now: Duration) {
        for churn in self.churns.iter_mut().filter(|churn| churn.to.is_some()) {
            churn.mended.get_or_insert(now);
        }
        for kill in &mut self.kills {
            kill.mended.get_or_insert(now);
        }
        for partition in self.partitions.iter_mut().filter(|part| part.healed.is_some()) {
            partition.mended.get_or_insert(now);
        }
    }

    /// When the healing began that has not ended yet: the network is not known to be connected, or
    /// messages have not been seen to get across.
    pub(super) fn healing(&self) -> Option<Healing> {
        let partition = self.partitions.last()?;
        let healed = partition.healed?;
        let (connected, routed) = (partition.connected.is_some(), partition.routed.is_some());
        (!connected || !routed).then_some(Healing { healed, connected, routed })
    }

    /// The network is connected by its sessions.
    pub(super) fn connected(&mut self, now: Duration) {
        if let Some(partition) = self.partitions.last_mut() {
            partition.connected.get_or_insert(now);
        }
    }

    /// All messages across the former border that were sent then have arrived.
    pub(super) fn routed(&mut self, sent: Duration) {
        if let Some(partition) = self.partitions.last_mut() {
            partition.routed.get_or_insert(sent);
        }
    }

    pub(super) fn churn_rows(&self, zero: Duration, end: Duration) -> Vec<ChurnRow> {
        let row = |churn: &Churn| {
            let to = churn.to.unwrap_or(end);
            ChurnRow {
                from_secs: secs(churn.from, zero),
                to_secs: secs(to, zero),
                replaced: churn.replaced,
                lacking: ratio(churn.lacking, f64::from(churn.looks)),
                mended_secs: churn.mended.map(|mended| secs(mended, to)),
            }
        };
        self.churns.iter().map(row).collect()
    }

    pub(super) fn kill_rows(&self, zero: Duration) -> Vec<KillRow> {
        let row = |kill: &Kill| KillRow {
            at_secs: secs(kill.at, zero),
            killed: kill.killed,
            survivors: kill.survivors,
            connected: kill.connected,
            mended_secs: kill.mended.map(|mended| secs(mended, kill.at)),
        };
        self.kills.iter().map(row).collect()
    }

    pub(super) fn partition_rows(&self, zero: Duration, end: Duration) -> Vec<PartitionRow> {
        let row = |part: &Partition| {
            let healed = part.healed.unwrap_or(end);
            let since = |at: Option<Duration>| at.map(|at| secs(at, healed));
            PartitionRow {
                at_secs: secs(part.at, zero),
                healed_at_secs: secs(healed, zero),
                sides: part.sides,
                connected_secs: since(part.connected),
                routed_secs: since(part.routed),
                one_secs: since(part.connected.zip(part.routed).map(|(a, b)| a.max(b))),
                mended_secs: since(part.mended),
            }
        };
        self.partitions.iter().map(row).collect()
    }
}

/// What is still to be seen of a network that was split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Healing {
    /// When it was healed.
    pub(super) healed: Duration,
    /// It has been seen connected.
    pub(super) connected: bool,
    /// Messages have been seen to get across.
    pub(super) routed: bool,
}

/// The seconds from one moment to another, to milliseconds; negative if it is earlier.
pub(super) fn secs(at: Duration, from: Duration) -> f64 {
    let millis = |time: Duration| time.as_millis() as f64;
    (millis(at) - millis(from)) / 1000.0
}

/// This share of so many.
pub(super) fn share_of(share: f64, n: usize) -> usize {
    // Never more than n, whose like a float holds exactly.
    (share * n as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_kill_is_mended_when_nobody_lacks_anything_for_the_first_time() {
        let mut ledger = Ledger::default();
        ledger.killed(at(100), 3, 7, true);
        ledger.mended(at(130));
        ledger.mended(at(150));
        let row = KillRow {
            at_secs: 90.0,
            killed: 3,
            survivors: 7,
            connected: true,
            mended_secs: Some(30.0),
        };
        assert_eq!(ledger.kill_rows(at(10)), [row]);
    }

    #[test]
    fn churn_is_mended_after_its_end() {
        let mut ledger = Ledger::default();
        ledger.churn_began(at(10));
        ledger.replaced(1);
        ledger.looked(1, 2);
        ledger.looked(0, 2);
        ledger.mended(at(12));
        ledger.churn_ended(at(20));
        ledger.looked(2, 2);
        let row = ChurnRow {
            from_secs: 10.0,
            to_secs: 20.0,
            replaced: 1,
            lacking: 0.25,
            mended_secs: None,
        };
        assert_eq!(ledger.churn_rows(at(0), at(99)), [row.clone()]);
        ledger.mended(at(25));
        let mended = ChurnRow { mended_secs: Some(5.0), ..row };
        assert_eq!(ledger.churn_rows(at(0), at(99)), [mended]);
    }

    #[test]
    fn a_partition_is_over_when_it_is_both_connected_and_crossed() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.healing(), None);
        ledger.split(at(10), [4, 6]);
        ledger.mended(at(11));
        assert_eq!(ledger.healing(), None);
        ledger.healed(at(20));
        let healing = Healing { healed: at(20), connected: false, routed: false };
        assert_eq!(ledger.healing(), Some(healing));
        ledger.connected(at(22));
        assert_eq!(ledger.healing(), Some(Healing { connected: true, ..healing }));
        ledger.routed(at(21));
        assert_eq!(ledger.healing(), None);
        let row = ledger.partition_rows(at(0), at(99)).remove(0);
        assert_eq!((row.connected_secs, row.routed_secs), (Some(2.0), Some(1.0)));
        assert_eq!((row.one_secs, row.mended_secs), (Some(2.0), None));
    }

    #[test]
    fn shares_are_rounded() {
        assert_eq!([share_of(0.3, 10), share_of(0.0, 10), share_of(1.0, 10)], [3, 0, 10]);
    }
}
