//! Who can be handed a message, and told of one.

use std::{
    collections::{BTreeMap, btree_map},
    time::Duration,
};

use super::duty::{Duty, cover, level_of};
use crate::{clock::Moment, ids::MessageId, proto::token_bucket::TokenBucket};

/// How long a neighbour that was quicker to hear of something elsewhere is not preferred.
const LAZY_FOR: Duration = Duration::from_secs(60);

/// How many ids of messages that are missing here one neighbour may announce at once, and then per
/// second.
const ANNOUNCED_BURST: u32 = 4096;
const ANNOUNCED_PER_SECOND: u32 = 200;

/// How much one neighbour may ask for at once, and then per second, in pieces of 4 KiB; a message
/// has at least one. At once that is everything there is.
const ASKED_BURST: u32 = 8192;
const ASKED_PER_SECOND: u32 = 256;
const ASKED_PIECE: usize = 4096;

/// One of them.
#[derive(Debug)]
pub(super) struct Neighbour {
    lazy_until: Option<Moment>,
    announced: TokenBucket,
    asked: TokenBucket,
}

impl Neighbour {
    fn new(now: Moment) -> Self {
        Self {
            lazy_until: None,
            announced: TokenBucket::new(ANNOUNCED_BURST, ANNOUNCED_PER_SECOND, now),
            asked: TokenBucket::new(ASKED_BURST, ASKED_PER_SECOND, now),
        }
    }

    const fn is_lazy(&self, now: Moment) -> bool {
        matches!(self.lazy_until, Some(until) if now.as_nanos() < until.as_nanos())
    }

    /// Others are preferred for a while.
    pub(super) fn prune(&mut self, now: Moment) {
        self.lazy_until = Some(now + LAZY_FOR);
    }

    /// It is as good as others again.
    pub(super) const fn graft(&mut self) {
        self.lazy_until = None;
    }

    /// Whether it may announce one more message.
    pub(super) fn may_announce(&mut self, now: Moment) -> bool {
        self.announced.take(now, 1) > 0
    }

    /// Whether it may ask for a message of so many bytes.
    pub(super) fn may_ask(&mut self, now: Moment, bytes: usize) -> bool {
        let pieces = u32::try_from(bytes.div_ceil(ASKED_PIECE).max(1)).unwrap_or(u32::MAX);
        self.asked.take(now, pieces) == pieces
    }
}

/// All of them, by distance: those of one subtree stand together, the nearest come first.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    by_distance: BTreeMap<u128, Neighbour>,
}

/// Who is handed a message.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Each with what it is to see to.
    pub(super) pieces: Vec<(u128, Duty)>,
    /// Who is not, though it is in a subtree that is seen to.
    pub(super) left_out: Vec<u128>,
}

/// A message that has yet to be announced.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: MessageId,
    /// What this node has seen to.
    pub(super) duty: Duty,
    /// Who was not handed it all the same.
    pub(super) left_out: Vec<u128>,
    /// The distance of whom it came from; 0 if it is this node's own.
    pub(super) from: u128,
    /// It was lost on its way here. From this level on all may have lost it too.
    pub(super) lost_beyond: Option<u8>,
}

impl Neighbours {
    /// Whether it is a new one.
    pub(super) fn insert(&mut self, now: Moment, distance: u128) -> bool {
        match self.by_distance.entry(distance) {
            btree_map::Entry::Vacant(place) if distance != 0 => {
                place.insert(Neighbour::new(now));
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&mut self, distance: u128) {
        self.by_distance.remove(&distance);
    }

    pub(super) fn contains(&self, distance: u128) -> bool {
        self.by_distance.contains_key(&distance)
    }

    pub(super) fn get_mut(&mut self, distance: u128) -> Option<&mut Neighbour> {
        self.by_distance.get_mut(&distance)
    }

    /// Their distances, nearest first.
    pub(super) fn distances(&self) -> impl Iterator<Item = u128> {
        self.by_distance.keys().copied()
    }

    /// Who is handed a message by whoever has this duty, each with its own. In each subtree the lazy
    /// ones are left out, unless there are no others.
    pub(super) fn pieces(&self, now: Moment, duty: Duty, from: u128) -> Pieces {
        let Pieces { mut pieces, mut left_out } = Pieces::default();
        let (mut eager, mut lazy) = (Vec::new(), Vec::new());
        let mut due = self
            .by_distance
            .iter()
            .filter(|(distance, _)| **distance != from && duty.contains(level_of(**distance)));
        let mut next = due.next();
        while let Some((distance, neighbour)) = next {
            let level = level_of(*distance);
            let list = if neighbour.is_lazy(now) { &mut lazy } else { &mut eager };
            list.push(*distance);
            next = due.next();
            if next.is_none_or(|(next, _)| level_of(*next) != level) {
                if eager.is_empty() {
                    std::mem::swap(&mut eager, &mut lazy);
                }
                cover(&eager, level.saturating_add(1), &mut pieces);
                eager.clear();
                left_out.append(&mut lazy);
            }
        }
        Pieces { pieces, left_out }
    }

    /// Who is told of which messages. Of each, half of `n` are the nearest that were not handed it:
    /// where a subtree was lost, its siblings' nodes are the nearest outside of it. The others are
    /// the first of those in `by_lot`, which is the same for all messages, so that few frames tell
    /// of many. Of one that was lost all are told who may have lost it too.
    pub(super) fn told(
        &self,
        pending: Vec<Pending>,
        n: usize,
        by_lot: &[u128],
    ) -> BTreeMap<u128, Vec<MessageId>> {
        let mut told: BTreeMap<u128, Vec<MessageId>> = BTreeMap::new();
        let mut chosen = Vec::with_capacity(n);
        for Pending { id, duty, left_out, from, lost_beyond } in pending {
            let may_lack = |distance: &u128| {
                let was_handed = duty.contains(level_of(*distance)) && !left_out.contains(distance);
                *distance != from && !was_handed
            };
            let mut near = self.distances().filter(may_lack);
            chosen.clear();
            chosen.extend(near.by_ref().take(n.div_ceil(2)));
            let last = chosen.last().copied().unwrap_or_default();
            let lot = by_lot.iter().copied().filter(|distance| *distance > last);
            let lot = lot.filter(may_lack);
            chosen.extend(lot.take(n / 2));
            if let Some(level) = lost_beyond {
                let (_, by_lot) = chosen.split_at(n.div_ceil(2).min(chosen.len()));
                let more = near.take_while(|distance| level_of(*distance) >= level);
                let more: Vec<_> = more.filter(|distance| !by_lot.contains(distance)).collect();
                chosen.extend(more);
            }
            for distance in &chosen {
                told.entry(*distance).or_default().push(id);
            }
        }
        told
    }
}
