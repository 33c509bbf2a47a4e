//! What discovery is told and asked.

use std::net::IpAddr;

use actix::prelude::*;
use thiserror::Error;

use crate::{
    actors::session::{Credit, PeerHandle},
    address::HostPort,
    clock::Moment,
    ids::NodeId,
    proto::{
        address_entry::{NotTaken, Source},
        address_record::{AddressChange, Shelf},
        bans::{Target, Verdict},
        explorer::DialResult,
        finder::{Finder, Finding},
    },
    reason::CloseReason,
    wire::AddrEntry,
};

/// From a session: what its peer told or asked. Bounded by the session's credits.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromPeer {
    /// The peer, and the way to answer it.
    pub from: PeerHandle,
    /// What it said.
    pub question: Question,
    /// Lets the session read on when this is done.
    pub credit: Credit,
}

/// What a peer says to discovery.
#[derive(Debug)]
pub enum Question {
    /// Addresses.
    Addrs(Vec<AddrEntry>),
    /// It could do without the session.
    Spare,
    /// A question for addresses.
    GetAddr {
        /// Prefer nodes close to this id.
        near: Option<NodeId>,
        /// No more than this many.
        max: Option<usize>,
    },
}

/// What became of a dial; one for each.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Dialled {
    /// The address that was dialled.
    pub addr: HostPort,
    /// How it went.
    pub result: DialResult,
}

/// From the dialer: what became of a bootstrap name.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resolved {
    /// The name.
    pub name: HostPort,
    /// Its addresses, or the resolver's words.
    pub addrs: Result<Vec<HostPort>, String>,
}

/// Why a dial that somebody asked for led to no session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DialError {
    /// Nobody could dial this address.
    #[error("cannot dial this address: {0}")]
    BadAddress(&'static str),
    /// The dial ended without a session.
    #[error("{reason}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Failed {
        /// Why.
        reason: CloseReason,
        /// More for a person.
        detail: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Dials an address now, however many sessions there are. Answers with the id of who is there,
/// once there is a session (also if it was there before).
#[derive(Debug, Message)]
#[rtype(result = "Result<NodeId, DialError>")]
pub struct DialNow(pub HostPort);

/// From an extension: it has found an address. Answered with whether that is new, or why it was not
/// taken. Whoever sends it waits for the answer.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, NotTaken>")]
pub struct Found {
    /// Who.
    pub by: Finder,
    /// What.
    pub finding: Finding,
}

/// From the registry: somebody is not wanted until a moment, or is again (`None`). Bounded by the
/// number of bans and discouragements.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct BanNews {
    /// Who.
    pub target: Target,
    /// What for.
    pub verdict: Verdict,
    /// Until when; nothing is held against it any more if there is none.
    pub until: Option<Moment>,
}

/// To the store: keep these changes of the book. Answered with whether they were kept; if not, they
/// come again. At most one is under way.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "bool")]
pub struct SaveAddresses(pub Vec<AddressChange>);

/// Asks what is known of addresses.
#[derive(Debug, Message)]
#[rtype(result = "Vec<BookEntry>")]
pub struct Book;

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookEntry {
    /// The address.
    pub addr: HostPort,
    /// Who is there: as proven, else as told.
    pub id: Option<NodeId>,
    /// Which part of the book it stands in.
    pub shelf: Shelf,
    /// Who told it.
    pub source: Source,
    /// From which address that was told; none if the operator said it.
    pub told_from: Option<IpAddr>,
    /// When it was first heard of.
    pub heard: Moment,
    /// When this node last completed a handshake there.
    pub proven: Option<Moment>,
    /// When it was last dialled.
    pub tried: Option<Moment>,
    /// What came of the last dial: `hello`, or the reason code of the failure.
    pub outcome: Option<String>,
    /// Failed dials since the last success.
    pub failures: u32,
    /// When it may be dialled next, if it is dialled at all.
    pub next_try: Moment,
    /// The operator or the program named it in this run: it stands outside the buckets.
    pub given: bool,
    /// It is retried only slowly.
    pub cold: bool,
    /// It is this node's own.
    pub own: bool,
}
