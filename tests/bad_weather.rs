//! What connections do to a node: silence, floods of them, half-closes, resets, crossed dials,
//! peers that do not read, descriptors that run out, nodes that come and go.
//!
//! A node over loopback TCP in each test, with timeouts so short that a test can wait for them.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod support;

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use peerage::{
    CloseReason, DialError, Direction, Kind, NodeConfig, NodeHandle, PeerMessage, Received,
    Security, SendError, Sent,
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::net::TcpListener;

use support::{
    PING, Raw, Taker, addr_line, alone, at, free_port, hasty, hello, hello_with, id, memory_kib,
    noted, open_files, peer_ids, place, quiet, start, until, until_noted, within,
};

/// The longest that a node may take to answer a ping, whatever else it is busy with.
const PROMPT: Duration = Duration::from_secs(1);

const PONG: &str = "{\"msgtype\":\"pong\"}";

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    n: usize,
    pad: String,
}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

impl Note {
    fn new(n: usize, len: usize) -> Self {
        Self { n, pad: "x".repeat(len) }
    }

    fn line(n: usize, len: usize) -> Vec<u8> {
        Self::new(n, len).encode().unwrap().bytes().to_vec()
    }
}

// ---------------------------------------------------------------- silence

#[actix_rt::test]
async fn a_connection_without_a_hello_gets_bye_timeout_at_the_handshake_timeout() {
    let mut config = quiet();
    config.session.handshake_timeout = ms(300);
    let node = start(config).await;
    let begun = Instant::now();
    let mut silent = Raw::connect(&place(&node)).await;
    assert_eq!(silent.bye().await, "timeout");
    let took = begun.elapsed();
    assert!((ms(300)..PROMPT + ms(300)).contains(&took), "{took:?}");
    until_noted(&node, Kind::Refused, "timeout").await;
}

#[actix_rt::test]
async fn a_hello_that_trickles_does_not_put_the_timeout_off() {
    let mut config = quiet();
    config.session.handshake_timeout = ms(300);
    let node = start(config).await;
    let begun = Instant::now();
    let mut slow = Raw::connect(&place(&node)).await;
    // Empty lines first, then a hello that would take a second: every byte is well within the time.
    let said = "\r\n".repeat(10) + &hello(1);
    for byte in said.as_bytes().chunks(1) {
        if slow.try_send(byte).await.is_err() || !noted(&node, Kind::Refused).await.is_empty() {
            break;
        }
        tokio::time::sleep(ms(10)).await;
    }
    assert_eq!(slow.bye().await, "timeout");
    assert!(begun.elapsed() < PROMPT);
}

#[test]
fn five_hundred_silent_connections_do_not_keep_a_good_peer_from_being_served() {
    let name = "five_hundred_silent_connections_do_not_keep_a_good_peer_from_being_served";
    if alone(name, 4096) {
        actix_rt::System::new().block_on(async {
            let mut config = quiet();
            config.session.handshake_timeout = Duration::from_secs(60);
            config.limits.max_unfinished = 200;
            let node = start(config).await;
            let mut early = Raw::join(&node, 1).await;
            let mut silent = Vec::new();
            for _ in 0..500 {
                silent.push(Raw::connect(&place(&node)).await);
            }
            assert!(early.ping().await < PROMPT);
            let begun = Instant::now();
            let mut late = Raw::join(&node, 2).await;
            assert!(begun.elapsed() < PROMPT && late.ping().await < PROMPT);
            assert_eq!(peer_ids(&node).await, [id(1), id(2)]);
            // The oldest make room, the last of them for the late one, and are told so. Whoever is
            // not among them is served as soon as it speaks.
            let (oldest, others) = silent.split_at_mut(301);
            for raw in oldest {
                assert_eq!(raw.bye().await, "full");
            }
            for (n, raw) in others.iter_mut().enumerate() {
                raw.send(hello(1000 + n as u128)).await;
                raw.expect("ping").await;
            }
            assert_eq!(peer_ids(&node).await.len(), 201);
        });
    }
}

#[actix_rt::test]
async fn a_feeler_that_does_not_close_by_itself_is_closed() {
    let mut config = quiet();
    config.session.handshake_timeout = ms(200);
    let node = start(config).await;
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(hello_with(1, ",\"feeler\":true")).await;
    raw.expect("hello").await;
    assert_eq!(raw.bye().await, "timeout");
    assert_eq!(peer_ids(&node).await, []);
}

// ---------------------------------------------------------------- endings

