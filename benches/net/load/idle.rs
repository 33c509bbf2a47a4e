//! Memory: how much a server grows by thousands of sessions that do nothing.

use std::{ops::Range, time::Duration};

use tokio::time::sleep;

use super::{Ops, Plan, Sample, Tasks, client::Client, span};
use crate::{
    Result,
    measure::{Meter, resident_kib},
};

/// Sessions before the first reading, so that what is set up once is not counted.
const FIRST: usize = 50;

/// Connections being made at the same time.
const ABREAST: usize = 50;

/// The figure is KiB of resident memory per session; an operation is a session set up.
pub(super) async fn run(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    connect(plan, 0..FIRST, &ops, &mut tasks).await?;
    span(plan.warmup, &mut tasks).await?;
    let (kib, meter) = (resident_kib(plan.server_pid)?, Meter::start(plan.server_pid)?);
    for i in (FIRST..plan.sessions).step_by(ABREAST) {
        connect(plan, i..(i + ABREAST).min(plan.sessions), &ops, &mut tasks).await?;
    }
    let usage = meter.read()?;
    // The sessions answer the first ping meanwhile, and the server frees what the greeting took.
    span(plan.secs, &mut tasks).await?;
    let grown = resident_kib(plan.server_pid)?.saturating_sub(kib);
    let done = ops.get() - FIRST as u64;
    Ok(Sample::new(grown as f64 / done as f64, done, usage))
}

/// Adds sessions that stay, and waits until all of them have said hello.
async fn connect(plan: &Plan, ids: Range<usize>, ops: &Ops, tasks: &mut Tasks) -> Result<()> {
    let target = ops.get() + ids.len() as u64;
    for i in ids {
        let (ops, server) = (ops.clone(), plan.server);
        tasks.spawn_local(async move {
            let mut client = Client::connect(server, i).await?;
            ops.add(1);
            client.idle().await
        });
    }
    while ops.get() < target {
        tokio::select! {
            () = sleep(Duration::from_millis(1)) => {}
            Some(ended) = tasks.join_next() => ended??,
        }
    }
    Ok(())
}
