//! `docs/PROTOCOL.md` against the code: its test vectors, transcripts, reason codes and limits.
//!
//! Every vector is judged twice: by `Frame::parse`, and by what a running node answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use peerage::{
    CloseReason, HostPort, Node, NodeConfig, NodeHandle, NodeKey,
    overlay::{
        MAX_TIMEOUT, OverlayConfig,
        envelope::{self, Letter, Purpose},
    },
    proto::{
        presence::PRESENCE_INTERVAL,
        replay::MAX_SKEW,
        routing::{Head, MAX_HOPS, MAX_TRIES, Reply},
    },
    wire::{
        Frame, MAX_ATTACHMENT, MAX_HELLO_LINE, MAX_LINE, WireError, frame::CORE_MSGTYPES,
        tags::MAX_TAGS,
    },
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

const DOCUMENT: &str = include_str!("../docs/PROTOCOL.md");

const HELLO: &[u8] = br#"{"msgtype":"hello","nodeid":"00000000-0000-4000-8000-0000000000aa"}"#;

/// The most that one answer may take, on a machine busy with other tests.
const BOUND: Duration = Duration::from_secs(20);

// --- Reading the document -----------------------------------------------------------------------

/// The lines of the fenced blocks of this kind, block by block.
fn blocks(kind: &str) -> Vec<Vec<&'static str>> {
    let mut blocks = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.strip_prefix("```").filter(|found| !found.is_empty()) else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != "```").collect();
        if found == kind {
            blocks.push(block);
        }
    }
    assert!(!blocks.is_empty(), "docs/PROTOCOL.md has no {kind} block");
    blocks
}

struct Vector {
    outcome: &'static str,
    /// What is sent, for the messages of failed assertions.
    text: &'static str,
    line: Vec<u8>,
}

fn vectors(kind: &str) -> Vec<Vector> {
    let lines = blocks(kind).concat();
    let lines = lines.into_iter().filter(|line| !line.starts_with('#'));
    let vector = |line: &'static str| {
        let (outcome, text) = line.split_once(' ').unwrap_or((line, ""));
        let text = text.trim_start();
        Vector { outcome, text, line: unescape(text) }
    };
    lines.map(vector).collect()
}

/// `\xNN` is one byte, `<y*100>` a hundred `y`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else if let Some((count, after)) =
            rest.strip_prefix("<y*").and_then(|run| run.split_once('>'))
        {
            bytes.extend(std::iter::repeat_n(b'y', count.parse().unwrap()));
            rest = after;
        } else {
            let (char, after) = rest.split_at(next.len_utf8());
            bytes.extend(char.as_bytes());
            rest = after;
        }
    }
    bytes
}

/// The rows of the table that follows a heading, each as its cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|--"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

// --- Talking to a node --------------------------------------------------------------------------

async fn node() -> NodeHandle {
    let config = NodeConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        ..NodeConfig::default()
    };
    Node::builder().config(config).start().await.unwrap()
}

struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    async fn with(node: &NodeHandle) -> Self {
        let addr = node.listen_addrs()[0].socket_addr().unwrap();
        Self { stream: BufReader::new(TcpStream::connect(addr).await.unwrap()) }
    }

    /// A connection whose first lines have been exchanged.
    async fn in_session(node: &NodeHandle) -> Self {
        let mut talk = Self::with(node).await;
        talk.say(HELLO).await;
        talk.hear_until("ping").await;
        talk
    }

    async fn say(&mut self, line: &[u8]) {
        // A node that has closed already answers soon enough by what it sent before.
        let _gone = self.stream.write_all(&[line, b"\n"].concat()).await;
    }

    /// The next message; `None` at the end of the connection.
    async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = timeout(BOUND, self.stream.read_line(&mut line)).await;
        let n = read.expect("no line in time").expect("the connection failed");
        (n > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The messages up to and including one of this msgtype, or up to the end.
    async fn hear_until(&mut self, msgtype: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        while let Some(message) = self.hear().await {
            let done = message["msgtype"] == msgtype;
            heard.push(message);
            if done {
                break;
            }
        }
        heard
    }
}

