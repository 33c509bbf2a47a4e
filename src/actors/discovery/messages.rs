//! What discovery is told and asked.

use actix::prelude::*;
use thiserror::Error;

use crate::{
    actors::session::{Credit, PeerHandle},
    address::HostPort,
    clock::Moment,
    ids::NodeId,
    proto::explorer::DialResult,
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
    /// When this node last completed a handshake there.
    pub proven: Option<Moment>,
    /// Failed dials since.
    pub failures: u32,
    /// It is retried only slowly.
    pub cold: bool,
    /// It is this node's own.
    pub own: bool,
}
