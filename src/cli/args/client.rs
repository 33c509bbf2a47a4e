//! The flags of the commands that talk to a running node.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, Subcommand};

use super::{
    Typed, annotate,
    data::{self, DataArgs},
    help::DATA_NOTES,
    place, sourced,
};

/// Which node, and how the answer is to look.
#[derive(Debug, Clone, Args)]
pub(crate) struct Node {
    /// The data directory of the node.
    #[arg(long, env = "PEERAGE_DATA_DIR", value_name = "DIR", help_heading = "Which node")]
    data_dir: Option<PathBuf>,

    /// Read `data-dir` from this TOML file, the same as for `peerage run`.
    #[arg(long, env = "PEERAGE_CONFIG", value_name = "FILE", help_heading = "Which node")]
    config: Option<PathBuf>,

    /// Talk to the node whose control API is here, not to that of a data directory.
    #[arg(long, value_name = "HOST:PORT", help_heading = "Which node")]
    pub(crate) api: Option<String>,

    /// Take the token from this file, not from the data directory.
    #[arg(long, value_name = "FILE", help_heading = "Which node")]
    pub(crate) api_token_file: Option<PathBuf>,

    /// Print JSON: one object, or one on each line of what streams.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commands that talk to a running node.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ClientVerb {
    /// Show the connected peers of a running node.
    Peers(PeersArgs),
    /// Show a running node: who it is, where it listens, what it knows.
    Info(NodeOnly),
    /// Show the addresses that a node knows, and from whom.
    Addrs(NodeOnly),
    /// Explain what a node knows and did about another node or an address.
    ///
    /// What was tried, when, what came of it, and what happens next.
    Why(WhyArgs),
    /// Connect to an address now.
    Dial(DialArgs),
    /// End the session with a peer. The node may meet it again; `ban` keeps it away.
    Disconnect(IdArgs),
    /// Ban a node, an address or a subnet.
    Ban(BanArgs),
    /// Take a ban back.
    Unban(TargetArgs),
    /// Show who is banned, and who is not wanted for a while.
    Bans(NodeOnly),
    /// Send a text to a node, wherever in the network it is.
    ///
    /// Says whether it was delivered, and how long that took; or why not.
    Send(SendArgs),
    /// Publish a text to all nodes that take its topic.
    Publish(PublishArgs),
    /// Take a topic, and print what is published on it until Ctrl-C.
    Listen(ListenArgs),
    /// Ask other nodes, and print what they answer as it comes.
    Ask(AskArgs),
    /// Read and write what nodes share: sets of keys and values that every node which joins them holds.
    #[command(after_long_help = DATA_NOTES, after_help = "`peerage data --help` has examples.")]
    Data(DataArgs),
    /// Print what happens in a node until Ctrl-C: peers, messages, decisions.
    Events(EventsArgs),
    /// Watch a running node on the whole screen: peers, rates, round trips, decisions.
    ///
    /// `?` shows the keys. With --json it prints once what the screen would show.
    Top(TopArgs),
}

/// Nothing but which node.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeOnly {
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The flags of `peers`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeersArgs {
    /// Show them again every two seconds, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `why`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhyArgs {
    /// A node id, or how no other known one begins; or an address.
    #[arg(value_name = "ID|HOST:PORT")]
    pub(crate) about: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `dial`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DialArgs {
    /// The address.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) addr: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `disconnect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IdArgs {
    /// The id of a peer, or how no other peer's begins.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `ban`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BanArgs {
    /// A node id (or how no other known one begins), an IP address, or a subnet.
    #[arg(value_name = "ID|IP|SUBNET")]
    pub(crate) target: String,
    /// For how long.
    #[arg(long = "for", value_name = "DURATION", default_value = "1day", value_parser = humantime::parse_duration)]
    pub(crate) lasts: std::time::Duration,
    /// A note for yourself, which `bans` shows.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `unban`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// What was banned.
    #[arg(value_name = "ID|IP|SUBNET")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `send`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SendArgs {
    /// The id of a node, or how no other known one begins.
    pub(crate) id: String,
    /// The text; `-` reads it from stdin.
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `publish`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PublishArgs {
    /// What it is about: 1 to 64 bytes.
    pub(crate) topic: String,
    /// The text; `-` reads it from stdin.
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `listen`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListenArgs {
    /// The topic.
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The arguments of `ask`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AskArgs {
    /// The question; `-` reads it from stdin.
    pub(crate) text: String,
    /// Ask only nodes that have this tag; may be given several times.
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// For how long to wait for answers.
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) limit: std::time::Duration,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The flags of `events`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    /// Only events of this name (peer-up, peer-changed, peer-down, decision, message, inquiry); may be
    /// given several times.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// The flags of `top`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) node: Node,
}

impl ClientVerb {
    /// Which node.
    pub(crate) const fn node(&self) -> &Node {
        match self {
            Self::Peers(PeersArgs { node, .. })
            | Self::Info(NodeOnly { node })
            | Self::Addrs(NodeOnly { node })
            | Self::Bans(NodeOnly { node })
            | Self::Why(WhyArgs { node, .. })
            | Self::Dial(DialArgs { node, .. })
            | Self::Disconnect(IdArgs { node, .. })
            | Self::Ban(BanArgs { node, .. })
            | Self::Unban(TargetArgs { node, .. })
            | Self::Send(SendArgs { node, .. })
            | Self::Publish(PublishArgs { node, .. })
            | Self::Listen(ListenArgs { node, .. })
            | Self::Ask(AskArgs { node, .. })
            | Self::Data(DataArgs { node, .. })
            | Self::Events(EventsArgs { node, .. })
            | Self::Top(TopArgs { node }) => node,
        }
    }
}

impl ClientVerb {
    /// What they are called.
    pub(super) fn names() -> Vec<String> {
        let all = Self::augment_subcommands(Command::new("all"));
        all.get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }
}

/// The command, with what holds for the settings that `peerage run` has too.
pub(super) fn annotated(command: Command, defaults: &[(&'static str, String)]) -> Command {
    let is_data = command.get_name() == "data";
    let command = command.mut_args(|arg| match arg.get_long() {
        Some("data-dir" | "config") => annotate(arg, defaults, true),
        _ => arg,
    });
    if is_data { data::annotated(command) } else { command }
}

impl Node {
    /// Sorts the values by the layer they come from.
    pub(super) fn by_layer(&self, matches: &ArgMatches) -> Typed {
        let mut typed = Typed::default();
        let Typed { flags, env, config } = &mut typed;
        place(matches, "data_dir", self.data_dir.clone(), &mut flags.data_dir, &mut env.data_dir);
        *config = sourced(matches, "config", self.config.clone());
        typed
    }
}
