//! A network of nodes over simulated wires, and what can be done to it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use actix::prelude::*;
use rand::{Rng, SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    latency::Latency,
    record::{Record, Recorder, SimEvent},
    scenario::Leave,
    wires::{Wires, host},
};
use crate::{
    actors::registry::PeerEvent,
    address::HostPort,
    clock::{Clock, Moment, whole_millis},
    config::NodeConfig,
    node::{Node, NodeHandle},
    overlay::{Overlay, OverlayConfig},
    peer::PeerInfo,
};

/// The port that every simulated node listens on.
const PORT: u16 = 5999;

/// What kind of network it is.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The time from one host to another.
    pub latency: Latency,
    /// The share of dials that get no answer, 0 to 1.
    pub dial_loss: f64,
    /// Events kept for [`SimNetwork::events`]; beyond it the oldest is dropped.
    pub events: usize,
    /// Each node's configuration; what it listens on and its bootstraps are set by the network,
    /// and it runs on one thread.
    pub node: NodeConfig,
    /// The configuration of the overlay that runs on each node; none: nodes have only peers.
    pub overlay: Option<OverlayConfig>,
}

impl SimConfig {
    /// Ordinary nodes with an overlay, 10 to 80 ms apart, and no losses.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            latency: Latency::default(),
            dial_loss: 0.0,
            events: 1 << 18,
            node: NodeConfig::default(),
            overlay: Some(OverlayConfig::default()),
        }
    }
}

/// A running node.
#[derive(Debug)]
enum Running {
    Bare(NodeHandle),
    Overlay(Overlay),
}

impl Running {
    fn node(&self) -> &NodeHandle {
        match self {
            Self::Bare(node) => node,
            Self::Overlay(overlay) => overlay.node(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Bare(node) => node.stop().await,
            Self::Overlay(overlay) => overlay.stop().await,
        }
    }
}

/// A node's number in its network, in the order of adding.
pub type NodeIndex = usize;

/// A network of nodes.
#[derive(Debug)]
pub struct SimNetwork {
    config: SimConfig,
    wires: Wires,
    rng: ChaCha8Rng,
    clock: Clock,
    nodes: Vec<Option<Running>>,
    record: Record,
}

/// Runs a simulation to its end, on this thread, under a clock of its own.
///
/// # Panics
/// If the given function panics, as tests do.
pub fn run<R>(config: SimConfig, simulation: impl AsyncFnOnce(&mut SimNetwork) -> R) -> R {
    actix_rt::System::new().block_on(async {
        let mut network = SimNetwork::new(config);
        let result = simulation(&mut network).await;
        network.stop_all().await;
        result
    })
}

/// Waits for nodes that are being stopped.
async fn wait(stops: Vec<JoinHandle<()>>) {
    for stop in stops {
        if stop.await.is_err() {
            tracing::error!("a simulated node panicked when it was stopped");
        }
    }
}

impl SimNetwork {
    /// An empty network. The clock of the current runtime is paused from here on; [`run`] is the
    /// simpler way.
    ///
    /// # Panics
    /// If the clock is paused already, or the runtime has more than one thread.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        tokio::time::pause();
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let wires = Wires::new(rng.random(), config.latency.clone(), config.dial_loss);
        Self {
            wires,
            rng,
            record: Record::new(config.events),
            config,
            clock: Clock::start_at_zero(),
            nodes: Vec::new(),
        }
    }

    /// Adds a node that knows these others. Its index.
    pub async fn add(&mut self, bootstrap: &[NodeIndex]) -> NodeIndex {
        self.add_with(self.knowing(bootstrap)).await
    }

    /// Adds a node that knows these others and that nobody can dial, as behind a NAT. Its index.
    pub async fn add_hidden(&mut self, bootstrap: &[NodeIndex]) -> NodeIndex {
        self.hide(self.nodes.len(), true);
        self.add(bootstrap).await
    }

