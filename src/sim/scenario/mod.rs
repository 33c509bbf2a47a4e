//! What is to happen in a simulated network: the whole of one experiment, as data.
//!
//! A [`Scenario`] says how many nodes join, how, and what befalls them afterwards. Times count from
//! the moment at which the last node has joined. It reads from TOML ([`Scenario::from_toml`]); every
//! field has a default, so the empty text is a scenario too: a thousand quiet nodes for an hour.

mod check;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::Latency;

pub use check::ScenarioError;

/// The most nodes of one scenario, newcomers not counted.
pub const MAX_NODES: usize = 100_000;

/// The longest run after the joining.
pub const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The most bytes that one message of a load carries.
pub const MAX_BYTES: usize = 512 * 1024;

/// One experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Scenario {
    /// How many nodes join at the beginning; 2 to [`MAX_NODES`].
    #[serde(deserialize_with = "text::nodes")]
    pub nodes: usize,
    /// Where all randomness comes from: the same scenario and seed give the same report.
    pub seed: u64,
    /// How long the network runs once all have joined; 1 s to [`MAX_TIME`].
    #[serde(rename = "for", with = "text::time")]
    pub lasts: Duration,
    /// How many nodes join per second. The first is the bootstrap of all others, and nothing ever
    /// happens to it.
    #[serde(deserialize_with = "text::rate")]
    pub join_rate: f64,
    /// Whether nodes have keys and sign what they originate. Without, ids are random.
    pub signatures: bool,
    /// The share of nodes that nobody can dial, as behind a NAT; newcomers, too.
    #[serde(deserialize_with = "text::share")]
    pub nat_share: f64,
    /// The share of dials that get no answer.
    #[serde(deserialize_with = "text::share")]
    pub dial_loss: f64,
    /// How far apart nodes are.
    #[serde(with = "text::latency")]
    pub latency: Latency,
    /// Decisions that each node's journal keeps. An ordinary node keeps 4,096; here it is less by
    /// default, because ten thousand journals would need gigabytes.
    #[serde(deserialize_with = "text::entries")]
    pub journal_entries: usize,
    /// Times in which nodes come and go.
    pub churn: Vec<Churn>,
    /// Moments at which many nodes go.
    pub kill: Vec<Kill>,
    /// Times in which the network is split in two.
    pub partition: Vec<Partition>,
    /// Messages from one node to another.
    pub route: Vec<RouteLoad>,
    /// Messages from one node to all. No two may overlap in time.
    pub broadcast: Vec<BroadcastLoad>,
}

/// How a node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leave {
    /// Its program dies: its connections are cut without a word.
    #[default]
    Crash,
    /// Its power fails: nobody is told anything, and peers find out by waiting.
    Vanish,
    /// It is stopped, and says so.
    Stop,
}

/// A time in which nodes go, each replaced at once by a newcomer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Churn {
    /// When it begins.
    #[serde(default, with = "text::time")]
    pub from: Duration,
    /// How long; without, until the end.
    #[serde(default, rename = "for", with = "text::some_time")]
    pub lasts: Option<Duration>,
    /// The share of all nodes that go each minute.
    #[serde(deserialize_with = "text::share")]
    pub share_per_minute: f64,
    /// How.
    #[serde(default)]
    pub leave: Leave,
}

/// A moment at which many nodes go, and nobody comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kill {
    /// When.
    #[serde(with = "text::time")]
    pub at: Duration,
    /// The share of the nodes that live then.
    #[serde(deserialize_with = "text::share")]
    pub share: f64,
    /// How.
    #[serde(default)]
    pub leave: Leave,
    /// Messages sent between random survivors right afterwards, before anything is repaired.
    #[serde(default = "Kill::probes", deserialize_with = "text::probes")]
    pub probes: usize,
    /// The time over which these are spread evenly, and for which every other message counts as
    /// sent right after the kill, too.
    #[serde(default = "Kill::within", with = "text::time")]
    pub within: Duration,
}

impl Kill {
    const fn probes() -> usize {
        2000
    }

    const fn within() -> Duration {
        Duration::from_secs(1)
    }
}

/// A time in which the network is split in two that do not reach each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Partition {
    /// When it begins.
    #[serde(with = "text::time")]
    pub at: Duration,
    /// How long.
    #[serde(rename = "for", with = "text::time")]
    pub lasts: Duration,
    /// The share of nodes that are cut off from the others. The bootstrap is with the others, and
    /// so is whoever joins meanwhile.
    #[serde(default = "Partition::share", deserialize_with = "text::share")]
    pub share: f64,
}

impl Partition {
    const fn share() -> f64 {
        0.5
    }
}

/// Messages, each from a random living node to another random living node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RouteLoad {
    /// What the report calls it.
    #[serde(default)]
    pub name: Option<String>,
    /// When it begins.
    #[serde(default, with = "text::time")]
    pub from: Duration,
    /// How long; without, until the end.
    #[serde(default, rename = "for", with = "text::some_time")]
    pub lasts: Option<Duration>,
    /// How many messages a minute, in the whole network.
    #[serde(deserialize_with = "text::rate")]
    pub per_minute: f64,
    /// What each carries; up to [`MAX_BYTES`].
    #[serde(default, deserialize_with = "text::bytes")]
    pub bytes: usize,
}

/// Messages to all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BroadcastLoad {
    /// What the report calls it.
    #[serde(default)]
    pub name: Option<String>,
    /// When it begins.
    #[serde(default, with = "text::time")]
    pub from: Duration,
    /// How long; without, until the end.
    #[serde(default, rename = "for", with = "text::some_time")]
    pub lasts: Option<Duration>,
    /// How many messages a minute, in the whole network.
    #[serde(deserialize_with = "text::rate")]
    pub per_minute: f64,
    /// What each carries; up to [`MAX_BYTES`].
    #[serde(default, deserialize_with = "text::bytes")]
    pub bytes: usize,
    /// Who publishes.
    #[serde(default)]
    pub origins: Origins,
}

/// Who publishes the messages of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origins {
    /// One node, chosen at random; another once that has gone.
    One,
    /// Another random node each time.
    #[default]
    Random,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 1000,
            seed: 7,
            lasts: Duration::from_secs(3600),
            join_rate: 20.0,
            signatures: true,
            nat_share: 0.0,
            dial_loss: 0.0,
            latency: Latency::default(),
            journal_entries: 64,
            churn: Vec::new(),
            kill: Vec::new(),
            partition: Vec::new(),
            route: Vec::new(),
            broadcast: Vec::new(),
        }
    }
}

impl Scenario {
    /// The end of what begins at `from` and lasts so long, or until the end of the run.
    #[must_use]
    pub fn end_of(&self, from: Duration, lasts: Option<Duration>) -> Duration {
        lasts.map_or(self.lasts, |lasts| from.saturating_add(lasts))
    }

    /// The pause between two joins.
    #[must_use]
    pub fn join_pause(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.join_rate).unwrap_or(Duration::MAX)
    }

    /// How long the joining takes: the last node joins at its end.
    #[must_use]
    pub fn joining(&self) -> Duration {
        let n = u32::try_from(self.nodes.saturating_sub(1)).unwrap_or(u32::MAX);
        self.join_pause().saturating_mul(n)
    }
}
