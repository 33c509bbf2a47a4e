//! Fifty nodes in one process: what a message to all of them costs for each delivery, against sending a frame
//! of the same size over one session once.

use std::{cell::Cell, hint::black_box, ops::AddAssign, rc::Rc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use clap::Args;
use peerage::{
    NodeConfig, NodeKey, PeerHandle, PeerMessage, Received,
    overlay::{Overlay, Published, Topic, envelope::SIGNED_OVERHEAD},
};
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};

use super::BODY;
use crate::{
    Result,
    measure::{self, Meter, Run, Usage},
    node,
};

/// Nodes in the network, and those that a message is delivered to.
const NODES: usize = 50;
const OTHERS: usize = NODES - 1;

/// How long joining may take, how often it is looked, and how long the network settles then.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);
const SETTLE: Duration = Duration::from_secs(5);

/// Seconds of each load before the next has its turn.
const ROUND: f64 = 2.0;

/// How long is measured beyond the last of them, for what follows from it, and how long those under way are
/// waited for before that.
const TAIL: Duration = Duration::from_secs(1);
const STRAGGLERS: Duration = Duration::from_secs(5);

/// How many signatures are made to know what one costs.
const SIGNATURES: u32 = 4000;

/// What a run is told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Plan {
    #[arg(long)]
    warmup: f64,
    #[arg(long)]
    secs: f64,
    /// Messages published in a second. The frames that are compared with their deliveries are sent as many at
    /// a time.
    #[arg(long)]
    rate: u32,
}

/// What a run has found: CPU time of the whole process in microseconds, what it uses when idle taken off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    /// For each delivery of a message to all.
    pub(crate) delivery: f64,
    /// For checking a signature, which each delivery does once: the time that the nodes' own account
    /// has for it, which on one thread with a core of its own is CPU time.
    pub(crate) verify: f64,
    /// For making one, which each message needs once.
    pub(crate) sign: f64,
    /// For a frame of the same size, over each session in turn.
    pub(crate) turn: f64,
    /// The same over one session again and again.
    pub(crate) hot: f64,
    /// Of one core, when nothing is sent.
    pub(crate) idle: f64,
    /// Deliveries over what they should have been.
    pub(crate) coverage: f64,
    pub(crate) usage: Usage,
}

impl Found {
    /// A delivery without its signatures.
    pub(crate) fn bare(&self) -> f64 {
        self.delivery - self.verify - self.sign / OTHERS as f64
    }
}

impl Run for Found {
    fn others_busy(&self) -> f64 {
        self.usage.others_busy()
    }
}

/// What goes to everybody; the rest goes along with it.
#[derive(Debug, Serialize, Deserialize)]
struct News {}

impl PeerMessage for News {
    const MSGTYPE: &'static str = "news";
}

/// What goes over one session: a line as long as that of a broadcast.
#[derive(Debug, Serialize, Deserialize)]
struct Frame {
    pad: String,
}

impl PeerMessage for Frame {
    const MSGTYPE: &'static str = "frame";
}

/// About as long as what stands in the line of a broadcast.
const LINE_PAD: usize = 150;

/// What has come, at all nodes together.
#[derive(Debug, Default)]
struct Arrivals {
    count: Cell<u64>,
    /// Tells of one frame that came.
    frame: Notify,
}

impl Arrivals {
    /// Waits for a frame.
    async fn one_frame(&self) -> Result<()> {
        let arrived = tokio::time::timeout(STRAGGLERS, self.frame.notified());
        Ok(arrived.await.or(Err("a frame is lost"))?)
    }
}

/// Counts what comes.
#[derive(Debug)]
struct Counter(Rc<Arrivals>);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Published<News>> for Counter {
    type Result = ();

    fn handle(&mut self, _: Published<News>, _: &mut Context<Self>) {
        self.0.count.update(|n| n + 1);
    }
}

