//! Who may be a peer, and who may not any more: whole nodes on loopback that restart, ban,
//! discourage, are full, and are kept busy by strangers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use peerage::{
    Bootstrap, HostPort, Kind, Node, NodeConfig, NodeHandle, NodeId, NodeKey, Security, Target,
    secure::{SecureStream, Tls},
};
use support::{
    PING, Raw, Sealed, alone, at, free_port, hasty, hello, hello_of, new_key, noted, peer_ids,
    place, start, until, until_noted, within,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Long enough for several dials of a [`hasty`] node, had it any to make.
const QUIET: Duration = Duration::from_millis(400);

/// A node with this key that keeps what it knows in this file.
async fn kept(config: NodeConfig, key: &NodeKey, store: PathBuf) -> NodeHandle {
    let builder = Node::builder().config(config).key(key.clone());
    builder.store(store).start().await.unwrap()
}

/// A node that knows another as its bootstrap.
fn joining(node: &NodeHandle) -> NodeConfig {
    NodeConfig { bootstrap: vec![place(node).into()], ..hasty() }
}

fn listening(on: &HostPort) -> NodeConfig {
    NodeConfig { listen: vec![on.clone()], ..hasty() }
}

async fn until_peers(node: &NodeHandle, others: &[NodeId]) {
    let mut others = others.to_vec();
    others.sort_unstable();
    until("these peers", async || peer_ids(node).await == others).await;
}

// ---------------------------------------------------------------- restarts

#[actix_rt::test]
async fn a_node_that_restarts_finds_its_network_without_a_bootstrap() {
    let dir = TempDir::new().unwrap();
    let keys = [new_key(), new_key(), new_key()];
    let store = |n: usize| dir.path().join(format!("{n}.sqlite3"));
    let b = kept(hasty(), &keys[1], store(1)).await;
    let c = kept(joining(&b), &keys[2], store(2)).await;
    // It listens nowhere: nobody can find it first.
    let shy = NodeConfig { listen: vec![], ..joining(&b) };
    let a = kept(shy.clone(), &keys[0], store(0)).await;
    let ids = [a.id(), b.id(), c.id()];
    until_peers(&a, &ids[1..]).await;
    a.stop().await;
    until_peers(&b, &ids[2..]).await;

    let a = kept(NodeConfig { bootstrap: vec![], ..shy }, &keys[0], store(0)).await;
    assert_eq!(a.id(), ids[0]);
    until_peers(&a, &ids[1..]).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[actix_rt::test]
async fn a_node_that_comes_back_with_another_key_is_met_as_another() {
    let port = at(&format!("127.0.0.1:{}", free_port()));
    let b = start(listening(&port)).await;
    let mut config = NodeConfig { listen: vec![], ..joining(&b) };
    // Known from an earlier run, and not from a bootstrap.
    config.bootstrap.clear();
    let proven = vec![(port.clone(), b.id())];
    let a = Node::builder().config(config).proven(proven).start().await.unwrap();
    until_peers(&a, &[b.id()]).await;
    let old = b.id();
    b.stop().await;
    until_peers(&a, &[]).await;

    let b = start(listening(&port)).await;
    assert_ne!(b.id(), old);
    until_peers(&a, &[b.id()]).await;
    until_noted(&a, Kind::DialFailed, "wrong-node").await;
    let known = a.addresses().await;
    assert_eq!((known.len(), known[0].id), (1, Some(b.id())), "{known:?}");
}

#[actix_rt::test]
async fn a_pinned_bootstrap_that_comes_back_with_another_key_is_not_met() {
    let port = at(&format!("127.0.0.1:{}", free_port()));
    let b = start(listening(&port)).await;
    let contact = Bootstrap { addr: port.clone(), id: Some(b.id()) };
    let a = start(NodeConfig { listen: vec![], bootstrap: vec![contact], ..hasty() }).await;
    until_peers(&a, &[b.id()]).await;
    b.stop().await;
    until_peers(&a, &[]).await;
    let b = start(listening(&port)).await;
    let wrong = async || {
        let failed = noted(&a, Kind::DialFailed).await;
        failed.iter().filter(|note| note.reason == "wrong-node").count() >= 3
    };
    until("it was dialled some times", wrong).await;
    assert!(peer_ids(&a).await.is_empty() && peer_ids(&b).await.is_empty());
}

// ---------------------------------------------------------------- bans

#[actix_rt::test]
async fn a_banned_node_is_closed_refused_and_not_dialled_until_it_is_unbanned() {
    let b = start(hasty()).await;
    let a = start(joining(&b)).await;
    until_peers(&a, &[b.id()]).await;
    let target = Target::Node(b.id());
    let ban = a.ban(target, HOUR, "for a test".to_owned()).await.unwrap();
    assert_eq!((ban.target, a.bans().await), (target, vec![ban]));
    // The bootstrap is banned all the same.
    until_noted(&b, Kind::SessionDown, "banned").await;
    until_noted(&a, Kind::Banned, "operator").await;
    until_peers(&a, &[]).await;
    // A dial may have been on its way.
    tokio::time::sleep(QUIET).await;
    let n_dialled = noted(&a, Kind::Dialled).await.len();
    // The hello that answers is no promise.
    let _hello = b.dial(place(&a)).await;
    until_noted(&a, Kind::Refused, "banned").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(noted(&a, Kind::Dialled).await.len(), n_dialled, "it is not dialled");
    assert!(peer_ids(&a).await.is_empty());

    assert!(a.unban(target).await && !a.unban(target).await);
    until_peers(&a, &[b.id()]).await;
}

#[actix_rt::test]
async fn a_node_that_was_banned_for_a_while_is_met_again_without_a_bootstrap() {
    let b = start(hasty()).await;
    let mut config = NodeConfig { listen: vec![], ..hasty() };
    config.discovery.redial = vec![MS * 20; 40];
    let proven = vec![(place(&b), b.id())];
    let a = Node::builder().config(config).proven(proven).start().await.unwrap();
    until_peers(&a, &[b.id()]).await;
    a.ban(Target::Node(b.id()), MS * 300, String::new()).await.unwrap();
    until_peers(&a, &[]).await;
    until_noted(&a, Kind::BanExpired, "expired").await;
    until_peers(&a, &[b.id()]).await;
}

#[actix_rt::test]
async fn a_discouraged_node_is_not_dialled_and_a_refusal_of_it_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = new_key();
    let config = NodeConfig { listen: vec![at("127.0.0.1:0")], ..hasty() };
    let proven = vec![(HostPort::from(listener.local_addr().unwrap()), key.node_id())];
    let node = Node::builder().config(config).proven(proven).start().await.unwrap();
    let (stream, _) = within(support::BOUND, "a dial", listener.accept()).await.unwrap();
    let tls = SecureStream::accept(stream, Some(Tls::new(&key).unwrap()));
    let mut peer = Sealed::handshake(tls).await.unwrap();
    peer.send(hello_of(key.node_id(), "")).await;
    peer.expect("ping").await;
    peer.send("no message\n").await;
    assert_eq!(peer.bye().await, "protocol");
    until_noted(&node, Kind::Discouraged, "protocol").await;
    assert!(tokio::time::timeout(QUIET, listener.accept()).await.is_err(), "it was dialled");
    let mut liar = Sealed::dial(&node, &key).await;
    liar.send(hello(1)).await;
    assert_eq!(liar.bye().await, "id-mismatch");
    let refused = async || {
        let refused = noted(&node, Kind::Refused).await;
        refused.iter().any(|note| note.reason == "id-mismatch" && note.peer == Some(key.node_id()))
    };
    until("who it was", refused).await;
}

#[actix_rt::test]
async fn a_ban_survives_a_restart_and_ends_by_itself() {
    let dir = TempDir::new().unwrap();
    let (own, other) = (new_key(), new_key());
    let store = dir.path().join("store");
    let a = kept(hasty(), &own, store.clone()).await;
    let target = Target::Node(other.node_id());
    let gone = Target::Node(new_key().node_id());
    for target in [target, gone] {
        a.ban(target, HOUR, "a note".to_owned()).await.unwrap();
    }
    assert!(a.unban(gone).await);
    a.stop().await;

    let a = kept(hasty(), &own, store).await;
    let bans = a.bans().await;
    assert_eq!((bans.len(), bans[0].target, bans[0].note.as_str()), (1, target, "a note"));
    let mut banned = Sealed::dial(&a, &other).await;
    banned.send(hello_of(other.node_id(), "")).await;
    assert_eq!(banned.bye().await, "banned");
    // Banned for a shorter time from now on.
    a.ban(target, MS * 200, String::new()).await.unwrap();
    until_noted(&a, Kind::BanExpired, "expired").await;
    assert!(a.bans().await.is_empty());
    Sealed::enter(&a, &other).await;
    a.stop().await;
}

#[actix_rt::test]
async fn a_banned_address_is_told_so_at_once_and_others_are_not_touched() {
    let node = start(hasty()).await;
    let mut there = Raw::join_from(&node, 1, "127.0.0.2:0").await;
    let mut elsewhere = Raw::join_from(&node, 2, "127.0.1.1:0").await;
    let subnet: Target = "127.0.0.2/31".parse().unwrap();
    node.ban(subnet, HOUR, String::new()).await.unwrap();
    assert_eq!(there.bye().await, "banned");
    for from in ["127.0.0.2:0", "127.0.0.3:0"] {
        // Without a word of its own.
        let mut raw = Raw::connect_from(&node, from).await;
        assert_eq!(raw.bye().await, "banned");
    }
    elsewhere.ping().await;
    Raw::join_from(&node, 3, "127.0.0.4:0").await;
    assert!(node.unban(subnet).await);
    Raw::join_from(&node, 4, "127.0.0.2:0").await;
}

#[actix_rt::test]
async fn a_banned_address_that_begins_with_tls_is_closed_at_once_too() {
    let node = start(hasty()).await;
    node.ban("127.0.0.2".parse().unwrap(), HOUR, String::new()).await.unwrap();
    for _ in 0..20 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(place(&node).socket_addr().unwrap()).await.unwrap();
        let begun = Instant::now();
        let tls = SecureStream::connect(stream, &Tls::new(&new_key()).unwrap());
        // It is told so if the handshake is through, and within one nothing can be said.
        if let Ok(mut sealed) = Sealed::handshake(tls).await
            && let Some(heard) = sealed.message().await
        {
            assert_eq!(heard["reason"], "banned");
        }
        assert!(begun.elapsed() < MS * 900, "{:?}", begun.elapsed());
    }
    until_noted(&node, Kind::Refused, "banned").await;
}

