//! The proven addresses on a ring, of which each asker is told one arc.
//!
//! Where an address stands follows from the book's secret, and so does where an asker's arc begins:
//! nobody can choose either, all addresses are told equally often, and what one asker is told stays
//! the same however often it asks. Nothing is kept of askers, so that none can be made forgotten.

use std::collections::BTreeSet;

use super::{AddressBook, near::proven_id};
use crate::{
    address::{Group, HostPort},
    clock::Moment,
    ids::NodeId,
    proto::address_entry::Entry,
};

/// The ring: by place.
pub(super) type Ring = BTreeSet<(u64, HostPort)>;

impl AddressBook {
    /// Keeps a ring from now on.
    pub fn keep_ring(&mut self) {
        let proven = self.proven.iter().map(|(_, addr)| (self.key.ring_place(addr), addr.clone()));
        self.ring = Some(proven.collect());
    }

    /// How many addresses are on the ring: all that are proven by this run, whether they answer still
    /// or not.
    #[must_use]
    pub fn n_on_ring(&self) -> usize {
        self.ring.as_ref().map_or(0, BTreeSet::len)
    }

    /// Where the arc of a group begins in a window.
    #[must_use]
    pub fn arc_of(&self, group: &Group, window: u64) -> u64 {
        self.key.arc_place(group, window)
    }

    /// The next `most` addresses on the ring from a place on that answered when they were last dialled,
    /// since `fresh_since`, as far as they also pass `allowed`.
    pub fn arc(
        &self,
        begin: u64,
        most: usize,
        fresh_since: Moment,
        allowed: impl Fn(&HostPort, NodeId) -> bool,
    ) -> Vec<(HostPort, NodeId)> {
        let Some(ring) = &self.ring else { return Vec::new() };
        let begin = (begin, super::min_address());
        let answers =
            |entry: &Entry| entry.failures == 0 && !entry.lost && entry.proven >= Some(fresh_since);
        let told = |(_, addr): &(u64, HostPort)| {
            let entry = self.entries.get(addr).filter(|entry| answers(entry))?;
            let id = proven_id(entry)?;
            allowed(addr, id).then(|| (addr.clone(), id))
        };
        ring.range(&begin..).chain(ring.range(..&begin)).filter_map(told).take(most).collect()
    }

    /// A feeler has met the node at an address, which is all that is asked of it: its failures are
    /// forgotten, and it is dialled again at a moment.
    pub fn renewed(&mut self, addr: &HostPort, until: Moment) {
        self.update(addr, |entry| {
            entry.failures = 0;
            entry.next_try = until;
        });
    }

    /// A node that was proven at an address says again that it listens there: a feeler is to show
    /// whether it does, unless it was dialled within `pause`. Whether one is on its way, or will be.
    pub fn look_again(
        &mut self,
        addr: &HostPort,
        id: NodeId,
        now: Moment,
        pause: std::time::Duration,
    ) -> bool {
        let Some(entry) = self.entries.get(addr) else { return false };
        if entry.own || entry.bootstrap || entry.dialling || entry.proven.is_none() {
            return entry.dialling || (entry.proven.is_none() && !entry.own);
        }
        if entry.claimed {
            return true;
        }
        let is_recent = entry.tried.is_some_and(|tried| now.since(tried) < pause);
        if entry.id != Some(id) || is_recent {
            return false;
        }
        self.update(addr, |entry| {
            entry.claimed = true;
            entry.next_try = entry.next_try.min(now);
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{NodeConfig, Role},
        proto::{address_book::BookKey, address_entry::Source},
    };

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    fn addr(n: u16) -> HostPort {
        format!("10.0.{}.{}:5999", n / 250, n % 250 + 1).parse().unwrap()
    }

    fn id(n: u16) -> NodeId {
        NodeId::from_u128(u128::from(n) + 2)
    }

    /// A book in which these were proven, and the last dial of these others failed.
    fn book(proven: &BTreeSet<u16>, failed: &BTreeSet<u16>) -> AddressBook {
        let config = NodeConfig::for_role(Role::Introducer).discovery;
        let mut book = AddressBook::new(NodeId::from_u128(1), config, BookKey::new([7; 32]), 7);
        book.keep_ring();
        for n in proven {
            book.learn(&addr(*n), Some(id(*n)), Source::Declared(id(*n)), at(0)).unwrap();
            book.proven(&addr(*n), id(*n), at(0));
        }
        for n in failed {
            book.failed(&addr(*n), at(1));
        }
        book
    }

    proptest! {
        #[test]
        fn an_arc_is_a_part_of_the_ring_and_all_arcs_are_all_of_it(
            proven in proptest::collection::btree_set(0..500u16, 0..80),
            failed in proptest::collection::btree_set(0..500u16, 0..80),
            begin: u64,
            most in 0..100usize,
        ) {
            let book = book(&proven, &failed);
            let told: BTreeSet<(HostPort, NodeId)> =
                proven.difference(&failed).map(|n| (addr(*n), id(*n))).collect();
            let arc = |begin, most| book.arc(begin, most, at(0), |_, _| true);
            let one = arc(begin, most);
            prop_assert_eq!(one.len(), most.min(told.len()));
            prop_assert!(one.iter().all(|known| told.contains(known)));
            prop_assert_eq!(&arc(begin, most), &one, "the same again");
            prop_assert!(arc(begin, usize::MAX).starts_with(&one));
            let all: BTreeSet<_> = arc(begin, usize::MAX).into_iter().collect();
            prop_assert_eq!(&all, &told);
            // Each stands where some arc begins.
            for (addr, id) in &told {
                let first = arc(book.key.ring_place(addr), 1);
                prop_assert_eq!(first, [(addr.clone(), *id)]);
            }
            prop_assert!(book.arc(begin, most, at(2), |_, _| true).is_empty(), "all proofs are old");
            prop_assert!(book.arc(begin, most, at(0), |_, _| false).is_empty());
        }
    }
}
