//! What bytes do to a node: split, glued together, malformed, endless, too many.
//!
//! A node over loopback TCP in each test, and raw clients that say what no honest peer would. The
//! measure is the same throughout: the sender is answered or closed with the reason the protocol
//! names, and a witness on the same node notices nothing.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod support;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use peerage::{
    Kind, NodeConfig, NodeHandle, PeerMessage, RegisterError,
    wire::{MAX_HELLO_LINE, MAX_LINE},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::time::sleep;

use support::{
    PING, Raw, Taker, addr_line, alone, at, free_port, hasty, hello, hello_with, id, memory_kib,
    noted, peer_ids, place, quiet, start, until, until_noted, within,
};

/// The longest that a node may take to answer a ping, whatever else it is busy with.
const PROMPT: Duration = Duration::from_secs(1);

/// Says a line that closes a session with `protocol`; gives the detail.
async fn closes_with_protocol(node: &NodeHandle, n: u128, line: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::join(node, n).await;
    raw.send(line).await;
    let (reason, detail) = raw.bye_in_full().await;
    assert_eq!(reason, "protocol", "{detail}");
    detail
}

// ---------------------------------------------------------------- cut and glued

/// Everything a small client might say, with a character of two bytes and all line ends.
fn conversation(n: u128) -> Vec<u8> {
    let hello = hello(n);
    let said = [
        &hello.replace('\n', "\r\n"),
        "\n\r\n",
        PING,
        "{\"msgtype\":\"zebra\",\"name\":\"h\u{e9}h\\u00e9\"}\n",
        "{\"msgtype\":\"getaddr\",\"max\":3}\r\n",
        "{ \"msgtype\" : \"ping\" }\n",
    ];
    said.concat().into_bytes()
}

/// What a node answers to it, sorted, since the answer to `getaddr` takes a detour.
const ANSWER: [&str; 8] = ["addr", "addr", "bye", "getaddr", "hello", "ping", "pong", "pong"];

/// Sends the pieces one by one. On the one thread that carries client and node, a pause that
/// leaves the thread idle has the node read what is there before the next piece is written.
async fn say_in_pieces(node: &NodeHandle, pieces: impl IntoIterator<Item = &[u8]>) -> Vec<String> {
    let mut raw = Raw::connect(&place(node)).await;
    for piece in pieces {
        raw.send(piece).await;
        sleep(Duration::from_millis(1)).await;
    }
    raw.close_writing().await;
    let mut heard = raw.rest().await;
    heard.sort();
    heard
}

#[actix_rt::test]
async fn a_conversation_said_byte_by_byte_is_understood() {
    let node = start(quiet()).await;
    let said = conversation(1);
    assert_eq!(say_in_pieces(&node, said.chunks(1)).await, ANSWER);
}

#[actix_rt::test]
async fn it_makes_no_difference_where_the_bytes_are_split() {
    let node = start(quiet()).await;
    let n_bytes = conversation(0).len();
    for cut in 0..=n_bytes {
        let said = conversation(cut as u128);
        let (head, tail) = said.split_at(cut);
        assert_eq!(say_in_pieces(&node, [head, tail]).await, ANSWER, "split at {cut}");
    }
}

#[actix_rt::test]
async fn many_messages_in_one_segment_are_all_answered() {
    let node = start(quiet()).await;
    let mut raw = Raw::connect(&place(&node)).await;
    // Three read batches, and five times what the outbox holds.
    let n = 5 * 1024;
    raw.send(hello(1) + &PING.repeat(n)).await;
    raw.close_writing().await;
    let heard = raw.rest().await;
    assert_eq!(heard.iter().filter(|msgtype| *msgtype == "pong").count(), n);
    assert_eq!(heard.last().unwrap(), "bye");
}

#[actix_rt::test]
async fn crlf_and_empty_lines_are_line_ends() {
    let node = start(quiet()).await;
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send("\r\n\n\n".to_owned() + &hello(1).replace('\n', "\r\n")).await;
    raw.expect("ping").await;
    raw.send("\r\n\n".repeat(1000) + &PING.replace('\n', "\r\n")).await;
    raw.expect("pong").await;
}

