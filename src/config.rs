//! What a node can be told: one plain struct per concern, with the defaults in one place each.
//!
//! Every field says its unit and what breaks when it is wrong. [`NodeConfig::validate`] is called
//! on start, so a combination that cannot work is refused before anything is opened.

mod role;

use std::{collections::BTreeSet, time::Duration};

use thiserror::Error;

pub use self::role::{IntroductionConfig, Role};
use crate::{
    address::{Bootstrap, HostPort},
    identity::NetworkKey,
    ids::NodeId,
    wire::{
        MAX_LINE,
        tags::{Tags, TagsError, check_tags},
    },
};

/// Everything a node is started with. `Default` is right for a node on an ordinary network.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// What the node is there for. [`NodeConfig::for_role`] has the numbers that suit each.
    pub role: Role,
    /// Addresses to listen on; port 0 picks a free one. Empty: the node only dials and is never
    /// advertised.
    pub listen: Vec<HostPort>,
    /// The address others should dial, if it differs from the listening address.
    pub advertise: Option<HostPort>,
    /// First contacts. Names are resolved to all their addresses; each is retried for ever.
    pub bootstrap: Vec<Bootstrap>,
    /// Whether connections are encrypted.
    pub security: Security,
    /// Who may be a peer at all.
    pub trust: TrustConfig,
    /// Nodes of different network names do not talk (`bye wrong-network`).
    pub network: String,
    /// What this node says of itself for others to choose by, such as `region` = `eu`: at most 16, with
    /// names and values of 1 to 64 printable bytes. Can be changed while it runs.
    pub tags: Tags,
    /// What this node calls itself in its hello, `name/version`; at most 64 bytes.
    pub agent: String,
    /// How many arbiters (threads) carry sessions. 1 keeps everything on the caller's thread.
    pub workers: usize,
    /// When a peer counts as alive.
    pub liveness: LivenessConfig,
    /// How much one session may use.
    pub session: SessionConfig,
    /// How many sessions there may be.
    pub limits: LimitsConfig,
    /// What is kept of addresses, and how they are dialled.
    pub discovery: DiscoveryConfig,
    /// How an introducer introduces. Of no meaning to others.
    pub introduction: IntroductionConfig,
    /// Decisions kept in the journal; the oldest is overwritten.
    pub journal_entries: usize,
}

/// Whether connections are encrypted, by TLS 1.3 with raw public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Only encrypted: classic peers are refused with `tls-required`.
    Require,
    /// Encrypted wherever the other side can be: an id that can prove itself is never taken over
    /// plaintext, and classic peers are still welcome.
    #[default]
    Prefer,
    /// Never: the node has a random id that proves nothing. For protocol work and tests.
    Off,
}

impl Security {
    /// As it is typed.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Prefer => "prefer",
            Self::Off => "off",
        }
    }
}

/// Who may be a peer at all, besides what the network's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustConfig {
    /// The ids that may connect or be connected to; any if there is no list. Only ids that can
    /// prove themselves can stand here.
    pub allow: Option<BTreeSet<NodeId>>,
    /// The secret of a private network: whoever does not prove that it knows it is refused with
    /// `not-member`, before anything else is served. Proofs need encryption.
    pub network_key: Option<NetworkKey>,
    /// How long an id or address that broke the protocol is discouraged; zero: not at all.
    pub discourage_for: Duration,
    /// Discouraged ids and addresses kept in mind; beyond it the one that ends first is dropped.
    pub max_discouraged: usize,
    /// Bans kept at once; beyond it another is refused to the operator.
    pub max_bans: usize,
}

/// When a peer counts as alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivenessConfig {
    /// Time from one ping to the next. Shorter finds the dead sooner and costs two small messages
    /// per session each time.
    pub ping_interval: Duration,
    /// A session without a pong for this long is closed with `timeout`, and an address without an
    /// answer for this long is no longer advertised. Must be at least the ping interval.
    pub dead_after: Duration,
}

