//! Where a node keeps what outlives a run, if it keeps anything.

use std::path::PathBuf;

use super::{
    Machine,
    parse::{parse_path, parse_switch},
    pick::{parsed, pick},
};
use crate::cli::{
    error::UsageError,
    layer::{Layers, Sourced},
};

/// The data directory, `None` for an ephemeral node, and whether the node is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Where to keep what outlives a run.
    pub(crate) data_dir: Sourced<Option<PathBuf>>,
    /// Keep nothing.
    pub(crate) ephemeral: Sourced<bool>,
}

impl Storage {
    /// What holds if nobody says anything, with this directory of the user.
    pub(super) fn by_default(data_dir: Option<PathBuf>) -> Self {
        Self { data_dir: Sourced::by_default(data_dir), ephemeral: Sourced::by_default(false) }
    }
}

/// `--data-dir` and `--ephemeral`: the strongest layer that says either decides; one layer that
/// says both is an error; `--ephemeral=false` only takes back what weaker layers say.
pub(super) fn resolve_storage(layers: &Layers, machine: &Machine) -> Result<Storage, UsageError> {
    let mut data_dir = None;
    let mut ephemeral: Option<Sourced<bool>> = None;
    for (origin, layer) in layers.strongest_first() {
        let dir = layer.data_dir.as_deref().map(|dir| parsed(&origin, "data-dir", dir, parse_path));
        let is_ephemeral = layer.ephemeral.as_deref();
        let is_ephemeral = is_ephemeral.map(|on| parsed(&origin, "ephemeral", on, parse_switch));
        let (dir, is_ephemeral) = (dir.transpose()?, is_ephemeral.transpose()?);
        if dir.is_some() && is_ephemeral == Some(true) {
            return Err(UsageError::Exclusive(origin, ["data-dir", "ephemeral"]));
        }
        let is_decided = data_dir.is_some() || ephemeral.as_ref().is_some_and(|on| on.value);
        if is_decided {
            continue;
        }
        if let Some(value) = is_ephemeral.or(dir.is_some().then_some(false))
            && ephemeral.is_none()
        {
            ephemeral = Some(Sourced { value, origin: origin.clone() });
        }
        if let Some(dir) = dir {
            data_dir = Some(Sourced { value: Some(dir), origin });
        }
    }
    let ephemeral = ephemeral.unwrap_or(Sourced::by_default(false));
    let data_dir = match data_dir {
        Some(dir) => dir,
        None if ephemeral.value => Sourced::by_default(None),
        None => Sourced::by_default(Some(default_dir(machine)?)),
    };
    Ok(Storage { data_dir, ephemeral })
}

/// The directory that `peerage id` looks into. What a node would keep in memory is none of its
/// business, so `ephemeral` does not count.
pub(crate) fn resolve_data_dir(layers: &Layers, machine: &Machine) -> Result<PathBuf, UsageError> {
    match pick(layers, "data-dir", |layer| layer.data_dir.as_deref(), parse_path)? {
        Some(Sourced { value, .. }) => Ok(value),
        None => default_dir(machine),
    }
}

/// The user's directory.
fn default_dir(machine: &Machine) -> Result<PathBuf, UsageError> {
    machine.data_dir.clone().ok_or(UsageError::NoHome)
}
