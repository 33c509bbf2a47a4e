use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    Batch, Direction, JournalQuery, Kind, Node, NodeKey, Parcel, Peer, PeerEvent, PeerInfo,
    clock::Moment,
    ids::{LinkId, MessageId},
    overlay::envelope::{self, Letter, Purpose, Token},
    peer::{Channel, ChannelSecurity},
    proto::{
        replay::{MAX_SKEW, millis},
        routing::{Outcome, Reply},
    },
    reason::CloseReason,
    testkit::{FakeSession, Probe, TestRegistry, minimal_hello, settle},
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

fn key(seed: u64) -> NodeKey {
    NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(1000 + seed))
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
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
    id: NodeId,
    info: PeerInfo,
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

    fn me(&self) -> NodeId {
        self.overlay.id()
    }

    fn router(&self) -> &Addr<Router> {
        &self.overlay.inner.routing.router
    }

    fn now(&self) -> Moment {
        self.overlay.node().clock().now()
    }

    /// A peer of this id comes. If it has a key, the connection proves it.
    fn up(&mut self, id: NodeId, key: Option<&NodeKey>) -> Played {
        self.n_links += 1;
        let session = FakeSession::open(&self.registry.links(), self.n_links, Direction::Inbound);
        let features = vec!["attach".to_owned(), ROUTE.to_owned()];
        let hello =
            crate::wire::Hello { features: features.clone(), ..minimal_hello(id.as_u128()) };
        session.greet_with(hello);
        let info = PeerInfo {
            id,
            channel: Channel { security: ChannelSecurity::Vouched, key: key.map(NodeKey::public) },
            link: LinkId(self.n_links),
            direction: Direction::Inbound,
            remote: "10.0.0.1:5999".parse().unwrap(),
            listen: None,
            observed: None,
            agent: None,
            features,
            tags: Default::default(),
            since: self.now(),
            last_seen: self.now(),
            rtt: None,
        };
        let peer = Peer { info: info.clone(), handle: session.peer(id.as_u128()) };
        self.router().do_send(PeerEvent::Up(peer));
        Played { session, id, info }
    }

    fn down(&self, peer: &Played) {
        let (peer, reason) = (peer.as_peer(), CloseReason::Gone);
        self.router().do_send(PeerEvent::Down { peer, reason });
    }

    /// A peer of this node's that is a node with a key.
    fn neighbour(&mut self, seed: u64) -> (Played, NodeKey) {
        let key = key(seed);
        (self.up(key.node_id(), Some(&key)), key)
    }

    fn say(&self, peer: &Played, head: Head, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let parcel = Parcel { message: head, attachment: body };
        self.router().do_send(Batch::mock(vec![parcel], peer.as_peer().handle));
    }

    fn reply(&self, peer: &Played, reply: Reply) {
        let parcel = Parcel { message: reply, attachment: Bytes::new() };
        self.router().do_send(Batch::mock(vec![parcel], peer.as_peer().handle));
    }

    /// Begins to send, and waits until all has been done that can be.
    async fn send(&self, to: NodeId, text: &str) -> tokio::task::JoinHandle<Delivery> {
        let (overlay, note) = (self.overlay.clone(), note(text));
        let sending = tokio::task::spawn_local(async move { overlay.send(to, &note).await });
        settle().await;
        sending
    }

    async fn notes(&self, reason: &str) -> usize {
        settle().await;
        let journal = self.overlay.node().journal(JournalQuery::default()).await;
        journal.iter().filter(|d| d.reason == *reason && d.kind == Kind::Refused).count()
    }

    async fn stats(&self) -> RoutingStats {
        self.overlay.stats().await.routing
    }
}

impl Played {
    fn as_peer(&self) -> Peer {
        Peer { info: self.info.clone(), handle: self.session.peer(self.id.as_u128()) }
    }

