//! What was typed: flags and environment variables, unparsed, and the help texts.
//!
//! clap finds the values and tells a flag from a variable; what they mean is the business of
//! `resolve`, so that a bad address reads the same from whichever layer it comes.

mod client;
mod data;
mod doctor;
mod help;
mod node;
mod pages;
mod sim;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::Resettable, error::ErrorKind, parser::ValueSource,
};
use peerage::DataDir;

use self::{
    doctor::DoctorArgs,
    help::{CONFIG_NOTES, DEVNET_NOTES, DOCTOR_NOTES, EXAMPLES, ID_NOTES, RUN_NOTES, SIM_NOTES},
    node::NodeArgs,
    sim::SimArgs,
};

pub(crate) use self::{
    client::{ClientVerb, TopArgs},
    data::{DataVerb, ImportArgs, LsArgs, RmArgs, SetArgs, WatchArgs},
    pages::{completions, man},
    sim::SimTyped,
};
use crate::cli::{
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
    /// Simulate a network of thousands of real nodes, in memory, and report how it did.
    ///
    /// The nodes are the very ones of `peerage run`, over a simulated network under a clock of its
    /// own: an hour of a thousand nodes takes about a minute. The report says how fast they found
    /// each other, how many sessions each has, and what became of the messages they sent.
    #[command(after_long_help = SIM_NOTES)]
    Sim(SimArgs),
    /// Show the id and the public key that a node has in its data directory.
    ///
    /// The id follows from the key, so it is the node's as long as the key is. Works while the node
    /// runs. `peerage id new` makes a key, for a node that has never run.
    #[command(after_long_help = ID_NOTES)]
    Id(IdArgs),
    /// Find out what is wrong with a node or its place in the network, and what to do about it.
    ///
    /// Looks at a running node, or at what one would need that `peerage run` starts with the same
    /// flags: its directory, the clock, its ports, its first contacts, whether others can dial it. It
    /// changes nothing.
    #[command(after_long_help = DOCTOR_NOTES)]
    Doctor(DoctorArgs),
    #[command(flatten)]
    Client(ClientVerb),
    /// Print what makes a shell complete the commands and flags.
    ///
    /// For bash: `peerage completions bash > ~/.local/share/bash-completion/completions/peerage`
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a directory.
    Man {
        /// Write one page for each command here: `peerage.1`, `peerage-run.1` and so on.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
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

/// The flags of `id`, which may stand on both sides of `new`.
#[derive(Debug, Args)]
struct IdArgs {
    /// What to do with the key; without a word, show it.
    #[command(subcommand)]
    verb: Option<IdVerb>,

    /// The node's data directory.
    #[arg(long, env = "PEERAGE_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,

    /// Read `data-dir` from this TOML file, the same as for `peerage run`.
    #[arg(long, env = "PEERAGE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

/// What can be done with a key.
#[derive(Debug, Clone, Copy, Subcommand)]
enum IdVerb {
    /// Make a key, and show what is then the node's. A key that is there is never overwritten.
    New,
}

/// What `run`, `config` and `id` were told, by layer.
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
    /// `peerage sim`.
    Sim(Box<resolve::SimSettings>),
    /// `peerage id`.
    Id(Box<Typed>, IdOptions),
    /// `peerage doctor`, and whether to print JSON.
    Doctor(Box<Typed>, bool),
    /// A command that talks to a running node.
    Client(Box<Typed>, Box<ClientVerb>),
    /// `peerage completions`.
    Completions(clap_complete::Shell),
    /// `peerage man`.
    Man(Option<PathBuf>),
    /// `--help` or `--version`: clap's "error" holds the text.
    Help(clap::Error),
}

/// What `peerage id` does, besides with which directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdOptions {
    /// Make a key first.
    pub(crate) is_new: bool,
    /// Print JSON.
    pub(crate) is_json: bool,
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
        Verb::Sim(args) => {
            let typed = args.by_layer(matches);
            Invocation::Sim(Box::new(resolve::resolve_sim(&typed)?))
        }
        Verb::Id(args) => {
            let options = IdOptions { is_new: args.verb.is_some(), is_json: args.json };
            Invocation::Id(Box::new(args.by_layer(matches)), options)
        }
        Verb::Doctor(args) => {
            let is_json = args.json;
            Invocation::Doctor(Box::new(args.by_layer(matches)), is_json)
        }
        Verb::Client(verb) => {
            Invocation::Client(Box::new(verb.node().by_layer(matches)), Box::new(verb))
        }
        Verb::Completions { shell } => Invocation::Completions(shell),
        Verb::Man { dir } => Invocation::Man(dir),
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
    crate::cli::error::one_line(&parts.join("; "))
}

/// The derived command, with what the derive cannot say: each flag's environment variable, its
/// default and its key, taken from where they are defined.
fn command() -> Command {
    let defaults = resolve::Settings::by_default(DataDir::default_path());
    let node = print::default_values(&defaults);
    let devnet = resolve::DevnetSettings::default();
    let devnet = vec![
        ("log", format!("\"{}\"", devnet.log)),
        ("ping-interval", format!("\"{}\"", crate::cli::error::duration(devnet.ping_interval))),
    ];
    let of_node = |command: Command| command.mut_args(|arg| annotate(arg, &node, true));
    ClientVerb::names()
        .into_iter()
        .fold(Cli::command(), |command, name| {
            command.mut_subcommand(name, |command| client::annotated(command, &node))
        })
        .mut_subcommand("run", of_node)
        .mut_subcommand("config", of_node)
        .mut_subcommand("doctor", of_node)
        .mut_subcommand("id", of_node)
        .mut_subcommand("devnet", |command| command.mut_args(|arg| annotate(arg, &devnet, false)))
        .mut_subcommand("sim", sim::annotated)
}

/// Gives a flag its environment variable, and the last line of its help.
fn annotate(arg: Arg, defaults: &[(&'static str, String)], has_file: bool) -> Arg {
    let Some(key) = arg.get_long().map(str::to_owned) else { return arg };
    if ["help", "nodes", "json"].contains(&key.as_str()) {
        return arg;
    }
    let default = defaults.iter().find(|(name, _)| *name == key);
    let default = default.map_or("not set", |(_, value)| value.as_str());
    let env = env_name(&key);
    let in_file =
        if has_file && key != "config" { format!(" [key: {key}]") } else { String::new() };
    // The default is last because it can be long, and a name should not be broken.
    let facts = format!("[env: {env}]{in_file} [default: {default}]");
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

impl IdArgs {
    /// Sorts the values by the layer they come from.
    fn by_layer(self, matches: &ArgMatches) -> Typed {
        let mut typed = Typed::default();
        let Typed { flags, env, config } = &mut typed;
        place(matches, "data_dir", self.data_dir, &mut flags.data_dir, &mut env.data_dir);
        *config = sourced(matches, "config", self.config);
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

/// The value of one argument with its layer.
fn sourced<T>(matches: &ArgMatches, id: &str, value: Option<T>) -> Option<Sourced<T>> {
    let origin = match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => Origin::Env,
        _ => Origin::Flag,
    };
    value.map(|value| Sourced { value, origin })
}
