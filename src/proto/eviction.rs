//! Who gives way to a newcomer when there is no room for both.
//!
//! The idea is Bitcoin Core's (`SelectNodeToEvict` in its `node/eviction.cpp`): protect what an
//! attacker can hardly have more of than the honest (places in the network, nearness, time), and of
//! the rest let the youngest of the largest group go. So a full node still lets newcomers in, and
//! who floods it displaces mostly himself.
//!
//! One rule is stricter than there: a newcomer displaces somebody only if the group it belongs to,
//! with itself, is smaller than the group of the one who goes. Every eviction then makes the
//! sessions more diverse (the sum of the squared group sizes falls), so that nobody can churn
//! through them, and whoever is alone in its group is never displaced. An attacker from a few groups
//! gets what nobody else wants; what it took before others came it has to give back, but for what is
//! protected, which is a little more than half if it was there first. The price is that a full node
//! whose sessions are all of different groups refuses newcomers, and tells them where else to go.
//!
//! # Security
//! What is protected is chosen by disjoint rules, so an attacker has to beat each of them. The order
//! of groups is keyed with a secret, so nobody can look for addresses that come out well.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{
    address::{Class, Group, HostPort, Subnet},
    clock::Moment,
    ids::LinkId,
    peer::PeerInfo,
};

/// One in so many of `max_inbound`, rounded up, is protected for its group: the longest session of
/// each of the groups that come first in a secret order. (Bitcoin Core: 4 of about 115.)
pub const DIVERSE: usize = 16;

/// One in so many of `max_inbound`, rounded up, is protected for the lowest round-trip time that
/// was measured in its session. (Bitcoin Core: 8 of about 115.)
pub const NEAR: usize = 16;

/// One in so many of those left is protected for the length of its session. (As Bitcoin Core.)
pub const LONGEST: usize = 2;

/// What one owner can easily have many connections from: as [`Group`] for public addresses; the
/// subnet for others, which all come from one site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// A public address's group.
    Wide(Group),
    /// The subnet (IPv4 /24, IPv6 /64) of an address that is not public.
    Site(Subnet),
}

impl Ground {
    /// The ground of an address.
    #[must_use]
    pub fn of(addr: &HostPort) -> Self {
        match addr.ip() {
            Some(ip) if Class::of(ip) != Class::Public => Self::Site(Subnet::site_of(ip)),
            _ => Self::Wide(Group::of(addr)),
        }
    }

    /// Its place in the order that this key gives.
    #[must_use]
    pub fn rank(&self, key: u64) -> u64 {
        let hash = Sha256::new_with_prefix(key.to_be_bytes());
        let hash = hash.chain_update(format!("{self:?}")).finalize();
        hash.iter().take(8).fold(0, |rank, byte| rank << 8 | u64::from(*byte))
    }
}

/// An inbound session that might give way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The connection.
    pub link: LinkId,
    /// When the session came up.
    pub since: Moment,
    /// The lowest round-trip time measured, in nanoseconds.
    pub rtt_min: Option<u128>,
    /// Where it comes from.
    pub ground: Ground,
    /// [`Ground::rank`] of that.
    pub rank: u64,
    /// Whether its id is proven. Decides only between sessions of the same age.
    pub proven: bool,
    /// Whether its id or address is discouraged.
    pub discouraged: bool,
}

impl Candidate {
    /// The candidate that this peer is.
    #[must_use]
    pub fn new(info: &PeerInfo, ground: Ground, rank: u64, discouraged: bool) -> Self {
        Self {
            link: info.link,
            since: info.since,
            rtt_min: info.rtt.map(|rtt| rtt.min.as_nanos()),
            ground,
            rank,
            proven: info.channel.proves(info.id),
            discouraged,
        }
    }
}

/// What was decided, with the figures behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Who gives way; `None` if the newcomer is to be refused.
    pub evicted: Option<LinkId>,
    /// How many sessions the group of that one has (of the newcomer, with itself, if it is refused).
    pub group: usize,
    /// How many sessions were protected.
    pub protected: usize,
}

/// Who gives way to a newcomer from this ground. The order of the candidates does not matter.
///
/// Discouraged sessions go first, and are never protected. Otherwise the youngest unprotected one of
/// the largest group goes, if that group is larger than the newcomer's would become.
#[must_use]
pub fn choose(candidates: Vec<Candidate>, newcomer: &Ground, max_inbound: usize) -> Choice {
    let mut sizes: BTreeMap<Ground, usize> = BTreeMap::new();
    for candidate in &candidates {
        *sizes.entry(candidate.ground.clone()).or_default() += 1;
    }
    let size = |ground: &Ground| sizes.get(ground).copied().unwrap_or(0);
    let youngest_of_largest = |c: &Candidate| (size(&c.ground), c.since, !c.proven, c.link);
    let discouraged = candidates.iter().filter(|c| c.discouraged);
    if let Some(first) = discouraged.max_by_key(|c| youngest_of_largest(c)) {
        return Choice { evicted: Some(first.link), group: size(&first.ground), protected: 0 };
    }
    let n = candidates.len();
    let left = unprotected(candidates, max_inbound);
    let protected = n - left.len();
    let own = size(newcomer) + 1;
    let youngest = left.iter().max_by_key(|c| youngest_of_largest(c));
    match youngest.filter(|youngest| size(&youngest.ground) > own) {
        Some(youngest) => {
            Choice { evicted: Some(youngest.link), group: size(&youngest.ground), protected }
        }
        None => Choice { evicted: None, group: own, protected },
    }
}

/// Those that none of the rules protects.
fn unprotected(mut left: Vec<Candidate>, max_inbound: usize) -> Vec<Candidate> {
    // The longest session of each group, the groups in their secret order.
    left.sort_by_key(|c| (c.rank, c.since, c.link));
    let (mut groups, max_groups) = (0, max_inbound.div_ceil(DIVERSE));
    let mut previous: Option<Ground> = None;
    left.retain(|c| {
        let is_first = previous.as_ref() != Some(&c.ground);
        previous = Some(c.ground.clone());
        let protect = is_first && groups < max_groups;
        groups += usize::from(protect);
        !protect
    });
    // The nearest; who was not measured is none of them.
    left.sort_by_key(|c| (c.rtt_min.is_none(), c.rtt_min, c.since, c.link));
    let n_measured = left.iter().filter(|c| c.rtt_min.is_some()).count();
    left.drain(..n_measured.min(max_inbound.div_ceil(NEAR)));
    // The longest sessions.
    left.sort_by_key(|c| (c.since, c.link));
    left.drain(..left.len() / LONGEST);
    left
}

#[cfg(test)]
#[path = "eviction_tests.rs"]
mod tests;
