//! Who lives and who has a session with whom, seen from outside: whether every node has what the
//! overlay promises it, and whether it is one.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::network::NodeIndex, Bits, Distribution};
use crate::ids::NodeId;

/// What is known of all living nodes. Sessions are taken from what each node itself says.
#[derive(Debug, Default)]
pub(in crate::sim) struct Census {
    members: BTreeMap<NodeIndex, Member>,
    /// All of them.
    by_id: BTreeMap<u128, NodeIndex>,
    /// Those that can be dialled.
    visible: BTreeMap<u128, NodeIndex>,
    /// Nodes without a session in a bucket in which they could have one, as of the last look.
    lacking: Bits,
    /// Nodes whose sessions have changed since then.
    changed: BTreeSet<NodeIndex>,
    /// Nodes have come or gone since then: anybody's buckets may have filled or emptied.
    is_stale: bool,
}

#[derive(Debug)]
struct Member {
    id: u128,
    hidden: bool,
    sessions: BTreeSet<u128>,
    /// How many sessions there are in each bucket: with ids that have so many leading bits in
    /// common with this one.
    buckets: Vec<u32>,
}

/// How many leading bits two ids have in common: the number of the bucket in which each has the
/// other.
const fn bucket(a: u128, b: u128) -> usize {
    (a ^ b).leading_zeros() as usize
}

impl Member {
    fn count(&mut self, peer: u128) -> Option<&mut u32> {
        let bucket = bucket(self.id, peer);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets.get_mut(bucket)
    }

    fn up(&mut self, peer: u128) {
        if self.sessions.insert(peer)
            && let Some(n) = self.count(peer)
        {
            *n += 1;
        }
    }

    fn down(&mut self, peer: u128) {
        if self.sessions.remove(&peer)
            && let Some(n) = self.count(peer)
        {
            *n = n.saturating_sub(1);
        }
    }
}

impl Census {
    /// A node starts to live.
    pub(in crate::sim) fn join(&mut self, node: NodeIndex, id: NodeId, hidden: bool) {
        let id = id.as_u128();
        let (sessions, buckets) = (BTreeSet::new(), Vec::new());
        self.members.insert(node, Member { id, hidden, sessions, buckets });
        self.by_id.insert(id, node);
        if !hidden {
            self.visible.insert(id, node);
        }
        self.is_stale = true;
    }

    /// A node is about to end, and all its sessions with it, whether its peers know or not.
    pub(in crate::sim) fn leave(&mut self, node: NodeIndex) {
        let Some(gone) = self.members.remove(&node) else { return };
        self.by_id.remove(&gone.id);
        self.visible.remove(&gone.id);
        for peer in gone.sessions {
            if let Some(peer) = self.by_id.get(&peer).and_then(|peer| self.members.get_mut(peer)) {
                peer.down(gone.id);
            }
        }
        self.is_stale = true;
    }

    /// A node says that it has a session.
    pub(in crate::sim) fn up(&mut self, node: NodeIndex, peer: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.up(peer.as_u128());
            self.changed.insert(node);
        }
    }

    /// A node says that it has it no more.
    pub(in crate::sim) fn down(&mut self, node: NodeIndex, peer: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.down(peer.as_u128());
            self.changed.insert(node);
        }
    }

    /// How many living nodes have no session in a bucket in which there is a living node that they
    /// could have one with.
    pub(in crate::sim) fn n_lacking(&mut self) -> usize {
        let changed = std::mem::take(&mut self.changed);
        let looked_at: Vec<NodeIndex> = if std::mem::take(&mut self.is_stale) {
            self.lacking = Bits::default();
            self.members.keys().copied().collect()
        } else {
            changed.into_iter().collect()
        };
        for node in looked_at {
            if self.members.get(&node).is_some_and(|member| self.lacks(member)) {
                self.lacking.insert(node);
            } else {
                self.lacking.remove(node);
            }
        }
        self.lacking.len()
    }

    fn lacks(&self, member: &Member) -> bool {
        // Of two that nobody can dial, neither can dial the other.
        let others = if member.hidden { &self.visible } else { &self.by_id };
        let id = member.id;
        let before = others.range(..id).next_back();
        let behind = id.checked_add(1).and_then(|next| others.range(next..).next());
        let nearest = before.into_iter().chain(behind).map(|(other, _)| bucket(id, *other)).max();
        // Further down there is nobody.
        let Some(deepest) = nearest else { return false };
        (0..=deepest).any(|bucket| {
            let has = member.buckets.get(bucket).is_some_and(|n| *n > 0);
            !has && others.range(ids_in(id, bucket)).next().is_some()
        })
    }

    /// How many sessions each node has.
    pub(in crate::sim) fn sessions(&self) -> Distribution {
        let counts = self.members.values().map(|member| member.sessions.len());
        counts.map(|n| u64::try_from(n).unwrap_or(u64::MAX)).collect()
    }

    /// Whether every living node can be reached from every other over sessions that both of their
    /// ends have.
    pub(in crate::sim) fn is_connected(&self) -> bool {
        let Some(first) = self.members.keys().next() else { return true };
        let mut reached = Bits::from_iter([*first]);
        let mut next = vec![*first];
        while let Some(node) = next.pop() {
            let Some(member) = self.members.get(&node) else { continue };
            for peer in &member.sessions {
                let Some(index) = self.by_id.get(peer) else { continue };
                let both = |peer: &Member| peer.sessions.contains(&member.id);
                if !reached.contains(*index) && self.members.get(index).is_some_and(both) {
                    reached.insert(*index);
                    next.push(*index);
                }
            }
        }
        reached.len() == self.members.len()
    }
}

