//! A session, driven by a scripted stream and a mock registry and discovery, and the two extremes
//! of an actor that takes its messages.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    actor::{MESSAGE_COST, Origin, Session},
    *,
};
use crate::{
    actors::{
        discovery::{Dialled, FromPeer, Question},
        journal::{Journal, JournalPort},
        registry::{LinkEvent, LinkNews},
    },
    clock::Clock,
    config::NodeConfig,
    extension::{PeerMessage, Received, Routes},
    identity::NodeKey,
    ids::{LinkId, NodeId},
    peer::Direction,
    proto::{
        credentials::Credentials,
        explorer::{DialPlan, Via},
        link::Purpose,
        own_address::Settled,
    },
    reason::CloseReason,
    secure::Tls,
    testkit::{Probe, settle},
    transport::{Connection, Transport},
    wire::MAX_LINE,
};

mod attachments;
mod batches;
mod presence;
mod security;

const ME: u128 = 1;
const HELLO: &str = r#"{"msgtype":"hello","nodeid":"00000000-0000-0000-0000-000000000007"}"#;

/// A transport whose only use is to name the scripted stream's type.
#[derive(Debug, Clone)]
struct Scripted;

impl Transport for Scripted {
    type Stream = DuplexStream;
    type Parked = DuplexStream;
    type Listener = ();

    async fn bind(&self, _: &crate::HostPort, _: bool) -> std::io::Result<()> {
        Ok(())
    }

    fn local_addr((): &()) -> std::io::Result<crate::HostPort> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn poll_accept(
        (): &mut (),
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<Connection<DuplexStream>>> {
        std::task::Poll::Pending
    }

    async fn dial(&self, _: std::net::SocketAddr) -> std::io::Result<Connection<DuplexStream>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    async fn resolve(&self, _: &crate::HostPort) -> std::io::Result<Vec<std::net::SocketAddr>> {
        Ok(vec![])
    }

    fn park(stream: DuplexStream) -> std::io::Result<DuplexStream> {
        Ok(stream)
    }

    fn unpark(stream: DuplexStream) -> std::io::Result<DuplexStream> {
        Ok(stream)
    }
}

/// A session with a mock of everything around it; the test is the peer.
struct Harness {
    peer: DuplexStream,
    unread: Vec<u8>,
    registry: Probe<LinkEvent>,
    discovery: Probe<FromPeer>,
    dialled: Probe<Dialled>,
    routes: Arc<Routes>,
    tags: Arc<OwnTags>,
    session: Addr<Session>,
}

impl Harness {
    fn inbound() -> Self {
        Self::start(Direction::Inbound, Purpose::Session, 1 << 16)
    }

    fn start(direction: Direction, purpose: Purpose, pipe_bytes: usize) -> Self {
        let remote: crate::HostPort = "192.0.2.7:5999".parse().unwrap();
        let (via, nearest) = (Via::Plain, crate::address::Class::Loopback);
        let plan = DialPlan { addr: remote, purpose, via, expect: None, nearest };
        Self::start_with(NodeConfig::default(), None, direction, plan, pipe_bytes)
    }

    fn start_with(
        mut config: NodeConfig,
        key: Option<&NodeKey>,
        direction: Direction,
        plan: DialPlan,
        pipe_bytes: usize,
    ) -> Self {
        let (registry, discovery, dialled) = (Probe::start(), Probe::start(), Probe::start());
        // Four small messages.
        config.session.undelivered_bytes = MAX_LINE + 3 * MESSAGE_COST;
        config.session.outbox_frames = 64;
        let me = key.map_or(NodeId::from_u128(ME), NodeKey::node_id);
        let clock = Clock::start();
        let routes = Arc::new(Routes::default());
        let hello = HelloTemplate::new(me, &config, Settled::new(None, &[]), &["zebra"]).unwrap();
        let tags = hello.tags().clone();
        let env = Arc::new(Env {
            me,
            clock,
            hello,
            credentials: Arc::new(Credentials::new(me, &config)),
            tls: key.map(|key| Tls::new(key).unwrap()),
            routes: routes.clone(),
            registry: registry.recipient(),
            discovery: discovery.recipient(),
            journal: JournalPort::new(Journal::start(64, None).recipient()),
            meters: Arc::default(),
            config,
        });
        let (stream, peer) = duplex(pipe_bytes);
        let DialPlan { addr: remote, purpose, via, expect, nearest: _ } = plan;
        let dial = (direction == Direction::Outbound)
            .then(|| DialTicket::new(remote.clone(), dialled.recipient()));
        let origin = Origin {
            direction,
            purpose,
            via,
            dial,
            hello_due: clock.now() + Duration::from_secs(5),
            remote: remote.clone(),
            local: None,
        };
        let connection = Connection { stream, remote, local: None };
        let session = Session::launch::<Scripted>(env, LinkId(1), connection, origin, expect);
        Self { peer, unread: vec![], registry, discovery, dialled, routes, tags, session }
    }

