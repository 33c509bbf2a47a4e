//! What shared data costs: bringing two nodes together, writing, reading, and memory.
//!
//! `cargo bench --bench spaces`. Each row has what it is compared with in the same run, in turn; a ratio is
//! the median of the ratios of neighbouring runs. All traffic stays on loopback, over TCP and TLS.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod files;
mod memory;
mod plain;
mod ranges;
mod together;

use std::{error::Error, process::ExitCode};

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Parser)]
#[command(
    name = "spaces",
    about = "Measures shared data against plain SQLite and against sending all"
)]
struct Cli {
    /// Records in the space.
    #[arg(long, default_value_t = 100_000)]
    records: u32,
    /// How many of them differ.
    #[arg(long, default_value_t = 1_000)]
    differ: u32,
    /// How often each row is run.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only rows whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Open this file, read from it, and print the memory that took.
    #[arg(long, hide = true)]
    memory_of: Option<std::path::PathBuf>,
    /// What `cargo bench` adds to every command line.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.memory_of {
        Some(path) => memory::child(path),
        None => run(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let wanted = |name: &str| name.contains(&cli.only);
    if wanted("together") {
        together::run(cli.records, cli.differ, cli.runs)?;
    }
    if wanted("ranges") {
        ranges::run(cli.records, cli.differ)?;
    }
    if wanted("write") {
        plain::writes(cli.runs)?;
    }
    if wanted("node") {
        plain::node_rows(cli.runs)?;
    }
    if wanted("read") {
        plain::reads(cli.records, cli.runs)?;
    }
    if wanted("memory") {
        memory::run(cli.records)?;
    }
    Ok(())
}

/// The median, and the least and the greatest.
pub(crate) fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |n: usize| values.get(n).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

pub(crate) fn show((median, least, greatest): (f64, f64, f64), digits: usize) -> String {
    format!("{median:.digits$} ({least:.digits$}..{greatest:.digits$})")
}