/// `bye:CODE` for a bye, else the msgtype.
fn brief(message: &Value) -> String {
    match (message["msgtype"].as_str().unwrap(), message["reason"].as_str()) {
        ("bye", Some(reason)) => format!("bye:{reason}"),
        (msgtype, _) => msgtype.to_owned(),
    }
}

fn briefs(messages: &[Value]) -> BTreeSet<String> {
    messages.iter().map(brief).collect()
}

fn wanted(outcome: &str) -> BTreeSet<String> {
    outcome.split(',').filter(|word| *word != "closed").map(str::to_owned).collect()
}

/// The line that decides how a vector is answered: the first that breaks the protocol, or the last.
fn deciding_line(mut bytes: &[u8]) -> &[u8] {
    loop {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at(end);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let attach = match Frame::parse(line) {
            Ok(Frame::Other { attach, .. }) => attach,
            Ok(_) => 0,
            Err(_) => return line,
        };
        match rest.get(1 + attach..) {
            None | Some([]) => return line,
            Some(next) => bytes = next,
        }
    }
}

/// What it is that `Frame::parse` has to make of a line for a node to answer it so.
fn check_parse(vector: &Vector, limit: usize) {
    let line = deciding_line(&vector.line);
    let parsed = Frame::parse(line);
    let right = match vector.outcome {
        "pong" => parsed == Ok(Frame::Ping),
        "addr" => matches!(parsed, Ok(Frame::GetAddr { .. })),
        "closed" => matches!(parsed, Ok(Frame::Bye(_))),
        "bye:too-large" => {
            line.len() > limit || matches!(parsed, Err(WireError::AttachmentTooLarge(_)))
        }
        "bye:protocol" if limit == MAX_LINE => matches!(parsed, Err(_) | Ok(Frame::Hello(_))),
        "bye:protocol" => !matches!(parsed, Ok(Frame::Hello(_) | Frame::Bye(_))),
        "-" => {
            line.is_empty()
                || matches!(
                    parsed,
                    Ok(Frame::Pong
                        | Frame::Spare
                        | Frame::Addr(_)
                        | Frame::Presence(_)
                        | Frame::Other { .. })
                )
        }
        hello => {
            (hello == "bye:unproven" || hello.starts_with("hello"))
                && matches!(parsed, Ok(Frame::Hello(_)))
        }
    };
    assert!(right, "{}: {parsed:?}", vector.text);
    assert!(line.len() <= limit || vector.outcome == "bye:too-large", "{}", vector.text);
}

// --- The vectors --------------------------------------------------------------------------------