/// The ids that have exactly so many leading bits in common with this one.
const fn ids_in(id: u128, bucket: usize) -> std::ops::RangeInclusive<u128> {
    let bit = 1 << (127 - bucket);
    let first = (id ^ bit) & !(bit - 1);
    first..=(first | (bit - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOP: u128 = 1 << 127;

    fn id(bits: u128) -> NodeId {
        NodeId::from_u128(bits)
    }

    fn of(ids: &[u128]) -> Census {
        let mut census = Census::default();
        ids.iter().enumerate().for_each(|(node, bits)| census.join(node, id(*bits), false));
        census
    }

    fn connect(census: &mut Census, a: (NodeIndex, u128), b: (NodeIndex, u128)) {
        census.up(a.0, id(b.1));
        census.up(b.0, id(a.1));
    }

    #[test]
    fn a_node_alone_lacks_nothing() {
        assert_eq!(of(&[5]).n_lacking(), 0);
        assert!(of(&[5]).is_connected() && of(&[]).is_connected());
    }

    #[test]
    fn each_filled_bucket_needs_one_session() {
        let ids = [0, 1, TOP, TOP | 1];
        let mut census = of(&ids);
        let at = |n: usize| (n, ids[n]);
        assert_eq!(census.n_lacking(), 4);
        connect(&mut census, at(0), at(1));
        connect(&mut census, at(2), at(3));
        assert_eq!(census.n_lacking(), 4);
        connect(&mut census, at(0), at(3));
        assert_eq!(census.n_lacking(), 2);
        connect(&mut census, at(1), at(3));
        assert_eq!(census.n_lacking(), 1, "node 2 has none of the other half");
        census.down(0, id(ids[1]));
        assert_eq!(census.n_lacking(), 2);
    }

    #[test]
    fn who_goes_takes_its_sessions_and_its_bucket_along() {
        let ids = [0, 1, TOP];
        let mut census = of(&ids);
        connect(&mut census, (0, 0), (1, 1));
        connect(&mut census, (0, 0), (2, TOP));
        assert_eq!(census.n_lacking(), 1);
        census.leave(2);
        assert_eq!((census.n_lacking(), census.sessions().n()), (0, 2));
        // What its peers notice later changes nothing.
        census.down(0, id(TOP));
        assert_eq!(census.sessions().summary().max, 1);
        census.join(3, id(TOP | 7), false);
        assert_eq!(census.n_lacking(), 3);
    }

    #[test]
    fn two_that_nobody_can_dial_need_no_session() {
        let mut census = Census::default();
        census.join(0, id(0), true);
        census.join(1, id(1), true);
        assert_eq!(census.n_lacking(), 0);
        census.join(2, id(TOP), false);
        assert_eq!(census.n_lacking(), 3);
        connect(&mut census, (0, 0), (2, TOP));
        connect(&mut census, (1, 1), (2, TOP));
        assert_eq!(census.n_lacking(), 0);
    }

    #[test]
    fn a_session_of_which_only_one_end_knows_connects_nothing() {
        let mut census = of(&[0, 1]);
        census.up(0, id(1));
        assert!(!census.is_connected());
        census.up(1, id(0));
        assert!(census.is_connected());
    }

    /// The same, without any bookkeeping.
    fn lacks(ids: &BTreeMap<NodeIndex, (u128, bool)>, node: NodeIndex, peers: &[u128]) -> bool {
        let (id, hidden) = ids[&node];
        (0..128).any(|depth| {
            let in_it = |other: u128| other != id && bucket(id, other) == depth;
            let could = ids
                .values()
                .any(|(other, other_hidden)| in_it(*other) && !(hidden && *other_hidden));
            could && !peers.iter().any(|peer| in_it(*peer))
        })
    }

    proptest! {
        #[test]
        fn the_census_is_what_a_count_by_hand_gives(
            ops in prop::collection::vec((0_u8..4, 0_usize..12, 0_usize..12, any::<bool>()), 0..80)
        ) {
            let id_of = |n: usize| (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            let mut census = Census::default();
            let mut ids = BTreeMap::new();
            let mut sessions = BTreeSet::new();
            for (op, a, b, hidden) in ops {
                match op {
                    0 if !ids.contains_key(&a) => {
                        ids.insert(a, (id_of(a), hidden));
                        census.join(a, id(id_of(a)), hidden);
                    }
                    1 => {
                        ids.remove(&a);
                        sessions.retain(|(x, y)| *x != a && *y != a);
                        census.leave(a);
                    }
                    2 if a != b && ids.contains_key(&a) && ids.contains_key(&b) => {
                        sessions.extend([(a, b), (b, a)]);
                        connect(&mut census, (a, id_of(a)), (b, id_of(b)));
                    }
                    3 => {
                        for (a, b) in [(a, b), (b, a)] {
                            sessions.remove(&(a, b));
                            census.down(a, id(id_of(b)));
                        }
                    }
                    _ => {}
                }
                let peers = |node| sessions.iter().filter(move |(x, _)| *x == node).map(|(_, y)| id_of(*y));
                let lacking = ids.keys().filter(|n| lacks(&ids, **n, &peers(**n).collect::<Vec<_>>()));
                prop_assert_eq!(census.n_lacking(), lacking.count());
            }
        }
    }
}
