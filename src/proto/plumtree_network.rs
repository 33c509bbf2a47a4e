//! Many machines in a network of nothing but delays: does everybody get everything, how often, and
//! over how many hops.
//!
//! `PEERAGE_GOSSIP_NODES=10000 cargo test --release plumtree::network -- --nocapture` measures larger
//! networks than the tests do by themselves.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use proptest::prelude::*;
use rand::{Rng, seq::IteratorRandom};

use super::*;

/// Sessions of a node in each of its buckets.
const PER_BUCKET: usize = 4;

/// No network of the sizes here fills deeper buckets.
const BUCKETS: u8 = 40;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Frame {
    Gossip { id: MessageId, hops: u8, duty: Duty },
    IHave(Vec<MessageId>),
    Compare(Vec<MessageId>),
    Graft(Vec<MessageId>),
    Prune,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Frame {
        from: usize,
        to: usize,
        session: u64,
        frame: Frame,
    },
    Tick(usize),
    /// One finds out that its session with another is dead.
    Lost(usize, usize),
}

struct Member {
    id: NodeId,
    machine: Plumtree<()>,
    tick: Option<Moment>,
    /// The sessions, by the other end.
    sessions: BTreeMap<usize, u64>,
    since: Moment,
    is_alive: bool,
}

/// One message, and whom it reached: over how many hops, and when.
struct Trace {
    origin: usize,
    made: Moment,
    got: BTreeMap<usize, (u8, Moment)>,
    copies: usize,
}

