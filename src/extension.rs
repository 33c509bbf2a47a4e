//! How a program adds messages of its own: a type, its msgtype, and an actor that takes it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use actix::prelude::*;
use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    actors::session::{Credit, PeerHandle},
    ids::NodeId,
    outbox::SendError,
    traffic::Traffic,
    wire::{
        EncodeError, Encoded, Fields, Flat,
        frame::{CORE_MSGTYPES, shorten},
    },
};

/// A message between nodes, of a msgtype of the program's own.
///
/// On the wire it is one line: the type's JSON object with the field `msgtype` added. It must
/// serialise to an object (a struct or a map) without a field of that name, or one named `attach`.
/// Add fields as `Option`s and ignore unknown ones, and nodes of different versions go on
/// understanding each other; a message that does not deserialise closes its sender's session with
/// `bye protocol`. What is large or no text goes along as an attachment: raw bytes behind the line.
///
/// ```
/// use peerage::PeerMessage;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Chat {
///     text: String,
/// }
///
/// impl PeerMessage for Chat {
///     const MSGTYPE: &'static str = "chat";
/// }
///
/// let line = Chat { text: "hello".into() }.encode()?;
/// assert_eq!(&line.bytes()[..], b"{\"msgtype\":\"chat\",\"text\":\"hello\"}\n");
/// # Ok::<(), peerage::wire::EncodeError>(())
/// ```
pub trait PeerMessage: Serialize + DeserializeOwned + Send + 'static {
    /// The msgtype: 1 to 64 bytes, and none of the core's.
    const MSGTYPE: &'static str;

    /// Appends the message's JSON object, as serde writes it. A message that nodes send by the hundred
    /// thousand may do this by hand, field by field, if what it writes is the same.
    ///
    /// # Errors
    /// It cannot be serialised.
    fn write(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(json, self)
    }

    /// The message of a flat line, for one that would rather not be read by serde. `None` leaves the line
    /// to serde; anything else must be what serde would make of it.
    #[must_use]
    fn read(line: Flat<'_, '_>) -> Option<Self> {
        let _by_serde = line;
        None
    }

    /// The message as a line, to be sent to any number of peers.
    ///
    /// # Errors
    /// It is not a JSON object, or longer than a line may be.
    fn encode(&self) -> Result<Encoded, EncodeError> {
        self.encode_with(Bytes::new())
    }

    /// The message with bytes that go along with it, for peers that take some
    /// ([`PeerHandle::takes_attachments`]).
    ///
    /// # Errors
    /// The message is not a JSON object, or longer than a line may be, or the attachment is longer
    /// than [`MAX_ATTACHMENT`](crate::wire::MAX_ATTACHMENT).
    fn encode_with(&self, attachment: Bytes) -> Result<Encoded, EncodeError> {
        Encoded::written(Self::MSGTYPE, attachment, |json| self.write(json))
    }
}

/// A message from a peer, as its actor gets it.
///
/// While it is alive it counts against the sender's session: a session whose messages are not
/// handled is not read, so that a slow actor slows its senders and loses nothing. Drop it when the
/// work is done, or take [`message`](Self::message) out of it.
#[derive(Debug)]
pub struct Received<M> {
    /// What was sent.
    pub message: M,
    /// The bytes that came with it; empty if there were none. What is kept of them longer than this
    /// message counts no more against the sender.
    pub attachment: Bytes,
    /// Who sent it, and the session to answer on.
    pub from: PeerHandle,
    #[expect(dead_code, reason = "held for its drop")]
    credit: Credit,
}

impl<M> Received<M> {
    /// A message that nobody sent, for tests that play a session.
    #[must_use]
    pub const fn mock(message: M, from: PeerHandle) -> Self {
        Self::mock_with(message, Bytes::new(), from)
    }

    /// The same, with an attachment.
    #[must_use]
    pub const fn mock_with(message: M, attachment: Bytes, from: PeerHandle) -> Self {
        Self { message, attachment, from, credit: Credit::free() }
    }

    /// The sender's node id.
    #[must_use]
    pub const fn sender(&self) -> NodeId {
        self.from.id()
    }

    /// Answers on the session that it came by. Never blocks.
    ///
    /// # Errors
    /// The answer was not accepted, and why.
    pub fn reply<A: PeerMessage>(&self, answer: &A) -> Result<(), SendError> {
        self.from.send(answer)
    }
}