// ---------------------------------------------------------------- discouragement

#[actix_rt::test]
async fn a_proven_id_that_broke_the_protocol_is_refused_and_others_there_are_not() {
    let node = start(hasty()).await;
    let (bad, good) = (new_key(), new_key());
    let mut peer = Sealed::enter(&node, &bad).await;
    peer.send("no message\n").await;
    assert_eq!(peer.bye().await, "protocol");
    until_noted(&node, Kind::Discouraged, "protocol").await;
    let discouraged = node.discouraged().await;
    assert_eq!(discouraged[0].0, Target::Node(bad.node_id()));
    let mut again = Sealed::dial(&node, &bad).await;
    again.send(hello_of(bad.node_id(), "")).await;
    assert_eq!(again.bye().await, "discouraged");
    Sealed::enter(&node, &good).await.ping().await;
    Raw::join(&node, 1).await.ping().await;
    // The operator may think better of it.
    assert!(node.unban(Target::Node(bad.node_id())).await);
    Sealed::enter(&node, &bad).await.ping().await;
}

#[actix_rt::test]
async fn nobody_is_discouraged_for_what_another_did_in_its_name() {
    let node = start(hasty()).await;
    let victim = new_key();
    // With another's key.
    let mut liar = Sealed::dial(&node, &new_key()).await;
    liar.send(hello_of(victim.node_id(), "")).await;
    assert_eq!(liar.bye().await, "id-mismatch");
    // Unproven, at loopback, where all of a network may be; and with the id of a classic peer.
    for garbage in ["[]\n", "{\"msgtype\":\"hello\",\"nodeid\":1}\n"] {
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(garbage).await;
        assert_eq!(raw.bye().await, "protocol");
    }
    let mut raw = Raw::join(&node, 1).await;
    raw.send("[]\n").await;
    assert_eq!(raw.bye().await, "protocol");
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(hello_of(victim.node_id(), "")).await;
    assert_eq!(raw.bye().await, "unproven");

    assert_eq!(node.discouraged().await, []);
    Sealed::enter(&node, &victim).await.ping().await;
    Raw::join(&node, 1).await.ping().await;
}

