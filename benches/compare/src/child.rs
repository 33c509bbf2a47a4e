//! The child's part: one network on one thread, measured once.

use actix::System;
use tokio::{runtime::Builder, task::LocalSet};

use crate::{
    Result,
    drive::{self, Sample},
    gossipsub::{Links, Swarms},
    overlay::Overlays,
    plan::{Contender, Plan},
    tally::Shared,
};

/// Makes one run and prints its sample.
pub(crate) fn run(contender: Contender, plan: &Plan) -> Result<()> {
    let sample = match contender {
        Contender::Peerage => peerage(plan),
        Contender::Handful => gossipsub(plan, Links::Handful(plan.dials as usize)),
        Contender::All => gossipsub(plan, Links::All),
        Contender::Kad => gossipsub(plan, Links::Bootstrap),
    };
    println!("{}", serde_json::to_string(&sample?)?);
    Ok(())
}

fn peerage(plan: &Plan) -> Result<Sample> {
    let tally = tally(plan);
    System::new().block_on(drive::run(plan, &tally, Overlays::start(plan, &tally)))
}

fn gossipsub(plan: &Plan, links: Links) -> Result<Sample> {
    let tally = tally(plan);
    // One thread with a local set, which is what actix's system is as well.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let network = Swarms::start(plan, links, &tally);
    LocalSet::new().block_on(&runtime, drive::run(plan, &tally, network))
}

fn tally(plan: &Plan) -> Shared {
    Shared::new(plan.nodes as usize, plan.payload as usize)
}
