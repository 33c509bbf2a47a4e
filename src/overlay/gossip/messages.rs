//! What travels for broadcast, what the gossiper is told, and what it tells.

use std::{fmt, str::FromStr, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use crate::{
    extension::PeerMessage,
    ids::{MessageId, NodeId},
    overlay::inbox::Permit,
    proto::plumtree::{Duty, GossipStats, LEVELS, MAX_IDS},
};

/// The longest topic, in bytes.
const MAX_TOPIC: usize = 64;

/// What a message to everybody is about: subscribers choose by it. 1 to 64 printable bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Topic(Box<str>);

/// A text that is no topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a topic has 1 to 64 bytes and no control characters")]
pub struct TopicError;

impl Topic {
    /// The topic of this name.
    ///
    /// # Errors
    /// It is empty, longer than 64 bytes, or has control characters.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        let is_good =
            !name.is_empty() && name.len() <= MAX_TOPIC && !name.chars().any(char::is_control);
        if is_good { Ok(Self(name.into())) } else { Err(TopicError) }
    }

    /// A topic of the overlay's own, of a name that is one.
    pub(in crate::overlay) fn reserved(name: &'static str) -> Self {
        debug_assert!(Self::new(name).is_ok());
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(name: &str) -> Result<Self, TopicError> {
        Self::new(name)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Box::<str>::deserialize(deserializer)?;
        Self::new(&name).map_err(de::Error::custom)
    }
}

/// On the wire: a message to everybody; its body is the attachment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gossip {
    /// Which message it is.
    pub id: MessageId,
    /// Who is said to have published it.
    pub origin: NodeId,
    /// What it is about.
    pub topic: Topic,
    /// Over how many sessions it has come, this one included.
    pub hops: u8,
    /// The receiver sees to all nodes that share so many of its first bits; 128: to none.
    pub depth: u8,
    /// … and to those that share the first so many bits and differ in the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<u8>,
}

impl Gossip {
    /// Whom the receiver is to see to.
    #[must_use]
    pub fn duty(&self) -> Duty {
        let deep = Duty::from_depth(self.depth.min(LEVELS));
        self.beside.iter().fold(deep, |duty, level| duty.and(*level))
    }
}

impl PeerMessage for Gossip {
    const MSGTYPE: &'static str = "gossip";
}

/// On the wire: the speaker has these messages, and asks what else there is if it says so.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ihave {
    /// Their ids, at most [`MAX_IDS`].
    #[serde(deserialize_with = "few_ids")]
    pub ids: Vec<MessageId>,
    /// Whether it asks what else there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compare: bool,
}

impl PeerMessage for Ihave {
    const MSGTYPE: &'static str = "ihave";
}

/// On the wire: the speaker asks for these messages.
#[derive(Debug, Serialize, Deserialize)]
pub struct Graft {
    /// Their ids, at most [`MAX_IDS`].
    #[serde(deserialize_with = "few_ids")]
    pub ids: Vec<MessageId>,
}

impl PeerMessage for Graft {
    const MSGTYPE: &'static str = "graft";
}

/// On the wire: what was sent had been there before.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prune {}

impl PeerMessage for Prune {
    const MSGTYPE: &'static str = "prune";
}

/// A list with more ids than one may have breaks the protocol.
fn few_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MessageId>, D::Error> {
    let ids = Vec::deserialize(deserializer)?;
    if ids.len() > MAX_IDS { Err(de::Error::custom("more than 512 ids")) } else { Ok(ids) }
}

/// A message that was published, as a subscribed actor gets it.
///
/// While it is alive it takes a place in its actor's inbox; what comes when that is full is missed,
/// and counted. Drop it when the work is done, or take what it holds out of it.
#[derive(Debug)]
pub struct Published<M> {
    /// What was published.
    pub message: M,
    /// The bytes that came with it; empty if there were none.
    pub attachment: Bytes,
    /// What it is about.
    pub topic: Topic,
    /// Who published it.
    pub origin: NodeId,
    /// Its id, the same on all nodes.
    pub id: MessageId,
    /// Whether the origin is proven: by a signature with the key that the id follows from. If not,
    /// anybody on the way may have made it up.
    pub proven: bool,
    /// Over how many sessions it came.
    pub hops: u8,
    #[expect(dead_code, reason = "held for its drop")]
    permit: Permit,
}