    /// Adds a node without an overlay that knows these others: it passes nothing on. Its index.
    pub async fn add_bare(&mut self, bootstrap: &[NodeIndex]) -> NodeIndex {
        let overlay = self.config.overlay.take();
        let index = self.add(bootstrap).await;
        self.config.overlay = overlay;
        index
    }

    /// Adds a node with a configuration of its own; where it listens is set by the network (if it
    /// listens at all).
    pub async fn add_with(&mut self, config: NodeConfig) -> NodeIndex {
        let index = self.nodes.len();
        self.nodes.push(None);
        self.start(index, config).await;
        index
    }

    /// Adds this many nodes at a steady rate, each knowing up to three random earlier ones.
    pub async fn grow(&mut self, n: usize, every: Duration) {
        for _ in 0..n {
            let known = (0..self.nodes.len()).choose_multiple(&mut self.rng, 3);
            self.add(&known).await;
            self.advance(every).await;
        }
    }

    /// The configuration of a node that knows these others.
    fn knowing(&self, bootstrap: &[NodeIndex]) -> NodeConfig {
        let bootstrap = bootstrap.iter().map(|n| Self::addr(*n).into()).collect();
        NodeConfig { bootstrap, ..self.config.node.clone() }
    }

    async fn start(&mut self, index: NodeIndex, config: NodeConfig) {
        let listen = vec![Self::addr(index)];
        let config = NodeConfig { listen, workers: 1, ..config };
        let endpoint = self.wires.endpoint(host(index));
        let builder = Node::builder().config(config).seed(self.rng.random()).clock(self.clock);
        let builder = builder.transport(endpoint);
        let started = match self.config.overlay {
            Some(overlay) => Overlay::start(builder, overlay).await.map(Running::Overlay),
            None => builder.start().await.map(Running::Bare),
        };
        match started {
            Ok(node) => {
                let recorder = Recorder::new(index, self.clock, self.record.clone());
                node.node().subscribe(recorder.start().recipient()).await;
                if let Some(slot) = self.nodes.get_mut(index) {
                    *slot = Some(node);
                }
            }
            Err(error) => tracing::error!(index, %error, "a simulated node did not start"),
        }
    }

    /// Where a node listens.
    #[must_use]
    pub fn addr(index: NodeIndex) -> HostPort {
        std::net::SocketAddr::new(host(index), PORT).into()
    }

