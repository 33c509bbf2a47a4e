//! What was typed: flags and environment variables, unparsed, and the help texts.
//!
//! clap finds the values and tells a flag from a variable; what they mean is the business of
//! `resolve`, so that a bad address reads the same from whichever layer it comes.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::Resettable, error::ErrorKind, parser::ValueSource,
};

use super::{
    error::{Failure, UsageError},
    layer::{Layer, Layers, Origin, Sourced, env_name},
    print, resolve,
};

/// A peer-to-peer node: start some, point each at any other, and they all find each other.
///
/// Every node has an id, keeps a table of the nodes it knows to be alive, notices who dies and
/// tells newcomers. There is no server.
#[derive(Debug, Parser)]
#[command(name = "peerage", version, after_long_help = EXAMPLES)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Verb,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a node until Ctrl-C.
    ///
    /// The first lines on stderr say the node's id, where it listens, and the command that joins
    /// it from another terminal; the log follows.
    #[command(after_long_help = RUN_NOTES)]
    Run(NodeArgs),
    /// Show the settings a node would run with, and where each comes from.
    ///
    /// Takes the flags of `peerage run`, reads the same environment and file, checks everything
    /// as `run` does, and starts nothing. What it prints is a configuration file.
    #[command(after_long_help = CONFIG_NOTES)]
    Config(NodeArgs),
    /// Watch a small network of real nodes form in one process.
    ///
    /// Node 1 starts first; the others know only node 1. Each line is one event. Once every node
    /// sees every other, a table shows who dialled whom and the round trip; then the network runs
    /// until Ctrl-C, and other nodes may join it.
    #[command(after_long_help = DEVNET_NOTES)]
    Devnet(DevnetArgs),
}

/// Ends `peerage --help`.
const EXAMPLES: &str = "\
Examples:
  peerage devnet
      See five nodes find each other. Start here.

  peerage run
      Run a node on port 5999 of every IPv4 address. It prints the command that joins it.

  peerage run --listen 127.0.0.1:0 --bootstrap 127.0.0.1:5999
      Join that node from another terminal of the same machine, on a free port.

  peerage run --bootstrap seed.example:5999 --advertise 203.0.113.7:5999
      Join a network from behind a forwarded port.

  peerage config
      Show every setting, its value, and where the value comes from.

Exit status:
  0   it ended as asked (after SIGINT or SIGTERM, too)
  1   it could not start or go on, for instance because the port is in use
  2   the command line, the environment or the configuration file is wrong
  70  a part of the node died unexpectedly; start it again and report it
  130, 143  a second SIGINT or SIGTERM cut the orderly stop short

`peerage run --help` explains every setting.";