    /// An inbound session that the registry has admitted, its first lines read.
    async fn up() -> Self {
        Self::up_with(HELLO).await
    }

    /// The same, of a peer that says this hello.
    async fn up_with(hello: &str) -> Self {
        let mut h = Self::inbound();
        h.say(hello).await;
        h.admit();
        for verb in ["hello", "getaddr", "ping"] {
            assert!(h.hear().await.unwrap().contains(verb), "{verb}");
        }
        h.registry.take().await;
        h
    }

    fn admit(&self) {
        self.session.do_send(Control::Admit { announce: None });
    }

    async fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes()).await;
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).await.unwrap();
        settle().await;
    }

    /// The next line from the session; none if it has closed.
    async fn hear(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let mut buffer = [0; 1024];
            match self.peer.read(&mut buffer).await.unwrap() {
                0 => return None,
                n => self.unread.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Everything until the session closes.
    async fn rest(&mut self) -> Vec<String> {
        let mut lines = vec![];
        while let Some(line) = self.hear().await {
            lines.push(line);
        }
        lines
    }

    async fn news(&self) -> Vec<&'static str> {
        let name = |event: LinkEvent| match event.news {
            LinkNews::Opened { .. } => "opened",
            LinkNews::Greeted(..) => "greeted",
            LinkNews::Pong(_) => "pong",
            LinkNews::Presence(_) => "presence",
            LinkNews::Closing(_) => "closing",
            LinkNews::Closed(_) => "closed",
        };
        self.registry.take().await.into_iter().map(name).collect()
    }
}

#[actix::test]
async fn a_listener_answers_hello_asks_the_registry_and_begins_once_admitted() {
    tokio::time::pause();
    let mut h = Harness::inbound();
    assert_eq!(h.news().await, ["opened"]);
    h.say(&format!("{HELLO}\n{{\"msgtype\":\"ping\"}}")).await;
    assert_eq!(h.news().await, ["greeted"]);
    assert!(h.hear().await.unwrap().contains("\"msgtype\":\"hello\""));
    let announce = Some("192.0.2.1:5999".parse().unwrap());
    h.session.do_send(Control::Admit { announce });
    let mut lines = vec![];
    for _ in 0..4 {
        lines.push(h.hear().await.unwrap());
    }
    let verbs = ["addr", "getaddr", "ping", "pong"];
    for (line, verb) in lines.iter().zip(verbs) {
        assert!(line.starts_with(&format!("{{\"msgtype\":\"{verb}\"")), "{line}");
    }
    assert!(lines[0].contains("192.0.2.1:5999"), "its own address comes first");
}

#[actix::test]
async fn a_dialler_speaks_first_and_reports_what_came_of_the_dial() {
    tokio::time::pause();
    let mut h = Harness::start(Direction::Outbound, Purpose::Session, 1 << 16);
    assert!(h.hear().await.unwrap().contains("hello"));
    h.say(HELLO).await;
    assert_eq!(h.dialled.take().await.len(), 0, "not before the verdict");
    h.admit();
    let dialled = h.dialled.expect().await.result;
    assert_eq!(dialled.proof.unwrap().id.as_u128(), 7);
    assert_eq!(dialled.end, None);
}

