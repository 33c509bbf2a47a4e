//! What is known of addresses, from whom, and how they fared.
//!
//! What a peer tells is hearsay. An address is *proven* when this node itself has completed a
//! handshake there, and only then is it told to others. A proven address is never forgotten
//! silently: when its redial ladder is used up it goes cold and is retried slowly.
//!
//! Bounds and what happens at them: hearsay beyond the book's size is refused as `book-full`,
//! beyond one source's share as `source-full`; a cold address beyond the cold tier's size pushes
//! out the one that has been silent longest.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{
    SeedableRng,
    seq::{IteratorRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;

use crate::{
    address::HostPort,
    clock::Moment,
    config::DiscoveryConfig,
    ids::NodeId,
    proto::{
        address_entry::{Entry, NotTaken, Source},
        redial::{Ladder, jittered},
    },
};

/// How many failed dials an address survives that never answered.
const HEARSAY_TRIES: u32 = 3;

/// A session that lasted less long counts as a failure when its node is to be dialled again.
const STABLE: Duration = Duration::from_secs(60);

/// Among how many due addresses the next to dial is chosen.
const PICK_FROM: usize = 256;

/// How many addresses told by peers are remembered as our own. Whoever answers with our id can
/// make as many as it likes, and they are never dialled, so nothing else would clear them away.
const MAX_MET: usize = 32;

/// One source may fill at most this part of the book with hearsay.
const SOURCE_SHARE: usize = 8;

/// What became of an address after a failed dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is dialled again at the moment.
    Retry(Moment),
    /// It is retried slowly from now on.
    Cold(Moment),
    /// It never answered and is gone from the book.
    Forgotten,
    /// It was not in the book.
    Unknown,
}

/// Which line an address stands in to be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// A bootstrap: dialled however many sessions there are.
    Bootstrap,
    /// Declared by a connected peer and not proven yet: a feeler is to be sent.
    Feeler,
    /// Dialled while sessions are wanted.
    Known,
}

/// The book.
#[derive(Debug)]
pub struct AddressBook {
    me: NodeId,
    config: DiscoveryConfig,
    ladder: Ladder,
    rng: ChaCha8Rng,
    entries: BTreeMap<HostPort, Entry>,
    by_id: BTreeMap<NodeId, BTreeSet<HostPort>>,
    connected: BTreeSet<NodeId>,
    queues: BTreeSet<(Queue, Moment, HostPort)>,
    /// Cold addresses by their last success, longest silent first.
    cold: BTreeSet<(Moment, HostPort)>,
    /// Hearsay (never proven) per source.
    hearsay: BTreeMap<NodeId, usize>,
    /// Hearsay that turned out to be our own, oldest first.
    met: VecDeque<HostPort>,
}

