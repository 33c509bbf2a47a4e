//! What is compared, and with which load: the same for every contender.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// One way for a message to reach all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// peerage with its overlay, joined through one bootstrap node.
    Peerage,
    /// gossipsub, each node joined to a handful of others by the bench, which knows all addresses.
    #[value(name = "gossipsub-handful")]
    Handful,
    /// gossipsub, every node joined to every other by the bench: as many links as peerage's full mesh.
    #[value(name = "gossipsub-all")]
    All,
    /// gossipsub, joined through one bootstrap node by identify and Kademlia, as peerage is.
    #[value(name = "gossipsub-kad")]
    Kad,
}

impl Contender {
    /// What the table calls it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Peerage => "peerage",
            Self::Handful => "gossipsub, a handful of links",
            Self::All => "gossipsub, linked to all",
            Self::Kad => "gossipsub, one bootstrap and Kademlia",
        }
    }

    /// What the command line calls it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The load of one run.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Plan {
    /// Nodes in the one process.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=200))]
    pub(crate) nodes: u32,
    /// Messages published while it is measured.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) messages: u32,
    /// Messages published in a second, evenly spaced, each by a node chosen at random. So few that no
    /// contender comes near to keeping its core busy, for then latencies would be those of a queue.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,
    /// Bytes of payload in a message.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(4..=32_768))]
    pub(crate) payload: u32,
    /// Seconds from when all nodes have joined until the idle network is measured. gossipsub's first
    /// heartbeat comes after 5.
    #[arg(long, default_value_t = 10)]
    pub(crate) settle: u32,
    /// Seconds for which the idle network is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) idle: u32,
    /// Seconds that the nodes may take to join.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) patience: u32,
    /// Others that each node dials in `gossipsub-handful`. As many dial it, on average.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) dials: u32,
    /// Seed of who publishes what, and of who dials whom. Run after run counts up from it.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Plan {
    /// The time between two messages.
    pub(crate) fn gap(&self) -> Duration {
        Duration::from_secs(1) / self.rate.max(1)
    }

    /// A run that takes longer than this has failed.
    pub(crate) fn limit(&self) -> Duration {
        let load = self.gap() * self.messages;
        let waits = self.patience + self.settle + self.idle;
        // The minute is for stragglers, and for a machine that does something else.
        load + Duration::from_secs(u64::from(waits) + 60)
    }

    /// The command line that [`Plan`] parses into itself.
    pub(crate) fn to_args(self) -> Vec<String> {
        let Self { nodes, messages, rate, payload, settle, idle, patience, dials, seed } = self;
        vec![
            format!("--nodes={nodes}"),
            format!("--messages={messages}"),
            format!("--rate={rate}"),
            format!("--payload={payload}"),
            format!("--settle={settle}"),
            format!("--idle={idle}"),
            format!("--patience={patience}"),
            format!("--dials={dials}"),
            format!("--seed={seed}"),
        ]
    }
}
