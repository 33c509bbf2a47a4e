//! What a registry is made of.

use actix::prelude::*;

use super::{directory::Directory, messages::SaveBans};
use crate::{
    actors::{journal::JournalPort, vital::Vital},
    address::Bootstrap,
    clock::Clock,
    config::{LimitsConfig, TrustConfig},
    ids::NodeId,
    proto::bans::Ban,
};

/// What a registry is made of.
#[derive(Debug)]
pub struct RegistrySetup {
    /// The node's id.
    pub me: NodeId,
    /// How many sessions there may be.
    pub limits: LimitsConfig,
    /// How long and how many may be discouraged and banned.
    pub trust: TrustConfig,
    /// Who is never discouraged by itself.
    pub bootstrap: Vec<Bootstrap>,
    /// The bans of earlier runs. Those that have ended are dropped, which is a change to be kept.
    pub bans: Vec<Ban>,
    /// A secret, fresh for each run: which groups of addresses an eviction spares.
    pub key: u64,
    /// The node's clock.
    pub clock: Clock,
    /// The registry's to write.
    pub directory: Directory,
    /// Where decisions go.
    pub journal: JournalPort,
    /// Where changes of the bans are kept; without a store they hold for this run.
    pub store: Option<Recipient<SaveBans>>,
    /// Reports the registry's death.
    pub vital: Option<Vital>,
}

impl RegistrySetup {
    /// The registry of a node with default settings, and nothing around it.
    #[must_use]
    pub fn new(me: NodeId, clock: Clock, directory: Directory, journal: JournalPort) -> Self {
        Self {
            me,
            limits: LimitsConfig::default(),
            trust: TrustConfig::default(),
            bootstrap: Vec::new(),
            bans: Vec::new(),
            key: 0,
            clock,
            directory,
            journal,
            store: None,
            vital: None,
        }
    }
}