/// How much one session may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// From the making of a connection to a valid hello; then `bye timeout`.
    pub handshake_timeout: Duration,
    /// Frames waiting for one peer; beyond it sending is refused as outbox-full.
    pub outbox_frames: usize,
    /// Bytes waiting for one peer, attachments included; beyond it sending is refused as outbox-full,
    /// but one message of any size may always wait. At least the longest line, 64 KiB.
    pub outbox_bytes: usize,
    /// A peer that takes no byte for this long while some wait, or whose outbox stays full for
    /// this long, is closed with `slow`.
    pub stall_timeout: Duration,
    /// How long a closing session may take to hand over its last frames.
    pub close_grace: Duration,
    /// Bytes of one session's messages that actors have not finished with, attachments included;
    /// beyond it the session is not read until half of them are done. A longer message counts as all
    /// there is of it. At least the longest line, 64 KiB.
    pub undelivered_bytes: usize,
    /// Lines taken from one session at once after a quiet time; beyond it the session is read no
    /// faster than `messages_per_second`.
    pub message_burst: u32,
    /// Lines taken from one session per second in the long run. What comes faster waits in the
    /// sender's own buffers; nothing is dropped.
    pub messages_per_second: u32,
}

/// How many sessions there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Inbound sessions; beyond it a newcomer takes the place of a session of a more crowded
    /// network group ([`eviction`](crate::proto::eviction)), or gets `bye full`. Zero: none.
    pub max_inbound: usize,
    /// Inbound connections from one address; one more is refused as `full`. Not for loopback.
    pub max_per_address: usize,
    /// Inbound connections from one subnet (IPv4 /24, IPv6 /64); one more is refused as `full`.
    /// Not for loopback.
    pub max_per_subnet: usize,
    /// Inbound connections that have not finished their hello; beyond it the oldest is closed. As many
    /// again may be closing; beyond it the one that has had the most time for it is dropped.
    pub max_unfinished: usize,
}

/// What is kept of addresses, and how they are dialled.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveryConfig {
    /// The node dials whomever it knows while it has fewer sessions than this: networks of up to
    /// about so many nodes are a full mesh.
    pub target_peers: usize,
    /// Sessions that are wanted in each bucket of XOR distance
    /// ([`buckets`](crate::proto::buckets)), inbound and outbound counted together, as far as the
    /// network can fill it. More makes routes shorter and the loss of many nodes at once harmless;
    /// each costs a session more for every doubling of the network. Zero: none but `target_peers`.
    pub bucket_sessions: usize,
    /// Of these, so many are to be sessions that this node has dialled itself, as far as they are
    /// that many: whoever connects to it from many addresses then still is not all it knows.
    pub outbound_min: usize,
    /// Outbound sessions and dials per group of public addresses (IPv4 /16, IPv6 /32), while
    /// addresses are known in groups enough; an eighth of `target_peers` if that is less, but one.
    /// Not for first contacts. More makes it easier to have all of a node's sessions.
    pub outbound_per_group: usize,
    /// Addresses kept warm (dialled when sessions are wanted): three quarters of the room are for
    /// hearsay and one for proven ones. What a full bucket does not take is refused, or waits.
    pub book_entries: usize,
    /// Buckets (of 32) that one source group can fill with hearsay. More lets one liar fill more of
    /// the book; fewer lets a small network behind one group learn less at a time.
    pub source_buckets: usize,
    /// Buckets (of 32) that one group of addresses can fill with proven ones.
    pub group_buckets: usize,
    /// Proven addresses that are asked at the same time whether they still answer, since another
    /// wants their place; beyond it the others keep theirs unasked.
    pub pending_tests: usize,
    /// The pause between two feelers to hearsay, when there are sessions enough.
    pub feeler_interval: Duration,
    /// The pause between two times that changed addresses are kept on disk; so much is lost in a
    /// crash.
    pub save_interval: Duration,
    /// Proven addresses kept after their redial ladder is used up, retried at `cold_retry`.
    pub cold_entries: usize,
    /// Pauses after the first, second, … failed dial of an address; the last one repeats for
    /// bootstraps (capped by `bootstrap_retry_max`), others go cold or are forgotten.
    pub redial: Vec<Duration>,
    /// The longest pause between two dials of a bootstrap address.
    pub bootstrap_retry_max: Duration,
    /// The pause between two dials of a cold address.
    pub cold_retry: Duration,
    /// Outbound dials at the same time.
    pub dials_in_flight: usize,
    /// Dials started at once after a quiet time.
    pub dial_burst: u32,
    /// Dials started per second in the long run.
    pub dials_per_second: u32,
    /// One dial: resolve, connect and hello.
    pub dial_timeout: Duration,
    /// Addresses in one `addr` reply, and those of one that was asked for which cost no allowance.
    pub addr_reply_max: usize,
    /// Unsolicited addresses taken from one session at once.
    pub addr_burst: u32,
    /// Unsolicited addresses taken from one session per second in the long run.
    pub addrs_per_second: u32,
    /// The first pause after this node has offered to end sessions that it could do without; it doubles
    /// up to ten minutes while nobody takes the offer. Zero: it offers none.
    pub spare_interval: Duration,
    /// The first pause before peers are asked again for addresses in some bucket; it doubles up to
    /// `refresh_max` while nothing new is heard.
    pub refresh_min: Duration,
    /// The longest pause before peers are asked again for addresses in some bucket.
    pub refresh_max: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            role: Role::default(),
            listen: Vec::new(),
            advertise: None,
            bootstrap: Vec::new(),
            security: Security::default(),
            trust: TrustConfig::default(),
            network: "main".to_owned(),
            tags: Tags::new(),
            agent: concat!("peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            liveness: LivenessConfig::default(),
            session: SessionConfig::default(),
            limits: LimitsConfig::default(),
            discovery: DiscoveryConfig::default(),
            introduction: IntroductionConfig::default(),
            journal_entries: 4096,
        }
    }
}

