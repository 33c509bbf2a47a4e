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

mod child;
mod load;
mod measure;
mod node;
mod table;
mod wire;
mod yardstick;

use std::{error::Error, net::SocketAddr, process::ExitCode, thread, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    child::{Cores, Server},
    load::{Load, Plan, Sample},
    table::{Row, Setting},
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A load under the title it has in the table, and the core its generator is on. The server is on core 0.
type Case = (Load, &'static str, Cores);

/// Every load that is compared. Arrows point to the better side.
const CASES: [Case; 10] = [
    (Load::PingDeep, "ping-deep: 16 connections, 32 in flight (pongs/s ↑)", Some("1")),
    (Load::PingWide, "ping-wide: 64 connections, 1 in flight (pongs/s ↑)", Some("1")),
    (Load::RoundTrip, "round-trip: 1 connection, 1 in flight (µs ↓)", Some("1")),
    // Between cores, waking the other core is most of the time; here it is what the two programs do.
    (Load::RoundTrip, "round-trip-shared: the same, both on one core (µs ↓)", Some("0")),
    (Load::Connect, "connect: hello and close, 32 at a time (connections/s ↑)", Some("1")),
    (
        Load::GetAddr,
        "get-addr: 100 addresses, 16 connections, 4 in flight (replies/s ↑)",
        Some("1"),
    ),
    (Load::Fan100, "fan-100: 1 to 10, 100 B of text (deliveries/s ↑)", Some("1")),
    (Load::Fan1k, "fan-1k: 1 to 10, 1 KiB of text (deliveries/s ↑)", Some("1")),
    (Load::Discard, "discard: unknown msgtypes, 4 connections (lines/s ↑)", Some("1")),
    (Load::Idle, "idle: memory of a session (KiB ↓)", Some("1")),
];

/// How long a run that was disturbed waits before it is made again.
const CALM: Duration = Duration::from_secs(2);

/// The name that `--only` knows the comparison of worker counts by.
const WORKERS: &str = "workers";

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
    ServeYardstick,
    /// Serve as a node until stdin closes.
    ServeNode {
        #[arg(long, default_value_t = 1)]
        workers: usize,
    },
    /// Run one load against a server and print its sample.
    #[command(hide = true)]
    Load(Plan),
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
    /// Only the loads whose name contains this; `workers` is one, too. May be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How often a run is made again when something else used the machine meanwhile.
    #[arg(long, default_value_t = 5)]
    retries: u32,
    /// Sessions of the load `idle`.
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
        Some(Part::ServeYardstick) => yardstick::serve(),
        Some(Part::ServeNode { workers }) => node::serve(*workers),
        Some(Part::Load(plan)) => load::run(plan),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("net: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The parent's part.
struct Bench {
    options: Options,
    can_pin: bool,
}

impl Bench {
    fn new(options: Options) -> Self {
        let can_pin = child::can_pin();
        if !can_pin {
            println!(
                "Not pinned: `taskset` is missing or there is no second core, so server and load share what there is."
            );
        }
        Self { options, can_pin }
    }

    fn run(&self) -> Result<()> {
        let cases: Vec<_> =
            CASES.into_iter().filter(|(_, title, _)| self.wants(title.split(':').next())).collect();
        if cases.is_empty() && !self.wants(Some(WORKERS)) {
            return Err(format!("no load is called {:?}", self.options.only).into());
        }
        let mut rows = Vec::new();
        for case in cases {
            rows.push(self.compare(case)?);
        }
        if !rows.is_empty() {
            table::print_rows(&rows);
        }
        if self.wants(Some(WORKERS)) {
            table::print_settings("ping-deep by workers (pongs/s ↑)", &self.workers()?);
        }
        Ok(())
    }

    fn wants(&self, name: Option<&str>) -> bool {
        let only = &self.options.only;
        only.is_empty()
            || only.iter().any(|part| name.is_some_and(|name| name.contains(part.as_str())))
    }

    /// One load against both servers in turns: A B, B A, A B, .., so that going first, should it matter,
    /// favours neither.
    fn compare(&self, (load, title, generator): Case) -> Result<Row> {
        let sides = [self.node_args(1), yardstick_args()];
        let mut samples = [Vec::new(), Vec::new()];
        for run in 1..=self.options.runs {
            eprintln!("{title}: run {run} of {}", self.options.runs);
            let mut turns: Vec<_> = sides.iter().zip(&mut samples).collect();
            if run % 2 == 0 {
                turns.reverse();
            }
            for (args, samples) in turns {
                samples.push(self.sample(load, args, Some("0"), generator)?);
            }
        }
        let [node, yardstick] = samples;
        Ok(Row { title: title.to_owned(), node, yardstick })
    }

    /// The node with one and two workers. On two cores, the second worker and the load generator share one.
    fn workers(&self) -> Result<Vec<Setting>> {
        let kinds: [(&str, usize, Cores, Cores); 4] = [
            ("1 worker, pinned: server on core 0, load on core 1", 1, Some("0"), Some("1")),
            ("1 worker, not pinned", 1, None, None),
            (
                "2 workers, pinned: server on cores 0 and 1, load on core 1",
                2,
                Some("0,1"),
                Some("1"),
            ),
            ("2 workers, not pinned", 2, None, None),
        ];
        let mut settings =
            kinds.map(|(title, ..)| Setting { title: title.to_owned(), samples: Vec::new() });
        for run in 1..=self.options.runs {
            eprintln!("{WORKERS}: run {run} of {}", self.options.runs);
            for (setting, (_, workers, server, load)) in settings.iter_mut().zip(kinds) {
                setting.samples.push(self.sample(
                    Load::PingDeep,
                    &self.node_args(workers),
                    server,
                    load,
                )?);
            }
        }
        Ok(settings.into())
    }

    /// One run, made again while something else keeps the machine busy and there are retries left.
    fn sample(
        &self,
        load: Load,
        args: &[String],
        server: Cores,
        generator: Cores,
    ) -> Result<Sample> {
        for _ in 0..self.options.retries {
            let sample = self.attempt(load, args, server, generator)?;
            if !sample.is_disturbed() {
                return Ok(sample);
            }
            eprintln!(
                "  disturbed: {:.1} cores were busy with something else; again",
                sample.others_cpu / sample.secs
            );
            thread::sleep(CALM);
        }
        self.attempt(load, args, server, generator)
    }

    /// A fresh server, one load, and the server's end.
    fn attempt(
        &self,
        load: Load,
        args: &[String],
        server: Cores,
        generator: Cores,
    ) -> Result<Sample> {
        let plan = Plan {
            load,
            server: SocketAddr::from(([0; 4], 0)),
            server_pid: 0,
            warmup: self.options.warmup,
            secs: self.options.secs,
            sessions: self.options.sessions as usize,
        };
        let pin = |cores: Cores| cores.filter(|_| self.can_pin);
        Server::start(pin(server), args)?.measure(pin(generator), &plan)
    }

    fn node_args(&self, workers: usize) -> Vec<String> {
        if self.options.itself {
            return yardstick_args();
        }
        ["serve-node", "--workers", &workers.to_string()].map(str::to_owned).into()
    }
}

fn yardstick_args() -> Vec<String> {
    vec!["serve-yardstick".to_owned()]
}