/// Ends `peerage run --help`.
const RUN_NOTES: &str = "\
Layers:
  A flag beats its environment variable, which beats the configuration file, which beats the
  default. Lists (listen, bootstrap) are replaced by a stronger layer, not extended; in a variable
  they are separated by commas. A variable that is set but empty counts as not set.
  Switches take an optional value, so --ephemeral=false undoes `ephemeral = true` of a file.
  Durations are a number and a unit: 200ms, 60s, 5m, 1h, 1m 30s.

  A configuration file looks like this:
      listen = [\"0.0.0.0:5999\", \"[::]:5999\"]
      bootstrap = [\"seed.example:5999\"]
      ping-interval = \"30s\"
      no-api = true

Examples:
  peerage run --listen 0.0.0.0:5999 --listen [::]:5999
      Listen on IPv4 and IPv6.

  PEERAGE_BOOTSTRAP=10.0.0.1:5999,10.0.0.2:5999 peerage run --log peerage=debug
      Take the first contacts from the environment, and log more.

  peerage config --config node.toml
      See what `peerage run --config node.toml` would do, without doing it.

Stopping:
  SIGINT (Ctrl-C) or SIGTERM: every peer is told, and the process ends with status 0 within two
  seconds. A second signal ends it at once, with status 130 (SIGINT) or 143 (SIGTERM).

Exit status:
  0 ended as asked; 1 could not start or go on (port in use); 2 wrong flags, environment or file;
  70 a part of the node died unexpectedly.";

/// Ends `peerage config --help`.
const CONFIG_NOTES: &str = "\
Examples:
  peerage config
  PEERAGE_LOG=debug peerage config --config node.toml --ping-interval 5s
  peerage config --bootstrap 10.0.0.1:5999 > node.toml

Exit status:
  0 the settings are fine; 2 they are not, and one line on stderr says why.
  A port in use is not noticed here: nothing is opened.";

/// Ends `peerage devnet --help`.
const DEVNET_NOTES: &str = "\
Examples:
  peerage devnet
  peerage devnet --nodes 20
  peerage devnet --nodes 3 --log peerage=debug

Lines on stdout look like this:
  +0.012s  node 2 (6f1c2a3b) sees node 1 (90d4e7aa), outbound, 127.0.0.1:41234
which means: 12 ms after the start node 2 has shaken hands with node 1, having dialled it there.

Exit status:
  0 ended by Ctrl-C; 1 a node could not start; 2 wrong flags; 70 a part of a node died unexpectedly.";

/// The flags of `run` and `config`. Every one but `--config` is also a key of the file.
#[derive(Debug, Args)]
struct NodeArgs {
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
    /// any order. Without any, this node waits to be joined.
    #[arg(long, env = "PEERAGE_BOOTSTRAP", value_name = "HOST:PORT", value_delimiter = ',')]
    bootstrap: Option<Vec<String>>,

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

    /// Encryption between nodes. Not there yet: `prefer` behaves as `off`, `require` is refused.
    ///
    /// `off`: never encrypt. `prefer`: encrypt with peers that can; until encryption lands in a
    /// later version this is the same as `off`. `require`: talk only encrypted, which this version
    /// cannot honour and so refuses to start with.
    #[arg(long, env = "PEERAGE_SECURITY", value_name = "off|prefer|require")]
    security: Option<String>,

    /// Keep what outlives a run here. Not at once with --ephemeral.
    ///
    /// Accepted now so that scripts need not change; nothing is stored yet. Beats an `ephemeral`
    /// of a weaker layer.
    #[arg(long, env = "PEERAGE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Touch no disk: a new id on every start. Not at once with --data-dir.
    ///
    /// Beats a `data-dir` of a weaker layer. Nothing is stored yet, so for now every node is
    /// ephemeral.
    #[arg(long, env = "PEERAGE_EPHEMERAL", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ephemeral: Option<String>,

    /// Do not serve the control API.
    ///
    /// Accepted now so that scripts need not change; there is no control API yet.
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
}

/// The flags of `devnet`.
#[derive(Debug, Args)]
struct DevnetArgs {
    /// How many nodes, from 2 to 50.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=50))]
    nodes: u8,

    /// What the nodes log on stderr, as for `peerage run`.
    #[arg(long, env = "PEERAGE_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// Time from one ping to the next; a peer silent for four times as long is dead.
    #[arg(long, env = "PEERAGE_PING_INTERVAL", value_name = "DURATION")]
    ping_interval: Option<String>,
}

/// What `run` and `config` were told, by layer.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    /// What the flags say.
    pub(crate) flags: Layer,
    /// What the environment says, where no flag says otherwise.
    pub(crate) env: Layer,
    /// The configuration file to read.
    pub(crate) config: Option<Sourced<PathBuf>>,
}

/// A command line that parsed.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// `peerage run`.
    Run(Box<Typed>),
    /// `peerage config`.
    Config(Box<Typed>),
    /// `peerage devnet`.
    Devnet(resolve::DevnetSettings),
    /// `--help` or `--version`: clap's "error" holds the text.
    Help(clap::Error),
}

/// Reads the command line and the environment.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Invocation, Failure> {
    let parsed = command().try_get_matches_from(args).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return explain(error),
    };
    let matches = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    Ok(match cli.command {
        Verb::Run(args) => Invocation::Run(Box::new(args.by_layer(matches))),
        Verb::Config(args) => Invocation::Config(Box::new(args.by_layer(matches))),
        Verb::Devnet(args) => {
            let nodes = usize::from(args.nodes);
            let typed = args.by_layer(matches);
            let layers = Layers { flags: typed.flags, env: typed.env, file: None };
            Invocation::Devnet(resolve::resolve_devnet(nodes, &layers)?)
        }
    })
}

