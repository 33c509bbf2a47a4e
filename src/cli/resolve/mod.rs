//! From layers of raw text to settings: flag over environment over file over default.
//!
//! Owns: which layer wins, what the texts mean, which combinations are refused. Pure: it reads
//! no environment and no clock, and no file but through [`Machine`]. Only the winning value of a
//! setting is parsed.

mod api;
mod hooks;
mod parse;
mod pick;
mod sim;
mod storage;
#[cfg(test)]
mod tests;
mod trust;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use peerage::{HostPort, NodeConfig, Role, control::hooks::Hook};

pub(crate) use self::{
    api::ApiSettings,
    pick::Origins,
    sim::{SIM_LOG, SimSettings, resolve_sim},
    storage::{Storage, resolve_data_dir},
    trust::TrustFiles,
};
use self::{
    api::resolve_api,
    hooks::resolve_hook,
    parse::{
        parse_addr, parse_bootstrap, parse_dialable, parse_duration, parse_filter, parse_format,
        parse_list, parse_number, parse_role, parse_switch, parse_tags, parse_workers,
    },
    pick::pick,
    storage::resolve_storage,
    trust::{culprits, resolve_trust},
};
use super::{
    error::UsageError,
    layer::{Layers, Sourced},
    limits::LIMITS,
};

/// How many pings of a devnet's node may stay unanswered before it is dead.
const DEVNET_MISSED_PINGS: u32 = 4;

/// What the merge asks of the machine.
pub(crate) struct Machine<'a> {
    /// Where this user's nodes keep things if nobody says where; `None` without a home.
    pub(crate) data_dir: Option<PathBuf>,
    /// Reads a file that a setting names.
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// Everything `peerage run` is told, and by whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The configuration file that was read.
    pub(crate) config: Option<Sourced<PathBuf>>,
    /// What the node is started with.
    pub(crate) node: NodeConfig,
    /// Where the fields of `node` come from.
    pub(crate) node_origins: Origins,
    /// From which files those of `node.trust` were read.
    pub(crate) trust_files: TrustFiles,
    /// Whether to find others on the local network.
    pub(crate) lan: Sourced<bool>,
    /// Where to keep what outlives a run, if anywhere.
    pub(crate) storage: Storage,
    /// Where to serve the control API, if anywhere.
    pub(crate) api: ApiSettings,
    /// The operator's program, if there is one.
    pub(crate) hook: Option<Sourced<Hook>>,
    /// What to log; it is known to parse.
    pub(crate) log: Sourced<String>,
    /// How to log.
    pub(crate) log_format: Sourced<LogFormat>,
}

/// Everything `peerage devnet` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevnetSettings {
    /// How many nodes.
    pub(crate) nodes: usize,
    /// What to log; it is known to parse.
    pub(crate) log: String,
    /// Time from one ping to the next.
    pub(crate) ping_interval: Duration,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// As it is typed.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl Settings {
    /// What holds if nobody says anything, with this directory of the user.
    pub(crate) fn by_default(data_dir: Option<PathBuf>) -> Self {
        Self {
            config: None,
            node: node_of(Role::default()),
            node_origins: Origins::default(),
            trust_files: TrustFiles::default(),
            lan: Sourced::by_default(false),
            storage: Storage::by_default(data_dir),
            api: ApiSettings::default(),
            hook: None,
            log: Sourced::by_default("info".to_owned()),
            log_format: Sourced::by_default(LogFormat::Text),
        }
    }
}

impl Default for DevnetSettings {
    fn default() -> Self {
        Self { nodes: 5, log: "warn".to_owned(), ping_interval: Duration::from_secs(5) }
    }
}

impl DevnetSettings {
    /// Silence after which a node is dead.
    pub(crate) const fn dead_after(&self) -> Duration {
        self.ping_interval.saturating_mul(DEVNET_MISSED_PINGS)
    }
}

/// What a node of this role is started with if nobody says more.
fn node_of(role: Role) -> NodeConfig {
    NodeConfig {
        listen: vec![HostPort::from(std::net::SocketAddr::from(([0, 0, 0, 0], 5999)))],
        ..NodeConfig::for_role(role)
    }
}

