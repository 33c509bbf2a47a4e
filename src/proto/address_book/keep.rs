//! What of the book outlives a run.

use super::AddressBook;
use crate::{
    address::HostPort,
    clock::Moment,
    proto::{
        address_entry::{Entry, Hearing, Place},
        address_record::{AddressChange, AddressRecord, Shelf},
    },
};

impl AddressBook {
    /// What has changed since this was last asked, one change for each address. Hearsay that came
    /// and went in between leaves no trace, nor does what only the operator said, nor this node's
    /// own addresses.
    pub fn take_changes(&mut self) -> Vec<AddressChange> {
        let changed = std::mem::take(&mut self.dirty);
        changed.into_iter().filter_map(|addr| self.change_of(addr)).collect()
    }

    fn change_of(&mut self, addr: HostPort) -> Option<AddressChange> {
        let record = self.entries.get(&addr).and_then(|entry| record_of(&addr, entry));
        let kept = self.entries.get_mut(&addr).map(|entry| &mut entry.kept);
        // Whether there is a record of it that has to go.
        let was_kept = kept.is_none_or(|kept| std::mem::replace(kept, record.is_some()));
        match record {
            Some(record) => Some(AddressChange::Put(Box::new(record))),
            None => was_kept.then_some(AddressChange::Gone(addr)),
        }
    }

    /// These changes could not be kept: they are told again, as far as they are still so.
    pub fn put_back(&mut self, changes: Vec<AddressChange>) {
        for change in changes {
            let addr = match change {
                AddressChange::Put(record) => record.addr,
                AddressChange::Gone(addr) => addr,
            };
            if let Some(entry) = self.entries.get_mut(&addr) {
                entry.kept = true;
            }
            self.note_change(addr);
        }
    }

    /// Takes in what an earlier run has left; moments in the future, as a clock that was set back
    /// leaves them, count as now. How many found no place, and are forgotten.
    pub fn remember(&mut self, now: Moment, records: Vec<AddressRecord>) -> usize {
        self.now = self.now.max(now);
        let mut n_dropped = 0;
        for record in records {
            let addr = record.addr.clone();
            let is_taken = self.entries.contains_key(&addr) || self.recall(now, record);
            if !is_taken {
                n_dropped += 1;
                self.dropped(&addr, true);
            }
        }
        n_dropped
    }

    fn recall(&mut self, now: Moment, record: AddressRecord) -> bool {
        let AddressRecord { addr, id, shelf, source, told_from, heard, proven, tried, failures } =
            record;
        if addr.check_dialable().is_err() || id == Some(self.me) {
            return false;
        }
        let past = |moment: Moment| moment.min(now);
        let hearing = Hearing { source, from: told_from };
        let proven = proven.map(past);
        let entry = Entry {
            proven,
            tried: tried.map(past),
            heard: past(heard),
            failures,
            // The first contact of a run that is over: an address like any other.
            bootstrap: false,
            remembered: proven.is_some(),
            kept: true,
            next_try: now,
            ..Entry::new(id, hearing, Place::Cold, now)
        };
        let cold = shelf == Shelf::Cold && proven.is_some();
        let place = if cold { Some(Place::Cold) } else { self.any_place(&addr, &entry) };
        let Some(place) = place else { return false };
        self.insert(&addr, Entry { place, ..entry });
        if place == Place::Cold {
            self.go_cold(&addr);
        }
        self.entries.contains_key(&addr)
    }

    /// Something about an address that may be kept has changed.
    pub(super) fn changed(&mut self, addr: &HostPort) {
        if self.entries.contains_key(addr) {
            self.note_change(addr.clone());
        }
    }

    /// An address is not in the book any more.
    pub(super) fn dropped(&mut self, addr: &HostPort, kept: bool) {
        if kept {
            self.note_change(addr.clone());
        } else {
            self.dirty.remove(addr);
        }
    }

    /// Bounded by what there can be in the book, twice: as many again may have gone from it while
    /// nothing could be kept. What is beyond is found out by the next run.
    fn note_change(&mut self, addr: HostPort) {
        let most = (self.config.book_entries + self.config.cold_entries).saturating_mul(2);
        if self.dirty.len() < most {
            self.dirty.insert(addr);
        }
    }
}

/// What is kept of an address.
fn record_of(addr: &HostPort, entry: &Entry) -> Option<AddressRecord> {
    let shelf = match entry.place {
        Place::Given if entry.proven.is_none() => return None,
        Place::Given | Place::Tried(_) => Shelf::Tried,
        Place::New(_) => Shelf::New,
        Place::Cold => Shelf::Cold,
    };
    (!entry.own).then(|| AddressRecord {
        addr: addr.clone(),
        id: entry.id,
        shelf,
        source: entry.source,
        told_from: entry.told_from,
        heard: entry.heard,
        proven: entry.proven,
        tried: entry.tried,
        failures: entry.failures,
    })
}
