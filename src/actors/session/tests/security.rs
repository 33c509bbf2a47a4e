//! What a session believes, and of whom: plaintext, TLS and private networks, against a peer that
//! speaks TLS by hand.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::io::AsyncBufReadExt;

use super::*;
use crate::{
    Security, identity::NetworkKey, peer::ChannelSecurity, proto::credentials::Established,
    secure::SecureStream,
};

fn key(seed: u64) -> NodeKey {
    NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
}

fn plan(via: Via, expect: Option<NodeId>) -> DialPlan {
    let addr = "192.0.2.7:5999".parse().unwrap();
    let nearest = crate::address::Class::Loopback;
    DialPlan { addr, purpose: Purpose::Session, via, expect, nearest }
}

/// A session of the node with key 1, and what the other end is left with.
fn session(config: NodeConfig, direction: Direction, plan: DialPlan) -> (Harness, DuplexStream) {
    let mut h = Harness::start_with(config, Some(&key(1)), direction, plan, 1 << 20);
    let (unused, _) = duplex(1);
    let stream = std::mem::replace(&mut h.peer, unused);
    (h, stream)
}

/// The other end, speaking TLS with this key.
struct Peer {
    stream: tokio::io::BufReader<SecureStream<DuplexStream>>,
    established: Established,
}

impl Peer {
    async fn dial(stream: DuplexStream, seed: u64) -> std::io::Result<Self> {
        Self::shake(SecureStream::connect(stream, &Tls::new(&key(seed)).unwrap())).await
    }

    async fn accept(stream: DuplexStream, seed: u64) -> std::io::Result<Self> {
        let tls = Tls::new(&key(seed)).unwrap();
        Self::shake(SecureStream::accept(stream, Some(tls))).await
    }

    async fn shake(mut stream: SecureStream<DuplexStream>) -> std::io::Result<Self> {
        let established = std::future::poll_fn(|cx| stream.poll_established(cx)).await?;
        Ok(Self { stream: tokio::io::BufReader::new(stream), established })
    }

