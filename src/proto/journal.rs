//! What this node decided and why: a bounded ring.
//!
//! Invariants:
//! * J1: no more entries than the ring has room for, and none larger than about a kilobyte: texts are
//!   cut at [`MAX_REASON`] and [`MAX_DETAIL`].
//! * J2: what strangers can cause at will ([`Kind::is_floodable`]) does not wash out the rest: what
//!   is over the allowance of [`Floods`] is counted in the latest entry of its sort.

use std::{borrow::Cow, collections::VecDeque, fmt, net::IpAddr};

use crate::{
    address::HostPort,
    clock::Moment,
    ids::{LinkId, NodeId},
    proto::floods::{Floods, Verdict},
};

/// The longest reason, in bytes; the rest is cut off.
pub const MAX_REASON: usize = 64;

/// The longest detail, in bytes; the rest is cut off.
pub const MAX_DETAIL: usize = 256;

/// The most numbers of one decision; further ones are left out.
pub const MAX_NUMBERS: usize = 5;

/// What kind of decision it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A session came up.
    SessionUp,
    /// A session ended; the reason says why.
    SessionDown,
    /// This node refused a connection or closed it; the detail says what was wrong.
    Refused,
    /// Of two connections with one node, one was closed; the reason says which rule chose.
    Duplicate,
    /// A session gave way to a newcomer, since there was no room for both.
    Evicted,
    /// A dial was begun.
    Dialled,
    /// A dial failed.
    DialFailed,
    /// An address is left alone for a while.
    BackOff,
    /// An address answered with a hello.
    Proven,
    /// An address turned out to be this node's own.
    OwnAddress,
    /// Addresses that a peer told were not taken.
    AddrsRefused,
    /// An address was given up: never proven, and its redial ladder is used up.
    Forgotten,
    /// An address gave way to another, since there was no room for both.
    AddressEvicted,
    /// A proven address stopped answering and is now retried slowly.
    WentCold,
    /// A bootstrap name was not resolved.
    NotResolved,
    /// The operator banned an id or addresses.
    Banned,
    /// The operator took a ban back.
    Unbanned,
    /// A ban ended by itself.
    BanExpired,
    /// An id or address broke the protocol and is not wanted for a while.
    Discouraged,
    /// A peer sends faster than it may, and is read more slowly.
    Throttled,
    /// Something was dropped for want of room or of a taker.
    Dropped,
    /// What should outlive this run could not be kept on disk; the detail says what to do.
    StoreFailed,
    /// Accepting a connection failed; accepting pauses.
    AcceptFailed,
    /// A peer's message found no taker or could not be handed over.
    Undelivered,
    /// An extension was registered or its actor went away.
    Extension,
    /// Keeping on disk works again.
    StoreRecovered,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::SessionUp,
        Self::SessionDown,
        Self::Refused,
        Self::Duplicate,
        Self::Evicted,
        Self::Dialled,
        Self::DialFailed,
        Self::BackOff,
        Self::Proven,
        Self::OwnAddress,
        Self::AddrsRefused,
        Self::Forgotten,
        Self::AddressEvicted,
        Self::WentCold,
        Self::NotResolved,
        Self::Banned,
        Self::Unbanned,
        Self::BanExpired,
        Self::Discouraged,
        Self::Throttled,
        Self::Dropped,
        Self::StoreFailed,
        Self::AcceptFailed,
        Self::Undelivered,
        Self::Extension,
        Self::StoreRecovered,
    ];

    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SessionUp => "session-up",
            Self::SessionDown => "session-down",
            Self::Refused => "refused",
            Self::Duplicate => "duplicate",
            Self::Evicted => "evicted",
            Self::Dialled => "dialled",
            Self::DialFailed => "dial-failed",
            Self::BackOff => "back-off",
            Self::Proven => "proven",
            Self::OwnAddress => "own-address",
            Self::AddrsRefused => "addrs-refused",
            Self::Forgotten => "forgotten",
            Self::AddressEvicted => "address-evicted",
            Self::WentCold => "went-cold",
            Self::NotResolved => "not-resolved",
            Self::Banned => "banned",
            Self::Unbanned => "unbanned",
            Self::BanExpired => "ban-expired",
            Self::Discouraged => "discouraged",
            Self::Throttled => "throttled",
            Self::Dropped => "dropped",
            Self::StoreFailed => "store-failed",
            Self::AcceptFailed => "accept-failed",
            Self::Undelivered => "undelivered",
            Self::Extension => "extension",
            Self::StoreRecovered => "store-recovered",
        }
    }

    /// The kind of this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether strangers can cause it as often as they like, at little cost to themselves.
    #[must_use]
    pub const fn is_floodable(self) -> bool {
        matches!(
            self,
            Self::SessionUp
                | Self::SessionDown
                | Self::Refused
                | Self::Duplicate
                | Self::Evicted
                | Self::AddrsRefused
                | Self::Discouraged
                | Self::Throttled
        )
    }
}

