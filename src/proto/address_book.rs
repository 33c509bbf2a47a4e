//! What is known of addresses, from whom, and how they fared.
//!
//! What a peer tells is hearsay. An address is *proven* when this node itself has completed a
//! handshake there, and only then is it told to others. A proven address is never forgotten
//! silently: when its redial ladder is used up it goes cold and is retried slowly.
//!
//! # Security
//!
//! An attacker wants the book full of addresses of its own, so that a node which starts again finds
//! nobody else (Heilman et al. 2015, "Eclipse attacks on Bitcoin's peer-to-peer network"). The book
//! is built as Bitcoin Core's addrman, which answers that paper:
//!
//! * Hearsay stands in the *new* table, in buckets of 32. The bucket follows, by a keyed hash, from
//!   the group of the address that the teller's session came from and the group of the address told
//!   ([`Group`]), so that all of one source group together fill only a few
//!   buckets, whatever they tell. (A teller that is not on the public network is counted by itself.) What is there gives way only if it is terrible.
//! * What was proven stands in the *tried* table. The bucket follows from the address and its
//!   group, so that one group fills only a few buckets. Whoever is at a contended place is asked
//!   first whether it still answers, and stays if it does.
//! * An address to dial is chosen by its table, then its bucket, and only then among the addresses
//!   there: having many of them in one bucket helps little.
//! * What the operator or the program named in this run stands outside the buckets.
//!
//! Unlike addrman, an address whose own slot is taken goes to the next free one of its bucket: a
//! small network, whose book is nearly empty, then loses nobody to a collision.
//!
//! Bounds and what happens at them: hearsay whose bucket is full is refused as `source-full` or
//! `place-taken`; what is proven while its bucket is full waits in the new table; a cold address
//! beyond the cold tier's size, or its group's share of it, pushes out the one that has been silent
//! longest; addresses dialled by hand beyond the book's size are refused as `book-full`.

mod fate;
mod keep;
mod key;
mod lines;
mod near;
mod ring;
mod shelves;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::{lines::Line, ring::Ring, table::Table};
use crate::{
    address::{Group, HostPort},
    clock::Moment,
    config::DiscoveryConfig,
    ids::NodeId,
    proto::{
        address_entry::{Entry, Hearing, NotTaken, Place},
        redial::Ladder,
    },
};

pub use key::BookKey;

/// The part of the book that is for proven addresses, as a divisor: as in addrman.
const TRIED_SHARE: usize = 4;

/// What became of an address after a failed dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is dialled again at the moment.
    Retry(Moment),
    /// It is retried slowly from now on.
    Cold(Moment),
    /// It is retried slowly from now on, and this one, which waited for it, has its place.
    GaveWay(Moment, HostPort),
    /// It never answered and is gone from the book.
    Forgotten,
    /// It was not in the book.
    Unknown,
}

/// Which addresses are to be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// Bootstraps: dialled however many sessions there are.
    Bootstrap,
    /// Those that a feeler is to be sent to at once: declared by a connected peer and not proven
    /// yet, claimed by another node than the proven one, or at a contended place.
    Feeler,
    /// Dialled while sessions are wanted.
    Known,
    /// Hearsay: a feeler is sent to one now and then.
    Hearsay,
    /// Dialled by an introducer when their proofs have grown old, with what was dialled by hand.
    Proven,
}

/// The book.
#[derive(Debug)]
pub struct AddressBook {
    me: NodeId,
    config: DiscoveryConfig,
    key: BookKey,
    ladder: Ladder,
    rng: ChaCha8Rng,
    /// The latest moment that was heard of.
    now: Moment,
    entries: BTreeMap<HostPort, Entry>,
    new: Table,
    tried: Table,
    source_buckets: u64,
    group_buckets: u64,
    /// How many stand outside the buckets.
    n_given: usize,
    by_id: BTreeMap<NodeId, BTreeSet<HostPort>>,
    /// Those that may be told to others while their nodes answer.
    proven: BTreeSet<(NodeId, HostPort)>,
    /// The same on a ring, if arcs of it are told.
    ring: Option<Ring>,
    /// Those that may be dialled for a session, by the bucket of their node and by time.
    by_bucket: BTreeMap<u8, BTreeSet<(Moment, HostPort)>>,
    /// Addresses by their public group.
    groups: BTreeMap<Group, BTreeSet<HostPort>>,
    /// Groups whose addresses are not dialled for now.
    held: BTreeSet<Group>,
    connected: BTreeSet<NodeId>,
    /// Those that wait to be dialled, by line and then by time.
    queues: BTreeMap<Line, BTreeSet<(Moment, HostPort)>>,
    /// Cold addresses by their last success, longest silent first.
    cold: BTreeSet<(Moment, HostPort)>,
    cold_groups: BTreeMap<Group, BTreeSet<(Moment, HostPort)>>,
    /// Who stands at a contended place, and who wants it.
    tests: BTreeMap<HostPort, HostPort>,
    /// Hearsay that turned out to be our own, oldest first.
    met: VecDeque<HostPort>,
    /// What may have to be kept.
    dirty: BTreeSet<HostPort>,
}

