//! Broadcasting by peerage and by rust-libp2p's gossipsub, on the same machine under the same load.
//!
//! `cargo run --release -- --help` lists the options. One binary plays all parts: the parent starts a child
//! for every single run, which holds one whole network on one thread, and takes turns between the
//! contenders, so that a slow drift of the machine meets all alike. All traffic stays on loopback.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its table and its progress"
)]

mod child;
mod drive;
mod gossipsub;
#[allow(dead_code, reason = "shared with the other benchmark, which uses more of it")]
#[path = "../../net/measure.rs"]
mod measure;
mod overlay;
mod parent;
mod plan;
mod table;
mod tally;

use std::{error::Error, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    parent::Parent,
    plan::{Contender, Plan},
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Parser)]
#[command(
    name = "peerage-compare",
    about = "Compares broadcasting by peerage with rust-libp2p's gossipsub"
)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    plan: Plan,
}

/// The part that a child plays.
#[derive(Debug, Subcommand)]
enum Part {
    /// Make one run and print its sample as JSON: what a profiler is put on.
    Run {
        #[arg(value_enum)]
        contender: Contender,
        #[command(flatten)]
        plan: Plan,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Runs of each contender.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Only these contenders. May be given several times.
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Contender>,
    /// How often a run is made again when something else used the machine meanwhile.
    #[arg(long, default_value_t = 3)]
    retries: u32,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.part {
        None => Parent::new(&cli.options, cli.plan).run(),
        Some(Part::Run { contender, plan }) => child::run(*contender, plan),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peerage-compare: {error}");
            ExitCode::FAILURE
        }
    }
}
