//! What is known of a connected peer.

use std::{fmt, time::Duration};

use crate::{
    address::HostPort,
    clock::Moment,
    ids::{LinkId, NodeId},
};

/// Who dialled whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer dialled this node.
    Inbound,
    /// This node dialled the peer.
    Outbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
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
    /// Its node id, as it says (nothing proves it without encryption).
    pub id: NodeId,
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