impl AddressBook {
    /// An empty book of the node with this id, with a seed for its choices.
    #[must_use]
    pub fn new(me: NodeId, config: DiscoveryConfig, seed: u64) -> Self {
        Self {
            me,
            rng: ChaCha8Rng::seed_from_u64(seed),
            ladder: Ladder::new(config.redial.clone()),
            config,
            entries: BTreeMap::new(),
            by_id: BTreeMap::new(),
            connected: BTreeSet::new(),
            queues: BTreeSet::new(),
            cold: BTreeSet::new(),
            hearsay: BTreeMap::new(),
            met: VecDeque::new(),
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
        source: Source,
        now: Moment,
    ) -> Result<bool, NotTaken> {
        addr.check_dialable().map_err(NotTaken::Bad)?;
        let trusted = matches!(source, Source::Bootstrap | Source::Manual);
        if (id == Some(self.me) || self.entries.get(addr).is_some_and(|entry| entry.own))
            && !trusted
        {
            return Err(NotTaken::Own);
        }
        if let Some(known) = self.entries.get(addr) {
            if !known.is_old_news(id, source) {
                self.update(addr, |entry| entry.heard_again(id, source, now));
            }
            return Ok(false);
        }
        if !trusted {
            self.check_room(source)?;
        }
        let entry = Entry {
            id,
            source,
            proven: None,
            failures: 0,
            next_try: now,
            cold: false,
            own: false,
            lost: false,
            claimed: false,
            dialling: false,
            bootstrap: source == Source::Bootstrap,
        };
        self.count_hearsay(&entry, 1);
        self.entries.insert(addr.clone(), entry);
        self.index(addr);
        Ok(true)
    }

    fn check_room(&self, source: Source) -> Result<(), NotTaken> {
        if self.entries.len() - self.cold.len() >= self.config.book_entries {
            return Err(NotTaken::BookFull);
        }
        if let Source::Told(by) | Source::Declared(by) = source {
            let share = (self.config.book_entries / SOURCE_SHARE).max(1);
            if self.hearsay.get(&by).is_some_and(|n| *n >= share) {
                return Err(NotTaken::SourceFull);
            }
        }
        Ok(())
    }

    /// The address is being dialled, and so stands in no line.
    pub fn dialling(&mut self, addr: &HostPort) {
        self.update(addr, |entry| entry.dialling = true);
    }

    /// A handshake was completed there with this node. Whether that is news: the address was not
    /// proven before, or belongs to another node now.
    pub fn proven(&mut self, addr: &HostPort, id: NodeId, now: Moment) -> bool {
        if !self.entries.contains_key(addr)
            && self.learn(addr, Some(id), Source::Manual, now).is_err()
        {
            return false;
        }
        let mut news = false;
        self.update(addr, |entry| {
            news = entry.proven.is_none() || entry.id != Some(id) || entry.cold || entry.lost;
            entry.id = Some(id);
            entry.proven = Some(now);
            // Whether one that closes soon is better than none shows only when its session lasts.
            if !entry.lost {
                entry.failures = 0;
            }
            entry.cold = false;
            entry.own = false;
            entry.lost = false;
            entry.claimed = false;
            entry.dialling = false;
            entry.next_try = entry.next_try.max(now);
        });
        news
    }

    /// It is this node's own address: never dialled and never told as another's.
    pub fn own(&mut self, addr: &HostPort, now: Moment) {
        // The operator's own words about an address make room where hearsay would not.
        let _known = self.learn(addr, None, Source::Manual, now);
        self.update(addr, |entry| {
            entry.own = true;
            entry.dialling = false;
            entry.proven = None;
            entry.id = None;
        });
        let told = |entry: &Entry| matches!(entry.source, Source::Told(_) | Source::Declared(_));
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
        let rng = &mut self.rng;
        let Some(entry) = self.entries.get(addr) else { return Fate::Unknown };
        let failures = entry.failures.saturating_add(1);
        let fate = if entry.bootstrap {
            let max = self.config.bootstrap_retry_max;
            Fate::Retry(now + self.ladder.pause_for_ever(failures, max, rng))
        } else if entry.proven.is_none() && failures >= HEARSAY_TRIES {
            Fate::Forgotten
        } else {
            match self.ladder.pause(failures, rng).filter(|_| !entry.cold) {
                Some(pause) => Fate::Retry(now + pause),
                None => Fate::Cold(now + jittered(self.config.cold_retry, rng)),
            }
        };
        match fate {
            Fate::Forgotten => self.forget(addr),
            Fate::Retry(next_try) | Fate::Cold(next_try) => self.update(addr, |entry| {
                entry.dialling = false;
                entry.claimed = false;
                entry.failures = failures;
                entry.next_try = next_try;
                entry.cold = matches!(fate, Fate::Cold(_));
            }),
            Fate::Unknown => {}
        }
        if self.cold.len() > self.config.cold_entries
            && let Some((_, longest_silent)) = self.cold.first().cloned()
        {
            self.forget(&longest_silent);
        }
        fate
    }

    /// Somebody answered there but would not have us: not a failure of the address, but not to be
    /// repeated soon.
    pub fn postpone(&mut self, addr: &HostPort, until: Moment) {
        self.update(addr, |entry| {
            entry.dialling = false;
            entry.next_try = until;
        });
    }

    /// The operator's name for a first contact leads here no longer: an address like any other.
    pub fn demote(&mut self, addr: &HostPort) {
        self.update(addr, |entry| entry.bootstrap = false);
    }

    /// There is a session with this node: its addresses need no dialling.
    pub fn connected(&mut self, id: NodeId) {
        self.set_connected(id, true);
    }

    /// The session, which lasted so long, ended: its addresses may be dialled after the first pause
    /// of the ladder, or, if sessions with the node keep ending soon, after later ones.
    pub fn disconnected(&mut self, id: NodeId, now: Moment, lasted: Duration) {
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

    fn set_connected(&mut self, id: NodeId, connected: bool) {
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

    /// When the first address of a line may be dialled.
    #[must_use]
    pub fn due_at(&self, queue: Queue) -> Option<Moment> {
        self.line(queue).next().map(|(at, _)| at)
    }

    /// One of the addresses of a line that may be dialled now, at random: if all nodes dialled
    /// what they heard of first, they would all dial the same.
    pub fn pick(&mut self, queue: Queue, now: Moment) -> Option<HostPort> {
        let mut rng = self.rng.clone();
        let due = self.line(queue).take_while(|(at, _)| *at <= now).take(PICK_FROM);
        let picked = due.choose(&mut rng).map(|(_, addr)| addr.clone());
        self.rng = rng;
        picked
    }

    fn line(&self, queue: Queue) -> impl Iterator<Item = (Moment, &HostPort)> {
        let start = (queue, Moment::ZERO, min_address());
        let line = self.queues.range(start..).take_while(move |(found, ..)| *found == queue);
        line.map(|(_, at, addr)| (*at, addr))
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

    /// The proven addresses of nodes that answered within dead-after and were not lost since,
    /// which are those that may be told to others: the ones closest to `near`, else a random choice, at most `max`.
    pub fn advertised(
        &mut self,
        near: Option<NodeId>,
        max: usize,
        fresh_since: Moment,
    ) -> Vec<(HostPort, NodeId)> {
        if max == 0 {
            return Vec::new();
        }
        let told = |(addr, entry): (&HostPort, &Entry)| {
            let (id, proven) = (entry.id?, entry.proven?);
            let answers = self.connected.contains(&id) || (!entry.lost && proven >= fresh_since);
            (answers && !entry.own).then(|| (addr.clone(), id))
        };
        let mut found: Vec<_> = self.entries.iter().filter_map(told).collect();
        match near {
            Some(near) => found.sort_by_key(|(_, id)| id.distance(near)),
            None if found.len() > max => {
                found.partial_shuffle(&mut self.rng, max);
                // `partial_shuffle` leaves its choice at the end.
                found.reverse();
            }
            None => {}
        }
        found.truncate(max);
        found
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

    fn forget(&mut self, addr: &HostPort) {
        self.unindex(addr);
        if let Some(entry) = self.entries.remove(addr) {
            self.count_hearsay(&entry, -1);
        }
    }

    /// Changes an entry and what is derived from it together.
    fn update(&mut self, addr: &HostPort, change: impl FnOnce(&mut Entry)) {
        self.unindex(addr);
        if let Some(entry) = self.entries.get_mut(addr) {
            let before = entry.clone();
            change(entry);
            let after = entry.clone();
            self.count_hearsay(&before, -1);
            self.count_hearsay(&after, 1);
        }
        self.index(addr);
    }

    fn count_hearsay(&mut self, entry: &Entry, change: isize) {
        if let Source::Told(by) | Source::Declared(by) = entry.source
            && entry.proven.is_none()
        {
            let n = self.hearsay.entry(by).or_default();
            *n = n.saturating_add_signed(change);
            if *n == 0 {
                self.hearsay.remove(&by);
            }
        }
    }

    fn unindex(&mut self, addr: &HostPort) {
        let Some(entry) = self.entries.get(addr) else { return };
        if let Some(queue) = self.queue_of(entry) {
            self.queues.remove(&(queue, entry.next_try, addr.clone()));
        }
        if let (true, Some(proven)) = (entry.cold, entry.proven) {
            self.cold.remove(&(proven, addr.clone()));
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

    fn index(&mut self, addr: &HostPort) {
        let Some(entry) = self.entries.get(addr) else { return };
        if let Some(queue) = self.queue_of(entry) {
            self.queues.insert((queue, entry.next_try, addr.clone()));
        }
        if let (true, Some(proven)) = (entry.cold, entry.proven) {
            self.cold.insert((proven, addr.clone()));
        }
        if let Some(id) = entry.id {
            self.by_id.entry(id).or_default().insert(addr.clone());
        }
    }

    fn queue_of(&self, entry: &Entry) -> Option<Queue> {
        if entry.own || entry.dialling {
            return None;
        }
        if entry.claimed {
            return Some(Queue::Feeler);
        }
        if let Some(id) = entry.id.filter(|id| self.connected.contains(id)) {
            let declared = entry.source == Source::Declared(id);
            return (declared && entry.proven.is_none()).then_some(Queue::Feeler);
        }
        Some(if entry.bootstrap { Queue::Bootstrap } else { Queue::Known })
    }
}

/// What sorts before every address.
fn min_address() -> HostPort {
    HostPort::from(std::net::SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0))
}

#[cfg(test)]
#[path = "address_book_tests.rs"]
mod tests;