#[actix_rt::test]
async fn whoever_closes_only_its_writing_side_is_answered_and_gets_a_bye() {
    let node = start(quiet()).await;
    // printf '...' | nc host port
    let mut netcat = Raw::connect(&place(&node)).await;
    netcat.send(hello(1) + "{\"msgtype\":\"getaddr\"}\n").await;
    netcat.close_writing().await;
    let mut heard = Vec::new();
    while let Some(message) = netcat.message().await {
        heard.push(message);
    }
    let replies = heard.iter().filter(|message| message["peers"] == serde_json::json!([]));
    assert_eq!(replies.count(), 1, "{heard:?}");
    let bye = heard.last().unwrap();
    assert_eq!((&bye["msgtype"], &bye["reason"]), (&"bye".into(), &"requested".into()), "{bye}");
    until("it is no peer any more", async || node.peers().await.is_empty()).await;
}

#[actix_rt::test]
async fn a_half_closed_connection_waits_for_the_answers_of_extensions() {
    let node = start(quiet()).await;
    let taker = Taker::<Note>::start_elsewhere(|note| {
        thread::sleep(ms(100));
        note.reply(&Note::new(note.message.n + 1, 0)).unwrap();
    });
    node.register(taker.recipient()).unwrap();
    let mut netcat = Raw::connect(&place(&node)).await;
    netcat.send([hello(1).into_bytes(), Note::line(1, 0), Note::line(2, 0)].concat()).await;
    netcat.close_writing().await;
    for n in [2, 3] {
        assert_eq!(netcat.expect("note").await["n"], n);
    }
    assert_eq!(netcat.bye().await, "requested");
}

#[actix_rt::test]
async fn a_farewell_is_not_lost_to_what_the_peer_goes_on_saying() {
    let node = start(quiet()).await;
    for n in 0..20 {
        let mut raw = Raw::join(&node, n).await;
        raw.send("nonsense\n".to_owned() + &"x".repeat(1 << 20)).await;
        assert_eq!(raw.bye().await, "protocol");
        assert!(!raw.was_reset(), "the farewell came with a reset");
    }
}

#[actix_rt::test]
async fn a_connection_that_ends_before_or_within_a_hello_is_just_over() {
    let node = start(quiet()).await;
    for said in ["", "{\"msgtype\":\"hel", "\n\n"] {
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(said).await;
        raw.close_writing().await;
        assert_eq!(raw.rest().await, [""; 0], "{said:?}");
    }
    assert_eq!(noted(&node, Kind::SessionDown).await, []);
}

#[actix_rt::test]
async fn a_reset_and_an_end_within_a_line_end_the_session() {
    let node = start(quiet()).await;
    let mut witness = Raw::join(&node, 1).await;
    let cut = Note::line(0, 20_000);
    for said in [&b""[..], b"{\"msgtype\":\"pi", &cut[..10_000]] {
        for reset in [true, false] {
            let mut raw = Raw::join(&node, 2).await;
            until("there are two", async || node.peers().await.len() == 2).await;
            raw.send(said).await;
            if reset {
                raw.reset();
            } else {
                drop(raw);
            }
            until("the witness is left", async || peer_ids(&node).await == [id(1)]).await;
        }
    }
    let downs = noted(&node, Kind::SessionDown).await;
    assert_eq!(downs.iter().filter(|down| down.reason == "gone").count(), 6);
    assert!(witness.ping().await < PROMPT);
}

#[actix_rt::test]
async fn a_bye_ends_the_session_whatever_follows_it() {
    let node = start(quiet()).await;
    let mut raw = Raw::join(&node, 1).await;
    raw.send("{\"msgtype\":\"bye\",\"reason\":\"tired\"}\n".to_owned() + &hello(1) + "nonsense\n")
        .await;
    assert_eq!(raw.rest().await, [""; 0]);
    until_noted(&node, Kind::SessionDown, "tired").await;
    assert_eq!(peer_ids(&node).await, []);
}

// ---------------------------------------------------------------- peers that do not read