/// A text that was asked for, or an error on one line in place of clap's several.
fn explain(error: clap::Error) -> Result<Invocation, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Invocation::Help(error)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::Help(error)),
        _ => Err(UsageError::Arguments(on_one_line(&error.render().to_string())).into()),
    }
}

/// clap's first paragraph and its tips, without its usage lines, on one line.
fn on_one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut parts = Vec::new();
    for (nth, paragraph) in text.split("\n\n").enumerate() {
        let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if nth == 0 {
            parts.push(words);
        } else if words.starts_with("tip: ") {
            parts.push(words.replace(" tip: ", "; ").trim_start_matches("tip: ").to_owned());
        }
    }
    parts.push("see --help".to_owned());
    super::error::one_line(&parts.join("; "))
}

/// The derived command, with what the derive cannot say: each flag's environment variable, its
/// default and its key, taken from where they are defined.
fn command() -> Command {
    let node = print::default_values(&resolve::Settings::default());
    let devnet = resolve::DevnetSettings::default();
    let devnet = vec![
        ("log", format!("\"{}\"", devnet.log)),
        ("ping-interval", format!("\"{}\"", super::error::duration(devnet.ping_interval))),
    ];
    Cli::command()
        .mut_subcommand("run", |command| command.mut_args(|arg| annotate(arg, &node, true)))
        .mut_subcommand("config", |command| command.mut_args(|arg| annotate(arg, &node, true)))
        .mut_subcommand("devnet", |command| command.mut_args(|arg| annotate(arg, &devnet, false)))
}

