//! Messages to one node: seals and sends them, passes on those of others, hands over those for this
//! node, and sees to it that every sender learns what became of its message.
//!
//! Owns the [`Routing`](crate::proto::routing::Routing) machine. Takes the peers' messages `route` and
//! `routed`; knows nothing of what is in the messages it passes on.

mod actor;
mod arriving;
mod messages;
mod sending;
mod takers;

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::messages::{Delivered, Delivery, Routed, RoutingStats, Undelivered};
use self::{
    actor::Router,
    messages::{Count, Outgoing, SendTo, Stop, Waiter},
    takers::Takers,
};
use super::{
    Overlay, OverlayConfig,
    envelope::SEALED_OVERHEAD,
    inbox::{Inbox, InboxLimits},
};
use crate::{
    NodeHandle, PeerMessage, RegisterError,
    ids::NodeId,
    proto::routing::{Head, Reply},
    wire::{EncodeError, MAX_ATTACHMENT},
};

/// The feature of a hello whose speaker passes messages on.
pub const ROUTE: &str = "route";

/// The way to the router.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    router: Addr<Router>,
    takers: Arc<Takers>,
    /// What this node's own messages under way have room in.
    sends: Inbox,
    inbox: InboxLimits,
}

impl Handle {
    pub(super) async fn start(node: &NodeHandle, config: &OverlayConfig, takes_part: bool) -> Self {
        let takers = Arc::new(Takers::default());
        let router = Router::new(node.clone(), takers.clone(), &config.routing).start();
        let (sends, inbox) = (Inbox::new(config.routing.sends), config.inbox);
        let handle = Self { router: router.clone(), takers, sends, inbox };
        if !takes_part {
            return handle;
        }
        node.subscribe(router.clone().recipient()).await;
        // A node that has just been started has no other actor for these.
        let registered = node
            .register_batches::<Head>(router.clone().recipient())
            .and_then(|()| node.register_batches::<Reply>(router.clone().recipient()));
        if let Err(error) = registered {
            tracing::error!(%error, "messages to one node are not passed on");
        }
        handle
    }

    pub(super) async fn stats(&self) -> RoutingStats {
        self.router.send(Count).await.unwrap_or_default()
    }

    pub(super) async fn stop(&self) {
        if let Err(gone) = self.router.send(Stop).await {
            tracing::debug!(%gone, "already ended");
        }
    }

    /// Has the overlay's own messages of a type handed to one of its actors.
    pub(super) fn register<M: PeerMessage>(
        &self,
        actor: Recipient<Routed<M>>,
    ) -> Result<(), RegisterError> {
        self.takers.register(actor, self.inbox)
    }

    /// Sends the line of a message, without its newline, and what goes along with it.
    pub(super) async fn send(&self, to: NodeId, line: Bytes, attachment: Bytes) -> Delivery {
        let len = line.len() + attachment.len();
        if len + SEALED_OVERHEAD > MAX_ATTACHMENT {
            return Err(Undelivered::TooLarge);
        }
        let permit = self.sends.admit(len).ok_or(Undelivered::Busy)?;
        let (delivery, outcome) = oneshot::channel();
        let waiter = Waiter { delivery, permit };
        self.router.do_send(SendTo { to, letter: Outgoing { line, attachment, waiter } });
        outcome.await.unwrap_or(Err(Undelivered::Stopped))
    }
}

impl Overlay {
    /// Has the messages of type `M` that other nodes send to this one handed to an actor, from now
    /// on. What waits for it is bounded by [`OverlayConfig::inbox`]; senders of more are told `busy`.
    ///
    /// # Errors
    /// The msgtype belongs to the core or has an actor already, or its name is not usable.
    pub fn register<M: PeerMessage>(
        &self,
        actor: Recipient<Routed<M>>,
    ) -> Result<(), RegisterError> {
        self.inner.routing.register(actor)
    }

    /// Sends a message to a node, wherever in the network it is, and tells what became of it: that the
    /// node's actor has it, or why not. Ends by itself, at the latest after
    /// [`RoutingConfig::timeout`](super::RoutingConfig::timeout). A dropped future takes nothing back.
    ///
    /// The order of messages is not kept: send the next one when this one is delivered if that matters.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send<M: PeerMessage>(&self, to: NodeId, message: &M) -> Delivery {
        self.send_with(to, message, Bytes::new()).await
    }

    /// Sends a message with bytes that go along with it, together somewhat less than
    /// [`MAX_ATTACHMENT`].
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send_with<M: PeerMessage>(
        &self,
        to: NodeId,
        message: &M,
        attachment: Bytes,
    ) -> Delivery {
        let encoded = message.encode().map_err(|error| match error {
            EncodeError::TooLarge(_) | EncodeError::AttachmentTooLarge(_) => Undelivered::TooLarge,
            EncodeError::NotAnObject(_) => Undelivered::NotEncodable,
        })?;
        self.inner.routing.send(to, encoded.inner_line(), attachment).await
    }
}

#[cfg(test)]
mod tests;
