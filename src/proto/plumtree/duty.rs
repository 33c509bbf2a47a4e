//! Who has to see to whom when a message goes to everybody.
//!
//! Ids stand in a binary trie. Seen from one node the others fall apart into sibling subtrees: those
//! that differ from it in the first bit, those that share one bit and differ in the second, and so
//! on. Whoever is responsible for some of these hands each on to neighbours inside of it, cut into
//! as many pieces as there are neighbours. The pieces depend on ids alone and never overlap, so
//! that nobody is sent a message twice, whatever the nodes know of each other.

use crate::ids::NodeId;

/// How many levels the trie of ids has.
pub const LEVELS: u8 = 128;

/// The sibling subtrees that a node has to see to: that of level `n` holds all nodes that share the
/// first `n` bits of its id and differ in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duty(u128);

impl Duty {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// All of them: the duty of whoever begins.
    pub const ALL: Self = Self(u128::MAX);

    /// Those of this level and all deeper ones: all nodes that share the first `depth` bits.
    #[must_use]
    pub const fn from_depth(depth: u8) -> Self {
        match u128::MAX.checked_shr(depth as u32) {
            Some(levels) => Self(levels),
            None => Self::NONE,
        }
    }

    /// … and that of this level as well. There is none beyond the last.
    #[must_use]
    pub const fn and(self, level: u8) -> Self {
        Self(self.0 | bit(level))
    }

    /// The lowest level from which on all are contained.
    #[must_use]
    pub const fn depth(self) -> u8 {
        // At most 128.
        LEVELS.saturating_sub(self.0.trailing_ones() as u8)
    }

    /// The levels before [`depth`](Self::depth) that are contained, lowest first.
    pub fn beside(self) -> impl Iterator<Item = u8> {
        (0..self.depth()).filter(move |level| self.contains(*level))
    }

    /// Whether it contains a level.
    #[must_use]
    pub const fn contains(self, level: u8) -> bool {
        self.0 & bit(level) != 0
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What of it is not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What of it the node at this distance can have handed on. A node sees to others than itself,
    /// so all that it hands on lies beyond the first bit in which the receiver's id differs from
    /// its own.
    ///
    /// # Security
    /// Without this, whoever is sent a message could have every neighbour send it to everybody.
    #[must_use]
    pub const fn from_sender_at(self, distance: u128) -> Self {
        self.without(Self(!Self::from_depth(level_of(distance).saturating_add(1)).0))
    }
}

const fn bit(level: u8) -> u128 {
    match (1_u128 << 127).checked_shr(level as u32) {
        Some(bit) => bit,
        None => 0,
    }
}

/// The level of the subtree that a node at this distance is in; 128 for the node itself.
#[must_use]
pub const fn level_of(distance: u128) -> u8 {
    distance.leading_zeros() as u8
}

/// The node at this distance from another.
#[must_use]
pub const fn at_distance(me: NodeId, distance: u128) -> NodeId {
    NodeId::from_u128(me.as_u128() ^ distance)
}

/// Cuts a subtree into pieces, one for each of the neighbours that are known in it. They are given
/// by their distances, in ascending order, and share the first `len` bits of them.
pub fn cover(neighbours: &[u128], len: u8, out: &mut Vec<(u128, Duty)>) {
    if let [only] = neighbours {
        out.push((*only, Duty::from_depth(len)));
    }
    if neighbours.len() < 2 || len >= LEVELS {
        return;
    }
    let half = neighbours.partition_point(|distance| distance & bit(len) == 0);
    let (near, far) = neighbours.split_at(half);
    let start = out.len();
    cover(near, len.saturating_add(1), out);
    cover(far, len.saturating_add(1), out);
    if near.is_empty() || far.is_empty() {
        // Nobody is known in one half. Whoever has the least to do sees to that half too: the
        // number that a duty is grows with the share of all ids that it stands for.
        let pieces = out.iter_mut().skip(start);
        if let Some((_, duty)) = pieces.min_by_key(|(_, duty)| *duty) {
            *duty = duty.and(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duty_is_told_by_its_depth_and_what_is_beside_it() {
        let duty = Duty::from_depth(7).and(3).and(5);
        assert_eq!((duty.depth(), duty.beside().collect::<Vec<_>>()), (7, vec![3, 5]));
        assert_eq!(duty.and(6).depth(), 5);
        assert_eq!((Duty::NONE.depth(), Duty::ALL.depth()), (128, 0));
        assert_eq!(Duty::from_depth(200), Duty::NONE);
        assert_eq!(Duty::NONE.and(200), Duty::NONE);
        assert!(Duty::from_depth(127).contains(127) && !Duty::from_depth(127).contains(126));
    }

    #[test]
    fn nobody_hands_on_what_lies_outside_of_the_receivers_subtree() {
        let at_level = |level: u8| bit(level);
        assert_eq!(Duty::ALL.from_sender_at(at_level(0)), Duty::from_depth(1));
        assert_eq!(Duty::from_depth(9).and(2).and(6).from_sender_at(at_level(4)).depth(), 9);
        assert!(!Duty::from_depth(9).and(2).from_sender_at(at_level(4)).contains(2));
        assert_eq!(Duty::ALL.from_sender_at(at_level(127)), Duty::NONE);
        assert_eq!(Duty::ALL.from_sender_at(0), Duty::NONE);
    }

    /// The neighbours at these distances, all of level 0, and what each has to see to.
    fn pieces(distances: &[u128]) -> Vec<(u128, Duty)> {
        let mut out = Vec::new();
        cover(distances, 1, &mut out);
        out
    }

    #[test]
    fn one_neighbour_sees_to_all_of_it_and_more_share_it() {
        let d = |bits: u128| bits << 120;
        assert_eq!(pieces(&[]), []);
        assert_eq!(pieces(&[d(0b1010_0000)]), [(d(0b1010_0000), Duty::from_depth(1))]);
        let shared = pieces(&[d(0b1000_0000), d(0b1010_0000), d(0b1110_0000)]);
        let duties: Vec<_> = shared.iter().map(|(_, duty)| duty.depth()).collect();
        assert_eq!(duties, [3, 3, 2]);
        // Nobody is known beyond 0b11.
        let lonely = pieces(&[d(0b1000_0000), d(0b1010_0000)]);
        assert_eq!(lonely[0].1, Duty::from_depth(3).and(1));
        assert_eq!(lonely[1].1, Duty::from_depth(3));
    }

    proptest! {
        /// Everybody in the subtree is one neighbour's duty, and only one's.
        #[test]
        fn the_pieces_are_a_partition(
            neighbours in proptest::collection::btree_set(any::<u128>(), 1..12),
            others in proptest::collection::vec(any::<u128>(), 1..50),
            spread in 0u8..120,
        ) {
            // Distances of one subtree, in which few or many bits are shared.
            let squeeze = |d: u128| (d >> spread) | bit(0);
            let neighbours: Vec<u128> = neighbours.into_iter().map(squeeze).collect();
            let mut sorted = neighbours.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let pieces = pieces(&sorted);
            prop_assert_eq!(pieces.len(), sorted.len());
            for other in others.into_iter().map(squeeze) {
                let responsible = pieces.iter().filter(|(neighbour, duty)| {
                    other == *neighbour || duty.contains(level_of(other ^ neighbour))
                });
                let n = responsible.count();
                prop_assert_eq!(n, 1);
            }
        }

        #[test]
        fn depth_and_beside_tell_all_of_it(levels in any::<u128>()) {
            let duty = Duty(levels);
            let told = duty.beside().fold(Duty::from_depth(duty.depth()), Duty::and);
            prop_assert_eq!(told, duty);
        }
    }
}
