//! What is known of the network from outside while a scenario runs, shared by whatever sees a part
//! of it: the observer of peer events, the sinks of messages, and whoever waits for an outcome.

use std::{cell::RefCell, rc::Rc, time::Duration};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::crowd::Crowd;
use crate::{
    PeerEvent,
    ids::NodeId,
    sim::{
        measure::{
            Arrival, Bits, Census, Condition, Coverage, Deliveries, Outcome, Published, Weather,
        },
        network::NodeIndex,
    },
};

/// The world, as all who see it hold it.
pub(super) type Shared = Rc<RefCell<World>>;

/// A message to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// The number of its load.
    pub(super) load: usize,
    pub(super) from: NodeIndex,
    pub(super) to: NodeIndex,
    pub(super) condition: Condition,
}

/// What is known of the network.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) census: Census,
    pub(super) living: Crowd,
    /// The smaller world of those who are cut off, while the network is split and until it is one
    /// again.
    pub(super) cut_off: Bits,
    pub(super) weather: Weather,
    pub(super) deliveries: Deliveries,
    pub(super) coverage: Coverage,
    /// Messages to all that nodes were given, by others.
    pub(super) received: u64,
    /// How many outcomes are waited for.
    pub(super) waiting: usize,
    /// When the latest message of a load was sent.
    pub(super) last_sent: Option<Duration>,
    /// Messages to all so far.
    n_published: u64,
    /// The earliest batch of messages across a former border that all arrived, as far as that is
    /// known.
    pub(super) crossed: Option<Duration>,
}

impl World {
    pub(super) fn joined(&mut self, node: NodeIndex, id: NodeId, hidden: bool) {
        self.census.join(node, id, hidden);
        self.living.join(node);
    }

    pub(super) fn left(&mut self, node: NodeIndex) {
        self.census.leave(node);
        self.living.leave(node);
        self.coverage.gone(node);
        self.cut_off.remove(node);
    }

    pub(super) fn heard(&mut self, node: NodeIndex, event: &PeerEvent) {
        match event {
            PeerEvent::Up(peer) => self.census.up(node, peer.info.id),
            PeerEvent::Down { peer, .. } => self.census.down(node, peer.info.id),
            PeerEvent::Changed(_) => {}
        }
    }

    fn are_apart(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.cut_off.contains(a) != self.cut_off.contains(b)
    }

    /// Sends a message in the mind: from whom to whom, and what it is filed under.
    pub(super) fn route(
        &mut self,
        now: Duration,
        load: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Way> {
        let from = self.living.any(rng)?;
        let to = self.living.other(from, rng)?;
        let condition = self.weather.of(now, self.are_apart(from, to));
        self.last_sent = Some(now);
        self.waiting += 1;
        Some(Way { load, from, to, condition })
    }

    /// A message had this outcome.
    pub(super) fn routed(&mut self, way: Way, outcome: Outcome) {
        self.waiting = self.waiting.saturating_sub(1);
        let live = |node| self.living.contains(node);
        let is_owed = live(way.from) && live(way.to);
        let is_delivered = matches!(outcome, Outcome::Delivered { .. });
        let outcome = if is_owed || is_delivered { outcome } else { Outcome::Moot };
        self.deliveries.add(way.load, way.condition, outcome);
    }

    /// Publishes a message in the mind. Its number.
    pub(super) fn publish(&mut self, now: Duration, load: usize, origin: NodeIndex) -> u64 {
        let mut owed = self.living.bits().clone();
        owed.remove(origin);
        if self.weather.splits() {
            let apart: Vec<_> = owed.iter().filter(|node| self.are_apart(*node, origin)).collect();
            for node in apart {
                owed.remove(node);
            }
        }
        let condition = self.weather.of(now, false);
        self.last_sent = Some(now);
        self.n_published += 1;
        let published = Published { load, condition, at: now, origin, owed };
        self.coverage.published(self.n_published, published);
        self.n_published
    }

    /// A message could not be published.
    pub(super) fn refused(&mut self, number: u64) {
        self.coverage.refused(number);
    }

    /// A node was given a message.
    pub(super) fn delivered(&mut self, now: Duration, number: u64, node: NodeIndex, hops: u8) {
        let arrival = self.coverage.delivered(number, node, hops, now);
        self.received += u64::from(matches!(arrival, Arrival::First | Arrival::Unowed));
    }

    /// So many messages across a border that was there until just now.
    pub(super) fn across(&self, n: usize, rng: &mut ChaCha8Rng) -> Vec<(NodeIndex, NodeIndex)> {
        let (here, there): (Vec<_>, Vec<_>) =
            self.living.bits().iter().partition(|node| self.cut_off.contains(*node));
        if here.is_empty() || there.is_empty() {
            return Vec::new();
        }
        let mut pairs = Vec::with_capacity(n);
        for turn in 0..n {
            let a = here.get(rng.random_range(0..here.len())).copied();
            let b = there.get(rng.random_range(0..there.len())).copied();
            let pair = if turn % 2 == 0 { a.zip(b) } else { b.zip(a) };
            pairs.extend(pair);
        }
        pairs
    }
}