#[actix_rt::test]
async fn a_bootstrap_that_breaks_the_protocol_is_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = new_key();
    let contact: HostPort = listener.local_addr().unwrap().into();
    let mut config = NodeConfig { listen: vec![], bootstrap: vec![contact.into()], ..hasty() };
    config.discovery.target_peers = 4;
    let node = start(config).await;
    for round in 0..3 {
        let (stream, _) = within(support::BOUND, "a dial", listener.accept()).await.unwrap();
        let tls = SecureStream::accept(stream, Some(Tls::new(&key).unwrap()));
        let mut peer = Sealed::handshake(tls).await.unwrap();
        assert_eq!(peer.expect("hello").await["nodeid"], node.id().to_string(), "{round}");
        peer.send(hello_of(key.node_id(), "")).await;
        peer.expect("ping").await;
        peer.send("no message\n").await;
        assert_eq!(peer.bye().await, "protocol", "{round}");
    }
    assert_eq!(node.discouraged().await, []);
}

// ---------------------------------------------------------------- full nodes

#[actix_rt::test]
async fn a_full_node_says_whom_else_to_ask() {
    let g = start(hasty()).await;
    let mut config = joining(&g);
    config.limits.max_inbound = 4;
    let full = start(config).await;
    until_peers(&full, &[g.id()]).await;
    let mut inside = Vec::new();
    for n in 1..=4 {
        inside.push(Raw::join(&full, n).await);
    }
    let key = new_key();
    let mut plain = Raw::greet(&full, 5).await;
    let mut sealed = Sealed::dial(&full, &key).await;
    sealed.send(hello_of(key.node_id(), "")).await;
    sealed.expect("hello").await;
    let other = serde_json::json!([[place(&g).to_string(), g.id().to_string()]]);
    for bye in [plain.expect("bye").await, sealed.expect("bye").await] {
        assert_eq!((&bye["reason"], &bye["peers"]), (&"full".into(), &other), "{bye}");
    }
    for peer in &mut inside {
        peer.ping().await;
    }
}

