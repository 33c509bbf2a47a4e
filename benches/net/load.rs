//! The load generator: one process, one thread, one load against one server.
//!
//! It takes its own snapshots at both ends of the measured window, of the operations done and of the CPU
//! time of the server and of itself, and prints one line of JSON: the [`Sample`].

mod client;
mod fan;
pub(crate) mod hold;
mod idle;
mod relay;
mod secure;

use std::{cell::Cell, net::SocketAddr, process, rc::Rc, time::Duration};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::{Builder, LocalOptions},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::client::{Caller, Client, Wanted};
use crate::{
    Result,
    measure::{self, Meter, Run, Usage},
    wire::{BOOK_ENTRIES, GETADDR, PING},
};

/// How much longer than warm-up and window a run may take, for connecting and for a busy machine.
const SLACK: Duration = Duration::from_secs(60);

/// Connections made by one run of `connect`, at most.
const MAX_CONNECTS: u64 = 100_000;

/// Lines of an unknown kind between two pings.
const DISCARD_BATCH: usize = 1000;

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    PingDeep,
    PingWide,
    RoundTrip,
    Connect,
    GetAddr,
    #[value(name = "fan-100")]
    Fan100,
    #[value(name = "fan-1k")]
    Fan1k,
    Discard,
    Idle,
    TlsHandshake,
    TlsPingDeep,
    TlsLines,
    TlsIdle,
    TlsHold,
    Relay,
}

impl Load {
    pub(crate) const fn is_encrypted(self) -> bool {
        matches!(
            self,
            Self::TlsHandshake
                | Self::TlsPingDeep
                | Self::TlsLines
                | Self::TlsIdle
                | Self::TlsHold
                | Self::Relay
        )
    }
}

/// What one run of the load generator is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    pub(crate) load: Load,
    #[arg(long)]
    pub(crate) server: SocketAddr,
    #[arg(long)]
    pub(crate) server_pid: u32,
    #[arg(long)]
    pub(crate) warmup: f64,
    #[arg(long)]
    pub(crate) secs: f64,
    #[arg(long)]
    pub(crate) sessions: usize,
}

impl Plan {
    /// The command line that says the same.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let Self { load, server, server_pid, warmup, secs, sessions } = self;
        let name =
            load.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let options =
            format!("--server={server} --server-pid={server_pid} --warmup={warmup} --secs={secs}");
        let mut args = vec!["load".to_owned(), name, format!("--sessions={sessions}")];
        args.extend(options.split(' ').map(str::to_owned));
        args
    }

    /// A connection of the kind that this load is of. `spread` picks a source address.
    async fn connect(&self, spread: usize) -> Result<Client> {
        if self.load.is_encrypted() {
            let caller = Caller::fresh(false)?;
            Client::connect_encrypted(self.server, spread, &caller).await
        } else {
            Client::connect(self.server, spread).await
        }
    }
}

/// What one run of the load generator has measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The figure of this load: operations per second, microseconds, or KiB.
    pub(crate) figure: f64,
    /// Operations in the window.
    pub(crate) ops: u64,
    /// Length of the window.
    pub(crate) secs: f64,
    /// CPU time of the server in the window.
    pub(crate) server_cpu: f64,
    /// CPU time of the load generator in the window.
    pub(crate) load_cpu: f64,
    /// CPU time of everything else on the machine in the window.
    pub(crate) others_cpu: f64,
    /// All of the server's resident memory at the end; only the loads that are about it say it.
    pub(crate) resident_kib: u64,
}

impl Sample {
    fn new(figure: f64, ops: u64, usage: Usage) -> Self {
        let Usage { wall: secs, server: server_cpu, own: load_cpu, others: others_cpu } = usage;
        Self { figure, ops, secs, server_cpu, load_cpu, others_cpu, resident_kib: 0 }
    }
}

impl Run for Sample {
    fn others_busy(&self) -> f64 {
        self.others_cpu / self.secs
    }
}

/// Runs one load and prints its sample.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let limit = Duration::from_secs_f64(plan.warmup + plan.secs) + SLACK;
    let sample = runtime.block_on(async { timeout(limit, measured(plan)).await })??;
    println!("{}", serde_json::to_string(&sample)?);
    // Without the orderly end of thousands of tasks, which nobody waits for.
    process::exit(0);
}

async fn measured(plan: &Plan) -> Result<Sample> {
    let ping = Requests { line: PING, wanted: Wanted::PONG };
    let getaddr = Requests { line: GETADDR, wanted: Wanted::FULL_ADDR };
    match plan.load {
        Load::PingDeep | Load::TlsPingDeep => requests(plan, ping, 16, 32).await,
        Load::PingWide => requests(plan, ping, 64, 1).await,
        Load::RoundTrip => round_trip(plan).await,
        Load::Connect => connects(plan).await,
        Load::GetAddr => {
            verify_book(plan).await?;
            requests(plan, getaddr, 16, 4).await
        }
        Load::Fan100 => fan::run(plan, 100).await,
        Load::Fan1k => fan::run(plan, 1024).await,
        Load::Discard => discard(plan).await,
        Load::Idle | Load::TlsIdle => idle::run(plan).await,
        Load::TlsHandshake => secure::handshakes(plan).await,
        Load::TlsLines => secure::lines(plan).await,
        Load::TlsHold => hold::run(plan).await,
        Load::Relay => relay::run(plan).await,
    }
}