#[actix_rt::test]
async fn a_peer_that_never_reads_is_closed_as_slow_and_others_feel_nothing() {
    for workers in [1, 2] {
        let mut config = NodeConfig { workers, ..quiet() };
        config.session.stall_timeout = ms(300);
        config.session.outbox_frames = 64;
        let node = start(config).await;
        let deaf = Raw::join(&node, 1).await;
        let mut reader = Raw::join(&node, 2).await;
        let (to_deaf, to_reader) = (node.peer(id(1)).unwrap(), node.peer(id(2)).unwrap());
        // As long as the system takes it, the node cannot know. 64 MiB are more than it takes.
        let note = Note::new(0, 32_000).encode().unwrap();
        let mut refused = Ok(());
        for n in 0..2000 {
            assert_eq!(to_reader.send(&Note::new(n, 100)), Ok(()), "note {n}");
            assert_eq!(reader.expect("note").await["n"], n);
            refused = to_deaf.send_encoded(&note);
            if refused.is_err() {
                break;
            }
        }
        assert_eq!(refused, Err(SendError::OutboxFull));
        assert_eq!(node.send(id(1), &Note::new(0, 1)), Err(SendError::OutboxFull));
        assert_eq!(node.send_all(&Note::new(7, 1)), Ok(Sent { accepted: 1, refused: 1 }));
        assert_eq!(reader.expect("note").await["n"], 7);
        until_noted(&node, Kind::SessionDown, "slow").await;
        assert_eq!(peer_ids(&node).await, [id(2)]);
        assert_eq!(to_deaf.send_encoded(&note), Err(SendError::NoSuchPeer));
        assert!(reader.ping().await < PROMPT);
        // The connection is gone after its grace, though nobody reads the farewell.
        within(ms(3000), "an orderly stop", node.stop()).await;
        drop(deaf);
    }
}

#[actix_rt::test]
async fn a_peer_that_asks_and_never_reads_is_not_read_either_and_closed_as_slow() {
    let mut config = quiet();
    config.session.stall_timeout = ms(300);
    // Not what this is about.
    (config.session.message_burst, config.session.messages_per_second) = (1 << 30, 1 << 30);
    let node = start(config).await;
    let mut witness = Raw::join(&node, 1).await;
    let mut deaf = Raw::join(&node, 2).await;
    let questions = "{\"msgtype\":\"getaddr\"}\n{\"msgtype\":\"ping\"}\n".repeat(1000);
    let asking = async {
        // Until the node takes no more, which it says by closing.
        while deaf.try_send(&questions).await.is_ok() {}
    };
    let watching = async {
        until_noted(&node, Kind::SessionDown, "slow").await;
        witness.ping().await
    };
    let ((), ping) = tokio::join!(asking, watching);
    assert!(ping < PROMPT, "{ping:?}");
}

#[actix_rt::test]
async fn a_peer_that_reads_late_gets_every_answer() {
    let node = start(quiet()).await;
    let mut late = Raw::connect_narrow(&place(&node)).await;
    late.send(hello(1)).await;
    late.expect("ping").await;
    // Pings until the node takes no more of them, since no pong is taken.
    let most = 50 << 20;
    let asked = late.send_until_blocked(PING.repeat(1000).as_bytes(), ms(200), most).await;
    assert!(asked < most, "the node reads on though nobody takes its answers");
    let n = asked / PING.len();
    for _ in 0..n {
        while late.line().await.unwrap() != PONG {}
    }
    println!("{n} pings were answered");
    // The last one may have been cut short.
    late.send(&PING[asked % PING.len()..]).await;
    late.expect("pong").await;
}

#[actix_rt::test]
async fn a_batch_of_pings_is_answered_however_small_the_outbox_is() {
    for outbox_frames in 1..5 {
        let mut config = quiet();
        config.session.outbox_frames = outbox_frames;
        let node = start(config).await;
        let mut raw = Raw::greet(&node, 1).await;
        raw.send(PING.repeat(10_000)).await;
        for _ in 0..10_000 {
            raw.expect("pong").await;
        }
    }
}

// ---------------------------------------------------------------- what runs out

#[test]
fn without_descriptors_accepting_backs_off_and_recovers() {
    let name = "without_descriptors_accepting_backs_off_and_recovers";
    if alone(name, 64) {
        actix_rt::System::new().block_on(async {
            let node = start(quiet()).await;
            let mut peer = Raw::join(&node, 1).await;
            let mut hogs = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                hogs.push(file);
            }
            // The one descriptor there is goes to the client; the node's end gets none.
            hogs.pop();
            let mut waiting = Raw::connect(&place(&node)).await;
            waiting.send(hello(2)).await;
            let failures = async || noted(&node, Kind::AcceptFailed).await;
            until("four attempts", async || failures().await.len() >= 4).await;
            let pauses: Vec<_> =
                failures().await.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
            for (pause, least) in pauses.iter().zip([50, 100, 200]) {
                assert!(*pause >= ms(least), "{pauses:?}");
            }
            // Who is there already is served meanwhile.
            assert!(peer.ping().await < PROMPT);
            drop(hogs);
            let begun = Instant::now();
            waiting.expect("ping").await;
            println!("pauses {pauses:?}; accepted {:?} after there was room", begun.elapsed());
            assert!(begun.elapsed() < ms(1500));
            Raw::join(&node, 3).await;
        });
    }
}