impl Default for TrustConfig {
    fn default() -> Self {
        Self {
            allow: None,
            network_key: None,
            discourage_for: Duration::from_secs(3600),
            max_discouraged: 4096,
            max_bans: 4096,
        }
    }
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self { ping_interval: Duration::from_secs(60), dead_after: Duration::from_secs(240) }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            outbox_frames: 1024,
            outbox_bytes: 4 << 20,
            stall_timeout: Duration::from_secs(5),
            close_grace: Duration::from_secs(1),
            undelivered_bytes: 512 * 1024,
            message_burst: 20_000,
            messages_per_second: 10_000,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { max_inbound: 512, max_per_address: 16, max_per_subnet: 64, max_unfinished: 256 }
    }
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            target_peers: 16,
            bucket_sessions: 4,
            outbound_min: 8,
            outbound_per_group: 2,
            book_entries: 8192,
            source_buckets: 16,
            group_buckets: 4,
            pending_tests: 10,
            feeler_interval: Duration::from_secs(120),
            save_interval: Duration::from_secs(10),
            cold_entries: 4096,
            redial: [1, 5, 15, 60, 600].map(Duration::from_secs).to_vec(),
            bootstrap_retry_max: Duration::from_secs(60),
            cold_retry: Duration::from_secs(3600),
            dials_in_flight: 16,
            dial_burst: 32,
            dials_per_second: 10,
            dial_timeout: Duration::from_secs(10),
            addr_reply_max: 256,
            addr_burst: 1000,
            addrs_per_second: 10,
            spare_interval: Duration::from_secs(10),
            refresh_min: Duration::from_secs(2),
            refresh_max: Duration::from_secs(600),
        }
    }
}