impl Handler<Received<Frame>> for Counter {
    type Result = ();

    fn handle(&mut self, _: Received<Frame>, _: &mut Context<Self>) {
        self.0.count.update(|n| n + 1);
        self.0.frame.notify_one();
    }
}

pub(crate) fn run(plan: &Plan) -> Result<()> {
    super::run(measured(*plan))
}

async fn measured(plan: Plan) -> Result<Found> {
    let arrivals = Rc::new(Arrivals::default());
    let (network, topic) = (network(&arrivals).await?, Topic::new("bench")?);
    let mut rng = rand::rng();
    let (_pair, session) = pair(&arrivals).await?;
    let body: Bytes = (0..BODY).map(|_| rng.random()).collect();
    let frame = Frame { pad: "x".repeat(LINE_PAD) };
    let frame = frame.encode_with((0..BODY + SIGNED_OVERHEAD).map(|_| rng.random()).collect())?;

    let mut sessions = sessions(&network).await;
    sessions.shuffle(&mut rng);
    let (mut at, mut turns) = (0, network.iter().cycle());
    let mut publish = async || {
        let origin = turns.next().ok_or("no nodes")?;
        origin.publish_with(&topic, &News {}, body.clone()).await?;
        Ok(())
    };
    // Each frame by itself, when the one before it has come.
    let mut in_turn = async || {
        let mut sent = 0;
        while sent < OTHERS {
            at += 1;
            let session = sessions.get(at % sessions.len()).ok_or("no sessions")?;
            // Nodes end a session now and then that neither side needs.
            if session.send_encoded(&frame).is_ok() {
                arrivals.one_frame().await?;
                sent += 1;
            }
        }
        Ok(())
    };
    let mut again = async || {
        for _ in 0..OTHERS {
            session.send_encoded(&frame)?;
            arrivals.one_frame().await?;
        }
        Ok(())
    };

    let pace = Duration::from_secs(1) / plan.rate;
    let _warm = paced(plan.warmup, pace, &arrivals, &mut publish).await?;
    let whole = Meter::start_alone()?;
    let [mut broadcast, mut turn, mut hot, mut idle] = [Cost::default(); 4];
    let before = Checks::of(&network).await;
    // By turns, so that whatever drifts befalls all alike.
    while broadcast.load < plan.secs {
        broadcast += paced(ROUND, pace, &arrivals, &mut publish).await?;
        turn += paced(ROUND, pace, &arrivals, &mut in_turn).await?;
        hot += paced(ROUND, pace, &arrivals, &mut again).await?;
        idle += paced(0.0, pace, &arrivals, &mut async || Ok(())).await?;
    }
    let usage = whole.read()?;
    let idle = idle.cpu / idle.wall;
    let [delivery, turn, hot] = [broadcast, turn, hot].map(|cost| cost.each(idle));
    let after = Checks::of(&network).await;
    let verify = (after.took - before.took) * 1e6 / (after.n - before.n);
    let coverage = broadcast.arrived / broadcast.expected;
    Ok(Found { delivery, verify, sign: signing(), turn, hot, idle, coverage, usage })
}

/// Signatures that all nodes have checked, and the seconds that took.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    n: f64,
    took: f64,
}

impl Checks {
    async fn of(network: &[Overlay]) -> Self {
        let mut all = Self::default();
        for overlay in network {
            let stats = overlay.stats().await.broadcast;
            all.n += stats.checks as f64;
            all.took += stats.checking.as_secs_f64();
        }
        all
    }
}

/// What a load has cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    cpu: f64,
    wall: f64,
    /// For how long of that something was sent.
    load: f64,
    arrived: f64,
    expected: f64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, rhs: Self) {
        self.cpu += rhs.cpu;
        self.wall += rhs.wall;
        self.load += rhs.load;
        self.arrived += rhs.arrived;
        self.expected += rhs.expected;
    }
}