impl<M: 'static> Message for Received<M> {
    type Result = ();
}

/// Some messages of one type from one peer, in the order in which they were sent: what came at once.
///
/// While it is alive all of them count against the sender's session, as a [`Received`] does.
#[derive(Debug)]
pub struct Batch<M> {
    /// The messages; at least one.
    pub parcels: Vec<Parcel<M>>,
    /// Who sent them, and the session to answer on.
    pub from: PeerHandle,
    #[expect(dead_code, reason = "held for its drop")]
    credit: Credit,
}

/// One message of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel<M> {
    /// What was sent.
    pub message: M,
    /// The bytes that came with it; empty if there were none.
    pub attachment: Bytes,
}

impl<M> Batch<M> {
    /// Messages that nobody sent, for tests that play a session.
    #[must_use]
    pub const fn mock(parcels: Vec<Parcel<M>>, from: PeerHandle) -> Self {
        Self { parcels, from, credit: Credit::free() }
    }

    /// The sender's node id.
    #[must_use]
    pub const fn sender(&self) -> NodeId {
        self.from.id()
    }
}

impl<M: 'static> Message for Batch<M> {
    type Result = ();
}

/// Why an actor could not be registered for a msgtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// The core answers this msgtype itself.
    #[error("the msgtype belongs to the core")]
    Core,
    /// Another actor has it, and is alive.
    #[error("the msgtype has an actor already")]
    Taken,
    /// It is empty, longer than 64 bytes, or has control characters.
    #[error("a msgtype has 1 to 64 printable bytes")]
    BadName,
}

/// Why a line was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliverError {
    /// It is not what the msgtype stands for.
    BadPayload(String),
    /// The actor has gone.
    Gone,
}

/// A line of a registered msgtype, and the bytes that came behind it.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// The line.
    pub line: &'a str,
    /// Where its fields are, if it is flat.
    pub fields: &'a Fields,
    /// The bytes.
    pub attachment: Bytes,
}

/// One msgtype's way to its actor.
pub trait Route: Send + Sync {
    /// The msgtype.
    fn msgtype(&self) -> &'static str;

    /// Understands a line and hands it over.
    ///
    /// # Errors
    /// It could not be, and why.
    fn deliver(
        &self,
        arrived: Arrived<'_>,
        from: &PeerHandle,
        credit: Credit,
    ) -> Result<(), DeliverError>;

    /// If the actor takes messages by the batch: an empty one. Then nothing is to be
    /// [delivered](Self::deliver) alone.
    fn batch(&self) -> Option<Box<dyn Gather>>;

    /// Whether the actor is there.
    fn is_alive(&self) -> bool;
}

/// Messages on their way to an actor that takes them by the batch.
pub trait Gather: Send {
    /// Understands a line and adds it.
    ///
    /// # Errors
    /// It is not what the msgtype stands for. What was added before stays.
    fn add(&mut self, arrived: Arrived<'_>) -> Result<(), DeliverError>;

    /// Hands all over, if there are any.
    ///
    /// # Errors
    /// The actor is gone.
    fn hand_over(self: Box<Self>, from: &PeerHandle, credit: Credit) -> Result<(), DeliverError>;
}

struct Typed<M: Send + 'static> {
    to: Recipient<Received<M>>,
}

impl<M: PeerMessage> Route for Typed<M> {
    fn msgtype(&self) -> &'static str {
        M::MSGTYPE
    }

    fn deliver(
        &self,
        arrived: Arrived<'_>,
        from: &PeerHandle,
        credit: Credit,
    ) -> Result<(), DeliverError> {
        let Parcel { message, attachment } = arrived.understand()?;
        if !self.to.connected() {
            return Err(DeliverError::Gone);
        }
        self.to.do_send(Received { message, attachment, from: from.clone(), credit });
        Ok(())
    }

    fn batch(&self) -> Option<Box<dyn Gather>> {
        None
    }

    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}

/// Room that a batch has before it grows.
const FEW: usize = 16;

struct Batched<M: Send + 'static> {
    to: Recipient<Batch<M>>,
}

struct Gathering<M: Send + 'static> {
    to: Recipient<Batch<M>>,
    parcels: Vec<Parcel<M>>,
}

