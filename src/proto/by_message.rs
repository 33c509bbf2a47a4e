//! A table of what is known of messages, by their ids: found in a step or two, however many there are.
//!
//! Ids are chosen by strangers, who must not be able to choose such that all stand in one place. So where
//! one stands follows from a secret, by a keyed hash (SipHash-1-3, Aumasson and Bernstein 2012). Nothing
//! that can be seen follows from it: what is in the table is never gone through in that order, but in the
//! order of its shelf, which follows from what was put in and taken out alone.
//!
//! Invariants:
//! * M1: it holds what a map would.
//! * M2: the order of [`iter`](ByMessage::iter) does not depend on the secret.

use std::mem;

use crate::ids::MessageId;

/// The secret of a table.
pub type Secret = [u64; 2];

/// The fewest places of a table that is not empty; a power of two.
const FEWEST: usize = 16;

/// Up to so many places the memory is kept whatever is taken out: most tables are filled and emptied all the
/// time.
const KEPT: usize = 1024;

/// No entry stands here.
const EMPTY: u32 = u32::MAX;

/// The table.
#[derive(Debug)]
pub struct ByMessage<T> {
    secret: Secret,
    /// Where an entry is on the shelf, at the place of its hash or at one of those that follow. At most
    /// half of them are taken.
    places: Vec<u32>,
    shelf: Vec<Option<(MessageId, T)>>,
    /// What is free of the shelf.
    free: Vec<u32>,
}

/// What was found of an id.
enum Looked {
    /// The place of its entry, and where that is on the shelf.
    Found(usize, usize),
    /// It is not there, and would get this place.
    Free(usize),
}

impl<T> ByMessage<T> {
    /// An empty table. It holds no memory until something is put in.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self { secret, places: Vec::new(), shelf: Vec::new(), free: Vec::new() }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.shelf.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of a message.
    #[must_use]
    pub fn get(&self, id: &MessageId) -> Option<&T> {
        let (_, at) = self.find(id)?;
        self.shelf.get(at)?.as_ref().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: &MessageId) -> Option<&mut T> {
        let (_, at) = self.find(id)?;
        self.shelf.get_mut(at)?.as_mut().map(|(_, value)| value)
    }

    /// Whether anything is known of a message.
    #[must_use]
    pub fn contains(&self, id: &MessageId) -> bool {
        self.find(id).is_some()
    }

    /// Puts in what is known of a message. What was known before.
    pub fn insert(&mut self, id: MessageId, value: T) -> Option<T> {
        if 2 * (self.len() + 1) > self.places.len() {
            self.rebuild((2 * self.places.len()).max(FEWEST));
        }
        let place = match self.look(&id)? {
            Looked::Found(_, at) => {
                let (_, known) = self.shelf.get_mut(at)?.as_mut()?;
                return Some(mem::replace(known, value));
            }
            Looked::Free(place) => place,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.shelf.push(None);
            u32::try_from(self.shelf.len() - 1).unwrap_or(EMPTY)
        });
        if let Some(free) = self.shelf.get_mut(at as usize) {
            *free = Some((id, value));
        }
        if let Some(free) = self.places.get_mut(place) {
            *free = at;
        }
        None
    }

    /// Takes out what is known of a message.
    pub fn remove(&mut self, id: &MessageId) -> Option<T> {
        let (place, at) = self.find(id)?;
        self.vacate(place);
        let (_, value) = self.shelf.get_mut(at)?.take()?;
        self.free.push(u32::try_from(at).unwrap_or(EMPTY));
        // What was large is small again: the memory is given back.
        if self.places.len() > KEPT && 16 * self.len() < self.places.len() {
            self.shrink();
        }
        Some(value)
    }

    /// All of them, in an order that follows from what was put in and taken out.
    pub fn iter(&self) -> impl Iterator<Item = (&MessageId, &T)> {
        self.shelf.iter().flatten().map(|(id, value)| (id, value))
    }

    /// The place of a message's entry, and where that is on the shelf.
    fn find(&self, id: &MessageId) -> Option<(usize, usize)> {
        match self.look(id)? {
            Looked::Found(place, at) => Some((place, at)),
            Looked::Free(_) => None,
        }
    }

    /// None in a table without places.
    fn look(&self, id: &MessageId) -> Option<Looked> {
        let mut place = self.home(id)?;
        loop {
            let at = *self.places.get(place)?;
            if at == EMPTY {
                return Some(Looked::Free(place));
            }
            if self.shelf.get(at as usize)?.as_ref().is_some_and(|(known, _)| known == id) {
                return Some(Looked::Found(place, at as usize));
            }
            place = self.after(place);
        }
    }

    /// The first place that an entry may stand at; none in a table without places.
    fn home(&self, id: &MessageId) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        // The low bits are as good as any.
        Some(sip_hash(self.secret, id) as usize & mask)
    }

    const fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// Gives an entry of the shelf a place.
    fn settle(&mut self, id: &MessageId, at: u32) {
        let Some(mut place) = self.home(id) else { return };
        while self.places.get(place).is_some_and(|taken| *taken != EMPTY) {
            place = self.after(place);
        }
        if let Some(free) = self.places.get_mut(place) {
            *free = at;
        }
    }

    /// Empties a place. Those behind it that stand there for want of room move up.
    fn vacate(&mut self, mut hole: usize) {
        let mut place = hole;
        loop {
            place = self.after(place);
            let Some(at) = self.places.get(place).copied().filter(|at| *at != EMPTY) else { break };
            let entry = self.shelf.get(at as usize).and_then(Option::as_ref);
            let Some(home) = entry.and_then(|(id, _)| self.home(id)) else { break };
            // Whether its home is at the hole or before it, going round.
            let mask = self.places.len() - 1;
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(hole) & mask {
                self.places.swap(hole, place);
                hole = place;
            }
        }
        if let Some(taken) = self.places.get_mut(hole) {
            *taken = EMPTY;
        }
    }

    /// Gives all entries new places, of which there are so many.
    fn rebuild(&mut self, places: usize) {
        self.places = vec![EMPTY; places];
        let shelf = mem::take(&mut self.shelf);
        for (at, entry) in shelf.iter().enumerate() {
            if let Some((id, _)) = entry {
                self.settle(id, u32::try_from(at).unwrap_or(EMPTY));
            }
        }
        self.shelf = shelf;
    }

    /// Closes the gaps of the shelf, and keeps no more places than are needed.
    fn shrink(&mut self) {
        self.shelf.retain(Option::is_some);
        self.shelf.shrink_to(2 * self.shelf.len());
        self.free = Vec::new();
        self.rebuild((4 * self.shelf.len()).next_power_of_two().max(KEPT));
    }
}