/// Merges the layers.
pub(crate) fn resolve(
    layers: &Layers,
    config: Option<Sourced<PathBuf>>,
    machine: &Machine,
) -> Result<Settings, UsageError> {
    let Settings { mut node, mut node_origins, lan, log, log_format, .. } =
        Settings::by_default(None);
    resolve_node(layers, &mut node, &mut node_origins)?;
    resolve_limits(layers, &mut node, &mut node_origins)?;
    let trust_files = resolve_trust(layers, machine, &mut node, &mut node_origins)?;
    node.validate().map_err(|error| {
        let origins = node_origins.of_each(&culprits(&error));
        UsageError::Together { error, origins }
    })?;
    let storage = resolve_storage(layers, machine)?;
    Ok(Settings {
        config,
        node,
        node_origins,
        trust_files,
        lan: pick(layers, "lan", |layer| layer.lan.as_deref(), parse_switch)?.unwrap_or(lan),
        api: resolve_api(layers, &storage)?,
        storage,
        hook: resolve_hook(layers)?,
        log: pick(layers, "log", |layer| layer.log.as_deref(), parse_filter)?.unwrap_or(log),
        log_format: pick(layers, "log-format", |layer| layer.log_format.as_deref(), parse_format)?
            .unwrap_or(log_format),
    })
}

/// Merges the layers of a devnet; the number of nodes is checked already.
pub(crate) fn resolve_devnet(nodes: usize, layers: &Layers) -> Result<DevnetSettings, UsageError> {
    let default = DevnetSettings::default();
    let log = pick(layers, "log", |layer| layer.log.as_deref(), parse_filter)?;
    let ping = pick(layers, "ping-interval", |l| l.ping_interval.as_deref(), parse_duration)?;
    Ok(DevnetSettings {
        nodes,
        log: log.map_or(default.log, |log| log.value),
        ping_interval: ping.map_or(default.ping_interval, |ping| ping.value),
    })
}

/// Where the node is, how it finds others, and its timing.
fn resolve_node(
    layers: &Layers,
    node: &mut NodeConfig,
    origins: &mut Origins,
) -> Result<(), UsageError> {
    let mut role = node.role;
    origins.put("role", pick(layers, "role", |l| l.role.as_deref(), parse_role)?, &mut role);
    // The defaults of all others follow from it.
    *node = node_of(role);
    let addrs = |list: &[String]| parse_list(list, parse_addr);
    let listen = pick(layers, "listen", |l| l.listen.as_deref(), addrs)?;
    origins.put("listen", listen, &mut node.listen);
    let dialable = |text: &str| parse_dialable(text).map(Some);
    let advertise = pick(layers, "advertise", |l| l.advertise.as_deref(), dialable)?;
    origins.put("advertise", advertise, &mut node.advertise);
    let contacts = |list: &[String]| parse_list(list, parse_bootstrap);
    let bootstrap = pick(layers, "bootstrap", |l| l.bootstrap.as_deref(), contacts)?;
    origins.put("bootstrap", bootstrap, &mut node.bootstrap);
    let tags = pick(layers, "tag", |l| l.tag.as_deref(), parse_tags)?;
    origins.put("tag", tags, &mut node.tags);
    let ping = pick(layers, "ping-interval", |l| l.ping_interval.as_deref(), parse_duration)?;
    origins.put("ping-interval", ping, &mut node.liveness.ping_interval);
    let dead = pick(layers, "dead-after", |l| l.dead_after.as_deref(), parse_duration)?;
    origins.put("dead-after", dead, &mut node.liveness.dead_after);
    let hello =
        pick(layers, "handshake-timeout", |l| l.handshake_timeout.as_deref(), parse_duration)?;
    origins.put("handshake-timeout", hello, &mut node.session.handshake_timeout);
    let workers = pick(layers, "workers", |l| l.workers.as_deref(), parse_workers)?;
    origins.put("workers", workers, &mut node.workers);
    Ok(())
}

/// What others can make the node do at most.
fn resolve_limits(
    layers: &Layers,
    node: &mut NodeConfig,
    origins: &mut Origins,
) -> Result<(), UsageError> {
    for limit in &LIMITS {
        let picked = pick(
            layers,
            limit.key,
            |layer| layer.limits.get(limit.key).map(String::as_str),
            |text| parse_number(text, &limit.range),
        )?;
        let mut value = (limit.get)(node);
        origins.put(limit.key, picked, &mut value);
        (limit.set)(node, value);
    }
    Ok(())
}