#[actix_rt::test]
async fn whoever_is_turned_away_by_a_full_node_goes_where_it_says() {
    let g = start(hasty()).await;
    let mut config = joining(&g);
    config.limits.max_inbound = 1;
    let full = start(config).await;
    until_peers(&full, &[g.id()]).await;
    let mut only = Raw::join(&full, 1).await;
    let newcomer = start(NodeConfig { listen: vec![], ..joining(&full) }).await;
    until_peers(&newcomer, &[g.id()]).await;
    until("the reason", async || {
        let down = [Kind::SessionDown, Kind::DialFailed].map(|kind| noted(&newcomer, kind));
        let [down, failed] = down;
        down.await.iter().chain(&failed.await).any(|note| note.reason == "full")
    })
    .await;
    only.ping().await;
}

// ---------------------------------------------------------------- unfinished handshakes

/// The beginning of a TLS handshake.
fn half_a_client_hello() -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    bytes.extend([7; 60]);
    bytes
}

#[actix_rt::test]
async fn connections_that_never_get_anywhere_keep_nobody_out() {
    let mut config = hasty();
    config.limits.max_unfinished = 8;
    let node = start(config).await;
    let feeler = support::hello_with(2, ",\"feeler\":true").into_bytes();
    for begin in [Vec::new(), half_a_client_hello(), b"{\"msgtype\":".to_vec(), feeler] {
        let mut idle = Vec::new();
        for _ in 0..50 {
            let mut raw = Raw::connect(&place(&node)).await;
            // The node may have closed it by now.
            let _written = raw.try_send(&begin).await;
            idle.push(raw);
        }
        Raw::join(&node, 1).await.ping().await;
        let key = new_key();
        Sealed::enter(&node, &key).await.ping().await;
        let closed_at = Instant::now();
        for mut raw in idle {
            let rest = raw.rest().await;
            let is_end = rest.is_empty() || rest == ["bye"] || rest == ["hello", "bye"];
            assert!(is_end, "{rest:?}");
        }
        assert!(closed_at.elapsed() < MS * 3000, "{:?}", closed_at.elapsed());
    }
    until_noted(&node, Kind::Refused, "full").await;
    until_peers(&node, &[]).await;
}