    async fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        // The end of the connection is an empty line.
        let _end = self.stream.read_line(&mut line).await;
        line
    }

    async fn hello(&mut self, id: NodeId, more: &str) {
        self.say(&format!(r#"{{"msgtype":"hello","nodeid":"{id}"{more}}}"#)).await;
    }
}

fn greeted(event: LinkEvent) -> Option<(NodeId, crate::Channel)> {
    match event.news {
        LinkNews::Greeted(hello, channel) => Some((hello.nodeid, channel)),
        _ => None,
    }
}

#[actix::test]
async fn an_encrypted_session_proves_both_ids_to_both_sides() {
    let (h, stream) = session(NodeConfig::default(), Direction::Inbound, plan(Via::Tls, None));
    let mut peer = Peer::dial(stream, 2).await.unwrap();
    assert_eq!(peer.established.channel.key, Some(key(1).public()));
    peer.hello(key(2).node_id(), "").await;
    assert!(peer.hear().await.contains(&key(1).node_id().to_string()));
    let found = h.registry.take().await.into_iter().find_map(greeted).unwrap();
    assert_eq!(found.0, key(2).node_id());
    assert_eq!(found.1.security, ChannelSecurity::Encrypted);
    assert_eq!(found.1.key, Some(key(2).public()));
}

#[actix::test]
async fn an_id_that_does_not_follow_from_the_key_is_refused_without_a_hello() {
    for id in [key(3).node_id(), NodeId::from_u128(7)] {
        let (_h, stream) = session(NodeConfig::default(), Direction::Inbound, plan(Via::Tls, None));
        let mut peer = Peer::dial(stream, 2).await.unwrap();
        peer.hello(id, "").await;
        let line = peer.hear().await;
        assert!(line.contains(r#""bye","reason":"id-mismatch""#), "{line}");
    }
}

#[actix::test]
async fn a_version_8_id_over_plaintext_is_refused_and_a_classic_one_is_not() {
    for (id, answer) in [(key(2).node_id(), "unproven"), (NodeId::from_u128(7), "hello")] {
        let (mut h, stream) =
            session(NodeConfig::default(), Direction::Inbound, plan(Via::Tls, None));
        h.peer = stream;
        h.say(&format!(r#"{{"msgtype":"hello","nodeid":"{id}"}}"#)).await;
        let line = h.hear().await.unwrap();
        assert!(line.contains(answer), "{line}");
    }
}

#[actix::test]
async fn a_node_that_requires_encryption_says_so_in_plaintext() {
    let config = NodeConfig { security: Security::Require, ..NodeConfig::default() };
    let (mut h, stream) = session(config, Direction::Inbound, plan(Via::Tls, None));
    h.peer = stream;
    h.say(HELLO).await;
    assert!(h.hear().await.unwrap().contains("tls-required"));
}

#[actix::test]
async fn a_node_without_encryption_says_so_to_a_peer_that_begins_with_it() {
    let config = NodeConfig { security: Security::Off, ..NodeConfig::default() };
    let mut h =
        Harness::start_with(config, None, Direction::Inbound, plan(Via::Plain, None), 1 << 16);
    h.peer.write_all(&[0x16, 3, 1, 0, 5, b'\n']).await.unwrap();
    assert!(h.hear().await.unwrap().contains("plaintext-only"));
}

#[actix::test]
async fn the_dialled_id_must_be_the_one_that_answers() {
    let expect = Some(key(3).node_id());
    let (h, stream) = session(NodeConfig::default(), Direction::Outbound, plan(Via::Tls, expect));
    let mut peer = Peer::accept(stream, 2).await.unwrap();
    let line = peer.hear().await;
    assert!(line.contains(r#""reason":"wrong-node""#), "no hello before it: {line}");
    let dialled = h.dialled.expect().await;
    // Who answered is known all the same.
    assert_eq!(dialled.result.proof.unwrap().id, key(2).node_id());
    assert_eq!(dialled.result.end.unwrap().0, CloseReason::WrongNode);
}

#[actix::test]
async fn a_dialler_of_tls_never_speaks_plaintext_on_that_connection() {
    // The other side closes, answers in JSON, or is silent.
    for answer in [None, Some("{\"msgtype\":\"bye\",\"reason\":\"protocol\"}\n"), Some("")] {
        tokio::time::pause();
        let (h, mut stream) =
            session(NodeConfig::default(), Direction::Outbound, plan(Via::Tls, None));
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(first, [0x16]);
        match answer {
            None => drop(stream),
            Some(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert!(!String::from_utf8_lossy(&rest).contains("msgtype"));
            }
        }
        let dialled = h.dialled.expect().await;
        assert_eq!(dialled.result.end.unwrap().0, CloseReason::TlsFailed);
        tokio::time::resume();
    }
}

#[actix::test]
async fn only_listed_nodes_get_as_far_as_a_hello() {
    let mut config = NodeConfig::default();
    config.trust.allow = Some([key(2).node_id()].into());
    for (seed, answer) in [(2, "hello"), (3, "not-allowed")] {
        let (_h, stream) = session(config.clone(), Direction::Inbound, plan(Via::Tls, None));
        let mut peer = Peer::dial(stream, seed).await.unwrap();
        peer.hello(key(seed).node_id(), "").await;
        let line = peer.hear().await;
        assert!(line.contains(answer), "{line}");
    }
}

#[actix::test]
async fn a_private_network_answers_only_members() {
    let secret = NetworkKey::new(b"0123456789abcdef").unwrap();
    let mut config = NodeConfig::default();
    config.trust.network_key = Some(secret.clone());
    let other = NetworkKey::new(b"fedcba9876543210").unwrap();
    for (theirs, answer) in
        [(Some(&secret), "hello"), (Some(&other), "not-member"), (None, "not-member")]
    {
        let (_h, stream) = session(config.clone(), Direction::Inbound, plan(Via::Tls, None));
        let mut peer = Peer::dial(stream, 2).await.unwrap();
        let proof = theirs.map(|k| k.proof(&peer.established.binding, Direction::Outbound));
        let more = proof.map(|proof| format!(r#","member":"{proof}""#)).unwrap_or_default();
        peer.hello(key(2).node_id(), &more).await;
        let line = peer.hear().await;
        assert!(line.contains(answer), "{line}");
        if answer == "hello" {
            let Ok(crate::wire::Frame::Hello(hello)) =
                crate::wire::Frame::parse(line.trim().as_bytes())
            else {
                panic!("{line}")
            };
            let proof = hello.member.unwrap();
            assert!(secret.verify(&peer.established.binding, Direction::Inbound, &proof));
        }
    }
}

#[actix::test]
async fn a_told_close_reaches_whoever_has_not_spoken_yet() {
    let (mut h, stream) = session(NodeConfig::default(), Direction::Inbound, plan(Via::Tls, None));
    h.peer = stream;
    let elsewhere = Arc::new([("192.0.2.9:5".parse().unwrap(), key(4).node_id())]);
    let close = Control::Close { reason: CloseReason::Full, detail: "no room", elsewhere };
    h.session.do_send(close);
    let line = h.hear().await.unwrap();
    let peers = format!(r#""peers":[["192.0.2.9:5","{}"]]"#, key(4).node_id());
    assert!(line.contains(r#""reason":"full""#) && line.contains(&peers), "{line}");
}

#[actix::test]
async fn a_private_network_names_nobody_to_a_stranger() {
    let mut config = NodeConfig::default();
    config.trust.network_key = NetworkKey::new(b"0123456789abcdef").ok();
    let (mut h, stream) = session(config, Direction::Inbound, plan(Via::Tls, None));
    h.peer = stream;
    let elsewhere = Arc::new([("192.0.2.9:5".parse().unwrap(), key(4).node_id())]);
    let close = Control::Close { reason: CloseReason::Full, detail: "no room", elsewhere };
    h.session.do_send(close);
    let line = h.hear().await.unwrap();
    assert!(line.contains(r#""reason":"full""#) && !line.contains("peers"), "{line}");
}

#[actix::test]
async fn addresses_of_a_full_node_are_heard() {
    let mut h = Harness::up().await;
    h.discovery.take().await;
    h.say(r#"{"msgtype":"bye","reason":"full","peers":[["192.0.2.9:5",null]]}"#).await;
    let told = h.discovery.expect().await;
    assert!(matches!(told.question, Question::Addrs(entries) if entries[0].addr == "192.0.2.9:5"));
}

#[actix::test]
async fn a_peer_that_sends_faster_than_it_may_is_read_later_and_loses_nothing() {
    tokio::time::pause();
    let mut config = NodeConfig::default();
    (config.session.message_burst, config.session.messages_per_second) = (10, 10);
    let plan = plan(Via::Plain, None);
    let mut h = Harness::start_with(config, None, Direction::Inbound, plan, 1 << 20);
    let start = tokio::time::Instant::now();
    h.say(HELLO).await;
    h.admit();
    h.say(&["{\"msgtype\":\"ping\"}"; 49].join("\n")).await;
    let mut pongs = 0;
    while pongs < 49 {
        pongs += usize::from(h.hear().await.unwrap().contains("pong"));
    }
    let took = start.elapsed();
    assert!((3900..4200).contains(&took.as_millis()), "40 lines over the burst: {took:?}");
}
