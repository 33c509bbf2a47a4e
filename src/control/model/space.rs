//! Spaces: what they hold, and what can be asked of them and told to them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, millis};
use crate::{
    clock::Moment,
    spaces::{Entry, Imported, JsonValue, SpaceState, Version},
};

/// The spaces that a node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceList {
    /// By name.
    pub spaces: Vec<SpaceEntry>,
}

/// A space that a node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceEntry {
    /// Its name.
    pub name: String,
    /// Its id: it follows from the name and the writers, so it is the same on all nodes.
    pub id: String,
    /// Who may write to it; everybody if there are none.
    pub writers: Vec<String>,
    /// Whether the node is in it; false after it has been left.
    pub joined: bool,
    /// How many of the node's peers are in it.
    pub peers: usize,
    /// How many records it holds, deletions included.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long ago the node last had all that another one had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_step_ms: Option<u64>,
    /// The number of the latest change.
    pub seq: u64,
    /// Says the same on two nodes that hold the same records, and nothing more: 16 hexadecimal digits.
    pub sum: String,
}

impl SpaceEntry {
    /// A space, at this time.
    #[must_use]
    pub fn of(state: &SpaceState, now: Moment) -> Self {
        let SpaceState { info, peers } = state;
        Self {
            name: info.spec.name().to_string(),
            id: info.spec.id().to_string(),
            writers: info.spec.writers().iter().map(ToString::to_string).collect(),
            joined: info.is_joined,
            peers: *peers,
            records: info.holds.records,
            bytes: info.holds.bytes,
            in_step_ms: info.in_step.map(|then| millis(now.since(then))),
            seq: info.seq,
            sum: hex::encode(info.root),
        }
    }
}

/// A space to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Its name: 1 to 64 bytes, no control characters, no slash.
    pub name: String,
    /// Who may write to it: node ids, or how no other known one begins. Everybody if there are none. A
    /// space of the same name with other writers is another space.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 256)]
    pub writers: Vec<String>,
}

/// A space to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaveRequest {
    /// Its name.
    pub name: String,
    /// Whether to delete the node's copy of its records. Other nodes keep theirs.
    #[serde(default)]
    pub forget: bool,
}

/// A value for a key: either a text or bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// The key: 1 to 1,024 bytes.
    pub key: String,
    /// The value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// A key to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// The key.
    pub key: String,
}

/// It is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written {
    /// The number of the change.
    pub seq: u64,
    /// When it was written.
    pub time_ms: u64,
}

impl From<Version> for Written {
    fn from(version: Version) -> Self {
        Self { seq: version.seq, time_ms: at(version.time.moment()) }
    }
}

/// A key without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyEntry {
    /// The key.
    pub key: String,
    /// How many bytes its value has.
    pub bytes: usize,
    /// When it was written, by the writer's clock.
    pub time_ms: u64,
    /// By whom.
    pub writer: String,
    /// Whether that is proven.
    pub proven: bool,
    /// The number of the change.
    pub seq: u64,
}

impl From<&Entry> for KeyEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            key: entry.key.to_string(),
            bytes: entry.value.as_ref().map_or(0, bytes::Bytes::len),
            time_ms: at(entry.time.moment()),
            writer: entry.writer.to_string(),
            proven: entry.proven,
            seq: entry.seq,
        }
    }
}

/// Some keys of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyPage {
    /// In the order of their bytes.
    pub keys: Vec<KeyEntry>,
    /// Whether there are more: ask for those after the last.
    pub more: bool,
}

/// A key and its value: as text if it is that, otherwise in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueEntry {
    /// The key.
    pub key: String,
    /// The value, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// When it was written, by the writer's clock.
    pub time_ms: u64,
    /// By whom.
    pub writer: String,
    /// Whether that is proven.
    pub proven: bool,
    /// The number of the change.
    pub seq: u64,
}

impl ValueEntry {
    fn of(entry: &Entry, value: &[u8]) -> Self {
        let JsonValue { value, base64 } = JsonValue::of(value);
        let KeyEntry { key, time_ms, writer, proven, seq, .. } = entry.into();
        Self { key, value, base64, time_ms, writer, proven, seq }
    }
}

impl From<&Entry> for ValueEntry {
    fn from(entry: &Entry) -> Self {
        Self::of(entry, entry.value.as_deref().unwrap_or_default())
    }
}

/// What came of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// Lines that were written.
    pub written: usize,
    /// Lines whose keys had those values already.
    pub unchanged: usize,
}

impl std::ops::AddAssign<Imported> for ImportReport {
    fn add_assign(&mut self, more: Imported) {
        self.written += more.written;
        self.unchanged += more.unchanged;
    }
}

/// A change of a space, as it is told to those who watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum SpaceEvent {
    /// A key has this value now.
    Set(ValueEntry),
    /// A key was deleted. `bytes` is 0.
    Delete(KeyEntry),
    /// Changes before the next one may be missing: deletions that are forgotten. Whoever has to know reads
    /// the space again.
    Missed,
}

impl SpaceEvent {
    /// What it is, as `event` says it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Delete(_) => "delete",
            Self::Missed => "missed",
        }
    }
}

impl From<&Entry> for SpaceEvent {
    fn from(entry: &Entry) -> Self {
        match &entry.value {
            Some(value) => Self::Set(ValueEntry::of(entry, value)),
            None => Self::Delete(entry.into()),
        }
    }
}
