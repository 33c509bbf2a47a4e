use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;

use super::*;

const ME: u128 = 0b1000;

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn id(bits: u128) -> NodeId {
    NodeId::from_u128(bits)
}

fn message(n: u128) -> MessageId {
    MessageId::from_bytes(n.to_be_bytes())
}

/// Message 1 of the node 0xf000 to another, on its third step.
fn head(to: u128) -> Head {
    Head { to: id(to), from: id(0xf000), id: message(1), hops: 3, key: false }
}

fn node(peers: &[u128]) -> Routing {
    limited(peers, TrailLimits::default())
}

fn limited(peers: &[u128], limits: TrailLimits) -> Routing {
    let mut node = Routing::new(id(ME), limits, [3, 5]);
    peers.iter().for_each(|peer| node.up(id(*peer)));
    node
}

fn call(act: impl FnOnce(&mut Vec<Output>)) -> Vec<Output> {
    let mut out = Vec::new();
    act(&mut out);
    out
}

fn forward(to: u128, head: Head, hops: u8) -> Output {
    Output::Forward { to: id(to), head: Head { hops, ..head }, body: body() }
}

fn answer(to: u128, outcome: Outcome, hops: u8) -> Output {
    Output::Reply { to: id(to), reply: Reply::new(message(1), outcome, hops) }
}

fn done(outcome: Outcome, hops: u8) -> Output {
    Output::Done(Reply::new(message(1), outcome, hops))
}

fn body() -> Bytes {
    Bytes::from_static(b"sealed")
}

fn proven(outcome: Outcome) -> Reply {
    Reply { proof: Some([7; 16]), ..Reply::new(message(1), outcome, 5) }
}

fn miss(outcome: Outcome, hops: u8) -> Reply {
    Reply::new(message(1), outcome, hops)
}

fn arrive(node: &mut Routing, via: u128, head: Head) -> Vec<Output> {
    call(|out| node.arrived(at(0), id(via), head, body(), out))
}

fn reply(node: &mut Routing, from: u128, reply: Reply) -> Vec<Output> {
    call(|out| node.replied(at(0), id(from), reply, true, out))
}

fn originate(node: &mut Routing, to: u128, due: u64) -> Vec<Output> {
    let head = Head { from: id(ME), hops: 0, ..head(to) };
    call(|out| node.originate(at(0), head, body(), at(due), out))
}

fn down(node: &mut Routing, peer: u128) -> Vec<Output> {
    call(|out| node.down(at(0), id(peer), out))
}

#[test]
fn a_message_goes_to_the_strictly_closest_peer_and_its_answer_back() {
    let mut node = node(&[0b0001, 0b0100, 0b1100, 0xf000]);
    let head = head(0b0111);
    assert_eq!(arrive(&mut node, 0xf000, head), [forward(0b0100, head, 4)]);
    let delivered = proven(Outcome::Delivered);
    let back = Output::Reply { to: id(0xf000), reply: delivered.clone() };
    assert_eq!(reply(&mut node, 0b0100, delivered.clone()), [back]);
    assert_eq!(reply(&mut node, 0b0100, delivered), [], "a second answer is a stray");
    assert_eq!((node.under_way(), node.counts().strays), ((0, 0), 1));
}

#[test]
fn a_peer_is_the_shortest_way_to_itself() {
    let mut node = node(&[0b0111, 0b0110]);
    let head = head(0b0111);
    assert_eq!(arrive(&mut node, 0xf000, head), [forward(0b0111, head, 4)]);
}

#[test]
fn a_message_for_this_node_is_delivered() {
    let head = head(ME);
    let delivered = Output::Deliver { via: id(0xf000), head, body: body() };
    assert_eq!(arrive(&mut node(&[1]), 0xf000, head), [delivered]);
}