    /// The one message that was sent to it since the last time.
    async fn sent(&self) -> (Head, Bytes) {
        settle().await;
        let sent = self.session.take_sent_with();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].0.starts_with("{\"msgtype\":\"route\","), "{}", sent[0].0);
        (serde_json::from_str(&sent[0].0).unwrap(), sent[0].1.clone())
    }

    /// The one answer that was sent to it since the last time.
    async fn answered(&self) -> Reply {
        settle().await;
        let sent = self.session.take_sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].starts_with("{\"msgtype\":\"routed\","), "{}", sent[0]);
        serde_json::from_str(&sent[0]).unwrap()
    }

    async fn heard_nothing(&self) -> bool {
        settle().await;
        self.session.take_sent().is_empty()
    }
}

/// Reads a message as the node that it is for.
fn read(key: &NodeKey, head: &Head, body: &[u8]) -> Letter {
    let signed = envelope::open(key, head.to, head.from, head.id, body).unwrap();
    Letter::verify(&signed, head.from, &Purpose::Routed { to: head.to, id: head.id }).unwrap()
}

fn said(head: &Head, token: &Token, outcome: Outcome, why: &str) -> Reply {
    let proof = Some(envelope::prove(token, outcome.code(), why));
    let why = (!why.is_empty()).then(|| why.to_owned().into());
    Reply { why, proof, ..Reply::new(head.id, outcome, head.hops) }
}

/// A message of another node to this one, as it is sealed.
fn sealed(rig: &Rig, from: &NodeKey, id: u8, line: &str) -> (Head, Vec<u8>) {
    sealed_at(rig, from, id, line, millis(rig.now()))
}

fn sealed_at(rig: &Rig, from: &NodeKey, id: u8, line: &str, time: u64) -> (Head, Vec<u8>) {
    let (to, id) = (rig.me(), MessageId::from_bytes([id; 16]));
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (line, attachment) = (Bytes::copy_from_slice(line.as_bytes()), Bytes::from_static(b"more"));
    let letter = Letter::new(&mut rng, time, line, attachment);
    let me = from.node_id();
    let signed = letter.sign(Some(from), me, &Purpose::Routed { to, id });
    let key = rig.overlay.node().key().unwrap().public();
    let body = envelope::seal(&mut rng, &key, to, me, id, &signed).unwrap();
    (Head { to, from: me, id, hops: 2, key: false }, body)
}

const NOTE: &str = "{\"msgtype\":\"note\",\"text\":\"hello\"}";

#[actix::test]
async fn a_message_is_sealed_for_its_target_and_its_answer_ends_the_sending() {
    let mut rig = Rig::start().await;
    let (peer, key) = rig.neighbour(1);
    let sending = rig.send(peer.id, "hello").await;
    let (head, body) = peer.sent().await;
    assert_eq!((head.to, head.from, head.hops, head.key), (peer.id, rig.me(), 1, false));
    let letter = read(&key, &head, &body);
    assert_eq!((&letter.line[..], &letter.attachment[..]), (NOTE.as_bytes(), &b""[..]));
    assert_eq!(rig.stats().await.waiting, 1);
    tokio::time::advance(secs(1)).await;
    rig.reply(&peer, said(&head, &letter.token, Outcome::Delivered, ""));
    let delivered = sending.await.unwrap().unwrap();
    assert!(delivered.rtt >= secs(1) && delivered.rtt < secs(2));
    assert_eq!((delivered.hops, delivered.sealed), (1, true));
    assert_eq!((rig.stats().await.waiting, rig.stats().await.delivered), (0, 1));
}

