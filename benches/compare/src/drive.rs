//! One run: a network joins, settles, idles, and carries the load; the same steps for every contender.

use std::{future::Future, os::unix::process::parent_id, process, time::Duration};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    Result,
    measure::{Meter, now, resident_kib},
    plan::Plan,
    tally::{self, Shared},
};

/// How often the nodes are asked whether they have joined.
const LOOK: Duration = Duration::from_millis(50);

/// How often it is looked whether the test message has reached all.
const GLANCE: Duration = Duration::from_millis(2);

/// How long one test message may take before another is published.
const TEST: Duration = Duration::from_secs(2);

/// How long the load is measured beyond its last message: what comes after a delivery (announcements,
/// what is fetched for them, heartbeats) belongs to it.
const TAIL: Duration = Duration::from_secs(2);

/// How long stragglers are waited for after that. They count as delivered, at their latency, and what they
/// cost is measured, too.
const GRACE: Duration = Duration::from_secs(5);

/// What one node sees of the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Nodes that it is connected to.
    pub(crate) links: usize,
    /// Nodes among them that it forwards everything to, if it keeps a list of such.
    pub(crate) mesh: Option<usize>,
}

/// A network of nodes on this thread.
pub(crate) trait Network {
    /// What each node sees.
    async fn look(&self) -> Result<Vec<Look>>;

    /// Whether the node that sees this has joined.
    fn has_joined(&self, look: &Look) -> bool;

    /// Publishes a message to all others.
    async fn publish(&self, node: usize, payload: Vec<u8>) -> Result<()>;

    /// Payloads that all nodes together have received so far, those that they had already among them.
    async fn copies(&self) -> Result<u64>;
}

/// What one run has shown. Durations are in seconds unless they say otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// From the first node's start until every node had joined.
    pub(crate) joined: f64,
    /// Until a test message had reached every node as well.
    pub(crate) reached: f64,
    /// Links of a node, mean and fewest, when the load began.
    pub(crate) links: f64,
    pub(crate) fewest_links: f64,
    /// Mesh peers of a node, mean, when the load began.
    pub(crate) mesh: Option<f64>,
    pub(crate) deliveries: u64,
    /// Deliveries over what they should have been.
    pub(crate) coverage: f64,
    /// Deliveries of what was delivered already.
    pub(crate) wrong: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// CPU time of a delivery in microseconds, what the idle network uses taken off.
    pub(crate) cpu_us: f64,
    /// Payloads received for each delivery.
    pub(crate) copies: f64,
    /// CPU time over wall time: idle, and under the load.
    pub(crate) idle_busy: f64,
    pub(crate) busy: f64,
    /// Resident memory of the whole process at the end.
    pub(crate) resident_kib: u64,
    /// CPU time that others than this process and its parent used, over wall time.
    pub(crate) others: f64,
}

/// Makes one run with the network that `start` brings up.
pub(crate) async fn run<N: Network>(
    plan: &Plan,
    tally: &Shared,
    start: impl Future<Output = Result<N>>,
) -> Result<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let begin = now();
    let patience = Duration::from_secs(plan.patience.into());
    let joining = async {
        let network = start.await?;
        wait_until_joined(&network).await?;
        let joined = begin.elapsed();
        wait_until_reached(&network, plan, tally, &mut rng).await?;
        Ok::<_, Box<dyn std::error::Error>>((network, joined, begin.elapsed()))
    };
    let Ok(joining) = tokio::time::timeout(patience, joining).await else {
        return Err(format!("the nodes have not joined within {} s", plan.patience).into());
    };
    let (network, joined, reached) = joining?;

    sleep(Duration::from_secs(plan.settle.into())).await;
    let meter = Meter::start(parent_id())?;
    sleep(Duration::from_secs(plan.idle.into())).await;
    let idle = meter.read()?;
    let looks = network.look().await?;

    let (first, copies) = (tally.messages(), network.copies().await?);
    let meter = Meter::start(parent_id())?;
    load(&network, plan, tally, &mut rng).await?;
    let late = now();
    while !tally.are_everywhere(first) && late.elapsed() < GRACE {
        sleep(LOOK).await;
    }
    let usage = meter.read()?;
    let copies = network.copies().await? - copies;

    let latencies = tally.latencies(first);
    let n = latencies.len() as f64;
    let idle_busy = idle.own / idle.wall;
    let each = |of: fn(&Look) -> usize| looks.iter().map(move |look| of(look) as f64);
    let nodes = f64::from(plan.nodes);
    let mesh: Option<usize> = looks.iter().map(|look| look.mesh).sum();
    Ok(Sample {
        joined: joined.as_secs_f64(),
        reached: reached.as_secs_f64(),
        links: each(|look| look.links).sum::<f64>() / nodes,
        fewest_links: each(|look| look.links).fold(f64::INFINITY, f64::min),
        mesh: mesh.map(|mesh| mesh as f64 / nodes),
        deliveries: latencies.len() as u64,
        coverage: n / (f64::from(plan.messages) * (nodes - 1.0)),
        wrong: tally.wrong(),
        p50_ms: quantile(&latencies, 0.5) * 1e3,
        p99_ms: quantile(&latencies, 0.99) * 1e3,
        max_ms: quantile(&latencies, 1.0) * 1e3,
        cpu_us: (usage.own - idle_busy * usage.wall) * 1e6 / n,
        copies: copies as f64 / n,
        idle_busy,
        busy: usage.own / usage.wall,
        resident_kib: resident_kib(process::id())?,
        others: usage.others / usage.wall,
    })
}

async fn wait_until_joined(network: &impl Network) -> Result<()> {
    loop {
        let looks = network.look().await?;
        if looks.iter().all(|look| network.has_joined(look)) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Publishes test messages, one after the other, until one has reached every node.
async fn wait_until_reached(
    network: &impl Network,
    plan: &Plan,
    tally: &Shared,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    loop {
        let number = publish(network, plan, tally, rng).await?;
        let begin = now();
        while begin.elapsed() < TEST {
            if tally.is_everywhere(number) {
                return Ok(());
            }
            sleep(GLANCE).await;
        }
    }
}

/// Publishes what the plan says, each message at its time, and waits for the tail.
async fn load(
    network: &impl Network,
    plan: &Plan,
    tally: &Shared,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    let mut ticks = interval(plan.gap());
    // A late message is followed by the next at its own time: the rate stays what it is.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..plan.messages {
        ticks.tick().await;
        publish(network, plan, tally, rng).await?;
    }
    sleep(TAIL).await;
    Ok(())
}

/// Has a node chosen at random publish a message of its own, and returns the message's number.
async fn publish(
    network: &impl Network,
    plan: &Plan,
    tally: &Shared,
    rng: &mut ChaCha8Rng,
) -> Result<usize> {
    let origin = rng.random_range(0..plan.nodes) as usize;
    let mut payload = vec![0; plan.payload as usize];
    rng.fill_bytes(&mut payload);
    let number = tally.published(origin);
    tally::mark(&mut payload, number);
    network.publish(origin, payload).await?;
    Ok(number)
}

/// The value below which this share of the sorted `values` lies.
fn quantile(values: &[f64], share: f64) -> f64 {
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
