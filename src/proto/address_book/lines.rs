//! Which addresses may be dialled, from when on, and which of them is next.
//!
//! An address that has to wait stands in its line by time. When its time has come, one of the two
//! tables is marked ready in its bucket, so that a choice costs the same however many wait.

use std::{collections::BTreeMap, net::SocketAddr};

use rand::{Rng, seq::IteratorRandom};

use super::{AddressBook, Queue, near::proven_id};
use crate::{
    address::{Class, Group, HostPort},
    clock::Moment,
    ids::NodeId,
    proto::address_entry::{Entry, Place, Source},
};

/// Among how many due addresses of a line without buckets the next to dial is chosen.
const PICK_FROM: usize = 256;

/// Among how many addresses that were just declared the next to feel is chosen: more than an
/// introducer's guests may declare.
const NEWCOMERS_LOOKED_AT: usize = 4096;

/// One dial in so many is for a cold address, when others are due as well.
const COLD_SHARE: u32 = 8;

/// The lines behind the [`Queue`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    Bootstrap,
    Feeler,
    Given,
    New,
    Tried,
    Cold,
}

impl Queue {
    const fn lines(self) -> &'static [Line] {
        match self {
            Self::Bootstrap => &[Line::Bootstrap],
            Self::Feeler => &[Line::Feeler],
            Self::Known => &[Line::Given, Line::New, Line::Tried, Line::Cold],
            Self::Hearsay => &[Line::New],
            Self::Proven => &[Line::Given, Line::Tried, Line::Cold],
        }
    }
}

impl AddressBook {
    /// When the first address of a queue may be dialled; in the past if one may be now.
    #[must_use]
    pub fn due_at(&self, queue: Queue) -> Option<Moment> {
        queue.lines().iter().filter_map(|line| self.first_of(*line)).min()
    }

    fn first_of(&self, line: Line) -> Option<Moment> {
        let is_ready = match line {
            Line::New => self.new.has_ready(),
            Line::Tried => self.tried.has_ready(),
            Line::Bootstrap | Line::Feeler | Line::Given | Line::Cold => false,
        };
        if is_ready { Some(Moment::ZERO) } else { self.waiting(line).next().map(|(at, _)| at) }
    }

    /// One of the addresses of a queue that may be dialled now, at random: if all nodes dialled
    /// what they heard of first, they would all dial the same.
    ///
    /// Of those known, one by hand comes first; then half of the choices are for proven addresses
    /// and half for hearsay, as in Bitcoin Core, and in each a bucket is chosen before an address
    /// (Heilman et al. 2015, countermeasure 2: whoever has more addresses in the book is not chosen
    /// more often for it).
    pub fn pick(&mut self, queue: Queue, now: Moment) -> Option<HostPort> {
        self.ripen(now);
        match queue {
            Queue::Bootstrap => self.pick_waiting(Line::Bootstrap, now),
            Queue::Feeler => self.pick_waiting(Line::Feeler, now),
            Queue::Hearsay => self.new.pick(&mut self.rng).cloned(),
            Queue::Proven => {
                let given = self.pick_waiting(Line::Given, now);
                let is_cold = given.is_none() && self.rng.random_ratio(1, COLD_SHARE);
                let cold = is_cold.then(|| self.pick_waiting(Line::Cold, now)).flatten();
                let picked = given.or(cold).or_else(|| self.tried.pick(&mut self.rng).cloned());
                picked.or_else(|| self.pick_waiting(Line::Cold, now))
            }
            Queue::Known => {
                if let Some(given) = self.pick_waiting(Line::Given, now) {
                    return Some(given);
                }
                if self.rng.random_ratio(1, COLD_SHARE)
                    && let Some(cold) = self.pick_waiting(Line::Cold, now)
                {
                    return Some(cold);
                }
                let tried_first = self.rng.random::<bool>();
                let (first, second) =
                    if tried_first { (&self.tried, &self.new) } else { (&self.new, &self.tried) };
                let picked = first.pick(&mut self.rng).or_else(|| second.pick(&mut self.rng));
                picked.cloned().or_else(|| self.pick_waiting(Line::Cold, now))
            }
        }
    }

