//! Seeing, asking and steering a running node from outside: an extension, which the core does not know.
//!
//! [`Control`] is what can be asked of a node and told to it, in the words of [`model`]. [`server`] offers
//! it over HTTP; `peerage peers`, `send` and the other commands are clients of that.

mod commands;
mod find;
pub mod hooks;
mod hub;
mod listener;
pub mod messages;
mod metrics;
pub mod model;
pub mod ring;
pub mod server;
mod spaces;
#[cfg(test)]
mod tests;
pub mod token;
pub mod topics;
mod views;

use std::{fmt, sync::Arc};

use actix::{Addr, MailboxError};
use rand::Rng as _;

pub use self::{
    hub::MAX_LISTENERS,
    spaces::{KeyFilter, MAX_DATA_STREAMS, MAX_UPLOADS},
    views::{JournalFilter, MAX_ENTRIES},
};
use self::{
    hub::{End, Feed, Hub},
    model::{ApiError, Code},
    spaces::Desk,
};
use crate::{Bootstrap, NodeConfig, NodeHandle, Role, Security, clock::Moment, overlay::Overlay};

/// What is said of a node that its actors do not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// What software it says it is.
    pub agent: String,
    /// The network that it is part of.
    pub network: String,
    /// `peer` or `introducer`.
    pub role: String,
    /// `require`, `prefer` or `off`.
    pub security: String,
    /// The address that it announces, if that is set.
    pub advertise: Option<String>,
    /// Whether it is to listen at all.
    pub listens: bool,
    /// Whether it has nobody to join through, or does not want to.
    pub is_first: bool,
    /// The settings in force, as a configuration file.
    pub settings: String,
}

impl About {
    /// What follows from the node's configuration, with the settings as a file.
    #[must_use]
    pub fn of(config: &NodeConfig, settings: String) -> Self {
        let security = match config.security {
            Security::Off => "off",
            Security::Prefer => "prefer",
            Security::Require => "require",
        };
        let is_own = |contact: &Bootstrap| config.listen.contains(&contact.addr);
        let is_first = config.role == Role::Introducer || config.bootstrap.iter().all(is_own);
        Self {
            agent: config.agent.clone(),
            network: config.network.clone(),
            role: config.role.text().to_owned(),
            security: security.to_owned(),
            advertise: config.advertise.as_ref().map(ToString::to_string),
            listens: !config.listen.is_empty(),
            is_first,
            settings,
        }
    }
}

/// All that can be asked of a running node, and told to it. Clones are of the same node.
#[derive(Clone)]
pub struct Control {
    overlay: Overlay,
    hub: Addr<Hub>,
    feed: Arc<Feed>,
    about: Arc<About>,
    /// The spaces, if the node keeps some.
    desk: Option<Arc<Desk>>,
    started: Moment,
    /// Which run of the node it is: events of different runs have different ids. No time, since that of a
    /// machine without a clock of its own starts from the same one whenever it is switched on.
    run: u64,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("node", &self.node().id()).finish_non_exhaustive()
    }
}

impl Control {
    /// Begins to hear what happens in the node. Takes the msgtypes `note` and `inquiry`.
    pub async fn start(overlay: &Overlay, about: About) -> Self {
        let started = overlay.node().clock().now();
        let (hub, feed) = Hub::start(overlay.clone()).await;
        let (about, run) = (Arc::new(about), rand::rng().random());
        Self { overlay: overlay.clone(), hub, feed, about, desk: None, started, run }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &NodeHandle {
        self.overlay.node()
    }

    /// Ends what [`start`](Self::start) began, and with it the streams of those who listen; the node itself
    /// runs on.
    pub async fn stop(&self) {
        if let Err(gone) = self.hub.send(End).await {
            tracing::debug!(%gone, "already ended");
        }
    }
}

/// An actor that does not answer has ended.
fn gone(_: MailboxError) -> ApiError {
    stopped()
}

/// The node is stopping, so nobody answers.
fn stopped() -> ApiError {
    ApiError::new(Code::Stopped, "the node is stopping")
}
