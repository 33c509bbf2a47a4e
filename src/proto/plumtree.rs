//! Messages to everybody: what is handed on at once, what is announced, and what is asked for.
//!
//! PlumTree (Leitão, Pereira and Rodrigues 2007) sends a message eagerly along a tree, announces it
//! lazily everywhere else, and repairs the tree where an announcement shows that something is
//! missing. There the tree is what is left when all links on which a message came twice have been
//! pruned. Here it follows from the ids, as in broadcast over a distributed hash table (El-Ansary,
//! Alima, Brand and Haridi 2003): see [`Duty`]. So each origin has a tree of its own, which needs no
//! learning and no keeping, and each message comes once. What gets lost on the way (a neighbour that
//! is dead and not known to be, a session that is missing) is announced by others and asked for.
//!
//! Owns who the neighbours are, which messages have been here, the latest of them, and how much each
//! origin may say. Does not read, verify or send anything: whoever holds it asks
//! [`check`](Plumtree::check) of a message that came, verifies it if that is worth it, and then says
//! [`accept`](Plumtree::accept).
//!
//! Invariants:
//! * G1: a message is accepted at most once, whatever comes in whatever order.
//! * G2: nothing is handed on or announced that was not accepted.
//! * G3: a neighbour is pushed a message at most once, unless it asks for it.
//! * G4: every table here has a bound, and what is over it is counted.

mod cache;
mod config;
mod duty;
mod missing;
mod neighbours;
mod origins;

use std::{collections::BTreeSet, time::Duration};

use rand::{
    SeedableRng,
    seq::{IteratorRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;

use self::{
    cache::{Cache, Kept},
    duty::{at_distance, level_of},
    missing::Missing,
    neighbours::{Neighbours, Pending, Pieces},
    origins::{Came, Origins},
};
pub use self::{
    config::GossipConfig,
    duty::{Duty, LEVELS},
};
use crate::{
    clock::Moment,
    ids::{MessageId, NodeId},
    proto::{
        journal::{Decision, Kind},
        redial::jittered,
        replay::{Replay, millis},
        token_bucket::TokenBucket,
    },
};

/// The most ids that one announcement or one question has.
pub const MAX_IDS: usize = 512;

/// Messages that are known to be missing, at most.
const MAX_MISSING: usize = 8192;

/// A message that is younger than this when an answer brings it is on its way to others too, and may
/// have been lost to all of a subtree. An older one is what this node alone was away for. In
/// milliseconds.
const FRESH: u64 = 10_000;

/// How far back two neighbours compare what they have; and what that costs of what a neighbour may
/// ask for, in bytes.
const COMPARED: Duration = Duration::from_secs(60);
const COMPARISON: usize = 16 * 1024;

/// How often what is too old is thrown away if nothing comes. Otherwise it is whenever something
/// comes.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What stands on the outside of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which message it is.
    pub id: MessageId,
    /// Who sent it.
    pub origin: NodeId,
    /// When it was made, by its origin's clock, in milliseconds since the Unix epoch.
    pub made: u64,
    /// Over how many sessions it has come, this one included.
    pub hops: u8,
    /// What this node is to see to.
    pub duty: Duty,
}

/// What to do with a message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Verify it, and accept it if it holds.
    New,
    /// It has been here. What there was to do has been done.
    Known,
    /// Its time is too far from this node's, or it may have been here.
    Stale,
    /// Its origin sends more than it may.
    OverRate,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<B> {
    /// Send a message to these neighbours, each with what it is to see to.
    Push {
        /// Which.
        id: MessageId,
        /// Over how many sessions it has come when it gets there.
        hops: u8,
        /// The message.
        body: B,
        /// To whom.
        to: Vec<(NodeId, Duty)>,
    },
    /// Tell a neighbour that these messages are here; at most [`MAX_IDS`].
    Announce(NodeId, Vec<MessageId>),
    /// The same, and ask it to announce which others of the last minute it has.
    Compare(NodeId, Vec<MessageId>),
    /// Ask a neighbour for these messages; at most [`MAX_IDS`].
    Graft(NodeId, Vec<MessageId>),
    /// Tell a neighbour that what it sent was here before.
    Prune(NodeId),
    /// Keep this decision.
    Note(Box<Decision>),
}

/// What has happened, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GossipStats {
    /// Messages that this node published.
    pub published: u64,
    /// Messages that came, each copy counted.
    pub received: u64,
    /// Messages that were taken.
    pub accepted: u64,
    /// Copies of messages that had been here.
    pub duplicates: u64,
    /// Messages that were too old, or too far ahead.
    pub stale: u64,
    /// Messages over their origin's rate.
    pub over_rate: u64,
    /// Copies that were handed on, answers to questions included.
    pub pushed: u64,
    /// Ids that were announced, each neighbour counted.
    pub announced: u64,
    /// Messages that were asked for, each question counted.
    pub asked: u64,
    /// Messages that came since they were asked for.
    pub grafted: u64,
    /// Ids and questions that were not looked at, being more than a neighbour may send.
    pub ignored: u64,
}

