//! Every number of broadcast that can be set.

use std::time::Duration;

/// How messages to everybody are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GossipConfig {
    /// How long ids gather before they are announced. Longer: fewer frames, and what was lost comes
    /// later.
    pub announce_every: Duration,
    /// To how many neighbours each message is announced, beside those it is handed to. Fewer: less
    /// traffic, and what many lost at once is found later.
    pub announce_to: usize,
    /// How often a neighbour is asked what else it has, which finds what nobody has announced here.
    /// Messages are kept for the longer, or it finds nothing.
    pub compare_every: Duration,
    /// How long a message that was announced has to come by itself before it is asked for. Shorter
    /// than it takes a message to cross the network: it comes twice.
    pub graft_after: Duration,
    /// How long an answer may take before another neighbour is asked.
    pub graft_retry: Duration,
    /// How long messages are kept for those who missed them.
    pub keep_for: Duration,
    /// How many messages are kept; the oldest give way.
    pub keep_messages: usize,
    /// How many bytes of messages are kept; the oldest give way.
    pub keep_bytes: usize,
    /// How many ids of messages are remembered, so that none is taken twice. When more come within
    /// [`MAX_SKEW`](crate::proto::replay::MAX_SKEW), the oldest ones' contemporaries are stale.
    pub taken: usize,
    /// How many messages this node may publish at once. To others it grants a quarter more, since
    /// what was sent evenly comes unevenly. The nodes of one network should agree on it: what is
    /// over another's limit is lost there.
    pub publish_burst: u32,
    /// … and then per second.
    pub publish_per_second: u32,
    /// Origins whose rate is kept in mind; the one that was quiet longest is forgotten.
    pub origins: usize,
}

impl Default for GossipConfig {
    /// Announced every second to 4, compared every 30 s; asked for after 1 s and then every 500 ms;
    /// kept for 120 s, at most 4,096 messages and 16 MiB; 65,536 ids; 200 messages at once, 20 per
    /// second; 4,096 origins.
    fn default() -> Self {
        Self {
            announce_every: Duration::from_secs(1),
            announce_to: 4,
            compare_every: Duration::from_secs(30),
            graft_after: Duration::from_secs(1),
            graft_retry: Duration::from_millis(500),
            keep_for: Duration::from_secs(120),
            keep_messages: 4096,
            keep_bytes: 16 << 20,
            taken: 65_536,
            publish_burst: 200,
            publish_per_second: 20,
            origins: 4096,
        }
    }
}