/// SipHash-1-3 of an id.
fn sip_hash([key0, key1]: Secret, id: &MessageId) -> u64 {
    let bits = id.as_u128();
    // As the bytes stand in memory, eight at a time.
    let blocks = [(bits >> 64) as u64, bits as u64].map(u64::swap_bytes);
    let mut state = [
        key0 ^ 0x736f_6d65_7073_6575,
        key1 ^ 0x646f_7261_6e64_6f6d,
        key0 ^ 0x6c79_6765_6e65_7261,
        key1 ^ 0x7465_6462_7974_6573,
    ];
    // The last block is the length, in the highest byte.
    for block in blocks.into_iter().chain([16 << 56]) {
        state[3] ^= block;
        state = sip_round(state);
        state[0] ^= block;
    }
    state[2] ^= 0xff;
    let [a, b, c, d] = sip_round(sip_round(sip_round(state)));
    a ^ b ^ c ^ d
}

const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, hash::Hasher};

    use proptest::prelude::*;

    use super::*;

    fn id(n: u128) -> MessageId {
        MessageId::from_bytes(n.to_be_bytes())
    }

    #[test]
    fn the_hash_is_the_one_it_is_said_to_be() {
        for n in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210] {
            // SipHash-1-3 with a key of zeros.
            let mut known = std::hash::DefaultHasher::new();
            known.write(id(n).as_bytes());
            assert_eq!(sip_hash([0, 0], &id(n)), known.finish());
        }
        assert_ne!(sip_hash([1, 0], &id(1)), sip_hash([0, 1], &id(1)));
    }

    #[test]
    fn memory_is_given_back() {
        let mut table = ByMessage::new([1, 2]);
        assert!((0..10_000).all(|n| table.insert(id(n), n).is_none()));
        assert!((10..10_000).all(|n| table.remove(&id(n)) == Some(n)));
        assert!(table.places.len() <= KEPT && table.shelf.capacity() <= KEPT, "{table:?}");
        assert!((0..10).all(|n| table.get(&id(n)) == Some(&n)));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_would_whatever_its_secret(
            secrets: [Secret; 2],
            steps in proptest::collection::vec((0..3_u8, 0..60_u128, any::<u8>()), 0..400),
        ) {
            let mut map = BTreeMap::new();
            let mut tables = secrets.map(ByMessage::new);
            for (what, n, value) in steps {
                let id = id(n);
                let expected = if what > 0 { map.insert(id, value) } else { map.remove(&id) };
                for table in &mut tables {
                    let found =
                        if what > 0 { table.insert(id, value) } else { table.remove(&id) };
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(table.len(), map.len());
                    prop_assert_eq!(table.contains(&id), map.contains_key(&id));
                }
            }
            let [one, other] = &tables;
            prop_assert!(one.iter().eq(other.iter()), "the order does not depend on the secret");
            let found: BTreeMap<_, _> = one.iter().map(|(id, value)| (*id, *value)).collect();
            prop_assert_eq!(&found, &map);
            for n in 0..60 {
                prop_assert_eq!(one.get(&id(n)), map.get(&id(n)));
            }
        }
    }
}
