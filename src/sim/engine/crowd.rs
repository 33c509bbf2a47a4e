//! The living nodes, to choose from at random.

use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::sim::{measure::Bits, network::NodeIndex};

/// A set of nodes of which a random one costs the same however many there are.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    list: Vec<NodeIndex>,
    places: BTreeMap<NodeIndex, usize>,
    bits: Bits,
}

impl Crowd {
    pub(super) fn join(&mut self, node: NodeIndex) {
        if self.bits.insert(node) {
            self.places.insert(node, self.list.len());
            self.list.push(node);
        }
    }

    pub(super) fn leave(&mut self, node: NodeIndex) {
        let Some(place) = self.places.remove(&node) else { return };
        self.bits.remove(node);
        self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(*moved, place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn bits(&self) -> &Bits {
        &self.bits
    }

    pub(super) fn contains(&self, node: NodeIndex) -> bool {
        self.bits.contains(node)
    }

    /// A random one; none if there is none.
    pub(super) fn any(&self, rng: &mut ChaCha8Rng) -> Option<NodeIndex> {
        if self.list.is_empty() {
            return None;
        }
        self.list.get(rng.random_range(0..self.list.len())).copied()
    }

    /// A random one but this one; none if there is no other.
    pub(super) fn other(&self, than: NodeIndex, rng: &mut ChaCha8Rng) -> Option<NodeIndex> {
        let others = self.len() - usize::from(self.contains(than));
        if others == 0 {
            return None;
        }
        // The last takes the place of the one that is not wanted.
        let chosen = self.list.get(rng.random_range(0..others)).copied()?;
        if chosen == than { self.list.last().copied() } else { Some(chosen) }
    }

    /// So many random ones but this one, or as many as there are.
    pub(super) fn some(&self, n: usize, but: NodeIndex, rng: &mut ChaCha8Rng) -> Vec<NodeIndex> {
        let mut left: Vec<NodeIndex> = self.bits.iter().filter(|node| *node != but).collect();
        let n = n.min(left.len());
        for place in 0..n {
            let chosen = rng.random_range(place..left.len());
            left.swap(place, chosen);
        }
        left.truncate(n);
        left
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_crowd_of_one_has_no_other() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut crowd = Crowd::default();
        assert_eq!((crowd.any(&mut rng), crowd.other(1, &mut rng)), (None, None));
        crowd.join(1);
        assert_eq!((crowd.any(&mut rng), crowd.other(1, &mut rng)), (Some(1), None));
        assert_eq!(crowd.other(2, &mut rng), Some(1));
    }

    proptest! {
        #[test]
        fn choices_are_members_and_all_are_chosen_in_the_end(
            ops in prop::collection::vec((any::<bool>(), 0_usize..8), 0..40),
            than in 0_usize..8,
            n in 0_usize..10,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let (mut crowd, mut set) = (Crowd::default(), BTreeSet::new());
            for (join, node) in ops {
                if join {
                    crowd.join(node);
                    set.insert(node);
                } else {
                    crowd.leave(node);
                    set.remove(&node);
                }
            }
            prop_assert_eq!(crowd.len(), set.len());
            let any: BTreeSet<_> = (0..400).filter_map(|_| crowd.any(&mut rng)).collect();
            prop_assert_eq!(&any, &set);
            let some = crowd.some(n, than, &mut rng);
            set.remove(&than);
            let others: BTreeSet<_> = (0..400).filter_map(|_| crowd.other(than, &mut rng)).collect();
            prop_assert_eq!(&others, &set);
            prop_assert_eq!(some.len(), n.min(set.len()));
            let some: BTreeSet<_> = some.into_iter().collect();
            prop_assert_eq!(some.len(), n.min(set.len()));
            prop_assert!(some.is_subset(&set));
        }
    }
}
