//! What the router is told and asked, and what it tells.

use std::{borrow::Cow, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    extension::PeerMessage,
    ids::NodeId,
    overlay::inbox::Permit,
    proto::routing::{Head, Reply, RoutingCounts},
    wire::Flat,
};

/// On the wire: a message on its way to one node; its body is the attachment.
impl PeerMessage for Head {
    const MSGTYPE: &'static str = "route";

    fn write(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        self.write(json);
        Ok(())
    }

    fn read(line: Flat<'_, '_>) -> Option<Self> {
        Self::of_flat(line)
    }
}

/// On the wire: what became of it, on its way back.
impl PeerMessage for Reply {
    const MSGTYPE: &'static str = "routed";

    fn write(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        if self.write(json) { Ok(()) } else { serde_json::to_writer(json, self) }
    }

    fn read(line: Flat<'_, '_>) -> Option<Self> {
        Self::of_flat(line)
    }
}

/// A message that another node has sent to this one, as its actor gets it.
///
/// While it is alive it takes a place in its actor's inbox; when that is full, senders are told
/// `busy`. Drop it when the work is done, or take what it holds out of it.
#[derive(Debug)]
pub struct Routed<M> {
    /// What was sent.
    pub message: M,
    /// The bytes that came with it; empty if there were none.
    pub attachment: Bytes,
    /// Who sent it.
    pub from: NodeId,
    /// Whether that is proven: by a signature with the key that the id follows from. If not, anybody
    /// on the way may have made it up.
    pub proven: bool,
    /// In how many steps it came; 0 from this node itself.
    pub hops: u8,
    #[expect(dead_code, reason = "held for its drop")]
    permit: Permit,
}

impl<M> Routed<M> {
    pub(super) const fn new(
        message: M,
        attachment: Bytes,
        origin: &Origin,
        permit: Permit,
    ) -> Self {
        let Origin { from, proven, hops } = *origin;
        Self { message, attachment, from, proven, hops, permit }
    }

    /// A message that nobody sent, for tests that play the overlay: proven, and from one step away.
    #[must_use]
    pub const fn mock(message: M, from: NodeId) -> Self {
        let origin = Origin { from, proven: true, hops: 1 };
        Self::new(message, Bytes::new(), &origin, Permit::free())
    }
}

impl<M: 'static> Message for Routed<M> {
    type Result = ();
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) from: NodeId,
    pub(super) proven: bool,
    pub(super) hops: u8,
}

/// What became of a message: it was delivered, or it was not and why.
pub type Delivery = Result<Delivered, Undelivered>;

/// A message was delivered: its actor has it. The node it was for says so itself, and nobody else
/// could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// How long it took there and back.
    pub rtt: Duration,
    /// How many steps it took to get there, dead ends included; 1 to a peer, 0 to this node itself.
    pub hops: u8,
    /// Whether it was sealed, so that nobody on the way could read it. To a node without a key it is
    /// not.
    pub sealed: bool,
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Undelivered {
    /// No way was found: the node is not there, or nobody on the way knows a closer one. Most likely
    /// not delivered; the node may have it if the way back was lost.
    #[error("no way to that node was found")]
    NoRoute,
    /// No answer came in time. It may have been delivered all the same.
    #[error("no answer came in time")]
    Timeout,
    /// The node it was for would not have it; the code says why: `nobody` there takes this msgtype,
    /// its actor is `busy`, it is a `bad-payload` to it, it is `stale` since the clocks are too far
    /// apart, or it arrived `unreadable`. Not delivered.
    #[error("refused: {0}")]
    Refused(Box<str>),
    /// It is longer than an attachment may be. Not sent.
    #[error("the message is too large")]
    TooLarge,
    /// Too many messages of this node, or of all on the way, wait just now. Not delivered.
    #[error("too many messages are under way")]
    Busy,
    /// It is no JSON object. Not sent.
    #[error("the message cannot be encoded")]
    NotEncodable,
    /// The overlay has stopped. It may have been delivered.
    #[error("the overlay has stopped")]
    Stopped,
}

impl Undelivered {
    /// A stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::Timeout => "timeout",
            Self::Refused(_) => "refused",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::NotEncodable => "not-encodable",
            Self::Stopped => "stopped",
        }
    }
}

/// Why a message for this node is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No actor is registered for its msgtype.
    Nobody,
    /// The actor's inbox is full.
    Busy,
    /// It is not what its msgtype stands for.
    BadPayload,
    /// It was made too long ago, or too far ahead.
    Stale,
    /// It cannot be opened, or its signature does not fit.
    Unreadable,
    /// It asks for a key, and this node has none.
    NoKey,
}

impl Refusal {
    /// The code that the sender is told.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Busy => "busy",
            Self::BadPayload => "bad-payload",
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
            Self::NoKey => "no-key",
        }
    }

    /// As a sender in this node gets it.
    pub(super) fn told(self) -> Undelivered {
        Undelivered::Refused(self.code().into())
    }
}

impl From<Reply> for Undelivered {
    fn from(reply: Reply) -> Self {
        use crate::proto::routing::Outcome;

        match reply.outcome {
            Outcome::NoRoute => Self::NoRoute,
            Outcome::Timeout => Self::Timeout,
            Outcome::TooLarge => Self::TooLarge,
            Outcome::Busy => Self::Busy,
            // A delivery that does not prove itself never comes so far.
            Outcome::Refused | Outcome::Delivered => {
                Self::Refused(reply.why.map_or_else(|| "".into(), Cow::into_owned).into())
            }
        }
    }
}

/// From anybody: send this to a node. Bounded by its permit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct SendTo {
    pub(super) to: NodeId,
    pub(super) letter: Outgoing,
}

/// A message to be sent, and who waits for its outcome.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The message's line, without its newline.
    pub(super) line: Bytes,
    pub(super) attachment: Bytes,
    pub(super) waiter: Waiter,
}

/// Who waits for an outcome, and the place that the message has among those under way. Without an
/// outcome it was stopped.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) delivery: oneshot::Sender<Delivery>,
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) permit: Permit,
}

impl Waiter {
    pub(super) fn tell(self, delivery: Delivery) {
        // Whoever waited may have lost interest.
        let _gone = self.delivery.send(delivery);
    }
}

/// Asks for the figures.
#[derive(Debug, Message)]
#[rtype(result = "RoutingStats")]
pub(super) struct Count;

/// Ends the router.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// What was done for messages to one node, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, MessageResponse)]
pub struct RoutingStats {
    /// What was done for the messages of others.
    pub relayed: RoutingCounts,
    /// Messages that this node has sent off, questions for keys included.
    pub sent: u64,
    /// Messages of its own that were delivered.
    pub delivered: u64,
    /// Messages of its own that were not, for whatever reason.
    pub undelivered: u64,
    /// Messages for this node that its actors were given.
    pub taken: u64,
    /// Messages for this node that were refused.
    pub refused: u64,
    /// Copies of messages for this node that had come already.
    pub repeated: u64,
    /// Answers about this node's own messages that did not prove themselves.
    pub forged: u64,
    /// Answers that could not be sent to the peer they were for.
    pub lost: u64,
    /// Messages of its own that wait for their outcome now.
    pub waiting: usize,
    /// Messages of others whose trail is kept now.
    pub trails: usize,
}