impl AddressBook {
    /// An empty book of the node with this id, with the secret that its places follow from and a
    /// seed for its choices.
    #[must_use]
    pub fn new(me: NodeId, config: DiscoveryConfig, key: BookKey, seed: u64) -> Self {
        let n_tried = (config.book_entries / TRIED_SHARE).max(1);
        let at_least_one = |n: usize| u64::try_from(n).unwrap_or(u64::MAX).max(1);
        Self {
            me,
            key,
            rng: ChaCha8Rng::seed_from_u64(seed),
            ladder: Ladder::new(config.redial.clone()),
            now: Moment::ZERO,
            entries: BTreeMap::new(),
            new: Table::new(config.book_entries - n_tried.min(config.book_entries)),
            tried: Table::new(n_tried),
            source_buckets: at_least_one(config.source_buckets),
            group_buckets: at_least_one(config.group_buckets),
            config,
            n_given: 0,
            by_id: BTreeMap::new(),
            proven: BTreeSet::new(),
            ring: None,
            by_bucket: BTreeMap::new(),
            groups: BTreeMap::new(),
            held: BTreeSet::new(),
            connected: BTreeSet::new(),
            queues: BTreeMap::new(),
            cold: BTreeSet::new(),
            cold_groups: BTreeMap::new(),
            tests: BTreeMap::new(),
            met: VecDeque::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Takes an address in. Whether it is new.
    ///
    /// # Errors
    /// It is not taken, and why. What was known of it stays.
    pub fn learn(
        &mut self,
        addr: &HostPort,
        id: Option<NodeId>,
        hearing: impl Into<Hearing>,
        now: Moment,
    ) -> Result<bool, NotTaken> {
        let hearing = hearing.into();
        addr.check_dialable().map_err(NotTaken::Bad)?;
        self.now = self.now.max(now);
        let trusted = hearing.source.is_trusted();
        let known = self.entries.get(addr);
        if !trusted {
            if id == Some(self.me) || known.is_some_and(|entry| entry.own) {
                return Err(NotTaken::Own);
            }
            if hearing.from.is_some_and(|ip| addr.class() < crate::address::Class::of(ip)) {
                return Err(NotTaken::Class);
            }
        }
        if let Some(known) = known {
            if !known.is_old_news(id, hearing.source) {
                self.update(addr, |entry| entry.heard_again(id, hearing, now));
            }
            if trusted {
                self.move_to(addr, Place::Given);
            }
            return Ok(false);
        }
        let place = if trusted {
            if self.n_given >= self.config.book_entries.max(fate::MAX_MET) {
                return Err(NotTaken::BookFull);
            }
            Place::Given
        } else {
            Place::New(self.room_in_new(addr, hearing, now)?)
        };
        self.insert(addr, Entry::new(id, hearing, place, now));
        self.changed(addr);
        Ok(true)
    }

    /// The operator says who must answer at a bootstrap. The first word stands, whatever is heard.
    pub fn pin(&mut self, addr: &HostPort, id: NodeId) {
        self.update(addr, |entry| {
            entry.pinned = entry.pinned.or(Some(id));
        });
    }

    /// The address is being dialled, and so stands in no line.
    pub fn dialling(&mut self, addr: &HostPort, now: Moment) {
        self.update(addr, |entry| {
            entry.dialling = true;
            entry.tried = Some(now);
        });
    }

    /// The operator's name for a first contact leads here no longer: an address like any other.
    pub fn demote(&mut self, addr: &HostPort) {
        self.update(addr, |entry| {
            entry.bootstrap = false;
            entry.pinned = None;
        });
        if self.entries.get(addr).is_some_and(|entry| !entry.own && !entry.dialling) {
            self.shelve(addr);
        }
    }

    /// What is known of an address.
    #[must_use]
    pub fn get(&self, addr: &HostPort) -> Option<&Entry> {
        self.entries.get(addr)
    }

    /// The addresses at which this node is, as proven or as told.
    #[must_use]
    pub fn addresses_of(&self, id: NodeId) -> Vec<HostPort> {
        self.by_id.get(&id).into_iter().flatten().cloned().collect()
    }

    /// Who was last proven at this address, if there is a session with that node.
    #[must_use]
    pub fn connected_at(&self, addr: &HostPort) -> Option<NodeId> {
        let proven = self.entries.get(addr).filter(|entry| entry.proven.is_some())?;
        proven.id.filter(|id| self.connected.contains(id))
    }

    /// Everything in the book.
    pub fn iter(&self) -> impl Iterator<Item = (&HostPort, &Entry)> {
        self.entries.iter()
    }

    /// How many addresses are in the book, cold ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the book is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Changes an entry and what is derived from it together.
    fn update(&mut self, addr: &HostPort, change: impl FnOnce(&mut Entry)) {
        self.unindex(addr);
        let mut differs = false;
        if let Some(entry) = self.entries.get_mut(addr) {
            let before = entry.clone();
            change(entry);
            differs = entry.differs(&before);
        }
        self.index(addr);
        if differs {
            self.changed(addr);
        }
    }
}

/// What sorts before every address.
fn min_address() -> HostPort {
    HostPort::from(std::net::SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0))
}

#[cfg(test)]
#[path = "address_book_tests.rs"]
mod tests;
