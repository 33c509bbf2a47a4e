//! Who is not wanted: banned by the operator, or discouraged for a while after breaking the
//! protocol.
//!
//! Invariants:
//! * B1: no more bans and no more discouragements are held than there is room for.
//! * B2: a ban and a discouragement of one target do not touch each other; the ban speaks.
//! * B3: what has ended speaks no more, whether [`Bans::tick`] was called or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
    time::Duration,
};

use thiserror::Error;

use crate::{address::Subnet, clock::Moment, ids::NodeId, reason::CloseReason};

/// How long a ban holds when the operator says nothing else (as in Bitcoin Core).
pub const DEFAULT_BAN: Duration = Duration::from_secs(24 * 3600);

/// The longest note of a ban, in bytes; the rest is cut off.
pub const MAX_NOTE: usize = 256;

/// What is banned or discouraged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A node. Worth something only for an id that can prove itself.
    Node(NodeId),
    /// An address or a subnet.
    Net(Subnet),
}

impl Target {
    /// What one party behind this address is held to: the address, or the IPv6 /64 around it,
    /// since whoever has one address of it can have them all.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip @ IpAddr::V4(_) => Self::Net(Subnet::host(ip)),
            ip @ IpAddr::V6(_) => Self::Net(Subnet::site_of(ip)),
        }
    }

    /// Whether a node of this id, or one at this address, is meant.
    #[must_use]
    pub fn covers(&self, id: Option<NodeId>, ip: Option<IpAddr>) -> bool {
        match self {
            Self::Node(node) => Some(*node) == id,
            Self::Net(net) => ip.is_some_and(|ip| net.contains(ip)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => id.fmt(f),
            Self::Net(net) => net.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = crate::address::SubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Node).or_else(|_| text.parse().map(Self::Net))
    }
}

/// One ban, as the operator made it and as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub target: Target,
    /// When it was made.
    pub since: Moment,
    /// When it ends by itself.
    pub until: Moment,
    /// The operator's words, at most [`MAX_NOTE`] bytes; may be empty.
    pub note: String,
}

/// A change to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanChange {
    /// There is a ban, or it ends at another time.
    Put(Ban),
    /// There is none any more.
    Lifted(Target),
}

/// Why a ban was not made, or not kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BanError {
    /// This node's own id. Nothing was banned: a connection to itself is refused as `self` anyway,
    /// so this is most likely another id mistyped.
    #[error("this is the node's own id")]
    Own,
    /// Every address of a kind. Nothing was banned: it would cut the node off from its bootstraps,
    /// too. To let in only some, there is the list of allowed ids.
    #[error("a ban of all addresses would cut this node off; list the allowed ids instead")]
    Everything,
    /// It would end at once. Nothing was banned.
    #[error("a ban must last longer than no time")]
    NoTime,
    /// There are as many bans as may be. Nothing was banned; lift others or ban subnets.
    #[error("there are {0} bans already, and that is the limit (max-bans)")]
    Full(usize),
    /// The ban holds, but could not be written to disk: it will be gone after a restart.
    #[error("banned, but only for this run: the ban could not be kept")]
    NotKept(Ban),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why somebody is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It broke the protocol.
    Discouraged,
    /// The operator said so.
    Banned,
}

impl Verdict {
    /// The reason code that it is refused with.
    #[must_use]
    pub const fn reason(self) -> CloseReason {
        match self {
            Self::Discouraged => CloseReason::Discouraged,
            Self::Banned => CloseReason::Banned,
        }
    }
}

/// What is held against one target now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub target: Target,
    /// What.
    pub verdict: Verdict,
    /// Until when; `None` if it is held no longer.
    pub until: Option<Moment>,
}

/// Who is not wanted, and until when.
#[derive(Debug, Clone)]
pub struct Bans {
    bans: Held<Ban>,
    discouraged: Held<()>,
}

impl Default for Bans {
    /// Room for 4,096 of each.
    fn default() -> Self {
        Self::new(4096, 4096)
    }
}

impl Bans {
    /// Nobody yet, with room for so many bans and so many discouragements.
    #[must_use]
    pub const fn new(max_bans: usize, max_discouraged: usize) -> Self {
        Self { bans: Held::new(max_bans), discouraged: Held::new(max_discouraged) }
    }

    /// Bans a target, or has its ban end at another time.
    ///
    /// # Errors
    /// There is no room. Nothing has changed.
    pub fn ban(&mut self, now: Moment, ban: Ban) -> Result<(), BanError> {
        if self.bans.is_full_for(ban.target) {
            // What has ended makes room even before it was noticed.
            let ended = self.bans.first_end().is_some_and(|until| until <= now);
            if !ended {
                return Err(BanError::Full(self.bans.max));
            }
        }
        self.bans.put(ban.target, ban.until, ban);
        Ok(())
    }

    /// Discourages a target. Two reasons do not add up: the later end counts. Beyond the room there
    /// is, the one that ends first is dropped.
    pub fn discourage(&mut self, target: Target, until: Moment) {
        let until = self.discouraged.until(target).map_or(until, |held| held.max(until));
        self.discouraged.put(target, until, ());
    }

    /// Sets a target's verdict until a moment, for those who repeat what the registry says. A ban
    /// is not weakened by a discouragement; beyond the room there is, what ends first is dropped.
    pub fn set(&mut self, target: Target, until: Moment, verdict: Verdict) {
        match verdict {
            Verdict::Discouraged => self.discouraged.put(target, until, ()),
            Verdict::Banned => {
                let ban = Ban { target, since: Moment::ZERO, until, note: String::new() };
                self.bans.put(target, until, ban);
            }
        }
    }