/// Gives a flag its environment variable, and the last line of its help.
fn annotate(arg: Arg, defaults: &[(&'static str, String)], has_file: bool) -> Arg {
    let Some(key) = arg.get_long().map(str::to_owned) else { return arg };
    if key == "help" || key == "nodes" {
        return arg;
    }
    let default = defaults.iter().find(|(name, _)| *name == key);
    let default = default.map_or("not set", |(_, value)| value.as_str());
    let env = env_name(&key);
    let mut facts = format!("[default: {default}] [env: {env}]");
    if has_file && key != "config" {
        facts.push_str(&format!(" [key: {key}]"));
    }
    let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let long = arg.get_long_help().map_or_else(|| short.clone(), ToString::to_string);
    let arg = arg
        .help(format!("{short} [default: {default}]"))
        .long_help(format!("{long}\n\n{facts}"))
        .hide_env(true);
    // A variable that is set but empty is how shells and containers say "not set".
    let is_set = std::env::var_os(&env).is_some_and(|value| !value.is_empty());
    if is_set { arg } else { arg.env(Resettable::Reset) }
}

impl NodeArgs {
    /// Sorts the values by the layer they come from.
    fn by_layer(self, matches: &ArgMatches) -> Typed {
        let mut typed = Typed::default();
        let Typed { flags, env, config } = &mut typed;
        place(matches, "listen", self.listen, &mut flags.listen, &mut env.listen);
        place(matches, "advertise", self.advertise, &mut flags.advertise, &mut env.advertise);
        place(matches, "bootstrap", self.bootstrap, &mut flags.bootstrap, &mut env.bootstrap);
        let value = self.ping_interval;
        place(matches, "ping_interval", value, &mut flags.ping_interval, &mut env.ping_interval);
        place(matches, "dead_after", self.dead_after, &mut flags.dead_after, &mut env.dead_after);
        let value = self.handshake_timeout;
        let (flag, variable) = (&mut flags.handshake_timeout, &mut env.handshake_timeout);
        place(matches, "handshake_timeout", value, flag, variable);
        place(matches, "security", self.security, &mut flags.security, &mut env.security);
        place(matches, "data_dir", self.data_dir, &mut flags.data_dir, &mut env.data_dir);
        place(matches, "ephemeral", self.ephemeral, &mut flags.ephemeral, &mut env.ephemeral);
        place(matches, "no_api", self.no_api, &mut flags.no_api, &mut env.no_api);
        place(matches, "log", self.log, &mut flags.log, &mut env.log);
        place(matches, "log_format", self.log_format, &mut flags.log_format, &mut env.log_format);
        place(matches, "workers", self.workers, &mut flags.workers, &mut env.workers);
        let (mut flag, mut variable) = (None, None);
        place(matches, "config", self.config, &mut flag, &mut variable);
        *config = flag
            .map(|value| Sourced { value, origin: Origin::Flag })
            .or_else(|| variable.map(|value| Sourced { value, origin: Origin::Env }));
        typed
    }
}

impl DevnetArgs {
    /// Sorts the values by the layer they come from.
    fn by_layer(self, matches: &ArgMatches) -> Typed {
        let mut typed = Typed::default();
        let Typed { flags, env, .. } = &mut typed;
        place(matches, "log", self.log, &mut flags.log, &mut env.log);
        let value = self.ping_interval;
        place(matches, "ping_interval", value, &mut flags.ping_interval, &mut env.ping_interval);
        typed
    }
}

/// Puts the value of one argument into the layer it came from.
fn place<T>(
    matches: &ArgMatches,
    id: &str,
    value: Option<T>,
    flag: &mut Option<T>,
    env: &mut Option<T>,
) {
    match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => *env = value,
        _ => *flag = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(args: &[&str]) -> Typed {
        let args = ["peerage", "run"].iter().chain(args).map(OsString::from).collect();
        match parse(args) {
            Ok(Invocation::Run(typed)) => *typed,
            other => panic!("{other:?}"),
        }
    }

    fn refused(args: &[&str]) -> String {
        let args = ["peerage"].iter().chain(args).map(OsString::from).collect();
        parse(args).unwrap_err().to_string()
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn lists_may_be_repeated_or_separated_by_commas() {
        let flags = typed(&["--listen", "a:1,b:2", "--listen", "c:3"]).flags;
        assert_eq!(flags.listen.unwrap(), ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn a_switch_is_true_alone_and_takes_a_value_after_an_equals_sign() {
        let flags = typed(&["--ephemeral", "--no-api=false"]).flags;
        assert_eq!(flags.ephemeral.as_deref(), Some("true"));
        assert_eq!(flags.no_api.as_deref(), Some("false"));
    }

    #[test]
    fn every_setting_has_its_variable_and_its_key_in_the_long_help() {
        let command = command();
        for name in ["run", "config"] {
            let sub = command.find_subcommand(name).unwrap();
            for (key, _) in print::default_values(&resolve::Settings::default()) {
                let arg = sub.get_arguments().find(|arg| arg.get_long() == Some(key));
                let help = arg.unwrap().get_long_help().unwrap().to_string();
                let facts = format!("[env: {}] [key: {key}]", env_name(key));
                assert!(help.contains(&facts), "{key}: {help}");
            }
        }
    }

    #[test]
    fn every_variable_is_named_after_its_flag() {
        for sub in Cli::command().get_subcommands() {
            for arg in sub.get_arguments().filter(|arg| arg.get_env().is_some()) {
                let name = arg.get_env().unwrap().to_str().unwrap();
                assert_eq!(name, env_name(arg.get_long().unwrap()));
            }
        }
    }

    #[test]
    fn errors_are_one_line_with_claps_tip_and_without_its_usage() {
        let text = refused(&["run", "--lisen", "x"]);
        assert!(text.starts_with("unexpected argument '--lisen' found; "), "{text}");
        assert!(text.contains("'--listen'"), "{text}");
        assert!(text.ends_with("; see --help"), "{text}");
        for args in
            [&["run", "--listen"][..], &["devnet", "--nodes", "51"], &["rum"], &["run", "x"]]
        {
            let text = refused(args);
            assert!(!text.contains('\n') && !text.contains("Usage"), "{text}");
        }
    }
}
