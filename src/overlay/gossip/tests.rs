use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::{
    Direction, JournalQuery, Node, NodeId, NodeKey, Peer, PeerEvent, PeerInfo, Received,
    ids::LinkId,
    overlay::{
        GossipConfig,
        envelope::{self, Letter, Purpose},
    },
    peer::{Channel, ChannelSecurity},
    proto::{plumtree::Duty, replay::millis},
    reason::CloseReason,
    testkit::{FakeSession, Probe, TestRegistry, minimal_hello, settle},
    wire::{Hello, MAX_ATTACHMENT},
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number {
    n: u8,
}

impl PeerMessage for Number {
    const MSGTYPE: &'static str = "number";
}

fn key(seed: u64) -> NodeKey {
    NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(1000 + seed))
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

/// A node with an overlay, whose peers are played.
struct Rig {
    overlay: Overlay,
    registry: TestRegistry,
    n_links: u64,
}

/// A peer that the test plays.
struct Played {
    session: FakeSession,
    peer: Peer,
}

impl Rig {
    async fn start() -> Self {
        Self::with(OverlayConfig::default()).await
    }

    async fn with(config: OverlayConfig) -> Self {
        tokio::time::pause();
        let overlay = Overlay::start(Node::builder().seed(1), config).await.unwrap();
        Self { overlay, registry: TestRegistry::start(1), n_links: 0 }
    }

    fn gossiper(&self) -> &Addr<Gossiper> {
        &self.overlay.inner.gossip.gossiper
    }

    /// A peer of the node that shares this many bits with this one, and differs in the next.
    fn up(&mut self, level: u8, features: &[&str]) -> Played {
        self.n_links += 1;
        let id = NodeId::from_u128(self.overlay.id().as_u128() ^ (1 << (127 - level)));
        let session = FakeSession::open(&self.registry.links(), self.n_links, Direction::Inbound);
        let features: Vec<String> = features.iter().map(|feature| (*feature).to_owned()).collect();
        session.greet_with(Hello { features: features.clone(), ..minimal_hello(id.as_u128()) });
        let now = self.overlay.node().clock().now();
        let info = PeerInfo {
            id,
            channel: Channel { security: ChannelSecurity::Vouched, key: None },
            link: LinkId(self.n_links),
            direction: Direction::Inbound,
            remote: "10.0.0.1:5999".parse().unwrap(),
            listen: None,
            observed: None,
            agent: None,
            features,
            tags: Default::default(),
            since: now,
            last_seen: now,
            rtt: None,
        };
        let peer = Peer { info, handle: session.peer(id.as_u128()) };
        self.gossiper().do_send(PeerEvent::Up(peer.clone()));
        Played { session, peer }
    }

    fn neighbour(&mut self, level: u8) -> Played {
        self.up(level, &["attach", GOSSIP])
    }

    fn down(&self, played: &Played) {
        let (peer, reason) = (played.peer.clone(), CloseReason::Gone);
        self.gossiper().do_send(PeerEvent::Down { peer, reason });
    }

    /// A peer says a message.
    fn say<M: PeerMessage + Unpin>(&self, from: &Played, message: M, attachment: &Bytes)
    where
        Gossiper: Handler<Received<M>>,
    {
        let handle = from.peer.handle.clone();
        self.gossiper().do_send(Received::mock_with(message, attachment.clone(), handle));
    }

    /// What a node publishes about tea.
    fn published(&self, by: &NodeKey, line: &str) -> (Gossip, Bytes) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let now = self.overlay.node().clock().now();
        let (line, more) = (Bytes::copy_from_slice(line.as_bytes()), Bytes::from_static(b"more"));
        let letter = Letter::new(&mut rng, millis(now), line, more);
        let purpose = Purpose::Gossip { topic: "tea" };
        frame(by.node_id(), letter.sign(Some(by), by.node_id(), &purpose))
    }

    fn subscribe<M: PeerMessage + Unpin>(&self, name: &str) -> Probe<Published<M>> {
        let probe = Probe::start();
        self.overlay.subscribe(&topic(name), probe.recipient()).unwrap();
        probe
    }

    async fn noted(&self, reason: &str) -> usize {
        settle().await;
        let journal = self.overlay.node().journal(JournalQuery::default()).await;
        journal.iter().filter(|decision| decision.reason == *reason).count()
    }

    async fn stats(&self) -> BroadcastStats {
        self.overlay.stats().await.broadcast
    }
}

