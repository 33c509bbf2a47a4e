//! Every number of the overlay.

use std::time::Duration;

use super::inbox::InboxLimits;
use crate::{
    config::ConfigError,
    proto::{
        owed::OwedLimits,
        plumtree::GossipConfig,
        routing::TrailLimits,
        survey::{MAX_LIMIT, MAX_NODES},
    },
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
    /// Questions to many.
    pub ask: AskConfig,
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

/// How questions to many are asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskConfig {
    /// How many of this node's questions may be open; more are not asked.
    pub open: usize,
    /// How many nodes are kept of one question; at most [`MAX_NODES`]. What further ones answer is
    /// only counted.
    pub nodes: usize,
    /// What may wait in one question's [`Answers`](super::Answers); more is counted and dropped.
    pub buffer: InboxLimits,
    /// How many questions this node may ask at once. Others hear no more than
    /// [`OwedLimits::burst`] of it.
    pub burst: u32,
    /// How many more each second.
    pub per_second: u32,
    /// How long a node waits at most, at random, before it answers, so that an asker does not get
    /// thousands of answers in one moment.
    pub spread: Duration,
    /// How long an actor may take to answer before the asker is told that it has the question.
    pub receipt_after: Duration,
    /// What may be owed to others.
    pub owed: OwedLimits,
}

impl Default for AskConfig {
    /// 64 questions open, of 65,536 nodes each; 4,096 answers and 16 MiB waiting to be taken of each;
    /// 100 questions at once and 5 more each second; answers within 250 ms, receipts after 1 s.
    fn default() -> Self {
        Self {
            open: 64,
            nodes: MAX_NODES,
            buffer: InboxLimits { messages: 4096, bytes: 16 << 20 },
            burst: 100,
            per_second: 5,
            spread: Duration::from_millis(250),
            receipt_after: Duration::from_secs(1),
            owed: OwedLimits::default(),
        }
    }
}

impl OverlayConfig {
    /// Whether it can work.
    ///
    /// # Errors
    /// It cannot, and what is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { routing, gossip, ask, inbox } = self;
        let nonzero = [
            ("ask.open", ask.open > 0),
            ("ask.nodes", ask.nodes > 0),
            ("ask.buffer.messages", ask.buffer.messages > 0),
            ("ask.burst", ask.burst > 0),
            ("ask.per-second", ask.per_second > 0),
            ("ask.receipt-after", !ask.receipt_after.is_zero()),
            ("ask.owed.max", ask.owed.max > 0),
            ("ask.owed.max-per-asker", ask.owed.max_per_asker > 0),
            ("ask.owed.burst", ask.owed.burst > 0),
            ("ask.owed.per-second", ask.owed.per_second > 0),
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
        for (name, time) in [("ask.spread", ask.spread), ("ask.receipt-after", ask.receipt_after)] {
            if time > MAX_LIMIT {
                return Err(ConfigError::TooLong { name, max: MAX_LIMIT });
            }
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
        config.routing = RoutingConfig::default();
        config.ask.spread = MAX_LIMIT * 2;
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "ask.spread must not be longer than 10m");
        config.ask = AskConfig { nodes: 0, ..AskConfig::default() };
        assert_eq!(config.validate(), Err(ConfigError::Zero("ask.nodes")));
    }
}