    /// One of the addresses that a feeler is to be sent to at once: from where it was told is chosen
    /// before the address, so that who declares many from one network is not heard more often.
    pub fn pick_newcomer(&mut self, now: Moment) -> Option<HostPort> {
        let mut by_teller: BTreeMap<Option<Group>, Vec<&HostPort>> = BTreeMap::new();
        let due = self.waiting(Line::Feeler).take_while(|(at, _)| *at <= now);
        for (_, addr) in due.take(NEWCOMERS_LOOKED_AT) {
            let from = self.entries.get(addr).and_then(|entry| entry.told_from);
            let group = from.map(|ip| Group::of(&HostPort::from(SocketAddr::new(ip, 0))));
            by_teller.entry(group).or_default().push(addr);
        }
        let mut rng = self.rng.clone();
        let chosen = by_teller.into_values().choose(&mut rng);
        let chosen = chosen.and_then(|of_group| of_group.into_iter().choose(&mut rng).cloned());
        self.rng = rng;
        chosen
    }

    fn pick_waiting(&mut self, line: Line, now: Moment) -> Option<HostPort> {
        let mut rng = self.rng.clone();
        let due = self.waiting(line).take_while(|(at, _)| *at <= now).take(PICK_FROM);
        let picked = due.choose(&mut rng).map(|(_, addr)| addr.clone());
        self.rng = rng;
        picked
    }

    fn waiting(&self, line: Line) -> impl Iterator<Item = (Moment, &HostPort)> {
        self.queues.get(&line).into_iter().flatten().map(|(at, addr)| (*at, addr))
    }

    /// Marks the addresses in the tables whose time has come.
    fn ripen(&mut self, now: Moment) {
        self.now = self.now.max(now);
        for line in [Line::New, Line::Tried] {
            let first =
                |book: &Self| book.waiting(line).next().map(|(at, addr)| (at, addr.clone()));
            while let Some((at, addr)) = first(self).filter(|(at, _)| *at <= now) {
                let place = self.entries.get(&addr).map(|entry| entry.place);
                if let Some(waiting) = self.queues.get_mut(&line) {
                    waiting.remove(&(at, addr));
                }
                match place {
                    Some(Place::New(slot)) => self.new.ready(slot),
                    Some(Place::Tried(slot)) => self.tried.ready(slot),
                    Some(Place::Given | Place::Cold) | None => {}
                }
            }
        }
    }

    /// Leaves the addresses of a public group alone, or not any more: there are as many sessions
    /// with it as may be. Those that the operator named are dialled all the same.
    pub fn hold(&mut self, group: &Group, held: bool) {
        if self.held.contains(group) == held {
            return;
        }
        let addrs: Vec<HostPort> = self.groups.get(group).into_iter().flatten().cloned().collect();
        for addr in &addrs {
            self.unindex(addr);
        }
        if held {
            self.held.insert(group.clone());
        } else {
            self.held.remove(group);
        }
        for addr in &addrs {
            self.index(addr);
        }
    }

    /// The groups that are left alone.
    pub fn held(&self) -> impl Iterator<Item = &Group> {
        self.held.iter()
    }

    /// In how many public groups addresses are known.
    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn set_connected(&mut self, id: NodeId, connected: bool) {
        let addrs = self.addresses_of(id);
        for addr in &addrs {
            self.unindex(addr);
        }
        if connected {
            self.connected.insert(id);
        } else {
            self.connected.remove(&id);
        }
        for addr in &addrs {
            self.index(addr);
        }
    }

