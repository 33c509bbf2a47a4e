//! Which messages were taken, so that none is taken twice.
//!
//! A message says when it was made. One that is older or newer than the skew that is allowed between
//! two clocks is stale, and so is one older than whatever had to be forgotten for want of room: so
//! nothing that was forgotten can come again.
//!
//! Invariants:
//! * P1: between a message's [`insert`](Replay::insert) and its end, [`known`](Replay::known) knows
//!   it; after that [`is_fresh`](Replay::is_fresh) says no.
//! * P2: no more messages are kept than there is room for.
//!
//! # Security
//! Who makes messages by the thousand can fill the room and so have others' oldest count as stale:
//! that costs them messages, never has one taken twice. The memory is that of a run: a node that is
//! started again within the skew could take a message that it had taken before.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::clock::Moment;

/// How far two nodes' clocks may be apart: a common value (Kerberos, RFC 4120, has the same).
pub const MAX_SKEW: Duration = Duration::from_secs(300);

/// The messages that were taken within the skew, by what names them, each with what was answered or
/// done.
#[derive(Debug)]
pub struct Replay<K, A> {
    capacity: usize,
    taken: BTreeMap<K, (u64, A)>,
    by_time: BTreeSet<(u64, K)>,
    /// The time of the newest message that was forgotten for want of room.
    floor: Option<u64>,
}

impl<K: Ord + Copy, A> Replay<K, A> {
    /// Nothing yet, and room for so many.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, taken: BTreeMap::new(), by_time: BTreeSet::new(), floor: None }
    }

    /// What was answered to a message that was taken.
    #[must_use]
    pub fn known(&self, name: &K) -> Option<&A> {
        self.taken.get(name).map(|(_, answer)| answer)
    }

    /// The same, to be changed.
    pub fn known_mut(&mut self, name: &K) -> Option<&mut A> {
        self.taken.get_mut(name).map(|(_, answer)| answer)
    }

    /// Whether a message that was made then (in milliseconds since the Unix epoch) can be taken, if
    /// it is not [`known`](Self::known).
    #[must_use]
    pub fn is_fresh(&self, now: Moment, made: u64) -> bool {
        made.abs_diff(millis(now)) <= skew() && self.floor.is_none_or(|floor| made > floor)
    }

    /// A message is taken, and answered so. It must be fresh and not known.
    pub fn insert(&mut self, now: Moment, name: K, made: u64, answer: A) {
        self.expire(now);
        if let Some((time, _)) = self.taken.insert(name, (made, answer)) {
            self.by_time.remove(&(time, name));
        }
        self.by_time.insert((made, name));
        while self.taken.len() > self.capacity {
            let Some((time, name)) = self.by_time.pop_first() else { break };
            self.taken.remove(&name);
            self.floor = self.floor.max(Some(time));
        }
    }

    /// Forgets what is stale by now.
    pub fn expire(&mut self, now: Moment) {
        let oldest = millis(now).saturating_sub(skew());
        while let Some((time, name)) = self.by_time.first().copied()
            && time < oldest
        {
            self.by_time.pop_first();
            self.taken.remove(&name);
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

/// A moment as messages tell it.
#[must_use]
pub fn millis(now: Moment) -> u64 {
    u64::try_from(now.since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn skew() -> u64 {
    u64::try_from(MAX_SKEW.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{MessageId, NodeId};

    fn at(ms: u64) -> Moment {
        Moment::after(Duration::from_millis(ms))
    }

    fn name(n: u8) -> (NodeId, MessageId) {
        (NodeId::from_u128(u128::from(n % 3)), MessageId::from_bytes([n; 16]))
    }

    #[test]
    fn what_was_taken_is_known_with_its_answer_until_it_is_stale() {
        let mut replay = Replay::new(10);
        assert_eq!(replay.known(&name(1)), None);
        replay.insert(at(1000), name(1), 1000, "yes");
        assert_eq!(replay.known(&name(1)), Some(&"yes"));
        let (other, id) = (name(2).0, name(1).1);
        assert_eq!(replay.known(&(other, id)), None, "another's may have the same id");
        let later = at(1000) + MAX_SKEW;
        assert!(replay.is_fresh(later, 1000));
        let later = later + Duration::from_millis(1);
        assert!(!replay.is_fresh(later, 1000));
        replay.insert(later, name(2), 301_000, "no");
        assert_eq!((replay.len(), replay.known(&name(2))), (1, Some(&"no")));
    }

    #[test]
    fn clocks_may_be_apart_but_not_by_more_than_the_skew() {
        let replay = Replay::<u8, ()>::new(10);
        let now = at(1_000_000);
        assert!(replay.is_fresh(now, 700_000) && replay.is_fresh(now, 1_300_000));
        for made in [0, 699_999, 1_300_001, u64::MAX] {
            assert!(!replay.is_fresh(now, made), "{made}");
        }
    }

    #[test]
    fn what_is_older_than_what_was_forgotten_is_stale() {
        let mut replay = Replay::new(2);
        for n in [5, 3, 4] {
            replay.insert(at(10), name(n), u64::from(n), ());
        }
        assert_eq!((replay.len(), replay.known(&name(3))), (2, None));
        assert!(!replay.is_fresh(at(10), 3) && replay.is_fresh(at(10), 4));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(
            capacity in 1_usize..8,
            steps in proptest::collection::vec((0_u8..30, 0_u64..700_000, 0_u64..60_000), 1..200),
        ) {
            let mut replay = Replay::new(capacity);
            let (mut now, mut taken) = (0, BTreeSet::new());
            // A message is what its origin made of it: its time cannot be another later.
            for (n, made, pause) in steps {
                now += pause;
                let (from, id) = name(n);
                let made = made / 31 * 31 + u64::from(n);
                let id = MessageId::from_bytes((u128::from(made) << 8 | u128::from(id.as_bytes()[0])).to_be_bytes());
                if replay.known(&(from, id)).is_none() && replay.is_fresh(at(now), made) {
                    prop_assert!(taken.insert((from, id)));
                    replay.insert(at(now), (from, id), made, ());
                }
                prop_assert!(replay.len() <= capacity);
                prop_assert_eq!(replay.len(), replay.by_time.len());
            }
        }
    }
}
