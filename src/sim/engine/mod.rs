//! Runs a scenario over a simulated network, and reports what it found out.

mod copies;
mod crowd;
mod harm;
mod ledger;
mod load;
mod look;
mod outcome;
mod timeline;
mod world;

use std::{rc::Rc, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::{
    copies::Copies,
    ledger::Ledger,
    look::Look,
    timeline::{Action, Timeline},
    world::Shared,
};
use super::{
    measure::SETTLE,
    network::{self, NodeIndex, SimConfig, SimNetwork},
    report::Report,
    scenario::{Origins, Scenario, ScenarioError},
};
use crate::{Security, config::NodeConfig};

/// The node that all others know at first. Nothing is done to it.
const BOOTSTRAP: NodeIndex = 0;

/// How far a simulation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The time since the first join.
    pub now: Duration,
    /// The time at which the last node joins.
    pub joined: Duration,
    /// The time at which the run is over; some seconds of settling follow.
    pub end: Duration,
    /// Living nodes.
    pub nodes: usize,
    /// Those of them without a session in a bucket in which there is somebody.
    pub lacking: usize,
}

/// Runs a scenario, on this thread and under a clock of its own. Each second of simulated time it
/// says how far it has come.
///
/// ```
/// use peerage::sim::{self, Scenario};
///
/// let scenario = Scenario::from_toml("nodes = 10\nfor = \"1m\"")?;
/// let report = sim::simulate(&scenario, |_| {})?;
/// assert_eq!(report.nodes, 10);
/// assert!(report.converged_secs.is_some());
/// # Ok::<(), sim::ScenarioError>(())
/// ```
///
/// # Errors
/// The scenario does not fit together; nothing was run.
///
/// # Panics
/// If the thread is in a runtime already.
pub fn simulate(
    scenario: &Scenario,
    progress: impl FnMut(Progress),
) -> Result<Report, ScenarioError> {
    scenario.check()?;
    let report = network::run(config(scenario), async |net| {
        let mut run = Run::new(scenario, net);
        run.all(progress).await;
        run.report()
    });
    Ok(report)
}

/// The network of a scenario.
fn config(scenario: &Scenario) -> SimConfig {
    let security = if scenario.signatures { Security::default() } else { Security::Off };
    let node =
        NodeConfig { security, journal_entries: scenario.journal_entries, ..NodeConfig::default() };
    SimConfig {
        latency: scenario.latency.clone(),
        dial_loss: scenario.dial_loss,
        events: 0,
        node,
        ..SimConfig::seeded(scenario.seed)
    }
}

/// A scenario that is being run.
struct Run<'a> {
    scenario: &'a Scenario,
    net: &'a mut SimNetwork,
    world: Shared,
    rng: ChaCha8Rng,
    /// When the last node has joined.
    zero: Duration,
    look: Look,
    ledger: Ledger,
    copies: Copies,
    /// Who publishes, if it is always the same.
    origin: Option<NodeIndex>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, net: &'a mut SimNetwork) -> Self {
        let world = Shared::default();
        let observed = Rc::clone(&world);
        net.observe(move |node, event| observed.borrow_mut().heard(node, event));
        // The network has the same seed; this is another stream of it.
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        rng.set_stream(1);
        Self {
            scenario,
            net,
            world,
            rng,
            zero: scenario.joining(),
            look: Look::default(),
            ledger: Ledger::default(),
            copies: Copies::default(),
            origin: None,
        }
    }

    fn now(&self) -> Duration {
        self.net.now().since_epoch()
    }

    /// The whole scenario, and the settling of what was published last.
    async fn all(&mut self, mut progress: impl FnMut(Progress)) {
        for (at, action) in Timeline::new(self.scenario) {
            // Even no time at all would be slept as a millisecond.
            if at > self.now() {
                self.net.advance(at.saturating_sub(self.now())).await;
            }
            self.act(action).await;
            if action == Action::Look {
                progress(self.progress());
            }
        }
        self.net.advance(SETTLE).await;
        while self.world.borrow().waiting > 0 {
            self.net.advance(timeline::LOOK).await;
        }
        let now = self.now();
        self.world.borrow_mut().coverage.settle(now);
        self.count_copies_for(None).await;
        progress(self.progress());
    }

    fn progress(&self) -> Progress {
        Progress {
            now: self.now(),
            joined: self.zero,
            end: self.zero + self.scenario.lasts,
            nodes: self.world.borrow().living.len(),
            lacking: self.look.lacking(),
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Join => self.join().await,
            Action::Look => self.look().await,
            Action::ChurnBegins => self.churn_begins().await,
            Action::Replace(churn) => self.replace(churn).await,
            Action::ChurnEnds => self.churn_ends().await,
            Action::Kill(kill) => self.kill(kill).await,
            Action::Split(partition) => self.split(partition).await,
            Action::Heal(partition) => self.heal(partition).await,
            Action::Route(load) => self.route(load),
            Action::Probe(kill) => self.route(self.scenario.route.len() + kill),
            Action::BroadcastBegins(load) => {
                self.origin = None;
                self.count_copies_for(Some(load)).await;
            }
            Action::Broadcast(load) => self.publish(load),
            Action::BroadcastEnds => self.copies.load_ended(self.now()),
            Action::End => self.end(),
        }
    }

    /// The next node joins. It knows the bootstrap only.
    async fn join(&mut self) {
        let is_first = self.world.borrow().living.len() == 0;
        let hidden = !is_first && self.rng.random_bool(self.scenario.nat_share);
        let known: &[NodeIndex] = if is_first { &[] } else { &[BOOTSTRAP] };
        let node =
            if hidden { self.net.add_hidden(known).await } else { self.net.add(known).await };
        if let Some(handle) = self.net.node(node) {
            self.world.borrow_mut().joined(node, handle.id(), hidden);
            load::listen(self.net, node, &self.world);
        }
    }

    /// Sends one message of a load to one node.
    fn route(&mut self, load: usize) {
        let now = self.now();
        let bytes = self.scenario.route.get(load).map_or(0, |load| load.bytes);
        let way = self.world.borrow_mut().route(now, load, &mut self.rng);
        if let Some(way) = way {
            load::route(self.net, &self.world, way, bytes);
        }
    }

    /// Publishes one message of a load.
    fn publish(&mut self, number: usize) {
        let Some(load) = self.scenario.broadcast.get(number) else { return };
        let now = self.now();
        let mut world = self.world.borrow_mut();
        let kept = self.origin.filter(|origin| world.living.contains(*origin));
        let origin = match load.origins {
            Origins::One if kept.is_some() => kept,
            Origins::One | Origins::Random => world.living.any(&mut self.rng),
        };
        self.origin = origin;
        if let Some(origin) = origin {
            let message = world.publish(now, number, origin);
            drop(world);
            load::publish(self.net, &self.world, origin, message, load.bytes);
        }
    }
}
