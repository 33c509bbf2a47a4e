//! Messages to nodes that are no peers, over the in-memory network: whole nodes, and some that lie.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use bytes::Bytes;
use parking_lot::Mutex;
use peerage::{
    HostPort, JournalQuery, Kind, Node, NodeBuilder, NodeConfig, NodeHandle, NodeId, NodeKey,
    PeerMessage, Received,
    clock::Clock,
    ids::MessageId,
    overlay::{
        Delivered, Delivery, Overlay, OverlayConfig, ROUTE, Routed, Undelivered,
        envelope::{self, Letter, Purpose},
    },
    proto::{
        replay::millis,
        routing::{Head, Outcome, Reply},
    },
    sim::{Endpoint, Wires},
    testkit::{Probe, settle},
};
use rand::{Rng, SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn host(n: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(n).unwrap()).into()
}

fn addr(n: usize) -> HostPort {
    SocketAddr::new(host(n), 5999).into()
}

/// Nodes whose sessions are made one by one: nobody can dial anybody but when the test has it so.
struct Net {
    wires: Wires,
    clock: Clock,
    rng: ChaCha8Rng,
    nodes: Vec<Overlay>,
    notes: Vec<Probe<Routed<Note>>>,
    /// Where each node is.
    hosts: Vec<usize>,
    n_hosts: usize,
}