    /// A node, unless it was stopped or killed.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> Option<&NodeHandle> {
        Some(self.nodes.get(index)?.as_ref()?.node())
    }

    /// A node's overlay, unless the node was stopped or killed, or has none.
    #[must_use]
    pub fn overlay(&self, index: NodeIndex) -> Option<&Overlay> {
        match self.nodes.get(index)?.as_ref()? {
            Running::Bare(_) => None,
            Running::Overlay(overlay) => Some(overlay),
        }
    }

    /// The nodes that run.
    pub fn alive(&self) -> impl Iterator<Item = (NodeIndex, &NodeHandle)> {
        self.nodes.iter().enumerate().filter_map(|(n, node)| Some((n, node.as_ref()?.node())))
    }

    /// Lets this much time pass (in whole milliseconds, rounded up).
    pub async fn advance(&self, time: Duration) {
        // Sleeping rather than setting the clock: each timer then fires at its own moment.
        sleep(whole_millis(time)).await;
    }

    /// Lets time pass until something is so, looked at every 100 ms. Whether it was within the
    /// limit.
    pub async fn until(&self, limit: Duration, mut so: impl AsyncFnMut(&Self) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !so(self).await {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
        true
    }

    /// The time since the network was made, which is what the clocks of all its nodes tell.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Stops a node in an orderly way.
    pub async fn stop(&mut self, index: NodeIndex) {
        wait(self.take_down(&[index], Leave::Stop)).await;
    }

    /// Kills a node as the crash of its program does: its connections are cut without a word, and
    /// whoever dials it is refused.
    pub async fn kill(&mut self, index: NodeIndex) {
        self.kill_together(&[index]).await;
    }

    /// Kills nodes at the same moment.
    pub async fn kill_together(&mut self, indices: &[NodeIndex]) {
        wait(self.take_down(indices, Leave::Crash)).await;
    }

    /// Has nodes vanish at the same moment, as if their power failed: nobody is told, and whoever
    /// has a session with them finds out by waiting.
    pub async fn vanish_together(&mut self, indices: &[NodeIndex]) {
        wait(self.take_down(indices, Leave::Vanish)).await;
    }

    /// Ends nodes at this moment. What is left of them needs some more time for itself.
    pub(super) fn take_down(&mut self, indices: &[NodeIndex], how: Leave) -> Vec<JoinHandle<()>> {
        for index in indices {
            match how {
                Leave::Crash => self.wires.crash(host(*index)),
                Leave::Vanish => self.wires.vanish(host(*index)),
                Leave::Stop => {}
            }
        }
        let nodes = indices.iter().filter_map(|index| self.nodes.get_mut(*index)?.take());
        nodes.map(|node| actix_rt::spawn(node.stop())).collect()
    }

    /// Starts a stopped or killed node again at its address: with a new id, and knowing these.
    pub async fn restart(&mut self, index: NodeIndex, bootstrap: &[NodeIndex]) {
        self.stop(index).await;
        self.wires.appear(host(index));
        self.start(index, self.knowing(bootstrap)).await;
    }

    async fn stop_all(&mut self) {
        self.record.observe(|_, _| {});
        let all: Vec<NodeIndex> = (0..self.nodes.len()).collect();
        self.kill_together(&all).await;
    }

    /// Splits the network into groups that do not reach each other; nodes that are in none form
    /// one more.
    pub fn partition(&self, groups: &[&[NodeIndex]]) {
        let numbered = groups.iter().enumerate();
        let hosts: BTreeMap<IpAddr, usize> =
            numbered.flat_map(|(n, group)| group.iter().map(move |i| (host(*i), n + 1))).collect();
        self.wires.partition(&hosts);
    }

    /// Ends every partition.
    pub fn heal(&self) {
        self.wires.heal();
    }

    /// Makes a node one that nobody can dial, as behind a NAT, or the opposite.
    pub fn hide(&self, index: NodeIndex, hidden: bool) {
        self.wires.hide(host(index), hidden);
    }

    /// Cuts this share (0 to 1) of all connections at random. How many that were.
    pub fn cut_some(&self, share: f64) -> usize {
        self.wires.cut_some(share)
    }

    /// How many connections there are.
    #[must_use]
    pub fn n_connections(&self) -> usize {
        self.wires.n_connections()
    }

    /// Every running node's table of peers.
    pub async fn tables(&self) -> BTreeMap<NodeIndex, Vec<PeerInfo>> {
        let mut tables = BTreeMap::new();
        for (index, node) in self.alive() {
            tables.insert(index, node.peers().await);
        }
        tables
    }

    /// Whether every running node has a session with every other.
    pub async fn is_full_mesh(&self) -> bool {
        let n = self.alive().count();
        let tables = self.tables().await;
        tables.values().all(|peers| peers.len() + 1 == n)
    }

    /// How many bytes a node has sent so far, over all its connections (and those of earlier
    /// nodes at its address).
    #[must_use]
    pub fn sent(&self, index: NodeIndex) -> u64 {
        self.wires.sent(host(index))
    }

    /// How many bytes all nodes together have sent so far.
    #[must_use]
    pub fn sent_by_all(&self) -> u64 {
        self.wires.sent_by_all()
    }

    /// What the nodes told their subscribers so far, in order: the latest, as many as the
    /// configuration has room for.
    #[must_use]
    pub fn events(&self) -> Vec<SimEvent> {
        self.record.events()
    }

    /// Has a function called for whatever a node tells its subscribers from now on, at the moment
    /// at which it does; in place of an earlier function.
    pub fn observe(&self, observer: impl FnMut(NodeIndex, &PeerEvent) + 'static) {
        self.record.observe(observer);
    }
}
