//! Where a message to one node goes next, and how its answer finds back.
//!
//! A message goes greedily to the peer that is closest by XOR to the node it is for (Kademlia's
//! metric), and strictly closer than the one that passes it on, so that it cannot go round. Where it
//! comes to a dead end it goes back one step and tries the next best, as far as its steps reach.
//! Its answer goes back by the trail that each node keeps of it.
//!
//! What the bodies hold and whether an answer is true is not known here: whoever owns this machine
//! reads and proves. Sending can fail; the owner says so by [`Routing::not_sent`].
//!
//! Invariants:
//! * R1: every message that this node originates ends with exactly one [`Output::Done`], at its
//!   deadline at the latest.
//! * R2: the message of another goes only to peers strictly closer to its target than this node, and
//!   not beyond [`MAX_HOPS`] steps.
//! * R3: of one message only one copy is passed on at a time. A copy that comes by another way is
//!   told `no-route`, so that it looks elsewhere.
//! * R4: a peer's answer counts only if the message was sent to it and it has not answered yet; each
//!   message is answered at most once.
//! * R5: trails, those of one peer, and what they keep, are bounded ([`TrailLimits`]), and so are
//!   the messages of this node's own.
//!
//! # Security
//! A peer can lie about everything but the identity of its session. Saying that a message is new
//! when it is not, or fewer steps than it has taken, gains it no more than sending another message.
//! An answer that lacks what only the target could say is no answer here either; whether what it
//! says is true only the origin can tell.

mod frames;
mod own;
mod trails;
mod walk;

use std::collections::BTreeSet;

use bytes::Bytes;

pub use self::{
    frames::{Head, MAX_WHY, Outcome, Proof, Reply},
    trails::TrailLimits,
    walk::MAX_TRIES,
};
use self::{
    own::{Own, Owns},
    trails::Trails,
    walk::Walk,
};
use crate::{
    clock::Moment,
    ids::{MessageId, NodeId},
    proto::by_message::Secret,
};

/// The most steps of one message on one of its origin's ways. Ten thousand nodes need about four,
/// and a million five.
pub const MAX_HOPS: u8 = 32;

/// The most messages of this node's own that wait for an answer.
pub const MAX_OWN: usize = 4096;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a message to a peer; if that fails, say so by [`Routing::not_sent`].
    Forward {
        /// The peer.
        to: NodeId,
        /// The message's addressing.
        head: Head,
        /// Its body.
        body: Bytes,
    },
    /// Send an answer to a peer. If that fails it is lost.
    Reply {
        /// The peer.
        to: NodeId,
        /// The answer.
        reply: Reply,
    },
    /// A message for this node: read it, and answer the peer it came from.
    Deliver {
        /// The peer.
        via: NodeId,
        /// The message's addressing.
        head: Head,
        /// Its body.
        body: Bytes,
    },
    /// What became of a message of this node's own.
    Done(Reply),
}

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoutingCounts {
    /// Messages of others that were sent on; each try counts.
    pub forwarded: u64,
    /// What others said of them that was passed back.
    pub answered: u64,
    /// Messages of others for which there was no way from here.
    pub dead_ends: u64,
    /// Copies of messages of others that had come already.
    pub duplicates: u64,
    /// Messages of others that were told `busy`, since their peer has too many under way.
    pub crowded: u64,
    /// Answers that nobody waited for any more.
    pub strays: u64,
    /// Trails that ended without an answer.
    pub expired: u64,
    /// Trails that gave way to newer ones.
    pub evicted: u64,
    /// Bodies that were passed on but not kept for another try.
    pub unkept: u64,
}

/// The machine behind the router.
#[derive(Debug)]
pub struct Routing {
    me: NodeId,
    /// Those who pass messages on.
    peers: BTreeSet<NodeId>,
    trails: Trails,
    owns: Owns,
    counts: RoutingCounts,
}

impl Routing {
    /// A node without peers. The secret is one that nobody else knows.
    #[must_use]
    pub fn new(me: NodeId, limits: TrailLimits, secret: Secret) -> Self {
        let (peers, trails) = (BTreeSet::new(), Trails::new(limits, secret));
        let owns = Owns::default();
        Self { me, peers, trails, owns, counts: RoutingCounts::default() }
    }

    /// There is a peer that passes messages on.
    pub fn up(&mut self, peer: NodeId) {
        if peer != self.me {
            self.peers.insert(peer);
        }
    }

