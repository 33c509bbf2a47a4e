//! Buckets of slots, and which of the addresses in them may be dialled.

use std::collections::BTreeMap;

use rand::Rng;

use crate::address::HostPort;

/// Slots in a bucket. Half of what Bitcoin Core's addrman has, for a book an eighth as large.
pub(super) const SLOTS: u32 = 32;

/// A table of buckets of slots. A slot is named by its number in the whole table.
#[derive(Debug)]
pub(super) struct Table {
    slots: u32,
    buckets: u32,
    taken: BTreeMap<u32, HostPort>,
    /// The slots, by bucket, whose addresses may be dialled now.
    ready: BTreeMap<u32, Vec<u32>>,
}

impl Table {
    /// An empty table for about so many addresses, in at least one bucket.
    pub(super) fn new(entries: usize) -> Self {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX).max(1);
        let slots = SLOTS.min(entries);
        Self { slots, buckets: entries / slots, taken: BTreeMap::new(), ready: BTreeMap::new() }
    }

    /// The bucket that a hash leads to.
    pub(super) fn bucket(&self, hash: u64) -> u32 {
        u32::try_from(hash % u64::from(self.buckets)).unwrap_or(0)
    }

    /// The slot of a bucket that a hash leads to.
    pub(super) fn home(&self, bucket: u32, hash: u64) -> u32 {
        bucket * self.slots + u32::try_from(hash % u64::from(self.slots)).unwrap_or(0)
    }

    /// The slot itself, if it is free, or else the next free one of its bucket.
    pub(super) fn free_near(&self, home: u32) -> Option<u32> {
        self.from(home).find(|slot| !self.taken.contains_key(slot))
    }

    /// The slots of a bucket, from this one on.
    pub(super) fn from(&self, home: u32) -> impl Iterator<Item = u32> {
        let (slots, first) = (self.slots, home - home % self.slots);
        (0..slots).map(move |n| first + (home - first + n) % slots)
    }

    /// Who stands in a slot.
    pub(super) fn at(&self, slot: u32) -> Option<&HostPort> {
        self.taken.get(&slot)
    }

    /// The bucket of a slot.
    #[cfg(test)]
    pub(super) const fn bucket_of(&self, slot: u32) -> u32 {
        slot / self.slots
    }

    pub(super) fn put(&mut self, slot: u32, addr: HostPort) {
        self.taken.insert(slot, addr);
    }

    pub(super) fn take(&mut self, slot: u32) {
        self.unready(slot);
        self.taken.remove(&slot);
    }

    /// The address in this slot may be dialled.
    pub(super) fn ready(&mut self, slot: u32) {
        let bucket = self.ready.entry(slot / self.slots).or_default();
        if !bucket.contains(&slot) {
            bucket.push(slot);
        }
    }

    /// The address in this slot may not be dialled. Whether it might before.
    pub(super) fn unready(&mut self, slot: u32) -> bool {
        let bucket = slot / self.slots;
        let Some(ready) = self.ready.get_mut(&bucket) else { return false };
        let Some(position) = ready.iter().position(|found| *found == slot) else { return false };
        ready.swap_remove(position);
        if ready.is_empty() {
            self.ready.remove(&bucket);
        }
        true
    }

    /// Whether any address may be dialled.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// One of those that may be dialled: a bucket at random, then a slot of it at random, so that
    /// who fills a bucket to the brim is not chosen more often than who stands alone in one.
    pub(super) fn pick(&self, rng: &mut impl Rng) -> Option<&HostPort> {
        if self.ready.is_empty() {
            return None;
        }
        let bucket = self.ready.values().nth(rng.random_range(0..self.ready.len()))?;
        let slot = bucket.get(rng.random_range(0..bucket.len().max(1)))?;
        self.taken.get(slot)
    }

    /// Everything in the table.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &HostPort)> {
        self.taken.iter().map(|(slot, addr)| (*slot, addr))
    }

    /// How many of its addresses may be dialled.
    #[cfg(test)]
    pub(super) fn n_ready(&self) -> usize {
        self.ready.values().map(Vec::len).sum()
    }
}
