//! Thousands of encrypted sessions held for minutes, with little to say: what they cost in the long run.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    Ops, Plan, Sample,
    client::{Client, Wanted},
    idle::Crowd,
};
use crate::{
    Result,
    measure::{self, Meter, resident_kib},
    wire::PING,
};

/// Time from one ping to the next, in both directions: the node's own default.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(60);

/// The figure is KiB of resident memory per session; an operation is a ping of this side answered. The CPU
/// time is that of the window, in which nobody comes or goes.
pub(super) async fn run(plan: &Plan) -> Result<Sample> {
    let mut crowd = Crowd::new(plan);
    crowd.begin().await?;
    let before = resident_kib(plan.server_pid)?;
    let added = crowd.fill().await?;
    crowd.wait(plan.warmup).await?;
    let (pongs, meter) = (crowd.pongs.get(), Meter::start(plan.server_pid)?);
    crowd.wait(plan.secs).await?;
    let (usage, resident_kib) = (meter.read()?, resident_kib(plan.server_pid)?);
    let figure = resident_kib.saturating_sub(before) as f64 / added as f64;
    let sample = Sample::new(figure, crowd.pongs.get() - pongs, usage);
    Ok(Sample { resident_kib, ..sample })
}

/// Pings the server and answers its pings for as long as it is polled; the sessions ping one after the
/// other.
pub(super) async fn stay(mut client: Client, i: usize, of: usize, pongs: &Ops) -> Result<()> {
    let mut due = Instant::from_std(measure::now()) + PING_EVERY.mul_f64(i as f64 / of as f64);
    loop {
        tokio::select! {
            read = client.recv(&Wanted::PONG) => {
                pongs.add(read?);
                client.send(&[]).await?;
            }
            () = sleep_until(due) => {
                client.send(PING).await?;
                due += PING_EVERY;
            }
        }
    }
}
