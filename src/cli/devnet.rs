//! `peerage devnet`: several real nodes on loopback ports in one process, watched.
//!
//! Each node's events reach the [`Screen`] through a [`Watcher`] actor. The screen writes them as
//! they come; a slow reader of stdout therefore slows the nodes down, which is right for a show.

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix::{Actor, Context, Handler};
use peerage::{
    HostPort, Node, NodeConfig, NodeFailure, NodeHandle, NodeId, PeerEvent, PeerInfo,
    overlay::{Overlay, OverlayConfig},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior},
};

use super::{
    error::{Failure, one_line},
    logging,
    mesh::MeshView,
    print::{self, Lines},
    resolve::{DevnetSettings, LogFormat},
    run::on_system,
    signals::{self, STOP_DEADLINE, StopRequest},
};

/// How often the nodes' tables are asked for round trips, until the report.
const LOOK: Duration = Duration::from_millis(50);

/// How long a complete mesh may take to measure its round trips before the table shows without.
const MEASURE: Duration = Duration::from_secs(1);

/// After this long the table shows even if the mesh is incomplete; it shows again when it is.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs the nodes until a signal or a failure.
pub(crate) fn run(settings: &DevnetSettings, program: &str) -> Result<(), Failure> {
    logging::start(&settings.log, LogFormat::Text).release();
    let stop = signals::watch()?;
    on_system(show(settings, program, stop))
}

/// From the first node's start to the last one's stop.
async fn show(
    settings: &DevnetSettings,
    program: &str,
    mut stop: StopRequest,
) -> Result<(), Failure> {
    let screen = Rc::new(RefCell::new(Screen::new(settings.nodes)));
    let mut nodes = Vec::with_capacity(settings.nodes);
    let started = tokio::select! {
        started = start(settings, &screen, &mut nodes) => started,
        () = stop.received() => Ok(()),
    };
    let result = match started {
        Ok(()) => {
            screen.borrow_mut().all_started();
            watch(&screen, &nodes, program, &mut stop).await
        }
        failure => failure,
    };
    screen.borrow_mut().stopping();
    // Nodes of which one has failed may not be able to stop, and there may have been no signal
    // whose deadline counts.
    tokio::time::timeout(STOP_DEADLINE, stop_all(nodes)).await.ok();
    result
}

/// Stops all nodes at once.
async fn stop_all(nodes: Vec<NodeHandle>) {
    let stops: Vec<JoinHandle<()>> =
        nodes.into_iter().map(|node| actix_rt::spawn(async move { node.stop().await })).collect();
    for stop in stops {
        // A stop that panicked has ended, too.
        stop.await.ok();
    }
}

/// Starts node 1, then the others with node 1 as the only node they know.
async fn start(
    settings: &DevnetSettings,
    screen: &Rc<RefCell<Screen>>,
    nodes: &mut Vec<NodeHandle>,
) -> Result<(), Failure> {
    let mut config = NodeConfig {
        listen: vec![HostPort::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))],
        workers: 1,
        ..NodeConfig::default()
    };
    // The show is of a full mesh, however many there are.
    config.discovery.target_peers = settings.nodes;
    config.liveness.ping_interval = settings.ping_interval;
    config.liveness.dead_after = settings.dead_after();
    for number in 0..settings.nodes {
        let builder = Node::builder().config(config.clone());
        // Its actors end with the process.
        let overlay = Overlay::start(builder, OverlayConfig::default()).await?;
        let node = overlay.node();
        if config.bootstrap.is_empty() {
            config.bootstrap = node.listen_addrs().iter().cloned().map(Into::into).collect();
        }
        nodes.push(node.clone());
        screen.borrow_mut().started(node);
        let watcher = Watcher { node: number, screen: Rc::clone(screen) }.start();
        node.subscribe(watcher.recipient()).await;
    }
    Ok(())
}

