//! Whether a connection is wanted at all, by whom it comes from; and what follows from breaking the
//! protocol.
//!
//! Composed of the [`Bans`] and the [`Crowd`]. There are no points: a violation closes its
//! connection and discourages whoever is certain to have made it for a while, and nothing else
//! counts against anybody. Discouraging instead of banning, where an address is concerned, is
//! Bitcoin Core's answer to addresses that many share: one bad program behind one must not lock out
//! the others there, so such an address is refused only when room is getting scarce.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    address::{Bootstrap, Class, HostPort},
    clock::Moment,
    config::{LimitsConfig, TrustConfig},
    ids::NodeId,
    peer::{Direction, PeerInfo},
    proto::{
        bans::{Bans, Standing, Target, Verdict},
        crowd::Crowd,
    },
    reason::CloseReason,
};

/// Addresses kept for one resolved name; more are not spared.
const MAX_RESOLVED: usize = 64;

/// Why a connection is not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason code.
    pub reason: CloseReason,
    /// The same for a person.
    pub detail: &'static str,
    /// How many connections there are of what is limited.
    pub n: Option<usize>,
}

/// The contacts that the operator named. They are never discouraged by themselves: a node whose only
/// bootstrap has a bad hour must find its network again.
#[derive(Debug, Clone, Default)]
pub struct Spared {
    ids: BTreeSet<NodeId>,
    addrs: BTreeSet<HostPort>,
    ips: BTreeSet<IpAddr>,
    names: BTreeMap<HostPort, BTreeSet<IpAddr>>,
}

impl Spared {
    /// These contacts.
    #[must_use]
    pub fn new(bootstrap: &[Bootstrap]) -> Self {
        let mut spared = Self::default();
        for Bootstrap { addr, id } in bootstrap {
            spared.ids.extend(*id);
            match addr.ip() {
                Some(ip) => spared.ips.extend([ip.to_canonical()]),
                None => spared.names.extend([(addr.clone(), BTreeSet::new())]),
            }
            spared.addrs.insert(addr.clone());
        }
        spared
    }

    /// A contact's name now stands for these addresses. Another name is ignored.
    pub fn resolved(&mut self, name: &HostPort, ips: impl IntoIterator<Item = IpAddr>) {
        if let Some(held) = self.names.get_mut(name) {
            *held = ips.into_iter().take(MAX_RESOLVED).map(|ip| ip.to_canonical()).collect();
        }
    }

    /// Whether the other end of a connection is such a contact. On loopback, where a whole network
    /// may have one address, only a dialled port tells.
    fn covers(&self, direction: Direction, remote: &HostPort, proven: Option<NodeId>) -> bool {
        if proven.is_some_and(|id| self.ids.contains(&id)) {
            return true;
        }
        let Some(ip) = remote.ip().map(|ip| ip.to_canonical()) else { return false };
        if Class::of(ip) == Class::Loopback {
            return direction == Direction::Outbound && self.addrs.contains(remote);
        }
        self.ips.contains(&ip) || self.names.values().any(|ips| ips.contains(&ip))
    }
}

/// Who may connect, before it is asked whether there is room.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Who is not wanted.
    pub bans: Bans,
    /// Who is never discouraged by itself.
    pub spared: Spared,
    crowd: Crowd,
    max_inbound: usize,
    discourage_for: Duration,
}

impl Admission {
    /// Everybody may, within these limits.
    #[must_use]
    pub fn new(limits: &LimitsConfig, trust: &TrustConfig) -> Self {
        Self {
            bans: Bans::new(trust.max_bans, trust.max_discouraged),
            spared: Spared::default(),
            crowd: Crowd::new(limits),
            max_inbound: limits.max_inbound,
            discourage_for: trust.discourage_for,
        }
    }

    /// A connection was made. An inbound one counts until [`leave`](Self::leave).
    ///
    /// # Errors
    /// It is not wanted, and why. It was not counted.
    pub fn enter(
        &mut self,
        now: Moment,
        direction: Direction,
        remote: &HostPort,
    ) -> Result<(), Refusal> {
        if self.bans.verdict(now, None, remote.ip()) == Some(Verdict::Banned) {
            return Err(banned());
        }
        if direction == Direction::Outbound {
            return Ok(());
        }
        self.crowd.enter(remote).map_err(|crowded| Refusal {
            reason: CloseReason::Full,
            detail: crowded.text(),
            n: Some(crowded.n()),
        })
    }

    /// An inbound connection that was counted is gone.
    pub fn leave(&mut self, remote: &HostPort) {
        self.crowd.leave(remote);
    }

    /// How many addresses have a connection that counts.
    #[cfg(test)]
    pub(super) fn n_counted(&self) -> usize {
        self.crowd.n_addresses()
    }

    /// Why a node that has said who it is may not stay, while there are so many inbound sessions.
    #[must_use]
    pub fn objection(&self, now: Moment, info: &PeerInfo, n_inbound: usize) -> Option<Refusal> {
        let ip = info.remote.ip();
        if self.bans.verdict(now, Some(info.id), ip) == Some(Verdict::Banned) {
            return Some(banned());
        }
        let proven = proven(info);
        let is_outbound = info.direction == Direction::Outbound;
        if is_outbound && self.spared.covers(info.direction, &info.remote, proven) {
            return None;
        }
        let refuse = |detail| {
            let reason = CloseReason::Discouraged;
            Some(Refusal { reason, detail, n: Some(n_inbound) })
        };
        if proven.is_some() && self.bans.verdict(now, proven, None).is_some() {
            return refuse("you broke the protocol a while ago");
        }
        let is_scarce = !is_outbound && n_inbound.saturating_mul(2) >= self.max_inbound;
        if is_scarce && self.bans.verdict(now, None, ip).is_some() {
            return refuse("your address broke the protocol a while ago, and room is scarce");
        }
        None
    }

    /// Whether something is held against a session, so that it gives way before others.
    #[must_use]
    pub fn is_discouraged(&self, now: Moment, info: &PeerInfo) -> bool {
        self.bans.verdict(now, proven(info), info.remote.ip()).is_some()
    }

    /// A connection broke the protocol. Whom that discourages, and until when: the node, if it is
    /// proven to be that, else the address.
    ///
    /// # Security
    /// Where this node dialled and nobody said hello, nobody is to blame: the address was hearsay,
    /// and whoever spread that of another program's port must not have its host discouraged.
    pub fn blame(
        &mut self,
        now: Moment,
        direction: Direction,
        remote: &HostPort,
        info: Option<&PeerInfo>,
    ) -> Option<Standing> {
        let proven = info.and_then(proven);
        let is_hearsay = direction == Direction::Outbound && info.is_none();
        if is_hearsay
            || self.discourage_for.is_zero()
            || self.spared.covers(direction, remote, proven)
        {
            return None;
        }
        let is_far = |ip: &IpAddr| Class::of(*ip) != Class::Loopback;
        let target = match proven {
            Some(id) => Target::Node(id),
            None => Target::of_ip(remote.ip().filter(is_far)?),
        };
        let until = now + self.discourage_for;
        self.bans.discourage(target, until);
        Some(Standing { target, verdict: Verdict::Discouraged, until: Some(until) })
    }
}

fn proven(info: &PeerInfo) -> Option<NodeId> {
    info.channel.proves(info.id).then_some(info.id)
}

const fn banned() -> Refusal {
    let reason = CloseReason::Banned;
    Refusal { reason, detail: "banned by this node's operator", n: None }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