impl<M: PeerMessage> Route for Batched<M> {
    fn msgtype(&self) -> &'static str {
        M::MSGTYPE
    }

    fn deliver(
        &self,
        arrived: Arrived<'_>,
        from: &PeerHandle,
        credit: Credit,
    ) -> Result<(), DeliverError> {
        let parcels = vec![arrived.understand()?];
        Box::new(Gathering { to: self.to.clone(), parcels }).hand_over(from, credit)
    }

    fn batch(&self) -> Option<Box<dyn Gather>> {
        Some(Box::new(Gathering::<M> { to: self.to.clone(), parcels: Vec::with_capacity(FEW) }))
    }

    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}

impl<M: PeerMessage> Gather for Gathering<M> {
    fn add(&mut self, arrived: Arrived<'_>) -> Result<(), DeliverError> {
        self.parcels.push(arrived.understand()?);
        Ok(())
    }

    fn hand_over(self: Box<Self>, from: &PeerHandle, credit: Credit) -> Result<(), DeliverError> {
        let Self { to, parcels } = *self;
        if parcels.is_empty() {
            return Ok(());
        }
        if !to.connected() {
            return Err(DeliverError::Gone);
        }
        to.do_send(Batch { parcels, from: from.clone(), credit });
        Ok(())
    }
}

impl Arrived<'_> {
    fn understand<M: PeerMessage>(self) -> Result<Parcel<M>, DeliverError> {
        let Self { line, fields, attachment } = self;
        let message = match fields.last(line).and_then(M::read) {
            Some(message) => message,
            None => serde_json::from_str(line)
                .map_err(|error| DeliverError::BadPayload(shorten(&error.to_string())))?,
        };
        Ok(Parcel { message, attachment })
    }
}

/// The longest msgtype that can be registered, in bytes.
const MAX_MSGTYPE: usize = 64;

/// Whether an actor can be registered for a msgtype of this name.
///
/// # Errors
/// It cannot, and why.
pub fn check_msgtype(name: &str) -> Result<(), RegisterError> {
    if CORE_MSGTYPES.contains(&name) {
        return Err(RegisterError::Core);
    }
    if name.is_empty() || name.len() > MAX_MSGTYPE || name.chars().any(char::is_control) {
        return Err(RegisterError::BadName);
    }
    Ok(())
}

/// Who takes which msgtype. Read by every session, written when an actor is registered.
#[derive(Default)]
pub struct Routes {
    routes: RwLock<BTreeMap<&'static str, Arc<dyn Route>>>,
    traffic: Option<Arc<Traffic>>,
}

impl Routes {
    /// … whose msgtypes are counted by their names.
    #[must_use]
    pub(crate) fn counted(traffic: Arc<Traffic>) -> Self {
        Self { routes: RwLock::default(), traffic: Some(traffic) }
    }

    /// Has messages of type `M` sent to an actor.
    ///
    /// # Errors
    /// The msgtype cannot be registered, and why.
    pub fn register<M: PeerMessage>(
        &self,
        to: Recipient<Received<M>>,
    ) -> Result<(), RegisterError> {
        self.insert(Arc::new(Typed { to }))
    }

    /// Has them sent by the batch.
    ///
    /// # Errors
    /// The msgtype cannot be registered, and why.
    pub fn register_batches<M: PeerMessage>(
        &self,
        to: Recipient<Batch<M>>,
    ) -> Result<(), RegisterError> {
        self.insert(Arc::new(Batched { to }))
    }

    fn insert(&self, route: Arc<dyn Route>) -> Result<(), RegisterError> {
        let name = route.msgtype();
        check_msgtype(name)?;
        let mut routes = self.routes.write();
        if routes.get(name).is_some_and(|route| route.is_alive()) {
            return Err(RegisterError::Taken);
        }
        routes.insert(name, route);
        drop(routes);
        if let Some(traffic) = &self.traffic {
            traffic.learn(name);
        }
        Ok(())
    }

    /// The way of a msgtype.
    #[must_use]
    pub fn find(&self, msgtype: &str) -> Option<Arc<dyn Route>> {
        self.routes.read().get(msgtype).cloned()
    }

    /// Takes a msgtype's way out, since its actor has gone; unless another has taken its place
    /// meanwhile.
    pub fn forget(&self, msgtype: &str) {
        let mut routes = self.routes.write();
        if routes.get(msgtype).is_some_and(|route| !route.is_alive()) {
            routes.remove(msgtype);
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.read().keys()).finish()
    }
}
