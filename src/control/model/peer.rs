//! Connected peers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, millis};
use crate::{
    clock::Moment,
    peer::{PeerInfo, Rtt},
};

/// Round-trip times measured by pings, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoundTrip {
    /// The latest.
    pub last_us: u64,
    /// A moving average.
    pub smoothed_us: u64,
    /// The least of the session.
    pub min_us: u64,
}

impl From<Rtt> for RoundTrip {
    fn from(rtt: Rtt) -> Self {
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            last_us: micros(rtt.last),
            smoothed_us: micros(rtt.smoothed),
            min_us: micros(rtt.min),
        }
    }
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerEntry {
    /// Its id.
    pub id: String,
    /// Whether it has proven to be the node of that id.
    pub proven: bool,
    /// `encrypted`, `plaintext` or `vouched`.
    pub security: String,
    /// `inbound` if it dialled this node, `outbound` if this node dialled it.
    pub direction: String,
    /// The address at the other end.
    pub remote: String,
    /// Where it says that it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// The address at which it sees this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What software it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What it says it can do.
    pub features: Vec<String>,
    /// What it says of itself for others to choose by.
    pub tags: BTreeMap<String, String>,
    /// When the session came up.
    pub since_ms: u64,
    /// For how long there has been a session.
    pub age_ms: u64,
    /// How long ago it last answered.
    pub silent_ms: u64,
    /// Round trips, once there was a pong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<RoundTrip>,
}

impl PeerEntry {
    /// What the registry's table says of a peer.
    #[must_use]
    pub fn of(peer: &PeerInfo, now: Moment) -> Self {
        Self {
            id: peer.id.to_string(),
            proven: peer.channel.proves(peer.id),
            security: peer.channel.security.code().to_owned(),
            direction: peer.direction.to_string(),
            remote: peer.remote.to_string(),
            listen: peer.listen.as_ref().map(ToString::to_string),
            observed: peer.observed.as_ref().map(ToString::to_string),
            agent: peer.agent.clone(),
            features: peer.features.clone(),
            tags: peer.tags.clone(),
            since_ms: at(peer.since),
            age_ms: millis(now.since(peer.since)),
            silent_ms: millis(now.since(peer.last_seen)),
            rtt: peer.rtt.map(Into::into),
        }
    }
}

/// All connected peers, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// They.
    pub peers: Vec<PeerEntry>,
}
