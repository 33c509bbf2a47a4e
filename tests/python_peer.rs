//! `examples/peer.py` against real nodes: a stranger's program is a full peer.
//!
//! Nothing sleeps for luck: everything is polled for until a bound.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod program;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use peerage::{
    Direction, Node, NodeConfig, NodeHandle, NodeId, PeerInfo,
    overlay::{Overlay, OverlayConfig},
    spaces::{Keep, SpaceSpec, Spaces, SpacesConfig},
};
use program::has_python;
use serde_json::Value;

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/peer.py");

/// The most that anything may take, on a machine busy with other tests.
const BOUND: Duration = Duration::from_secs(20);

/// The peer as a child process, with the lines that it has printed so far. Killed when dropped.
struct PythonPeer {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl PythonPeer {
    fn join(node: &NodeHandle, args: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .arg(PEER)
            .arg(node.listen_addrs()[0].to_string())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let printed = lines.clone();
        // Ends with the child.
        thread::spawn(move || {
            for line in stdout.lines() {
                printed.lock().unwrap().push(line.unwrap());
            }
        });
        Self { child, lines }
    }

    /// What follows this beginning of a line, once such a line has been printed.
    async fn printed(&self, beginning: &str) -> String {
        let mut rest = None;
        until(beginning, async || {
            let lines = self.lines.lock().unwrap();
            rest = lines.iter().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned);
            rest.is_some()
        })
        .await;
        rest.unwrap()
    }

    async fn id(&self) -> NodeId {
        self.printed("I am ").await.parse().unwrap()
    }

    /// The messages of this msgtype that it has heard, from whomever.
    fn heard(&self, msgtype: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        let message = |line: &String| serde_json::from_str::<Value>(line.split_once(' ')?.1).ok();
        let messages = lines.iter().filter_map(message);
        messages.filter(|message| message["msgtype"] == msgtype).collect()
    }
}

impl Drop for PythonPeer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn node(bootstrap: &[&NodeHandle]) -> NodeHandle {
    let config = NodeConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        bootstrap: bootstrap.iter().map(|node| node.listen_addrs()[0].clone().into()).collect(),
        workers: 1,
        ..NodeConfig::default()
    };
    Node::builder().config(config).start().await.unwrap()
}

async fn until<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let deadline = tokio::time::Instant::now() + BOUND;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn peer(node: &NodeHandle, id: NodeId) -> Option<PeerInfo> {
    node.peers().await.into_iter().find(|peer| peer.id == id)
}

#[actix_rt::test]
async fn a_python_peer_joins_hears_answers_and_leaves() {
    if !has_python() {
        return;
    }
    let node = node(&[]).await;
    let python = PythonPeer::join(&node, &[]);
    let id = python.id().await;
    until("the peer in the table", async || peer(&node, id).await.is_some()).await;
    let info = peer(&node, id).await.unwrap();
    assert_eq!((info.direction, info.agent.as_deref()), (Direction::Inbound, Some("peer.py/1")));
    for msgtype in ["hello", "addr", "getaddr", "ping"] {
        until(msgtype, async || !python.heard(msgtype).is_empty()).await;
    }
    assert_eq!(python.heard("hello")[0]["nodeid"], node.id().to_string());
    assert_eq!(python.heard("addr")[0]["peers"][0][0], node.listen_addrs()[0].to_string());
    let pong = async || peer(&node, id).await.is_some_and(|peer| peer.rtt.is_some());
    until("a pong", pong).await;

    drop(python);
    until("the end of the session", async || peer(&node, id).await.is_none()).await;
    node.stop().await;
}

#[actix_rt::test]
async fn a_listening_python_peer_is_proven_told_to_others_and_dialled_by_them() {
    if !has_python() {
        return;
    }
    let node_a = node(&[]).await;
    let python = PythonPeer::join(&node_a, &["--listen", "127.0.0.1:0"]);
    let id = python.id().await;
    let listening = python.printed("listening on ").await.parse().unwrap();
    until("the proof", async || {
        let known = node_a.addresses().await;
        known
            .iter()
            .any(|entry| entry.addr == listening && entry.id == Some(id) && entry.proven.is_some())
    })
    .await;
    let feeler = async || python.heard("hello").iter().any(|hello| hello["feeler"] == true);
    until("the feeler's hello", feeler).await;

    // It knows of the first node only.
    let node_b = node(&[&node_a]).await;
    let dialled = async || {
        let peer = peer(&node_b, id).await;
        peer.is_some_and(|peer| peer.direction == Direction::Outbound && peer.rtt.is_some())
    };
    until("a session of the third node with the peer", dialled).await;
    assert_eq!(peer(&node_b, id).await.unwrap().remote, listening);
    let heard_of_b = async || {
        python.heard("hello").iter().any(|hello| hello["nodeid"] == node_b.id().to_string())
    };
    until("the third node's hello", heard_of_b).await;

    drop(python);
    for node in [&node_a, &node_b] {
        until("the end of the session", async || peer(node, id).await.is_none()).await;
    }
    node_a.stop().await;
    node_b.stop().await;
}

