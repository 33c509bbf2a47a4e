//! The flags of `peerage run` and `peerage config`.

use std::path::PathBuf;

use clap::{ArgMatches, Args};

use super::{Typed, place, sourced};
use crate::cli::limits::{LIMITS, LimitArgs};

/// The flags of `run` and `config`. Every one but `--config` is also a key of the file.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// What the node is there for.
    ///
    /// `peer`: to find others and stay connected with them. `introducer`: only to introduce others to
    /// each other, and let them go; it keeps a book of addresses that it has proven, and dials only to
    /// prove them.
    #[arg(long, env = "PEERAGE_ROLE", value_name = "peer|introducer")]
    role: Option<String>,

    /// Listen here; may be given several times. Port 0 picks a free port.
    ///
    /// `0.0.0.0` is every IPv4 address of the machine; `[::]` is every IPv6 address, and every IPv4
    /// address too unless one is listened on beside it at the same port. The first lines on start say which port was picked.
    #[arg(long, env = "PEERAGE_LISTEN", value_name = "HOST:PORT", value_delimiter = ',')]
    listen: Option<Vec<String>>,

    /// The address other nodes should dial, if it is not the one listened on.
    ///
    /// For nodes behind a forwarded port. Without it a node that listens on a specific address
    /// announces that, and one that listens on every address announces what its peers see.
    #[arg(long, env = "PEERAGE_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,

    /// A node to join through; may be given several times.
    ///
    /// A DNS name stands for all its addresses. Each is retried for ever, so nodes may start in
    /// any order. Without any, this node waits to be joined. With `/` and a node id behind it, no
    /// other node is accepted there: `seed.example:5999/7a5f…`.
    #[arg(
        long,
        env = "PEERAGE_BOOTSTRAP",
        value_name = "HOST:PORT[/NODEID]",
        value_delimiter = ','
    )]
    bootstrap: Option<Vec<String>>,

    /// Find nodes of the same network on the local network, and be found there.
    ///
    /// By multicast DNS, as `_peerage._tcp.local.`. Everybody there can see the node's id, where it listens
    /// and its network's name (of a private network, see --network-key, not the name). What is found is
    /// believed when it has proven itself, as any address. A node that listens on loopback alone does
    /// this on loopback alone.
    #[arg(long, env = "PEERAGE_LAN", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    lan: Option<String>,

    /// What the node says of itself for others to choose by; may be given several times.
    ///
    /// At most 16, each with a name and a value of 1 to 64 bytes. Nothing proves what a node says.
    #[arg(long, env = "PEERAGE_TAG", value_name = "KEY=VALUE", value_delimiter = ',')]
    tag: Option<Vec<String>>,

    /// Time from one ping to the next, on every session.
    #[arg(long, env = "PEERAGE_PING_INTERVAL", value_name = "DURATION")]
    ping_interval: Option<String>,

    /// A peer that answers no ping for this long is dead and let go.
    ///
    /// Must not be shorter than the ping interval; a few times as long is sensible.
    #[arg(long, env = "PEERAGE_DEAD_AFTER", value_name = "DURATION")]
    dead_after: Option<String>,

    /// A connection without a valid hello after this long is closed.
    #[arg(long, env = "PEERAGE_HANDSHAKE_TIMEOUT", value_name = "DURATION")]
    handshake_timeout: Option<String>,

    /// Encryption between nodes.
    ///
    /// `require`: talk only encrypted; peers that cannot are refused. `prefer`: talk encrypted with
    /// every node that can prove its id, and plainly with simple peers that have none to prove.
    /// `off`: never encrypt, and have a random id that proves nothing, for protocol work and tests.
    #[arg(long, env = "PEERAGE_SECURITY", value_name = "require|prefer|off")]
    security: Option<String>,

    /// The network to be part of. Nodes of different names do not talk.
    ///
    /// 1 to 64 characters. It keeps networks apart that meet by accident, and keeps nobody out: for
    /// that there are --network-key and --allow.
    #[arg(long, env = "PEERAGE_NETWORK", value_name = "NAME")]
    network: Option<String>,

    /// A private network: only nodes that have the secret in this file are peers.
    ///
    /// Every node of the network is given the same file, made for instance by
    /// `openssl rand -hex 32`. The secret never travels: nodes prove to each other, encrypted, that
    /// they know it. White space at its ends does not count.
    #[arg(long, env = "PEERAGE_NETWORK_KEY", value_name = "FILE")]
    network_key: Option<PathBuf>,

    /// Only nodes whose ids are in this file may be peers.
    ///
    /// One id a line, as `peerage id` shows it; `#` begins a comment. The configuration file may
    /// hold the ids themselves: `allow = ["ID", …]` under `[trust]`.
    #[arg(long, env = "PEERAGE_ALLOW", value_name = "FILE")]
    allow: Option<PathBuf>,

    /// Keep what outlives a run here. Not at once with --ephemeral.
    ///
    /// The node's key is made here on the first start (node.key, readable for you only), and so the
    /// node has the same id on each start. One node at a time can use a directory. Beats an
    /// `ephemeral` of a weaker layer.
    #[arg(long, env = "PEERAGE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Touch no disk: a new id on every start. Not at once with --data-dir.
    ///
    /// For further nodes on one machine, for trying things out, and for read-only systems. Beats a
    /// `data-dir` of a weaker layer.
    #[arg(long, env = "PEERAGE_EPHEMERAL", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ephemeral: Option<String>,

    /// Serve the control API here: what `peerage peers`, `send` and the others talk to.
    ///
    /// An IP address of this machine, or `localhost`. Port 0 picks a free port; if nobody says anything
    /// and 7999 is in use, so does the node. Whoever asks must know the token in the data directory
    /// (api.token, readable for you only). A node without a data directory serves it only if this is said,
    /// together with --api-token-file.
    #[arg(long, env = "PEERAGE_API", value_name = "HOST:PORT")]
    api: Option<String>,

    /// Let the control API be reached from other machines.
    ///
    /// It is not encrypted: the token can be read on the way. For containers and trusted networks.
    #[arg(long, env = "PEERAGE_API_ALLOW_REMOTE", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    api_allow_remote: Option<String>,

    /// Keep the token of the control API in this file, not in the data directory.
    ///
    /// It is made if it is missing, readable for you only.
    #[arg(long, env = "PEERAGE_API_TOKEN_FILE", value_name = "FILE")]
    api_token_file: Option<PathBuf>,

    /// Do not serve the control API.
    ///
    /// The commands that talk to a running node cannot reach this one then.
    #[arg(long, env = "PEERAGE_NO_API", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_api: Option<String>,

    /// Read settings from this TOML file.
    ///
    /// The keys are the names of the flags without dashes in front; an unknown key is an error.
    /// No file is read unless it is named.
    #[arg(long, env = "PEERAGE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// What to log on stderr: a level, or targets with levels.
    ///
    /// Levels are error, warn, info, debug, trace and off. `peerage=debug` is one target,
    /// `warn,peerage=debug` that and warnings of everything else.
    #[arg(long, env = "PEERAGE_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// How to log: lines for people, or one JSON object per line.
    ///
    /// Text is coloured only if stderr is a terminal and NO_COLOR is not set.
    #[arg(long, env = "PEERAGE_LOG_FORMAT", value_name = "text|json")]
    log_format: Option<String>,

    /// Threads that carry sessions; by default one per core.
    #[arg(long, env = "PEERAGE_WORKERS", value_name = "N")]
    workers: Option<String>,

    /// How long a node or address that broke the protocol is discouraged.
    ///
    /// It is not dialled, and its sessions are the first to give way.
    #[arg(long, env = "PEERAGE_DISCOURAGE_FOR", value_name = "DURATION", help_heading = "Limits")]
    discourage_for: Option<String>,

    /// The numbers.
    #[command(flatten)]
    _limits: LimitArgs,
}