#[actix::test]
async fn a_key_that_is_not_known_is_asked_for_once_and_kept() {
    let mut rig = Rig::start().await;
    let (peer, _) = rig.neighbour(1);
    let far = key(2);
    let sendings = [rig.send(far.node_id(), "one").await, rig.send(far.node_id(), "two").await];
    let (question, body) = peer.sent().await;
    assert_eq!((question.to, question.key, body.len()), (far.node_id(), true, 0));
    let answer = Reply::new(question.id, Outcome::Delivered, 3);
    rig.reply(&peer, Reply { key: Some(far.public()), ..answer });
    settle().await;
    let sent = peer.session.take_sent_with();
    assert_eq!(sent.len(), 2);
    for ((line, body), sending) in sent.iter().zip(sendings) {
        let head: Head = serde_json::from_str(line).unwrap();
        let letter = read(&far, &head, body);
        rig.reply(&peer, said(&Head { hops: 3, ..head }, &letter.token, Outcome::Delivered, ""));
        assert_eq!(sending.await.unwrap().unwrap().hops, 3);
    }
    let _third = rig.send(far.node_id(), "three").await;
    assert!(!peer.sent().await.0.key);
}

#[actix::test]
async fn the_key_of_another_is_no_answer() {
    let mut rig = Rig::start().await;
    let (peer, _) = rig.neighbour(1);
    let sending = rig.send(key(2).node_id(), "one").await;
    let (question, _) = peer.sent().await;
    let answer = Reply::new(question.id, Outcome::Delivered, 3);
    rig.reply(&peer, Reply { key: Some(key(3).public()), ..answer });
    assert_eq!(sending.await.unwrap(), Err(Undelivered::NoRoute));
    assert_eq!((rig.notes("forged").await, rig.stats().await.forged), (1, 1));
}

#[actix::test]
async fn who_waits_for_a_key_is_told_what_became_of_the_question() {
    let mut rig = Rig::start().await;
    let (peer, _) = rig.neighbour(1);
    let first = rig.send(key(2).node_id(), "one").await;
    let (question, _) = peer.sent().await;
    tokio::time::sleep(secs(6)).await;
    let second = rig.send(key(2).node_id(), "two").await;
    assert_eq!(first.await.unwrap(), Err(Undelivered::Timeout));
    let (again, _) = peer.sent().await;
    assert!(again.key && again.id != question.id, "the second has time left");
    rig.reply(&peer, Reply::new(again.id, Outcome::Busy, 2));
    assert_eq!(second.await.unwrap(), Err(Undelivered::Busy));
    let third = rig.send(key(2).node_id(), "three").await;
    let (question, _) = peer.sent().await;
    let refused = Reply::new(question.id, Outcome::Refused, 2);
    rig.reply(&peer, Reply { why: Some("no-key".into()), ..refused });
    assert_eq!(third.await.unwrap(), Err(Undelivered::Refused("no-key".into())));
}

#[actix::test]
async fn to_a_node_without_a_key_it_is_signed_and_not_sealed() {
    let mut rig = Rig::start().await;
    let classic = NodeId::random(&mut ChaCha8Rng::seed_from_u64(3));
    let peer = rig.up(classic, None);
    let sending = rig.send(classic, "hello").await;
    let (head, body) = peer.sent().await;
    let purpose = Purpose::Routed { to: classic, id: head.id };
    let letter = Letter::verify(&body, rig.me(), &purpose).unwrap();
    assert_eq!(letter.line, NOTE);
    rig.reply(&peer, said(&head, &letter.token, Outcome::Delivered, ""));
    assert!(!sending.await.unwrap().unwrap().sealed);
}