#[actix_rt::test]
async fn a_python_peer_puts_gets_and_deletes_shared_data_and_quits() {
    if !has_python() {
        return;
    }
    let config = NodeConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        ..NodeConfig::default()
    };
    let builder = Node::builder().config(config);
    let overlay = Overlay::start(builder, OverlayConfig::default()).await.unwrap();
    let node = overlay.node();
    let spaces = Spaces::start(&overlay, SpacesConfig::default(), Keep::Memory).await.unwrap();
    let notes = spaces.join(&SpaceSpec::open("notes").unwrap()).await.unwrap();

    let put = PythonPeer::join(node, &["put", "notes", "colour", "grün"]);
    until("the ack", async || !put.heard("update_ack").is_empty()).await;
    let entry = notes.get("colour").await.unwrap().unwrap();
    assert_eq!((entry.writer, entry.value.as_deref()), (put.id().await, Some("grün".as_bytes())));
    until("bye", async || !put.heard("bye").is_empty()).await;
    assert_eq!(put.heard("bye")[0]["reason"], "requested");

    // More than one page.
    for n in 0..40 {
        notes.set(&format!("long {n:02}"), "x".repeat(5000)).await.unwrap();
    }
    let get = PythonPeer::join(node, &["get", "notes"]);
    until("bye", async || !get.heard("bye").is_empty()).await;
    let pages = get.heard("data");
    let count = |page: &Value| page["records"].as_array().unwrap().len();
    assert_eq!(pages.iter().map(count).sum::<usize>(), 41);
    assert!(pages.len() > 3 && pages[0]["records"][0]["value"] == "grün");

    let del = PythonPeer::join(node, &["del", "notes", "colour"]);
    until("bye", async || !del.heard("bye").is_empty()).await;
    assert!(del.heard("update_ack")[0]["time_ms"].is_u64());
    assert!(notes.get("colour").await.unwrap().is_none());
    let refused = PythonPeer::join(node, &["get", "nothing"]);
    until("bye", async || !refused.heard("bye").is_empty()).await;
    assert_eq!(refused.heard("data")[0]["refused"], "no-such-space");
    spaces.stop().await;
    overlay.stop().await;
}

/// A default node tries TLS first, which a Python peer does not know, and then plaintext.
#[actix_rt::test]
async fn a_python_peer_is_a_bootstrap_of_a_default_node() {
    if !has_python() {
        return;
    }
    let first = node(&[]).await;
    let python = PythonPeer::join(&first, &["--listen", "127.0.0.1:0"]);
    let id = python.id().await;
    let contact: peerage::HostPort = python.printed("listening on ").await.parse().unwrap();
    let config =
        NodeConfig { bootstrap: vec![contact.into()], workers: 1, ..NodeConfig::default() };
    let second = Node::builder().config(config).start().await.unwrap();
    until("a session with its bootstrap", async || peer(&second, id).await.is_some()).await;
    let info = peer(&second, id).await.unwrap();
    assert_eq!(info.channel, peerage::Channel::PLAINTEXT);
    // It tells of the first node, which is then met encrypted.
    until("the first node", async || peer(&second, first.id()).await.is_some()).await;
    let info = peer(&second, first.id()).await.unwrap();
    assert!(info.channel.proves(first.id()));
    second.stop().await;
    first.stop().await;
}

#[cfg(unix)]
#[actix_rt::test]
async fn a_terminated_python_peer_says_bye() {
    use peerage::{JournalQuery, Kind};

    if !has_python() {
        return;
    }
    let node = node(&[]).await;
    let mut python = PythonPeer::join(&node, &[]);
    let id = python.id().await;
    until("a ping", async || !python.heard("ping").is_empty()).await;
    let pid = python.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    until("the end of the session", async || peer(&node, id).await.is_none()).await;
    let down = JournalQuery { kind: Some(Kind::SessionDown), ..JournalQuery::default() };
    until("the reason", async || {
        node.journal(down.clone()).await.iter().any(|decision| decision.reason == "shutdown")
    })
    .await;
    assert!(python.child.wait().unwrap().success());
    node.stop().await;
}
