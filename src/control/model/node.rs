//! The node itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeInfo {
    /// Its id.
    pub id: String,
    /// Its public key in hex; none if encryption is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// What it says it is.
    pub agent: String,
    /// The network that it is part of.
    pub network: String,
    /// `peer` or `introducer`.
    #[serde(default = "peer")]
    pub role: String,
    /// `require`, `prefer` or `off`.
    pub security: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// The address that it announces, if that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// What it says of itself for others to choose by.
    pub tags: BTreeMap<String, String>,
    /// The process.
    pub pid: u32,
    /// When it was started.
    pub started_ms: u64,
    /// For how long it has run.
    pub uptime_ms: u64,
    /// How many sessions it has.
    pub peers: usize,
    /// How many addresses it knows.
    pub addresses: usize,
    /// How many bans hold.
    pub bans: usize,
    /// The topics whose messages it takes.
    pub topics: Vec<String>,
    /// Decisions that its journal was too busy to keep.
    pub journal_lost: u64,
}

/// What nodes were before there were roles.
fn peer() -> String {
    "peer".to_owned()
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// As a configuration file for `peerage run --config`, with where each value comes from.
    pub toml: String,
}

/// The process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always true.
    pub ok: bool,
}

/// Whether the node can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// It listens where it was told to, and has a peer or waits to be joined.
    pub ready: bool,
    /// It listens, or was told not to.
    pub listening: bool,
    /// How many sessions it has.
    pub peers: usize,
    /// It has nobody to join through, or is an introducer: others come to it.
    pub is_first: bool,
}