impl NodeArgs {
    /// Sorts the values by the layer they come from.
    pub(super) fn by_layer(self, matches: &ArgMatches) -> Typed {
        let mut typed = Typed::default();
        let Typed { flags, env, config } = &mut typed;
        place(matches, "role", self.role, &mut flags.role, &mut env.role);
        place(matches, "listen", self.listen, &mut flags.listen, &mut env.listen);
        place(matches, "advertise", self.advertise, &mut flags.advertise, &mut env.advertise);
        place(matches, "bootstrap", self.bootstrap, &mut flags.bootstrap, &mut env.bootstrap);
        place(matches, "lan", self.lan, &mut flags.lan, &mut env.lan);
        place(matches, "tag", self.tag, &mut flags.tag, &mut env.tag);
        let value = self.ping_interval;
        place(matches, "ping_interval", value, &mut flags.ping_interval, &mut env.ping_interval);
        place(matches, "dead_after", self.dead_after, &mut flags.dead_after, &mut env.dead_after);
        let value = self.handshake_timeout;
        let (flag, variable) = (&mut flags.handshake_timeout, &mut env.handshake_timeout);
        place(matches, "handshake_timeout", value, flag, variable);
        place(matches, "security", self.security, &mut flags.security, &mut env.security);
        place(matches, "network", self.network, &mut flags.network, &mut env.network);
        let value = self.network_key;
        place(matches, "network_key", value, &mut flags.network_key, &mut env.network_key);
        place(matches, "allow", self.allow, &mut flags.allow, &mut env.allow);
        let value = self.discourage_for;
        place(matches, "discourage_for", value, &mut flags.discourage_for, &mut env.discourage_for);
        place(matches, "data_dir", self.data_dir, &mut flags.data_dir, &mut env.data_dir);
        place(matches, "ephemeral", self.ephemeral, &mut flags.ephemeral, &mut env.ephemeral);
        place(matches, "api", self.api, &mut flags.api, &mut env.api);
        let value = self.api_allow_remote;
        let (flag, variable) = (&mut flags.api_allow_remote, &mut env.api_allow_remote);
        place(matches, "api_allow_remote", value, flag, variable);
        let value = self.api_token_file;
        let (flag, variable) = (&mut flags.api_token_file, &mut env.api_token_file);
        place(matches, "api_token_file", value, flag, variable);
        place(matches, "no_api", self.no_api, &mut flags.no_api, &mut env.no_api);
        place(matches, "log", self.log, &mut flags.log, &mut env.log);
        place(matches, "log_format", self.log_format, &mut flags.log_format, &mut env.log_format);
        place(matches, "workers", self.workers, &mut flags.workers, &mut env.workers);
        for key in LIMITS.iter().map(|limit| limit.key) {
            let (mut flag, mut variable) = (None, None);
            place(matches, key, matches.get_one(key).cloned(), &mut flag, &mut variable);
            flags.limits.extend(flag.map(|value| (key, value)));
            env.limits.extend(variable.map(|value| (key, value)));
        }
        *config = sourced(matches, "config", self.config);
        typed
    }
}
