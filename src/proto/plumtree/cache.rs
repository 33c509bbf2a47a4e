//! The latest messages, for those who missed them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{clock::Moment, ids::MessageId};

/// One message that is kept.
#[derive(Debug)]
pub(super) struct Kept<B> {
    /// Over how many sessions it has come here.
    pub(super) hops: u8,
    /// What it takes to keep and to send, in bytes.
    pub(super) bytes: usize,
    pub(super) body: B,
}

/// Messages of the last minutes, as far as there is room.
#[derive(Debug)]
pub(super) struct Cache<B> {
    by_id: BTreeMap<MessageId, Kept<B>>,
    /// In the order in which they came.
    order: VecDeque<(Moment, MessageId)>,
    bytes: usize,
    keep_for: Duration,
    max_messages: usize,
    max_bytes: usize,
}

impl<B> Cache<B> {
    pub(super) const fn new(keep_for: Duration, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            by_id: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            keep_for,
            max_messages,
            max_bytes,
        }
    }

    /// Keeps a message; the oldest give way. One that is larger than all there is room for is not
    /// kept.
    pub(super) fn insert(&mut self, now: Moment, id: MessageId, kept: Kept<B>) {
        self.expire(now);
        let bytes = kept.bytes;
        if bytes > self.max_bytes || self.max_messages == 0 || self.by_id.contains_key(&id) {
            return;
        }
        while self.order.len() >= self.max_messages
            || self.bytes.saturating_add(bytes) > self.max_bytes
        {
            if !self.drop_oldest() {
                break;
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_id.insert(id, kept);
        self.order.push_back((now, id));
    }

    pub(super) fn expire(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(came, _)| now.since(*came) > self.keep_for) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, id)) = self.order.pop_front() else { return false };
        if let Some(gone) = self.by_id.remove(&id) {
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
        if self.order.is_empty() {
            // A quiet node keeps no room for a busy one's messages.
            self.order = VecDeque::new();
        }
        true
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<&Kept<B>> {
        self.by_id.get(id)
    }

    /// The ids of the messages that have come since then, newest first.
    pub(super) fn newest(&self, since: Moment) -> impl Iterator<Item = MessageId> {
        let newest = self.order.iter().rev().take_while(move |(came, _)| *came >= since);
        newest.map(|(_, id)| *id)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    fn id(n: u8) -> MessageId {
        MessageId::from_bytes([n; 16])
    }

    fn kept(bytes: usize) -> Kept<()> {
        Kept { hops: 0, bytes, body: () }
    }

    #[test]
    fn the_oldest_give_way_to_number_bytes_and_age() {
        let mut cache = Cache::new(Duration::from_secs(10), 3, 100);
        for (n, bytes) in [(1, 10), (2, 20), (3, 30), (4, 10)] {
            cache.insert(at(n.into()), id(n), kept(bytes));
        }
        assert_eq!(cache.newest(at(0)).collect::<Vec<_>>(), [id(4), id(3), id(2)]);
        assert_eq!(cache.newest(at(3)).collect::<Vec<_>>(), [id(4), id(3)]);
        cache.insert(at(5), id(5), kept(70));
        assert_eq!(
            (cache.newest(at(0)).collect::<Vec<_>>(), cache.bytes()),
            (vec![id(5), id(4)], 80)
        );
        cache.insert(at(6), id(6), kept(101));
        assert!(cache.get(&id(6)).is_none() && cache.len() == 2);
        cache.expire(at(15));
        assert_eq!(cache.newest(at(0)).collect::<Vec<_>>(), [id(5)]);
        cache.expire(at(16));
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn its_bounds_hold(steps in proptest::collection::vec((0u8..40, 0usize..60, 0u64..3), 1..100)) {
            let mut cache = Cache::new(Duration::from_secs(5), 6, 120);
            let mut now = 0;
            for (n, bytes, step) in steps {
                now += step;
                cache.insert(at(now), id(n), kept(bytes));
                let sum: usize = cache.by_id.values().map(|kept| kept.bytes).sum();
                prop_assert!(cache.len() <= 6 && sum <= 120 && sum == cache.bytes());
                prop_assert_eq!(cache.by_id.len(), cache.order.len());
                prop_assert!(cache.order.iter().all(|(came, _)| at(now).since(*came).as_secs() <= 5));
            }
        }
    }
}