/// This node publishes more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverRate;

/// The machine behind broadcast. `B` is what the owner keeps of each message to send it by; its
/// clones should be cheap.
#[derive(Debug)]
pub struct Plumtree<B> {
    me: NodeId,
    config: GossipConfig,
    rng: ChaCha8Rng,
    neighbours: Neighbours,
    /// By id, with what this node has seen to.
    taken: Replay<MessageId, Duty>,
    cache: Cache<B>,
    missing: Missing,
    origins: Origins,
    /// What this node itself may still publish.
    own: TokenBucket,
    pending: Vec<Pending>,
    announce_due: Option<Moment>,
    compare_due: Option<Moment>,
    sweep_due: Option<Moment>,
    stats: GossipStats,
}

impl<B: Clone> Plumtree<B> {
    /// A node without neighbours.
    #[must_use]
    pub fn new(me: NodeId, config: GossipConfig, seed: u64, now: Moment) -> Self {
        let backlog = u32::try_from(config.keep_messages).unwrap_or(u32::MAX);
        let more = |n: u32| n.saturating_add(n.div_ceil(4));
        let (burst, per_second) = (config.publish_burst, config.publish_per_second);
        Self {
            me,
            rng: ChaCha8Rng::seed_from_u64(seed),
            neighbours: Neighbours::default(),
            taken: Replay::new(config.taken),
            cache: Cache::new(config.keep_for, config.keep_messages, config.keep_bytes),
            missing: Missing::new(MAX_MISSING, config.graft_after, config.graft_retry),
            origins: Origins::new(config.origins, more(burst), more(per_second), backlog),
            own: TokenBucket::new(burst, per_second, now),
            pending: Vec::new(),
            announce_due: None,
            compare_due: None,
            sweep_due: None,
            stats: GossipStats::default(),
            config,
        }
    }

    /// A neighbour is there. It is told what it may have missed. Nothing happens if it was there
    /// before.
    pub fn up(&mut self, now: Moment, peer: NodeId, out: &mut Vec<Output<B>>) {
        let distance = self.me.distance(peer);
        if !self.neighbours.insert(now, distance) {
            return;
        }
        if self.compare_due.is_none() {
            self.compare_later(now);
        }
        self.cache.expire(now);
        let newest: Vec<_> = self.cache.newest(Moment::ZERO).take(MAX_IDS).collect();
        self.announce(peer, newest, out);
    }

    /// A neighbour is gone.
    pub fn down(&mut self, peer: NodeId) {
        self.neighbours.remove(self.me.distance(peer));
    }

    /// Whether this node may publish one more message now.
    pub fn may_publish(&mut self, now: Moment) -> bool {
        self.own.tokens(now) > 0
    }

    /// Publishes a message of this node's own, which takes so many bytes to keep and to send.
    ///
    /// # Errors
    /// This node has published more than it may. Nothing was sent.
    pub fn publish(
        &mut self,
        now: Moment,
        id: MessageId,
        made: u64,
        (bytes, body): (usize, B),
        out: &mut Vec<Output<B>>,
    ) -> Result<(), OverRate> {
        if self.own.take(now, 1) == 0 {
            return Err(OverRate);
        }
        self.stats.published += 1;
        let head = Head { id, origin: self.me, made, hops: 0, duty: Duty::ALL };
        self.take_in(now, 0, &head, Kept { hops: 0, bytes, body }, out);
        Ok(())
    }

    /// A neighbour sent a message. Whether it is worth verifying.
    pub fn check(
        &mut self,
        now: Moment,
        from: NodeId,
        head: &Head,
        out: &mut Vec<Output<B>>,
    ) -> Verdict {
        self.stats.received += 1;
        if self.taken.known(&head.id).is_some() {
            self.stats.duplicates += 1;
            self.came_again(now, from, head, out);
            return Verdict::Known;
        }
        if !self.taken.is_fresh(now, head.made) {
            self.stats.stale += 1;
            self.missing.forget(&head.id);
            return Verdict::Stale;
        }
        if self.origins.may(now, head.origin, self.came(head)) {
            return Verdict::New;
        }
        self.stats.over_rate += 1;
        self.missing.forget(&head.id);
        if self.origins.is_news(head.origin) {
            let note = Decision::new(now, Kind::Throttled, "broadcast-rate").peer(head.origin);
            let rate = self.config.publish_per_second;
            let note = note.number("messages-per-second", rate.into());
            out.push(Output::Note(Box::new(note)));
        }
        Verdict::OverRate
    }