#[test]
fn nobody_strictly_closer_is_a_dead_end() {
    // The sender, the origin and whoever is as far do not count.
    let mut node = node(&[0b1110, 0xf000, 0b0111]);
    let head = Head { from: id(0b1110), ..head(0b1111) };
    assert_eq!(arrive(&mut node, 0xf000, head), [answer(0xf000, Outcome::NoRoute, 3)]);
    assert_eq!((node.counts().dead_ends, node.under_way()), (1, (0, 0)));
}

#[test]
fn a_dead_end_is_followed_by_the_next_best_at_most_three_times_and_then_by_no_route() {
    let mut node = node(&[0b0111, 0b0110, 0b0101, 0b0100, 0b0011]);
    let head = head(0b1_0000_0111);
    let mut sent = arrive(&mut node, 0xf000, head);
    for (n, peer) in [0b0111, 0b0110, 0b0101, 0b0100].into_iter().enumerate() {
        let hops = 4 + 2 * u8::try_from(n).unwrap();
        assert_eq!(sent, [forward(peer, head, hops)]);
        // Each dead end was one step farther on.
        sent = reply(&mut node, peer, miss(Outcome::NoRoute, hops + 1));
    }
    assert_eq!(sent, [answer(0xf000, Outcome::NoRoute, 11)]);
    let again = arrive(&mut node, 0b1111, head);
    assert_eq!(again, [answer(0b1111, Outcome::NoRoute, 3)], "where it led is remembered");
    assert_eq!(node.counts().duplicates, 1);
}

#[test]
fn what_explains_most_is_said_when_nobody_is_left() {
    for (first, second, said) in [
        (Outcome::Busy, Outcome::NoRoute, Outcome::Busy),
        (Outcome::TooLarge, Outcome::Busy, Outcome::TooLarge),
        (Outcome::Timeout, Outcome::NoRoute, Outcome::NoRoute),
        (Outcome::NoRoute, Outcome::Refused, Outcome::Refused),
        (Outcome::Delivered, Outcome::NoRoute, Outcome::NoRoute),
    ] {
        let mut node = node(&[0b0111, 0b0110]);
        let _ = arrive(&mut node, 0xf000, head(0b1_0000_0111));
        // None of these comes with what only the target could say.
        let _ = reply(&mut node, 0b0111, miss(first, 5));
        assert_eq!(reply(&mut node, 0b0110, miss(second, 7)), [answer(0xf000, said, 7)]);
    }
}

#[test]
fn a_refusal_of_the_target_goes_back_with_its_reason() {
    let mut node = node(&[0b0111]);
    let _ = arrive(&mut node, 0xf000, head(0b0111));
    let refused = Reply { why: Some("nobody".into()), ..proven(Outcome::Refused) };
    let back = Output::Reply { to: id(0xf000), reply: refused.clone() };
    assert_eq!(reply(&mut node, 0b0111, refused), [back]);
}

#[test]
fn no_message_takes_more_than_its_steps() {
    let mut node = node(&[0b0111, 0b0110]);
    let last = Head { hops: MAX_HOPS - 1, ..head(0b1_0000_0111) };
    assert_eq!(arrive(&mut node, 0xf000, last), [forward(0b0111, last, MAX_HOPS)]);
    let dead_end = miss(Outcome::NoRoute, MAX_HOPS);
    let back = answer(0xf000, Outcome::NoRoute, MAX_HOPS);
    assert_eq!(reply(&mut node, 0b0111, dead_end), [back]);
    let mut node = self::node(&[0b0111]);
    let spent = Head { hops: 255, ..head(0b0111) };
    assert_eq!(arrive(&mut node, 0xf000, spent), [answer(0xf000, Outcome::NoRoute, MAX_HOPS)]);
}

#[test]
fn a_full_outbox_is_passed_by_and_nobody_elses_is_busy() {
    let mut node = node(&[0b0111, 0b0110]);
    let head = head(0b1_0000_0111);
    let _ = arrive(&mut node, 0xf000, head);
    let full = |node: &mut Routing, peer| {
        call(|out| node.not_sent(id(peer), message(1), body(), Outcome::Busy, out))
    };
    assert_eq!(full(&mut node, 0b0111), [forward(0b0110, head, 5)]);
    assert_eq!(full(&mut node, 0b0110), [answer(0xf000, Outcome::Busy, 5)]);
}