    /// A peer is gone, with all that it was to answer.
    pub fn down(&mut self, now: Moment, peer: NodeId, out: &mut Vec<Output>) {
        self.peers.remove(&peer);
        for id in self.owns.waiting_for(peer) {
            self.own_missed(&id, peer, None, Outcome::NoRoute, None, out);
        }
        for id in self.trails.of(peer) {
            // One of the two: a message never goes back to whom it came from.
            if self.trails.get_mut(&id).is_some_and(|trail| trail.prev == Some(peer)) {
                self.trails.orphan(&id);
            }
            if self.trails.get_mut(&id).is_some_and(|trail| trail.walk.waits_for(peer)) {
                self.trail_missed(&id, peer, None, Outcome::NoRoute, None, out);
            }
        }
        self.tick(now, out);
    }

    /// Sends off a message of this node's own, which ends at `due` at the latest. It may also go
    /// to a peer that is farther from its target than this node, if there is no other. The id must
    /// be a fresh one; one that is under way ends as it does.
    pub fn originate(
        &mut self,
        now: Moment,
        head: Head,
        body: Bytes,
        due: Moment,
        out: &mut Vec<Output>,
    ) {
        if self.owns.contains(&head.id) {
            return;
        }
        if self.owns.len() >= MAX_OWN {
            out.push(Output::Done(Reply::new(head.id, Outcome::Busy, 0)));
            return;
        }
        let mut walk = Walk::new(Head { from: self.me, ..head }, Some(body));
        if own_step(&self.peers, &mut walk, None, out) {
            self.owns.insert(Own::new(now, walk, due));
        } else {
            out.push(Output::Done(walk.verdict()));
        }
        self.tick(now, out);
    }

    /// A message came from a peer.
    pub fn arrived(
        &mut self,
        now: Moment,
        via: NodeId,
        head: Head,
        body: Bytes,
        out: &mut Vec<Output>,
    ) {
        self.tick(now, out);
        // Its own message came back: from here there is no way that it does not try anyway.
        if head.from == self.me || self.owns.contains(&head.id) {
            return turn_away(via, &head, Outcome::NoRoute, out);
        }
        if head.to == self.me {
            return out.push(Output::Deliver { via, head, body });
        }
        if let Some(trail) = self.trails.get_mut(&head.id) {
            let is_orphan = trail.prev.is_none() && trail.walk.is_waiting();
            if is_orphan && self.trails.has_room_for(via) {
                return self.trails.adopt(&head.id, via);
            }
            self.counts.duplicates += 1;
            return turn_away(via, &head, Outcome::NoRoute, out);
        }
        if !self.trails.has_room_for(via) {
            self.counts.crowded += 1;
            return turn_away(via, &head, Outcome::Busy, out);
        }
        let mut walk = Walk::new(head, Some(body.clone()));
        let below = head.to.distance(self.me);
        if step(&self.peers, &mut walk, body, Some(via), below, out) {
            let (is_kept, evicted) = self.trails.begin(now, via, walk);
            self.counts.forwarded += 1;
            self.counts.unkept += u64::from(!is_kept);
            self.counts.evicted += u64::try_from(evicted).unwrap_or_default();
        } else {
            self.counts.dead_ends += 1;
            turn_away(via, &head, Outcome::NoRoute, out);
        }
    }

    /// A peer says what became of a message. `is_true`: this node has sent it off, and the answer
    /// proves itself; it has no meaning for the messages of others.
    pub fn replied(
        &mut self,
        now: Moment,
        from: NodeId,
        reply: Reply,
        is_true: bool,
        out: &mut Vec<Output>,
    ) {
        self.tick(now, out);
        let (id, outcome) = (reply.id, reply.outcome);
        if self.owns.get_mut(&id).is_some_and(|own| own.walk.waits_for(from)) {
            if outcome.is_final() && is_true {
                self.owns.remove(&id);
                out.push(Output::Done(reply));
            } else {
                self.own_missed(&id, from, Some(&reply), outcome, None, out);
            }
            return;
        }
        if !self.trails.get_mut(&id).is_some_and(|trail| trail.walk.waits_for(from)) {
            self.counts.strays += 1;
            return;
        }
        if !reply.is_plausible() {
            return self.trail_missed(&id, from, Some(&reply), outcome, None, out);
        }
        if let Some(to) = self.trails.end(&id).and_then(|trail| trail.prev) {
            self.counts.answered += 1;
            out.push(Output::Reply { to, reply });
        }
    }