    /// A copy of a message that has been here.
    fn came_again(&mut self, now: Moment, from: NodeId, head: &Head, out: &mut Vec<Output<B>>) {
        let distance = self.me.distance(from);
        let duty = head.duty.from_sender_at(distance);
        if duty.is_none() {
            // The answer to a question, which came after another.
            return;
        }
        // It came by another way before its time. What comes with it is still this node's to do.
        if let Some(done) = self.taken.known_mut(&head.id) {
            let rest = duty.without(*done);
            *done = done.with(duty);
            if let Some(kept) = self.cache.get(&head.id) {
                let (n, _) = self.hand_on(now, head.id, kept, rest, distance, out);
                self.stats.pushed += n;
            }
        }
        if self.neighbours.contains(distance) {
            out.push(Output::Prune(from));
        }
    }

    /// A message that was worth verifying is what it seems: it is handed on. It takes so many bytes
    /// to keep and to send. Whether it is to be delivered: not if it has been here after all.
    pub fn accept(
        &mut self,
        now: Moment,
        from: NodeId,
        head: &Head,
        (bytes, body): (usize, B),
        out: &mut Vec<Output<B>>,
    ) -> bool {
        if self.taken.known(&head.id).is_some() {
            return false;
        }
        let distance = self.me.distance(from);
        self.stats.accepted += 1;
        self.origins.took(now, head.origin, self.came(head));
        let head = Head { duty: head.duty.from_sender_at(distance), ..*head };
        self.take_in(now, distance, &head, Kept { hops: head.hops, bytes, body }, out);
        true
    }

    /// Nobody hands a message on without anything to see to, unless it was asked for it.
    fn came(&self, head: &Head) -> Came {
        let is_answer = head.duty.is_none() && self.missing.contains(&head.id);
        if is_answer { Came::Asked } else { Came::Pushed }
    }

    fn take_in(
        &mut self,
        now: Moment,
        from: u128,
        head: &Head,
        kept: Kept<B>,
        out: &mut Vec<Output<B>>,
    ) {
        let was_missing = self.missing.forget(&head.id);
        let is_answer = was_missing && head.duty.is_none();
        self.stats.grafted += u64::from(is_answer);
        let is_lost = is_answer && millis(now).abs_diff(head.made) <= FRESH;
        let lost_beyond = is_lost.then(|| level_of(from).saturating_add(1));
        let (id, duty) = (head.id, head.duty);
        self.taken.insert(now, id, head.made, duty);
        let (n, left_out) = self.hand_on(now, id, &kept, duty, from, out);
        self.stats.pushed += n;
        self.cache.insert(now, id, kept);
        self.pending.push(Pending { id, duty, left_out, from, lost_beyond });
        if self.pending.len() >= MAX_IDS {
            self.announce_pending(out);
        } else if self.announce_due.is_none() {
            self.announce_due = Some(now + self.config.announce_every);
        }
        if self.sweep_due.is_none() {
            self.sweep_due = Some(now + SWEEP_EVERY);
        }
    }

    /// Sees to these subtrees: hands a message to neighbours in each. To how many, and who was left
    /// out.
    fn hand_on(
        &self,
        now: Moment,
        id: MessageId,
        kept: &Kept<B>,
        duty: Duty,
        from: u128,
        out: &mut Vec<Output<B>>,
    ) -> (u64, Vec<u128>) {
        if duty.is_none() {
            return (0, Vec::new());
        }
        let Pieces { pieces, left_out } = self.neighbours.pieces(now, duty, from);
        let n = count(pieces.len());
        if n > 0 {
            let named = |(distance, duty)| (at_distance(self.me, distance), duty);
            let to = pieces.into_iter().map(named).collect();
            let (hops, body) = (kept.hops.saturating_add(1), kept.body.clone());
            out.push(Output::Push { id, hops, body, to });
        }
        (n, left_out)
    }

    /// A neighbour announces messages. Those beyond [`MAX_IDS`] are not looked at.
    pub fn announced(&mut self, now: Moment, from: NodeId, ids: &[MessageId]) {
        let distance = self.me.distance(from);
        let Some(neighbour) = self.neighbours.get_mut(distance) else { return };
        for (n, id) in ids.iter().enumerate() {
            if self.taken.known(id).is_some() {
                continue;
            }
            let is_taken = n < MAX_IDS
                && neighbour.may_announce(now)
                && self.missing.announced(now, *id, distance);
            self.stats.ignored += u64::from(!is_taken);
        }
    }