#[test]
fn a_session_that_ends_is_a_dead_end() {
    let mut node = node(&[0b0111, 0b0110]);
    let head = head(0b1_0000_0111);
    let _ = arrive(&mut node, 0xf000, head);
    assert_eq!(down(&mut node, 0b0111), [forward(0b0110, head, 5)]);
    assert_eq!(down(&mut node, 0b0110), [answer(0xf000, Outcome::NoRoute, 5)]);
    assert_eq!(reply(&mut node, 0b0110, proven(Outcome::Delivered)), []);
}

#[test]
fn a_message_whose_sender_is_gone_is_answered_to_whoever_sends_it_again() {
    let mut node = node(&[0b0111]);
    let head = head(0b0111);
    let _ = arrive(&mut node, 0xf000, head);
    assert_eq!(down(&mut node, 0xf000), []);
    assert_eq!(arrive(&mut node, 0xf001, head), [], "it is on its way already");
    let delivered = proven(Outcome::Delivered);
    let back = Output::Reply { to: id(0xf001), reply: delivered.clone() };
    assert_eq!(reply(&mut node, 0b0111, delivered), [back]);
}

#[test]
fn only_a_peer_that_has_the_message_can_answer() {
    let mut node = node(&[0b0111, 0b0110]);
    let _ = arrive(&mut node, 0xf000, head(0b0111));
    for stranger in [0b0110, 0xf000, 0xabc] {
        assert_eq!(reply(&mut node, stranger, proven(Outcome::Delivered)), []);
    }
    assert_eq!(node.counts().strays, 3);
}

#[test]
fn a_trail_ends_by_itself() {
    let mut node = node(&[0b0111]);
    let _ = arrive(&mut node, 0xf000, head(0b0111));
    assert_eq!(node.deadline(), Some(at(30_000)));
    assert_eq!(call(|out| node.tick(at(30_000), out)), []);
    assert_eq!((node.under_way(), node.counts().expired, node.deadline()), ((0, 0), 1, None));
}

#[test]
fn beyond_the_most_trails_the_oldest_goes_and_one_peer_has_its_share() {
    let limits = TrailLimits { max: 3, max_per_peer: 2, ..TrailLimits::default() };
    let mut node = limited(&[0b0111], limits);
    let nth = |n| Head { id: message(n), ..head(0b0111) };
    for n in 1..=2 {
        assert_eq!(arrive(&mut node, 0xf000, nth(n)), [forward(0b0111, nth(n), 4)]);
    }
    let busy = Output::Reply { to: id(0xf000), reply: Reply::new(message(3), Outcome::Busy, 3) };
    assert_eq!(arrive(&mut node, 0xf000, nth(3)), [busy]);
    for n in 3..=4 {
        assert_eq!(arrive(&mut node, 0xf001, nth(n)), [forward(0b0111, nth(n), 4)]);
    }
    let counts = node.counts();
    assert_eq!((node.under_way(), counts.evicted, counts.crowded), ((0, 3), 1, 1));
    assert_eq!(reply(&mut node, 0b0111, proven(Outcome::Delivered)), [], "the oldest is gone");
}

#[test]
fn a_body_for_which_there_is_no_room_is_passed_on_once() {
    let limits = TrailLimits { max_bytes: body().len(), ..TrailLimits::default() };
    let mut node = limited(&[0b0111, 0b0110], limits);
    let nth = |n| Head { id: message(n), ..head(0b1_0000_0111) };
    for n in [2, 1] {
        assert_eq!(arrive(&mut node, 0xf000, nth(n)), [forward(0b0111, nth(n), 4)]);
    }
    let dead_end = miss(Outcome::NoRoute, 4);
    assert_eq!(reply(&mut node, 0b0111, dead_end), [answer(0xf000, Outcome::NoRoute, 4)]);
    let dead_end = Reply { id: message(2), ..miss(Outcome::NoRoute, 4) };
    assert_eq!(reply(&mut node, 0b0111, dead_end), [forward(0b0110, nth(2), 5)]);
    assert_eq!(node.counts().unkept, 1);
}

