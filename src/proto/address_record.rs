//! What of an address outlives a run.

use std::net::IpAddr;

use crate::{address::HostPort, clock::Moment, ids::NodeId, proto::address_entry::Source};

/// Which part of the book an address stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Hearsay: this node has not completed a handshake there.
    New,
    /// Proven.
    Tried,
    /// Proven once, silent since, retried slowly.
    Cold,
}

/// One address, as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRecord {
    /// The address.
    pub addr: HostPort,
    /// The node there: as proven, else as told.
    pub id: Option<NodeId>,
    /// Which part of the book it stands in.
    pub shelf: Shelf,
    /// Who told it first.
    pub source: Source,
    /// From which address that was told; none if the operator said it.
    pub told_from: Option<IpAddr>,
    /// When it was first heard of.
    pub heard: Moment,
    /// When this node last completed a handshake there.
    pub proven: Option<Moment>,
    /// When it was last dialled.
    pub tried: Option<Moment>,
    /// Failed dials since the last success.
    pub failures: u32,
}

/// A change to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressChange {
    /// The address is new, or something about it is.
    Put(Box<AddressRecord>),
    /// The address was forgotten.
    Gone(HostPort),
}
