//! The crumbs that messages of others leave here, by which their answers find back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::walk::Walk;
use crate::{
    clock::Moment,
    ids::{MessageId, NodeId},
    proto::by_message::{ByMessage, Secret},
};

/// The bounds of what is kept of the messages that are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailLimits {
    /// How long a trail is kept without an answer. No shorter than origins wait for one.
    pub life: Duration,
    /// The most trails; beyond them the oldest goes.
    pub max: usize,
    /// The most trails that one peer's messages have; what it sends beyond them is `busy`. So one
    /// peer cannot make this node forget the trails of all others.
    pub max_per_peer: usize,
    /// The most bytes of bodies that are kept for another try; those beyond are passed on once and
    /// not kept.
    pub max_bytes: usize,
}

impl Default for TrailLimits {
    /// Half a minute, 65,536 trails, a quarter of them for one peer, 16 MiB.
    fn default() -> Self {
        Self {
            life: Duration::from_secs(30),
            max: 65_536,
            max_per_peer: 16_384,
            max_bytes: 16 << 20,
        }
    }
}

/// One message of another node on its way through this one.
#[derive(Debug)]
pub(super) struct Trail {
    /// Who sent it, unless that session has ended.
    pub(super) prev: Option<NodeId>,
    pub(super) walk: Walk,
    due: Moment,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Trails {
    limits: TrailLimits,
    by_id: ByMessage<Trail>,
    /// In the order in which they came, which is that of their ends. Also has some that are gone:
    /// taking them out of the middle would cost more than passing over them.
    by_due: VecDeque<(Moment, MessageId)>,
    per_peer: BTreeMap<NodeId, usize>,
    bytes: usize,
}

impl Trails {
    pub(super) const fn new(limits: TrailLimits, secret: Secret) -> Self {
        Self {
            limits,
            by_id: ByMessage::new(secret),
            by_due: VecDeque::new(),
            per_peer: BTreeMap::new(),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get_mut(&mut self, id: &MessageId) -> Option<&mut Trail> {
        self.by_id.get_mut(id)
    }

    /// Those that have to do with a peer, by id.
    pub(super) fn of(&self, peer: NodeId) -> Vec<MessageId> {
        let concerns = |t: &Trail| t.prev == Some(peer) || t.walk.waits_for(peer);
        let found = self.by_id.iter().filter(|(_, trail)| concerns(trail)).map(|(id, _)| *id);
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found
    }

    /// Whether one more message of this peer leaves a trail.
    pub(super) fn has_room_for(&self, peer: NodeId) -> bool {
        self.per_peer.get(&peer).is_none_or(|n| *n < self.limits.max_per_peer)
    }

    /// Begins a trail. Its body is kept if there is room for it; whether it was. How many others had
    /// to go.
    pub(super) fn begin(&mut self, now: Moment, prev: NodeId, mut walk: Walk) -> (bool, usize) {
        let before = self.by_id.len();
        while self.by_id.len() >= self.limits.max {
            let Some((due, id)) = self.by_due.pop_front() else { break };
            if self.is_current(due, &id) {
                self.end(&id);
            }
        }
        let evicted = before - self.by_id.len();
        self.tidy();
        let size = walk.body.as_ref().map_or(0, |body| body.len());
        let is_kept = self.bytes + size <= self.limits.max_bytes;
        if is_kept {
            self.bytes += size;
        } else {
            walk.body = None;
        }
        let due = now + self.limits.life;
        self.by_due.push_back((due, walk.head.id));
        *self.per_peer.entry(prev).or_default() += 1;
        self.by_id.insert(walk.head.id, Trail { prev: Some(prev), walk, due });
        (is_kept, evicted)
    }

    /// Ends a trail.
    pub(super) fn end(&mut self, id: &MessageId) -> Option<Trail> {
        let mut trail = self.by_id.remove(id)?;
        // Most are answered in the order in which they came.
        self.by_due.pop_front_if(|(_, first)| first == id);
        self.forget_body(&mut trail);
        self.part(trail.prev);
        Some(trail)
    }

    /// Nobody is left to try: what remains tells those who send the message again.
    pub(super) fn dead_end(&mut self, id: &MessageId) {
        if let Some(trail) = self.by_id.get_mut(id) {
            let size = trail.walk.body.take().map_or(0, |body| body.len());
            self.bytes -= size;
        }
    }

    /// The one who sent it is gone.
    pub(super) fn orphan(&mut self, id: &MessageId) {
        let prev = self.by_id.get_mut(id).and_then(|trail| trail.prev.take());
        self.part(prev);
    }

    /// Another one has sent it, and takes the place of the one who is gone.
    pub(super) fn adopt(&mut self, id: &MessageId, prev: NodeId) {
        if let Some(trail) = self.by_id.get_mut(id) {
            let old = trail.prev.replace(prev);
            *self.per_peer.entry(prev).or_default() += 1;
            self.part(old);
        }
    }

    /// Ends what is due. How many.
    pub(super) fn expire(&mut self, now: Moment) -> usize {
        let before = self.by_id.len();
        while let Some((due, id)) = self.by_due.pop_front_if(|(due, _)| *due <= now) {
            if self.is_current(due, &id) {
                self.end(&id);
            }
        }
        before - self.by_id.len()
    }

    /// When the next one ends, or somewhat before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let (due, _) = self.by_due.front().filter(|_| !self.by_id.is_empty())?;
        Some(*due)
    }

    fn is_current(&self, due: Moment, id: &MessageId) -> bool {
        self.by_id.get(id).is_some_and(|trail| trail.due == due)
    }

    /// Keeps what is gone from outnumbering what is there.
    fn tidy(&mut self) {
        if self.by_due.len() > 2 * self.by_id.len() + 64 {
            let by_id = &self.by_id;
            self.by_due.retain(|(due, id)| by_id.get(id).is_some_and(|trail| trail.due == *due));
        }
    }

    fn forget_body(&mut self, trail: &mut Trail) {
        self.bytes -= trail.walk.body.take().map_or(0, |body| body.len());
    }

    fn part(&mut self, prev: Option<NodeId>) {
        let Some(prev) = prev else { return };
        if let Some(n) = self.per_peer.get_mut(&prev) {
            *n -= 1;
            if *n == 0 {
                self.per_peer.remove(&prev);
            }
        }
    }

    /// What must hold after every call.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let sizes = self.by_id.iter().filter_map(|(_, trail)| trail.walk.body.as_ref());
        assert_eq!(self.bytes, sizes.map(bytes::Bytes::len).sum::<usize>());
        assert!(self.bytes <= self.limits.max_bytes && self.by_id.len() <= self.limits.max);
        let mut per_peer = BTreeMap::new();
        for prev in self.by_id.iter().filter_map(|(_, trail)| trail.prev) {
            *per_peer.entry(prev).or_default() += 1;
        }
        assert_eq!(self.per_peer, per_peer);
        assert!(per_peer.values().all(|n| *n <= self.limits.max_per_peer));
        assert!(self.by_due.len() <= 3 * self.limits.max + 65);
        let known: std::collections::BTreeSet<_> = self.by_due.iter().copied().collect();
        assert!(self.by_id.iter().all(|(id, trail)| known.contains(&(trail.due, *id))));
    }
}
