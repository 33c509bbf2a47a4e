//! Who is not wanted: banned by the operator, or discouraged for a while after breaking the
//! protocol.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use crate::{address::Subnet, clock::Moment, ids::NodeId, reason::CloseReason};

/// What is banned or discouraged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A node. Worth something only for an id that can prove itself.
    Node(NodeId),
    /// An address or a subnet.
    Net(Subnet),
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
    /// The operator's words; may be empty.
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

/// Who is not wanted, and until when.
#[derive(Debug, Clone, Default)]
pub struct Bans {
    until: BTreeMap<Target, (Moment, Verdict)>,
}

/// Why somebody is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

impl Bans {
    /// Sets a target's verdict until a moment; a ban is not weakened by a discouragement.
    pub fn set(&mut self, target: Target, until: Moment, verdict: Verdict) {
        self.until.insert(target, (until, verdict));
    }

    /// Takes a target's verdict back. Whether there was one.
    pub fn lift(&mut self, target: Target) -> bool {
        self.until.remove(&target).is_some()
    }

    /// What is held against a node, an address, or a node at an address.
    #[must_use]
    pub fn verdict(&self, now: Moment, id: Option<NodeId>, ip: Option<IpAddr>) -> Option<Verdict> {
        let holds = |target: &Target| match target {
            Target::Node(node) => Some(*node) == id,
            Target::Net(net) => ip.is_some_and(|ip| net.contains(ip)),
        };
        let found = self.until.iter().filter(|(target, (until, _))| holds(target) && *until > now);
        found.map(|(_, (_, verdict))| *verdict).max()
    }
}
