//! A node of its own, that dials others as the real one would and has an id that nobody knows: so it
//! neither is taken for the real one nor disturbs it.

use std::time::Duration;

use peerage::{
    CloseReason, DialError, HostPort, Node, NodeConfig, NodeId, PeerMessage, StartError,
    config::{DiscoveryConfig, TrustConfig},
    overlay::{Overlay, OverlayConfig, Undelivered},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::bootstrap::Answer;

/// How long a connection and its hello may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the answer about the clock may take.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// It dials whom it is told to, and nobody else.
#[derive(Clone)]
pub(super) struct Probe(Overlay);

/// A message that nobody takes. But whose clock is too far off is told so first.
#[derive(Serialize, Deserialize)]
struct Checkup {}

impl PeerMessage for Checkup {
    const MSGTYPE: &'static str = "checkup";
}

impl Probe {
    /// Starts it with what decides whether others get on with the node.
    pub(super) async fn start(config: &NodeConfig) -> Result<Self, StartError> {
        Self::start_with(Node::builder(), config).await
    }

    async fn start_with(
        builder: peerage::NodeBuilder,
        of: &NodeConfig,
    ) -> Result<Self, StartError> {
        let discovery = DiscoveryConfig {
            target_peers: 0,
            bucket_sessions: 0,
            outbound_min: 0,
            feeler_interval: Duration::from_secs(3600),
            dial_timeout: DIAL_TIMEOUT,
            ..DiscoveryConfig::default()
        };
        let network_key = of.trust.network_key.clone();
        let config = NodeConfig {
            security: of.security,
            network: of.network.clone(),
            trust: TrustConfig { network_key, ..TrustConfig::default() },
            workers: 1,
            discovery,
            ..NodeConfig::default()
        };
        Overlay::start(builder.config(config), OverlayConfig::default()).await.map(Self)
    }

    /// Who is there.
    pub(super) async fn dial(&self, addr: &HostPort) -> Answer {
        let refused = |reason: &CloseReason, detail: String| {
            Answer::Refused(reason.code().to_owned(), detail)
        };
        match self.0.node().dial(addr.clone()).await {
            Ok(id) => Answer::Node(id),
            Err(DialError::Failed { reason, detail }) => refused(&reason, detail),
            Err(DialError::BadAddress(why)) => {
                Answer::Refused("bad-address".to_owned(), why.to_owned())
            }
            Err(DialError::Stopping) => refused(&CloseReason::Shutdown, String::new()),
        }
    }

    /// Whether a node's clock is within five minutes of this machine's; `None` if it does not say.
    pub(super) async fn agrees(&self, id: NodeId) -> Option<bool> {
        match timeout(CLOCK_TIMEOUT, self.0.send(id, &Checkup {})).await {
            Ok(Err(Undelivered::Refused(why))) => match &*why {
                "stale" => Some(false),
                "nobody" => Some(true),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use peerage::clock::Clock;

    use super::*;

    #[actix_rt::test]
    async fn a_clock_that_is_far_off_is_told_apart_from_one_that_is_right() {
        let config =
            NodeConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], ..NodeConfig::default() };
        let node = Node::builder().config(config.clone());
        let right = Overlay::start(node, OverlayConfig::default()).await.unwrap();
        let node = Node::builder().config(config.clone()).clock(Clock::start_at_zero());
        let past = Overlay::start(node, OverlayConfig::default()).await.unwrap();
        let probe = Probe::start(&config).await.unwrap();
        for (overlay, agrees) in [(&right, true), (&past, false)] {
            let there = probe.dial(&overlay.node().listen_addrs()[0]).await;
            assert_eq!(there, Answer::Node(overlay.id()));
            assert_eq!(probe.agrees(overlay.id()).await, Some(agrees));
        }
        assert_eq!(probe.agrees(probe.0.id()).await, Some(true), "its own");
        probe.stop().await;
        right.stop().await;
        past.stop().await;
    }
}