impl Cost {
    /// For each that arrived, in microseconds.
    fn each(&self, idle: f64) -> f64 {
        (self.cpu - idle * self.wall) * 1e6 / self.arrived
    }
}

/// Has [`OTHERS`] things sent at each tick, and waits until they have come.
async fn paced(
    secs: f64,
    pace: Duration,
    arrivals: &Arrivals,
    send: &mut impl AsyncFnMut() -> Result<()>,
) -> Result<Cost> {
    let (begin, first) = (measure::now(), arrivals.count.get());
    let meter = Meter::start_alone()?;
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut expected = 0;
    while begin.elapsed().as_secs_f64() < secs {
        ticks.tick().await;
        send().await?;
        expected += OTHERS as u64;
    }
    let all = async {
        while arrivals.count.get() < first + expected {
            sleep(LOOK).await;
        }
    };
    // What is still missing is missing in the figures, too.
    drop(tokio::time::timeout(STRAGGLERS, all).await);
    sleep(TAIL).await;
    let Usage { own: cpu, wall, .. } = meter.read()?;
    let arrived = (arrivals.count.get() - first) as f64;
    Ok(Cost { cpu, wall, load: secs, arrived, expected: expected as f64 })
}

/// What it takes to sign a message, in microseconds.
fn signing() -> f64 {
    let key = NodeKey::generate(&mut rand::rng());
    let message = vec![7; BODY + SIGNED_OVERHEAD];
    let begin = measure::now();
    for _ in 0..SIGNATURES {
        black_box(key.sign(black_box(&message)));
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(SIGNATURES)
}

/// The nodes, each of which has found its peers, and listens to the topic.
async fn network(arrivals: &Rc<Arrivals>) -> Result<Vec<Overlay>> {
    let mut config =
        NodeConfig { listen: vec!["127.0.0.1:0".parse()?], workers: 1, ..NodeConfig::default() };
    let mut network = Vec::new();
    for _ in 0..NODES {
        let overlay = begin(config.clone(), arrivals).await?;
        if config.bootstrap.is_empty() {
            let first = overlay.node().listen_addrs().first().ok_or("a node does not listen")?;
            config.bootstrap.push(first.clone().into());
        }
        network.push(overlay);
    }
    let wanted = config.discovery.target_peers.min(OTHERS);
    let joined = async {
        for overlay in &network {
            while overlay.node().peers().await.len() < wanted {
                sleep(LOOK).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, joined).await.or(Err("the nodes have not joined in time"))?;
    sleep(SETTLE).await;
    Ok(network)
}

async fn begin(config: NodeConfig, arrivals: &Rc<Arrivals>) -> Result<Overlay> {
    let overlay = super::start(NodeKey::generate(&mut rand::rng()), config).await?;
    let counter = Counter(Rc::clone(arrivals)).start();
    overlay.subscribe::<News>(&Topic::new("bench")?, counter.clone().recipient())?;
    overlay.node().register::<Frame>(counter.recipient())?;
    Ok(overlay)
}

/// Both ends of all sessions.
async fn sessions(network: &[Overlay]) -> Vec<PeerHandle> {
    let mut sessions = Vec::new();
    for overlay in network {
        let node = overlay.node();
        let peers = node.peers().await;
        sessions.extend(peers.iter().filter_map(|peer| node.peer(peer.id)));
    }
    sessions
}

/// Two nodes that know only each other, and the session between them.
async fn pair(arrivals: &Rc<Arrivals>) -> Result<([Overlay; 2], PeerHandle)> {
    let pair = [begin(node::config(1)?, arrivals).await?, begin(node::config(1)?, arrivals).await?];
    let [one, other] = &pair;
    let addr = other.node().listen_addrs().first().ok_or("a node does not listen")?;
    let id = one.node().dial(addr.clone()).await?;
    let session = one.node().peer(id).ok_or("no session")?;
    Ok((pair, session))
}