#[test]
fn a_thousand_connections_come_and_go_without_a_leak() {
    let name = "a_thousand_connections_come_and_go_without_a_leak";
    if alone(name, 1024) {
        actix_rt::System::new().block_on(async {
            let mut config = quiet();
            config.session.close_grace = ms(300);
            config.journal_entries = 100;
            let node = start(config).await;
            come_and_go(&node, 0..200).await;
            let (files, memory) = (open_files(), memory_kib("VmRSS:"));
            come_and_go(&node, 200..1200).await;
            until("all files are closed", async || open_files() <= files).await;
            let memory_now = memory_kib("VmRSS:");
            println!("files {files:?}; memory in KiB {memory:?}, then {memory_now:?}");
            if let (Some(before), Some(after)) = (memory, memory_now) {
                assert!(after < before + 1024, "{before} KiB, then {after} KiB");
            }
            let known = node.addresses().await;
            assert!(known.iter().all(|entry| entry.own), "{known:?}");
            // A link that the registry still had would be waited for.
            within(ms(200), "an orderly stop", node.stop()).await;
        });
    }
}

/// Connects and disconnects once for each number, in every way there is.
async fn come_and_go(node: &NodeHandle, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let who = n as u128;
        match n % 6 {
            0 => drop(Raw::connect(&place(node)).await),
            1 => Raw::connect(&place(node)).await.reset(),
            2 => Raw::greet(node, who).await.reset(),
            3 => {
                let mut raw = Raw::join(node, who).await;
                raw.close_writing().await;
                assert_eq!(raw.bye().await, "requested");
            }
            4 => {
                let mut raw = Raw::join(node, who).await;
                raw.send(&Note::line(n, 5000)[..4000]).await;
            }
            _ => {
                let mut raw = Raw::join(node, who).await;
                raw.send("{}\n").await;
                assert_eq!(raw.bye().await, "protocol");
            }
        }
    }
    until("nobody is left", async || node.peers().await.is_empty()).await;
}

#[actix_rt::test]
async fn beyond_the_inbound_limit_a_newcomer_gets_bye_full() {
    let mut config = quiet();
    config.limits.max_inbound = 2;
    let node = start(config).await;
    let first = Raw::join(&node, 1).await;
    let mut second = Raw::join(&node, 2).await;
    let mut third = Raw::greet(&node, 3).await;
    assert_eq!(third.bye().await, "full");
    until_noted(&node, Kind::Refused, "full").await;
    // Who has a place may come again, and who leaves makes room.
    let again = Raw::join(&node, 1).await;
    assert!(second.ping().await < PROMPT);
    drop((first, again));
    until("one is left", async || peer_ids(&node).await == [id(2)]).await;
    Raw::join(&node, 3).await;
}

#[actix_rt::test]
async fn a_full_node_is_left_alone_for_a_while() {
    let mut config = quiet();
    config.limits.max_inbound = 1;
    let full = start(config).await;
    let _only = Raw::join(&full, 1).await;
    // Every 20 ms if the refusal were an ordinary loss; once a minute as it is.
    let mut joiner = hasty();
    joiner.bootstrap = vec![place(&full).into()];
    joiner.discovery.bootstrap_retry_max = Duration::from_secs(60);
    let node = start(joiner).await;
    until_noted(&node, Kind::SessionDown, "full").await;
    tokio::time::sleep(ms(400)).await;
    let refused = noted(&full, Kind::Refused).await;
    let refused = refused.iter().filter(|d| d.reason == "full" && d.peer == Some(node.id()));
    assert_eq!(refused.count(), 1);
}

// ---------------------------------------------------------------- who is who

#[actix_rt::test]
async fn a_node_that_reaches_itself_says_bye_self_and_remembers_the_address() {
    let port = free_port();
    let (here, there) = (at(&format!("127.0.0.1:{port}")), at(&format!("localhost:{port}")));
    let mut config = hasty();
    config.listen = vec![at(&format!("0.0.0.0:{port}"))];
    config.bootstrap = vec![here.clone().into(), there.into()];
    let node = start(config).await;
    let known = async |addr| node.addresses().await.into_iter().find(|entry| entry.addr == addr);
    until("its address is its own", async || known(here.clone()).await.is_some_and(|e| e.own))
        .await;
    until_noted(&node, Kind::OwnAddress, "self").await;
    until_noted(&node, Kind::Refused, "self").await;
    // Told again, by hand and by a peer, it stays its own and is not dialled.
    let dialled = noted(&node, Kind::OwnAddress).await.len();
    let mut raw = Raw::join(&node, 1).await;
    raw.send(addr_line([here.to_string()])).await;
    raw.ping().await;
    // Bootstraps are retried every 100 ms here; those that need it.
    let again = noted(&node, Kind::Refused).await.len();
    tokio::time::sleep(ms(400)).await;
    assert_eq!(noted(&node, Kind::OwnAddress).await.len(), dialled);
    assert_eq!(noted(&node, Kind::Refused).await.len(), again);
    assert!(known(here.clone()).await.unwrap().own);
    assert!(matches!(
        node.dial(here.clone()).await,
        Err(DialError::BadAddress(_)
            | DialError::Failed { reason: CloseReason::SelfConnection, .. })
    ));
    assert!(known(here).await.unwrap().own);
    assert_eq!(peer_ids(&node).await, [id(1)]);
    let ups = noted(&node, Kind::SessionUp).await;
    assert!(ups.iter().all(|up| up.peer == Some(id(1))), "{ups:?}");
}

