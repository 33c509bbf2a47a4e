//! What the node decided and why, and who is banned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Address, PeerEntry, at};
use crate::{Ban, Decision, Target, clock::Moment};

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When.
    pub at_ms: u64,
    /// What: `session-up`, `dial-failed`, `refused` and so on.
    pub kind: String,
    /// Why: a reason code, or an operating system's error in its words.
    pub reason: String,
    /// The words behind it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The numbers behind it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, u64>,
    /// How many more of its sort followed that have no entry of their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// The node it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The address it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<&Decision> for Entry {
    fn from(decision: &Decision) -> Self {
        Self {
            at_ms: at(decision.at),
            kind: decision.kind.code().to_owned(),
            reason: decision.reason.clone().into_owned(),
            detail: decision.detail.clone().into_owned(),
            numbers: decision.numbers.iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            more: decision.more,
            peer: decision.peer.map(|id| id.to_string()),
            addr: decision.addr.as_ref().map(ToString::to_string),
        }
    }
}

/// Decisions, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Journal {
    /// They.
    pub entries: Vec<Entry>,
    /// Decisions that the journal was too busy to keep, since the start.
    pub lost: u64,
}

/// Somebody who is not wanted, since the operator said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BanEntry {
    /// A node id, an address or a subnet.
    pub target: String,
    /// When it was banned.
    pub since_ms: u64,
    /// When the ban ends by itself.
    pub until_ms: u64,
    /// The operator's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl From<&Ban> for BanEntry {
    fn from(ban: &Ban) -> Self {
        Self {
            target: ban.target.to_string(),
            since_ms: at(ban.since),
            until_ms: at(ban.until),
            note: ban.note.clone(),
        }
    }
}

/// Somebody who broke the protocol and is not wanted for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discouragement {
    /// A node id, an address or a subnet.
    pub target: String,
    /// When that ends.
    pub until_ms: u64,
}

impl Discouragement {
    pub(crate) fn of(target: Target, until: Moment) -> Self {
        Self { target: target.to_string(), until_ms: at(until) }
    }
}

/// Who is not wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bans {
    /// By the operator's word.
    pub bans: Vec<BanEntry>,
    /// For what they did.
    pub discouraged: Vec<Discouragement>,
}

/// All that the node knows and did about a node or an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The node, if it was asked about one or the address is known to be one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The address, if it was asked about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// It is this node itself.
    pub is_self: bool,
    /// The session with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerEntry>,
    /// What is known of its addresses.
    pub addresses: Vec<Address>,
    /// What is held against it.
    pub bans: Vec<BanEntry>,
    /// What it is discouraged for.
    pub discouraged: Vec<Discouragement>,
    /// What was decided about it, oldest first, the latest of it.
    pub entries: Vec<Entry>,
    /// The time by the node's clock, to read the others by.
    pub now_ms: u64,
}
