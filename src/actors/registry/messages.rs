//! What the registry is told and asked, and what it tells.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;

use crate::{
    actors::{
        discovery::BanNews,
        session::{PeerHandle, SessionHandle},
    },
    address::HostPort,
    clock::Moment,
    ids::{LinkId, NodeId},
    peer::{Channel, Direction, PeerInfo},
    proto::bans::{Ban, BanChange, BanError, Target},
    reason::CloseReason,
    wire::{Hello, Tags},
};

/// From a session: what happened to its link. Bounded: one of each kind per link, a pong per ping,
/// and new tags at most once a second.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LinkEvent {
    /// The link.
    pub link: LinkId,
    /// What happened.
    pub news: LinkNews,
}

/// What happens to a link, in this order.
#[derive(Debug)]
pub enum LinkNews {
    /// A connection was made.
    Opened {
        /// Who dialled.
        direction: Direction,
        /// The other end.
        remote: HostPort,
        /// How to reach the session.
        handle: Arc<SessionHandle>,
    },
    /// The peer's hello came and is good. Answered by `Admit` or `Close`, at once or, while the
    /// peer has to choose between two sessions, a little later.
    Greeted(Box<Hello>, Channel),
    /// The peer answered a ping after this long.
    Pong(Duration),
    /// The peer's tags are these now.
    Presence(Tags),
    /// The link begins to close; it is no session from here on.
    Closing(CloseReason),
    /// The link is gone with all it had.
    Closed(CloseReason),
}

/// A connected peer: what is known of it, and how to reach it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What the table says.
    pub info: PeerInfo,
    /// How to reach it.
    pub handle: PeerHandle,
}

/// To subscribers: a peer came, went, or says something else of itself. `Up` and `Down` of one peer
/// alternate, and each `Changed` is between the two, at most one a second.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum PeerEvent {
    /// There is a session with this peer.
    Up(Peer),
    /// What this peer says of itself has changed: its tags.
    Changed(Peer),
    /// The session has ended.
    Down {
        /// The peer, as it was.
        peer: Peer,
        /// Why.
        reason: CloseReason,
    },
}

/// Has all later [`PeerEvent`]s sent to an actor, after an `Up` for each peer that is there now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<PeerEvent>);

/// Asks for the table of peers, by id.
#[derive(Debug, Message)]
#[rtype(result = "Vec<PeerInfo>")]
pub struct PeerList;

/// Ends the session with a peer. Whether there was one.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Disconnect {
    /// The peer.
    pub id: NodeId,
    /// The reason it is told.
    pub reason: CloseReason,
}

/// Bans a target and closes what it has here, with `banned`. Answered when the ban is kept, if there
/// is a store.
#[derive(Debug, Message)]
#[rtype(result = "Result<Ban, BanError>")]
pub struct BanTarget {
    /// Who.
    pub target: Target,
    /// From now.
    pub lasts: Duration,
    /// The operator's words.
    pub note: String,
}

/// Takes back what is held against a target, a discouragement included. Whether there was anything.
/// Answered when that is kept, if there is a store; a store that fails is noted in the journal.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct LiftBan(pub Target);

/// Asks for the bans, by target.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Ban>")]
pub struct BanList;

/// Asks who is discouraged until when, by target.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(Target, Moment)>")]
pub struct DiscouragedList;

/// Has what is held against whom told to an actor: what there is now, and every later change. One
/// actor; a second one takes the first one's place.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReportBans(pub Recipient<BanNews>);

/// To the store: changes of the bans, in order. Whether they are kept. One per change that the
/// operator makes, and one when bans end.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct SaveBans(pub Vec<BanChange>);

/// From discovery: what the name of a bootstrap stands for now. Who is there is never discouraged by
/// itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct BootstrapResolved {
    /// The name, as the operator gave it.
    pub name: HostPort,
    /// Its addresses.
    pub addrs: Vec<HostPort>,
}

/// From discovery: where this node can be dialled, to be told to peers.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Announce(pub Option<HostPort>);

/// From discovery: some addresses that a peer may try instead when this node is full.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Elsewhere(pub Arc<[(HostPort, NodeId)]>);

/// Closes all sessions, and every later one; answered when they are all gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ShutDown;

/// Ends the actor. Sent by the node when it stops, after everything that needs the actor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;