impl<M> Published<M> {
    pub(super) fn new(message: M, attachment: Bytes, source: &Source<'_>, permit: Permit) -> Self {
        let Source { topic, origin, id, hops } = *source;
        let (topic, proven) = (topic.clone(), origin.is_self_certifying());
        Self { message, attachment, topic, origin, id, proven, hops, permit }
    }

    /// A message that nobody published, for tests that play the overlay.
    #[must_use]
    pub fn mock(message: M, topic: &Topic, origin: NodeId) -> Self {
        let id = MessageId::from_bytes([0; 16]);
        Self::new(message, Bytes::new(), &Source { topic, origin, id, hops: 1 }, Permit::free())
    }
}

impl<M: 'static> Message for Published<M> {
    type Result = ();
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) topic: &'a Topic,
    pub(super) origin: NodeId,
    pub(super) id: MessageId,
    pub(super) hops: u8,
}

/// Why a message was not published. It was not sent to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// This node has published more than it may, and others would not pass it on: see
    /// [`GossipConfig`](crate::proto::plumtree::GossipConfig).
    #[error("this node publishes more than it may")]
    Rate,
    /// It is longer than an attachment may be.
    #[error("the message is too large")]
    TooLarge,
    /// It is no JSON object.
    #[error("the message cannot be encoded")]
    NotEncodable,
    /// The overlay has stopped.
    #[error("the overlay has stopped")]
    Stopped,
}

impl PublishError {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::TooLarge => "too-large",
            Self::NotEncodable => "not-encodable",
            Self::Stopped => "stopped",
        }
    }
}

/// Why an actor could not be subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SubscribeError {
    /// The msgtype is empty, longer than 64 bytes, or has control characters, or is the core's.
    #[error("this msgtype cannot be published")]
    BadName,
    /// There are too many subscriptions.
    #[error("there are too many subscriptions")]
    TooMany,
}

/// Publishes a message.
#[derive(Debug, Message)]
#[rtype(result = "Result<MessageId, PublishError>")]
pub(super) struct Publish {
    pub(super) topic: Topic,
    pub(super) line: Bytes,
    pub(super) attachment: Bytes,
}

/// What broadcast has done so far, counted from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BroadcastStats {
    /// What was sent, came, was taken and asked for.
    pub gossip: GossipStats,
    /// Messages handed to subscribers, each subscriber counted.
    pub delivered: u64,
    /// Messages that a subscriber missed since its inbox was full.
    pub missed: u64,
    /// Frames that a neighbour's full outbox refused. What they held is announced by others.
    pub refused: u64,
    /// Messages that were not what they said, each of which cost its sender the session.
    pub forged: u64,
    /// Signatures that were checked, one for each message that came and was new …
    pub checks: u64,
    /// … and how long that took altogether, by the node's clock; nothing in a simulation, whose clock
    /// stands still meanwhile.
    pub checking: Duration,
    /// Neighbours that pass messages on, now.
    pub neighbours: usize,
    /// Messages that neighbours have and this node has not, now.
    pub missing: usize,
    /// Messages that are kept now for those who missed them.
    pub kept: usize,
    /// … and their bytes.
    pub kept_bytes: usize,
}

/// Asks for them.
#[derive(Debug, Message)]
#[rtype(result = "BroadcastStats")]
pub(super) struct Count;

impl<A, M> actix::dev::MessageResponse<A, M> for BroadcastStats
where
    A: Actor,
    M: Message<Result = Self>,
{
    fn handle(self, _: &mut A::Context, tx: Option<actix::dev::OneshotSender<Self>>) {
        if let Some(tx) = tx {
            // Whoever asked may have gone.
            let _gone = tx.send(self);
        }
    }
}

/// Ends the actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;