#[test]
fn an_own_message_tries_another_first_step_after_each_third_and_times_out() {
    let mut node = node(&[0b0111, 0b0110, 0b0101, 0b0100]);
    let own = Head { from: id(ME), ..head(0b1_0000_0111) };
    assert_eq!(originate(&mut node, 0b1_0000_0111, 9000), [forward(0b0111, own, 1)]);
    for (ms, peer) in [(3000, 0b0110), (6000, 0b0101)] {
        assert_eq!(node.deadline(), Some(at(ms)));
        assert_eq!(call(|out| node.tick(at(ms - 1), out)), []);
        assert_eq!(call(|out| node.tick(at(ms), out)), [forward(peer, own, 1)]);
    }
    assert_eq!(call(|out| node.tick(at(9000), out)), [done(Outcome::Timeout, 0)]);
    assert_eq!((node.deadline(), node.under_way()), (None, (0, 0)));
}

#[test]
fn any_of_the_ways_may_bring_the_answer_and_the_others_are_strays() {
    let mut node = node(&[0b0111, 0b0110]);
    let _ = originate(&mut node, 0b1_0000_0111, 9000);
    let _ = call(|out| node.tick(at(3000), out));
    let delivered = proven(Outcome::Delivered);
    assert_eq!(reply(&mut node, 0b0111, delivered.clone()), [Output::Done(delivered.clone())]);
    assert_eq!(reply(&mut node, 0b0110, delivered), []);
}

#[test]
fn an_own_message_goes_to_a_farther_peer_when_there_is_no_closer_one() {
    let mut node = node(&[0xf0]);
    let own = Head { from: id(ME), ..head(0b1001) };
    assert_eq!(originate(&mut node, 0b1001, 9000), [forward(0xf0, own, 1)]);
    let dead_end = miss(Outcome::NoRoute, 7);
    assert_eq!(reply(&mut node, 0xf0, dead_end), [done(Outcome::NoRoute, 0)]);
    assert_eq!(originate(&mut self::node(&[]), 0b1001, 9000), [done(Outcome::NoRoute, 0)]);
}

#[test]
fn an_answer_that_does_not_prove_itself_is_no_answer() {
    for (outcome, said) in
        [(Outcome::Delivered, Outcome::NoRoute), (Outcome::Refused, Outcome::Refused)]
    {
        let mut node = node(&[0b0111, 0b0110]);
        let own = Head { from: id(ME), ..head(0b1_0000_0111) };
        let _ = originate(&mut node, 0b1_0000_0111, 9000);
        let forged = |node: &mut Routing, from| {
            call(|out| node.replied(at(0), id(from), proven(outcome), false, out))
        };
        assert_eq!(forged(&mut node, 0b0111), [forward(0b0110, own, 1)]);
        assert_eq!(forged(&mut node, 0b0110), [done(said, 0)]);
    }
}

#[test]
fn an_own_message_that_comes_back_is_turned_away() {
    let mut node = node(&[0xf0]);
    let own = Head { from: id(ME), ..head(0b1001) };
    let _ = originate(&mut node, 0b1001, 9000);
    assert_eq!(arrive(&mut node, 0xf0, own), [answer(0xf0, Outcome::NoRoute, 3)]);
    let alike = head(0b1001);
    assert_eq!(arrive(&mut node, 0xf0, alike), [answer(0xf0, Outcome::NoRoute, 3)]);
}