#[actix::test]
async fn every_way_to_fail_has_its_reason() {
    let mut rig = Rig::start().await;
    let (peer, key) = rig.neighbour(1);
    for (outcome, expected) in [
        (Outcome::NoRoute, Undelivered::NoRoute),
        (Outcome::Timeout, Undelivered::NoRoute),
        (Outcome::Busy, Undelivered::Busy),
        (Outcome::TooLarge, Undelivered::TooLarge),
    ] {
        let sending = rig.send(peer.id, "hello").await;
        rig.reply(&peer, Reply::new(peer.sent().await.0.id, outcome, 3));
        assert_eq!(sending.await.unwrap(), Err(expected));
    }
    let sending = rig.send(peer.id, "hello").await;
    let (head, body) = peer.sent().await;
    rig.reply(&peer, said(&head, &read(&key, &head, &body).token, Outcome::Refused, "nobody"));
    assert_eq!(sending.await.unwrap(), Err(Undelivered::Refused("nobody".into())));
    let sending = rig.send(peer.id, "hello").await;
    tokio::time::sleep(secs(10)).await;
    assert_eq!(sending.await.unwrap(), Err(Undelivered::Timeout));
    let sending = rig.send(peer.id, "hello").await;
    rig.down(&peer);
    assert_eq!(sending.await.unwrap(), Err(Undelivered::NoRoute));
    let huge = Bytes::from(vec![0; MAX_ATTACHMENT]);
    let sent = rig.overlay.send_with(peer.id, &note(""), huge).await;
    assert_eq!(sent, Err(Undelivered::TooLarge));
    let long = note(&"x".repeat(70_000));
    assert_eq!(rig.overlay.send(peer.id, &long).await, Err(Undelivered::TooLarge));
}

#[actix::test]
async fn what_is_no_object_is_not_sent() {
    #[derive(Serialize, Deserialize)]
    struct Number(u8);

    impl PeerMessage for Number {
        const MSGTYPE: &'static str = "number";
    }

    let rig = Rig::start().await;
    let sent = rig.overlay.send(key(1).node_id(), &Number(7)).await;
    assert_eq!(sent, Err(Undelivered::NotEncodable));
}

#[actix::test]
async fn who_waits_when_the_overlay_stops_is_told_so() {
    let mut rig = Rig::start().await;
    let (peer, _) = rig.neighbour(1);
    let (sending, asking) =
        (rig.send(peer.id, "hello").await, rig.send(key(2).node_id(), "hello").await);
    rig.overlay.stop().await;
    assert_eq!(sending.await.unwrap(), Err(Undelivered::Stopped));
    assert_eq!(asking.await.unwrap(), Err(Undelivered::Stopped));
    assert_eq!(rig.overlay.send(peer.id, &note("")).await, Err(Undelivered::Stopped));
    assert_eq!(rig.stats().await, RoutingStats::default());
}

#[actix::test]
async fn more_than_may_be_under_way_is_busy_at_once() {
    let mut config = OverlayConfig::default();
    config.routing.sends.messages = 1;
    let mut rig = Rig::with(config).await;
    let (peer, _) = rig.neighbour(1);
    let sending = rig.send(peer.id, "one").await;
    assert_eq!(rig.overlay.send(peer.id, &note("two")).await, Err(Undelivered::Busy));
    tokio::time::sleep(secs(10)).await;
    assert_eq!(sending.await.unwrap(), Err(Undelivered::Timeout));
    let _ = peer.session.take_sent();
    let _third = rig.send(peer.id, "three").await;
    assert!(!peer.sent().await.0.key, "there is room again");
}

#[actix::test]
async fn a_delivery_that_only_the_target_could_claim_is_not_believed_without_proof() {
    let mut rig = Rig::start().await;
    let (near, _) = rig.neighbour(1);
    let (far, key) = rig.neighbour(2);
    let first = rig.send(far.id, "hello").await;
    let (head, body) = far.sent().await;
    let token = read(&key, &head, &body).token;
    // What a relay can make up: no proof, a proof of something else, one with another token.
    let wrong = [
        Reply::new(head.id, Outcome::Delivered, 1),
        Reply { outcome: Outcome::Delivered, ..said(&head, &token, Outcome::Refused, "busy") },
        said(&head, &[0; 16], Outcome::Delivered, ""),
    ];
    for (n, reply) in wrong.into_iter().enumerate() {
        rig.reply(&far, reply);
        if n == 0 {
            // It is tried another way, and nothing comes of that.
            let again = near.sent().await.0;
            assert_eq!((again.id, again.hops), (head.id, 1));
            rig.reply(&near, Reply::new(head.id, Outcome::NoRoute, 1));
            assert!(!first.is_finished());
        }
    }
    assert_eq!(first.await.unwrap(), Err(Undelivered::NoRoute));
    assert!(rig.stats().await.forged >= 1 && rig.notes("forged").await >= 1);
}