fn run<R>(seed: u64, test: impl AsyncFnOnce(&mut Net) -> R) -> R {
    actix_rt::System::new().block_on(async {
        tokio::time::pause();
        let ms = Duration::from_millis;
        let mut net = Net {
            wires: Wires::new(seed, (ms(10)..=ms(50)).into(), 0.0),
            clock: Clock::start_at_zero(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            notes: Vec::new(),
            hosts: Vec::new(),
            n_hosts: 0,
        };
        let result = test(&mut net).await;
        for node in &net.nodes {
            node.stop().await;
        }
        result
    })
}

impl Net {
    /// What a node at the next host is built with.
    fn builder(&mut self) -> NodeBuilder<Endpoint> {
        let listen = vec![addr(self.n_hosts)];
        let mut config = NodeConfig { listen, workers: 1, ..NodeConfig::default() };
        config.discovery.target_peers = 0;
        config.discovery.bucket_sessions = 0;
        config.discovery.spare_interval = Duration::ZERO;
        let host = host(self.n_hosts);
        self.wires.hide(host, true);
        self.n_hosts += 1;
        let builder = Node::builder().config(config).seed(self.rng.random()).clock(self.clock);
        builder.transport(self.wires.endpoint(host))
    }

    /// A node whose actor takes notes.
    async fn add(&mut self) -> usize {
        let builder = self.builder();
        self.add_with(builder, OverlayConfig::default()).await
    }

    async fn add_with(&mut self, builder: NodeBuilder<Endpoint>, config: OverlayConfig) -> usize {
        let node = Overlay::start(builder, config).await.unwrap();
        let notes = Probe::start();
        node.register(notes.recipient()).unwrap();
        self.nodes.push(node);
        self.notes.push(notes);
        self.hosts.push(self.n_hosts - 1);
        self.nodes.len() - 1
    }

    async fn grow(&mut self, n: usize) {
        for _ in 0..n {
            self.add().await;
        }
    }

    fn id(&self, n: usize) -> NodeId {
        self.nodes[n].id()
    }

    /// The nodes, those farthest from this one first.
    fn farthest_first(&self, from: usize) -> Vec<usize> {
        let mut all: Vec<_> = (0..self.nodes.len()).filter(|n| *n != from).collect();
        all.sort_by_key(|n| std::cmp::Reverse(self.id(*n).distance(self.id(from))));
        all
    }

    /// Makes a session of two nodes, of which the second is dialled.
    async fn link(&self, a: usize, b: usize) {
        self.link_to(self.nodes[a].node(), b).await;
    }

    async fn link_to(&self, a: &NodeHandle, b: usize) {
        let at = self.hosts[b];
        self.wires.hide(host(at), false);
        a.dial(addr(at)).await.unwrap();
        self.wires.hide(host(at), true);
        settle().await;
    }

    async fn send(&self, from: usize, to: usize, text: &str) -> Delivery {
        self.nodes[from].send(self.id(to), &note(text)).await
    }

    async fn taken(&self, n: usize) -> Vec<String> {
        self.notes[n].take().await.into_iter().map(|routed| routed.message.text).collect()
    }

    async fn noted(&self, n: usize, reason: &str) -> usize {
        let journal = self.nodes[n].node().journal(JournalQuery::default()).await;
        journal.iter().filter(|d| d.reason == *reason && d.kind == Kind::Refused).count()
    }
}

#[test]
fn a_message_takes_every_step_of_a_chain_and_its_answer_comes_back() {
    run(1, async |net| {
        net.grow(6).await;
        let mut chain = net.farthest_first(0);
        chain.push(0);
        for pair in chain.windows(2) {
            net.link(pair[0], pair[1]).await;
        }
        let first = chain[0];
        let delivered = net.send(first, 0, "hello").await.unwrap();
        assert_eq!((delivered.hops, delivered.sealed), (5, true));
        // There and back over five wires of 10 to 50 ms.
        assert!((Duration::from_millis(100)..secs(1)).contains(&delivered.rtt), "{delivered:?}");
        let routed = net.notes[0].expect().await;
        assert_eq!((routed.from, routed.proven, routed.hops), (net.id(first), true, 5));
        assert_eq!(routed.message, note("hello"));
        // Those between have nothing of it left.
        for n in &chain[1..5] {
            let stats = net.nodes[*n].stats().await.routing;
            assert_eq!((stats.relayed.forwarded, stats.trails, stats.taken), (2, 0, 0));
        }
    });
}

#[test]
fn two_nodes_that_nobody_can_dial_reach_each_other_over_a_third() {
    run(2, async |net| {
        net.grow(3).await;
        net.link(0, 2).await;
        net.link(1, 2).await;
        for (from, to) in [(0, 1), (1, 0)] {
            assert_eq!(net.send(from, to, "hello").await.unwrap().hops, 2);
        }
        assert_eq!(net.send(0, 2, "hello").await.unwrap().hops, 1);
    });
}

/// Up to k sessions per bucket of each node, as discovery makes them; the hidden are not dialled.
async fn overlay(net: &mut Net, k: usize, hidden: &BTreeSet<usize>) {
    let mut linked = BTreeSet::new();
    for a in 0..net.nodes.len() {
        let mut buckets: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for b in (0..net.nodes.len()).filter(|b| *b != a && !hidden.contains(b)) {
            buckets.entry(net.id(a).distance(net.id(b)).leading_zeros()).or_default().push(b);
        }
        for bucket in buckets.into_values() {
            for b in bucket.into_iter().choose_multiple(&mut net.rng, k) {
                if linked.insert((a.min(b), a.max(b))) {
                    net.link(a, b).await;
                }
            }
        }
    }
}

/// Everybody sends to everybody else at once. What became of it all.
async fn all_to_all(net: &Net) -> Vec<Delivery> {
    let mut sendings = Vec::new();
    for from in 0..net.nodes.len() {
        for to in (0..net.nodes.len()).filter(|to| *to != from) {
            let (node, to) = (net.nodes[from].clone(), net.id(to));
            let sending = async move { node.send(to, &note("hello")).await };
            sendings.push(tokio::task::spawn_local(sending));
        }
    }
    let mut outcomes = Vec::new();
    for sending in sendings {
        outcomes.push(sending.await.unwrap());
    }
    outcomes
}

async fn sparse(net: &mut Net) -> Vec<Delivery> {
    net.grow(16).await;
    let hidden = (0..16).choose_multiple(&mut net.rng, 5).into_iter().collect();
    overlay(net, 2, &hidden).await;
    all_to_all(net).await
}

#[test]
fn in_a_sparse_overlay_everybody_reaches_everybody_and_the_same_seed_gives_the_same() {
    let first = run(3, sparse);
    assert_eq!(first.len(), 16 * 15);
    let lost = first.iter().filter(|delivery| delivery.is_err()).count();
    assert_eq!(lost, 0, "{first:?}");
    let hops: u32 = first.iter().flatten().map(|Delivered { hops, .. }| u32::from(*hops)).sum();
    assert!(hops < 3 * 16 * 15, "{hops}");
    assert_eq!(run(3, sparse), first);
}

#[test]
fn every_message_has_an_outcome_while_nodes_die() {
    run(4, async |net| {
        net.grow(16).await;
        overlay(net, 3, &BTreeSet::new()).await;
        let dying = async {
            for n in 0..4 {
                sleep(Duration::from_millis(40)).await;
                net.wires.crash(host(n));
            }
        };
        let (outcomes, ()) = tokio::join!(all_to_all(net), dying);
        assert_eq!(outcomes.len(), 16 * 15);
        let delivered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(delivered > 12 * 11, "{delivered}");
        sleep(secs(1)).await;
        // The dead are to the living as those who were never there.
        for (from, to) in [(7, 0), (8, 1), (15, 3)] {
            assert_eq!(net.send(from, to, "hello").await, Err(Undelivered::NoRoute));
        }
        assert!(net.send(7, 8, "hello").await.is_ok());
    });
}

#[test]
fn each_way_to_fail_is_told_with_its_reason() {
    run(5, async |net| {
        net.grow(3).await;
        net.link(0, 1).await;
        net.link(1, 2).await;
        let nobody = NodeKey::generate(&mut net.rng).node_id();
        assert_eq!(net.nodes[0].send(nobody, &note("")).await, Err(Undelivered::NoRoute));

        #[derive(Serialize, Deserialize)]
        struct Other {}

        impl PeerMessage for Other {
            const MSGTYPE: &'static str = "other";
        }

        let refused = |why: &str| Err(Undelivered::Refused(why.into()));
        assert_eq!(net.nodes[0].send(net.id(2), &Other {}).await, refused("nobody"));

        #[derive(Serialize, Deserialize)]
        struct OtherNote {
            n: u8,
        }

        impl PeerMessage for OtherNote {
            const MSGTYPE: &'static str = "note";
        }

        let bad = net.nodes[0].send(net.id(2), &OtherNote { n: 7 }).await;
        assert_eq!(bad, refused("bad-payload"));
        let huge = Bytes::from(vec![7; 1 << 20]);
        let too_large = net.nodes[0].send_with(net.id(2), &note(""), huge).await;
        assert_eq!(too_large, Err(Undelivered::TooLarge));
        // What is said beyond a wire that holds all back is not lost, but late.
        net.wires.partition(&[(host(2), 1)].into());
        assert_eq!(net.send(0, 2, "late").await, Err(Undelivered::Timeout));
        net.wires.heal();
        sleep(secs(1)).await;
        assert_eq!(net.taken(2).await, ["late"]);
        net.nodes[2].stop().await;
        sleep(secs(1)).await;
        assert_eq!(net.send(0, 2, "").await, Err(Undelivered::NoRoute));
        net.nodes[1].stop().await;
        sleep(secs(1)).await;
        assert_eq!(net.send(0, 1, "").await, Err(Undelivered::NoRoute));
        net.nodes[0].stop().await;
        assert_eq!(net.send(0, 1, "").await, Err(Undelivered::Stopped));
    });
}

#[test]
fn an_actor_that_does_not_keep_up_is_busy_and_slows_nobody_else() {
    run(6, async |net| {
        let mut config = OverlayConfig::default();
        config.inbox.messages = 3;
        net.grow(2).await;
        let builder = net.builder();
        let slow = net.add_with(builder, config).await;
        net.link(0, 1).await;
        net.link(1, slow).await;
        for _ in 0..3 {
            assert!(net.send(0, slow, "hello").await.is_ok());
        }
        let busy = Err(Undelivered::Refused("busy".into()));
        assert_eq!(net.send(0, slow, "hello").await, busy);
        assert!(net.send(0, 1, "hello").await.is_ok());
        assert_eq!(net.taken(slow).await.len(), 3);
        assert!(net.send(0, slow, "hello").await.is_ok());
    });
}

#[test]
fn what_goes_along_arrives_whole() {
    run(7, async |net| {
        net.grow(3).await;
        net.link(0, 1).await;
        net.link(1, 2).await;
        let bytes: Bytes = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0] ^ 7).collect();
        let sent = net.nodes[0].send_with(net.id(2), &note("large"), bytes.clone()).await;
        assert_eq!(sent.unwrap().hops, 2);
        let routed = net.notes[2].expect().await;
        assert!(routed.attachment == bytes && routed.message == note("large"));
    });
}

