//! Addresses by the ids of the nodes there: to dial in a bucket, and to tell to others.

use std::collections::BTreeSet;

use rand::seq::{IteratorRandom, SliceRandom};

use super::{AddressBook, lines::Line, min_address};
use crate::{
    address::{Group, HostPort},
    clock::Moment,
    ids::NodeId,
    proto::address_entry::Entry,
};

/// Among how many due addresses of a bucket the next to dial is chosen.
const PICK_FROM: usize = 64;

impl AddressBook {
    /// The buckets in which addresses are known that may be dialled for a session, now or later; the
    /// farthest bucket first.
    pub fn buckets_to_dial(&self) -> impl Iterator<Item = u8> {
        self.by_bucket.keys().copied()
    }

    /// When the first address of a bucket may be dialled for a session; in the past if now.
    #[must_use]
    pub fn due_in(&self, bucket: u8) -> Option<Moment> {
        self.by_bucket.get(&bucket)?.first().map(|(at, _)| *at)
    }

    /// One of the addresses of a bucket that may be dialled now: a proven one if there is any, for
    /// anybody can tell addresses with ids of any bucket. A group is chosen before an address, so that
    /// whoever has more addresses is not chosen more often.
    pub fn pick_in(&mut self, bucket: u8, now: Moment) -> Option<HostPort> {
        let due = self.by_bucket.get(&bucket)?.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<&HostPort> = due.take(PICK_FROM).map(|(_, addr)| addr).collect();
        let is_tried = |addr: &&HostPort| self.entries.get(*addr).is_some_and(Entry::is_tried);
        let (tried, others): (Vec<_>, Vec<_>) = due.into_iter().partition(is_tried);
        let rng = &mut self.rng;
        let chosen = if tried.is_empty() { others } else { tried };
        let groups: BTreeSet<Group> = chosen.iter().map(|addr| Group::of(addr)).collect();
        let group = groups.into_iter().choose(rng)?;
        let of_group = chosen.into_iter().filter(|addr| Group::of(addr) == group);
        of_group.choose(rng).cloned()
    }

    /// The addresses proven in this run, of nodes that answered within dead-after and were not lost
    /// since, which are those that may be told to others, as far as they also pass `allowed`: the
    /// ones closest to `near`, else a random choice, at most `max`.
    pub fn advertised(
        &mut self,
        near: Option<NodeId>,
        max: usize,
        fresh_since: Moment,
        allowed: impl Fn(&HostPort, NodeId) -> bool,
    ) -> Vec<(HostPort, NodeId)> {
        let told = |(id, addr): &&(NodeId, HostPort)| {
            let is_fresh = |entry: &Entry| !entry.lost && entry.proven >= Some(fresh_since);
            let answers =
                self.connected.contains(id) || self.entries.get(addr).is_some_and(is_fresh);
            answers && allowed(addr, *id)
        };
        let named = |(id, addr): &(NodeId, HostPort)| (addr.clone(), *id);
        match near {
            Some(near) => {
                by_distance(&self.proven, near).filter(told).take(max).map(named).collect()
            }
            None => {
                let mut found: Vec<_> = self.proven.iter().filter(told).map(named).collect();
                if found.len() > max {
                    found.partial_shuffle(&mut self.rng, max);
                    // `partial_shuffle` leaves its choice at the end.
                    found.reverse();
                    found.truncate(max);
                }
                found
            }
        }
    }

    /// Where an address stands among those of its bucket that may be dialled for a session.
    pub(super) fn place_in_bucket(
        &self,
        addr: &HostPort,
        entry: &Entry,
        line: Option<Line>,
    ) -> Option<(u8, (Moment, HostPort))> {
        let is_for_session = matches!(line?, Line::Given | Line::New | Line::Tried | Line::Cold);
        let bucket = self.me.bucket(entry.id?)?;
        is_for_session.then(|| (bucket, (entry.next_try, addr.clone())))
    }
}

/// Whether an address is one of those that may be told to others, while its node answers.
pub(super) fn proven_id(entry: &Entry) -> Option<NodeId> {
    entry.id.filter(|_| entry.proven.is_some() && !entry.own && !entry.remembered)
}

/// What is known of nodes, the closest to an id first. Walks outwards from there, one shared bit
/// less each time, so that the first few cost the same however many there are.
fn by_distance(
    known: &BTreeSet<(NodeId, HostPort)>,
    near: NodeId,
) -> impl Iterator<Item = &(NodeId, HostPort)> {
    let exact = known.range((near, min_address())..).take_while(move |(id, _)| *id == near);
    // The ids that share most bits with it stand right beside it.
    let before = known.range(..(near, min_address())).next_back();
    let after = known.range((near, min_address())..).find(|(id, _)| *id != near);
    let most = [before, after].into_iter().flatten().filter_map(|(id, _)| near.bucket(*id)).max();
    let buckets = most.into_iter().flat_map(|most| (0..=most).rev());
    exact.chain(buckets.flat_map(move |bucket| {
        let flipped = 1u128 << (127 - u32::from(bucket));
        let beyond = flipped - 1;
        let first = (near.as_u128() ^ flipped) & !beyond;
        let start = (NodeId::from_u128(first), min_address());
        let last = NodeId::from_u128(first | beyond);
        let mut found: Vec<_> = known.range(start..).take_while(|(id, _)| *id <= last).collect();
        found.sort_by_key(|(id, _)| id.distance(near));
        found
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_closest_come_first_and_none_is_left_out(
            ids in proptest::collection::vec(any::<u128>(), 0..60),
            few in proptest::collection::vec(0u128..40, 0..20),
            near: u128,
            near_few in 0u128..40,
        ) {
            for (ids, near) in [(ids, near), (few, near_few)] {
                let near = NodeId::from_u128(near);
                let addr = |n: u128| format!("10.0.0.1:{}", n % 60_000 + 1).parse().unwrap();
                let known: BTreeSet<(NodeId, HostPort)> =
                    ids.iter().map(|n| (NodeId::from_u128(*n), addr(*n))).collect();
                let mut sorted: Vec<_> = known.iter().collect();
                sorted.sort_by_key(|(id, _)| id.distance(near));
                prop_assert_eq!(by_distance(&known, near).collect::<Vec<_>>(), sorted);
            }
        }
    }
}