#[actix::test]
async fn a_refusal_as_unreadable_is_tried_another_way_before_it_is_told() {
    let mut rig = Rig::start().await;
    let (near, _) = rig.neighbour(1);
    let (far, _) = rig.neighbour(2);
    let sending = rig.send(far.id, "hello").await;
    let (head, _) = far.sent().await;
    let unreadable = Reply::new(head.id, Outcome::Refused, 1);
    let unreadable = Reply { why: Some("unreadable".into()), ..unreadable };
    rig.reply(&far, unreadable);
    let again = near.sent().await.0;
    rig.reply(&near, Reply::new(again.id, Outcome::NoRoute, 4));
    assert_eq!(sending.await.unwrap(), Err(Undelivered::Refused("unreadable".into())));
}

#[actix::test]
async fn a_message_is_handed_to_its_actor_and_the_answer_proves_it() {
    let mut rig = Rig::start().await;
    let notes = Probe::<Routed<Note>>::start();
    rig.overlay.register(notes.recipient()).unwrap();
    let (peer, origin) = (rig.neighbour(1).0, key(2));
    let (head, body) = sealed(&rig, &origin, 7, NOTE);
    rig.say(&peer, head, &body);
    let routed = notes.expect().await;
    assert_eq!((routed.message, &routed.attachment[..]), (note("hello"), &b"more"[..]));
    assert_eq!((routed.from, routed.proven, routed.hops), (origin.node_id(), true, 2));
    let answer = peer.answered().await;
    let token = read(rig.overlay.node().key().unwrap(), &head, &body).token;
    assert_eq!(answer, said(&head, &token, Outcome::Delivered, ""));
}

#[actix::test]
async fn the_same_message_again_gets_the_same_answer_and_is_not_delivered_again() {
    let mut rig = Rig::start().await;
    let notes = Probe::<Routed<Note>>::start();
    rig.overlay.register(notes.recipient()).unwrap();
    let (peer, other) = (rig.neighbour(1).0, rig.neighbour(3).0);
    let (head, body) = sealed(&rig, &key(2), 7, NOTE);
    rig.say(&peer, head, &body);
    let answer = peer.answered().await;
    // By another way, and after more steps.
    rig.say(&other, Head { hops: 9, ..head }, &body);
    assert_eq!(other.answered().await, Reply { hops: 9, ..answer });
    assert_eq!((notes.take().await.len(), rig.stats().await.repeated), (1, 1));
    // Long after, it is too old to be looked for.
    tokio::time::sleep(MAX_SKEW + secs(1)).await;
    let (another, blob) = sealed(&rig, &key(2), 8, NOTE);
    rig.say(&peer, another, &blob);
    assert_eq!(peer.answered().await.outcome, Outcome::Delivered);
    rig.say(&peer, head, &body);
    let stale = peer.answered().await;
    assert_eq!((stale.outcome, stale.why.as_deref()), (Outcome::Refused, Some("stale")));
    assert_eq!(notes.take().await.len(), 1);
}

