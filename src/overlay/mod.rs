//! An overlay over the sessions that a node has: messages to any node, whether it is a peer or not.
//!
//! An extension: actors on the public API of the crate. The core does not know it. [`Overlay::start`]
//! starts a node with it.
//!
//! * **To one** ([`Overlay::send`]): a message goes from session to session towards the node it is
//!   for, also to one that nobody can dial, and its outcome comes back. The type is a
//!   [`PeerMessage`], as for a peer; its actor takes it as [`Routed`].
//! * **To everybody** ([`Overlay::publish`]): a message goes to each node once, along a tree that
//!   follows from the ids; actors take it as [`Published`], by its [`Topic`].
//! * **To many, with answers** ([`Overlay::ask`]): a [`Question`] goes to all nodes, or to those with
//!   certain tags; their actors take it as [`Asked`], and what they answer comes back one by one, with
//!   an [`Account`] at the end.
//!
//! What is sent is signed with the node's key and, for one node, sealed for that node's
//! ([`envelope`]), so those who pass it on can neither read nor alter it.
//!
//! ```
//! use peerage::{
//!     Node, PeerMessage,
//!     overlay::{Overlay, OverlayConfig, Routed},
//!     testkit::Probe,
//! };
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Note {
//!     text: String,
//! }
//!
//! impl PeerMessage for Note {
//!     const MSGTYPE: &'static str = "note";
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix_rt::System::new().block_on(async {
//!     let first = Node::builder().listen("127.0.0.1:0".parse()?);
//!     let first = Overlay::start(first, OverlayConfig::default()).await?;
//!     let notes = Probe::<Routed<Note>>::start();
//!     first.register(notes.recipient())?;
//!
//!     let contact = first.node().listen_addrs()[0].clone();
//!     let second = Overlay::start(Node::builder(), OverlayConfig::default()).await?;
//!     second.node().dial(contact).await?;
//!
//!     let delivered = second.send(first.id(), &Note { text: "hello".into() }).await?;
//!     assert!(delivered.hops == 1 && delivered.sealed);
//!     let note = notes.expect().await;
//!     assert!(note.message.text == "hello" && note.from == second.id() && note.proven);
//!     second.stop().await;
//!     first.stop().await;
//!     Ok(())
//! })
//! # }
//! ```

mod ask;
mod by_msgtype;
mod config;
pub mod envelope;
mod gossip;
pub mod inbox;
mod routing;

use std::{sync::Arc, time::Duration};

pub use self::{
    ask::{
        AnsweringStats, Answers, AskStats, Asked, AskingStats, Audience, Question, Refusal, Reply,
        Response, Said,
    },
    config::{AskConfig, MAX_TIMEOUT, OverlayConfig, RoutingConfig},
    gossip::{
        BroadcastStats, GOSSIP, Gossip, Graft, Ihave, Prune, PublishError, Published,
        SubscribeError, Topic, TopicError,
    },
    routing::{Delivered, Delivery, ROUTE, Routed, RoutingStats, Undelivered},
};
pub use crate::proto::{
    plumtree::GossipConfig,
    survey::{Account, Ending, Unasked},
};
use crate::{
    NodeHandle, Role,
    ids::NodeId,
    node::{NodeBuilder, StartError},
    transport::Transport,
};

#[cfg(doc)]
use crate::PeerMessage;

/// A running node with its overlay. Clones are handles of the same node; dropping them all leaves it
/// running.
#[derive(Debug, Clone)]
pub struct Overlay {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeHandle,
    routing: routing::Handle,
    gossip: gossip::Handle,
    ask: ask::Handle,
}

/// What was done so far, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OverlayStats {
    /// Messages to one node.
    pub routing: RoutingStats,
    /// Messages to everybody.
    pub broadcast: BroadcastStats,
    /// Questions to many.
    pub ask: AskStats,
}

impl Overlay {
    /// Starts a node that says in its hello what it can do, and the overlay's actors.
    ///
    /// One that is an [introducer](crate::Role::Introducer) passes nothing on, and says so: its sessions
    /// end before a message has come anywhere. What is sent there finds no way, what is published
    /// reaches nobody.
    ///
    /// # Errors
    /// The configuration cannot work, or the node does not start. Nothing was left running.
    pub async fn start<T: Transport + Unpin>(
        builder: NodeBuilder<T>,
        config: OverlayConfig,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let takes_part = builder.role() != Role::Introducer;
        let builder = if takes_part { builder.feature(ROUTE).feature(GOSSIP) } else { builder };
        let node = builder.start().await?;
        let routing = routing::Handle::start(&node, &config, takes_part).await;
        let gossip = gossip::Handle::start(&node, &config, takes_part).await;
        let ask = ask::Handle::over(&node, &config, &routing, &gossip);
        Ok(Self { inner: Arc::new(Inner { node, routing, gossip, ask }) })
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &NodeHandle {
        &self.inner.node
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.node.id()
    }

    /// What was done so far. All zeros when the overlay has stopped.
    pub async fn stats(&self) -> OverlayStats {
        self.measured_stats().await.0
    }

    /// The same, and how long each of its actors took to answer by the node's clock: about as long as any
    /// message waits for it.
    pub async fn measured_stats(&self) -> (OverlayStats, Vec<(&'static str, Duration)>) {
        let Inner { routing, gossip, ask, node } = &*self.inner;
        let (clock, mut took) = (node.clock(), Vec::new());
        let mut begun = clock.now();
        let mut lap = |actor| {
            let now = clock.now();
            took.push((actor, now.since(begun)));
            begun = now;
        };
        let routing = routing.stats().await;
        lap("router");
        let broadcast = gossip.stats().await;
        lap("gossiper");
        let asking = ask.asking().await;
        lap("pollster");
        let answering = ask.answering().await;
        lap("respondent");
        (OverlayStats { routing, broadcast, ask: AskStats { asking, answering } }, took)
    }

    /// Stops the overlay's actors, then the node ([`NodeHandle::stop`]). Whoever waits for an outcome
    /// is told [`Undelivered::Stopped`], and questions end with [`Ending::Stopped`].
    pub async fn stop(&self) {
        self.inner.ask.stop().await;
        self.inner.routing.stop().await;
        self.inner.gossip.stop().await;
        self.inner.node.stop().await;
    }
}