#[actix_rt::test]
async fn first_lines_are_answered_as_the_document_says() {
    let node = node().await;
    for vector in vectors("vectors-first") {
        let Vector { outcome, text, line } = &vector;
        check_parse(&vector, MAX_HELLO_LINE);
        let mut talk = Talk::with(&node).await;
        talk.say(line).await;
        let heard = match *outcome {
            // Still waiting for a hello.
            "-" => {
                talk.say(HELLO).await;
                let first = talk.hear().await.unwrap();
                assert_eq!(first["msgtype"], "hello", "{text}");
                continue;
            }
            // It says no more than that, until we close.
            "hello" => {
                talk.say(br#"{"msgtype":"ping"}"#).await;
                talk.say(br#"{"msgtype":"bye"}"#).await;
                talk.hear_until("").await
            }
            session if session.ends_with("ping") => talk.hear_until("ping").await,
            _closing => talk.hear_until("").await,
        };
        assert_eq!(briefs(&heard), wanted(outcome), "{text}");
        assert!(heard.len() < 2 || heard[0]["msgtype"] == "hello", "{text}: {heard:?}");
    }
    node.stop().await;
}

#[actix_rt::test]
async fn lines_of_a_session_are_answered_as_the_document_says() {
    let node = node().await;
    for vector in vectors("vectors-session") {
        let Vector { outcome, text, line } = &vector;
        check_parse(&vector, MAX_LINE);
        let mut talk = Talk::in_session(&node).await;
        talk.say(line).await;
        let mut heard = match *outcome {
            "pong" | "addr" => talk.hear_until(outcome).await,
            // The pong of a ping that follows shows that nothing was said and all goes on.
            "-" => {
                talk.say(br#"{"msgtype":"ping"}"#).await;
                talk.hear_until("pong").await
            }
            _closing => talk.hear_until("").await,
        };
        heard.retain(|message| message["msgtype"] != "getaddr");
        let wanted = wanted(if *outcome == "-" { "pong" } else { outcome });
        assert_eq!(briefs(&heard), wanted, "{text}");
    }
    node.stop().await;
}

#[test]
fn addresses_are_read_and_refused_as_the_document_says() {
    for Vector { outcome, text, line } in vectors("vectors-address") {
        let taken = str::from_utf8(&line).unwrap().parse::<HostPort>();
        let taken = taken.and_then(|addr| addr.check_dialable().map(|()| addr.to_string()));
        let taken = taken.unwrap_or_else(|why| format!("refused:{}", why.code()));
        assert_eq!(taken, outcome, "{text}");
    }
}

#[test]
fn the_example_of_every_message_is_that_message() {
    let mut examples = Vec::new();
    for line in blocks("json").concat() {
        let msgtype = match Frame::parse(line.as_bytes()) {
            Ok(Frame::Hello(_)) => "hello",
            Ok(Frame::Ping) => "ping",
            Ok(Frame::Pong) => "pong",
            Ok(Frame::GetAddr { .. }) => "getaddr",
            Ok(Frame::Addr(_)) => "addr",
            Ok(Frame::Spare) => "spare",
            Ok(Frame::Presence(_)) => "presence",
            Ok(Frame::Bye(_)) => "bye",
            other => panic!("{line}: {other:?}"),
        };
        examples.push(msgtype);
    }
    assert_eq!(examples, CORE_MSGTYPES);
}

#[test]
fn the_examples_of_the_overlay_are_its_messages() {
    for line in blocks("jsonc").concat() {
        let Ok(Frame::Other { msgtype, attach, .. }) = Frame::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        let mut shown: Value = serde_json::from_str(line).unwrap();
        let read = match &*msgtype {
            "route" => serde_json::to_value(serde_json::from_str::<Head>(line).unwrap()),
            "routed" => serde_json::to_value(serde_json::from_str::<Reply>(line).unwrap()),
            other => panic!("{other}: {line}"),
        };
        shown.as_object_mut().unwrap().remove("msgtype");
        shown.as_object_mut().unwrap().remove("attach");
        assert_eq!(read.unwrap(), shown);
        assert_eq!(attach > 0, msgtype == "route" && shown["key"].is_null(), "{line}");
    }
}

/// The key with this secret: in PEM, as any other program would hand it over (RFC 8410).
fn key_of(secret: &[u8]) -> NodeKey {
    let der = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], secret].concat();
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |three: &[u8], n: usize| {
        let bits = (u32::from(three[0]) << 16) | (u32::from(three[1]) << 8) | u32::from(three[2]);
        char::from(digits[usize::try_from(bits >> (18 - 6 * n) & 63).unwrap()])
    };
    assert_eq!(der.len() % 3, 0, "no padding");
    let text: String =
        der.chunks(3).flat_map(|three| (0..4).map(move |n| digit(three, n))).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    NodeKey::from_pem(&pem).unwrap()
}

#[test]
fn what_is_inside_a_message_is_what_the_document_says() {
    let vectors: std::collections::BTreeMap<_, _> = blocks("vectors-envelope")
        .concat()
        .into_iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, digits)| (name, hex::decode(digits.trim()).unwrap()))
        .collect();
    let array = |name: &str| <[u8; 16]>::try_from(&vectors[name][..]).unwrap();
    let (origin, target) = (key_of(&vectors["origin"]), key_of(&vectors["target"]));
    let (from, to) = (origin.node_id(), target.node_id());
    let id = peerage::ids::MessageId::from_bytes(array("id"));
    let time = u64::from_be_bytes(vectors["time"][..].try_into().unwrap());
    let (line, attachment) = (&vectors["line"], &vectors["attachment"]);
    let (line, attachment) = (Bytes::from(line.clone()), Bytes::from(attachment.clone()));
    let letter = Letter { time, token: array("token"), line, attachment };
    let signed = letter.sign(Some(&origin), from, &Purpose::Routed { to, id });
    assert_eq!(hex::encode(&signed), hex::encode(&vectors["signed"]));
    let opened = envelope::open(&target, to, from, id, &vectors["sealed"]).unwrap();
    assert_eq!(opened, signed);
    for (name, outcome, why) in
        [("delivered", "delivered", ""), ("refused-nobody", "refused", "nobody")]
    {
        let proof = envelope::prove(&letter.token, outcome, why);
        assert_eq!(hex::encode(proof), hex::encode(&vectors[name]), "{name}");
    }
}

