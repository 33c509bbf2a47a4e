//! How many copies of broadcasts nodes receive, by load and condition.
//!
//! Nodes only count all the copies that they receive, so what they have counted is read whenever
//! the load or the condition changes. Deliveries are counted over the same times: both belong to
//! the moment at which they arrive.

use std::{collections::BTreeMap, time::Duration};

use super::{Run, load};
use crate::sim::{
    measure::{Condition, SETTLE},
    network::NodeIndex,
};

/// The copies and the deliveries of one load under one condition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) copies: u64,
    pub(super) deliveries: u64,
}

/// The account of copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    rows: BTreeMap<(usize, Condition), Tally>,
    /// Whose copies are being counted, and the counts when that began.
    active: Option<(usize, Condition, Tally)>,
    /// What nodes had counted that have gone since.
    retired: u64,
    /// When the last copies of a load that has ended are in.
    over: Option<Duration>,
}

impl Copies {
    /// A load has ended; its copies are still to come.
    pub(super) fn load_ended(&mut self, now: Duration) {
        self.over = Some(now + SETTLE);
    }

    /// What was counted for a load under a condition.
    pub(super) fn tally(&self, load: usize, condition: Condition) -> Tally {
        self.rows.get(&(load, condition)).copied().unwrap_or_default()
    }
}

impl Run<'_> {
    /// From now on, copies are those of this load, or of none.
    pub(super) async fn count_copies_for(&mut self, load: Option<usize>) {
        let living: Vec<NodeIndex> = self.net.alive().map(|(node, _)| node).collect();
        let copies = self.copies.retired + load::copies(self.net, &living).await;
        let deliveries = self.world.borrow().received;
        if let Some((load, condition, before)) = self.copies.active.take() {
            let row = self.copies.rows.entry((load, condition)).or_default();
            row.copies += copies.saturating_sub(before.copies);
            row.deliveries += deliveries.saturating_sub(before.deliveries);
        }
        let condition = self.condition();
        self.copies.over = None;
        self.copies.active = load.map(|load| (load, condition, Tally { copies, deliveries }));
    }

    /// The condition may be another from now on.
    pub(super) async fn weather_changed(&mut self) {
        if let Some((load, condition, _)) = self.copies.active
            && condition != self.condition()
        {
            let over = self.copies.over;
            self.count_copies_for(Some(load)).await;
            self.copies.over = over;
        }
    }

    /// Draws the line under a load that ended long enough ago.
    pub(super) async fn settle_copies(&mut self) {
        if self.copies.over.is_some_and(|over| over <= self.now()) {
            self.count_copies_for(None).await;
        }
    }

    /// These nodes are about to go.
    pub(super) async fn retire_copies(&mut self, nodes: &[NodeIndex]) {
        if self.copies.active.is_some() {
            self.copies.retired += load::copies(self.net, nodes).await;
        }
    }

    fn condition(&self) -> Condition {
        self.world.borrow().weather.of(self.now(), false)
    }
}
