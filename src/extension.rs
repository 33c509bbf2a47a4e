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
    wire::{
        EncodeError, Encoded,
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

    /// The message as a line, to be sent to any number of peers.
    ///
    /// # Errors
    /// It is not a JSON object, or longer than a line may be.
    fn encode(&self) -> Result<Encoded, EncodeError> {
        Encoded::message(Self::MSGTYPE, self)
    }

    /// The message with bytes that go along with it, for peers that take some
    /// ([`PeerHandle::takes_attachments`]).
    ///
    /// # Errors
    /// The message is not a JSON object, or longer than a line may be, or the attachment is longer
    /// than [`MAX_ATTACHMENT`](crate::wire::MAX_ATTACHMENT).
    fn encode_with(&self, attachment: Bytes) -> Result<Encoded, EncodeError> {
        Encoded::with_attachment(Self::MSGTYPE, self, attachment)
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

/// One msgtype's way to its actor.
pub trait Route: Send + Sync {
    /// Understands a line and hands it over, with the bytes that came behind it.
    ///
    /// # Errors
    /// It could not be, and why.
    fn deliver(
        &self,
        line: &str,
        attachment: Bytes,
        from: &PeerHandle,
        credit: Credit,
    ) -> Result<(), DeliverError>;

    /// Whether the actor is there.
    fn is_alive(&self) -> bool;
}

struct Typed<M: Send + 'static> {
    to: Recipient<Received<M>>,
}

impl<M: PeerMessage> Route for Typed<M> {
    fn deliver(
        &self,
        line: &str,
        attachment: Bytes,
        from: &PeerHandle,
        credit: Credit,
    ) -> Result<(), DeliverError> {
        let message = serde_json::from_str(line)
            .map_err(|error| DeliverError::BadPayload(shorten(&error.to_string())))?;
        if !self.to.connected() {
            return Err(DeliverError::Gone);
        }
        self.to.do_send(Received { message, attachment, from: from.clone(), credit });
        Ok(())
    }

    fn is_alive(&self) -> bool {
        self.to.connected()
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
}

impl Routes {
    /// Has messages of type `M` sent to an actor.
    ///
    /// # Errors
    /// The msgtype cannot be registered, and why.
    pub fn register<M: PeerMessage>(
        &self,
        to: Recipient<Received<M>>,
    ) -> Result<(), RegisterError> {
        let name = M::MSGTYPE;
        check_msgtype(name)?;
        let mut routes = self.routes.write();
        if routes.get(name).is_some_and(|route| route.is_alive()) {
            return Err(RegisterError::Taken);
        }
        routes.insert(name, Arc::new(Typed { to }));
        drop(routes);
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
