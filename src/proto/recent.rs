//! What was used lately, and no more of it than there is room for.

use std::collections::BTreeMap;

/// A bounded map that forgets what was used longest ago.
#[derive(Debug, Clone)]
pub struct Recent<K, V> {
    capacity: usize,
    entries: BTreeMap<K, (u64, V)>,
    /// The keys, by when they were last used.
    order: BTreeMap<u64, K>,
    /// How often anything was used.
    uses: u64,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    /// An empty map with room for so many.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, entries: BTreeMap::new(), order: BTreeMap::new(), uses: 0 }
    }

    /// The value of a key, which counts as its use.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, *key);
        Some(value)
    }

    /// Sets the value of a key, which counts as its use. What was used longest ago goes if there is no
    /// room.
    pub fn insert(&mut self, key: K, value: V) {
        self.uses += 1;
        if let Some((used, _)) = self.entries.insert(key, (self.uses, value)) {
            self.order.remove(&used);
        }
        self.order.insert(self.uses, key);
        while self.entries.len() > self.capacity {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.entries.remove(&oldest);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes() {
        let mut recent = Recent::new(2);
        recent.insert(1, "a");
        recent.insert(2, "b");
        assert_eq!(recent.get(&1), Some(&mut "a"));
        recent.insert(3, "c");
        assert_eq!([1, 2, 3].map(|n| recent.get(&n).copied()), [Some("a"), None, Some("c")]);
    }

    proptest! {
        #[test]
        fn it_is_a_list_of_the_latest_uses(
            capacity in 0_usize..6,
            uses in proptest::collection::vec((0_u8..10, any::<bool>()), 0..100),
        ) {
            let (mut recent, mut list) = (Recent::new(capacity), Vec::<u8>::new());
            for (key, inserts) in uses {
                if inserts {
                    recent.insert(key, key);
                } else {
                    prop_assert_eq!(recent.get(&key).copied(), list.contains(&key).then_some(key));
                }
                if inserts || list.contains(&key) {
                    list.retain(|held| *held != key);
                    list.push(key);
                    list.drain(..list.len().saturating_sub(capacity));
                }
                prop_assert_eq!(recent.len(), list.len());
                prop_assert_eq!(recent.order.len(), list.len());
            }
        }
    }
}
