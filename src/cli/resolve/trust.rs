//! Who may be a peer: the network's name and secret, and the list of ids.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use peerage::{NetworkKey, NodeConfig, NodeId, config::ConfigError};

use super::{
    Machine,
    parse::{Wrong, parse_allowed, parse_duration, parse_list, parse_path, parse_security},
    pick::{Origins, parsed, pick},
};
use crate::cli::{
    error::UsageError,
    layer::{Layers, Origin, Sourced},
};

/// Which files say who may be a peer, besides what the node's configuration holds of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustFiles {
    /// The file of the network's secret.
    pub(crate) network_key: Option<PathBuf>,
    /// The file of the allowed ids; none if they stand in the configuration file itself.
    pub(crate) allow: Option<PathBuf>,
}

/// `--security`, `--network`, `--network-key`, `--allow`, `--discourage-for`.
pub(super) fn resolve_trust(
    layers: &Layers,
    machine: &Machine,
    node: &mut NodeConfig,
    origins: &mut Origins,
) -> Result<TrustFiles, UsageError> {
    let security = pick(layers, "security", |l| l.security.as_deref(), parse_security)?;
    origins.put("security", security, &mut node.security);
    let network = pick(layers, "network", |l| l.network.as_ref(), |name| Ok(name.clone()))?;
    origins.put("network", network, &mut node.network);
    let discourage =
        pick(layers, "discourage-for", |l| l.discourage_for.as_deref(), parse_duration)?;
    origins.put("discourage-for", discourage, &mut node.trust.discourage_for);

    let mut files = TrustFiles::default();
    let path = pick(layers, "network-key", |l| l.network_key.as_deref(), parse_path)?;
    if let Some(Sourced { value: path, origin }) = path {
        let key = parsed(&origin, "network-key", path.as_path(), |path| read_key(path, machine))?;
        let picked = Sourced { value: Some(key), origin };
        origins.put("network-key", Some(picked), &mut node.trust.network_key);
        files.network_key = Some(path);
    }
    if let Some((path, Sourced { value, origin })) = resolve_allow(layers, machine)? {
        let picked = Sourced { value: Some(value), origin };
        origins.put("allow", Some(picked), &mut node.trust.allow);
        files.allow = path;
    }
    Ok(files)
}

/// The secret in a file.
fn read_key(path: &Path, machine: &Machine) -> Result<NetworkKey, Wrong> {
    let shown = || path.display().to_string();
    let bytes = (machine.read)(path)
        .map_err(|error| Wrong { part: shown(), why: format!("cannot read it: {error}") })?;
    NetworkKey::new(&bytes).map_err(|error| Wrong { part: shown(), why: error.to_string() })
}

/// The allowed ids, and the file that they were read from unless it is the configuration itself.
type Allowed = (Option<PathBuf>, Sourced<BTreeSet<NodeId>>);

/// `--allow`, or `[trust] allow` of the configuration file, which are two ways to say the same: a
/// stronger layer replaces the whole list, and one file says it in one way.
fn resolve_allow(layers: &Layers, machine: &Machine) -> Result<Option<Allowed>, UsageError> {
    for (origin, layer) in layers.strongest_first() {
        match (&layer.allow, &layer.allowed) {
            (None, None) => {}
            (Some(_), Some(_)) => {
                return Err(UsageError::Exclusive(origin, ["allow", "trust.allow"]));
            }
            (Some(path), None) => {
                let path = parsed(&origin, "allow", path.as_path(), parse_path)?;
                let value = read_allow(&path, &origin, machine)?;
                return Ok(Some((Some(path), Sourced { value, origin })));
            }
            (None, Some(ids)) => {
                let ids = parsed(&origin, "trust.allow", ids.as_slice(), |ids: &[String]| {
                    parse_list(ids, parse_allowed)
                })?;
                if ids.is_empty() {
                    return Err(UsageError::AllowsNobody(origin.of("trust.allow")));
                }
                let value = ids.into_iter().collect();
                return Ok(Some((None, Sourced { value, origin })));
            }
        }
    }
    Ok(None)
}

/// The ids in a file: one a line, with `#` before what is meant for people.
fn read_allow(
    path: &Path,
    origin: &Origin,
    machine: &Machine,
) -> Result<BTreeSet<NodeId>, UsageError> {
    let bytes = parsed(origin, "allow", path, |path| {
        let wrong = |error| Wrong {
            part: path.display().to_string(),
            why: format!("cannot read it: {error}"),
        };
        (machine.read)(path).map_err(wrong)
    })?;
    let mut ids = BTreeSet::new();
    for (nth, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        let id = line.split('#').next().unwrap_or_default().trim();
        if id.is_empty() {
            continue;
        }
        let id = parse_allowed(id).map_err(|Wrong { part, why }| UsageError::Line {
            path: path.to_path_buf(),
            line: nth + 1,
            value: part,
            why,
        })?;
        ids.insert(id);
    }
    if ids.is_empty() {
        return Err(UsageError::AllowsNobody(path.display().to_string()));
    }
    Ok(ids)
}

/// The settings that an error of the node's configuration speaks of.
pub(super) fn culprits(error: &ConfigError) -> Vec<&'static str> {
    match error {
        ConfigError::PingAboveDeadAfter { .. } => vec!["ping-interval", "dead-after"],
        ConfigError::NeedsEncryption(key) => vec![key, "security"],
        ConfigError::Zero(key)
        | ConfigError::BelowLine(key)
        | ConfigError::BadName(key)
        | ConfigError::TooLong { name: key, .. } => vec![key],
        ConfigError::Tags(_) => vec!["tag"],
        ConfigError::AllowsUnproven(_) => vec!["allow"],
        ConfigError::Advertise(..) => vec!["advertise"],
    }
}