#[test]
fn connections_that_were_refused_and_stay_are_not_kept() {
    let name = "connections_that_were_refused_and_stay_are_not_kept";
    if !alone(name, 1024) {
        return;
    }
    actix_rt::System::new().block_on(async {
        let mut config = hasty();
        config.session.close_grace = HOUR;
        config.limits.max_unfinished = 8;
        let node = start(config).await;
        node.ban("127.0.0.2".parse().unwrap(), HOUR, String::new()).await.unwrap();
        let Some(before) = support::open_files() else { return };
        for from in ["127.0.0.1:0", "127.0.0.2:0"] {
            let mut stay = Vec::new();
            for _ in 0..100 {
                stay.push(Raw::connect_from(&node, from).await);
            }
            // Eight that have said nothing, and eight that have been told why not.
            until("the others are gone", async || {
                support::open_files().is_some_and(|n| n <= before + stay.len() + 16)
            })
            .await;
            Raw::join(&node, 1).await.ping().await;
        }
    });
}

// ---------------------------------------------------------------- rates

#[actix_rt::test]
async fn who_sends_too_fast_is_answered_later_and_others_are_not() {
    const N_PINGS: usize = 12_000;
    let mut config = hasty();
    (config.session.message_burst, config.session.messages_per_second) = (1000, 10_000);
    let node = start(config).await;
    let mut other = Raw::join(&node, 1).await;
    let stream = TcpStream::connect(place(&node).socket_addr().unwrap()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let begun = Instant::now();
    let sending = actix_rt::spawn(async move {
        writer.write_all(hello(2).as_bytes()).await.unwrap();
        writer.write_all(PING.repeat(N_PINGS).as_bytes()).await.unwrap();
        writer
    });
    let counting = actix_rt::spawn(async move {
        let (mut n_pongs, mut carry, mut buffer) = (0, Vec::new(), vec![0; 1 << 16]);
        while n_pongs < N_PINGS {
            let n = reader.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the node closed after {n_pongs} pongs");
            carry.extend_from_slice(&buffer[..n]);
            let Some(end) = carry.iter().rposition(|byte| *byte == b'\n') else { continue };
            let lines = String::from_utf8(carry.drain(..=end).collect()).unwrap();
            n_pongs += lines.lines().filter(|line| line.contains("\"pong\"")).count();
        }
        (n_pongs, reader)
    });
    let mut slowest = Duration::ZERO;
    while !counting.is_finished() {
        slowest = slowest.max(other.ping().await);
        assert!(begun.elapsed() < support::BOUND);
        tokio::time::sleep(MS * 10).await;
    }
    let (n_pongs, _reader) = counting.await.unwrap();
    let _writer = sending.await.unwrap();
    assert_eq!(n_pongs, N_PINGS);
    assert!(begun.elapsed() >= MS * 1000, "no faster than allowed: {:?}", begun.elapsed());
    assert!(slowest < MS * 500, "another peer waited {slowest:?} for its pong");
    until_noted(&node, Kind::Throttled, "rate").await;
}

// ---------------------------------------------------------------- nodes with encryption off

#[actix_rt::test]
async fn a_node_without_encryption_and_a_default_one_meet_whoever_dials() {
    let off = NodeConfig { security: Security::Off, ..hasty() };
    // It dials a default node.
    let default = start(hasty()).await;
    let dialler = start(NodeConfig { listen: vec![], ..off.clone() }).await;
    assert_eq!(dialler.dial(place(&default)).await, Ok(default.id()));
    until_peers(&default, &[dialler.id()]).await;
    // A default node dials it.
    let classic = start(off).await;
    let default = start(NodeConfig { listen: vec![], ..joining(&classic) }).await;
    until_peers(&default, &[classic.id()]).await;
    until_peers(&classic, &[default.id()]).await;
}

#[actix_rt::test]
async fn a_node_that_requires_encryption_says_so_and_does_not_fall_back() {
    let strict = NodeConfig { security: Security::Require, ..hasty() };
    let node = start(strict.clone()).await;
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(hello(1)).await;
    assert_eq!(raw.bye().await, "tls-required");
    Sealed::enter(&node, &new_key()).await.ping().await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain: SocketAddr = listener.local_addr().unwrap();
    let config =
        NodeConfig { listen: vec![], bootstrap: vec![HostPort::from(plain).into()], ..strict };
    let dialler = start(config).await;
    for _ in 0..3 {
        let (mut stream, _) = within(support::BOUND, "a dial", listener.accept()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 0x16);
    }
    assert!(peer_ids(&dialler).await.is_empty());
}
