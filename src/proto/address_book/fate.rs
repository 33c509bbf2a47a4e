//! What becomes of an address when it answers, does not, or its node comes and goes.

use std::time::Duration;

use rand::Rng;

use super::{AddressBook, Fate};
use crate::{
    address::HostPort,
    clock::Moment,
    ids::NodeId,
    proto::{
        address_entry::{Entry, Place, Source},
        redial::jittered,
    },
};

/// How many failed dials an address survives that never answered.
const HEARSAY_TRIES: u32 = 3;

/// A lost address that failed so often has come to the long pauses of the ladder.
const LONG_LOST: u32 = 3;

/// A session that lasted less long counts as a failure when its node is to be dialled again.
const STABLE: Duration = Duration::from_secs(60);

/// How many addresses told by peers are remembered as our own. Whoever answers with our id can
/// make as many as it likes, and they are never dialled, so nothing else would clear them away.
pub(super) const MAX_MET: usize = 32;

/// Of an outcome's code so many bytes are kept: a peer may say what it likes.
const MAX_OUTCOME: usize = 32;

impl AddressBook {
    /// What came of the last dial, as a reason code.
    pub fn outcome(&mut self, addr: &HostPort, code: &str) {
        if let Some(entry) = self.entries.get_mut(addr) {
            let end = (0..=MAX_OUTCOME).rev().find(|n| code.is_char_boundary(*n));
            entry.outcome = code.get(..end.unwrap_or(0).min(code.len())).map(Box::from);
        }
    }

    /// A handshake was completed there with this node. Whether that is news: the address was not
    /// proven before in this run, or belongs to another node now.
    pub fn proven(&mut self, addr: &HostPort, id: NodeId, now: Moment) -> bool {
        if !self.entries.contains_key(addr)
            && self.learn(addr, Some(id), Source::Manual, now).is_err()
        {
            return false;
        }
        self.now = self.now.max(now);
        let mut news = false;
        let mut was_own = false;
        self.update(addr, |entry| {
            was_own = entry.own;
            let again = entry.proven.is_none() || entry.is_cold() || entry.lost;
            news = again || entry.remembered || entry.id != Some(id);
            entry.id = Some(id);
            entry.proven = Some(now);
            // Whether one that closes soon is better than none shows only when its session lasts.
            if !entry.lost {
                entry.failures = 0;
            }
            entry.own = false;
            entry.lost = false;
            entry.remembered = false;
            entry.claimed = false;
            entry.dialling = false;
            entry.plain = false;
            entry.next_try = entry.next_try.max(now);
        });
        self.passed_test(addr);
        if was_own && !self.entries.get(addr).is_some_and(|entry| entry.source.is_trusted()) {
            self.shelve(addr);
        }
        self.promote(addr);
        news
    }

    /// An address stands outside the buckets no longer.
    pub(super) fn shelve(&mut self, addr: &HostPort) {
        let place = self.entries.get(addr).filter(|entry| entry.is_given());
        match place.map(|entry| self.any_place(addr, entry)) {
            Some(Some(Place::Cold)) => self.go_cold(addr),
            Some(Some(place)) => self.move_to(addr, place),
            Some(None) => self.forget(addr),
            None => {}
        }
    }

    /// It is this node's own address: never dialled and never told as another's.
    pub fn own(&mut self, addr: &HostPort, now: Moment) {
        // The operator's own words about an address make room where hearsay would not.
        let _known = self.learn(addr, None, Source::Manual, now);
        self.tests.remove(addr);
        self.update(addr, |entry| {
            entry.own = true;
            entry.dialling = false;
            entry.tested = false;
            entry.proven = None;
            entry.id = None;
        });
        let told = |entry: &Entry| !entry.source.is_trusted();
        if self.entries.get(addr).is_some_and(told) && !self.met.contains(addr) {
            self.met.push_back(addr.clone());
        }
        if self.met.len() > MAX_MET
            && let Some(oldest) = self.met.pop_front()
            && self.entries.get(&oldest).is_some_and(|entry| entry.own)
        {
            self.forget(&oldest);
        }
    }

    /// A dial failed. What becomes of the address.
    pub fn failed(&mut self, addr: &HostPort, now: Moment) -> Fate {
        self.now = self.now.max(now);
        let rng = &mut self.rng;
        let Some(entry) = self.entries.get(addr) else { return Fate::Unknown };
        let failures = entry.failures.saturating_add(1);
        let fate = if entry.bootstrap {
            let max = self.config.bootstrap_retry_max;
            Fate::Retry(now + self.ladder.pause_for_ever(failures, max, rng))
        } else if entry.proven.is_none() && failures >= HEARSAY_TRIES {
            Fate::Forgotten
        } else {
            match self.ladder.pause(failures, rng).filter(|_| !entry.is_cold()) {
                Some(pause) => Fate::Retry(now + pause),
                // What never answered has no place in the cold tier, however short the ladder.
                None if entry.proven.is_none() => Fate::Forgotten,
                None => Fate::Cold(now + jittered(self.config.cold_retry, rng)),
            }
        };
        if fate == Fate::Forgotten {
            self.forget(addr);
            return fate;
        }
        if let Fate::Retry(next_try) | Fate::Cold(next_try) = fate {
            self.update(addr, |entry| {
                entry.dialling = false;
                entry.claimed = false;
                entry.plain = false;
                entry.failures = failures;
                entry.next_try = next_try;
            });
        }
        if let Some(newcomer) = self.failed_test(addr) {
            let next_try = now + jittered(self.config.cold_retry, &mut self.rng);
            self.update(addr, |entry| entry.next_try = next_try);
            return Fate::GaveWay(next_try, newcomer);
        }
        if matches!(fate, Fate::Cold(_)) {
            self.go_cold(addr);
        }
        fate
    }

