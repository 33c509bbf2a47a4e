//! The child's part: one network on one thread, measured once.

use tokio::{runtime::Builder, task::LocalSet};

use crate::{
    Result, drive,
    gossipsub::{Links, Swarms},
    plan::{Contender, Plan},
    tally::Shared,
};

/// Makes one run and prints its sample.
pub(crate) fn run(contender: Contender, plan: &Plan) -> Result<()> {
    let tally = Shared::new(plan.nodes as usize, plan.payload as usize);
    let links = match contender {
        Contender::Handful => Links::Handful(plan.dials as usize),
        Contender::All => Links::All,
        Contender::Kad => Links::Bootstrap,
    };
    // One thread with a local set, which is what actix's system is as well.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let network = Swarms::start(plan, links, &tally);
    let sample = LocalSet::new().block_on(&runtime, drive::run(plan, &tally, network))?;
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}
