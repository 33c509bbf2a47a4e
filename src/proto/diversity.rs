//! How many of the sessions that this node dials may lead into one group of addresses.

use std::collections::BTreeMap;

use crate::address::{Class, Group, HostPort};

/// Of the sessions that a node wants, one group gets at most this part (but one at least): where
/// few are wanted, even the two that a group may have would be a large share.
const GROUP_SHARE: usize = 8;

/// Counts the outbound sessions and dials of each public group. Whoever has all addresses of a few
/// groups then still has only a few of this node's sessions.
#[derive(Debug)]
pub struct Diversity {
    /// Sessions that are wanted with anybody.
    target: usize,
    /// About how many there are in all.
    wanted: usize,
    /// Per group, at most.
    most: usize,
    counts: BTreeMap<Group, usize>,
}

impl Diversity {
    /// For a node that wants so many sessions with anybody, about so many in all, and at most so many
    /// with one group.
    #[must_use]
    pub const fn new(target: usize, wanted: usize, most: usize) -> Self {
        Self { target, wanted, most, counts: BTreeMap::new() }
    }

    /// There is one more session with this address, or a dial that may lead to one.
    pub fn begun(&mut self, addr: &HostPort) {
        if let Some(group) = public_group(addr) {
            *self.counts.entry(group).or_default() += 1;
        }
    }

    /// There is one less.
    pub fn ended(&mut self, addr: &HostPort) {
        if let Some(group) = public_group(addr)
            && let Some(count) = self.counts.get_mut(&group)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&group);
            }
        }
    }

    /// How many one group may have, if addresses are known in so many groups. In a network that
    /// has only few groups, each gets its even share of the sessions that are wanted.
    #[must_use]
    pub fn allowed(&self, known_groups: usize) -> usize {
        let most = self.most.min(self.target / GROUP_SHARE).max(1);
        self.wanted.div_ceil(known_groups.max(1)).max(most)
    }

    /// The groups that have as many as they may.
    pub fn full(&self, known_groups: usize) -> impl Iterator<Item = &Group> {
        let allowed = self.allowed(known_groups);
        self.counts.iter().filter(move |(_, n)| **n >= allowed).map(|(group, _)| group)
    }
}

/// The group of a public address. The others cost nobody anything, and are not counted.
fn public_group(addr: &HostPort) -> Option<Group> {
    (addr.class() == Class::Public).then(|| Group::of(addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_gets_two_or_an_eighth_or_its_even_share_if_there_are_few() {
        let of = |target, groups| Diversity::new(target, target, 2).allowed(groups);
        assert_eq!((of(64, 100), of(8, 100), of(12, 100)), (2, 1, 1));
        assert_eq!((of(64, 1), of(64, 4), of(64, 31)), (64, 16, 3));
    }

    #[test]
    fn only_public_addresses_count() {
        let mut diversity = Diversity::new(64, 64, 2);
        for text in ["10.0.0.1:1", "10.0.0.1:1", "8.8.1.1:1", "8.8.2.2:2", "9.9.9.9:1"] {
            diversity.begun(&text.parse().unwrap());
        }
        assert_eq!(diversity.full(99).collect::<Vec<_>>(), [&Group::V4([8, 8])]);
        diversity.ended(&"8.8.1.1:1".parse().unwrap());
        assert_eq!(diversity.full(99).count(), 0);
    }
}
