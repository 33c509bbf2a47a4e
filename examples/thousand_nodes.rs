//! A thousand nodes and an hour of network time, in this process, in seconds.
//!
//! `cargo run --release --example thousand_nodes -- [NODES] [SESSIONS] [SEED]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "an example"
)]

use std::{env, fs, time::Instant};

use peerage::sim::{self, SimConfig};
use std::time::Duration;

fn main() {
    let mut args = env::args().skip(1).map_while(|arg| arg.parse::<u64>().ok());
    let mut next = |default| args.next().unwrap_or(default);
    let (n, sessions, seed) = (next(1000), next(16), next(7));

    let mut config = SimConfig::seeded(seed);
    config.node.discovery.target_peers = usize::try_from(sessions).unwrap_or(usize::MAX);
    let started = Instant::now();
    sim::run(config, async |net| {
        for _ in 0..n {
            net.grow(1, Duration::from_millis(50)).await;
        }
        net.advance(Duration::from_secs(60)).await;
        println!("{n} nodes joined after {:.1} s of real time", started.elapsed().as_secs_f64());
        net.advance(Duration::from_secs(3600)).await;

        let mut counts: Vec<usize> = net.tables().await.values().map(Vec::len).collect();
        counts.sort_unstable();
        let total: usize = counts.iter().sum();
        println!(
            "sessions per node: mean {:.1}, fewest {}, most {}",
            total as f64 / counts.len() as f64,
            counts.first().copied().unwrap_or_default(),
            counts.last().copied().unwrap_or_default(),
        );
        println!(
            "{:.0} s of network time in {:.1} s of real time; peak memory {}",
            net.now().since_epoch().as_secs_f64(),
            started.elapsed().as_secs_f64(),
            peak_memory(),
        );
    });
}

/// The most memory this process has had resident so far, where the system tells.
fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |kib| kib.trim().to_owned())
}