    /// The same, and it asks which others of the last minute are here.
    pub fn compared(
        &mut self,
        now: Moment,
        from: NodeId,
        ids: &[MessageId],
        out: &mut Vec<Output<B>>,
    ) {
        self.announced(now, from, ids);
        let neighbour = self.neighbours.get_mut(self.me.distance(from));
        if !neighbour.is_some_and(|neighbour| neighbour.may_ask(now, COMPARISON)) {
            self.stats.ignored += 1;
            return;
        }
        let theirs: BTreeSet<_> = ids.iter().take(MAX_IDS).collect();
        let more = self.latest(now).filter(|id| !theirs.contains(id)).collect();
        self.announce(from, more, out);
    }

    /// What came within the last minute.
    fn latest(&self, now: Moment) -> impl Iterator<Item = MessageId> {
        self.cache.newest(now - COMPARED).take(MAX_IDS)
    }

    /// A neighbour asks for messages. Those beyond [`MAX_IDS`] are not looked at.
    pub fn asked(
        &mut self,
        now: Moment,
        from: NodeId,
        ids: &[MessageId],
        out: &mut Vec<Output<B>>,
    ) {
        let Some(neighbour) = self.neighbours.get_mut(self.me.distance(from)) else { return };
        neighbour.graft();
        for (n, id) in ids.iter().enumerate() {
            let Some(Kept { hops, bytes, body }) = self.cache.get(id) else { continue };
            if n >= MAX_IDS || !neighbour.may_ask(now, *bytes) {
                self.stats.ignored += 1;
                continue;
            }
            self.stats.pushed += 1;
            let to = vec![(from, Duty::NONE)];
            out.push(Output::Push {
                id: *id,
                hops: hops.saturating_add(1),
                body: body.clone(),
                to,
            });
        }
    }

    /// A neighbour had what it was sent from elsewhere before: others are preferred for a while.
    pub fn pruned(&mut self, now: Moment, from: NodeId) {
        if let Some(neighbour) = self.neighbours.get_mut(self.me.distance(from)) {
            neighbour.prune(now);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Output<B>>) {
        if self.announce_due.is_some_and(|due| due <= now) {
            self.announce_pending(out);
        }
        if self.compare_due.is_some_and(|due| due <= now) {
            self.compare(now, out);
        }
        let neighbours = &self.neighbours;
        for (distance, ids) in self.missing.due(now, |distance| neighbours.contains(distance)) {
            self.stats.asked += count(ids.len());
            let peer = at_distance(self.me, distance);
            out.extend(ids.chunks(MAX_IDS).map(|ids| Output::Graft(peer, ids.to_vec())));
        }
        if self.sweep_due.is_some_and(|due| due <= now) {
            self.cache.expire(now);
            self.taken.expire(now);
            self.sweep_due = (!self.taken.is_empty()).then(|| now + SWEEP_EVERY);
        }
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let missing = self.missing.deadline();
        let all = [self.announce_due, self.compare_due, self.sweep_due, missing];
        all.into_iter().flatten().min()
    }

    /// Asks a neighbour, chosen by lot, for what was missed: an announcement goes to a few only, and
    /// a node may be among those of none.
    fn compare(&mut self, now: Moment, out: &mut Vec<Output<B>>) {
        self.compare_due = None;
        if let Some(distance) = self.neighbours.distances().choose(&mut self.rng) {
            let latest: Vec<_> = self.latest(now).collect();
            self.stats.announced += count(latest.len());
            out.push(Output::Compare(at_distance(self.me, distance), latest));
            self.compare_later(now);
        }
    }

    fn compare_later(&mut self, now: Moment) {
        self.compare_due = Some(now + jittered(self.config.compare_every, &mut self.rng));
    }

    /// Announces what has gathered.
    fn announce_pending(&mut self, out: &mut Vec<Output<B>>) {
        self.announce_due = None;
        let mut by_lot: Vec<u128> = self.neighbours.distances().collect();
        by_lot.shuffle(&mut self.rng);
        let (pending, n) = (std::mem::take(&mut self.pending), self.config.announce_to);
        for (distance, ids) in self.neighbours.told(pending, n, &by_lot) {
            self.announce(at_distance(self.me, distance), ids, out);
        }
    }

    fn announce(&mut self, peer: NodeId, ids: Vec<MessageId>, out: &mut Vec<Output<B>>) {
        if !ids.is_empty() {
            self.stats.announced += count(ids.len());
            out.push(Output::Announce(peer, ids));
        }
    }

    /// What has happened so far.
    #[must_use]
    pub const fn stats(&self) -> GossipStats {
        self.stats
    }

    /// The neighbours, nearest first.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.neighbours.distances().map(|distance| at_distance(self.me, distance))
    }

    /// How many messages are known to be missing.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        self.missing.len()
    }

    /// How much is kept: messages, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.cache.len(), self.cache.bytes())
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "plumtree_network.rs"]
mod network;
#[cfg(test)]
#[path = "plumtree_tests.rs"]
mod tests;