#[actix::test]
async fn what_is_not_taken_is_refused_with_the_reason() {
    let mut config = OverlayConfig::default();
    config.inbox.messages = 1;
    let mut rig = Rig::with(config).await;
    let (peer, origin) = (rig.neighbour(1).0, key(2));
    let mut n = 0;
    let mut say = async |rig: &Rig, line: &str| {
        n += 1;
        let (head, body) = sealed(rig, &origin, n, line);
        rig.say(&peer, head, &body);
        let answer = peer.answered().await;
        let token = read(rig.overlay.node().key().unwrap(), &head, &body).token;
        let why = answer.why.as_deref().unwrap_or_default();
        assert_eq!(answer, said(&head, &token, answer.outcome, why), "it is proven");
        why.to_owned()
    };
    assert_eq!(say(&rig, NOTE).await, "nobody");
    assert_eq!(say(&rig, "no json").await, "bad-payload");
    assert_eq!(say(&rig, "{\"text\":\"no name\"}").await, "bad-payload");
    let notes = Probe::<Routed<Note>>::start();
    rig.overlay.register(notes.recipient()).unwrap();
    assert_eq!(say(&rig, "{\"msgtype\":\"note\",\"text\":7}").await, "bad-payload");
    assert_eq!(say(&rig, NOTE).await, "");
    assert_eq!(say(&rig, NOTE).await, "busy", "the first one is not handled yet");
    drop(notes.take().await);
    assert_eq!(say(&rig, NOTE).await, "");
    assert_eq!((rig.stats().await.taken, rig.stats().await.refused), (2, 5));
}

#[actix::test]
async fn a_clock_that_is_far_off_is_refused_as_stale() {
    let mut rig = Rig::start().await;
    let notes = Probe::<Routed<Note>>::start();
    rig.overlay.register(notes.recipient()).unwrap();
    let (peer, origin) = (rig.neighbour(1).0, key(2));
    tokio::time::sleep(secs(1000)).await;
    let now = millis(rig.now());
    for (n, time, why) in [
        (1, now - 299_000, None),
        (2, now + 299_000, None),
        (3, now - 301_000, Some("stale")),
        (4, now + 302_000, Some("stale")),
        (5, u64::MAX, Some("stale")),
    ] {
        let (head, body) = sealed_at(&rig, &origin, n, NOTE, time);
        rig.say(&peer, head, &body);
        let answer = peer.answered().await;
        assert_eq!(answer.why.as_deref(), why);
        assert!(answer.proof.is_some());
    }
    assert_eq!(notes.take().await.len(), 2);
}

#[actix::test]
async fn an_altered_forged_or_open_message_is_refused_as_unreadable_and_noted() {
    let mut rig = Rig::start().await;
    let notes = Probe::<Routed<Note>>::start();
    rig.overlay.register(notes.recipient()).unwrap();
    let (peer, origin) = (rig.neighbour(1).0, key(2));
    let (head, body) = sealed(&rig, &origin, 7, NOTE);
    let mut altered = body.clone();
    altered[60] ^= 1;
    let open = read(rig.overlay.node().key().unwrap(), &head, &body);
    let open = open.sign(Some(&origin), head.from, &Purpose::Routed { to: head.to, id: head.id });
    let cases = [
        (head, &altered[..]),
        (Head { from: key(3).node_id(), ..head }, &body[..]),
        (Head { id: MessageId::from_bytes([8; 16]), ..head }, &body[..]),
        (head, &open[..]),
        (head, b""),
    ];
    for (head, body) in cases {
        rig.say(&peer, head, body);
        let answer = peer.answered().await;
        assert_eq!((answer.outcome, answer.why.as_deref()), (Outcome::Refused, Some("unreadable")));
        assert_eq!(answer.proof, None);
    }
    assert!(rig.notes("unreadable").await >= 1);
    // None of it keeps the true one out.
    rig.say(&peer, head, &body);
    assert_eq!(peer.answered().await.outcome, Outcome::Delivered);
    assert_eq!(notes.take().await.len(), 1);
}

#[actix::test]
async fn a_node_tells_its_key() {
    let mut rig = Rig::start().await;
    let (peer, origin) = (rig.neighbour(1).0, key(2));
    let (head, _) = sealed(&rig, &origin, 7, NOTE);
    rig.say(&peer, Head { key: true, ..head }, b"");
    let answer = peer.answered().await;
    assert_eq!(answer.key.unwrap().node_id(), rig.me());
    assert_eq!((answer.outcome, answer.hops), (Outcome::Delivered, 2));
}