    /// Takes an entry out of everything that is derived from it.
    pub(super) fn unindex(&mut self, addr: &HostPort) {
        let Some(entry) = self.entries.get(addr) else { return };
        let line = self.line_of(addr, entry);
        if let Some((bucket, place)) = self.place_in_bucket(addr, entry, line)
            && let Some(addrs) = self.by_bucket.get_mut(&bucket)
        {
            addrs.remove(&place);
            if addrs.is_empty() {
                self.by_bucket.remove(&bucket);
            }
        }
        if let Some(id) = proven_id(entry) {
            self.proven.remove(&(id, addr.clone()));
            if let Some(ring) = &mut self.ring {
                ring.remove(&(self.key.ring_place(addr), addr.clone()));
            }
        }
        if let Some(line) = line {
            let was_ready = match entry.place {
                Place::New(slot) => self.new.unready(slot),
                Place::Tried(slot) => self.tried.unready(slot),
                Place::Given | Place::Cold => false,
            };
            if !was_ready && let Some(waiting) = self.queues.get_mut(&line) {
                waiting.remove(&(entry.next_try, addr.clone()));
            }
        }
        if let (true, Some(proven)) = (entry.is_cold(), entry.proven) {
            self.cold.remove(&(proven, addr.clone()));
            let group = Group::of(addr);
            if let Some(cold) = self.cold_groups.get_mut(&group) {
                cold.remove(&(proven, addr.clone()));
                if cold.is_empty() {
                    self.cold_groups.remove(&group);
                }
            }
        }
        if let Some(id) = entry.id
            && let Some(addrs) = self.by_id.get_mut(&id)
        {
            addrs.remove(addr);
            if addrs.is_empty() {
                self.by_id.remove(&id);
            }
        }
    }

    /// Puts it in again.
    pub(super) fn index(&mut self, addr: &HostPort) {
        let Some(entry) = self.entries.get(addr) else { return };
        let line = self.line_of(addr, entry);
        if let Some((bucket, place)) = self.place_in_bucket(addr, entry, line) {
            self.by_bucket.entry(bucket).or_default().insert(place);
        }
        if let Some(id) = proven_id(entry) {
            self.proven.insert((id, addr.clone()));
            if let Some(ring) = &mut self.ring {
                ring.insert((self.key.ring_place(addr), addr.clone()));
            }
        }
        if let Some(line) = line {
            match entry.place {
                Place::New(slot) if line == Line::New && entry.next_try <= self.now => {
                    self.new.ready(slot);
                }
                Place::Tried(slot) if line == Line::Tried && entry.next_try <= self.now => {
                    self.tried.ready(slot);
                }
                Place::New(_) | Place::Tried(_) | Place::Given | Place::Cold => {
                    let waiting = self.queues.entry(line).or_default();
                    waiting.insert((entry.next_try, addr.clone()));
                }
            }
        }
        if let (true, Some(proven)) = (entry.is_cold(), entry.proven) {
            self.cold.insert((proven, addr.clone()));
            let of_group = self.cold_groups.entry(Group::of(addr)).or_default();
            of_group.insert((proven, addr.clone()));
        }
        if let Some(id) = entry.id {
            self.by_id.entry(id).or_default().insert(addr.clone());
        }
    }

    /// Which line an address stands in to be dialled.
    pub(super) fn line_of(&self, addr: &HostPort, entry: &Entry) -> Option<Line> {
        if entry.own || entry.dialling {
            return None;
        }
        // The operator's contact is dialled for a session, whoever claims its place.
        if (entry.claimed && !entry.bootstrap) || entry.tested {
            return Some(Line::Feeler);
        }
        if let Some(id) = entry.id.filter(|id| self.connected.contains(id)) {
            let declared = entry.source == Source::Declared(id);
            return (declared && entry.proven.is_none()).then_some(Line::Feeler);
        }
        if entry.bootstrap {
            return Some(Line::Bootstrap);
        }
        let line = match entry.place {
            Place::Given => return Some(Line::Given),
            Place::New(_) => Line::New,
            Place::Tried(_) => Line::Tried,
            Place::Cold => Line::Cold,
        };
        let is_held = !self.held.is_empty()
            && addr.class() == Class::Public
            && self.held.contains(&Group::of(addr));
        (!is_held).then_some(line)
    }
}
