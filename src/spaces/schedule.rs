//! When a node asks which other node of a space whether both have the same.
//!
//! With each peer of the space soon after its session has come up, with one that says that it has changed,
//! and with a random one now and then; with one at a time. Who has learnt something by asking hints so to
//! its peers, a second at most after it has.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{Rng, seq::IteratorRandom as _};

use crate::{clock::Moment, ids::NodeId};

/// How many nodes are remembered that are in the space and no peers.
const MAX_KNOWN: usize = 32;

/// One of so many rounds is with a node that is no peer, if there are peers.
const OTHERS: u32 = 8;

/// How often hints are given, at most.
const HINT_EVERY: Duration = Duration::from_secs(1);

/// How often the network is asked who else is in the space, when nobody is known: at first, and at most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// How long a node that could not be asked is left alone: at first, and at most; twice as long each time.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// How long one that was asked is not asked again, whatever it hints.
const REST: Duration = Duration::from_secs(1);

/// When others are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How often a random node of the space is asked, give or take a quarter.
    pub every: Duration,
    /// How long at most, at random, until a peer whose session has come up or that has hinted is asked.
    pub soon: Duration,
}

impl Default for Times {
    /// Every minute; a second.
    fn default() -> Self {
        Self { every: Duration::from_secs(60), soon: Duration::from_secs(1) }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask this node; tell [`Schedule::ended`] when that has come to an end.
    Ask(NodeId),
    /// Hint to all peers of the space but this one.
    Hint(Option<NodeId>),
    /// Ask the network who else is in the space.
    Look,
}

/// One space's schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    times: Times,
    /// The peers that are in the space.
    peers: BTreeSet<NodeId>,
    /// Others that are, the latest heard of last.
    known: VecDeque<NodeId>,
    /// Who is to be asked when.
    wanted: BTreeMap<NodeId, Moment>,
    asking: Option<NodeId>,
    /// Of those that were asked: before when they are not asked again, and how often in a row that failed.
    asked: BTreeMap<NodeId, (Moment, u32)>,
    round: Moment,
    hint: Option<(Moment, Option<NodeId>)>,
    hinted: Option<Moment>,
    look: Moment,
    looking_every: Duration,
}

impl Schedule {
    /// That of a space that has just been joined.
    #[must_use]
    pub(super) fn new(times: Times, now: Moment, rng: &mut impl Rng) -> Self {
        Self {
            times,
            peers: BTreeSet::new(),
            known: VecDeque::new(),
            wanted: BTreeMap::new(),
            asking: None,
            asked: BTreeMap::new(),
            round: now + jittered(times.every, rng),
            hint: None,
            hinted: None,
            look: now + LOOK_EVERY.0,
            looking_every: LOOK_EVERY.0,
        }
    }

    /// The peers that are in the space.
    #[must_use]
    pub(super) const fn peers(&self) -> &BTreeSet<NodeId> {
        &self.peers
    }

    /// Others that are.
    pub(super) fn known(&self) -> impl Iterator<Item = NodeId> {
        self.known.iter().copied()
    }

    /// A peer is in the space. Only one of the two sides asks at once: the one that is told to be `first`.
    pub(super) fn joined(&mut self, now: Moment, peer: NodeId, first: bool, rng: &mut impl Rng) {
        self.known.retain(|known| *known != peer);
        if self.peers.insert(peer) && first {
            self.want(now, peer, rng);
        }
    }

    /// A peer has gone, or has left the space.
    pub(super) fn left(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
        self.wanted.remove(&peer);
        self.asked.remove(&peer);
    }

    /// A node that need not be a peer has shown itself to be in the space.
    pub(super) fn heard(&mut self, node: NodeId) {
        if !self.peers.contains(&node) {
            self.known.retain(|known| *known != node);
            self.known.push_back(node);
            if self.known.len() > MAX_KNOWN {
                self.known.pop_front();
            }
        }
    }

    /// A node may have what this one has not.
    pub(super) fn hinted(&mut self, now: Moment, node: NodeId, rng: &mut impl Rng) {
        self.heard(node);
        self.want(now, node, rng);
    }

    /// Something has come otherwise than by what was published: from this node, or from nobody else.
    pub(super) fn learnt(&mut self, now: Moment, from: Option<NodeId>) {
        let earliest = self.hinted.map_or(now, |hinted| hinted + HINT_EVERY);
        match &mut self.hint {
            // From several: then all are to hear of it.
            Some((_, source)) => *source = source.filter(|source| Some(*source) == from),
            None => self.hint = Some((now.max(earliest), from)),
        }
    }