// --- The transcripts ----------------------------------------------------------------------------

#[actix_rt::test]
async fn the_transcripts_are_what_a_node_says() {
    let node = node().await;
    for transcript in blocks("transcript") {
        let mut talk = Talk::with(&node).await;
        for line in transcript {
            let (who, line) = line.split_at(2);
            if who == "> " {
                talk.say(line.as_bytes()).await;
                continue;
            }
            let shown: Value = serde_json::from_str(line).unwrap();
            let said = loop {
                let said = talk.hear().await.unwrap_or_else(|| panic!("closed before {line}"));
                // A `getaddr` more may come at any time.
                if said["msgtype"] == shown["msgtype"] || said["msgtype"] != "getaddr" {
                    break said;
                }
            };
            assert_eq!(brief(&said), brief(&shown));
            let fields = |message: &Value| -> Vec<String> {
                message.as_object().unwrap().keys().cloned().collect()
            };
            assert_eq!(fields(&said), fields(&shown), "{said}");
        }
        let last = talk.hear_until("").await;
        assert!(briefs(&last).iter().all(|msgtype| msgtype == "getaddr"), "{last:?}");
    }
    node.stop().await;
}

// --- The tables ---------------------------------------------------------------------------------

#[test]
fn every_code_that_is_sent_is_in_the_table_of_reasons_and_no_other() {
    let documented: Vec<_> = table("Reason codes").iter().map(|row| row[0]).collect();
    let sent: Vec<_> = CloseReason::SENT.iter().map(|code| format!("`{}`", code.code())).collect();
    assert_eq!(documented, sent);
    assert!(table("Reason codes").iter().all(|row| row[1..].iter().all(|cell| !cell.is_empty())));
}

