//! What happens, as it is told to those who listen.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Entry, PeerEntry};

/// Something that happened. `event` says what; a reader passes over those that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// There is a session with a peer.
    PeerUp {
        /// When.
        at_ms: u64,
        /// With whom.
        peer: PeerEntry,
    },
    /// A peer says something else of itself.
    PeerChanged {
        /// When.
        at_ms: u64,
        /// Who.
        peer: PeerEntry,
    },
    /// A session has ended.
    PeerDown {
        /// When.
        at_ms: u64,
        /// With whom.
        peer: PeerEntry,
        /// Why: a code.
        reason: String,
    },
    /// The node decided something.
    Decision {
        /// What and why.
        entry: Entry,
    },
    /// A message came.
    Message(Heard),
    /// Another node asks something. It can be answered until its time is up.
    Inquiry(Inquired),
    /// What was told before this is not held any more.
    Missed(Missed),
}

impl Event {
    /// The names of all of them.
    pub const NAMES: [&str; 7] =
        ["peer-up", "peer-changed", "peer-down", "decision", "message", "inquiry", "missed"];

    /// What it is, as `event` says it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PeerUp { .. } => "peer-up",
            Self::PeerChanged { .. } => "peer-changed",
            Self::PeerDown { .. } => "peer-down",
            Self::Decision { .. } => "decision",
            Self::Message(_) => "message",
            Self::Inquiry(_) => "inquiry",
            Self::Missed(_) => "missed",
        }
    }
}

/// A message of another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Heard {
    /// When it came.
    pub at_ms: u64,
    /// Who sent or published it.
    pub from: String,
    /// Whether that is proven.
    pub proven: bool,
    /// The topic that it was published on; none if it is for this node alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it says.
    pub text: String,
    /// In how many steps it came.
    pub hops: u8,
}

/// A question of another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Inquired {
    /// Its number, to answer it by.
    pub inquiry: u64,
    /// Who asks.
    pub from: String,
    /// Whether that is proven.
    pub proven: bool,
    /// What.
    pub text: String,
    /// Until when an answer is of use.
    pub until_ms: u64,
}

/// A gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missed {
    /// How many events are missing; none if nobody knows, since the node was started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}
