//! What is known of a connected peer.

use std::{fmt, time::Duration};

use crate::{
    address::HostPort,
    clock::Moment,
    identity::PublicKey,
    ids::{LinkId, NodeId},
    wire::Tags,
};

/// Who dialled whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer dialled this node.
    Inbound,
    /// This node dialled the peer.
    Outbound,
}

impl Direction {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// How the other end sees it.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// How the two ends of a connection know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelSecurity {
    /// Plaintext: anybody on the way can read and alter it, and ids are only what is said.
    Plaintext,
    /// TLS 1.3: the peer has proven its key.
    Encrypted,
    /// The transport itself vouches for the peer, as the simulated network does.
    Vouched,
}

impl ChannelSecurity {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Encrypted => "encrypted",
            Self::Vouched => "vouched",
        }
    }
}

/// What a connection proves about its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// How.
    pub security: ChannelSecurity,
    /// The key that the peer has proven to hold.
    pub key: Option<PublicKey>,
}

impl Channel {
    /// A connection that proves nothing.
    pub const PLAINTEXT: Self = Self { security: ChannelSecurity::Plaintext, key: None };

    /// Whether it is known that the peer is the node of this id.
    #[must_use]
    pub fn proves(&self, id: NodeId) -> bool {
        match self.security {
            ChannelSecurity::Plaintext => false,
            ChannelSecurity::Encrypted => self.key.is_some_and(|key| key.node_id() == id),
            ChannelSecurity::Vouched => true,
        }
    }
}

/// Round-trip times measured by pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rtt {
    /// The latest sample.
    pub last: Duration,
    /// A moving average with a gain of 1/8 (as RFC 6298, section 2).
    pub smoothed: Duration,
    /// The lowest sample of the session.
    pub min: Duration,
}

impl Rtt {
    /// The figures after one more sample.
    #[must_use]
    pub fn with(previous: Option<Self>, sample: Duration) -> Self {
        match previous {
            None => Self { last: sample, smoothed: sample, min: sample },
            Some(rtt) => Self {
                last: sample,
                smoothed: (rtt.smoothed * 7 + sample) / 8,
                min: rtt.min.min(sample),
            },
        }
    }
}

/// A connected peer, as the registry's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its node id; `channel` tells whether that is proven.
    pub id: NodeId,
    /// What the connection proves about it.
    pub channel: Channel,
    /// The connection.
    pub link: LinkId,
    /// Who dialled.
    pub direction: Direction,
    /// The address at the other end; an ephemeral port if the peer dialled.
    pub remote: HostPort,
    /// Where it says that it listens.
    pub listen: Option<HostPort>,
    /// The address it sees this node at.
    pub observed: Option<HostPort>,
    /// What software it says it is.
    pub agent: Option<String>,
    /// What it says it can do beyond the core.
    pub features: Vec<String>,
    /// What else it says of itself, for others to choose by; nothing proves it.
    pub tags: Tags,
    /// When the session came up.
    pub since: Moment,
    /// When it last answered: its latest pong, or its hello.
    pub last_seen: Moment,
    /// Round-trip times, once there is a pong.
    pub rtt: Option<Rtt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtt_keeps_last_smoothed_and_minimum() {
        let ms = Duration::from_millis;
        let rtt = Rtt::with(Some(Rtt::with(None, ms(80))), ms(160));
        assert_eq!(rtt, Rtt { last: ms(160), smoothed: ms(90), min: ms(80) });
        assert_eq!(Rtt::with(Some(rtt), ms(10)).min, ms(10));
    }
}