    /// Somebody answered there but would not have us: not a failure of the address, but not to be
    /// repeated soon.
    pub fn postpone(&mut self, addr: &HostPort, until: Moment) {
        self.update(addr, |entry| {
            entry.dialling = false;
            entry.plain = false;
            entry.next_try = until;
        });
    }

    /// An address may be dialled again from now on, whatever its pause was.
    pub fn hasten(&mut self, addr: &HostPort, now: Moment) {
        self.update(addr, |entry| entry.next_try = entry.next_try.min(now));
    }

    /// Whether a node was lost, and its addresses have not answered for long.
    #[must_use]
    pub fn is_long_lost(&self, id: NodeId) -> bool {
        self.by_id
            .get(&id)
            .into_iter()
            .flatten()
            .any(|addr| self.entries.get(addr).is_some_and(is_long_lost))
    }

    /// All addresses that were lost and have not answered for long may be dialled within this time,
    /// each at a random moment of it. What comes of that moves them on as any dial does.
    pub fn recall_lost(&mut self, now: Moment, within: Duration) {
        let lost = self.entries.iter().filter(|(_, entry)| is_long_lost(entry));
        let lost: Vec<HostPort> = lost.map(|(addr, _)| addr.clone()).collect();
        for addr in lost {
            let soon = now + within.mul_f64(self.rng.random());
            self.hasten(&addr, soon);
        }
    }

    /// TLS found no taker there: the next dial is plaintext.
    pub fn try_plain(&mut self, addr: &HostPort) {
        self.update(addr, |entry| entry.plain = true);
    }

    /// Whoever is there calls itself this, and has to prove it yet. An address that was proven
    /// before is not told to others until that is settled.
    pub fn answered_as(&mut self, addr: &HostPort, id: NodeId) {
        self.update(addr, |entry| {
            if entry.pinned.is_none() {
                entry.lost |= entry.proven.is_some() && entry.id != Some(id);
                entry.id = Some(id);
                entry.plain = false;
            }
        });
    }

    /// There is a session with this node: its addresses need no dialling.
    pub fn connected(&mut self, id: NodeId) {
        self.set_connected(id, true);
        for addr in self.addresses_of(id) {
            self.passed_test(&addr);
        }
    }

    /// The session with this node ended though nothing was wrong with it.
    pub fn parted(&mut self, id: NodeId) {
        self.set_connected(id, false);
    }

    /// The node there has introduced this one to others, and let it go. How often by now.
    pub fn introduced(&mut self, addr: &HostPort) -> u32 {
        let Some(entry) = self.entries.get_mut(addr) else { return 0 };
        entry.introductions = entry.introductions.saturating_add(1);
        entry.introductions
    }

    /// Whether the node at an address is an introducer that need not be asked now.
    #[must_use]
    pub fn is_introducer(&self, addr: &HostPort, now: Moment) -> bool {
        self.entries.get(addr).is_some_and(|entry| entry.introductions > 0 && entry.next_try > now)
    }

    /// First contacts that have introduced this node may be dialled from a moment on, but not before
    /// the last dial is so long ago.
    pub fn recall_introducers(&mut self, at: Moment, pause: Duration) {
        let is_one = |entry: &Entry| entry.bootstrap && entry.introductions > 0;
        let known = self.entries.iter().filter(|(_, entry)| is_one(entry));
        let known: Vec<HostPort> = known.map(|(addr, _)| addr.clone()).collect();
        for addr in known {
            self.update(&addr, |entry| {
                let soonest = entry.tried.map_or(at, |tried| at.max(tried + pause));
                entry.introductions = 1;
                entry.next_try = entry.next_try.min(soonest);
            });
        }
    }

    /// The session, which lasted so long, ended: its addresses may be dialled after the first pause
    /// of the ladder, or, if sessions with the node keep ending soon, after later ones.
    pub fn disconnected(&mut self, id: NodeId, now: Moment, lasted: Duration) {
        self.now = self.now.max(now);
        self.set_connected(id, false);
        for addr in self.addresses_of(id) {
            let Some(entry) = self.entries.get(&addr) else { continue };
            let failures = if lasted < STABLE { entry.failures.saturating_add(1) } else { 0 };
            let config = &self.config;
            let max = if entry.bootstrap { config.bootstrap_retry_max } else { config.cold_retry };
            let pause = self.ladder.pause_for_ever(failures.max(1), max, &mut self.rng);
            self.update(&addr, |entry| {
                entry.failures = failures;
                entry.next_try = entry.next_try.max(now + pause);
                entry.lost = true;
            });
        }
    }
}

fn is_long_lost(entry: &Entry) -> bool {
    entry.lost && entry.failures >= LONG_LOST
}