/// A configuration that cannot work. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The ping interval is longer than the time after which a silent peer is dead, so every
    /// healthy session would be closed between two pings.
    #[error(
        "ping-interval ({}) must not be longer than dead-after ({})",
        humantime::format_duration(*ping_interval),
        humantime::format_duration(*dead_after)
    )]
    PingAboveDeadAfter {
        /// The configured ping interval.
        ping_interval: Duration,
        /// The configured dead-after.
        dead_after: Duration,
    },
    /// A quantity that must be at least one is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// A time is longer than others wait.
    #[error("{name} must not be longer than {}", humantime::format_duration(*max))]
    TooLong {
        /// What is configured.
        name: &'static str,
        /// The longest time.
        max: Duration,
    },
    /// A place for lines has not even room for the longest.
    #[error("{0} must be at least {MAX_LINE}, the longest line")]
    BelowLine(&'static str),
    /// A text is longer than the wire allows, empty, or has control characters.
    #[error("{0} must have 1 to 64 printable characters")]
    BadName(&'static str),
    /// The node cannot have these tags.
    #[error(transparent)]
    Tags(#[from] TagsError),
    /// A membership, an allowed id or a pinned bootstrap can be proven only over encrypted
    /// connections.
    #[error("what {0} asks for needs encryption, so security must not be off")]
    NeedsEncryption(&'static str),
    /// Nothing can prove this id.
    #[error("{0} cannot be an allowed id: it is not of version 8, so nothing proves it")]
    AllowsUnproven(NodeId),
    /// The advertised address cannot be dialled by anybody.
    #[error("cannot advertise {0}: {1}")]
    Advertise(HostPort, &'static str),
}

impl NodeConfig {
    /// Checks the fields against each other.
    ///
    /// # Errors
    /// The first combination that cannot work, in words meant for the person who configured it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let LivenessConfig { ping_interval, dead_after } = self.liveness;
        let nonzero = [
            ("ping-interval", !ping_interval.is_zero()),
            ("handshake-timeout", !self.session.handshake_timeout.is_zero()),
            ("stall-timeout", !self.session.stall_timeout.is_zero()),
            ("outbox-frames", self.session.outbox_frames > 0),
            ("workers", self.workers > 0),
            ("max-per-address", self.limits.max_per_address > 0),
            ("max-per-subnet", self.limits.max_per_subnet > 0),
            ("max-unfinished", self.limits.max_unfinished > 0),
            ("max-discouraged", self.trust.max_discouraged > 0),
            ("max-bans", self.trust.max_bans > 0),
            ("message-burst", self.session.message_burst > 0),
            ("messages-per-second", self.session.messages_per_second > 0),
            ("journal-entries", self.journal_entries > 0),
            ("book-entries", self.discovery.book_entries > 0),
            ("source-buckets", self.discovery.source_buckets > 0),
            ("group-buckets", self.discovery.group_buckets > 0),
            ("outbound-per-group", self.discovery.outbound_per_group > 0),
            ("feeler-interval", !self.discovery.feeler_interval.is_zero()),
            ("save-interval", !self.discovery.save_interval.is_zero()),
            ("redial", !self.discovery.redial.is_empty()),
            ("dials-in-flight", self.discovery.dials_in_flight > 0),
            ("dial-burst", self.discovery.dial_burst > 0),
            ("dials-per-second", self.discovery.dials_per_second > 0),
            ("dial-timeout", !self.discovery.dial_timeout.is_zero()),
            ("addrs-per-second", self.discovery.addrs_per_second > 0),
            ("refresh-min", !self.discovery.refresh_min.is_zero()),
            ("introduction", self.introduction.is_nonzero()),
        ];
        if let Some((name, _)) = nonzero.iter().find(|(_, ok)| !ok) {
            return Err(ConfigError::Zero(name));
        }
        let room = [
            ("undelivered-bytes", self.session.undelivered_bytes),
            ("outbox-bytes", self.session.outbox_bytes),
        ];
        if let Some((name, _)) = room.iter().find(|(_, bytes)| *bytes < MAX_LINE) {
            return Err(ConfigError::BelowLine(name));
        }
        if ping_interval > dead_after {
            return Err(ConfigError::PingAboveDeadAfter { ping_interval, dead_after });
        }
        for (name, text) in [("network", &self.network), ("agent", &self.agent)] {
            if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
                return Err(ConfigError::BadName(name));
            }
        }
        check_tags(&self.tags)?;
        self.validate_trust()?;
        if let Some(addr) = &self.advertise
            && let Err(why) = addr.check_dialable()
        {
            return Err(ConfigError::Advertise(addr.clone(), why.text()));
        }
        Ok(())
    }

    fn validate_trust(&self) -> Result<(), ConfigError> {
        let TrustConfig { allow, network_key, .. } = &self.trust;
        let needing = [
            ("network-key", network_key.is_some()),
            ("allow", allow.is_some()),
            ("bootstrap", self.bootstrap.iter().any(|contact| contact.id.is_some())),
        ];
        if let Some((name, _)) = needing.iter().find(|(_, needs)| *needs)
            && self.security == Security::Off
        {
            return Err(ConfigError::NeedsEncryption(name));
        }
        match allow.iter().flatten().find(|id| !id.is_self_certifying()) {
            Some(id) => Err(ConfigError::AllowsUnproven(*id)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(NodeConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_ping_interval_above_dead_after_is_refused_with_both_figures() {
        let mut config = NodeConfig::default();
        config.liveness.ping_interval = Duration::from_secs(300);
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "ping-interval (5m) must not be longer than dead-after (4m)");
    }

    #[test]
    fn an_unspecified_advertised_address_is_refused() {
        let config = NodeConfig {
            advertise: Some("0.0.0.0:5999".parse().unwrap()),
            ..NodeConfig::default()
        };
        assert!(matches!(config.validate(), Err(ConfigError::Advertise(..))));
    }
}