// ---------------------------------------------------------------- malformed

#[actix_rt::test]
async fn what_is_no_message_closes_with_protocol_and_harms_nobody() {
    let node = start(quiet()).await;
    let mut witness = Raw::join(&node, 1).await;
    let bad: [&[u8]; 25] = [
        b"nonsense",
        b" ",
        b"\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r",
        b"{\"msgtype\":\"ping\"\0}",
        b"{\"msgtype\":\"pi\0ng\"}",
        b"{\"msgtype\":\"p\xff\"}",
        b"\xef\xbb\xbf{\"msgtype\":\"ping\"}",
        b"{\"msgtype\":\"x\",\"t\":\"\xc3\x28\"}",
        b"[]",
        b"[\"ping\"]",
        b"\"ping\"",
        b"5",
        b"null",
        b"{}",
        b"{",
        b"{\"msgtype\":\"ping\"",
        b"{\"msgtype\":\"ping\"} {\"msgtype\":\"ping\"}",
        b"{\"msgtype\":\"ping\",\"msgtype\":\"ping\"}",
        b"{\"msgtype\":5}",
        b"{\"msgtype\":null}",
        b"{\"msgtype\":[\"ping\"]}",
        b"{'msgtype':'ping'}",
        b"{\"msgtype\":\"ping\",}",
    ];
    for (n, line) in bad.into_iter().enumerate() {
        let mut raw = Raw::join(&node, 100 + n as u128).await;
        raw.send([line, b"\n"].concat()).await;
        let shown = String::from_utf8_lossy(line);
        assert_eq!(raw.bye().await, "protocol", "{shown}");
        assert!(witness.ping().await < PROMPT);
    }
    until("only the witness is left", async || peer_ids(&node).await == [id(1)]).await;
}

#[actix_rt::test]
async fn a_known_verb_with_a_field_of_the_wrong_type_closes_with_protocol() {
    let node = start(quiet()).await;
    let bad = [
        r#"{"msgtype":"addr"}"#,
        r#"{"msgtype":"addr","peers":null}"#,
        r#"{"msgtype":"addr","peers":"127.0.0.1:5"}"#,
        r#"{"msgtype":"addr","peers":{"a":1}}"#,
        r#"{"msgtype":"addr","peers":[7]}"#,
        r#"{"msgtype":"addr","peers":[[7,"x"]]}"#,
        r#"{"msgtype":"addr","peers":[[]]}"#,
        r#"{"msgtype":"addr","peers":[{"addr":"127.0.0.1:5"}]}"#,
        r#"{"msgtype":"addr","peers":["127.0.0.1:5",["127.0.0.1:6",7]]}"#,
        r#"{"msgtype":"getaddr","max":-1}"#,
        r#"{"msgtype":"getaddr","max":"all"}"#,
        r#"{"msgtype":"getaddr","max":1.5}"#,
        r#"{"msgtype":"getaddr","near":"nobody"}"#,
        r#"{"msgtype":"getaddr","near":5}"#,
    ];
    for (n, line) in bad.into_iter().enumerate() {
        let mut raw = Raw::join(&node, 1 + n as u128).await;
        raw.send(line.to_owned() + "\n").await;
        assert_eq!(raw.bye().await, "protocol", "{line}");
    }
    assert!(node.addresses().await.iter().all(|entry| entry.own), "half of a bad line was taken");
}