/// The numbers behind a decision, by name; at most [`MAX_NUMBERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers([Option<(&'static str, u64)>; MAX_NUMBERS]);

impl Numbers {
    /// Sets a number; one of that name is replaced.
    pub fn set(&mut self, name: &'static str, value: u64) {
        let same = |slot: &&mut Option<(&str, u64)>| slot.is_none_or(|(held, _)| held == name);
        if let Some(slot) = self.0.iter_mut().find(same) {
            *slot = Some((name, value));
        }
    }

    /// The number of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter().find(|(held, _)| *held == name).map(|(_, value)| value)
    }

    /// All of them, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().flatten().copied()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, value)) in self.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Moment,
    /// What.
    pub kind: Kind,
    /// Why: a reason code, or an operating system's error in its words. At most [`MAX_REASON`] bytes.
    pub reason: Cow<'static, str>,
    /// The words behind it, at most [`MAX_DETAIL`] bytes; may be empty.
    pub detail: Cow<'static, str>,
    /// The numbers behind it.
    pub numbers: Numbers,
    /// How many more of its sort followed that have no entry of their own.
    pub more: u64,
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
        let (reason, detail) = (cut(reason.into(), MAX_REASON), Cow::Borrowed(""));
        let numbers = Numbers::default();
        Self { at, kind, reason, detail, numbers, more: 0, link: None, peer: None, addr: None }
    }

    /// … with these words behind it.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: cut(detail.into(), MAX_DETAIL), ..self }
    }

    /// … with this number behind it. Times are in whole units that the name tells.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.numbers.set(name, value);
        self
    }

    /// … with this count behind it.
    #[must_use]
    pub fn count(self, name: &'static str, n: usize) -> Self {
        self.number(name, u64::try_from(n).unwrap_or(u64::MAX))
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

/// The text, or as much of its beginning as fits into so many bytes.
#[must_use]
pub fn cut(text: Cow<'static, str>, max: usize) -> Cow<'static, str> {
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(end);
            text.shrink_to_fit();
            Cow::Owned(text)
        }
    }
}

/// Which decisions to show. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Only those about this node.
    pub peer: Option<NodeId>,
    /// Only those about this address.
    pub addr: Option<HostPort>,
    /// Only those about this IP address, at whatever port.
    pub ip: Option<IpAddr>,
    /// Only those of this kind.
    pub kind: Option<Kind>,
    /// Only those from this moment on.
    pub since: Option<Moment>,
    /// No more than so many, the latest.
    pub limit: Option<usize>,
}

impl JournalQuery {
    fn matches(&self, decision: &Decision) -> bool {
        self.peer.is_none_or(|peer| decision.peer == Some(peer))
            && self.addr.as_ref().is_none_or(|addr| decision.addr.as_ref() == Some(addr))
            && self.ip.is_none_or(|ip| {
                decision.addr.as_ref().and_then(HostPort::ip) == Some(ip.to_canonical())
            })
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
    floods: Floods,
}

impl Ring {
    /// An empty ring for this many entries.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, overwritten: 0, floods: Floods::new() }
    }

    /// Keeps a decision, or counts it in the latest one of its sort. The decision, if it has an entry of
    /// its own.
    pub fn push(&mut self, decision: Decision) -> Option<&Decision> {
        let next = self.overwritten + u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        if decision.kind.is_floodable()
            && let Verdict::CountIn(place) = self.floods.judge(&decision, self.overwritten..next)
            && let Some(latest) = self.entry(place)
        {
            latest.more += 1;
            return None;
        }
        while self.entries.len() >= self.capacity.max(1) {
            self.entries.pop_front();
            self.overwritten += 1;
        }
        self.entries.push_back(decision);
        self.entries.back()
    }

    /// The entry that was pushed as this one since the start; `None` if it was overwritten.
    fn entry(&mut self, place: u64) -> Option<&mut Decision> {
        let index = place.checked_sub(self.overwritten)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    /// The decisions that match, oldest first.
    #[must_use]
    pub fn find(&self, query: &JournalQuery) -> Vec<Decision> {
        let latest = self.entries.iter().rev().filter(|decision| query.matches(decision));
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut found: Vec<Decision> = latest.take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// How many decisions were overwritten so far.
    #[must_use]
    pub const fn overwritten(&self) -> u64 {
        self.overwritten
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