/// Shows what happens until a signal, a failure, or nobody reads it any more.
async fn watch(
    screen: &Rc<RefCell<Screen>>,
    nodes: &[NodeHandle],
    program: &str,
    stop: &mut StopRequest,
) -> Result<(), Failure> {
    let mut failures = failures(nodes);
    let join =
        nodes.first().and_then(|node| print::join_command(program, node.listen_addrs(), &[]));
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.received() => return Ok(()),
            Some((number, failure)) = failures.recv() => {
                return Err(Failure::ActorOf(number + 1, failure));
            }
            end = look(&mut ticks, screen, nodes, join.as_deref()) => {
                if let Some(end) = end {
                    return end;
                }
            }
        }
    }
}

/// Waits a moment, then reports the mesh if that is due. Says how stdout ended, if it has.
async fn look(
    ticks: &mut Interval,
    screen: &Rc<RefCell<Screen>>,
    nodes: &[NodeHandle],
    join: Option<&str>,
) -> Option<Result<(), Failure>> {
    ticks.tick().await;
    let is_wanted = screen.borrow().is_report_wanted();
    if is_wanted {
        for (number, node) in nodes.iter().enumerate() {
            let peers = node.peers().await;
            screen.borrow_mut().measure(number, &peers);
        }
        screen.borrow_mut().report_if_due(join);
    }
    screen.borrow_mut().lines.take_end()
}

/// The numbers of nodes that fail, as they do.
fn failures(nodes: &[NodeHandle]) -> mpsc::Receiver<(usize, NodeFailure)> {
    let (report, failures) = mpsc::channel(nodes.len().max(1));
    for (number, node) in nodes.iter().cloned().enumerate() {
        let report = report.clone();
        actix_rt::spawn(async move {
            let failure = node.failed().await;
            // The first failure ends the command; nobody waits for the others.
            report.send((number, failure)).await.ok();
        });
    }
    failures
}

/// Carries one node's events to the screen.
#[derive(Debug)]
struct Watcher {
    /// The node's number, from 0.
    node: usize,
    /// Where its events go.
    screen: Rc<RefCell<Screen>>,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<PeerEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _ctx: &mut Context<Self>) {
        self.screen.borrow_mut().hear(News::Peer(self.node, Box::new(event)));
    }
}

/// What has been shown, and what is still to be.
#[derive(Debug)]
struct Screen {
    /// When the command started.
    start: Instant,
    /// The nodes' ids, in their order.
    ids: Vec<NodeId>,
    /// Who sees whom.
    mesh: MeshView,
    /// Where the lines go.
    lines: Lines,
    /// What happened before all nodes had started, when not all ids were known yet.
    early: Option<Vec<(Duration, News)>>,
    /// When the mesh became complete.
    complete_at: Option<Duration>,
    /// The table of the complete mesh has been shown.
    is_reported: bool,
    /// The table of an incomplete mesh has been shown.
    is_excused: bool,
    /// Nothing more is to be shown.
    is_stopping: bool,
}

/// What is worth a line.
#[derive(Debug)]
enum News {
    /// The node with this id listens there.
    Listens(NodeId, Vec<HostPort>),
    /// The table of the node with this number has changed.
    Peer(usize, Box<PeerEvent>),
}

impl Screen {
    /// Nothing yet.
    fn new(nodes: usize) -> Self {
        Self {
            start: Instant::now(),
            ids: Vec::with_capacity(nodes),
            mesh: MeshView::new(nodes),
            lines: Lines::default(),
            early: Some(Vec::new()),
            complete_at: None,
            is_reported: false,
            is_excused: false,
            is_stopping: false,
        }
    }

    /// The next node has started.
    fn started(&mut self, node: &NodeHandle) {
        self.ids.push(node.id());
        self.hear(News::Listens(node.id(), node.listen_addrs().to_vec()));
    }

    /// All ids are known: shows what has happened so far.
    fn all_started(&mut self) {
        for (at, news) in self.early.take().unwrap_or_default() {
            self.show(at, news);
        }
    }

    /// The nodes are about to be stopped: their farewells are not news.
    fn stopping(&mut self) {
        self.line(self.start.elapsed(), "stopping");
        self.is_stopping = true;
    }

