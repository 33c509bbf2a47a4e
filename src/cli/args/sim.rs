//! The flags of `peerage sim`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command};
use peerage::sim::Scenario;

use super::{annotate, place};
use crate::cli::{error::duration, layer::Layer, resolve};

/// The flags of `sim`. Those of the scenario itself beat the file.
#[derive(Debug, Args)]
pub(super) struct SimArgs {
    /// The scenario, a TOML file; without one, nodes join and nothing more happens to them.
    ///
    /// It can say everything: churn, kills, partitions, NAT, latencies, and what nodes send each
    /// other. There are some to begin with in `examples/scenarios` of the source.
    #[arg(value_name = "SCENARIO")]
    scenario: Option<PathBuf>,

    /// How many nodes, from 2 to 100000.
    #[arg(long, value_name = "N")]
    nodes: Option<String>,

    /// Where all randomness comes from: the same seed gives the same report, byte for byte.
    #[arg(long, value_name = "N")]
    seed: Option<String>,

    /// How long the network runs once all have joined, in its own time.
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<String>,

    /// How many nodes join per second of the network's time.
    #[arg(long, value_name = "N")]
    join_rate: Option<String>,

    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,

    /// Draw the report, too, as SVG files in this directory; it is made if it is missing.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,

    /// Show no progress, and do not say what the simulation cost.
    ///
    /// The progress bar shows only if stderr is a terminal anyway.
    #[arg(long)]
    quiet: bool,

    /// What the nodes log on stderr, as for `peerage run`.
    #[arg(long, env = "PEERAGE_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// What `sim` was told.
#[derive(Debug, Default)]
pub(crate) struct SimTyped {
    /// The scenario's file.
    pub(crate) scenario: Option<PathBuf>,
    /// How many nodes.
    pub(crate) nodes: Option<String>,
    /// The seed.
    pub(crate) seed: Option<String>,
    /// How long.
    pub(crate) lasts: Option<String>,
    /// How many join per second.
    pub(crate) join_rate: Option<String>,
    /// Print JSON.
    pub(crate) is_json: bool,
    /// Where the plots go.
    pub(crate) plot: Option<PathBuf>,
    /// Nothing on stderr.
    pub(crate) is_quiet: bool,
    /// What the flags say besides.
    pub(crate) flags: Layer,
    /// What the environment says.
    pub(crate) env: Layer,
}

impl SimArgs {
    /// The values, those that may come from the environment by layer.
    pub(super) fn by_layer(self, matches: &ArgMatches) -> SimTyped {
        let mut typed = SimTyped {
            scenario: self.scenario,
            nodes: self.nodes,
            seed: self.seed,
            lasts: self.lasts,
            join_rate: self.join_rate,
            is_json: self.json,
            plot: self.plot,
            is_quiet: self.quiet,
            ..SimTyped::default()
        };
        place(matches, "log", self.log, &mut typed.flags.log, &mut typed.env.log);
        typed
    }
}

/// Adds defaults and keys to the help of `sim`.
pub(super) fn annotated(command: Command) -> Command {
    let default = Scenario::default();
    let keys = [
        ("nodes", default.nodes.to_string()),
        ("seed", default.seed.to_string()),
        ("for", duration(default.lasts)),
        ("join-rate", default.join_rate.to_string()),
    ];
    let log = vec![("log", format!("\"{}\"", resolve::SIM_LOG))];
    command.mut_args(|arg| {
        let key = arg.get_long().map(str::to_owned).unwrap_or_default();
        if key == "log" {
            return annotate(arg, &log, false);
        }
        match keys.iter().find(|(name, _)| *name == key) {
            Some((_, default)) => with_default(arg, &key, default),
            None => arg,
        }
    })
}

/// Says the default of a flag, and its key in the scenario.
fn with_default(arg: Arg, key: &str, default: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [default: {default}]"))
        .long_help(format!("{help}\n\n[key: {key}] [default: {default}]"))
}