#[actix_rt::test]
async fn a_peer_that_claims_our_id_is_refused_whoever_dialled() {
    // A peer over TLS could not even claim it.
    let node = start(NodeConfig { security: Security::Off, ..quiet() }).await;
    let mut inbound = Raw::connect(&place(&node)).await;
    inbound.send(hello(node.id().as_u128())).await;
    inbound.expect("hello").await;
    assert_eq!(inbound.bye().await, "self");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap().into();
    let answer = async {
        let mut raw = Raw::over(listener.accept().await.unwrap().0);
        raw.expect("hello").await;
        raw.send(hello(node.id().as_u128())).await;
        raw.bye().await
    };
    let (dialled, said) = tokio::join!(node.dial(there), answer);
    assert_eq!(said, "self");
    let failed =
        matches!(&dialled, Err(DialError::Failed { reason: CloseReason::SelfConnection, .. }));
    assert!(failed, "{dialled:?}");
    assert_eq!(peer_ids(&node).await, []);
    assert_eq!(noted(&node, Kind::SessionUp).await, []);
}

#[actix_rt::test]
async fn a_node_of_another_network_is_refused_and_one_that_names_none_is_not() {
    let node = start(NodeConfig { network: "blue".into(), ..quiet() }).await;
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(hello_with(1, r#","network":"red""#)).await;
    assert_eq!(raw.expect("hello").await["network"], "blue");
    assert_eq!(raw.bye().await, "wrong-network");
    for (n, more) in [(2, ""), (3, r#","network":"blue""#), (4, r#","network":null"#)] {
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(hello_with(n, more)).await;
        raw.expect("ping").await;
    }
    let other = start(NodeConfig { network: "red".into(), ..quiet() }).await;
    let refused = other.dial(place(&node)).await.unwrap_err();
    let reason = matches!(refused, DialError::Failed { reason: CloseReason::WrongNetwork, .. });
    assert!(reason, "{refused:?}");
    assert_eq!(peer_ids(&other).await, []);
}

#[actix_rt::test]
async fn of_two_sessions_dialled_by_the_same_node_the_newest_wins() {
    let node = start(quiet()).await;
    let mut older = Raw::join(&node, 1).await;
    for _ in 0..10 {
        let mut newer = Raw::join(&node, 1).await;
        assert_eq!(older.bye().await, "duplicate");
        assert!(newer.ping().await < PROMPT);
        let remotes: Vec<_> = node.peers().await.into_iter().map(|peer| peer.remote).collect();
        assert_eq!(remotes, [newer.local_addr()]);
        older = newer;
    }
}

/// Two nodes, each of which dials the other at the same time.
async fn crossed_dials(workers: usize) {
    for round in 0..50 {
        let config = || NodeConfig { workers, ..quiet() };
        let (one, other) = (start(config()).await, start(config()).await);
        let (there, back) = tokio::join!(one.dial(place(&other)), other.dial(place(&one)));
        assert_eq!((there, back), (Ok(other.id()), Ok(one.id())), "round {round}");
        let (low, high) = if one.id() < other.id() { (one, other) } else { (other, one) };
        until("one session, the one that the lower id dialled", async || {
            let (seen_by_low, seen_by_high) = (low.peers().await, high.peers().await);
            let ([high_end], [low_end]) = (&seen_by_low[..], &seen_by_high[..]) else {
                return false;
            };
            high_end.direction == Direction::Outbound
                && low_end.direction == Direction::Inbound
                && high_end.remote == place(&high)
                && high_end.observed.as_ref() == Some(&low_end.remote)
        })
        .await;
        for node in [&low, &high] {
            let peer = node.peers().await[0].id;
            assert_eq!(node.send_all(&Note::new(round, 1)), Ok(Sent { accepted: 1, refused: 0 }));
            assert!(node.peer(peer).is_some());
        }
        tokio::join!(low.stop(), high.stop());
    }
}

#[actix_rt::test]
async fn crossed_dials_end_with_one_session_on_one_thread() {
    crossed_dials(1).await;
}

#[actix_rt::test]
async fn crossed_dials_end_with_one_session_on_two_threads() {
    crossed_dials(2).await;
}

#[actix_rt::test]
async fn a_dial_that_meets_a_feeler_of_the_same_address_is_answered_with_the_session() {
    let node = start(NodeConfig { security: Security::Off, ..quiet() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    // A peer that says it listens there: the node sends a feeler.
    let mut peer = Raw::connect(&place(&node)).await;
    peer.send(hello_with(1, &format!(",\"listen\":\"{there}\""))).await;
    peer.expect("ping").await;
    let mut feeler = Raw::over(listener.accept().await.unwrap().0);
    assert_eq!(feeler.expect("hello").await["feeler"], true);
    let answer = async {
        until("the dial waits", async || true).await;
        feeler.send(hello(1)).await;
        feeler.bye().await
    };
    let (dialled, said) = tokio::join!(node.dial(there.into()), answer);
    assert_eq!((dialled, &*said), (Ok(id(1)), "feeler"));
    assert_eq!(peer_ids(&node).await, [id(1)]);
}

#[actix_rt::test]
async fn dialling_a_connected_peer_again_leaves_its_session_alone() {
    let (one, other) = (start(quiet()).await, start(quiet()).await);
    for (from, to) in [(&one, &other), (&other, &one)] {
        assert_eq!(from.dial(place(to)).await, Ok(to.id()));
        until("both see it", async || peer_ids(to).await == [from.id()]).await;
        let link = from.peers().await[0].link;
        assert_eq!(from.dial(place(to)).await, Ok(to.id()));
        assert_eq!(from.peers().await[0].link, link);
        assert!(from.disconnect(to.id(), CloseReason::Requested).await);
        until("both lost it", async || to.peers().await.is_empty()).await;
    }
}

#[actix_rt::test]
async fn a_node_known_by_several_addresses_has_one_session() {
    let port = free_port();
    let first = start(NodeConfig { listen: vec![at(&format!("0.0.0.0:{port}"))], ..hasty() }).await;
    let mut joiner = hasty();
    // The whole of 127/8 is this machine, where systems have it so; where not, one is enough.
    joiner.bootstrap = (1..5).map(|n| at(&format!("127.0.0.{n}:{port}")).into()).collect();
    let node = start(joiner).await;
    until("all have been dialled", async || {
        let book = node.addresses().await;
        let dialled = |n| {
            let addr = at(&format!("127.0.0.{n}:{port}"));
            book.iter().any(|e| e.addr == addr && (e.proven.is_some() || e.failures > 0))
        };
        (1..5).all(dialled) && peer_ids(&node).await == [first.id()]
    })
    .await;
    let ups = noted(&node, Kind::SessionUp).await.len();
    tokio::time::sleep(ms(300)).await;
    assert_eq!(noted(&node, Kind::SessionUp).await.len(), ups, "it comes and goes");
    assert_eq!(peer_ids(&node).await, [first.id()]);
    assert_eq!(peer_ids(&first).await, [node.id()]);
}

// ---------------------------------------------------------------- coming and going of nodes

#[actix_rt::test]
async fn a_lost_bootstrap_is_found_again_whoever_comes_back() {
    let port = free_port();
    let mut config = hasty();
    config.listen = vec![at(&format!("127.0.0.1:{port}"))];
    let first = start(config.clone()).await;
    let mut joiner = hasty();
    joiner.bootstrap = vec![place(&first).into()];
    let node = start(joiner).await;
    until("they meet", async || peer_ids(&node).await == [first.id()]).await;
    first.stop().await;
    until("it is lost", async || node.peers().await.is_empty()).await;
    let failed = async || noted(&node, Kind::DialFailed).await.len();
    until("more dials have failed than the ladder has steps", async || failed().await > 5).await;
    let second = start(config).await;
    assert_ne!(first.id(), second.id());
    until("it is found again", async || peer_ids(&node).await == [second.id()]).await;
}

#[actix_rt::test]
async fn it_makes_no_difference_which_node_starts_first() {
    let port = free_port();
    let mut joiner = hasty();
    joiner.bootstrap =
        vec![at(&format!("127.0.0.1:{port}")).into(), at(&format!("localhost:{port}")).into()];
    let early = start(joiner.clone()).await;
    let failed = async || noted(&early, Kind::DialFailed).await.len();
    until("more dials have failed than the ladder has steps", async || failed().await > 5).await;
    let mut config = hasty();
    config.listen = vec![at(&format!("127.0.0.1:{port}"))];
    let first = start(config).await;
    let late = start(joiner).await;
    for node in [&early, &first, &late] {
        until("everybody sees the other two", async || node.peers().await.len() == 2).await;
    }
}

#[actix_rt::test]
async fn ipv4_and_ipv6_are_served_at_once() {
    if let Err(error) = std::net::TcpListener::bind("[::1]:0") {
        println!("the IPv6 part is skipped: this machine has no ::1 ({error})");
        return;
    }
    let port = free_port();
    let both = [at(&format!("127.0.0.1:{port}")), at(&format!("[::1]:{port}"))];
    let node = start(NodeConfig { listen: both.to_vec(), ..hasty() }).await;
    assert_eq!(node.listen_addrs(), both);
    for (n, addr) in both.iter().enumerate() {
        let mut raw = Raw::connect(addr).await;
        raw.send(hello(1 + n as u128)).await;
        raw.expect("ping").await;
        assert!(raw.ping().await < PROMPT);
    }
    for addr in both {
        let mut joiner = hasty();
        joiner.listen = vec![addr.with_port(0)];
        joiner.bootstrap = vec![addr.into()];
        let joiner = start(joiner).await;
        until("they meet", async || peer_ids(&joiner).await.contains(&node.id())).await;
        joiner.stop().await;
    }
    // Both wildcards share a port, too.
    let port = free_port();
    let both = [at(&format!("0.0.0.0:{port}")), at(&format!("[::]:{port}"))];
    let node = start(NodeConfig { listen: both.to_vec(), ..quiet() }).await;
    for ip in ["127.0.0.1", "[::1]"] {
        let mut raw = Raw::connect(&at(&format!("{ip}:{port}"))).await;
        raw.send(hello(1)).await;
        assert_eq!(raw.expect("hello").await["nodeid"], node.id().to_string());
    }
}

#[actix_rt::test]
async fn stopping_ends_a_dial_that_is_under_way() {
    let node = start(NodeConfig { security: Security::Off, ..quiet() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let stopping = async {
        let mut dialled = Raw::over(listener.accept().await.unwrap().0);
        dialled.expect("hello").await;
        let ((), said) = tokio::join!(node.stop(), dialled.bye());
        said
    };
    let both = async { tokio::join!(node.dial(silent.into()), stopping) };
    let (answer, said) = within(ms(2000), "an orderly stop", both).await;
    let is_stopped = match &answer {
        Err(DialError::Failed { reason, .. }) => *reason == CloseReason::Shutdown,
        other => *other == Err(DialError::Stopping),
    };
    assert!(is_stopped, "{answer:?}");
    assert_eq!(said, "shutdown");
    assert_eq!(node.dial(silent.into()).await, Err(DialError::Stopping));
}

// ---------------------------------------------------------------- sending

#[actix_rt::test]
async fn sending_says_what_became_of_the_message() {
    let node = start(quiet()).await;
    let note = Note::new(1, 10);
    assert_eq!(node.send(id(1), &note), Err(SendError::NoSuchPeer));
    assert_eq!(node.send_all(&note), Ok(Sent { accepted: 0, refused: 0 }));
    let mut peers =
        [Raw::join(&node, 1).await, Raw::join(&node, 2).await, Raw::join(&node, 3).await];
    assert_eq!(node.send(id(1), &note), Ok(()));
    assert_eq!(peers[0].expect("note").await["n"], 1);
    assert_eq!(node.send_all(&Note::new(2, 10)), Ok(Sent { accepted: 3, refused: 0 }));
    let encoded = Note::new(3, 10).encode().unwrap();
    assert_eq!(node.send_encoded(&encoded, Some(id(2))), Sent { accepted: 2, refused: 0 });
    for (peer, all) in peers.iter_mut().zip([vec![2, 3], vec![2], vec![2, 3]]) {
        for n in all {
            assert_eq!(peer.expect("note").await["n"], n);
        }
    }
    assert_eq!(node.send(id(1), &Note::new(4, 70_000)), Err(SendError::NotEncodable));
    let handle = node.peer(id(1)).unwrap();
    assert!(node.disconnect(id(1), CloseReason::Requested).await);
    assert!(!node.disconnect(id(1), CloseReason::Requested).await);
    assert_eq!(peers[0].bye().await, "requested");
    assert_eq!(
        (handle.send(&note), node.peer(id(1)).is_none()),
        (Err(SendError::NoSuchPeer), true)
    );
    assert_eq!(node.send(id(1), &note), Err(SendError::NoSuchPeer));
    node.stop().await;
    assert_eq!(peers[1].bye().await, "shutdown");
    assert_eq!(node.send_all(&note), Ok(Sent { accepted: 0, refused: 0 }));
}

// ---------------------------------------------------------------- extensions

#[actix_rt::test]
async fn an_extension_that_panics_harms_nobody() {
    for workers in [1, 2] {
        let node = start(NodeConfig { workers, ..quiet() }).await;
        let taker = Taker::<Note>::start(|note| {
            assert_ne!(note.message.n, 13, "an unlucky handler: part of the test");
        });
        node.register(taker.clone().recipient()).unwrap();
        let mut peers = [Raw::join(&node, 1).await, Raw::join(&node, 2).await];
        for n in [1, 13] {
            peers[0].send(Note::line(n, 10)).await;
        }
        until("the actor has died", async || !taker.connected()).await;
        for peer in &mut peers {
            // More than a session's credits: what is undeliverable must not use them up.
            peer.send(Note::line(2, 10).repeat(500)).await;
            assert!(peer.ping().await < PROMPT);
        }
        until_noted(&node, Kind::Extension, "gone").await;
        assert_eq!(noted(&node, Kind::Extension).await[0].detail, "note");
        assert_eq!(peer_ids(&node).await, [id(1), id(2)]);
        // The msgtype is free for another actor.
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let next = Taker::<Note>::start(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        node.register(next.recipient()).unwrap();
        peers[0].send(Note::line(13, 10)).await;
        until("it takes over", async || count.load(Ordering::SeqCst) == 1).await;
    }
}

/// Counts itself when it is understood, which is when a session hands it over.
#[derive(Serialize, Deserialize)]
struct Weight {
    #[serde(deserialize_with = "handed_over")]
    n: usize,
    pad: String,
}

impl PeerMessage for Weight {
    const MSGTYPE: &'static str = "weight";
}

static HANDED_OVER: AtomicUsize = AtomicUsize::new(0);

fn handed_over<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    HANDED_OVER.fetch_add(1, Ordering::SeqCst);
    usize::deserialize(deserializer)
}

#[actix_rt::test]
async fn a_slow_extension_slows_its_senders_only_and_loses_nothing() {
    const N: usize = 400;
    const LEN: usize = 60_000;
    let mut config = quiet();
    config.session.undelivered_bytes = 5 * LEN;
    let node = start(config).await;
    let (count, in_order) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_waiting = Arc::new(AtomicUsize::new(0));
    let (counted, ordered, waiting) = (count.clone(), in_order.clone(), most_waiting.clone());
    // On a thread of its own, and so slow that it blocks that thread.
    let taker = Taker::<Weight>::start_elsewhere(move |weight: Received<Weight>| {
        thread::sleep(ms(2));
        let before = counted.load(Ordering::SeqCst);
        waiting.fetch_max(HANDED_OVER.load(Ordering::SeqCst) - before, Ordering::SeqCst);
        ordered.fetch_add(usize::from(before == weight.message.n), Ordering::SeqCst);
        drop(weight);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    node.register(taker.recipient()).unwrap();
    let mut sender = Raw::join(&node, 1).await;
    let mut witness = Raw::join(&node, 2).await;
    // 24 MiB are more than the system keeps for a connection that is not read.
    let sending = async {
        for n in 0..N {
            let weight = Weight { n, pad: "x".repeat(LEN) }.encode().unwrap();
            sender.send(weight.bytes()).await;
        }
        count.load(Ordering::SeqCst)
    };
    let watching = async {
        let mut slowest = Duration::ZERO;
        while count.load(Ordering::SeqCst) < N {
            slowest = slowest.max(witness.ping().await);
            tokio::time::sleep(ms(5)).await;
        }
        slowest
    };
    let (handled_when_sent, slowest) =
        within(Duration::from_secs(20), "all arrive", async { tokio::join!(sending, watching) })
            .await;
    let most_waiting = most_waiting.load(Ordering::SeqCst);
    println!(
        "{handled_when_sent} of {N} handled when the last was sent, at most {most_waiting} \
         waiting, ping at most {slowest:?}",
    );
    assert!(most_waiting <= 5, "{most_waiting} messages waited in the node");
    assert!(handled_when_sent > N / 4, "the sender was not slowed: {handled_when_sent}");
    assert!(slowest < ms(500), "the witness felt it: {slowest:?}");
    assert_eq!(in_order.load(Ordering::SeqCst), N);
    assert!(sender.ping().await < PROMPT);
    assert_eq!(peer_ids(&node).await, [id(1), id(2)]);
}
