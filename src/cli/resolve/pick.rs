//! Which layer wins, and what is remembered of it.

use std::collections::BTreeMap;

use super::parse::Wrong;
use crate::cli::{
    error::UsageError,
    layer::{Layer, Layers, Origin, Sourced},
};

/// Where the fields of a [`NodeConfig`](peerage::NodeConfig) come from, by the keys of the
/// settings; those that nobody set are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    /// Where a setting comes from.
    pub(crate) fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The settings among these, and where each comes from.
    pub(super) fn of_each(&self, keys: &[&'static str]) -> Vec<(&'static str, Origin)> {
        keys.iter().map(|key| (*key, self.of(key))).collect()
    }

    /// Stores what was picked for a setting, if anything was.
    pub(super) fn put<T>(&mut self, key: &'static str, picked: Option<Sourced<T>>, value: &mut T) {
        if let Some(picked) = picked {
            *value = picked.value;
            self.0.insert(key, picked.origin);
        }
    }
}

/// The value of a setting in the strongest layer that has one. Only that is parsed.
pub(super) fn pick<'a, T: 'a + ?Sized, R>(
    layers: &'a Layers,
    key: &'static str,
    get: impl Fn(&'a Layer) -> Option<&'a T>,
    parse: impl Fn(&'a T) -> Result<R, Wrong>,
) -> Result<Option<Sourced<R>>, UsageError> {
    let found = layers.strongest_first().find_map(|(origin, layer)| Some((origin, get(layer)?)));
    let Some((origin, raw)) = found else { return Ok(None) };
    let value = parsed(&origin, key, raw, parse)?;
    Ok(Some(Sourced { value, origin }))
}

/// One raw value, parsed; the error says where it stands.
pub(super) fn parsed<'a, T: ?Sized, R>(
    origin: &Origin,
    key: &'static str,
    raw: &'a T,
    parse: impl Fn(&'a T) -> Result<R, Wrong>,
) -> Result<R, UsageError> {
    parse(raw).map_err(|Wrong { part, why }| UsageError::BadValue {
        key,
        origin: origin.clone(),
        value: part,
        why,
    })
}