impl Played {
    /// What was sent to it since the last time: lines, and what came behind them.
    async fn sent(&self) -> Vec<(Value, Bytes)> {
        settle().await;
        let sent = self.session.take_sent_with().into_iter();
        sent.map(|(line, attachment)| (serde_json::from_str(&line).unwrap(), attachment)).collect()
    }

    async fn heard_nothing(&self) -> bool {
        self.sent().await.is_empty()
    }
}

fn frame(origin: NodeId, blob: Vec<u8>) -> (Gossip, Bytes) {
    let id = envelope::gossip_id(origin, "tea", &blob);
    let beside = Vec::new();
    (Gossip { origin, id, topic: topic("tea"), hops: 2, depth: 1, beside }, blob.into())
}

const NOTE: &str = "{\"msgtype\":\"note\",\"text\":\"hello\"}";

async fn pass(ms: u64) {
    tokio::time::advance(std::time::Duration::from_millis(ms)).await;
    settle().await;
}

#[actix::test]
async fn what_a_node_publishes_goes_to_its_neighbours_signed() {
    let mut rig = Rig::start().await;
    let far = rig.neighbour(0);
    let near = rig.neighbour(3);
    let others = [rig.up(1, &["attach"]), rig.up(2, &[GOSSIP])];
    let more = Bytes::from_static(b"more");
    let id = rig.overlay.publish_with(&topic("tea"), &note("hello"), more).await.unwrap();
    let me = rig.overlay.id();
    let mut blobs = Vec::new();
    for (neighbour, depth) in [(&far, 1), (&near, 4)] {
        let sent = neighbour.sent().await;
        let [(line, blob)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(
            *line,
            json!({
                "msgtype": "gossip", "attach": blob.len(), "origin": me, "id": id, "topic": "tea",
                "hops": 1, "depth": depth,
            })
        );
        assert_eq!(envelope::gossip_id(me, "tea", blob), id);
        let letter = Letter::verify(blob, me, &Purpose::Gossip { topic: "tea" }).unwrap();
        assert_eq!((&letter.line[..], &letter.attachment[..]), (NOTE.as_bytes(), &b"more"[..]));
        blobs.push(blob.clone());
    }
    assert_eq!(blobs[0], blobs[1]);
    for other in &others {
        assert!(other.heard_nothing().await);
    }
    let stats = rig.stats().await;
    assert_eq!((stats.gossip.published, stats.gossip.pushed, stats.neighbours), (1, 2, 2));
}

#[actix::test]
async fn a_message_is_delivered_once_and_handed_on_as_it_came() {
    let mut rig = Rig::start().await;
    let (from, near, other) = (rig.neighbour(0), rig.neighbour(5), rig.neighbour(6));
    rig.down(&other);
    let notes = rig.subscribe::<Note>("tea");
    let origin = key(1);
    let (frame, blob) = rig.published(&origin, NOTE);
    rig.say(&from, frame.clone(), &blob);
    let published = notes.expect().await;
    assert_eq!((published.message, &published.attachment[..]), (note("hello"), &b"more"[..]));
    assert_eq!((published.topic, published.origin), (topic("tea"), origin.node_id()));
    assert_eq!((published.id, published.proven, published.hops), (frame.id, true, 2));
    let sent = near.sent().await;
    assert_eq!(
        (&sent[0].0["hops"], &sent[0].0["depth"], &sent[0].1),
        (&json!(3), &json!(6), &blob)
    );
    assert!(from.heard_nothing().await);

    // It says once more who is to see to whom, and so is no answer to a question.
    rig.say(&from, frame, &blob);
    assert_eq!(from.sent().await, [(json!({"msgtype": "prune"}), Bytes::new())]);
    assert!(near.heard_nothing().await);
    assert_eq!(notes.take().await.len(), 0);
    let stats = rig.stats().await;
    assert_eq!((stats.gossip.accepted, stats.gossip.duplicates, stats.delivered), (1, 1, 1));
    assert_eq!((stats.kept, stats.neighbours), (1, 2));
}

#[actix::test]
async fn who_sends_what_does_not_hold_is_closed() {
    let mut rig = Rig::start().await;
    let near = rig.neighbour(5);
    let notes = rig.subscribe::<Note>("tea");
    let (origin, other) = (key(1), key(2));
    let (good, blob) = rig.published(&origin, NOTE);
    let flip = |at: usize| {
        let mut altered = blob.to_vec();
        altered[at] ^= 1;
        altered
    };
    let last = blob.len() - 1;
    let unsigned = [&[0][..], &blob[97..]].concat();
    let forged = [
        ("under another's id", (good.clone(), flip(last).into())),
        ("altered", frame(origin.node_id(), flip(last))),
        ("with another's signature", frame(other.node_id(), blob.to_vec())),
        ("not signed", frame(origin.node_id(), unsigned)),
        ("empty", frame(origin.node_id(), vec![])),
        ("cut", frame(origin.node_id(), blob[..50].to_vec())),
    ];
    for (n, (what, (frame, blob))) in forged.into_iter().enumerate() {
        let sender = rig.neighbour(0);
        rig.say(&sender, frame, &blob);
        assert_eq!(rig.noted("protocol").await, n + 1, "{what}");
        assert_eq!(sender.session.told_to_close().await.as_deref(), Some("protocol"), "{what}");
        rig.down(&sender);
    }
    assert!(near.heard_nothing().await && notes.take().await.is_empty());
    // Nobody has taken the message's place.
    let sender = rig.neighbour(0);
    rig.say(&sender, good, &blob);
    assert_eq!(notes.expect().await.message, note("hello"));
    assert_eq!(rig.stats().await.forged, 6);
}

#[actix::test]
async fn a_node_without_a_key_may_publish_and_proves_nothing() {
    let mut rig = Rig::start().await;
    let (from, notes) = (rig.neighbour(0), rig.subscribe::<Note>("tea"));
    let origin = NodeId::from_u128(7);
    let now = millis(rig.overlay.node().clock().now());
    let line = Bytes::from_static(NOTE.as_bytes());
    let letter = Letter::new(&mut ChaCha8Rng::seed_from_u64(5), now, line, Bytes::new());
    let (frame, blob) = frame(origin, letter.sign(None, origin, &Purpose::Gossip { topic: "tea" }));
    rig.say(&from, frame, &blob);
    let published = notes.expect().await;
    assert_eq!((published.origin, published.proven), (origin, false));
}

#[actix::test]
async fn what_is_announced_is_asked_for_and_what_is_asked_for_is_sent() {
    let mut rig = Rig::start().await;
    let (one, other) = (rig.neighbour(0), rig.neighbour(1));
    let (frame, blob) = rig.published(&key(1), NOTE);
    rig.say(&one, Ihave { ids: vec![frame.id], compare: false }, &Bytes::new());
    assert!(one.heard_nothing().await);
    pass(1000).await;
    let id = frame.id.to_string();
    let graft = json!({"msgtype": "graft", "ids": [id]});
    assert_eq!(one.sent().await, [(graft, Bytes::new())]);
    let answer = Gossip { depth: 128, ..frame.clone() };
    rig.say(&one, answer, &blob);
    assert!(one.heard_nothing().await);
    pass(1000).await;
    let ihave = json!({"msgtype": "ihave", "ids": [id]});
    assert_eq!(other.sent().await, [(ihave.clone(), Bytes::new())]);

    rig.say(&other, Graft { ids: vec![frame.id] }, &Bytes::new());
    let sent = other.sent().await;
    assert_eq!(
        (&sent[0].0["depth"], &sent[0].0["hops"], &sent[0].1),
        (&json!(128), &json!(3), &blob)
    );
    // A newcomer is told at once, and so is whoever compares.
    let late = rig.neighbour(2);
    assert_eq!(late.sent().await, [(ihave.clone(), Bytes::new())]);
    rig.say(&late, Ihave { ids: vec![], compare: true }, &Bytes::new());
    assert_eq!(late.sent().await, [(ihave, Bytes::new())]);
    let stats = rig.stats().await;
    assert_eq!((stats.gossip.asked, stats.gossip.grafted, stats.missing), (1, 1, 0));
    pass(37_000).await;
    let mut compared = 0;
    for neighbour in [&one, &other, &late] {
        let sent = neighbour.sent().await;
        compared += sent.iter().filter(|(line, _)| line["compare"] == json!(true)).count();
    }
    assert_eq!(compared, 1);
}

#[actix::test]
async fn a_pruned_neighbour_is_left_out_where_there_are_others() {
    let mut rig = Rig::start().await;
    let (one, near) = (rig.neighbour(1), rig.neighbour(3));
    rig.say(&one, Prune {}, &Bytes::new());
    rig.overlay.publish(&topic("tea"), &note("hello")).await.unwrap();
    // Nobody else is there to see to its part of the network.
    assert_eq!((one.sent().await.len(), near.sent().await.len()), (1, 1));
}

#[actix::test]
async fn actors_get_what_they_have_subscribed_to() {
    let mut rig = Rig::start().await;
    let from = rig.neighbour(0);
    let tea = topic("tea");
    let (notes, numbers) = (rig.subscribe::<Note>("tea"), rig.subscribe::<Number>("tea"));
    let coffee = rig.subscribe::<Note>("coffee");
    let also = rig.subscribe::<Note>("tea");
    let say = |line: &str| {
        let (frame, blob) = rig.published(&key(1), line);
        rig.say(&from, frame, &blob);
    };
    for line in [NOTE, "{\"msgtype\":\"number\",\"n\":7}", "{\"msgtype\":\"other\"}"] {
        say(line);
    }
    assert_eq!(numbers.expect().await.message, Number { n: 7 });
    assert_eq!((notes.take().await.len(), also.take().await.len()), (1, 1));
    assert!(coffee.take().await.is_empty());
    assert_eq!(rig.stats().await.delivered, 3);
    for n in 0..20 {
        say(&format!("{{\"msgtype\":\"number\",\"n\":{}}}", 700 + n));
    }
    // What anybody can cause does not fill the journal.
    assert_eq!(rig.noted("bad-payload").await, 16);
    rig.overlay.unsubscribe(&tea);
    say("{\"msgtype\":\"note\",\"text\":\"late\"}");
    assert!(notes.take().await.is_empty() && numbers.take().await.is_empty());
    let mine = rig.overlay.publish(&topic("coffee"), &note("mine")).await;
    assert!(mine.is_ok() && coffee.take().await.is_empty(), "its own is not delivered to it");
}

#[actix::test]
async fn an_actor_that_leaves_a_topic_leaves_it_to_the_others() {
    let mut rig = Rig::start().await;
    let from = rig.neighbour(0);
    let tea = topic("tea");
    let (notes, numbers) = (rig.subscribe::<Note>("tea"), rig.subscribe::<Number>("tea"));
    let also = Probe::<Published<Note>>::start();
    let leaver = also.recipient();
    rig.overlay.subscribe::<Note>(&tea, leaver.clone()).unwrap();
    rig.overlay.leave(&topic("coffee"), &leaver);
    rig.overlay.leave(&tea, &leaver);
    for line in [NOTE, "{\"msgtype\":\"number\",\"n\":7}"] {
        let (frame, blob) = rig.published(&key(1), line);
        rig.say(&from, frame, &blob);
    }
    assert_eq!((notes.take().await.len(), also.take().await.len()), (1, 0));
    assert_eq!(numbers.take().await.len(), 1);
}

#[actix::test]
async fn a_slow_actor_misses_what_its_inbox_does_not_hold_and_slows_nobody() {
    let inbox = InboxLimits { messages: 2, bytes: 1 << 20 };
    let mut rig = Rig::with(OverlayConfig { inbox, ..OverlayConfig::default() }).await;
    let (from, near) = (rig.neighbour(0), rig.neighbour(5));
    let notes = rig.subscribe::<Note>("tea");
    let say = |text: &str| {
        let line = serde_json::to_string(&json!({"msgtype": "note", "text": text})).unwrap();
        let (frame, blob) = rig.published(&key(1), &line);
        rig.say(&from, frame, &blob);
    };
    ["one", "two", "three"].into_iter().for_each(say);
    let held = notes.take().await;
    assert_eq!((held.len(), near.sent().await.len()), (2, 3));
    assert_eq!((rig.noted("slow").await, rig.stats().await.missed), (1, 1));
    drop(held);
    say("four");
    assert_eq!(notes.expect().await.message, note("four"));
}

#[actix::test]
async fn each_reason_not_to_publish_is_told() {
    let gossip = GossipConfig { publish_burst: 1, ..GossipConfig::default() };
    let rig = Rig::with(OverlayConfig { gossip, ..OverlayConfig::default() }).await;
    let (tea, huge) = (topic("tea"), Bytes::from(vec![7; MAX_ATTACHMENT]));
    let too_large = rig.overlay.publish_with(&tea, &note(""), huge).await;
    assert_eq!(too_large, Err(PublishError::TooLarge));
    let long = rig.overlay.publish(&tea, &note(&"y".repeat(70_000))).await;
    assert_eq!(long, Err(PublishError::TooLarge));

    #[derive(Serialize, Deserialize)]
    struct Bare(u8);

    impl PeerMessage for Bare {
        const MSGTYPE: &'static str = "bare";
    }

    assert_eq!(rig.overlay.publish(&tea, &Bare(7)).await, Err(PublishError::NotEncodable));
    assert!(rig.overlay.publish(&tea, &note("")).await.is_ok());
    assert_eq!(rig.overlay.publish(&tea, &note("")).await, Err(PublishError::Rate));
    rig.overlay.stop().await;
    assert_eq!(rig.overlay.publish(&tea, &note("")).await, Err(PublishError::Stopped));
    assert_eq!(rig.stats().await, BroadcastStats::default());
}

#[actix::test]
async fn an_outbox_that_is_full_is_passed_over() {
    let mut rig = Rig::start().await;
    let neighbours = [rig.neighbour(0), rig.neighbour(1)];
    for n in 0..20 {
        rig.overlay.publish(&topic("tea"), &note(&n.to_string())).await.unwrap();
    }
    // It holds sixteen frames.
    assert_eq!(neighbours[0].sent().await.len(), 16);
    assert_eq!(rig.stats().await.refused, 8);
}

#[test]
fn the_duty_of_a_frame_is_what_it_says_and_levels_beyond_the_last_say_nothing() {
    let (plain, _) = frame(NodeId::from_u128(7), vec![]);
    let odd = Gossip { depth: 7, beside: vec![2, 5, 5, 200], ..plain.clone() };
    assert_eq!(odd.duty(), Duty::from_depth(7).and(2).and(5));
    assert_eq!(plain.duty(), Duty::from_depth(1));
    assert_eq!(Gossip { depth: 255, ..plain }.duty(), Duty::NONE);
}
