//! Four nodes in a row, each of which knows only its neighbours: what three steps cost more than one.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use clap::Args;
use peerage::{
    NodeKey, PeerMessage,
    overlay::{Overlay, Routed},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::sleep};

use super::BODY;
use crate::{
    Result,
    measure::{self, Meter, Run, Usage},
    node,
};

/// Nodes in the row.
const NODES: usize = 4;

/// How often it is looked whether the nodes have met, and how long each time is.
const LOOKS: usize = 500;
const LOOK: Duration = Duration::from_millis(10);

/// What a run is told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Plan {
    #[arg(long)]
    warmup: f64,
    #[arg(long)]
    secs: f64,
    /// Give each node a thread of its own.
    #[arg(long)]
    apart: bool,
}

/// What a run has found: medians of the time from sending to knowing that it was delivered, in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    /// To a peer.
    pub(crate) one: f64,
    /// To a peer of a peer's peer.
    pub(crate) three: f64,
    pub(crate) usage: Usage,
}

impl Run for Found {
    fn others_busy(&self) -> f64 {
        self.usage.others_busy()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

/// Takes what comes.
struct Taker;

impl Actor for Taker {
    type Context = Context<Self>;
}

impl Handler<Routed<Note>> for Taker {
    type Result = ();

    fn handle(&mut self, _: Routed<Note>, _: &mut Context<Self>) {}
}

pub(crate) fn run(plan: &Plan) -> Result<()> {
    super::run(measured(*plan))
}

async fn measured(plan: Plan) -> Result<Found> {
    let row = row(plan.apart).await?;
    let [first, second, _, last] = &row;
    drop(latencies(first, [second, last], plan.warmup).await?);
    let meter = Meter::start_alone()?;
    let [one, three] = latencies(first, [second, last], plan.secs).await?;
    let median = |times| measure::spread(times).median;
    Ok(Found { one: median(one), three: median(three), usage: meter.read()? })
}

/// Sends to one and to the other in turns, one message at a time.
async fn latencies(from: &Overlay, to: [&Overlay; 2], secs: f64) -> Result<[Vec<f64>; 2]> {
    let (begin, body) = (measure::now(), Bytes::from_static(&[0xff; BODY]));
    let mut times = [Vec::new(), Vec::new()];
    while begin.elapsed().as_secs_f64() < secs {
        for ((to, steps), times) in to.iter().zip([1, NODES - 1]).zip(&mut times) {
            let sent = measure::now();
            let delivered = from.send_with(to.id(), &Note {}, body.clone()).await?;
            times.push(sent.elapsed().as_secs_f64() * 1e6);
            if usize::from(delivered.hops) != steps {
                return Err(format!("{} steps instead of {steps}", delivered.hops).into());
            }
        }
    }
    Ok(times)
}

/// The nodes, connected one to the next. Their ids come closer to that of the last one by every step.
async fn row(apart: bool) -> Result<[Overlay; NODES]> {
    let mut keys: Vec<_> = (0..NODES).map(|_| NodeKey::generate(&mut rand::rng())).collect();
    let target = keys.first().ok_or("no keys")?.node_id();
    keys.sort_by_key(|key| std::cmp::Reverse(key.node_id().distance(target)));
    let mut row = Vec::new();
    for key in keys {
        // The first one is with those who measure.
        row.push(if apart && !row.is_empty() { elsewhere(key).await? } else { begin(key).await? });
    }
    for (one, next) in row.iter().zip(row.iter().skip(1)) {
        let addr = next.node().listen_addrs().first().ok_or("a node does not listen")?;
        one.node().dial(addr.clone()).await?;
    }
    met(&row).await?;
    row.try_into().or(Err("more nodes than keys".into()))
}

/// Waits until every node has the peers that it should, and no more.
async fn met(row: &[Overlay]) -> Result<()> {
    let mut counts = Vec::new();
    for _ in 0..LOOKS {
        counts.clear();
        for overlay in row {
            counts.push(overlay.node().peers().await.len());
        }
        if counts == [1, 2, 2, 1] {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    Err(format!("the nodes of the row have {counts:?} peers").into())
}

async fn begin(key: NodeKey) -> Result<Overlay> {
    let overlay = super::start(key, node::config(1)?).await?;
    overlay.register(Taker.start().recipient())?;
    Ok(overlay)
}

/// The same on a new thread.
async fn elsewhere(key: NodeKey) -> Result<Overlay> {
    let (tell, told) = oneshot::channel();
    let started = Arbiter::new().spawn_fn(move || {
        actix_rt::spawn(async move {
            // Whoever waited has given up.
            drop(tell.send(begin(key).await.map_err(|error| error.to_string())));
        });
    });
    if !started {
        return Err("a thread did not start".into());
    }
    Ok(told.await??)
}
