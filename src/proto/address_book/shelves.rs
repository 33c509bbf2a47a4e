//! Where in the book an address stands: the tables, the cold tier, and the ways between them.

use super::{AddressBook, key::SourceGroup};
use crate::{
    address::{Class, Group, HostPort},
    clock::Moment,
    proto::address_entry::{Entry, Hearing, NotTaken, Place, Source},
};

/// The table of hearsay, for the hash of a slot.
const NEW: u8 = 0;

/// The table of proven addresses.
const TRIED: u8 = 1;

/// One public group may fill at most this part of the cold tier.
const COLD_GROUP_SHARE: usize = 16;

impl AddressBook {
    /// The slot that hearsay prefers: in one of the few buckets that its source's group may fill,
    /// and for one group of addresses always in the same of them.
    fn new_home(&self, addr: &HostPort, hearing: Hearing) -> u32 {
        let source = SourceGroup::of(hearing);
        let n = self.key.of_source(&source, &Group::of(addr)) % self.source_buckets;
        let bucket = self.new.bucket(self.key.new_bucket(&source, n));
        self.new.home(bucket, self.key.slot(NEW, bucket, addr))
    }

    /// The slot that a proven address prefers: in one of the few buckets that its group may fill.
    fn tried_home(&self, addr: &HostPort, group: &Group) -> u32 {
        let n = self.key.of_group(addr) % self.group_buckets;
        let bucket = self.tried.bucket(self.key.tried_bucket(group, n));
        self.tried.home(bucket, self.key.slot(TRIED, bucket, addr))
    }

    /// A slot for hearsay; whoever is at its place gives way if it is terrible.
    pub(super) fn room_in_new(
        &mut self,
        addr: &HostPort,
        hearing: Hearing,
        now: Moment,
    ) -> Result<u32, NotTaken> {
        let home = self.new_home(addr, hearing);
        if let Some(free) = self.new.free_near(home) {
            return Ok(free);
        }
        if let Some(slot) = self.given_up_for(hearing, home) {
            return Ok(slot);
        }
        let Some(there) = self.new.at(home).cloned() else { return Err(NotTaken::PlaceTaken) };
        match self.entries.get(&there) {
            Some(entry) if !entry.is_terrible(now) => {
                let same_source = SourceGroup::of(entry.hearing()) == SourceGroup::of(hearing);
                Err(if same_source { NotTaken::SourceFull } else { NotTaken::PlaceTaken })
            }
            Some(_) | None => {
                self.forget(&there);
                Ok(home)
            }
        }
    }

    /// In the book of an introducer what nobody who is here vouches for gives way to what a guest says
    /// of itself: one network could fill the buckets of a twelfth of all others with hearsay.
    fn given_up_for(&mut self, hearing: Hearing, home: u32) -> Option<u32> {
        if self.ring.is_none() || !matches!(hearing.source, Source::Declared(_)) {
            return None;
        }
        let gives_way = |slot: &u32| {
            let entry = self.new.at(*slot).and_then(|addr| self.entries.get(addr));
            entry.is_some_and(|entry| {
                let is_guest = entry.id.is_some_and(|id| self.connected.contains(&id));
                entry.proven.is_none() && !entry.dialling && !is_guest
            })
        };
        let slot = self.new.from(home).find(gives_way)?;
        let there = self.new.at(slot).cloned()?;
        self.forget(&there);
        Some(slot)
    }

    /// A free slot for a proven address, or who is at its place.
    pub(super) fn room_in_tried(&self, addr: &HostPort) -> Result<u32, Option<HostPort>> {
        let home = self.tried_home(addr, &Group::of(addr));
        self.tried.free_near(home).ok_or_else(|| self.tried.at(home).cloned())
    }

    /// An address was proven: it goes to the table of those. If its bucket is full, whoever is at
    /// its place is asked first whether it still answers (Heilman et al. 2015, countermeasure 3,
    /// "test before evict"), and the newcomer stays where it is until that is known.
    pub(super) fn promote(&mut self, addr: &HostPort) {
        let Some(entry) = self.entries.get(addr) else { return };
        if matches!(entry.place, Place::Given | Place::Tried(_)) {
            return;
        }
        match self.room_in_tried(addr) {
            Ok(slot) => self.move_to(addr, Place::Tried(slot)),
            Err(Some(there)) => {
                self.test(&there, addr);
                self.out_of_the_cold(addr);
            }
            Err(None) => self.out_of_the_cold(addr),
        }
    }

    /// An address that was proven again and has no place among the proven waits among the hearsay.
    fn out_of_the_cold(&mut self, addr: &HostPort) {
        let Some(entry) = self.entries.get(addr).filter(|entry| entry.is_cold()) else { return };
        let home = self.new_home(addr, entry.hearing());
        if let Some(slot) = self.new.free_near(home) {
            self.move_to(addr, Place::New(slot));
        }
    }

