//! Fan-out: one sender, ten receivers, and a window that the slowest receiver moves.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{sync::Notify, time::sleep};

use super::{
    Ops, Plan, Sample, Tasks,
    client::{Client, Wanted},
    head, window,
};
use crate::Result;

const RECEIVERS: usize = 10;

/// Messages that the sender is ahead of the slowest receiver, at most.
const WINDOW: u64 = 256;

/// Probes sent before the server must have reached all receivers.
const MAX_PROBES: u64 = 100;

/// What the receivers tell the sender.
#[derive(Debug, Default)]
struct Progress {
    probes: [Cell<u64>; RECEIVERS],
    messages: [Cell<u64>; RECEIVERS],
    moved: Notify,
}

fn slowest(counts: &[Cell<u64>]) -> u64 {
    counts.iter().map(Cell::get).min().unwrap_or(0)
}

/// The figure is deliveries per second: ten for every message sent.
pub(super) async fn run(plan: &Plan, text: usize) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    let progress = Rc::new(Progress::default());
    for i in 0..RECEIVERS {
        let client = Client::connect(plan.server, i).await?;
        tasks.spawn_local(receive(client, i, text, Rc::clone(&progress), ops.clone()));
    }
    let mut sender = Client::connect(plan.server, RECEIVERS).await?;
    probe(&mut sender, &progress).await?;
    tasks.spawn_local(send(sender, text, progress));
    window(plan, &ops, &mut tasks).await
}

async fn receive(
    mut client: Client,
    me: usize,
    text: usize,
    progress: Rc<Progress>,
    ops: Ops,
) -> Result<()> {
    let (Some(probes), Some(messages)) = (progress.probes.get(me), progress.messages.get(me))
    else {
        return Err("more receivers than counters".into());
    };
    let any = Wanted::fan(0);
    while probes.get() == 0 {
        probes.set(client.recv(&any).await? as u64);
        client.send(&[]).await?;
    }
    let wanted = Wanted::fan(text);
    loop {
        let n = client.recv(&wanted).await?;
        client.send(&[]).await?;
        if n > 0 {
            ops.add(n);
            messages.set(messages.get() + n as u64);
            progress.moved.notify_one();
        }
    }
}

async fn send(mut client: Client, text: usize, progress: Rc<Progress>) -> Result<()> {
    let line = line(text);
    let burst = line.repeat(usize::try_from(WINDOW)?);
    let mut sent = 0;
    loop {
        let room = slowest(&progress.messages) + WINDOW - sent;
        client.send(head(&burst, usize::try_from(room)? * line.len())?).await?;
        sent += room;
        tokio::select! {
            () = progress.moved.notified() => {}
            // Nothing is wanted here, but the server's pings are answered.
            unwanted = client.recv(&Wanted::HELLO) => drop(unwanted?),
        }
    }
}

/// Short messages until every receiver has had one: a server may take a moment after the hello to let a
/// session have its share, and a message lost to that would stop the window for good.
async fn probe(client: &mut Client, progress: &Progress) -> Result<()> {
    for _ in 0..MAX_PROBES {
        client.send(&line(1)).await?;
        sleep(Duration::from_millis(20)).await;
        if slowest(&progress.probes) > 0 {
            return Ok(());
        }
    }
    Err("the probes of the fan-out did not reach all receivers".into())
}

fn line(text: usize) -> Vec<u8> {
    format!("{{\"msgtype\":\"fan\",\"text\":\"{}\"}}\n", "f".repeat(text)).into_bytes()
}
