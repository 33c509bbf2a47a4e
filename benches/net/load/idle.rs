//! Memory: how much a server grows by thousands of sessions that do nothing.

use std::{ops::Range, time::Duration};

use tokio::time::sleep;

use super::{Load, Ops, Plan, Sample, Tasks, hold, span};
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
    let mut crowd = Crowd::new(plan);
    crowd.begin().await?;
    crowd.wait(plan.warmup).await?;
    let (kib, meter) = (resident_kib(plan.server_pid)?, Meter::start(plan.server_pid)?);
    let added = crowd.fill().await?;
    let usage = meter.read()?;
    // The sessions answer the first ping meanwhile, and the server frees what the greeting took.
    crowd.wait(plan.secs).await?;
    let grown = resident_kib(plan.server_pid)?.saturating_sub(kib);
    Ok(Sample::new(grown as f64 / added as f64, added, usage))
}

/// Sessions that come a few at a time, and stay.
pub(super) struct Crowd<'p> {
    plan: &'p Plan,
    tasks: Tasks,
    /// Sessions that have said hello.
    there: Ops,
    /// What the server has answered to the pings of [`hold`].
    pub(super) pongs: Ops,
}

impl<'p> Crowd<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self { plan, tasks: Tasks::new(), there: Ops::default(), pongs: Ops::default() }
    }

    /// The first few sessions.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.add(0..FIRST).await
    }

    /// All others; says how many these are.
    pub(super) async fn fill(&mut self) -> Result<u64> {
        let before = self.there.get();
        for i in (FIRST..self.plan.sessions).step_by(ABREAST) {
            self.add(i..(i + ABREAST).min(self.plan.sessions)).await?;
        }
        Ok(self.there.get() - before)
    }

    /// Lets the time pass; an error if a session ends meanwhile.
    pub(super) async fn wait(&mut self, secs: f64) -> Result<()> {
        span(secs, &mut self.tasks).await
    }

    /// Adds sessions, and waits until all of them have said hello.
    async fn add(&mut self, ids: Range<usize>) -> Result<()> {
        let target = self.there.get() + ids.len() as u64;
        for i in ids {
            let (plan, there, pongs) = (self.plan.clone(), self.there.clone(), self.pongs.clone());
            self.tasks.spawn_local(async move {
                let mut client = plan.connect(i).await?;
                there.add(1);
                match plan.load {
                    Load::TlsHold => hold::stay(client, i, plan.sessions, &pongs).await,
                    _ => client.idle().await,
                }
            });
        }
        while self.there.get() < target {
            tokio::select! {
                () = sleep(Duration::from_millis(1)) => {}
                Some(ended) = self.tasks.join_next() => ended??,
            }
        }
        Ok(())
    }
}
