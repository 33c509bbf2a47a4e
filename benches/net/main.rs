//! The network benchmark: a peerage node against a bare tokio server of the same wire.
//!
//! `cargo bench --bench net -- --help` lists the options. One binary plays all parts: the parent starts a
//! server child and a load generator child for every single run, each pinned to a core of its own where
//! `taskset` allows it, and takes turns between the two servers, so that a slow drift of the machine
//! meets both alike. All traffic stays on loopback.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its table and its progress"
)]

mod bench;
mod cases;
mod child;
mod load;
mod measure;
mod node;
mod swarm;
mod table;
mod tls;
mod wire;
mod yardstick;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{bench::Bench, load::Plan, yardstick::Manner};

/// What the program allocates with as well; the yardstick, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Parser)]
#[command(
    name = "net",
    about = "Compares a peerage node with a hand-tuned server of the same wire"
)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
    /// What `cargo bench` adds to every command line.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// The parts that a child plays.
#[derive(Debug, Subcommand)]
enum Part {
    /// Serve as the yardstick until stdin closes.
    ServeYardstick(Manner),
    /// Serve as a node until stdin closes.
    ServeNode {
        #[arg(long, default_value_t = 1)]
        workers: usize,
        /// Take part in an overlay.
        #[arg(long)]
        overlay: bool,
    },
    /// Run one load against a server and print its sample.
    #[command(hide = true)]
    Load(Plan),
    /// Send messages over one step and over three, and print how long they took.
    #[command(hide = true)]
    Hops(swarm::hops::Plan),
    /// Send messages to all of fifty nodes, and frames over single sessions, and print what they cost.
    #[command(hide = true)]
    Broadcast(swarm::broadcast::Plan),
}

#[derive(Debug, Args)]
struct Options {
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 1.0)]
    secs: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 0.3)]
    warmup: f64,
    /// Runs of each load against each server.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only the loads whose name contains this; `workers`, `hops` and `broadcast` are some, too. May be
    /// given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Compare with the node of another build of this bench instead of with the yardstick: this one over
    /// that one. Encrypted loads only with an `--only` that begins with `tls` or `relay`.
    #[arg(long, value_name = "BENCH_BINARY", conflicts_with = "hold")]
    baseline: Option<PathBuf>,
    /// Only hold this many encrypted sessions, and say what they cost.
    #[arg(long, value_name = "SESSIONS", value_parser = clap::value_parser!(u32).range(100..=15_000))]
    hold: Option<u32>,
    /// How long they are held, in seconds.
    #[arg(long, default_value_t = 180.0)]
    hold_secs: f64,
    /// How often a run is made again when something else used the machine meanwhile.
    #[arg(long, default_value_t = 5)]
    retries: u32,
    /// Sessions of the loads `idle` and `tls-idle`.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(100..))]
    sessions: u32,
    /// Put the yardstick in the node's place: all ratios should be near 1.
    #[arg(long = "self", hide = true)]
    itself: bool,
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches, too, and nobody wants minutes of load then.
    if std::env::args().len() == 1 {
        println!("nothing measured: run `cargo bench --bench net`");
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    let done = match &cli.part {
        None => Bench::new(cli.options).run(),
        Some(Part::ServeYardstick(manner)) => yardstick::serve(*manner),
        Some(Part::ServeNode { workers, overlay }) => node::serve(*workers, *overlay),
        Some(Part::Load(plan)) => load::run(plan),
        Some(Part::Hops(plan)) => swarm::hops::run(plan),
        Some(Part::Broadcast(plan)) => swarm::broadcast::run(plan),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("net: {error}");
            ExitCode::FAILURE
        }
    }
}