    fn want(&mut self, now: Moment, node: NodeId, rng: &mut impl Rng) {
        let rested = self.asked.get(&node).map_or(now, |(rested, _)| *rested);
        let due = (now + self.times.soon.mul_f64(rng.random())).max(rested);
        let wanted = self.wanted.entry(node).or_insert(due);
        *wanted = (*wanted).min(due);
        // Nodes that are no peers are few.
        while self.wanted.len() > self.peers.len() + MAX_KNOWN {
            let other = self.wanted.keys().find(|node| !self.peers.contains(node)).copied();
            let Some(other) = other else { return };
            self.wanted.remove(&other);
        }
    }

    /// Asking has come to an end, for better or worse.
    pub(super) fn ended(&mut self, now: Moment, node: NodeId, went_well: bool) {
        self.asking = None;
        let failures = self.asked.get(&node).map_or(0, |(_, failures)| *failures);
        if went_well {
            self.asked.insert(node, (now + REST, 0));
        } else {
            self.known.retain(|known| *known != node);
            let pause = (PAUSE.0 * 2u32.pow(failures.min(7))).min(PAUSE.1);
            self.asked.insert(node, (now + pause, failures + 1));
            if self.peers.contains(&node) {
                // It may have been busy.
                self.wanted.insert(node, now + pause);
            }
        }
        let Self { asked, peers, .. } = self;
        if asked.len() > peers.len() + MAX_KNOWN {
            asked.retain(|node, (rested, _)| peers.contains(node) || *rested > now);
        }
    }

    /// What is to be done, if anything is by now; nobody is asked unless that may be now.
    pub(super) fn due(&mut self, now: Moment, may_ask: bool, rng: &mut impl Rng) -> Option<Due> {
        if let Some((_, source)) = self.hint.filter(|(due, _)| *due <= now) {
            (self.hint, self.hinted) = (None, Some(now));
            return Some(Due::Hint(source));
        }
        if self.is_alone() && self.look <= now {
            self.looking_every = (self.looking_every * 2).min(LOOK_EVERY.1);
            self.look = now + self.looking_every;
            return Some(Due::Look);
        }
        if !self.is_alone() {
            self.looking_every = LOOK_EVERY.0;
        }
        if !may_ask || self.asking.is_some() {
            return None;
        }
        // Who has waited longest: nobody can crowd others out by hinting all the time.
        let wanted = self.wanted.iter().min_by_key(|(_, due)| **due);
        let wanted = wanted.filter(|(_, due)| **due <= now).map(|(node, _)| *node);
        let node = self.random(now, rng).or(wanted)?;
        self.wanted.remove(&node);
        self.asking = Some(node);
        Some(Due::Ask(node))
    }

    fn random(&mut self, now: Moment, rng: &mut impl Rng) -> Option<NodeId> {
        if self.round > now {
            return None;
        }
        self.round = now + jittered(self.times.every, rng);
        // Ids that are no peers are cheap to invent.
        let others = self.peers.is_empty() || rng.random_ratio(1, OTHERS);
        let peers = self.peers.iter().filter(|_| !others || self.known.is_empty());
        let known = self.known.iter().filter(|_| others);
        peers.chain(known).copied().choose(rng)
    }

    /// Whether nobody is known to be in the space who has proven so, by answering.
    fn is_alone(&self) -> bool {
        let answers =
            |node: &NodeId| self.asked.get(node).is_some_and(|(_, failures)| *failures == 0);
        self.peers.is_empty() && !self.known.iter().any(answers)
    }

    /// When there will be something to do.
    #[must_use]
    pub(super) fn deadline(&self, may_ask: bool) -> Moment {
        let mut due = self.hint.map(|(due, _)| due);
        let mut sooner = |other: Moment| due = Some(due.map_or(other, |due| due.min(other)));
        if self.is_alone() {
            sooner(self.look);
        }
        if may_ask && self.asking.is_none() {
            sooner(self.round);
            self.wanted.values().for_each(|wanted| sooner(*wanted));
        }
        // Who is being asked, or may be asked later, has this looked at again when that ends.
        due.unwrap_or(self.round + self.times.every)
    }
}

