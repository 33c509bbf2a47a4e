//! Whom an introducer has with it, for how long, and whose share of the book an answer comes from.
//!
//! A session with an introducer is a visit. It ends when the guest has been answered, has been told of
//! some others, and it is known whether its own address answers; at the latest when its time is over.
//! Who has been told of few stays that long, so that it hears of those who come meanwhile.
//!
//! What one asker is told comes from one share of the book, the same for a day, whatever it asks and
//! how often. An asker is a group of public addresses ([`Group`]), or an IP address that is not
//! public. An id counts as well: one that has asked from elsewhere is told what it would be there.
//!
//! Invariants:
//! * N1: every guest is told to go, once, when its time is over or before.
//! * N2: an id is of one asker until the window ends, as far as ids are kept in mind.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    address::{Group, HostPort},
    clock::Moment,
    config::IntroductionConfig,
    ids::NodeId,
};

/// Who has been told of so many others can do without the introducer.
const ENOUGH: usize = 16;

/// How many questions of one session are answered with anything.
const ANSWERS: u32 = 8;

/// How many ids are kept in mind with the group that they asked from; further ones are told what
/// their groups are.
const MAX_IDS: usize = 16_384;

/// One session.
#[derive(Debug)]
struct Guest {
    /// When it must go.
    latest: Moment,
    /// When it is told to go as things are; none if it was.
    due: Option<Moment>,
    answers: u32,
    /// Of how many others it was told.
    told: usize,
    /// Its own address, until a feeler has shown whether it answers.
    awaits: Option<HostPort>,
}

/// Why an address is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// The operator named it, or it was proven before.
    Known,
    /// Somebody who is here says that it listens there.
    Newcomer,
    /// It was heard of.
    Hearsay,
}

impl Errand {
    /// The part of the dials at the same time, as a divisor, that may be for this. Others could fill all
    /// of them with addresses where nobody answers, and those who are known would grow old.
    const fn part(self) -> usize {
        match self {
            Self::Known => 1,
            Self::Newcomer => 2,
            Self::Hearsay => 4,
        }
    }
}

/// Who asks, and in which window: what its share follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// From where.
    pub group: Group,
    /// The number of the window.
    pub window: u64,
}

/// The guests of an introducer.
#[derive(Debug)]
pub struct Introducer {
    config: IntroductionConfig,
    guests: BTreeMap<NodeId, Guest>,
    dues: BTreeSet<(Moment, NodeId)>,
    /// The dials under way.
    errands: BTreeMap<HostPort, Errand>,
    window: u64,
    /// From where ids have asked first in this window.
    first_asked: BTreeMap<NodeId, Group>,
}

impl Introducer {
    /// Without guests.
    #[must_use]
    pub const fn new(config: IntroductionConfig) -> Self {
        Self {
            config,
            guests: BTreeMap::new(),
            dues: BTreeSet::new(),
            errands: BTreeMap::new(),
            window: 0,
            first_asked: BTreeMap::new(),
        }
    }

    /// The numbers.
    #[must_use]
    pub const fn config(&self) -> &IntroductionConfig {
        &self.config
    }

    /// A session began. One with the same id is over.
    pub fn came(&mut self, now: Moment, id: NodeId) {
        self.went(id);
        let latest = now + self.config.session;
        let due = Some(latest);
        self.guests.insert(id, Guest { latest, due, answers: 0, told: 0, awaits: None });
        self.dues.insert((latest, id));
    }

    /// A session ended.
    pub fn went(&mut self, id: NodeId) {
        if let Some(Guest { due: Some(due), .. }) = self.guests.remove(&id) {
            self.dues.remove(&(due, id));
        }
    }

    /// A feeler is to show whether the guest is at this address. One at a time is waited for.
    pub fn awaits(&mut self, now: Moment, id: NodeId, addr: &HostPort) {
        if let Some(guest) = self.guests.get_mut(&id).filter(|guest| guest.awaits.is_none()) {
            guest.awaits = Some(addr.clone());
            self.look(now, id);
        }
    }

