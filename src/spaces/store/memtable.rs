//! The latest entries of the index by key hash, before they are written to it.
//!
//! Hashes have nothing to do with the order in which keys are written, so that in an index on the disk each
//! record has a page of its own to be written again. Many of them at a time share pages; until then they are
//! here (the memtable of O'Neil and others, "The log-structured merge-tree", 1996). The records themselves are
//! the log: after a crash the entries are made from them again.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::spaces::{
    hlc::Hlc,
    reconcile::Item,
    record::{Digest, KeyHash},
};

/// What the index says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// That of its key, by which it is found.
    pub(super) hash: KeyHash,
    /// The record's id.
    pub(super) id: i64,
    pub(super) time: Hlc,
    pub(super) digest: Digest,
    pub(super) is_deletion: bool,
}

impl IndexEntry {
    /// As it is listed to somebody who has drawn this number.
    pub(super) fn as_item(&self, drawn: u32) -> Item {
        let Self { hash, time, is_deletion, .. } = *self;
        Item { hash, time, tie: tie(&self.digest, drawn), is_deletion }
    }
}

/// What an item has of a digest.
fn tie(digest: &Digest, drawn: u32) -> [u8; 4] {
    let hash: [u8; 32] =
        Sha256::new().chain_update(drawn.to_be_bytes()).chain_update(digest.0).finalize().into();
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 4], &[]));
    *first
}

/// The entries of one space that are not in the table of the index yet. Each takes the place of one that may
/// be there.
#[derive(Debug, Default)]
pub(super) struct Memtable(BTreeMap<KeyHash, IndexEntry>);

impl Memtable {
    pub(super) fn put(&mut self, entry: IndexEntry) {
        self.0.insert(entry.hash, entry);
    }

    pub(super) fn remove(&mut self, hash: &KeyHash) {
        self.0.remove(hash);
    }

    pub(super) fn get(&self, hash: &KeyHash) -> Option<&IndexEntry> {
        self.0.get(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// By hash.
    pub(super) fn entries(&self) -> impl Iterator<Item = &IndexEntry> {
        self.0.values()
    }

    /// The first entries of a range, by hash, from these and those in the table: all of the range, or as many
    /// as the limit.
    pub(super) fn merged(
        &self,
        (first, last): (KeyHash, KeyHash),
        table: Vec<IndexEntry>,
        limit: usize,
    ) -> Vec<IndexEntry> {
        let mut entries = table;
        entries.retain(|entry| !self.0.contains_key(&entry.hash));
        if first <= last {
            entries.extend(self.0.range(first..=last).take(limit).map(|(_, entry)| *entry));
        }
        entries.sort_unstable_by_key(|entry| entry.hash);
        entries.truncate(limit);
        entries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(n: u8, id: i64) -> IndexEntry {
        let (hash, digest) = (KeyHash([n; 16]), Digest([n; 32]));
        IndexEntry { hash, id, time: Hlc::from_bits(0), digest, is_deletion: false }
    }

    proptest! {
        #[test]
        fn a_range_is_what_it_would_be_if_all_were_in_one_table(
            older in proptest::collection::btree_set(0u8..40, 0..20),
            newer in proptest::collection::btree_set(0u8..40, 0..20),
            first in 0u8..40,
            last in 0u8..40,
            limit in 1usize..30,
        ) {
            let mut all: BTreeMap<u8, IndexEntry> = older.iter().map(|n| (*n, entry(*n, 1))).collect();
            let mut memtable = Memtable::default();
            for n in &newer {
                memtable.put(entry(*n, 2));
                all.insert(*n, entry(*n, 2));
            }
            let is_in = |n: &u8| (first..=last).contains(n);
            let table = older.iter().filter(|n| is_in(n)).map(|n| entry(*n, 1)).take(limit).collect();
            let merged = memtable.merged((KeyHash([first; 16]), KeyHash([last; 16])), table, limit);
            let expected: Vec<_> =
                all.iter().filter(|(n, _)| is_in(n)).map(|(_, entry)| *entry).take(limit).collect();
            prop_assert_eq!(merged, expected);
        }
    }
}
