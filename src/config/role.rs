//! What a node is there for, and the numbers that follow from it.

use std::time::Duration;

use super::{DiscoveryConfig, NodeConfig};

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// To be a peer of others: it finds sessions and keeps them.
    #[default]
    Peer,
    /// To introduce others to each other, and nothing else: it proves the addresses of those who come,
    /// tells each a share of what it knows, and lets it go with `introduced`. It dials nothing but
    /// feelers, and passes nothing on.
    Introducer,
}

impl Role {
    /// As it is typed.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Introducer => "introducer",
        }
    }
}

/// How an introducer introduces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntroductionConfig {
    /// How long a session may last. It ends before that if the guest has been told of others and its
    /// own address has been tried.
    pub session: Duration,
    /// How long a session lasts after the guest has got all that.
    pub linger: Duration,
    /// The pause between two proofs of an address. One that was not proven for twice as long, or did
    /// not answer the last time, is told to nobody. Shorter costs more dials: `book_entries` by it per
    /// second.
    pub renew: Duration,
    /// What one asker is told in a window is at most the book divided by this, …
    pub share: usize,
    /// … but so many addresses may be told however small the book is.
    pub share_min: usize,
    /// How long an asker's share stays the same.
    pub share_window: Duration,
}

impl IntroductionConfig {
    /// Whether everything that must not be zero is not.
    pub(super) const fn is_nonzero(&self) -> bool {
        !self.session.is_zero()
            && !self.renew.is_zero()
            && !self.share_window.is_zero()
            && self.share > 0
            && self.share_min > 0
    }
}

impl Default for IntroductionConfig {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(20),
            linger: Duration::from_secs(1),
            renew: Duration::from_secs(900),
            share: 8,
            share_min: 64,
            share_window: Duration::from_secs(24 * 3600),
        }
    }
}

impl NodeConfig {
    /// The defaults of a node with this role. An introducer has room for ten thousand proven addresses,
    /// of which one network group can have the same part as in other nodes' books, and dials as much as
    /// proving them again and again takes.
    #[must_use]
    pub fn for_role(role: Role) -> Self {
        let peer = Self { role, ..Self::default() };
        match role {
            Role::Peer => peer,
            Role::Introducer => Self {
                discovery: DiscoveryConfig {
                    book_entries: 65_536,
                    source_buckets: 128,
                    group_buckets: 32,
                    pending_tests: 100,
                    dials_in_flight: 128,
                    dial_burst: 128,
                    dials_per_second: 64,
                    dial_timeout: Duration::from_secs(5),
                    ..peer.discovery
                },
                ..peer
            },
        }
    }
}
