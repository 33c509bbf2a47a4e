//! Sessions that neither side needs.
//!
//! Newcomers dial those who are there already, so the elder of a growing network end with many more
//! sessions than they want in a bucket. A node that could do without a session offers it (`spare`);
//! if the other side could as well, that one ends it. Nobody loses a session that it wants.

use std::{collections::BTreeSet, time::Duration};

use rand::seq::IteratorRandom;

use super::{Explorer, Output};
use crate::{
    clock::Moment, ids::NodeId, proto::redial::jittered, reason::CloseReason, wire::Encoded,
};

/// How many sessions are offered at once.
const AT_ONCE: usize = 8;

/// The longest pause between two offers, to which it doubles while none is taken.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is offered.
#[derive(Debug)]
pub(super) struct Sparing {
    pause: Duration,
    next: Moment,
    /// The sessions of the latest offer that are still there.
    offered: BTreeSet<NodeId>,
}

impl Sparing {
    pub(super) const fn new(pause: Duration, now: Moment) -> Self {
        Self { pause, next: now, offered: BTreeSet::new() }
    }
}

impl Explorer {
    /// A peer could do without its session. If this node could as well, the session ends.
    pub fn offered(&mut self, from: NodeId, out: &mut Vec<Output>) {
        if self.peers.contains_key(&from) && self.can_spare(from) {
            self.sparing.offered.insert(from);
            out.push(Output::Close(from, CloseReason::Surplus));
        }
    }

    /// A session ended, as one that was offered or by itself.
    pub(super) fn spared(&mut self, id: NodeId, is_surplus: bool) {
        if self.sparing.offered.remove(&id) && is_surplus {
            self.sparing.pause = self.config.spare_interval;
        }
    }

    /// Whether there are sessions enough without this one, and without those that may end already.
    fn can_spare(&self, id: NodeId) -> bool {
        let Some(bucket) = self.buckets.of(id) else { return false };
        let ending = self.sparing.offered.iter().filter(|other| **other != id);
        let of_bucket = ending.clone().filter(|other| self.buckets.of(**other) == Some(bucket));
        let is_dialled = |id: &NodeId| self.peers.get(id).is_some_and(|peer| peer.is_dialled);
        let of_dialled = ending.clone().filter(|id| is_dialled(id)).count();
        self.buckets.has_more(bucket, of_bucket.count())
            && self.peers.len() > self.config.target_peers + ending.count()
            && (!is_dialled(&id) || self.n_outbound > self.config.outbound_min + of_dialled)
    }

    pub(super) fn spare_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        if self.spare_deadline().is_none_or(|due| now < due) {
            return;
        }
        // Whoever did not take the last offer needs its session.
        self.sparing.offered.clear();
        let mut rng = self.rng.clone();
        let candidates = self.peers.keys().filter(|id| self.can_spare(**id)).copied();
        let chosen = candidates.choose_multiple(&mut rng, AT_ONCE);
        self.rng = rng;
        for id in chosen {
            if self.can_spare(id) {
                self.sparing.offered.insert(id);
                out.push(Output::Send(id, Encoded::SPARE));
            }
        }
        self.sparing.next = now + jittered(self.sparing.pause, &mut self.rng);
        self.sparing.pause = (self.sparing.pause * 2).min(LONGEST_PAUSE);
    }

    pub(super) fn spare_deadline(&self) -> Option<Moment> {
        let is_wanted = !self.config.spare_interval.is_zero()
            && self.peers.len() > self.config.target_peers
            && self.buckets.have_more();
        is_wanted.then_some(self.sparing.next)
    }
}