#[test]
fn many_messages_pass_through_one_node() {
    run(8, async |net| {
        net.grow(3).await;
        net.link(0, 1).await;
        net.link(1, 2).await;
        for _ in 0..5 {
            let to = net.id(2);
            let sendings = (0..100).map(|n| {
                let node = net.nodes[0].clone();
                tokio::task::spawn_local(async move { node.send(to, &note(&n.to_string())).await })
            });
            for sending in sendings.collect::<Vec<_>>() {
                assert_eq!(sending.await.unwrap().unwrap().hops, 2);
            }
            assert_eq!(net.taken(2).await.len(), 100);
        }
        let stats = net.nodes[1].stats().await.routing;
        assert_eq!((stats.relayed.forwarded, stats.trails, stats.lost), (501, 0, 0));
    });
}

#[test]
fn a_clock_that_is_far_off_is_found_out() {
    run(9, async |net| {
        net.grow(2).await;
        // This one tells the machine's time, the others that of the simulation.
        let builder = net.builder().clock(Clock::start());
        let late = net.add_with(builder, OverlayConfig::default()).await;
        net.link(0, 1).await;
        net.link(1, late).await;
        let stale = Err(Undelivered::Refused("stale".into()));
        assert_eq!(net.send(0, late, "hello").await, stale);
        assert_eq!(net.send(late, 0, "hello").await, stale);
        assert!(net.taken(0).await.is_empty() && net.taken(late).await.is_empty());
    });
}

