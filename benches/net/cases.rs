//! The loads that are compared, under their titles.

use crate::{child::Cores, load::Load};

/// A load under the title it has in the table, and the core its generator is on. The server is on core 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) load: Load,
    pub(crate) title: &'static str,
    pub(crate) generator: Cores,
}

impl Case {
    const fn new(load: Load, title: &'static str) -> Self {
        Self { load, title, generator: Some("1") }
    }

    /// What `--only` knows it by.
    pub(crate) fn name(&self) -> &'static str {
        name_of(self.title)
    }
}

/// A network of nodes in a process of its own, and the cores that it is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) title: &'static str,
    /// The command line of the part that it is.
    pub(crate) part: &'static [&'static str],
    pub(crate) cores: Cores,
}

impl Network {
    /// What `--only` knows it by.
    pub(crate) fn name(&self) -> &'static str {
        name_of(self.title)
    }
}

/// The networks in which one step is compared with three.
pub(crate) const HOPS: [Network; 2] = [
    Network {
        title: "hops: each node on a thread of its own",
        part: &["hops", "--apart"],
        cores: Some("0,1"),
    },
    Network { title: "hops-shared: all on one thread", part: &["hops"], cores: Some("0") },
];

/// The networks in which a message to all is compared with frames over single sessions.
pub(crate) const BROADCAST: [Network; 3] = [
    Network {
        title: "broadcast: 50 nodes on one thread, 1 KiB, 20 messages a second",
        part: &["broadcast", "--rate=20"],
        cores: Some("0"),
    },
    Network {
        title: "broadcast-brisk: the same, 100 messages a second",
        part: &["broadcast", "--rate=100"],
        cores: Some("0"),
    },
    Network {
        title: "broadcast-slow: the same, 5 messages a second",
        part: &["broadcast", "--rate=5"],
        cores: Some("0"),
    },
];

/// What stands before the colon of a title.
pub(crate) fn name_of(title: &str) -> &str {
    title.split(':').next().unwrap_or_default()
}

/// Every load that is compared. Arrows point to the better side.
pub(crate) const CASES: [Case; 15] = [
    Case::new(Load::PingDeep, "ping-deep: 16 connections, 32 in flight (pongs/s ↑)"),
    Case::new(Load::PingWide, "ping-wide: 64 connections, 1 in flight (pongs/s ↑)"),
    Case::new(Load::RoundTrip, "round-trip: 1 connection, 1 in flight (µs ↓)"),
    // Between cores, waking the other core is most of the time; here it is what the two programs do.
    Case {
        generator: Some("0"),
        ..Case::new(Load::RoundTrip, "round-trip-shared: the same, both on one core (µs ↓)")
    },
    Case::new(Load::Connect, "connect: hello and close, 32 at a time (connections/s ↑)"),
    Case::new(Load::GetAddr, "get-addr: 100 addresses, 16 connections, 4 in flight (replies/s ↑)"),
    Case::new(Load::Fan100, "fan-100: 1 to 10, 100 B of text (deliveries/s ↑)"),
    Case::new(Load::Fan1k, "fan-1k: 1 to 10, 1 KiB of text (deliveries/s ↑)"),
    Case::new(Load::Discard, "discard: unknown msgtypes, 4 connections (lines/s ↑)"),
    Case::new(Load::Idle, "idle: memory of a session (KiB ↓)"),
    Case::new(
        Load::TlsHandshake,
        "tls-handshake: connect, mutual TLS, hellos, close, 32 at a time (handshakes/s ↑)",
    ),
    Case::new(Load::TlsPingDeep, "tls-ping-deep: 16 connections, 32 in flight (pongs/s ↑)"),
    Case::new(Load::TlsLines, "tls-lines: 64 KiB lines one way, 4 connections (B/s ↑)"),
    Case::new(Load::TlsIdle, "tls-idle: memory of an encrypted session (KiB ↓)"),
    Case::new(Load::Relay, "relay: routed messages of 1 KiB, and their answers (messages/s ↑)"),
];