#[test]
fn the_limits_are_those_of_the_default_configuration() {
    let NodeConfig { liveness, session, limits, discovery, .. } = NodeConfig::default();
    let secs = |time: Duration| format!("{} s", time.as_secs());
    let redial: Vec<_> = discovery.redial.iter().map(|pause| pause.as_secs().to_string()).collect();
    let expected = [
        ("line until the handshake is done", format!("{MAX_HELLO_LINE} bytes")),
        ("line in a session", format!("{MAX_LINE} bytes")),
        ("attachment", format!("{MAX_ATTACHMENT} bytes")),
        ("tags", MAX_TAGS.to_string()),
        ("time between changes of a peer's tags that are told on", secs(PRESENCE_INTERVAL)),
        ("host in an address", format!("{} bytes", peerage::address::MAX_HOST)),
        ("time to a hello", secs(session.handshake_timeout)),
        ("time from ping to ping", secs(liveness.ping_interval)),
        ("time without a pong", secs(liveness.dead_after)),
        ("time for a dial: name, connection and hello", secs(discovery.dial_timeout)),
        ("time that a peer may take nothing", secs(session.stall_timeout)),
        ("time to close", secs(session.close_grace)),
        ("incoming sessions", limits.max_inbound.to_string()),
        ("incoming connections without a hello, or probed", limits.max_unfinished.to_string()),
        ("incoming connections that are closing", limits.max_unfinished.to_string()),
        ("incoming connections from one address", limits.max_per_address.to_string()),
        ("incoming connections from one /24 or /64", limits.max_per_subnet.to_string()),
        ("lines taken from a peer at once", session.message_burst.to_string()),
        ("lines taken from a peer per second", session.messages_per_second.to_string()),
        ("messages waiting for one peer", session.outbox_frames.to_string()),
        ("bytes waiting for one peer", session.outbox_bytes.to_string()),
        ("bytes of one peer's messages in work", session.undelivered_bytes.to_string()),
        ("addresses in an answer", discovery.addr_reply_max.to_string()),
        ("addresses taken from a peer at once, beyond answers", discovery.addr_burst.to_string()),
        (
            "addresses taken from a peer per second, beyond answers",
            discovery.addrs_per_second.to_string(),
        ),
        ("addresses in the book", discovery.book_entries.to_string()),
        ("addresses retried slowly", discovery.cold_entries.to_string()),
        ("sessions below which known addresses are dialled", discovery.target_peers.to_string()),
        (
            "sessions in one bucket below which its known addresses are dialled",
            discovery.bucket_sessions.to_string(),
        ),
        ("dials at the same time", discovery.dials_in_flight.to_string()),
        ("dials at once", discovery.dial_burst.to_string()),
        ("dials per second", discovery.dials_per_second.to_string()),
        ("pauses between dials of an address", format!("{} s", redial.join(", "))),
        ("longest pause between dials of a bootstrap", secs(discovery.bootstrap_retry_max)),
    ];
    let documented = table("Limits");
    for (name, value) in &expected {
        let row = documented.iter().find(|row| row[0] == *name);
        let row = row.unwrap_or_else(|| panic!("docs/PROTOCOL.md has no limit {name:?}"));
        assert_eq!(row[1], value, "{name}");
    }
    // What is in the document beyond that is checked by a vector: the texts of hello.
    assert_eq!(documented.len(), expected.len() + 2);
}

#[test]
fn the_limits_of_the_overlay_are_those_of_its_default_configuration() {
    let OverlayConfig { routing, inbox, .. } = OverlayConfig::default();
    let secs = |time: Duration| format!("{} s", time.as_secs());
    let expected = [
        ("steps of a message on one of its origin's ways", MAX_HOPS.to_string()),
        ("peers that a message is passed on to by one node", MAX_TRIES.to_string()),
        ("time to an outcome", secs(routing.timeout)),
        ("longest time to an outcome", secs(MAX_TIMEOUT)),
        ("time that a trail is kept", secs(routing.trails.life)),
        ("trails of messages", routing.trails.max.to_string()),
        ("trails of messages from one peer", routing.trails.max_per_peer.to_string()),
        ("bytes that are kept for another try", routing.trails.max_bytes.to_string()),
        ("difference of two clocks", secs(MAX_SKEW)),
        ("taken messages that are remembered", routing.taken.to_string()),
        ("messages waiting for one actor", inbox.messages.to_string()),
        ("bytes waiting for one actor", inbox.bytes.to_string()),
        ("own messages under way", routing.sends.messages.to_string()),
        ("bytes of own messages under way", routing.sends.bytes.to_string()),
    ];
    let documented: Vec<_> =
        table("Limits of the overlay").iter().map(|row| (row[0], row[1].to_owned())).collect();
    assert_eq!(documented, expected);
}