#[test]
fn over_tcp_and_tls_and_with_sessions_on_other_threads_it_is_the_same() {
    actix_rt::System::new().block_on(async {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let listen = vec!["127.0.0.1:0".parse().unwrap()];
            let mut config = NodeConfig { listen, workers: 2, ..NodeConfig::default() };
            // The first and the last must not meet, however long this takes.
            config.discovery.target_peers = 0;
            config.discovery.bucket_sessions = 0;
            let builder = Node::builder().config(config);
            nodes.push(Overlay::start(builder, OverlayConfig::default()).await.unwrap());
        }
        for n in [0, 2] {
            let contact = nodes[1].node().listen_addrs()[0].clone();
            nodes[n].node().dial(contact).await.unwrap();
        }
        let notes = Probe::<Routed<Note>>::start();
        nodes[2].register(notes.recipient()).unwrap();
        let sendings = (0..300).map(|n| {
            let (node, to) = (nodes[0].clone(), nodes[2].id());
            tokio::task::spawn_local(async move { node.send(to, &note(&n.to_string())).await })
        });
        for sending in sendings.collect::<Vec<_>>() {
            let delivered = sending.await.unwrap().unwrap();
            assert!(delivered.hops == 2 && delivered.sealed, "{delivered:?}");
        }
        for _ in 0..300 {
            assert!(notes.expect().await.proven);
        }
        for node in &nodes {
            node.stop().await;
        }
    });
}

/// What a node on the way does with the messages that it is to pass on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Vice {
    /// Changes a byte of what is sealed.
    Alters,
    /// Says that it was delivered, and passes nothing on.
    ForgesDelivery,
    /// Says that the target refused it, and passes nothing on.
    ForgesRefusal,
    /// Says nothing and does nothing.
    Swallows,
    /// Passes all on, and keeps it.
    Keeps,
}

/// A node that speaks the wire by hand, and not well.
#[derive(Clone)]
struct Liar {
    node: NodeHandle,
    vice: Vice,
    seen: Arc<Mutex<Vec<(Head, Bytes)>>>,
    back: Arc<Mutex<BTreeMap<MessageId, NodeId>>>,
    answers: Arc<Mutex<Vec<Reply>>>,
}

impl Actor for Liar {
    type Context = Context<Self>;
}

impl Handler<Received<Head>> for Liar {
    type Result = ();

    fn handle(&mut self, got: Received<Head>, _: &mut Context<Self>) {
        let (head, mut body) = (got.message, got.attachment.to_vec());
        self.seen.lock().push((head, got.attachment.clone()));
        let says = |outcome| {
            let reply = Reply { proof: Some([7; 16]), ..Reply::new(head.id, outcome, head.hops) };
            got.from.send(&reply).unwrap();
        };
        match self.vice {
            // Without the key it would get no message.
            _ if head.key => {}
            Vice::ForgesDelivery => return says(Outcome::Delivered),
            Vice::ForgesRefusal => return says(Outcome::Refused),
            Vice::Swallows => return,
            Vice::Alters => *body.last_mut().unwrap() ^= 1,
            Vice::Keeps => {}
        }
        self.back.lock().insert(head.id, got.from.id());
        let head = Head { hops: head.hops + 1, ..head };
        if let Some(peer) = self.node.peer(head.to) {
            peer.send_with(&head, body.into()).unwrap();
        }
    }
}

impl Handler<Received<Reply>> for Liar {
    type Result = ();