fn jittered(time: Duration, rng: &mut impl Rng) -> Duration {
    time.mul_f64(rng.random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(secs: u32) -> Moment {
        Moment::ZERO + SECOND * secs
    }

    fn id(n: u128) -> NodeId {
        NodeId::from_u128(n)
    }

    fn new() -> (Schedule, ChaCha8Rng) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (Schedule::new(Times::default(), at(0), &mut rng), rng)
    }

    #[test]
    fn a_peer_is_asked_soon_by_one_side_and_one_at_a_time() {
        let (mut schedule, mut rng) = new();
        schedule.joined(at(0), id(1), true, &mut rng);
        schedule.joined(at(0), id(2), false, &mut rng);
        schedule.joined(at(0), id(3), true, &mut rng);
        assert!(schedule.deadline(true) <= at(1));
        let Some(Due::Ask(first)) = schedule.due(at(1), true, &mut rng) else { panic!() };
        assert_eq!(schedule.due(at(1), true, &mut rng), None);
        schedule.ended(at(2), first, true);
        let Some(Due::Ask(second)) = schedule.due(at(2), true, &mut rng) else { panic!() };
        assert_eq!(BTreeSet::from([first, second]), BTreeSet::from([id(1), id(3)]));
        // One that fails is tried again, less and less often.
        let mut tried = Vec::new();
        schedule.ended(at(2), second, false);
        for secs in 2..40 {
            if let Some(Due::Ask(node)) = schedule.due(at(secs), true, &mut rng) {
                assert_eq!(node, second);
                schedule.ended(at(secs), node, false);
                tried.push(secs);
            }
        }
        assert_eq!(tried, [7, 17, 37]);
    }

    #[test]
    fn nobody_crowds_others_out_by_hinting_all_the_time() {
        let (mut schedule, mut rng) = new();
        for n in 1..=3 {
            schedule.joined(at(0), id(n), false, &mut rng);
        }
        let mut asked = Vec::new();
        for secs in 1..40 {
            schedule.hinted(at(secs), id(1), &mut rng);
            if secs == 10 {
                schedule.hinted(at(secs), id(2), &mut rng);
            }
            if let Some(Due::Ask(node)) = schedule.due(at(secs + 1), true, &mut rng) {
                asked.push((node, secs));
                schedule.ended(at(secs + 1), node, true);
            }
        }
        let when = asked.iter().find(|(node, _)| *node == id(2)).unwrap().1;
        assert!(when <= 13, "{asked:?}");
        assert!(asked.len() <= 39);
    }

    #[test]
    fn a_random_one_is_asked_now_and_then() {
        let (mut schedule, mut rng) = new();
        for n in 1..=9 {
            schedule.joined(at(0), id(n), false, &mut rng);
        }
        let mut asked = BTreeSet::new();
        for secs in 0..3000 {
            if let Some(Due::Ask(node)) = schedule.due(at(secs), true, &mut rng) {
                schedule.ended(at(secs), node, true);
                asked.insert((node, secs));
            }
        }
        assert!((40..=60).contains(&asked.len()), "{asked:?}");
        assert_eq!(asked.iter().map(|(node, _)| *node).collect::<BTreeSet<_>>().len(), 9);
    }

    #[test]
    fn hints_are_at_most_one_a_second_and_spare_whom_it_was_learnt_from() {
        let (mut schedule, mut rng) = new();
        schedule.joined(at(0), id(1), false, &mut rng);
        schedule.learnt(at(0), Some(id(1)));
        assert_eq!(schedule.due(at(0), true, &mut rng), Some(Due::Hint(Some(id(1)))));
        schedule.learnt(at(0), Some(id(1)));
        assert_eq!((schedule.due(at(0), true, &mut rng), schedule.deadline(true)), (None, at(1)));
        schedule.learnt(at(0), Some(id(2)));
        assert_eq!(schedule.due(at(1), true, &mut rng), Some(Due::Hint(None)));
        assert_eq!(schedule.due(at(2), true, &mut rng), None);
    }

    #[test]
    fn who_knows_nobody_looks_less_and_less_often() {
        let (mut schedule, mut rng) = new();
        let looks = |schedule: &mut Schedule, rng: &mut ChaCha8Rng, secs: std::ops::Range<u32>| {
            secs.filter(|secs| schedule.due(at(*secs), true, rng) == Some(Due::Look))
                .collect::<Vec<_>>()
        };
        assert_eq!(looks(&mut schedule, &mut rng, 0..100), [5, 15, 35, 75]);
        assert!((6..=8).contains(&looks(&mut schedule, &mut rng, 1000..4000).len()));
        schedule.hinted(at(4000), id(7), &mut rng);
        assert_eq!(schedule.due(at(4001), true, &mut rng), Some(Due::Ask(id(7))));
        // It does not answer, and nobody is known again.
        schedule.ended(at(4002), id(7), false);
        assert!(!looks(&mut schedule, &mut rng, 4002..6000).is_empty());
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (mut schedule, mut rng) = new();
        for n in 1..1000 {
            schedule.hinted(at(0), id(n), &mut rng);
        }
        assert_eq!((schedule.known.len(), schedule.wanted.len()), (MAX_KNOWN, MAX_KNOWN));
        schedule.joined(at(0), id(999), true, &mut rng);
        assert_eq!(schedule.known.len(), MAX_KNOWN - 1);
        schedule.left(id(999));
        assert!(schedule.peers().is_empty());
    }
}
