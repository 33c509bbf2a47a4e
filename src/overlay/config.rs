//! Every number of the overlay.

use std::time::Duration;

use super::inbox::InboxLimits;
use crate::{
    config::ConfigError,
    proto::{plumtree::GossipConfig, routing::TrailLimits},
};

/// The longest that a node may wait for an answer to a message: others keep its trail that long.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// How the overlay works. The defaults are good for most networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OverlayConfig {
    /// Messages to one node.
    pub routing: RoutingConfig,
    /// Messages to everybody.
    pub gossip: GossipConfig,
    /// What may wait for one registered actor.
    pub inbox: InboxLimits,
}

/// How messages to one node are sent and passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingConfig {
    /// How long a message may take there and back before it is `timeout`; at most
    /// [`MAX_TIMEOUT`]. Another way is tried after each third of it.
    pub timeout: Duration,
    /// What this node's own messages that wait for an answer may be; more are `busy` at once.
    pub sends: InboxLimits,
    /// What is kept of the messages that are passed on.
    pub trails: TrailLimits,
    /// How many taken messages are remembered, so that none is taken twice. When more come within
    /// [`MAX_SKEW`](crate::proto::replay::MAX_SKEW), the oldest ones' contemporaries are refused.
    pub taken: usize,
    /// How many nodes' keys are remembered. One that is not costs a round trip.
    pub known_keys: usize,
}

impl Default for RoutingConfig {
    /// 10 s; 4,096 messages and 16 MiB under way; 65,536 taken messages; 4,096 keys.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            sends: InboxLimits { messages: 4096, bytes: 16 << 20 },
            trails: TrailLimits::default(),
            taken: 65_536,
            known_keys: 4096,
        }
    }
}

impl OverlayConfig {
    /// Whether it can work.
    ///
    /// # Errors
    /// It cannot, and what is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { routing, gossip, inbox } = self;
        let nonzero = [
            ("routing.timeout", !routing.timeout.is_zero()),
            ("routing.sends.messages", routing.sends.messages > 0),
            ("routing.trails.max", routing.trails.max > 0),
            ("routing.trails.max-per-peer", routing.trails.max_per_peer > 0),
            ("routing.trails.life", !routing.trails.life.is_zero()),
            ("routing.taken", routing.taken > 0),
            ("gossip.announce-every", !gossip.announce_every.is_zero()),
            ("gossip.compare-every", !gossip.compare_every.is_zero()),
            ("gossip.graft-after", !gossip.graft_after.is_zero()),
            ("gossip.graft-retry", !gossip.graft_retry.is_zero()),
            ("gossip.keep-messages", gossip.keep_messages > 0),
            ("gossip.taken", gossip.taken > 0),
            ("gossip.publish-burst", gossip.publish_burst > 0),
            ("gossip.publish-per-second", gossip.publish_per_second > 0),
            ("gossip.origins", gossip.origins > 0),
            ("inbox.messages", inbox.messages > 0),
        ];
        if let Some((name, _)) = nonzero.iter().find(|(_, ok)| !ok) {
            return Err(ConfigError::Zero(name));
        }
        if routing.timeout > MAX_TIMEOUT {
            return Err(ConfigError::TooLong { name: "routing.timeout", max: MAX_TIMEOUT });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_a_timeout_beyond_the_others_patience_is_not() {
        let mut config = OverlayConfig::default();
        assert_eq!(config.validate(), Ok(()));
        config.routing.timeout = MAX_TIMEOUT + Duration::from_millis(1);
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "routing.timeout must not be longer than 30s");
        config.routing.timeout = Duration::ZERO;
        assert_eq!(config.validate(), Err(ConfigError::Zero("routing.timeout")));
    }
}
