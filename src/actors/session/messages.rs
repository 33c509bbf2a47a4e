//! What a session is told, and what it hands out of itself.

use std::{fmt, sync::Arc};

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    actors::discovery::Dialled,
    address::HostPort,
    extension::PeerMessage,
    ids::{LinkId, NodeId},
    outbox::{Outbox, SendError},
    proto::explorer::{DialResult, Proof},
    reason::CloseReason,
    wire::{Encoded, encoded::with_line},
};

/// From the registry, or from whoever holds a [`PeerHandle`]. At most three per link and verdict.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum Control {
    /// The link is a session. The node tells the peer this address of its own.
    Admit {
        /// Where this node can be dialled, as far as it knows.
        announce: Option<HostPort>,
    },
    /// Say `bye` and close. The first reason wins.
    Close {
        /// The reason code.
        reason: CloseReason,
        /// More for a person; may be empty.
        detail: &'static str,
        /// Addresses that the peer may try instead.
        elsewhere: Arc<[(HostPort, NodeId)]>,
    },
    /// Nothing, but to have been handled.
    Knock,
    /// Wait no longer for the other side to close, if that is what the session does.
    Drop,
}

/// How a session is reached, whoever it talks to. Clones reach the same session.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    /// For [`Control`].
    pub control: Recipient<Control>,
    /// For frames.
    pub outbox: Arc<Outbox>,
}

/// How a connected peer is reached. It stays valid when the session ends; sending then says
/// [`SendError::NoSuchPeer`].
#[derive(Clone)]
pub struct PeerHandle {
    id: NodeId,
    link: LinkId,
    session: Arc<SessionHandle>,
}

impl PeerHandle {
    /// The peer of this id at the other end of this link.
    #[must_use]
    pub const fn new(id: NodeId, link: LinkId, session: Arc<SessionHandle>) -> Self {
        Self { id, link, session }
    }

    /// The peer's node id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The connection.
    #[must_use]
    pub const fn link(&self) -> LinkId {
        self.link
    }

    /// Whether the peer takes messages with attachments, as its hello says. Sending it one otherwise is
    /// refused.
    #[must_use]
    pub fn takes_attachments(&self) -> bool {
        self.session.outbox.takes_attachments()
    }

    /// Whether so much waits for the peer (half of the frames that may, or an eighth of the bytes) that
    /// what it asks for should not be answered before it has taken some of it.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.session.outbox.status().crowded
    }

    /// Resolves when the session has handled a message that is sent to it now, or is gone.
    pub(crate) async fn knock(&self) {
        // Whether it is there is not the question.
        let _handled = self.session.control.send(Control::Knock).await;
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.session.outbox
    }

    /// Sends a message. Never blocks.
    ///
    /// # Errors
    /// The message was not accepted, and why.
    pub fn send<M: PeerMessage>(&self, message: &M) -> Result<(), SendError> {
        self.send_parts(message, &Bytes::new())
    }

    /// Sends a message with bytes that go along with it. Never blocks.
    ///
    /// # Errors
    /// The message was not accepted, and why.
    pub fn send_with<M: PeerMessage>(
        &self,
        message: &M,
        attachment: Bytes,
    ) -> Result<(), SendError> {
        self.send_parts(message, &attachment)
    }

    fn send_parts<M: PeerMessage>(&self, message: &M, attachment: &Bytes) -> Result<(), SendError> {
        let push = |line: &[u8]| self.session.outbox.push_line(line, attachment);
        with_line(M::MSGTYPE, attachment.len(), |json| message.write(json), push)
            .unwrap_or(Err(SendError::NotEncodable))
    }

    /// Sends what is already encoded: encode once, send to many.
    ///
    /// # Errors
    /// The message was not accepted, and why.
    pub fn send_encoded(&self, message: &Encoded) -> Result<(), SendError> {
        self.session.outbox.push(message)
    }

    /// Ends the session with `bye` and this reason.
    pub fn close(&self, reason: CloseReason) {
        let elsewhere = Arc::default();
        self.session.control.do_send(Control::Close { reason, detail: "", elsewhere });
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerHandle({}, {})", self.id, self.link)
    }
}

/// One of a session's undelivered messages. Dropping it, which happens when the message has been
/// handled, lets the session read on.
#[derive(Debug)]
pub struct Credit(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Credit {
    pub(super) const fn of(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }

    /// A credit of no session, for tests that play one.
    #[must_use]
    pub const fn free() -> Self {
        Self(None)
    }
}

/// The promise to tell discovery what became of a dial. Kept by whoever works on the dial; if it
/// is dropped unkept (a panic), discovery is told that too.
#[derive(Debug)]
pub struct DialTicket {
    addr: HostPort,
    to: Option<Recipient<Dialled>>,
}

impl DialTicket {
    /// A promise about this address.
    #[must_use]
    pub const fn new(addr: HostPort, to: Recipient<Dialled>) -> Self {
        Self { addr, to: Some(to) }
    }

    /// Keeps it.
    pub fn settle(mut self, proof: Option<Proof>, end: Option<(CloseReason, String)>) {
        self.send(DialResult { proof, end });
    }

    fn send(&mut self, result: DialResult) {
        if let Some(to) = self.to.take() {
            to.do_send(Dialled { addr: self.addr.clone(), result });
        }
    }
}

impl Drop for DialTicket {
    fn drop(&mut self) {
        let end = Some((CloseReason::Internal, "the dial was given up".to_owned()));
        self.send(DialResult { proof: None, end });
    }
}
