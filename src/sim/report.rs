//! What a simulation found out: data, to be printed, plotted, or compared.
//!
//! All of it follows from the scenario: the same scenario gives the same report. Times are seconds
//! from the moment at which the last node had joined, unless said otherwise. What the simulation
//! cost the machine is not in it.

use std::collections::BTreeMap;

use serde::Serialize;

pub use super::measure::{Condition, Distribution, Summary};
use super::scenario::Scenario;

/// What a simulation found out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The version of this crate.
    pub version: &'static str,
    /// What was simulated, defaults included.
    pub scenario: Scenario,
    /// How long the joining took, in seconds.
    pub joining_secs: f64,
    /// When every node had a session in each bucket of XOR distances in which there was a living
    /// node that it could have one with; none if that never was.
    pub converged_secs: Option<f64>,
    /// Living nodes at the end.
    pub nodes: usize,
    /// Those of them that had no session in such a bucket.
    pub lacking: usize,
    /// Sessions per node.
    pub sessions: Sessions,
    /// Bytes that nodes sent.
    pub traffic: Traffic,
    /// Messages to one node, by load and condition.
    pub routes: Vec<RouteRow>,
    /// Messages to all, by load and condition.
    pub broadcasts: Vec<BroadcastRow>,
    /// What became of each time of churn.
    pub churns: Vec<ChurnRow>,
    /// What became of each kill.
    pub kills: Vec<KillRow>,
    /// What became of each partition.
    pub partitions: Vec<PartitionRow>,
    /// How it went, every ten seconds from the first join.
    pub series: Vec<Sample>,
    /// Whole distributions, over all loads.
    pub histograms: Histograms,
}

/// Sessions per living node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sessions {
    /// Just before anything was done to the network, or at the end if nothing was.
    pub undisturbed: Summary,
    /// At the end.
    pub end: Summary,
}

/// Bytes that a node sent per minute, of what the simulated network carried: frames as they would
/// be without TLS, TCP and IP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    /// The mean over all nodes while nothing was going on but what nodes do by themselves; none if
    /// there was no such time.
    pub idle: Option<f64>,
    /// The mean over all nodes and the whole run after the joining.
    pub total: f64,
    /// Of the nodes that lived all the time, each one's mean over the whole run.
    pub per_node: Summary,
}

/// Messages to one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteRow {
    /// The load, or the kill whose probes these are.
    pub load: String,
    /// What the network was going through when they were sent.
    pub condition: Condition,
    /// How many were sent.
    pub sent: u64,
    /// Those of them whose sender or receiver had gone before there was an outcome: not counted
    /// further.
    pub moot: u64,
    /// Those that the sender was told had arrived.
    pub delivered: u64,
    /// Those among all that are not moot, rounded down to six decimals; none if there are none.
    pub share: Option<f64>,
    /// The others, by the reason that the sender was told.
    pub failed: BTreeMap<String, u64>,
    /// Sessions on the way of those that arrived.
    pub hops: Summary,
    /// From sending to knowing, in milliseconds, of those that arrived.
    pub rtt_ms: Summary,
}

/// Messages to all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BroadcastRow {
    /// The load.
    pub load: String,
    /// What the network was going through when they were published.
    pub condition: Condition,
    /// How many were published.
    pub messages: u64,
    /// Those that everybody got who was to.
    pub complete: u64,
    /// Deliveries that were to be made: to each node that lived from the publishing until the
    /// settling (30 s later), on the same side as the origin if the network was split.
    pub owed: u64,
    /// Those of them that were made.
    pub made: u64,
    /// Their share, rounded down to six decimals; none if there were none.
    pub coverage: Option<f64>,
    /// Deliveries to a node that had been given the message before. There should be none.
    pub again: u64,
    /// Copies that nodes received while the network was in this condition, of whichever message.
    pub copies: u64,
    /// Deliveries in the same time.
    pub deliveries: u64,
    /// Copies received per delivery; none if there was none.
    pub redundancy: Option<f64>,
    /// Sessions on the way to each node.
    pub hops: Summary,
    /// The longest way of each message.
    pub last_hops: Summary,
    /// From publishing to each delivery, in milliseconds.
    pub latency_ms: Summary,
    /// From publishing to each message's last delivery, in milliseconds.
    pub last_latency_ms: Summary,
}

/// What became of a time of churn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChurnRow {
    /// When it began.
    pub from_secs: f64,
    /// When it ended.
    pub to_secs: f64,
    /// How many nodes went, each replaced by a newcomer.
    pub replaced: u64,
    /// The share of nodes without a session in a bucket that had somebody in it, in the mean.
    pub lacking: f64,
    /// How long after its end every node had all that it should have again; none: not until the
    /// end.
    pub mended_secs: Option<f64>,
}

/// What became of a kill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KillRow {
    /// When it was.
    pub at_secs: f64,
    /// How many nodes went.
    pub killed: usize,
    /// How many did not.
    pub survivors: usize,
    /// Whether the survivors were still connected over the sessions left among them.
    pub connected: bool,
    /// How long after it every node had all that it should have again; none: not until the end.
    pub mended_secs: Option<f64>,
}

/// What became of a partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionRow {
    /// When it began.
    pub at_secs: f64,
    /// When it was healed.
    pub healed_at_secs: f64,
    /// How many nodes were cut off, and how many they were cut off from, when it began.
    pub sides: [usize; 2],
    /// How long after the healing every node could be reached from every other over sessions.
    pub connected_secs: Option<f64>,
    /// How long after it all of a batch of messages across the former border were delivered.
    pub routed_secs: Option<f64>,
    /// The later of the two: how long until there was one overlay again; none: not until the end.
    pub one_secs: Option<f64>,
    /// How long after it every node had all that it should have again; none: not until the end.
    pub mended_secs: Option<f64>,
}

/// How it stood at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// When; negative while nodes were still joining.
    pub secs: f64,
    /// Living nodes.
    pub nodes: usize,
    /// Those of them without a session in a bucket in which there was somebody.
    pub lacking: usize,
    /// Sessions per node, in the mean.
    pub sessions: f64,
    /// Bytes that a node sent per minute since the sample before, in the mean.
    pub bytes: f64,
    /// Whether nothing was going on since the sample before but what nodes do by themselves.
    pub idle: bool,
}

/// Whole distributions.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Histograms {
    /// Sessions per node, when [`Sessions::undisturbed`] was taken.
    pub sessions: Distribution,
    /// Hops of routed messages.
    pub route_hops: Distribution,
    /// Hops of deliveries of broadcasts.
    pub broadcast_hops: Distribution,
    /// Milliseconds from publishing to each delivery.
    pub broadcast_latency_ms: Distribution,
}

impl Report {
    /// As one JSON object, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // There is nothing in it that JSON has no room for.
        serde_json::to_string(self).unwrap_or_default()
    }
}