    /// Takes back all that is held against a target. Whether there was anything.
    pub fn lift(&mut self, target: Target) -> bool {
        let banned = self.bans.take(target).is_some();
        self.discouraged.take(target).is_some() || banned
    }

    /// Takes back what is held against a target for this reason. Whether there was anything.
    pub fn lift_only(&mut self, target: Target, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Discouraged => self.discouraged.take(target).is_some(),
            Verdict::Banned => self.bans.take(target).is_some(),
        }
    }

    /// What is held against a node, an address, or a node at an address: the most serious of it.
    #[must_use]
    pub fn verdict(&self, now: Moment, id: Option<NodeId>, ip: Option<IpAddr>) -> Option<Verdict> {
        if self.bans.holds(now, id, ip) {
            Some(Verdict::Banned)
        } else if self.discouraged.holds(now, id, ip) {
            Some(Verdict::Discouraged)
        } else {
            None
        }
    }

    /// What is held against exactly this target, however it came about; the more serious one.
    #[must_use]
    pub fn standing(&self, target: Target) -> Option<Standing> {
        let standing = |verdict, until| Standing { target, verdict, until: Some(until) };
        let banned = self.bans.until(target).map(|until| standing(Verdict::Banned, until));
        let discouraged = self.discouraged.until(target);
        banned.or_else(|| discouraged.map(|until| standing(Verdict::Discouraged, until)))
    }

    /// Forgets what has ended, and says what.
    pub fn tick(&mut self, now: Moment) -> Vec<(Target, Verdict)> {
        let bans = self.bans.end(now).into_iter().map(|target| (target, Verdict::Banned));
        let others = self.discouraged.end(now).into_iter();
        bans.chain(others.map(|target| (target, Verdict::Discouraged))).collect()
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        [self.bans.first_end(), self.discouraged.first_end()].into_iter().flatten().min()
    }

    /// The bans, by target.
    pub fn bans(&self) -> impl Iterator<Item = &Ban> {
        self.bans.of.values().map(|(_, ban)| ban)
    }

    /// Who is discouraged until when, by target.
    pub fn discouraged(&self) -> impl Iterator<Item = (Target, Moment)> {
        self.discouraged.of.iter().map(|(target, (until, ()))| (*target, *until))
    }
}

/// What is held against targets for one reason, each until its own moment.
///
/// An address is looked up once for each prefix length that occurs, and not among all subnets: the
/// question is asked for every connection of a flood.
#[derive(Debug, Clone)]
struct Held<T> {
    max: usize,
    of: BTreeMap<Target, (Moment, T)>,
    by_end: BTreeSet<(Moment, Target)>,
    /// How many subnets there are of each family (`true` for IPv4) and prefix length.
    prefixes: BTreeMap<(bool, u8), usize>,
}

impl<T> Held<T> {
    const fn new(max: usize) -> Self {
        Self { max, of: BTreeMap::new(), by_end: BTreeSet::new(), prefixes: BTreeMap::new() }
    }

    fn is_full_for(&self, target: Target) -> bool {
        self.of.len() >= self.max && !self.of.contains_key(&target)
    }

    fn put(&mut self, target: Target, until: Moment, what: T) {
        self.take(target);
        while self.of.len() >= self.max {
            let Some((_, first)) = self.by_end.first().copied() else { return };
            self.take(first);
        }
        if let Target::Net(net) = target {
            *self.prefixes.entry((net.is_ipv4(), net.prefix())).or_default() += 1;
        }
        self.by_end.insert((until, target));
        self.of.insert(target, (until, what));
    }

    fn take(&mut self, target: Target) -> Option<T> {
        let (until, what) = self.of.remove(&target)?;
        self.by_end.remove(&(until, target));
        if let Target::Net(net) = target {
            let key = (net.is_ipv4(), net.prefix());
            if let Some(n) = self.prefixes.get_mut(&key) {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    self.prefixes.remove(&key);
                }
            }
        }
        Some(what)
    }

    fn until(&self, target: Target) -> Option<Moment> {
        self.of.get(&target).map(|(until, _)| *until)
    }

    fn holds(&self, now: Moment, id: Option<NodeId>, ip: Option<IpAddr>) -> bool {
        let holds = |target| self.until(target).is_some_and(|until| until > now);
        let by_ip = |ip: IpAddr| {
            let is_v4 = ip.is_ipv4();
            let prefixes = self.prefixes.range((is_v4, 0)..=(is_v4, 128));
            prefixes.into_iter().any(|((_, len), _)| holds(Target::Net(Subnet::new(ip, *len))))
        };
        id.is_some_and(|id| holds(Target::Node(id)))
            || ip.map(|ip| ip.to_canonical()).is_some_and(by_ip)
    }

    fn first_end(&self) -> Option<Moment> {
        self.by_end.first().map(|(until, _)| *until)
    }

    fn end(&mut self, now: Moment) -> Vec<Target> {
        let mut ended = Vec::new();
        while let Some((_, target)) =
            self.by_end.first().filter(|(until, _)| *until <= now).copied()
        {
            self.take(target);
            ended.push(target);
        }
        ended
    }
}

#[cfg(test)]
#[path = "bans_tests.rs"]
mod tests;