#[test]
fn too_many_own_messages_are_busy_at_once() {
    let mut node = node(&[0b0111]);
    let nth = |n| Head { from: id(ME), id: message(n), ..head(0b0111) };
    for n in 0..u128::try_from(MAX_OWN).unwrap() {
        let out = call(|out| node.originate(at(0), nth(n + 10), body(), at(9000), out));
        assert!(matches!(&out[..], [Output::Forward { .. }]));
    }
    assert_eq!(originate(&mut node, 0b0111, 9000), [done(Outcome::Busy, 0)]);
}

#[test]
fn the_lines_are_what_the_protocol_says() {
    let head = Head { to: id(1), from: id(2), id: message(3), hops: 4, key: true };
    let line = serde_json::to_string(&head).unwrap();
    assert_eq!(
        line,
        "{\"to\":\"00000000-0000-0000-0000-000000000001\",\
         \"from\":\"00000000-0000-0000-0000-000000000002\",\
         \"id\":\"00000000000000000000000000000003\",\"hops\":4,\"key\":true}"
    );
    assert_eq!(serde_json::from_str::<Head>(&line).unwrap(), head);
    let reply = Reply {
        why: Some("nobody".into()),
        proof: Some([0xab; 16]),
        key: Some(crate::identity::PublicKey::from_bytes([1; 32])),
        ..Reply::new(message(3), Outcome::TooLarge, 4)
    };
    let line = serde_json::to_string(&reply).unwrap();
    assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
    let least = format!("{{\"id\":\"{}\",\"outcome\":\"no-route\",\"hops\":1}}", message(3));
    let reply = Reply::new(message(3), Outcome::NoRoute, 1);
    assert_eq!(serde_json::to_string(&reply).unwrap(), least);
    let later = least.replace("no-route", "eaten-by-a-whale");
    assert_eq!(serde_json::from_str::<Reply>(&later).unwrap(), reply);
    let long =
        least.replace("\"hops\"", &format!("\"why\":\"\\u001b{}\",\"hops\"", "é".repeat(99)));
    assert_eq!(serde_json::from_str::<Reply>(&long).unwrap().why.unwrap(), "é".repeat(32));
    for bad in ["\"proof\":\"00\"", "\"key\":7", "\"hops\":256", "\"why\":[]"] {
        let line = least.replace("\"hops\":1", bad);
        assert!(serde_json::from_str::<Reply>(&line).is_err(), "{line}");
    }
    for outcome in [
        Outcome::NoRoute,
        Outcome::Timeout,
        Outcome::Busy,
        Outcome::TooLarge,
        Outcome::Refused,
        Outcome::Delivered,
    ] {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.code());
    }
}

/// What is under way between two machines.
#[derive(Debug, Clone)]
enum Frame {
    Route(Head, Bytes),
    Routed(Reply),
}

/// Many machines, and between them wires whose frames arrive in any order but their own.
struct Net {
    rng: ChaCha8Rng,
    now: Moment,
    nodes: BTreeMap<NodeId, Routing>,
    sessions: BTreeSet<(NodeId, NodeId)>,
    wires: BTreeMap<(NodeId, NodeId), VecDeque<Frame>>,
    n_messages: u128,
    /// What became of each message, and in how many steps.
    ends: BTreeMap<MessageId, Vec<Reply>>,
    /// What each target took, as it must: each message once.
    taken: BTreeSet<MessageId>,
    /// Sends that fail for want of room, out of a hundred.
    full: u32,
    /// The machines have the ordinary limits, and so do not come near them.
    is_roomy: bool,
}

impl Net {
    fn new(seed: u64, n: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let limits = TrailLimits { max: 40, max_per_peer: 10, max_bytes: 60, ..Default::default() };
        let ids = (0..n).map(|_| NodeId::random(&mut rng));
        let nodes = ids.map(|id| (id, Routing::new(id, limits, [3, 5]))).collect();
        Self {
            rng,
            now: at(0),
            nodes,
            sessions: BTreeSet::new(),
            wires: BTreeMap::new(),
            n_messages: 0,
            ends: BTreeMap::new(),
            taken: BTreeSet::new(),
            full: 0,
            is_roomy: false,
        }
    }