/// Operations done so far, counted by the tasks and read at both ends of the window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ops(Rc<Cell<u64>>);

impl Ops {
    fn add(&self, n: usize) {
        self.0.set(self.0.get() + n as u64);
    }

    fn get(&self) -> u64 {
        self.0.get()
    }
}

/// The tasks of a load. None returns before the window is over, unless something is wrong or a bound on
/// the number of operations is reached, which ends the window early.
pub(crate) type Tasks = JoinSet<Result<()>>;

/// Lets the load warm up, then measures one window of it.
async fn window(plan: &Plan, ops: &Ops, tasks: &mut Tasks) -> Result<Sample> {
    span(plan.warmup, tasks).await?;
    let (from, meter) = (ops.get(), Meter::start(plan.server_pid)?);
    span(plan.secs, tasks).await?;
    let usage = meter.read()?;
    match ops.get() - from {
        0 => Err("no operation was completed in the measured window".into()),
        done => Ok(Sample::new(done as f64 / usage.wall, done, usage)),
    }
}

async fn span(secs: f64, tasks: &mut Tasks) -> Result<()> {
    tokio::select! {
        () = sleep(Duration::from_secs_f64(secs)) => Ok(()),
        Some(ended) = tasks.join_next() => ended?,
    }
}

/// A line to send, and the kind of line that answers it.
#[derive(Debug, Clone, Copy)]
struct Requests {
    line: &'static [u8],
    wanted: Wanted,
}

/// `connections` that keep `depth` requests in flight each: all at once to begin with, then as many new
/// ones in one write as a read brought answers.
async fn requests(
    plan: &Plan,
    requests: Requests,
    connections: usize,
    depth: usize,
) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    for i in 0..connections {
        let mut client = plan.connect(i).await?;
        let burst = requests.line.repeat(depth);
        let ops = ops.clone();
        tasks.spawn_local(async move {
            client.send(&burst).await?;
            loop {
                let n = client.recv(&requests.wanted).await?;
                ops.add(n);
                client.send(head(&burst, n * requests.line.len())?).await?;
            }
        });
    }
    window(plan, &ops, &mut tasks).await
}

/// One connection, one ping at a time; the figure is the median of the round trips in microseconds.
async fn round_trip(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    let times = Rc::new(Cell::new(Vec::new()));
    let mut client = Client::connect(plan.server, 0).await?;
    let (counter, log) = (ops.clone(), Rc::clone(&times));
    tasks.spawn_local(async move {
        loop {
            let start = measure::now();
            client.send(PING).await?;
            while client.recv(&Wanted::PONG).await? == 0 {}
            let mut all = log.take();
            all.push(start.elapsed().as_secs_f64() * 1e6);
            log.set(all);
            counter.add(1);
        }
    });
    let sample = window(plan, &ops, &mut tasks).await?;
    // The ones of the warm-up came first.
    let measured = usize::try_from(sample.ops)?;
    let figure = measure::spread(times.take().into_iter().rev().take(measured)).median;
    Ok(Sample { figure, ..sample })
}

/// 32 at a time: connect, hello, the answer to it, close.
async fn connects(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    for i in 0..32 {
        let (ops, server) = (ops.clone(), plan.server);
        tasks.spawn_local(async move {
            while ops.get() < MAX_CONNECTS {
                Client::connect(server, i).await?.reset()?;
                ops.add(1);
            }
            Ok(())
        });
    }
    window(plan, &ops, &mut tasks).await
}

/// Makes sure that an answer to `getaddr` is what the load takes it for.
async fn verify_book(plan: &Plan) -> Result<()> {
    #[derive(Deserialize)]
    struct Addr {
        peers: Vec<(SocketAddr, uuid::Uuid)>,
    }
    let mut client = Client::connect(plan.server, 0).await?;
    let line = client.ask(GETADDR, &Wanted::FULL_ADDR).await?;
    let reply: Addr =
        serde_json::from_slice(&line).map_err(|e| format!("the answer to getaddr: {e}"))?;
    match reply.peers.len() {
        BOOK_ENTRIES => Ok(()),
        n => Err(format!("getaddr was answered with {n} addresses, not {BOOK_ENTRIES}").into()),
    }
}

/// Four connections that send what the server does not know, two batches ahead at most: a ping closes
/// each batch, and its pong says that the batch was taken.
async fn discard(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    let unknown = format!("{{\"msgtype\":\"x-unknown\",\"payload\":\"{}\"}}\n", "x".repeat(50));
    let batch = Rc::new([unknown.repeat(DISCARD_BATCH).as_bytes(), PING].concat());
    for i in 0..4 {
        let mut client = Client::connect(plan.server, i).await?;
        let (ops, batch) = (ops.clone(), Rc::clone(&batch));
        tasks.spawn_local(async move {
            client.send(&batch).await?;
            client.send(&batch).await?;
            loop {
                for _ in 0..client.recv(&Wanted::PONG).await? {
                    ops.add(DISCARD_BATCH);
                    client.send(&batch).await?;
                }
                client.send(&[]).await?;
            }
        });
    }
    window(plan, &ops, &mut tasks).await
}

/// The first `len` bytes; a server that sends more answers than it was asked is an error, not a panic.
fn head(burst: &[u8], len: usize) -> Result<&[u8]> {
    Ok(burst.get(..len).ok_or("the server sent more answers than it was asked")?)
}
