//! Messages to everybody: signs and publishes them, checks and passes on those of others, and hands
//! over those whose topic an actor has subscribed to.
//!
//! Owns the [`Plumtree`](crate::proto::plumtree::Plumtree) machine. Takes the peers' messages
//! `gossip`, `ihave`, `graft` and `prune`.

mod actor;
mod messages;
mod subscribers;

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;

pub use self::messages::{
    BroadcastStats, Gossip, Graft, Ihave, Prune, PublishError, Published, SubscribeError, Topic,
    TopicError,
};
use self::{
    actor::Gossiper,
    messages::{Count, Publish, Stop},
    subscribers::Subscribers,
};
use super::{Overlay, OverlayConfig, ask, inbox::InboxLimits};
use crate::{NodeHandle, PeerMessage, ids::MessageId, wire::EncodeError};

/// The feature of a hello whose speaker passes broadcasts on.
pub const GOSSIP: &str = "gossip";

/// The way to the gossiper.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    gossiper: Addr<Gossiper>,
    subscribers: Arc<Subscribers>,
    inbox: InboxLimits,
}

impl Handle {
    pub(super) async fn start(node: &NodeHandle, config: &OverlayConfig, takes_part: bool) -> Self {
        let subscribers = Arc::new(Subscribers::default());
        let gossiper = Gossiper::new(node.clone(), subscribers.clone(), config.gossip).start();
        let handle = Self { gossiper: gossiper.clone(), subscribers, inbox: config.inbox };
        if !takes_part {
            return handle;
        }
        node.subscribe(gossiper.clone().recipient()).await;
        // A node that has just been started has no other actor for these.
        let registered = node
            .register::<Gossip>(gossiper.clone().recipient())
            .and_then(|()| node.register::<Ihave>(gossiper.clone().recipient()))
            .and_then(|()| node.register::<Graft>(gossiper.clone().recipient()))
            .and_then(|()| node.register::<Prune>(gossiper.clone().recipient()));
        if let Err(error) = registered {
            tracing::error!(%error, "messages to everybody are not passed on");
        }
        handle
    }

    pub(super) async fn stats(&self) -> BroadcastStats {
        self.gossiper.send(Count).await.unwrap_or_default()
    }

    pub(super) async fn stop(&self) {
        if let Err(gone) = self.gossiper.send(Stop).await {
            tracing::debug!(%gone, "already ended");
        }
    }

    pub(super) async fn publish<M: PeerMessage>(
        &self,
        topic: &Topic,
        message: &M,
        attachment: Bytes,
    ) -> Result<MessageId, PublishError> {
        let encoded = message.encode().map_err(|error| match error {
            EncodeError::TooLarge(_) | EncodeError::AttachmentTooLarge(_) => PublishError::TooLarge,
            EncodeError::NotAnObject(_) => PublishError::NotEncodable,
        })?;
        let line = encoded.inner_line();
        let publish = Publish { topic: topic.clone(), line, attachment };
        let published = self.gossiper.send(publish).await;
        published.unwrap_or(Err(PublishError::Stopped))
    }

    pub(super) fn subscribe<M: PeerMessage>(
        &self,
        topic: &Topic,
        actor: Recipient<Published<M>>,
    ) -> Result<(), SubscribeError> {
        self.subscribers.add(topic, actor, self.inbox)
    }
}

impl Overlay {
    /// Publishes a message to every node that has subscribed to its topic, this one aside. Its id.
    ///
    /// Each node gets it at most once. Who is cut off for less than the time that messages are kept
    /// ([`GossipConfig::keep_for`](crate::proto::plumtree::GossipConfig::keep_for)), or joins within
    /// it, gets it late; there is no word of who got it.
    ///
    /// # Errors
    /// It was not published, and why.
    pub async fn publish<M: PeerMessage>(
        &self,
        topic: &Topic,
        message: &M,
    ) -> Result<MessageId, PublishError> {
        self.publish_with(topic, message, Bytes::new()).await
    }

    /// Publishes a message with bytes that go along with it, together somewhat less than
    /// [`MAX_ATTACHMENT`](crate::wire::MAX_ATTACHMENT).
    ///
    /// # Errors
    /// It was not published, and why.
    pub async fn publish_with<M: PeerMessage>(
        &self,
        topic: &Topic,
        message: &M,
        attachment: Bytes,
    ) -> Result<MessageId, PublishError> {
        self.inner.gossip.publish(topic, message, attachment).await
    }

    /// Has the messages of type `M` that other nodes publish on a topic handed to an actor, from now
    /// on. Any number of actors may subscribe to one topic. What waits for each is bounded by
    /// [`OverlayConfig::inbox`]; it misses what comes beyond that, which is counted and noted.
    ///
    /// # Errors
    /// The msgtype cannot be published, or there are too many subscriptions (4,096).
    pub fn subscribe<M: PeerMessage>(
        &self,
        topic: &Topic,
        actor: Recipient<Published<M>>,
    ) -> Result<(), SubscribeError> {
        self.inner.gossip.subscribe(topic, actor)
    }

    /// Ends every subscription to a topic. The node goes on passing its messages on. The overlay's own
    /// topic, by which questions come ([`Overlay::ask`]), is left alone.
    pub fn unsubscribe(&self, topic: &Topic) {
        if *topic != ask::topic() {
            self.inner.gossip.subscribers.remove(topic);
        }
    }

    /// Ends the subscriptions of one actor to a topic, and leaves those of others alone.
    pub fn leave<M: PeerMessage>(&self, topic: &Topic, actor: &Recipient<Published<M>>) {
        self.inner.gossip.subscribers.remove_one(topic, actor);
    }
}

#[cfg(test)]
mod tests;