    fn handle(&mut self, reply: Received<Reply>, _: &mut Context<Self>) {
        self.answers.lock().push(reply.message.clone());
        if let Some(to) = self.back.lock().get(&reply.message.id) {
            self.node.send(*to, &reply.message).unwrap();
        }
    }
}

/// Two honest nodes with a liar between them, and, if it is wanted, an honest way that is tried only
/// after the liar's.
async fn with_liar(net: &mut Net, vice: Vice, has_honest_way: bool) -> Liar {
    net.grow(2).await;
    let node = loop {
        let node = net.builder().feature(ROUTE).start().await.unwrap();
        if !has_honest_way {
            break node;
        }
        let honest = net.add().await;
        if net.id(1).distance(node.id()) < net.id(1).distance(net.id(honest)) {
            net.link(0, honest).await;
            net.link(honest, 1).await;
            break node;
        }
        node.stop().await;
    };
    let (seen, back, answers) = (Arc::default(), Arc::default(), Arc::default());
    let liar = Liar { node, vice, seen, back, answers };
    let actor = liar.clone().start();
    liar.node.register::<Head>(actor.clone().recipient()).unwrap();
    liar.node.register::<Reply>(actor.recipient()).unwrap();
    net.link_to(&liar.node, 0).await;
    net.link_to(&liar.node, 1).await;
    liar
}

#[test]
fn a_relay_that_alters_a_message_is_found_out_and_passed_by() {
    run(10, async |net| {
        let liar = with_liar(net, Vice::Alters, false).await;
        let unreadable = Err(Undelivered::Refused("unreadable".into()));
        assert_eq!(net.send(0, 1, "hello").await, unreadable);
        assert!(net.taken(1).await.is_empty() && net.noted(1, "unreadable").await == 1);
        liar.node.stop().await;
    });
    run(11, async |net| {
        let liar = with_liar(net, Vice::Alters, true).await;
        assert_eq!(net.send(0, 1, "hello").await.unwrap().hops, 2);
        assert_eq!(net.taken(1).await, ["hello"]);
        let seen = liar.seen.lock().len();
        assert_eq!((seen, net.noted(1, "unreadable").await), (2, 1));
        liar.node.stop().await;
    });
}

#[test]
fn a_relay_that_forges_an_answer_is_found_out_and_passed_by() {
    for vice in [Vice::ForgesDelivery, Vice::ForgesRefusal] {
        run(12, async |net| {
            let liar = with_liar(net, vice, false).await;
            assert_eq!(net.send(0, 1, "hello").await, Err(Undelivered::NoRoute));
            assert_eq!((net.noted(0, "forged").await, net.taken(1).await.len()), (1, 0));
            liar.node.stop().await;
        });
        run(13, async |net| {
            let liar = with_liar(net, vice, true).await;
            assert_eq!(net.send(0, 1, "hello").await.unwrap().hops, 2);
            assert_eq!((net.noted(0, "forged").await, net.taken(1).await.len()), (1, 1));
            liar.node.stop().await;
        });
    }
}

#[test]
fn a_relay_that_swallows_messages_is_passed_by_after_a_third_of_the_time() {
    run(14, async |net| {
        let liar = with_liar(net, Vice::Swallows, false).await;
        assert_eq!(net.send(0, 1, "hello").await, Err(Undelivered::Timeout));
        liar.node.stop().await;
    });
    run(15, async |net| {
        let liar = with_liar(net, Vice::Swallows, true).await;
        let delivered = net.send(0, 1, "hello").await.unwrap();
        assert!((secs(3)..secs(4)).contains(&delivered.rtt), "{delivered:?}");
        assert_eq!(net.taken(1).await, ["hello"]);
        liar.node.stop().await;
    });
}

#[test]
fn a_relay_that_dies_with_a_message_is_passed_by_at_once() {
    run(16, async |net| {
        let liar = with_liar(net, Vice::Swallows, true).await;
        // The two honest nodes know each other's keys by now.
        assert!(net.send(0, 1, "first").await.is_ok());
        let host = host(liar.node.listen_addrs()[0].ip().map_or(0, |ip| match ip {
            IpAddr::V4(ip) => usize::try_from(ip.to_bits() - 0x0a00_0001).unwrap(),
            IpAddr::V6(_) => 0,
        }));
        let dying = async {
            sleep(Duration::from_millis(200)).await;
            net.wires.crash(host);
        };
        let (delivery, ()) = tokio::join!(net.send(0, 1, "second"), dying);
        assert!(delivery.unwrap().rtt < secs(1));
        assert_eq!(net.taken(1).await, ["first", "second"]);
        liar.node.stop().await;
    });
}

