//! How a node's sessions are spread over the network, so that any node is few steps away.
//!
//! Ids stand in buckets by their XOR distance (Kademlia, Maymounkov and Mazières 2002): bucket `b`
//! holds the ids whose first `b` bits are this node's and whose next bit is not. Each bucket is half
//! as large as the one before. A node that has a session in every bucket that anybody stands in can
//! hand a message to somebody whose id is at least one bit closer to any target.
//!
//! Sessions are counted whoever dialled them.

use std::{cmp::Reverse, collections::BTreeMap};

use rand::Rng;

use crate::ids::NodeId;

/// The sessions of a node by bucket.
#[derive(Debug)]
pub struct Buckets {
    me: NodeId,
    /// Sessions that are wanted in each bucket.
    wanted: usize,
    counts: BTreeMap<u8, usize>,
}

impl Buckets {
    /// No sessions yet; so many are wanted in each bucket, as far as the network can fill it.
    #[must_use]
    pub const fn new(me: NodeId, wanted: usize) -> Self {
        Self { me, wanted, counts: BTreeMap::new() }
    }

    /// The bucket of an id; this node's own has none.
    #[must_use]
    pub fn of(&self, id: NodeId) -> Option<u8> {
        self.me.bucket(id)
    }

    /// There is a session with this node.
    pub fn began(&mut self, id: NodeId) {
        if let Some(bucket) = self.of(id) {
            *self.counts.entry(bucket).or_default() += 1;
        }
    }

    /// It ended.
    pub fn ended(&mut self, id: NodeId) {
        if let Some(bucket) = self.of(id)
            && let Some(count) = self.counts.get_mut(&bucket)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&bucket);
            }
        }
    }

    /// How many sessions there are in a bucket.
    #[must_use]
    pub fn sessions(&self, bucket: u8) -> usize {
        self.counts.get(&bucket).copied().unwrap_or(0)
    }

    /// Whether a bucket has fewer sessions than wanted, when so many more are about to be made.
    #[must_use]
    pub fn lacks(&self, bucket: u8, under_way: usize) -> bool {
        self.sessions(bucket) + under_way < self.wanted
    }

    /// Whether a bucket has more sessions than wanted, without so many that are about to end.
    #[must_use]
    pub fn has_more(&self, bucket: u8, ending: usize) -> bool {
        self.sessions(bucket) > self.wanted + ending
    }

    /// Whether any bucket has more sessions than wanted.
    #[must_use]
    pub fn have_more(&self) -> bool {
        self.counts.values().any(|n| *n > self.wanted)
    }

    /// The order in which buckets are filled: the emptiest first, since without it some targets are
    /// out of reach, and of these the nearest to this node, which few others can stand in for.
    #[must_use]
    pub fn urgency(&self, bucket: u8) -> impl Ord + use<> {
        (self.sessions(bucket), Reverse(bucket))
    }

    /// The bucket nearest to this node that it has a session in. Beyond it there may be nobody.
    #[must_use]
    pub fn nearest(&self) -> Option<u8> {
        self.counts.keys().next_back().copied()
    }

    /// An id that stands in a bucket, to look for others around it.
    pub fn any_id_in(&self, bucket: u8, rng: &mut impl Rng) -> NodeId {
        let flipped = 1u128 << (127 - u32::from(bucket.min(127)));
        let beyond = flipped - 1;
        let free: u128 = rng.random();
        NodeId::from_u128((self.me.as_u128() ^ flipped) & !beyond | free & beyond)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ME: NodeId = NodeId::from_u128(0);

    #[test]
    fn a_bucket_is_the_number_of_bits_in_common() {
        let buckets = Buckets::new(ME, 4);
        let of = |bits| buckets.of(NodeId::from_u128(bits));
        assert_eq!(
            (of(1 << 127), of(u128::MAX), of(1), of(0)),
            (Some(0), Some(0), Some(127), None)
        );
    }

    #[test]
    fn a_bucket_lacks_sessions_until_it_has_as_many_as_wanted() {
        let mut buckets = Buckets::new(ME, 2);
        let id = NodeId::from_u128(1 << 120);
        assert!(buckets.lacks(7, 1) && !buckets.lacks(7, 2));
        buckets.began(id);
        assert!(buckets.lacks(7, 0) && !buckets.lacks(7, 1));
        buckets.began(NodeId::from_u128(1 << 120 | 5));
        assert!(!buckets.lacks(7, 0) && buckets.lacks(6, 0));
        assert_eq!(buckets.nearest(), Some(7));
        buckets.ended(id);
        buckets.ended(id);
        assert_eq!((buckets.sessions(7), buckets.nearest()), (0, None));
    }

    #[test]
    fn the_emptiest_bucket_comes_first_and_of_these_the_nearest() {
        let mut buckets = Buckets::new(ME, 4);
        buckets.began(NodeId::from_u128(1 << 127));
        let mut order = [0, 1, 2];
        order.sort_by_key(|bucket| buckets.urgency(*bucket));
        assert_eq!(order, [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn an_id_made_for_a_bucket_stands_in_it(me: u128, bucket in 0u8..128, seed: u64) {
            let buckets = Buckets::new(NodeId::from_u128(me), 4);
            let id = buckets.any_id_in(bucket, &mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert_eq!(buckets.of(id), Some(bucket));
        }
    }
}