#[actix::test]
async fn a_message_of_another_is_passed_on_as_it_is_and_its_answer_back() {
    let mut rig = Rig::start().await;
    let (prev, next) = (rig.neighbour(1).0, rig.neighbour(2).0);
    let head = Head {
        to: next.id,
        from: key(9).node_id(),
        id: MessageId::from_bytes([1; 16]),
        hops: 3,
        key: false,
    };
    rig.say(&prev, head, b"sealed for the next");
    let (passed, body) = next.sent().await;
    assert_eq!((passed, &body[..]), (Head { hops: 4, ..head }, &b"sealed for the next"[..]));
    let answer = said(&passed, &[1; 16], Outcome::Refused, "nobody");
    rig.reply(&next, answer.clone());
    assert_eq!(prev.answered().await, answer);
    rig.reply(&next, answer);
    assert!(prev.heard_nothing().await);
    let relayed = rig.stats().await.relayed;
    assert_eq!((relayed.forwarded, relayed.answered, relayed.strays), (1, 1, 1));
}

#[actix::test]
async fn a_peer_that_takes_no_more_is_passed_by() {
    let mut rig = Rig::start().await;
    let (prev, next) = (rig.neighbour(1).0, rig.neighbour(2).0);
    let head = |n| Head {
        to: next.id,
        from: key(9).node_id(),
        id: MessageId::from_bytes([n; 16]),
        hops: 3,
        key: false,
    };
    // The played peer's outbox has room for sixteen frames.
    for n in 0..17 {
        rig.say(&prev, head(n), b"sealed");
    }
    let answer = prev.answered().await;
    assert_eq!((answer.id, answer.outcome), (head(16).id, Outcome::Busy));
    rig.down(&next);
    assert_eq!(next.session.take_sent().len(), 16);
    settle().await;
    let answers = prev.session.take_sent();
    assert_eq!(answers.len(), 16);
    assert!(answers.iter().all(|line| line.contains("\"outcome\":\"no-route\"")), "{answers:?}");
}

#[actix::test]
async fn what_a_node_sends_to_itself_does_not_travel() {
    let rig = Rig::start().await;
    let sent = rig.overlay.send(rig.me(), &note("hello")).await;
    assert_eq!(sent, Err(Undelivered::Refused("nobody".into())));
    let notes = Probe::<Routed<Note>>::start();
    rig.overlay.register(notes.recipient()).unwrap();
    let delivered = rig.overlay.send(rig.me(), &note("hello")).await.unwrap();
    assert_eq!((delivered.hops, delivered.rtt), (0, Duration::ZERO));
    let routed = notes.expect().await;
    assert_eq!((routed.from, routed.proven, routed.hops), (rig.me(), true, 0));
}

#[actix::test]
async fn a_msgtype_has_one_actor_while_it_lives() {
    struct Hello;

    impl Actor for Hello {
        type Context = Context<Self>;
    }

    impl Handler<Routed<Note>> for Hello {
        type Result = ();

        fn handle(&mut self, _: Routed<Note>, ctx: &mut Context<Self>) {
            ctx.stop();
        }
    }

    let rig = Rig::start().await;
    rig.overlay.register::<Note>(Hello.start().recipient()).unwrap();
    let second = Probe::<Routed<Note>>::start();
    assert_eq!(rig.overlay.register(second.recipient()), Err(RegisterError::Taken));
    assert!(rig.overlay.send(rig.me(), &note("stop")).await.is_ok());
    settle().await;
    let sent = rig.overlay.send(rig.me(), &note("hello")).await;
    assert_eq!(sent, Err(Undelivered::Refused("nobody".into())));
    rig.overlay.register(second.recipient()).unwrap();
    assert!(rig.overlay.send(rig.me(), &note("hello")).await.is_ok());
}