struct Net {
    now: Moment,
    config: GossipConfig,
    rng: ChaCha8Rng,
    members: Vec<Member>,
    /// Those alive, by id.
    alive: BTreeMap<NodeId, usize>,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    n_events: u64,
    n_sessions: u64,
    traces: BTreeMap<MessageId, Trace>,
    /// After how long the neighbours of a killed node know that; never if there is none.
    detect: Option<Duration>,
    /// The share of frames that come twice, in percent.
    doubled: u32,
    n_announced: usize,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Net {
    fn empty(seed: u64, config: GossipConfig) -> Self {
        Self {
            now: Moment::after(Duration::from_secs(1_000_000)),
            config,
            rng: ChaCha8Rng::seed_from_u64(seed),
            members: Vec::new(),
            alive: BTreeMap::new(),
            events: BinaryHeap::new(),
            n_events: 0,
            n_sessions: 0,
            traces: BTreeMap::new(),
            detect: None,
            doubled: 0,
            n_announced: 0,
        }
    }

    /// So many nodes, with sessions as discovery makes them.
    fn new(n: usize, seed: u64) -> Self {
        let mut net = Self::empty(seed, GossipConfig::default());
        let all: Vec<usize> = (0..n).map(|_| net.add()).collect();
        for of in all {
            net.fill(of);
        }
        net
    }

    fn add(&mut self) -> usize {
        let id = NodeId::random(&mut self.rng);
        let machine = Plumtree::new(id, self.config, self.rng.random(), self.now);
        let (sessions, since) = (BTreeMap::new(), self.now);
        self.members.push(Member { id, machine, tick: None, sessions, since, is_alive: true });
        self.alive.insert(id, self.members.len() - 1);
        self.members.len() - 1
    }

    /// One more that joins.
    fn join(&mut self) {
        let index = self.add();
        self.fill(index);
    }

    fn level(&self, of: usize, other: usize) -> u8 {
        level_of(self.members[of].id.distance(self.members[other].id))
    }

    fn n_at(&self, of: usize, level: u8) -> usize {
        let sessions = self.members[of].sessions.keys();
        sessions.filter(|other| self.level(of, **other) == level).count()
    }

    /// Has a node dial until each of its buckets has its sessions, as far as there are nodes for it.
    fn fill(&mut self, of: usize) {
        let me = self.members[of].id.as_u128();
        for level in 0..BUCKETS {
            let rest = u128::MAX >> (level + 1);
            let low = (me ^ (1 << (127 - level))) & !rest;
            let end = NodeId::from_u128(low | rest);
            let from = |id: u128| self.alive.range(NodeId::from_u128(id)..=end).map(|(_, n)| *n);
            let mut found: BTreeSet<usize> = from(low).take(64).collect();
            if found.len() == 64 {
                let mut rng = self.rng.clone();
                found = (0..64)
                    .filter_map(|_| from(rng.random_range(low..=low | rest)).next())
                    .collect();
                self.rng = rng;
            }
            let mut found: Vec<usize> = found.into_iter().collect();
            found.shuffle(&mut self.rng);
            let mut mine = self.n_at(of, level);
            for other in found {
                if mine < PER_BUCKET && (mine == 0 || self.n_at(other, level) < PER_BUCKET) {
                    mine += usize::from(self.connect(of, other));
                }
            }
        }
    }

    /// Whether there was no session yet.
    fn connect(&mut self, a: usize, b: usize) -> bool {
        if self.members[a].sessions.contains_key(&b) {
            return false;
        }
        self.n_sessions += 1;
        for (of, other) in [(a, b), (b, a)] {
            self.members[of].sessions.insert(other, self.n_sessions);
        }
        for (of, other) in [(a, b), (b, a)] {
            let (id, now, mut out) = (self.members[other].id, self.now, Vec::new());
            self.members[of].machine.up(now, id, &mut out);
            self.carry(of, out);
        }
        true
    }

    /// Ends a session, with all that is on its way.
    fn cut(&mut self, a: usize, b: usize) {
        for (of, other) in [(a, b), (b, a)] {
            let id = self.members[other].id;
            self.members[of].sessions.remove(&other);
            self.members[of].machine.down(id);
        }
    }

    /// A node is gone without a word.
    fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.is_alive = false;
        self.alive.remove(&member.id);
        for other in std::mem::take(&mut member.sessions).into_keys() {
            if let Some(detect) = self.detect {
                self.schedule(detect, Event::Lost(other, index));
            }
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.n_events += 1;
        self.events.push(Reverse((self.now + after, self.n_events, event)));
    }

    /// The delay between two nodes: 10 to 80 ms, always the same.
    fn latency(a: usize, b: usize) -> Duration {
        let (low, high) = (a.min(b) as u64, a.max(b) as u64);
        let mixed =
            low.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ high.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        ms(10 + mixed % 71)
    }

    fn carry(&mut self, from: usize, out: Vec<Output<()>>) {
        for output in out {
            let frames = match output {
                Output::Push { id, hops, to, .. } => {
                    let frame = |duty| Frame::Gossip { id, hops, duty };
                    to.into_iter().map(|(to, duty)| (to, frame(duty))).collect()
                }
                Output::Announce(to, ids) => {
                    self.n_announced += ids.len();
                    vec![(to, Frame::IHave(ids))]
                }
                Output::Compare(to, ids) => {
                    self.n_announced += ids.len();
                    vec![(to, Frame::Compare(ids))]
                }
                Output::Graft(to, ids) => vec![(to, Frame::Graft(ids))],
                Output::Prune(to) => vec![(to, Frame::Prune)],
                Output::Note(_) => vec![],
            };
            for (to, frame) in frames {
                self.send(from, to, frame);
            }
        }
        let member = &mut self.members[from];
        if let Some(due) = member.machine.deadline()
            && member.tick.is_none_or(|tick| due < tick)
        {
            member.tick = Some(due);
            self.schedule(due.since(self.now), Event::Tick(from));
        }
    }

    fn send(&mut self, from: usize, to: NodeId, frame: Frame) {
        // The dead are not among them.
        let Some(to) = self.alive.get(&to).copied() else { return };
        let Some(session) = self.members[from].sessions.get(&to).copied() else { return };
        if self.doubled > 0 && self.rng.random_range(0..100) < self.doubled {
            let late = ms(self.rng.random_range(0..3000));
            self.schedule(late, Event::Frame { from, to, session, frame: frame.clone() });
        }
        self.schedule(Self::latency(from, to), Event::Frame { from, to, session, frame });
    }

    fn publish(&mut self, origin: usize) {
        let (id, now, mut out) = (MessageId::random(&mut self.rng), self.now, Vec::new());
        let machine = &mut self.members[origin].machine;
        machine.publish(now, id, millis(now), (1000, ()), &mut out).unwrap();
        self.traces.insert(id, Trace { origin, made: now, got: BTreeMap::new(), copies: 0 });
        self.carry(origin, out);
    }

    fn publish_somewhere(&mut self) {
        let origin = self.somebody();
        self.publish(origin);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.handle(event);
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event) {
        let (now, mut out) = (self.now, Vec::new());
        match event {
            Event::Tick(of) => {
                let member = &mut self.members[of];
                if member.is_alive && member.tick == Some(now) {
                    member.tick = None;
                    member.machine.tick(now, &mut out);
                    self.carry(of, out);
                }
            }
            Event::Lost(of, other) => {
                if self.members[of].is_alive && self.members[of].sessions.contains_key(&other) {
                    self.cut(of, other);
                    self.fill(of);
                }
            }
            Event::Frame { from, to, session, frame } => {
                if self.members[to].is_alive
                    && self.members[to].sessions.get(&from) == Some(&session)
                {
                    self.take(from, to, frame, &mut out);
                    self.carry(to, out);
                }
            }
        }
    }

    fn take(&mut self, from: usize, to: usize, frame: Frame, out: &mut Vec<Output<()>>) {
        let (now, sender) = (self.now, self.members[from].id);
        match frame {
            Frame::Gossip { id, hops, duty } => {
                let trace = self.traces.get_mut(&id).unwrap();
                let origin = self.members[trace.origin].id;
                let head = Head { id, origin, made: millis(trace.made), hops, duty };
                let machine = &mut self.members[to].machine;
                trace.copies += 1;
                if machine.check(now, sender, &head, out) == Verdict::New {
                    assert!(machine.accept(now, sender, &head, (1000, ()), out));
                    assert_eq!(trace.got.insert(to, (hops, now)), None, "delivered twice");
                    assert_ne!(to, trace.origin, "came back");
                }
            }
            Frame::IHave(ids) => self.members[to].machine.announced(now, sender, &ids),
            Frame::Compare(ids) => self.members[to].machine.compared(now, sender, &ids, out),
            Frame::Graft(ids) => self.members[to].machine.asked(now, sender, &ids, out),
            Frame::Prune => self.members[to].machine.pruned(now, sender),
        }
    }

    fn somebody(&mut self) -> usize {
        self.alive.values().copied().choose(&mut self.rng).unwrap()
    }

    fn report(&self, label: &str) -> Report {
        let (mut due, mut missed, mut copies, mut deliveries) = (0, 0, 0, 0);
        let (mut hops, mut last_hops, mut slowest) = (0, 0, Duration::ZERO);
        for trace in self.traces.values() {
            for (_, n) in &self.alive {
                // Those alive throughout.
                if *n != trace.origin && self.members[*n].since <= trace.made {
                    due += 1;
                    missed += usize::from(!trace.got.contains_key(n));
                }
            }
            copies += trace.copies;
            deliveries += trace.got.len();
            hops += trace.got.values().map(|(hops, _)| usize::from(*hops)).sum::<usize>();
            last_hops += usize::from(trace.got.values().map(|(hops, _)| *hops).max().unwrap());
            for (n, (_, at)) in &trace.got {
                if self.members[*n].since <= trace.made {
                    slowest = slowest.max(at.since(trace.made));
                }
            }
        }
        let sessions: usize = self.alive.values().map(|n| self.members[*n].sessions.len()).sum();
        let per = |sum: usize, n: usize| sum as f64 / n as f64;
        let report = Report {
            missed,
            coverage: 1.0 - per(missed, due),
            copies: per(copies, deliveries),
            mean_hop: per(hops, deliveries),
            last_hop: per(last_hops, self.traces.len()),
            announced: per(self.n_announced, deliveries),
            sessions: per(sessions, self.alive.len()),
            slowest,
        };
        println!("{label}, {} nodes: {report:?}", self.alive.len());
        report
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "some figures are only printed")]
struct Report {
    missed: usize,
    coverage: f64,
    /// Copies received per delivery.
    copies: f64,
    mean_hop: f64,
    /// The hop of a message's last delivery, on average.
    last_hop: f64,
    /// Ids announced per delivery.
    announced: f64,
    sessions: f64,
    slowest: Duration,
}

/// So many nodes, unless the environment says otherwise.
fn n_nodes(default: usize) -> usize {
    let n = std::env::var("PEERAGE_GOSSIP_NODES").ok();
    n.map_or(default, |n| n.parse().unwrap())
}

/// The target for the last hop: 8 at 1,000 nodes and 10 at 10,000 if all messages have one origin,
/// two more if each has another.
fn most_hops(n: usize) -> f64 {
    2.0 + 2.0 * (n as f64).log10()
}

#[test]
fn the_messages_of_one_origin_come_to_all_once_and_over_few_hops() {
    let n = n_nodes(1000);
    let mut net = Net::new(n, 7);
    let origin = net.somebody();
    for _ in 0..5 {
        net.publish(origin);
        net.run_for(ms(500));
    }
    net.run_for(ms(3000));
    let report = net.report("one origin");
    assert!(report.missed == 0 && report.copies == 1.0 && report.last_hop <= most_hops(n));
}

#[test]
fn messages_of_changing_origins_come_to_all_once_and_over_few_hops() {
    let n = n_nodes(1000);
    let mut net = Net::new(n, 8);
    for _ in 0..20 {
        net.publish_somewhere();
        net.run_for(ms(500));
    }
    net.run_for(ms(3000));
    let report = net.report("changing origins");
    assert!(report.missed == 0 && report.copies == 1.0 && report.last_hop <= most_hops(n));
}

fn after_a_massacre(detect: Option<Duration>, label: &str) -> Report {
    let n = n_nodes(600);
    let mut net = Net::new(n, 9);
    net.detect = detect;
    for _ in 0..n * 3 / 10 {
        let index = net.somebody();
        net.kill(index);
    }
    for _ in 0..20 {
        net.publish_somewhere();
        net.run_for(ms(500));
    }
    net.run_for(ms(60_000));
    net.report(label)
}

#[test]
fn messages_come_to_all_that_are_left_when_a_third_is_killed_and_nobody_knows() {
    let report = after_a_massacre(None, "30 % killed, never known");
    assert!(report.coverage >= 0.999 && report.copies <= 1.1);
}

#[test]
fn messages_come_to_all_that_are_left_when_a_third_is_killed() {
    let report = after_a_massacre(Some(ms(50)), "30 % killed, known at once");
    assert!(report.coverage >= 0.999 && report.copies <= 1.1);
}

/// A tenth of all nodes is killed per minute, as many join; neighbours know after this long.
fn in_churn(detect: Duration, label: &str) -> Report {
    let n = n_nodes(300);
    let mut net = Net::new(n, 10);
    net.detect = Some(detect);
    let step = Duration::from_secs(600) / u32::try_from(n).unwrap();
    let mut next = net.now;
    for half_second in 0..300 {
        while next <= net.now {
            let index = net.somebody();
            net.kill(index);
            net.join();
            next = next + step;
        }
        if half_second >= 180 && half_second % 2 == 0 {
            net.publish_somewhere();
        }
        net.run_for(ms(500));
    }
    net.run_for(ms(60_000));
    net.report(label)
}

#[test]
fn messages_come_to_all_that_stay_while_others_come_and_go() {
    let report = in_churn(ms(50), "churn, known at once");
    assert!(report.coverage >= 0.999 && report.copies <= 1.1);
    let report = in_churn(ms(60_000), "churn, known after a minute");
    assert!(report.coverage >= 0.999 && report.copies <= 1.1);
}

#[test]
fn a_network_of_a_dozen_takes_one_hop() {
    let mut net = Net::empty(5, GossipConfig::default());
    for n in 0..12 {
        net.add();
        (0..n).for_each(|other| drop(net.connect(n, other)));
    }
    for origin in 0..12 {
        net.publish(origin);
    }
    net.run_for(ms(2000));
    let report = net.report("full mesh");
    assert!(report.missed == 0 && report.copies == 1.0 && report.last_hop == 1.0);
}

#[test]
fn halves_that_were_apart_catch_up_when_they_meet() {
    let mut net = Net::new(200, 11);
    let is_left = |n: usize| n % 2 == 0;
    let across: Vec<_> = (0..200)
        .flat_map(|of| net.members[of].sessions.keys().map(move |other| (of, *other)))
        .filter(|(of, other)| of < other && is_left(*of) != is_left(*other))
        .collect();
    across.iter().for_each(|(a, b)| net.cut(*a, *b));
    for _ in 0..30 {
        net.publish_somewhere();
        net.run_for(ms(2000));
    }
    let apart = net.report("apart");
    assert!((0.4..0.6).contains(&apart.coverage));
    // A single session is enough.
    let (a, b) = across[0];
    net.connect(a, b);
    net.run_for(ms(60_000));
    let report = net.report("one session between the halves");
    assert!(report.missed == 0 && report.copies <= 1.1);
}

#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Cut(usize),
    Connect(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<usize>().prop_map(Step::Publish),
        any::<usize>().prop_map(Step::Cut),
        any::<usize>().prop_map(Step::Connect),
        (0u64..2000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the graph, whatever sessions end and come back with frames on their way, and however
    /// often frames come: nothing is delivered twice, and once the graph is whole again everybody gets
    /// everything.
    #[test]
    fn everybody_gets_everything_in_the_end(
        seed in any::<u64>(),
        tree in proptest::collection::vec(any::<usize>(), 1..9),
        more in proptest::collection::vec((0usize..9, 0usize..9), 0..8),
        doubled in 0u32..40,
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let config = GossipConfig { announce_to: 16, ..GossipConfig::default() };
        let mut net = Net::empty(seed, config);
        net.doubled = doubled;
        let n = tree.len() + 1;
        (0..n).for_each(|_| drop(net.add()));
        let tree = tree.iter().enumerate().map(|(at, to)| (at + 1, to % (at + 1)));
        let more = more.into_iter().filter(|(a, b)| a != b && *a < n && *b < n);
        let graph: Vec<_> = tree.chain(more).collect();
        for (a, b) in &graph {
            net.connect(*a, *b);
        }
        for step in steps {
            match step {
                Step::Publish(origin) => net.publish(origin % n),
                Step::Cut(edge) => {
                    let (a, b) = graph[edge % graph.len()];
                    net.cut(a, b);
                }
                Step::Connect(edge) => {
                    let (a, b) = graph[edge % graph.len()];
                    net.connect(a, b);
                }
                Step::Wait(time) => net.run_for(ms(time)),
            }
        }
        for (a, b) in &graph {
            net.connect(*a, *b);
        }
        net.run_for(ms(40_000));
        for trace in net.traces.values() {
            prop_assert_eq!(trace.got.len(), n - 1);
        }
    }
}