#[actix::test]
async fn a_feeler_proves_says_bye_and_never_becomes_a_session() {
    tokio::time::pause();
    let mut h = Harness::start(Direction::Outbound, Purpose::Feeler, 1 << 16);
    assert!(h.hear().await.unwrap().contains("\"feeler\":true"));
    h.say(HELLO).await;
    let dialled = h.dialled.expect().await.result;
    assert_eq!(dialled.end.unwrap().0, CloseReason::Feeler);
    assert_eq!(dialled.proof.unwrap().id.as_u128(), 7);
    assert_eq!(h.rest().await, [r#"{"msgtype":"bye","reason":"feeler"}"#]);
    drop(h.peer);
    settle().await;
    assert!(!h.session.connected());
    let news = h.registry.take().await;
    let told = |event: &LinkEvent| matches!(event.news, LinkNews::Greeted(..));
    assert!(news.len() == 3 && !news.iter().any(told), "opened, closing, closed: {news:?}");
}

#[actix::test]
async fn our_own_id_is_answered_and_closed_with_self() {
    tokio::time::pause();
    let mut h = Harness::start(Direction::Outbound, Purpose::Session, 1 << 16);
    h.say(&HELLO.replace('7', "1")).await;
    let lines = h.rest().await;
    assert!(lines[1].contains("\"reason\":\"self\""), "{lines:?}");
    let dialled = h.dialled.expect().await.result;
    assert_eq!(dialled.end.unwrap().0, CloseReason::SelfConnection);
    assert_eq!(dialled.proof.unwrap().id.as_u128(), ME);
}

#[actix::test]
async fn silence_before_hello_ends_in_timeout_and_silence_after_it_at_dead_after() {
    tokio::time::pause();
    let mut silent = Harness::inbound();
    let started = tokio::time::Instant::now();
    assert!(silent.rest().await[0].contains("\"reason\":\"timeout\""));
    assert_eq!(started.elapsed().as_secs(), 5);

    let mut deaf = Harness::up().await;
    let started = tokio::time::Instant::now();
    assert!(deaf.rest().await[0].contains("\"reason\":\"timeout\""));
    assert!((239..=240).contains(&started.elapsed().as_secs()));
    drop(deaf.peer);
    settle().await;
    let reasons: Vec<_> = deaf.registry.take().await.into_iter().map(|e| e.news).collect();
    assert!(matches!(
        &reasons[..],
        [LinkNews::Closing(CloseReason::Timeout), LinkNews::Closed(CloseReason::Timeout)]
    ));
}

#[actix::test]
async fn pings_go_out_every_interval_and_pongs_tell_the_round_trip() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    h.say(r#"{"msgtype":"pong"}"#).await;
    for _ in 0..3 {
        let before = tokio::time::Instant::now();
        assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"ping"}"#);
        assert!((59..=60).contains(&before.elapsed().as_secs()));
        tokio::time::sleep(Duration::from_millis(250)).await;
        h.say(r#"{"msgtype":"pong"}"#).await;
    }
    let samples: Vec<_> = h.registry.take().await;
    let LinkNews::Pong(sample) = samples[3].news else { panic!("no pong") };
    assert!((250..=251).contains(&sample.as_millis()), "{sample:?}");
}

#[actix::test]
async fn what_was_asked_before_the_verdict_or_in_one_segment_is_answered_in_order() {
    tokio::time::pause();
    let mut h = Harness::inbound();
    let pings = "{\"msgtype\":\"ping\"}\n".repeat(500);
    h.say(&format!("{HELLO}\r\n\n{pings}")).await;
    h.admit();
    for verb in ["hello", "getaddr", "ping"] {
        assert!(h.hear().await.unwrap().contains(verb));
    }
    for n in 0..500 {
        assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"pong"}"#, "{n}");
    }
}

#[actix::test]
async fn questions_go_to_discovery_and_stop_the_reading_until_they_are_answered() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    h.say(&"{\"msgtype\":\"getaddr\",\"max\":3}\n".repeat(10)).await;
    let asked = h.discovery.take().await;
    assert_eq!(asked.len(), 1, "no more than there is credit");
    assert!(matches!(asked[0].question, Question::GetAddr { max: Some(3), near: None }));
    drop(asked);
    assert_eq!(h.discovery.take().await.len(), 1);
}