    fn roomy(mut self) -> Self {
        self.is_roomy = true;
        for (id, node) in &mut self.nodes {
            *node = Routing::new(*id, TrailLimits::default(), [3, 5]);
        }
        self
    }

    fn connect(&mut self, a: NodeId, b: NodeId) {
        if a != b && self.sessions.insert((a.min(b), a.max(b))) {
            self.nodes.get_mut(&a).unwrap().up(b);
            self.nodes.get_mut(&b).unwrap().up(a);
        }
    }

    fn disconnect(&mut self, a: NodeId, b: NodeId) {
        if self.sessions.remove(&(a.min(b), a.max(b))) {
            self.wires.remove(&(a, b));
            self.wires.remove(&(b, a));
            self.act(a, |node, now, out| node.down(now, b, out));
            self.act(b, |node, now, out| node.down(now, a, out));
        }
    }

    /// Up to k sessions per bucket of each node; two that nobody can dial have none with each other.
    fn overlay(&mut self, k: usize, hidden: &BTreeSet<NodeId>) {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for a in &ids {
            let mut buckets: BTreeMap<u32, Vec<NodeId>> = BTreeMap::new();
            for b in ids.iter().filter(|b| *b != a && !hidden.contains(b)) {
                buckets.entry(a.distance(*b).leading_zeros()).or_default().push(*b);
            }
            for bucket in buckets.into_values() {
                for b in bucket.into_iter().choose_multiple(&mut self.rng, k) {
                    self.connect(*a, b);
                }
            }
        }
    }

    fn kill(&mut self, node: NodeId) {
        let ends = self.sessions.iter().filter(|(a, b)| *a == node || *b == node);
        for (a, b) in ends.copied().collect::<Vec<_>>() {
            self.disconnect(a, b);
        }
        self.nodes.remove(&node);
    }

    fn send(&mut self, from: NodeId, to: NodeId) -> MessageId {
        self.n_messages += 1;
        let id = message(self.n_messages);
        let head = Head { to, from, id, hops: 0, key: false };
        let due = self.now + Duration::from_secs(10);
        self.ends.insert(id, Vec::new());
        self.act(from, |node, now, out| node.originate(now, head, body(), due, out));
        id
    }

    fn act(&mut self, at: NodeId, act: impl FnOnce(&mut Routing, Moment, &mut Vec<Output>)) {
        let Some(node) = self.nodes.get_mut(&at) else { return };
        let mut out = Vec::new();
        act(node, self.now, &mut out);
        let mut out = VecDeque::from(out);
        while let Some(output) = out.pop_front() {
            match output {
                Output::Forward { to, head, body } => {
                    assert!(
                        head.hops <= MAX_HOPS && self.sessions.contains(&(at.min(to), at.max(to)))
                    );
                    let is_closer = head.to.distance(to) < head.to.distance(at);
                    assert!(is_closer || head.from == at, "a relay sent it farther away");
                    if self.rng.random_ratio(self.full, 100) {
                        let node = self.nodes.get_mut(&at).unwrap();
                        out.extend(call(|out| {
                            node.not_sent(to, head.id, body, Outcome::Busy, out)
                        }));
                    } else {
                        self.wire(at, to, Frame::Route(head, body));
                    }
                }
                Output::Reply { to, reply } => self.wire(at, to, Frame::Routed(reply)),
                Output::Deliver { via, head, body: got } => {
                    assert!(head.to == at && got == body());
                    self.taken.insert(head.id);
                    let said = Reply::new(head.id, Outcome::Delivered, head.hops);
                    let reply = Reply { proof: Some([7; 16]), ..said };
                    self.wire(at, via, Frame::Routed(reply));
                }
                Output::Done(reply) => self.ends.get_mut(&reply.id).unwrap().push(reply),
            }
        }
        if !self.is_roomy {
            self.nodes[&at].trails.check();
        }
    }