#[test]
fn what_a_relay_has_kept_is_not_taken_again() {
    run(17, async |net| {
        let liar = with_liar(net, Vice::Keeps, false).await;
        assert_eq!(net.send(0, 1, "hello").await.unwrap().hops, 2);
        let (head, body) = liar.seen.lock().iter().find(|(head, _)| !head.key).cloned().unwrap();
        let target = liar.node.peer(net.id(1)).unwrap();
        let say = async |head: Head, body: &Bytes| {
            target.send_with(&head, body.clone()).unwrap();
            sleep(secs(1)).await;
            liar.answers.lock().pop().unwrap()
        };
        let first = liar.answers.lock().pop().unwrap();
        assert_eq!(say(head, &body).await, Reply { hops: 1, ..first }, "the same answer");
        let renamed = Head { id: MessageId::from_bytes([9; 16]), ..head };
        assert_eq!(say(renamed, &body).await.why.unwrap(), "unreadable");
        let disowned = Head { from: liar.node.id(), ..head };
        assert_eq!(say(disowned, &body).await.why.unwrap(), "unreadable");
        for minutes in [1, 3, 6, 60] {
            sleep(secs(minutes * 60)).await;
            let answer = say(head, &body).await;
            assert!(answer.outcome == Outcome::Delivered || answer.why.unwrap() == "stale");
        }
        assert_eq!(net.taken(1).await, ["hello"]);
        liar.node.stop().await;
    });
}

#[test]
fn nobody_speaks_in_the_name_of_another() {
    run(18, async |net| {
        let liar = with_liar(net, Vice::Keeps, false).await;
        let (victim, target) = (net.id(0), net.id(1));
        let id = MessageId::from_bytes([9; 16]);
        let line = Bytes::from_static(b"{\"msgtype\":\"note\",\"text\":\"forged\"}");
        let letter = Letter::new(&mut net.rng, millis(net.clock.now()), line, Bytes::new());
        let purpose = Purpose::Routed { to: target, id };
        let key = net.nodes[1].node().key().unwrap().public();
        let say = async |net: &mut Net, signed: &[u8], from| {
            let body = envelope::seal(&mut net.rng, &key, target, from, id, signed).unwrap();
            let head = Head { to: target, from, id, hops: 1, key: false };
            liar.node.peer(target).unwrap().send_with(&head, body.into()).unwrap();
            sleep(secs(1)).await;
            liar.answers.lock().pop().unwrap()
        };
        for key in [liar.node.key(), None] {
            let signed = letter.sign(key, victim, &purpose);
            assert_eq!(say(net, &signed, victim).await.why.unwrap(), "unreadable");
        }
        let own = letter.sign(liar.node.key(), liar.node.id(), &purpose);
        assert_eq!(say(net, &own, liar.node.id()).await.outcome, Outcome::Delivered);
        // A node without a key is believed to have said it, and known to have proven nothing.
        let classic = NodeId::random(&mut net.rng);
        let unsigned = letter.sign(None, classic, &purpose);
        assert_eq!(say(net, &unsigned, classic).await.outcome, Outcome::Delivered);
        let taken = net.notes[1].take().await;
        let origins: Vec<_> = taken.iter().map(|routed| (routed.from, routed.proven)).collect();
        assert_eq!(origins, [(liar.node.id(), true), (classic, false)]);
        liar.node.stop().await;
    });
}

#[test]
fn what_a_relay_sees_is_only_the_addressing() {
    run(19, async |net| {
        let liar = with_liar(net, Vice::Keeps, false).await;
        let secret = Bytes::from_static(b"the attachment is a secret as well");
        let sent = net.nodes[0].send_with(net.id(1), &note("meet me at noon"), secret).await;
        assert!(sent.unwrap().sealed);
        let seen = liar.seen.lock().clone();
        for (head, body) in &seen {
            assert_eq!((head.from, head.to), (net.id(0), net.id(1)));
            for word in [&b"noon"[..], b"secret", b"note", b"msgtype"] {
                assert!(!body.windows(word.len()).any(|bytes| bytes == word));
            }
        }
        assert_eq!(seen.len(), 2);
        liar.node.stop().await;
    });
}