#[actix_rt::test]
async fn a_hello_that_names_nobody_or_is_not_fit_to_print_is_refused() {
    let node = start(quiet()).await;
    let bad = [
        r#"{"msgtype":"hello"}"#.to_owned(),
        r#"{"msgtype":"hello","nodeid":7}"#.to_owned(),
        r#"{"msgtype":"hello","nodeid":"me"}"#.to_owned(),
        hello_with(1, r#","version":"one""#),
        hello_with(1, r#","listen":5999"#),
        hello_with(1, r#","features":"all""#),
        hello_with(1, &format!(",\"features\":{:?}", vec!["x"; 33])),
        hello_with(1, r#","agent":"\u001b[31mred""#),
        hello_with(1, &format!(r#","agent":"{}""#, "x".repeat(65))),
        hello_with(1, &format!(r#","network":"{}""#, "x".repeat(65))),
    ];
    for line in bad {
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(line.trim_end().to_owned() + "\n").await;
        assert_eq!(raw.bye().await, "protocol", "{line}");
    }
    assert_eq!(peer_ids(&node).await, []);
    // An address nobody can dial only makes a peer that is not dialled.
    for (n, listen) in ["", "nowhere", "0.0.0.0:1", "127.0.0.1:70000", ":5"].iter().enumerate() {
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(hello_with(10 + n as u128, &format!(",\"listen\":{listen:?}"))).await;
        raw.expect("ping").await;
    }
    assert!(node.addresses().await.iter().all(|entry| entry.own));
}

#[actix_rt::test]
async fn anything_before_hello_closes_with_protocol() {
    let node = start(quiet()).await;
    for line in [PING, "{\"msgtype\":\"zebra\"}\n", "nonsense\n", "[]\n", "\0\n", "\u{feff}\n"] {
        let mut raw = Raw::connect(&place(&node)).await;
        // A hello that comes after it is too late.
        raw.send(line.to_owned() + &hello(1)).await;
        assert_eq!(raw.bye().await, "protocol", "{line}");
    }
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(b"{\"msgtype\":\"hello\xff\"}\n").await;
    assert_eq!(raw.bye_in_full().await, ("protocol".to_owned(), "not UTF-8".to_owned()));
    assert_eq!(peer_ids(&node).await, []);
}

#[actix_rt::test]
async fn a_second_hello_closes_with_protocol() {
    let node = start(quiet()).await;
    let mut raw = Raw::join(&node, 1).await;
    raw.send(hello(1)).await;
    assert_eq!(raw.bye().await, "protocol");
    let mut both_at_once = Raw::connect(&place(&node)).await;
    both_at_once.send(hello(2) + &hello(3)).await;
    assert_eq!(both_at_once.bye().await, "protocol");
    until("nobody is left", async || peer_ids(&node).await.is_empty()).await;
}

#[actix_rt::test]
async fn unknown_msgtypes_and_fields_are_ignored_and_counted() {
    let node = start(quiet()).await;
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(hello_with(1, r#","hobby":{"chess":[1,null,"x"]},"zzz":1e999"#)).await;
    raw.expect("ping").await;
    let strange = r#"{"msgtype":"zebra"}
        {"msgtype":"","x":1}
        {"x":{"msgtype":"ping"},"msgtype":"\u0070ang"}
        {"msgtype":"PING"}
    "#;
    raw.send(strange.lines().map(|line| line.trim().to_owned() + "\n").collect::<String>()).await;
    raw.send("{\"y\":[[]],\"msgtype\":\"ping\",\"z\":\"\\ud83d\\ude00\"}\n").await;
    raw.expect("pong").await;
    raw.close_writing().await;
    raw.bye().await;
    until_noted(&node, Kind::Undelivered, "unknown").await;
    let note = noted(&node, Kind::Undelivered).await.remove(0);
    assert_eq!(note.numbers.get("messages"), Some(4));
}

#[actix_rt::test]
async fn deep_nesting_is_skipped_or_refused_and_overflows_nothing() {
    let node = start(quiet()).await;
    let taker = Taker::<Tree>::start(|_| {});
    node.register(taker.recipient()).unwrap();
    let mut witness = Raw::join(&node, 1).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 60_000 / (open.len() + close.len());
        let deep = |inner: &str| open.repeat(depth) + inner + &close.repeat(depth);
        witness.send(format!("{{\"msgtype\":\"ping\",\"x\":{}}}\n", deep("1"))).await;
        witness.expect("pong").await;
        // Where somebody looks into it.
        let addr = format!("{{\"msgtype\":\"addr\",\"peers\":{}}}\n", deep("1"));
        closes_with_protocol(&node, 2, addr).await;
        let tree = format!("{{\"msgtype\":\"tree\",\"root\":{}}}\n", deep("1"));
        assert!(closes_with_protocol(&node, 3, tree).await.contains("recursion limit"));
        // Never closed.
        closes_with_protocol(&node, 4, open.repeat(depth) + "\n").await;
    }
    assert!(witness.ping().await < PROMPT);
}

// ---------------------------------------------------------------- too long

/// A message padded with a field that nobody knows to exactly this many bytes before its newline.
fn padded(message: &str, len: usize) -> String {
    let head = message.trim_end().strip_suffix('}').unwrap();
    let pad = len - head.len() - ",\"pad\":\"\"}".len();
    format!("{head},\"pad\":\"{}\"}}", "x".repeat(pad))
}

#[actix_rt::test]
async fn a_line_of_exactly_the_limit_passes_and_one_byte_more_is_too_large() {
    let node = start(quiet()).await;
    for end in ["\n", "\r\n"] {
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(padded(&hello(1), MAX_HELLO_LINE) + end).await;
        raw.expect("ping").await;
        raw.send(padded(PING, MAX_LINE) + end).await;
        raw.expect("pong").await;
        raw.send(padded(PING, MAX_LINE + 1) + end).await;
        assert_eq!(raw.bye().await, "too-large");
        let mut raw = Raw::connect(&place(&node)).await;
        raw.send(padded(&hello(2), MAX_HELLO_LINE + 1) + end).await;
        assert_eq!(raw.bye().await, "too-large");
    }
}

#[actix_rt::test]
async fn a_line_is_too_large_before_its_end_is_there() {
    let node = start(quiet()).await;
    let mut stranger = Raw::connect(&place(&node)).await;
    stranger.send("x".repeat(MAX_HELLO_LINE + 2)).await;
    assert_eq!(stranger.bye().await, "too-large");
    let mut peer = Raw::join(&node, 1).await;
    peer.send("x".repeat(MAX_LINE)).await;
    peer.send("xx").await;
    assert_eq!(peer.bye().await, "too-large");
}

#[actix_rt::test]
async fn what_follows_the_hello_in_one_segment_has_the_longer_limit() {
    let node = start(quiet()).await;
    let mut raw = Raw::connect(&place(&node)).await;
    raw.send(hello(1) + &padded(PING, MAX_LINE) + "\n").await;
    raw.expect("pong").await;
}

#[test]
fn ten_mebibytes_without_a_newline_cost_the_sender_its_session_and_the_node_no_memory() {
    let name = "ten_mebibytes_without_a_newline_cost_the_sender_its_session_and_the_node_no_memory";
    if alone(name, 256) {
        actix_rt::System::new().block_on(async {
            let node = start(quiet()).await;
            let mut witness = Raw::join(&node, 1).await;
            // Whatever is needed once is there by now.
            ten_mebibytes(&node, 2).await;
            let before = memory_kib("VmHWM:");
            for n in 3..11 {
                ten_mebibytes(&node, n).await;
            }
            assert!(witness.ping().await < PROMPT);
            match (before, memory_kib("VmHWM:")) {
                (Some(before), Some(after)) => {
                    println!("peak memory: {before} KiB, then {after} KiB");
                    assert!(after < before + 1024, "160 MiB of input took {before}..{after} KiB");
                }
                _ => println!("memory not measured: there is no /proc/self/status"),
            }
        });
    }
}

/// Ten MiB from a stranger, and ten MiB from a peer at the same time.
async fn ten_mebibytes(node: &NodeHandle, n: u128) {
    let mut stranger = Raw::connect(&place(node)).await;
    let mut peer = Raw::join(node, n).await;
    tokio::join!(endless(&mut stranger), endless(&mut peer));
    assert_eq!(stranger.bye().await, "too-large");
    assert_eq!(peer.bye().await, "too-large");
}

async fn endless(raw: &mut Raw) {
    let block = "x".repeat(1 << 16);
    for _ in 0..160 {
        if raw.try_send(&block).await.is_err() {
            // The node has closed before it was all sent.
            break;
        }
    }
}

// ---------------------------------------------------------------- addresses

#[actix_rt::test]
async fn addresses_that_name_no_node_do_not_enter_the_book_and_the_journal_says_why() {
    let node = start(quiet()).await;
    let mut raw = Raw::join(&node, 1).await;
    let long = format!("{}:5999", "a.".repeat(150));
    let very_long = format!("{}:5999", "x".repeat(30_000));
    let label = format!("{}.example:5999", "x".repeat(64));
    let bad = [
        ("port-zero", "127.0.0.1:0"),
        ("bad-port", "127.0.0.1:70000"),
        ("bad-port", "127.0.0.1:-1"),
        ("bad-port", "127.0.0.1:"),
        ("bad-port", "127.0.0.1:99999999999999999999"),
        ("no-port", "127.0.0.1"),
        ("no-port", ""),
        ("empty-host", ":5999"),
        ("long-host", &long),
        ("long-host", &very_long),
        ("bad-host", &label),
        ("bad-host", "127.0.0.256:5999"),
        ("bad-host", "[::1:5999"),
        ("bad-host", "::1:5999"),
        ("bad-host", "a b:5999"),
        ("bad-host", "a\u{1b}[31m:5999"),
        ("bad-host", "caf\u{e9}.example:5999"),
        ("unspecified", "0.0.0.0:5999"),
        ("unspecified", "[::]:5999"),
        ("unspecified", "[::ffff:0.0.0.0]:5999"),
        ("multicast", "224.0.0.1:5999"),
        ("multicast", "[ff02::1]:5999"),
        ("multicast", "255.255.255.255:5999"),
    ];
    for (n, (code, addr)) in bad.into_iter().enumerate() {
        let pair = format!("[{addr:?},\"{}\"]", id(7));
        for peers in [format!("{addr:?}"), pair] {
            raw.send(
                format!("{{\"msgtype\":\"addr\",\"peers\":[{peers}]}}\n")
                    .replace("\\u{1b}", "\\u001b"),
            )
            .await;
        }
        let refused = async || noted(&node, Kind::AddrsRefused).await;
        let shown = &addr[..addr.len().min(40)];
        until(shown, async || refused().await.len() == 2 * (n + 1)).await;
        let last = refused().await.pop().unwrap();
        assert_eq!((&*last.reason, last.peer), (code, Some(id(1))), "{shown}");
    }
    raw.ping().await;
    assert!(node.addresses().await.iter().all(|entry| entry.own), "{:?}", node.addresses().await);
}

#[actix_rt::test]
async fn our_own_address_and_our_own_id_elsewhere_do_not_enter_the_book() {
    let node = start(quiet()).await;
    let mut raw = Raw::join(&node, 1).await;
    let own = place(&node);
    let me = node.id();
    let elsewhere = at("127.0.0.1:9");
    raw.send(format!(
        "{{\"msgtype\":\"addr\",\"peers\":[\"{own}\",[\"{own}\",\"{}\"],[\"{own}\",\"{me}\"],[\"{elsewhere}\",\"{me}\"]]}}\n",
        id(1),
    ))
    .await;
    raw.ping().await;
    // The book answers after it has been told: both go by way of the same mailbox.
    let book = node.addresses().await;
    let known: Vec<_> = book.iter().map(|entry| (&entry.addr, entry.own, entry.id)).collect();
    assert_eq!(known, [(&own, true, None)]);
    assert_eq!(noted(&node, Kind::DialFailed).await, []);
}

/// Accepts connections wherever on the loopback network they are dialled, closes them at once and
/// counts them. Ends with the process.
fn count_connections() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (port, count)
}

/// So many addresses of the loopback network, all at one port.
fn loopback_addrs(port: u16, range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    let ip = |n: usize| format!("127.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    range.map(move |n| format!("{}:{port}", ip(n + 1)))
}

/// Dials that a node may start within a time: what the flood tests hold it to.
const BURST: u32 = 8;
const PER_SECOND: u32 = 40;

fn flooded() -> NodeConfig {
    let mut config = quiet();
    config.discovery.dial_burst = BURST;
    config.discovery.dials_per_second = PER_SECOND;
    config
}

/// Waits for as many dials as the burst and half a second allow.
async fn dials_begin(dials: &AtomicUsize) {
    let enough = (BURST + PER_SECOND / 2) as usize;
    until("known addresses are dialled", async || dials.load(Ordering::SeqCst) >= enough).await;
}

/// Holds the dials so far against the clock.
fn is_no_storm(dials: &AtomicUsize, flooded_at: Instant) {
    let n = dials.load(Ordering::SeqCst);
    let elapsed = flooded_at.elapsed().as_secs_f64();
    // What has just failed with TLS is dialled in plaintext at once, which the next dials wait for.
    let in_flight = NodeConfig::default().discovery.dials_in_flight as f64;
    let allowed = f64::from(BURST) + f64::from(PER_SECOND) * elapsed + in_flight + 1.0;
    assert!(n as f64 <= allowed, "{n} dials in {elapsed} s");
}

#[actix_rt::test]
async fn a_flood_of_100_000_addresses_is_taken_in_small_part_and_starts_no_dial_storm() {
    let (port, dials) = count_connections();
    let mut config = flooded();
    config.discovery.addr_burst = 300;
    let node = start(config).await;
    let mut witness = Raw::join(&node, 1).await;
    let mut flooder = Raw::join(&node, 2).await;
    let lines: Vec<_> =
        (0..40).map(|n| addr_line(loopback_addrs(port, n * 2500..(n + 1) * 2500))).collect();
    let flooded_at = Instant::now();
    let flood = async {
        for line in &lines {
            flooder.send(line).await;
        }
        flooder.ping().await
    };
    let watch = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            slowest = slowest.max(witness.ping().await);
        }
        slowest
    };
    let (own, others) = tokio::join!(flood, watch);
    println!("ping after the flood {own:?}, of the witness at most {others:?}");
    assert!(own < PROMPT && others < PROMPT, "{own:?}, {others:?}");
    // The burst, one answer to the node's own question, and ten a second.
    let allowed = 300 + 256 + flooded_at.elapsed().as_secs() as usize * 10 + 20;
    let book = node.addresses().await.len();
    assert!((100..=allowed).contains(&book), "{book} addresses in the book");
    until_noted(&node, Kind::AddrsRefused, "rate").await;
    dials_begin(&dials).await;
    is_no_storm(&dials, flooded_at);
    assert!(witness.ping().await < PROMPT);
}

#[actix_rt::test]
async fn ten_flooders_together_do_not_overfill_the_book() {
    let (port, dials) = count_connections();
    let mut config = flooded();
    config.discovery.book_entries = 400;
    let node = start(config).await;
    let flooded_at = Instant::now();
    let mut flooders = Vec::new();
    for n in 0..10 {
        let mut flooder = Raw::join(&node, 1 + n as u128).await;
        for line in 0..4 {
            let first = n * 10_000 + line * 2500;
            flooder.send(addr_line(loopback_addrs(port, first..first + 2500))).await;
        }
        flooders.push(flooder);
    }
    for flooder in &mut flooders {
        assert!(flooder.ping().await < PROMPT);
    }
    // Besides them it holds its own.
    let book = node.addresses().await.len();
    assert!((200..=401).contains(&book), "{book} addresses in the book");
    dials_begin(&dials).await;
    is_no_storm(&dials, flooded_at);
}

#[actix_rt::test]
async fn a_peer_that_claims_10_000_addresses_as_its_own_leaves_room_and_dials_for_others() {
    let ((false_port, false_dials), (good_port, good_dials)) =
        (count_connections(), count_connections());
    let config = flooded();
    let share = config.discovery.book_entries / 8;
    let node = start(config).await;
    let mut flooder = Raw::join(&node, 1).await;
    let flooded_at = Instant::now();
    for line in 0..10 {
        let own = |addr| format!("[\"{addr}\",\"{}\"]", id(1));
        let peers: Vec<_> =
            loopback_addrs(false_port, line * 1000..(line + 1) * 1000).map(own).collect();
        flooder.send(format!("{{\"msgtype\":\"addr\",\"peers\":[{}]}}\n", peers.join(","))).await;
    }
    assert!(flooder.ping().await < PROMPT);
    let book = node.addresses().await.len();
    assert!(book <= share + 1, "{book} addresses in the book");
    // What another tells is dialled before the thousand claims have all been tried.
    // (From another address, since what one address tells has one share of the book.)
    let mut honest = Raw::join_from(&node, 2, "127.0.0.77:0").await;
    let told = loopback_addrs(good_port, 0..3).map(|addr| format!("[\"{addr}\",\"{}\"]", id(9)));
    let told = told.collect::<Vec<_>>().join(",");
    honest.send(format!("{{\"msgtype\":\"addr\",\"peers\":[{told}]}}\n")).await;
    until("others are dialled", async || good_dials.load(Ordering::SeqCst) > 0).await;
    is_no_storm(&false_dials, flooded_at);
    assert!(flooder.ping().await < PROMPT);
}

#[actix_rt::test]
async fn addresses_where_the_node_meets_itself_do_not_fill_the_book() {
    let port = free_port();
    let mut config = hasty();
    config.listen = vec![at(&format!("0.0.0.0:{port}"))];
    config.discovery.dials_per_second = 1000;
    let node = start(config).await;
    let mut liar = Raw::connect(&at(&format!("127.0.0.1:{port}"))).await;
    liar.send(hello(1)).await;
    liar.expect("ping").await;
    // Where the whole of 127/8 is this machine, each of these is the node itself. (Of twice as many
    // some find their bucket of the book full.)
    liar.send(addr_line(loopback_addrs(port, 0..150))).await;
    let met = async || noted(&node, Kind::OwnAddress).await.len();
    until("all are dialled", async || {
        met().await + noted(&node, Kind::Forgotten).await.len() >= 150
    })
    .await;
    let book = node.addresses().await;
    assert!(book.len() <= 64, "{} addresses, all of them its own", book.len());
}

#[actix_rt::test]
async fn what_peers_say_of_our_address_does_not_make_it_ours() {
    let port = free_port();
    let mut config = quiet();
    config.listen = vec![at(&format!("0.0.0.0:{port}"))];
    let node = start(config).await;
    let here = at(&format!("127.0.0.1:{port}"));
    let victim = at(&format!("240.0.0.1:{port}"));
    let mut liars = Vec::new();
    for n in 1..4 {
        let mut liar = Raw::connect(&here).await;
        liar.send(hello_with(n, ",\"observed\":\"240.0.0.1:40000\"")).await;
        liar.expect("ping").await;
        liars.push(liar);
    }
    // Somebody else may well be there.
    let entry = format!("[\"{victim}\",\"{}\"]", id(9));
    liars[0].send(format!("{{\"msgtype\":\"addr\",\"peers\":[{entry},{entry}]}}\n")).await;
    liars[0].ping().await;
    let book = node.addresses().await;
    let known: Vec<_> = book.iter().map(|entry| (&entry.addr, entry.own, entry.id)).collect();
    assert_eq!(known, [(&victim, false, Some(id(9)))]);
}

// ---------------------------------------------------------------- payloads of extensions

#[derive(Serialize, Deserialize)]
struct Note {
    n: u32,
}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

#[derive(Serialize, Deserialize)]
struct Tree {
    root: Value,
}

impl PeerMessage for Tree {
    const MSGTYPE: &'static str = "tree";
}

/// What no author of an extension means to write, and somebody will.
#[derive(Serialize)]
struct Bomb {}

impl PeerMessage for Bomb {
    const MSGTYPE: &'static str = "bomb";
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a payload that nobody survives: part of the test");
    }
}

#[derive(Serialize, Deserialize)]
struct Anonymous {}

impl PeerMessage for Anonymous {
    const MSGTYPE: &'static str = "";
}

#[derive(Serialize, Deserialize)]
struct Impostor {}

impl PeerMessage for Impostor {
    const MSGTYPE: &'static str = "ping";
}

#[actix_rt::test]
async fn a_payload_that_is_not_what_its_msgtype_stands_for_closes_with_protocol() {
    let node = start(quiet()).await;
    let (sum, total) = (Arc::new(AtomicUsize::new(0)), 5);
    let counted = sum.clone();
    let taker = Taker::<Note>::start(move |note| {
        counted.fetch_add(note.message.n as usize, Ordering::SeqCst);
    });
    node.register(taker.recipient()).unwrap();
    let bad = ["", ",\"n\":\"5\"", ",\"n\":-1", ",\"n\":5000000000", ",\"n\":[5]", ",\"n\":null"];
    for more in bad {
        let detail =
            closes_with_protocol(&node, 1, format!("{{\"msgtype\":\"note\"{more}}}\n")).await;
        assert!(detail.starts_with("note: "), "{detail}");
    }
    let mut raw = Raw::join(&node, 2).await;
    raw.send("{\"n\":5,\"msgtype\":\"note\",\"unknown\":1}\n").await;
    until("the good one arrives", async || sum.load(Ordering::SeqCst) == total).await;
}

#[actix_rt::test]
async fn a_payload_whose_deserialisation_panics_kills_only_its_session() {
    for workers in [1, 2] {
        let mut config = NodeConfig { workers, ..quiet() };
        config.session.close_grace = Duration::from_millis(100);
        let node = start(config).await;
        node.register(Taker::<Bomb>::start(|_| {}).recipient()).unwrap();
        // With two workers, one witness on each.
        let mut witnesses = [Raw::join(&node, 1).await, Raw::join(&node, 2).await];
        for _ in 0..3 {
            let mut raw = Raw::join(&node, 3).await;
            raw.send("{\"msgtype\":\"bomb\"}\n").await;
            assert_eq!(raw.rest().await.iter().filter(|msgtype| *msgtype == "pong").count(), 0);
            until("the session is gone", async || peer_ids(&node).await == [id(1), id(2)]).await;
            for witness in &mut witnesses {
                assert!(witness.ping().await < PROMPT);
            }
        }
        let reasons = noted(&node, Kind::SessionDown).await;
        let reasons: Vec<_> = reasons.iter().map(|d| (d.peer, &*d.reason)).collect();
        assert_eq!(reasons, [(Some(id(3)), "internal"); 3]);
        // No link of the dead sessions is left that stopping would wait for.
        within(PROMPT, "an orderly stop", node.stop()).await;
    }
}

#[actix_rt::test]
async fn a_msgtype_has_one_actor_at_a_time_and_the_cores_have_none() {
    let node = start(quiet()).await;
    let count = Arc::new(AtomicUsize::new(0));
    let take = |count: Arc<AtomicUsize>| {
        move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let first = Taker::<Note>::start(take(count.clone()));
    node.register(first.clone().recipient()).unwrap();
    let second = Taker::<Note>::start(|_| panic!("the second actor was registered"));
    assert_eq!(node.register(second.recipient()), Err(RegisterError::Taken));
    assert_eq!(node.register(first.recipient()), Err(RegisterError::Taken));
    let core = Taker::<Impostor>::start(|_| {});
    assert_eq!(node.register(core.recipient()), Err(RegisterError::Core));
    let unnamed = Taker::<Anonymous>::start(|_| {});
    assert_eq!(node.register(unnamed.recipient()), Err(RegisterError::BadName));
    let mut raw = Raw::join(&node, 1).await;
    raw.send("{\"msgtype\":\"note\",\"n\":1}\n").await;
    until("the first actor has it", async || count.load(Ordering::SeqCst) == 1).await;
}

// ---------------------------------------------------------------- all at once

/// Bytes from a generator of fixed seed, so that every run says the same.
#[actix_rt::test]
async fn garbage_is_answered_with_a_reason_every_time() {
    let node = start(quiet()).await;
    let mut witness = Raw::join(&node, 1).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    let mut reasons = BTreeMap::<String, usize>::new();
    for n in 0..100 {
        let mut raw = Raw::join(&node, 2 + n).await;
        let garbage: Vec<u8> = (0..2000).map(|_| byte()).chain([b'\n']).collect();
        raw.send(garbage).await;
        *reasons.entry(raw.bye().await).or_default() += 1;
    }
    assert_eq!(reasons, [("protocol".to_owned(), 100)].into());
    assert!(witness.ping().await < PROMPT);
}
