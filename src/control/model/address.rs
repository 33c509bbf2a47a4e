//! What the node knows of addresses, and from whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use crate::{
    BookEntry,
    proto::{address_entry::Source, address_record::Shelf},
};

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    /// The address.
    pub addr: String,
    /// Who is there, as proven, else as told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `new`: hearsay. `tried`: proven. `cold`: proven once, silent since, retried slowly.
    pub shelf: String,
    /// Who told it: `bootstrap` or `manual`, the operator; `declared`, the node that listens there; `told`,
    /// another node; else the extension that found it, such as `lan`.
    pub source: String,
    /// Which node told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_by: Option<String>,
    /// From which address that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_from: Option<String>,
    /// When it was first heard of.
    pub heard_ms: u64,
    /// When a handshake was last completed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_ms: Option<u64>,
    /// When it was last dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_ms: Option<u64>,
    /// What came of that: `hello`, or the reason code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Failed dials since the last success.
    pub failures: u32,
    /// When it may be dialled next, if it is dialled at all.
    pub next_try_ms: u64,
    /// The operator named it in this run.
    pub given: bool,
    /// It is the node's own.
    pub own: bool,
}

impl From<&BookEntry> for Address {
    fn from(entry: &BookEntry) -> Self {
        let shelf = match entry.shelf {
            Shelf::New => "new",
            Shelf::Tried => "tried",
            Shelf::Cold => "cold",
        };
        let (source, told_by) = match &entry.source {
            Source::Bootstrap => ("bootstrap", None),
            Source::Manual => ("manual", None),
            Source::Declared(id) => ("declared", Some(id)),
            Source::Told(id) => ("told", Some(id)),
            Source::Found(by) => (by.name(), None),
        };
        Self {
            addr: entry.addr.to_string(),
            id: entry.id.map(|id| id.to_string()),
            shelf: shelf.to_owned(),
            source: source.to_owned(),
            told_by: told_by.map(|id| id.to_string()),
            told_from: entry.told_from.map(|ip| ip.to_string()),
            heard_ms: at(entry.heard),
            proven_ms: entry.proven.map(at),
            tried_ms: entry.tried.map(at),
            outcome: entry.outcome.clone(),
            failures: entry.failures,
            next_try_ms: at(entry.next_try),
            given: entry.given,
            own: entry.own,
        }
    }
}

/// All known addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Addresses {
    /// They.
    pub addresses: Vec<Address>,
}