    fn test(&mut self, there: &HostPort, newcomer: &HostPort) {
        let is_connected = self.connected_at(there).is_some();
        if is_connected
            || self.tests.contains_key(there)
            || self.tests.len() >= self.config.pending_tests
        {
            return;
        }
        self.tests.insert(there.clone(), newcomer.clone());
        let now = self.now;
        self.update(there, |entry| {
            entry.tested = true;
            entry.next_try = entry.next_try.min(now);
        });
    }

    /// The address at a contended place answers.
    pub(super) fn passed_test(&mut self, addr: &HostPort) {
        if self.tests.remove(addr).is_some() {
            self.update(addr, |entry| entry.tested = false);
        }
    }

    /// The address at a contended place does not answer: it goes to the cold tier, and who wanted
    /// its place gets it. That one, if it is there still.
    pub(super) fn failed_test(&mut self, addr: &HostPort) -> Option<HostPort> {
        let newcomer = self.tests.remove(addr)?;
        self.update(addr, |entry| entry.tested = false);
        let waits = |entry: &Entry| entry.proven.is_some() && matches!(entry.place, Place::New(_));
        if !self.entries.get(&newcomer).is_some_and(waits) {
            return None;
        }
        self.go_cold(addr);
        if let Ok(slot) = self.room_in_tried(&newcomer) {
            self.move_to(&newcomer, Place::Tried(slot));
        }
        Some(newcomer)
    }

    /// A place for an address that no longer stands outside the buckets, or that an earlier run
    /// has left: among the proven or the hearsay, else, if it was ever proven, in the cold tier.
    pub(super) fn any_place(&self, addr: &HostPort, entry: &Entry) -> Option<Place> {
        let proven = entry.proven.is_some();
        if proven && let Ok(slot) = self.room_in_tried(addr) {
            return Some(Place::Tried(slot));
        }
        let home = self.new_home(addr, entry.hearing());
        let new = self.new.free_near(home).map(Place::New);
        new.or(proven.then_some(Place::Cold))
    }

    /// A proven address is retried slowly from now on. If the cold tier has no room, the one that
    /// has been silent longest is forgotten: of its own group, if that has its share.
    pub(super) fn go_cold(&mut self, addr: &HostPort) {
        self.move_to(addr, Place::Cold);
        let share = (self.config.cold_entries / COLD_GROUP_SHARE).max(1);
        if let Some(of_group) = self.cold_groups.get(&Group::of(addr))
            && of_group.len() > share
            && let Some((_, longest_silent)) = of_group.first().cloned()
        {
            self.forget(&longest_silent);
        }
        if self.cold.len() > self.config.cold_entries
            && let Some((_, longest_silent)) = self.cold.first().cloned()
        {
            self.forget(&longest_silent);
        }
    }

    pub(super) fn move_to(&mut self, addr: &HostPort, place: Place) {
        let Some(entry) = self.entries.get(addr) else { return };
        let before = entry.place;
        if before == place {
            return;
        }
        self.unindex(addr);
        match before {
            Place::New(slot) => self.new.take(slot),
            Place::Tried(slot) => self.tried.take(slot),
            Place::Given => self.n_given = self.n_given.saturating_sub(1),
            Place::Cold => {}
        }
        self.occupy(addr, place);
        if let Some(entry) = self.entries.get_mut(addr) {
            entry.place = place;
        }
        self.index(addr);
        self.changed(addr);
    }

    /// Notes in the tables that an address stands at a place.
    fn occupy(&mut self, addr: &HostPort, place: Place) {
        match place {
            Place::New(slot) => self.new.put(slot, addr.clone()),
            Place::Tried(slot) => self.tried.put(slot, addr.clone()),
            Place::Given => self.n_given += 1,
            Place::Cold => {}
        }
    }

    /// Takes in an address that was not in the book.
    pub(super) fn insert(&mut self, addr: &HostPort, entry: Entry) {
        self.occupy(addr, entry.place);
        if addr.class() == Class::Public {
            self.groups.entry(Group::of(addr)).or_default().insert(addr.clone());
        }
        self.entries.insert(addr.clone(), entry);
        self.index(addr);
    }

    pub(super) fn forget(&mut self, addr: &HostPort) {
        self.unindex(addr);
        let Some(entry) = self.entries.remove(addr) else { return };
        match entry.place {
            Place::New(slot) => self.new.take(slot),
            Place::Tried(slot) => self.tried.take(slot),
            Place::Given => self.n_given = self.n_given.saturating_sub(1),
            Place::Cold => {}
        }
        self.tests.remove(addr);
        let group = Group::of(addr);
        if let Some(addrs) = self.groups.get_mut(&group) {
            addrs.remove(addr);
            if addrs.is_empty() {
                self.groups.remove(&group);
            }
        }
        self.dropped(addr, entry.kept);
    }
}