    /// It is known whether anybody is at an address.
    pub fn settled(&mut self, now: Moment, addr: &HostPort) {
        self.errands.remove(addr);
        let waiting = self.guests.iter().filter(|(_, guest)| guest.awaits.as_ref() == Some(addr));
        let waiting: Vec<NodeId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(guest) = self.guests.get_mut(&id) {
                guest.awaits = None;
            }
            self.look(now, id);
        }
    }

    /// Whether an address may be dialled for this, of so many at the same time.
    #[must_use]
    pub fn may_dial(&self, errand: Errand, of: usize) -> bool {
        let under_way = self.errands.values().filter(|found| **found == errand).count();
        under_way < (of / errand.part()).max(1)
    }

    /// An address is about to be dialled.
    pub fn dialling(&mut self, addr: &HostPort, errand: Errand) {
        self.errands.insert(addr.clone(), errand);
    }

    /// Whether a question of a guest is to be answered with anything.
    #[must_use]
    pub fn may_ask(&self, id: NodeId) -> bool {
        self.guests.get(&id).is_some_and(|guest| guest.answers < ANSWERS)
    }

    /// A guest's question was answered with so many addresses.
    pub fn answered(&mut self, now: Moment, id: NodeId, n: usize) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.answers = guest.answers.saturating_add(1);
            guest.told = guest.told.max(n);
            self.look(now, id);
        }
    }

    /// A guest was told of a newcomer.
    pub fn told_news(&mut self, now: Moment, id: NodeId) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.told = guest.told.saturating_add(1);
            self.look(now, id);
        }
    }

    /// The guests who have asked and were told of few.
    pub fn hungry(&self) -> impl Iterator<Item = NodeId> {
        let is_hungry = |guest: &Guest| guest.answers > 0 && guest.told < ENOUGH;
        self.guests.iter().filter(move |(_, guest)| is_hungry(guest)).map(|(id, _)| *id)
    }

    /// The guests who are to be told to go now.
    pub fn leaving(&mut self, now: Moment) -> Vec<NodeId> {
        let mut leaving = Vec::new();
        while let Some((due, id)) = self.dues.first().copied().filter(|(due, _)| *due <= now) {
            self.dues.remove(&(due, id));
            if let Some(guest) = self.guests.get_mut(&id) {
                guest.due = None;
                leaving.push(id);
            }
        }
        leaving
    }

    /// When somebody is to be told to go.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.dues.first().map(|(due, _)| *due)
    }

    /// Whose share a node is told that asks from this address.
    pub fn asker(&mut self, now: Moment, id: NodeId, from: &HostPort) -> Asker {
        let window = self.window_of(now);
        if window != self.window {
            self.window = window;
            self.first_asked.clear();
        }
        // Ports mean nothing: who connects again has another one.
        let group = Group::of(&from.with_port(0));
        let group = match self.first_asked.get(&id) {
            Some(first) => first.clone(),
            None if self.first_asked.len() < MAX_IDS => {
                self.first_asked.insert(id, group.clone());
                group
            }
            None => group,
        };
        Asker { group, window }
    }

    /// Whose share those are told of for whom there is no room.
    #[must_use]
    pub fn anybody(&self, now: Moment) -> Asker {
        Asker { group: Group::Names, window: self.window_of(now) }
    }

    fn window_of(&self, now: Moment) -> u64 {
        let length = self.config.share_window.as_millis().max(1);
        u64::try_from(now.since(Moment::ZERO).as_millis() / length).unwrap_or(u64::MAX)
    }

    /// Of how many addresses one asker may be told, of so many in the book.
    #[must_use]
    pub fn share(&self, book: usize) -> usize {
        book.div_ceil(self.config.share.max(1)).max(self.config.share_min)
    }

    /// A guest has what it came for, or not yet.
    fn look(&mut self, now: Moment, id: NodeId) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        // Who was told to go is told so once.
        let Some(before) = guest.due else { return };
        let is_served = guest.answers > 0 && guest.told >= ENOUGH && guest.awaits.is_none();
        let soon = now + self.config.linger;
        let due = if is_served { soon.min(before).min(guest.latest) } else { guest.latest };
        if due != before {
            guest.due = Some(due);
            self.dues.remove(&(before, id));
            self.dues.insert((due, id));
        }
    }
}

#[cfg(test)]
#[path = "introducer_tests.rs"]
mod tests;