    /// A message could not be sent to a peer: its outbox is full ([`Outcome::Busy`]), or it is gone
    /// or does not take such a message ([`Outcome::NoRoute`]). The body comes back, since it may not
    /// have been kept.
    pub fn not_sent(
        &mut self,
        peer: NodeId,
        id: MessageId,
        body: Bytes,
        outcome: Outcome,
        out: &mut Vec<Output>,
    ) {
        if self.owns.contains(&id) {
            self.own_missed(&id, peer, None, outcome, Some(body), out);
        } else {
            self.trail_missed(&id, peer, None, outcome, Some(body), out);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Output>) {
        let expired = self.trails.expire(now);
        self.counts.expired += u64::try_from(expired).unwrap_or_default();
        while let Some((id, is_end)) = self.owns.pop_due(now) {
            if is_end {
                self.owns.remove(&id);
                out.push(Output::Done(Reply::new(id, Outcome::Timeout, 0)));
            } else if let Some(own) = self.owns.get_mut(&id) {
                own_step(&self.peers, &mut own.walk, None, out);
            }
        }
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        [self.owns.deadline(), self.trails.deadline()].into_iter().flatten().min()
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> RoutingCounts {
        self.counts
    }

    /// How many messages are under way: of this node's own, and of others.
    #[must_use]
    pub fn under_way(&self) -> (usize, usize) {
        (self.owns.len(), self.trails.len())
    }

    /// A peer did not take a message of this node's own, or did not get it to its target.
    fn own_missed(
        &mut self,
        id: &MessageId,
        peer: NodeId,
        reply: Option<&Reply>,
        outcome: Outcome,
        body: Option<Bytes>,
        out: &mut Vec<Output>,
    ) {
        let Some(own) = self.owns.get_mut(id) else { return };
        own.walk.missed(peer, reply, outcome);
        if own_step(&self.peers, &mut own.walk, body, out) || own.walk.is_waiting() {
            return;
        }
        out.push(Output::Done(own.walk.verdict()));
        self.owns.remove(id);
    }

    /// The same of another's message.
    fn trail_missed(
        &mut self,
        id: &MessageId,
        peer: NodeId,
        reply: Option<&Reply>,
        outcome: Outcome,
        body: Option<Bytes>,
        out: &mut Vec<Output>,
    ) {
        let Some(trail) = self.trails.get_mut(id) else { return };
        let (walk, prev) = (&mut trail.walk, trail.prev);
        walk.missed(peer, reply, outcome);
        let below = walk.head.to.distance(self.me);
        if let Some(body) = body.or_else(|| walk.body.clone())
            && step(&self.peers, walk, body, prev, below, out)
        {
            self.counts.forwarded += 1;
            return;
        }
        self.counts.dead_ends += 1;
        if let Some(to) = prev {
            out.push(Output::Reply { to, reply: walk.verdict() });
        }
        self.trails.dead_end(id);
    }
}

/// A message that came is not passed on.
fn turn_away(via: NodeId, head: &Head, outcome: Outcome, out: &mut Vec<Output>) {
    let hops = head.hops.min(MAX_HOPS);
    out.push(Output::Reply { to: via, reply: Reply::new(head.id, outcome, hops) });
}

/// Sends a message of this node's own on another way, if there is one. Each has all its steps.
fn own_step(
    peers: &BTreeSet<NodeId>,
    walk: &mut Walk,
    body: Option<Bytes>,
    out: &mut Vec<Output>,
) -> bool {
    walk.head.hops = 0;
    let body = body.or_else(|| walk.body.clone()).unwrap_or_default();
    step(peers, walk, body, None, u128::MAX, out)
}

/// Sends a message to the next best peer that is closer to its target than this, if there is one.
fn step(
    peers: &BTreeSet<NodeId>,
    walk: &mut Walk,
    body: Bytes,
    prev: Option<NodeId>,
    below: u128,
    out: &mut Vec<Output>,
) -> bool {
    if !walk.has_tries() || walk.head.hops >= MAX_HOPS {
        return false;
    }
    let (target, origin) = (walk.head.to, walk.head.from);
    let is_free = |peer: NodeId| Some(peer) != prev && peer != origin && !walk.has_tried(peer);
    let next = if peers.contains(&target) && is_free(target) {
        Some(target)
    } else {
        // There are some dozens of them, and a distance costs a nanosecond.
        let all = peers.iter().filter(|peer| is_free(**peer));
        let closer = all.map(|peer| (target.distance(*peer), *peer)).filter(|(d, _)| *d < below);
        closer.min().map(|(_, peer)| peer)
    };
    let Some(to) = next else { return false };
    walk.sent(to);
    walk.head.hops += 1;
    out.push(Output::Forward { to, head: walk.head, body });
    true
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
