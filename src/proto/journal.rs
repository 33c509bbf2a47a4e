//! What this node decided and why: a bounded ring.

use std::{borrow::Cow, collections::VecDeque};

use crate::{
    address::HostPort,
    clock::Moment,
    ids::{LinkId, NodeId},
};

/// What kind of decision it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A session came up.
    SessionUp,
    /// A session ended; the reason says why.
    SessionDown,
    /// This node refused a connection or closed it; the detail says what was wrong.
    Refused,
    /// A dial was started; the reason says what for.
    Dialled,
    /// A dial failed.
    DialFailed,
    /// An address answered with a hello.
    Proven,
    /// A dial led to a node that there is a session with already.
    Duplicate,
    /// An address is left alone for a while; the detail says how long.
    BackOff,
    /// An address turned out to be this node's own.
    OwnAddress,
    /// Addresses that a peer told were not taken.
    AddrsRefused,
    /// An address was given up: never proven, and its redial ladder is used up.
    Forgotten,
    /// A proven address did not answer when another wanted its place, and is now retried slowly.
    AddressEvicted,
    /// A proven address stopped answering and is now retried slowly.
    WentCold,
    /// A bootstrap name was not resolved.
    NotResolved,
    /// Accepting a connection failed; accepting pauses.
    AcceptFailed,
    /// A peer sends faster than it may, and is read more slowly.
    Throttled,
    /// A peer's message found no taker or could not be handed over.
    Undelivered,
    /// An extension was registered or its actor went away.
    Extension,
    /// What should outlive this run could not be kept on disk; the detail says what to do.
    StoreFailed,
    /// Keeping on disk works again.
    StoreRecovered,
}

impl Kind {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SessionUp => "session-up",
            Self::SessionDown => "session-down",
            Self::Refused => "refused",
            Self::Dialled => "dialled",
            Self::DialFailed => "dial-failed",
            Self::Proven => "proven",
            Self::Duplicate => "duplicate",
            Self::BackOff => "back-off",
            Self::OwnAddress => "own-address",
            Self::AddrsRefused => "addrs-refused",
            Self::Forgotten => "forgotten",
            Self::AddressEvicted => "address-evicted",
            Self::WentCold => "went-cold",
            Self::NotResolved => "not-resolved",
            Self::AcceptFailed => "accept-failed",
            Self::Throttled => "throttled",
            Self::Undelivered => "undelivered",
            Self::Extension => "extension",
            Self::StoreFailed => "store-failed",
            Self::StoreRecovered => "store-recovered",
        }
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Moment,
    /// What.
    pub kind: Kind,
    /// Why: a reason code, or an operating system's error in its words.
    pub reason: Cow<'static, str>,
    /// The numbers and words behind it; may be empty.
    pub detail: Cow<'static, str>,
    /// The connection it was about.
    pub link: Option<LinkId>,
    /// The node it was about.
    pub peer: Option<NodeId>,
    /// The address it was about.
    pub addr: Option<HostPort>,
}

impl Decision {
    /// A decision about nobody yet.
    #[must_use]
    pub fn new(at: Moment, kind: Kind, reason: impl Into<Cow<'static, str>>) -> Self {
        let detail = Cow::Borrowed("");
        Self { at, kind, reason: reason.into(), detail, link: None, peer: None, addr: None }
    }

    /// … with these words behind it.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// … about this connection.
    #[must_use]
    pub fn link(self, link: LinkId) -> Self {
        Self { link: Some(link), ..self }
    }

    /// … about this node.
    #[must_use]
    pub fn peer(self, peer: impl Into<Option<NodeId>>) -> Self {
        Self { peer: peer.into(), ..self }
    }

    /// … about this address.
    #[must_use]
    pub fn addr(self, addr: impl Into<Option<HostPort>>) -> Self {
        Self { addr: addr.into(), ..self }
    }
}

/// Which decisions to show. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Only those about this node.
    pub peer: Option<NodeId>,
    /// Only those about this address.
    pub addr: Option<HostPort>,
    /// Only those of this kind.
    pub kind: Option<Kind>,
    /// Only those from this moment on.
    pub since: Option<Moment>,
}

impl JournalQuery {
    fn matches(&self, decision: &Decision) -> bool {
        self.peer.is_none_or(|peer| decision.peer == Some(peer))
            && self.addr.as_ref().is_none_or(|addr| decision.addr.as_ref() == Some(addr))
            && self.kind.is_none_or(|kind| decision.kind == kind)
            && self.since.is_none_or(|since| decision.at >= since)
    }
}

/// The latest decisions, oldest first. A new one overwrites the oldest when the ring is full.
#[derive(Debug)]
pub struct Ring {
    entries: VecDeque<Decision>,
    capacity: usize,
    overwritten: u64,
}

impl Ring {
    /// An empty ring for this many entries.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, overwritten: 0 }
    }

    /// Keeps a decision.
    pub fn push(&mut self, decision: Decision) {
        while self.entries.len() >= self.capacity.max(1) {
            self.entries.pop_front();
            self.overwritten += 1;
        }
        self.entries.push_back(decision);
    }

    /// The decisions that match, oldest first.
    #[must_use]
    pub fn find(&self, query: &JournalQuery) -> Vec<Decision> {
        self.entries.iter().filter(|decision| query.matches(decision)).cloned().collect()
    }

    /// How many decisions were overwritten so far.
    #[must_use]
    pub const fn overwritten(&self) -> u64 {
        self.overwritten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_latest_and_finds_by_peer_and_kind() {
        let mut ring = Ring::new(3);
        for n in 0..5u128 {
            let kind = if n % 2 == 0 { Kind::SessionUp } else { Kind::SessionDown };
            let at = Moment::after(std::time::Duration::from_secs(n as u64));
            ring.push(Decision::new(at, kind, "x").peer(NodeId::from_u128(n)));
        }
        assert_eq!(ring.find(&JournalQuery::default()).len(), 3);
        assert_eq!(ring.overwritten(), 2);
        let peer = Some(NodeId::from_u128(4));
        assert_eq!(ring.find(&JournalQuery { peer, ..Default::default() }).len(), 1);
        let kind = Some(Kind::SessionDown);
        assert_eq!(ring.find(&JournalQuery { kind, ..Default::default() }).len(), 1);
    }
}
