//! A set of node numbers, one bit each.

use super::super::network::NodeIndex;

/// A set of node numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sim) struct Bits {
    words: Vec<u64>,
    n: usize,
}

const fn place(node: NodeIndex) -> (usize, u64) {
    (node / 64, 1 << (node % 64))
}

impl Bits {
    /// Puts a node in. Whether it was not in yet.
    pub(in crate::sim) fn insert(&mut self, node: NodeIndex) -> bool {
        let (word, bit) = place(node);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        self.n += usize::from(is_new);
        is_new
    }

    /// Takes a node out. Whether it was in.
    pub(in crate::sim) fn remove(&mut self, node: NodeIndex) -> bool {
        let was_in = self.contains(node);
        let (word, bit) = place(node);
        if was_in && let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
            self.n -= 1;
        }
        was_in
    }

    pub(in crate::sim) fn contains(&self, node: NodeIndex) -> bool {
        let (word, bit) = place(node);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many are in.
    pub(in crate::sim) const fn len(&self) -> usize {
        self.n
    }

    /// How many are in both.
    pub(in crate::sim) fn n_common(&self, other: &Self) -> usize {
        let pairs = self.words.iter().zip(&other.words);
        pairs.map(|(a, b)| usize::try_from((a & b).count_ones()).unwrap_or_default()).sum()
    }

    /// Those that are in, in order.
    pub(in crate::sim) fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        (0..self.words.len() * 64).filter(|node| self.contains(*node))
    }
}

impl FromIterator<NodeIndex> for Bits {
    fn from_iter<I: IntoIterator<Item = NodeIndex>>(nodes: I) -> Self {
        let mut all = Self::default();
        for node in nodes {
            all.insert(node);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(ops: Vec<(bool, u8)>, others: BTreeSet<u8>) {
            let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
            for (insert, node) in ops {
                let node = usize::from(node);
                if insert {
                    prop_assert_eq!(bits.insert(node), set.insert(node));
                } else {
                    prop_assert_eq!(bits.remove(node), set.remove(&node));
                }
            }
            prop_assert_eq!(bits.len(), set.len());
            prop_assert!(bits.iter().eq(set.iter().copied()));
            let others: BTreeSet<usize> = others.into_iter().map(usize::from).collect();
            let common = bits.n_common(&others.iter().copied().collect());
            prop_assert_eq!(common, set.intersection(&others).count());
        }
    }
}