    /// Shows the news, or keeps them until all nodes have started.
    fn hear(&mut self, news: News) {
        let at = self.start.elapsed();
        match &mut self.early {
            Some(early) => early.push((at, news)),
            None => self.show(at, news),
        }
    }

    /// Writes the line of the news.
    fn show(&mut self, at: Duration, news: News) {
        match news {
            News::Listens(id, addrs) => {
                let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
                self.line(at, &format!("{} listens on {}", self.name(id), addrs.join(", ")));
            }
            News::Peer(node, event) => self.show_event(at, node, *event),
        }
    }

    /// Writes the line of an event.
    fn show_event(&mut self, at: Duration, node: usize, event: PeerEvent) {
        let name = self.name_of(node);
        match event {
            PeerEvent::Up(peer) => {
                let info = &peer.info;
                let (other, by, addr) = (self.name(info.id), info.direction, &info.remote);
                self.line(at, &format!("{name} sees {other}, {by}, {addr}"));
                if let Some(other) = self.number(info.id) {
                    self.mesh.up(node, other, info.link.0, info.direction);
                }
            }
            PeerEvent::Changed(_) => {}
            PeerEvent::Down { peer, reason } => {
                let info = &peer.info;
                self.line(at, &format!("{name} lost {}, {reason}", self.name(info.id)));
                if let Some(other) = self.number(info.id) {
                    self.mesh.down(node, other, info.link.0);
                }
            }
        }
        self.note_completion(at);
    }

    /// Writes a line at the moment the mesh becomes complete.
    fn note_completion(&mut self, at: Duration) {
        if !self.mesh.is_complete() {
            self.complete_at = None;
        } else if self.complete_at.is_none() && !self.is_reported {
            self.complete_at = Some(at);
            let views = self.mesh.n_views();
            self.line(at, &format!("the mesh is complete: {views} of {views} views"));
        }
    }

    /// Takes the round trips from a node's own table; events come too early to have them.
    fn measure(&mut self, node: usize, peers: &[PeerInfo]) {
        for info in peers {
            if let (Some(other), Some(rtt)) = (self.number(info.id), &info.rtt) {
                self.mesh.measured(node, other, info.link.0, rtt.last);
            }
        }
    }

    /// Whether the complete mesh is still to be shown.
    const fn is_report_wanted(&self) -> bool {
        !self.is_reported
    }

    /// Shows the table if the mesh is complete, or if it has taken too long.
    fn report_if_due(&mut self, join: Option<&str>) {
        let now = self.start.elapsed();
        if let Some(since) = self.complete_at {
            if !self.mesh.is_measured() && now < since + MEASURE {
                return;
            }
            self.is_reported = true;
        } else if now > PATIENCE && !self.is_excused {
            self.is_excused = true;
            let (views, wanted) = (self.mesh.n_views(), self.mesh.n_wanted());
            self.line(now, &format!("the mesh is not complete yet: {views} of {wanted} views"));
        } else {
            return;
        }
        self.lines.write(&format!("\n{}", self.mesh.table()));
        if let Some(join) = join {
            self.lines.write(&format!("to join it from another terminal: {join}"));
            self.lines.write("Ctrl-C stops all nodes\n");
        }
    }

    /// One line, with its time.
    fn line(&mut self, at: Duration, what: &str) {
        if !self.is_stopping {
            // What a peer says as its reason may hold anything.
            self.lines.write(&format!("{}  {}", print::since_start(at), one_line(what)));
        }
    }

    /// The number of a node of this devnet, from 0.
    fn number(&self, id: NodeId) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }

    /// `node 2 (6f1c2a3b)`, or `outside node (6f1c2a3b)`.
    fn name(&self, id: NodeId) -> String {
        match self.number(id) {
            Some(number) => format!("node {} ({})", number + 1, id.short()),
            None => format!("outside node ({})", id.short()),
        }
    }

    /// The name of the node with this number.
    fn name_of(&self, node: usize) -> String {
        self.ids.get(node).map_or_else(|| format!("node {}", node + 1), |id| self.name(*id))
    }
}