#[actix::test]
async fn a_half_closed_peer_gets_its_answers_and_a_farewell() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    h.say(r#"{"msgtype":"getaddr"}"#).await;
    h.peer.shutdown().await.unwrap();
    let asked = h.discovery.expect().await;
    settle().await;
    asked.from.send_encoded(&crate::wire::Encoded::addr(&[])).unwrap();
    drop(asked);
    let lines = h.rest().await;
    assert_eq!(lines[0], r#"{"msgtype":"addr","peers":[]}"#);
    assert!(lines[1].contains("bye"), "{lines:?}");
}

#[actix::test]
async fn a_peer_that_does_not_read_is_closed_as_slow() {
    tokio::time::pause();
    let mut h = Harness::start(Direction::Inbound, Purpose::Session, 256);
    h.say(HELLO).await;
    h.admit();
    settle().await;
    let peer = h.registry.take().await.into_iter().find_map(|event| match event.news {
        LinkNews::Opened { handle, .. } => Some(handle),
        _ => None,
    });
    let outbox = peer.unwrap().outbox.clone();
    let mut accepted = 0;
    while outbox.push(&crate::wire::Encoded::PING).is_ok() {
        accepted += 1;
    }
    assert!(accepted <= 64);
    tokio::time::sleep(Duration::from_secs(7)).await;
    let news = h.registry.take().await;
    assert!(matches!(news[0].news, LinkNews::Closing(CloseReason::Slow)), "{news:?}");
    assert!(matches!(news[1].news, LinkNews::Closed(CloseReason::Slow)), "{news:?}");
}

#[actix::test]
async fn a_full_outbox_keeps_back_neither_the_first_lines_nor_the_pings() {
    tokio::time::pause();
    let mut h = Harness::inbound();
    h.say(HELLO).await;
    let opened = h.registry.take().await.into_iter().find_map(|event| match event.news {
        LinkNews::Opened { handle, .. } => Some(handle),
        _ => None,
    });
    let outbox = opened.unwrap().outbox.clone();
    h.session.do_send(Control::Admit { announce: None });
    while outbox.push(&crate::wire::Encoded::PONG).is_ok() {}
    let mut verbs = vec![];
    while !verbs.iter().any(|line: &String| line.contains("ping")) {
        verbs.push(h.hear().await.unwrap());
    }
    assert!(verbs.iter().any(|line| line.contains("getaddr")), "{verbs:?}");
}

#[actix::test]
async fn an_empty_frame_and_the_end_of_the_session_harm_nobody() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    h.say(r#"{"msgtype":"note","n":5}"#).await;
    let peer = notes.expect().await.from;
    peer.send_encoded(&crate::wire::Encoded::concat(&[])).unwrap();
    peer.send(&Note { n: 1 }).unwrap();
    assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"note","n":1}"#);
    drop(h.peer);
    settle().await;
    assert_eq!(peer.send(&Note { n: 2 }), Err(crate::SendError::NoSuchPeer));
}

#[actix::test]
async fn each_fault_is_told_with_its_reason() {
    tokio::time::pause();
    let long = format!("{{\"msgtype\":\"{}\"}}", "x".repeat(70_000));
    for (line, reason) in [
        ("nonsense", "protocol"),
        ("[]", "protocol"),
        (HELLO, "protocol"),
        (r#"{"msgtype":"addr","peers":5}"#, "protocol"),
        (long.as_str(), "too-large"),
    ] {
        let mut h = Harness::up().await;
        h.peer.write_all(line.as_bytes()).await.unwrap();
        h.say("").await;
        let lines = h.rest().await;
        let bye = lines.last().unwrap();
        assert!(bye.contains(&format!("\"reason\":\"{reason}\"")), "{bye}");
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    n: u32,
}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

#[actix::test]
async fn a_registered_actor_gets_typed_messages_and_may_answer() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    h.say(r#"{"msgtype":"note","n":0}"#).await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    h.say(r#"{"msgtype":"note","n":5,"more":[1]}"#).await;
    let note = notes.expect().await;
    assert_eq!((note.message.n, note.sender().as_u128()), (5, 7));
    note.reply(&Note { n: 6 }).unwrap();
    assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"note","n":6}"#);
}

#[actix::test]
async fn a_slow_actor_slows_its_sender_and_loses_nothing() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    let lines: Vec<_> = (0..100).map(|n| format!("{{\"msgtype\":\"note\",\"n\":{n}}}")).collect();
    h.say(&lines.join("\n")).await;
    let mut seen = vec![];
    while seen.len() < 100 {
        let batch = notes.take().await;
        assert!(!batch.is_empty() && batch.len() <= 4, "{} at once", batch.len());
        seen.extend(batch.into_iter().map(|note| note.message.n));
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[actix::test]
async fn a_payload_that_is_not_what_its_msgtype_says_costs_the_sender_its_session() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    h.say(r#"{"msgtype":"note","n":"five"}"#).await;
    let bye = h.rest().await.pop().unwrap();
    assert!(bye.contains("protocol") && bye.contains("note"), "{bye}");
}

#[actix::test]
async fn a_panic_in_one_session_is_told_to_the_registry_and_closes_the_stream() {
    tokio::time::pause();
    #[derive(Debug, Serialize)]
    struct Bomb;
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("a bug in somebody's message type");
        }
    }
    impl PeerMessage for Bomb {
        const MSGTYPE: &'static str = "bomb";
    }
    let mut h = Harness::up().await;
    h.routes.register(Probe::<Received<Bomb>>::start().recipient()).unwrap();
    h.say(r#"{"msgtype":"bomb"}"#).await;
    assert_eq!(h.rest().await, Vec::<String>::new());
    let news = h.registry.take().await;
    assert!(matches!(news[..], [LinkEvent { news: LinkNews::Closed(CloseReason::Internal), .. }]));
}