    fn wire(&mut self, from: NodeId, to: NodeId, frame: Frame) {
        if self.sessions.contains(&(from.min(to), from.max(to))) {
            self.wires.entry((from, to)).or_default().push_back(frame);
        }
    }

    /// One frame arrives, of any wire. Whether there was one.
    fn arrive(&mut self) -> bool {
        let Some(wire) = self.wires.keys().copied().choose(&mut self.rng) else { return false };
        let queue = self.wires.get_mut(&wire).unwrap();
        let frame = queue.pop_front();
        if queue.is_empty() {
            self.wires.remove(&wire);
        }
        let (from, to) = wire;
        self.act(to, |node, now, out| match frame {
            Some(Frame::Route(head, body)) => node.arrived(now, from, head, body, out),
            Some(Frame::Routed(reply)) => node.replied(now, from, reply, true, out),
            None => {}
        });
        true
    }

    /// Time passes until all machines are at rest.
    fn settle(&mut self) {
        loop {
            while self.arrive() {}
            let Some(due) = self.nodes.values().filter_map(Routing::deadline).min() else { return };
            self.now = self.now.max(due);
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.act(id, |node, now, out| node.tick(now, out));
            }
        }
    }

    fn any(&mut self) -> NodeId {
        self.nodes.keys().copied().choose(&mut self.rng).unwrap()
    }

    fn outcome(&self, id: MessageId) -> Outcome {
        self.ends[&id][0].outcome
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_ends_once_whatever_the_network_does(
        seed: u64,
        n in 2_usize..20,
        steps in 1_usize..200,
        full in 0_u32..30,
    ) {
        let mut net = Net::new(seed, n);
        net.full = full;
        net.overlay(2, &BTreeSet::new());
        for _ in 0..steps {
            let (a, b) = (net.any(), net.any());
            match net.rng.random_range(0..100) {
                0..40 => drop(net.arrive()),
                40..70 if a != b => drop(net.send(a, b)),
                70..80 => net.disconnect(a, b),
                80..90 => net.connect(a, b),
                90..95 => {
                    // A frame is lost, as by a node that says nothing.
                    net.wires.pop_first();
                }
                _ => {
                    net.now = net.now + Duration::from_millis(net.rng.random_range(0..5000));
                    net.act(a, |node, now, out| node.tick(now, out));
                }
            }
        }
        net.settle();
        for (id, ends) in &net.ends {
            prop_assert_eq!(ends.len(), 1, "{}", id);
            prop_assert!(ends[0].outcome != Outcome::Delivered || net.taken.contains(id));
        }
        for node in net.nodes.values() {
            prop_assert_eq!(node.under_way(), (0, 0));
        }
    }

    #[test]
    fn no_input_breaks_a_machine(
        seed: u64,
        inputs in proptest::collection::vec((0_u8..6, 0_u128..6, 0_u128..6, 0_u128..4, 0_u8..40), 1..200),
    ) {
        // What strangers may say, with few names so that they meet.
        let limits = TrailLimits { max: 5, max_per_peer: 3, max_bytes: 20, ..Default::default() };
        let mut node = Routing::new(id(0), limits, [3, 5]);
        let (mut rng, mut now) = (ChaCha8Rng::seed_from_u64(seed), at(0));
        let (mut begun, mut ended, mut n) = (0, 0, 100);
        for (what, peer, to, nth, hops) in inputs {
            let mut out = Vec::new();
            let head = Head { to: id(to), from: id(5 - to), id: message(nth), hops, key: false };
            let outcomes = [Outcome::Delivered, Outcome::Refused, Outcome::NoRoute, Outcome::Busy];
            match what {
                0 => node.up(id(peer)),
                1 => node.down(now, id(peer), &mut out),
                2 => {
                    n += 1;
                    begun += 1;
                    let head = Head { id: message(n), ..head };
                    node.originate(now, head, body(), now + Duration::from_secs(3), &mut out);
                }
                3 => node.arrived(now, id(peer), head, body(), &mut out),
                4 => {
                    let outcome = outcomes[rng.random_range(0..4)];
                    let proof = rng.random_bool(0.5).then_some([1; 16]);
                    let nth = if rng.random() { nth } else { n };
                    let reply = Reply { proof, ..Reply::new(message(nth), outcome, hops) };
                    node.replied(now, id(peer), reply, rng.random(), &mut out);
                }
                _ => {
                    now = now + Duration::from_millis(rng.random_range(0..4000));
                    node.tick(now, &mut out);
                }
            }
            ended += out.iter().filter(|output| matches!(output, Output::Done(_))).count();
            node.trails.check();
        }
        let out = call(|out| node.tick(now + Duration::from_secs(60), out));
        ended += out.iter().filter(|output| matches!(output, Output::Done(_))).count();
        prop_assert_eq!(begun, ended);
        prop_assert_eq!(node.under_way(), (0, 0));
    }
}

/// Everybody sends to this many others. The share that was delivered, and the mean of their steps.
fn load(net: &mut Net, n: usize, among: &[NodeId]) -> (f64, f64) {
    let mut sent = Vec::new();
    for _ in 0..n {
        let pair = among.iter().copied().choose_multiple(&mut net.rng, 2);
        sent.push(net.send(pair[0], pair[1]));
    }
    net.settle();
    let delivered: Vec<_> =
        sent.iter().filter(|id| net.outcome(**id) == Outcome::Delivered).collect();
    let hops: u32 = delivered.iter().map(|id| u32::from(net.ends[id][0].hops)).sum();
    let n_delivered = f64::from(u32::try_from(delivered.len()).unwrap());
    (n_delivered / f64::from(u32::try_from(n).unwrap()), f64::from(hops) / n_delivered)
}

#[test]
fn a_sparse_overlay_reaches_everybody_also_those_that_nobody_can_dial() {
    for seed in 0..2 {
        let mut net = Net::new(seed, 300).roomy();
        let ids: Vec<_> = net.nodes.keys().copied().collect();
        let hidden = ids.iter().copied().choose_multiple(&mut net.rng, 90).into_iter().collect();
        net.overlay(4, &hidden);
        let (delivered, hops) = load(&mut net, 2000, &ids);
        assert!(delivered == 1.0 && hops < 3.0, "seed {seed}: {delivered} {hops}");
    }
}

#[test]
fn a_third_less_costs_hardly_a_message() {
    let (mut all, mut n) = (0.0, 0.0);
    for seed in 0..2 {
        let mut net = Net::new(seed, 500).roomy();
        net.overlay(4, &BTreeSet::new());
        let ids: Vec<_> = net.nodes.keys().copied().collect();
        for node in ids.into_iter().choose_multiple(&mut ChaCha8Rng::seed_from_u64(seed), 150) {
            net.kill(node);
        }
        let alive: Vec<_> = net.nodes.keys().copied().collect();
        let (delivered, _) = load(&mut net, 2000, &alive);
        (all, n) = (all + delivered, n + 1.0);
    }
    assert!(all / n >= 0.999, "{}", all / n);
}

#[test]
fn a_dead_target_costs_a_bounded_search() {
    let mut net = Net::new(1, 300).roomy();
    net.overlay(4, &BTreeSet::new());
    let ids: Vec<_> = net.nodes.keys().copied().collect();
    let gone = ids[17];
    net.kill(gone);
    let sent = net.send(ids[200], gone);
    net.settle();
    assert_eq!(net.outcome(sent), Outcome::NoRoute);
    let forwarded: u64 = net.nodes.values().map(|node| node.counts().forwarded).sum();
    let limit = u64::from(MAX_HOPS) * u64::try_from(MAX_TRIES).unwrap();
    assert!(forwarded <= limit, "{forwarded}");
}
