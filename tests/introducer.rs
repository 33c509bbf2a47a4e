//! A node whose only work is to introduce others: in simulated networks, over loopback while it is
//! attacked, and as the program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and tells its figures"
)]

mod program;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use peerage::{
    HostPort, Kind, NodeConfig, NodeId, PeerMessage, Role,
    clock::Moment,
    overlay::Routed,
    proto::{
        address_book::{AddressBook, BookKey},
        address_entry::{Hearing, Source},
    },
    sim::{self, SimConfig, SimNetwork},
    testkit::Probe,
};
use program::{finish, id_of, node_with_a_disk, peerage, stdout_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use support::{
    BOUND, Raw, addr_line, alone, hello_with, id, memory_kib, noted, peer_ids, place, quiet, start,
    until, within,
};
use tempfile::TempDir;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hail {}

impl PeerMessage for Hail {
    const MSGTYPE: &'static str = "hail";
}

/// Whether every running node but the introducer can be reached from every other over sessions.
async fn is_one(net: &SimNetwork) -> bool {
    let ids: BTreeMap<usize, NodeId> = net.alive().map(|(n, node)| (n, node.id())).collect();
    let tables = net.tables().await;
    let all: BTreeSet<NodeId> = ids.iter().filter(|(n, _)| **n > 0).map(|(_, id)| *id).collect();
    let peers: BTreeMap<NodeId, Vec<NodeId>> = tables
        .into_iter()
        .map(|(n, peers)| (ids[&n], peers.iter().map(|peer| peer.id).collect()))
        .collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<NodeId> = all.first().copied().into_iter().collect();
    while let Some(node) = next.pop() {
        if all.contains(&node) && reached.insert(node) {
            next.extend(&peers[&node]);
        }
    }
    reached == all
}

/// How many sessions the node with the fewest has; the introducer aside.
async fn fewest(net: &SimNetwork) -> usize {
    let tables = net.tables().await;
    tables.iter().filter(|(n, _)| **n > 0).map(|(_, peers)| peers.len()).min().unwrap()
}

async fn with_introducer(net: &mut SimNetwork, n: usize, every: Duration) {
    assert_eq!(net.add_with(NodeConfig::for_role(Role::Introducer)).await, 0);
    for _ in 0..n {
        net.add(&[0]).await;
        net.advance(every).await;
    }
}

#[test]
fn a_network_that_knows_only_an_introducer_forms_and_stays_when_it_goes() {
    // One after the other, and all at once.
    for (seed, every) in [(1, 300), (2, 0)] {
        sim::run(SimConfig::seeded(seed), async |net| {
            with_introducer(net, 120, Duration::from_millis(every)).await;
            let formed =
                net.until(secs(60), async |net| is_one(net).await && fewest(net).await >= 8);
            assert!(formed.await, "seed {seed}: {} sessions", fewest(net).await);
            net.advance(secs(120)).await;
            let introducer = net.node(0).unwrap().clone();
            assert!(introducer.peers().await.is_empty(), "it keeps no sessions");
            let visits = noted(&introducer, Kind::SessionUp).await.len();
            assert!(visits <= 300, "{visits} visits");
            // Nobody holds it against the introducer, and nobody counts on it.
            for (n, node) in net.alive() {
                assert!(noted(node, Kind::Discouraged).await.is_empty(), "{n}");
            }
            let known = net.node(1).unwrap().addresses().await;
            let known = known.iter().find(|known| known.addr == SimNetwork::addr(0)).unwrap();
            assert!(known.proven.is_some() && known.failures == 0 && !known.cold, "{known:?}");
            // Nobody has come back without need.
            net.advance(secs(600)).await;
            let later = noted(&introducer, Kind::SessionUp).await.len();
            assert!(later <= visits + 5, "{later} visits after {visits}");
            stays_without(net).await;
        });
    }
}

async fn stays_without(net: &mut SimNetwork) {
    net.stop(0).await;
    net.advance(secs(1800)).await;
    assert!(is_one(net).await && fewest(net).await >= 8);
    let late = net.add(&[0, 7]).await;
    let joined = async |net: &SimNetwork| net.node(late).unwrap().peers().await.len() >= 8;
    assert!(net.until(secs(60), joined).await);
    let hails = Probe::<Routed<Hail>>::start();
    net.overlay(late).unwrap().register(hails.recipient()).unwrap();
    let id = net.node(late).unwrap().id();
    let delivered = net.overlay(99).unwrap().send(id, &Hail {}).await.unwrap();
    assert!(delivered.hops >= 1);
}

#[test]
fn a_node_that_has_lost_all_its_peers_asks_its_introducer_again() {
    sim::run(SimConfig::seeded(3), async |net| {
        with_introducer(net, 3, secs(1)).await;
        assert!(net.until(secs(60), async |net| fewest(net).await == 2).await);
        net.advance(secs(900)).await;
        for n in [2, 3] {
            net.kill(n).await;
        }
        net.advance(secs(1200)).await;
        net.add(&[0]).await;
        assert!(net.until(secs(60), async |net| fewest(net).await == 1).await);
        // It does not go on telling of the dead.
        let known = net.node(4).unwrap().addresses().await;
        assert!(known.iter().all(|known| known.addr != SimNetwork::addr(2)), "{known:?}");
    });
}

#[test]
fn an_introducer_says_that_it_passes_nothing_on() {
    sim::run(SimConfig::seeded(4), async |net| {
        with_introducer(net, 1, secs(1)).await;
        let seen = net.node(1).unwrap().peers().await;
        assert_eq!(seen[0].features, ["attach", "introduce"]);
        let nowhere = net.overlay(0).unwrap().send(id(77), &Hail {}).await;
        assert!(nowhere.is_err());
    });
}

/// Connections that say nothing, guests who ask and do not read, and floods of addresses.
#[actix_rt::test]
async fn two_nodes_meet_through_an_introducer_that_is_attacked() {
    let mut config = NodeConfig::for_role(Role::Introducer);
    (config.listen, config.workers) = (quiet().listen, 1);
    config.introduction.session = secs(5);
    let introducer = start(config).await;
    let at = place(&introducer);
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(Raw::connect(&at).await);
    }
    for n in 0..100 {
        let mut slow = Raw::connect(&at).await;
        slow.send(hello_with(1000 + n, &format!(",\"listen\":\"127.0.0.1:{}\"", 1 + n))).await;
        slow.send("{\"msgtype\":\"getaddr\"}\n".repeat(50)).await;
        slow.send(addr_line((0..900).map(|k| format!("127.{}.{n}.1:{}", k / 250, k + 1)))).await;
        held.push(slow);
    }
    let peers =
        |bootstrap: &HostPort| NodeConfig { bootstrap: vec![bootstrap.clone().into()], ..quiet() };
    let (a, b) = (start(peers(&at)).await, start(peers(&at)).await);
    let meeting = async {
        until("they meet", async || peer_ids(&a).await.contains(&b.id())).await;
    };
    within(BOUND, "they meet", meeting).await;
    until("the slow are let go", async || {
        introducer.peers().await.iter().all(|peer| !(1000..1100).contains(&peer.id.as_u128()))
    })
    .await;
    drop(held);
    for node in [a, b, introducer] {
        node.stop().await;
    }
}

/// What the book of an introducer costs: ten thousand proven addresses, and then as much hearsay as
/// it has room for.
#[test]
fn ten_thousand_registrations_fit_in_little_memory() {
    if !alone("ten_thousand_registrations_fit_in_little_memory", 64) {
        return;
    }
    let config = NodeConfig::for_role(Role::Introducer).discovery;
    let mut book = AddressBook::new(id(1), config, BookKey::new([7; 32]), 7);
    book.keep_ring();
    let now = Moment::after(secs(1_000_000));
    let addr = |n: u32| -> HostPort {
        let [_, a, b, c] = n.wrapping_mul(0x9e37_79b1).to_be_bytes();
        support::at(&format!("{}.{a}.{b}.{c}:{}", 20 + n % 100, 1000 + n / 100))
    };
    let begin = memory_kib("VmRSS").unwrap_or(0);
    for n in 0..10_000 {
        let (addr, id) = (addr(n), id(u128::from(n) << 100 | 2));
        let hearing = Hearing { source: Source::Declared(id), from: addr.ip() };
        book.learn(&addr, Some(id), hearing, now).unwrap();
        book.proven(&addr, id, now);
    }
    assert_eq!(book.n_on_ring(), 10_000);
    let registered = memory_kib("VmRSS").unwrap_or(0);
    for n in 10_000..200_000 {
        let hearing = Hearing { source: Source::Told(id(9)), from: addr(n + 1).ip() };
        let _refused_when_full = book.learn(&addr(n), None, hearing, now);
    }
    let full = memory_kib("VmRSS").unwrap_or(0);
    let (cost, all) = (registered.saturating_sub(begin), full.saturating_sub(begin));
    println!("10,000 registrations: {cost} KiB; {} addresses: {all} KiB", book.len());
    assert_eq!(book.n_on_ring(), 10_000);
    assert!(cost < 32 * 1024 && all < 96 * 1024, "{cost} KiB, {all} KiB");
}

#[test]
fn the_program_introduces_three_nodes_and_may_end() {
    let dir = TempDir::new().unwrap();
    let api = ["--api", "127.0.0.1:0"];
    let run = |data: &str, more: &[&str]| {
        node_with_a_disk(&dir, &[&["--data-dir", data], &api[..], more].concat())
    };
    let json = |of: &str, words: &[&str]| -> Value {
        let args = [words, &["--data-dir", of, "--json"]].concat();
        serde_json::from_str(&stdout_of(peerage(dir.path(), &args))).unwrap()
    };
    let mut introducer = run("i", &["--role", "introducer"]);
    id_of(&mut introducer);
    let at = introducer.after("listening on ");
    let names = ["a", "b", "c"];
    let mut nodes: Vec<_> = names.map(|name| run(name, &["--bootstrap", &at])).into();
    for node in &mut nodes {
        node.after("control API on ");
    }
    introducer.after("control API on ");
    let n_peers = |of: &str| {
        let peers = json(of, &["peers"]);
        let peers = peers["peers"].as_array().unwrap();
        let is_peer =
            |peer: &&Value| !peer["features"].as_array().unwrap().contains(&"introduce".into());
        peers.iter().filter(is_peer).count()
    };
    let deadline = std::time::Instant::now() + program::BOUND;
    while names.iter().any(|name| n_peers(name) != 2) {
        assert!(std::time::Instant::now() < deadline, "they do not meet");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(json("i", &["info"])["role"], "introducer");
    let text = stdout_of(peerage(dir.path(), &["info", "--data-dir", "i"]));
    assert!(text.contains("\nrole        introducer\n"), "{text}");
    let (status, report, _) = finish(peerage(dir.path(), &["doctor", "--json", "--data-dir", "i"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    let about_node = report["findings"].as_array().unwrap().iter().find(|f| f["check"] == "node");
    assert_eq!((status, &about_node.unwrap()["code"]), (0, &"introducer".into()), "{report}");
    introducer.signal("TERM");
    assert!(introducer.exit(program::STOP_BOUND).success());
    assert!(names.iter().all(|name| n_peers(name) == 2));
}

#[test]
fn the_role_can_be_said_in_three_ways() {
    let dir = TempDir::new().unwrap();
    let config = |args: &[&str], env: Option<&str>| {
        let mut command = peerage(dir.path(), &[&["config"], args].concat());
        if let Some(role) = env {
            command.env("PEERAGE_ROLE", role);
        }
        stdout_of(command).lines().find(|line| line.starts_with("role")).unwrap().to_owned()
    };
    assert!(config(&[], None).contains("\"peer\""));
    assert!(config(&["--role", "introducer"], None).contains("\"introducer\""));
    assert!(config(&[], Some("introducer")).contains("env PEERAGE_ROLE"));
    std::fs::write(dir.path().join("n.toml"), "role = \"introducer\"").unwrap();
    assert!(config(&["--config", "n.toml"], None).contains("\"introducer\""));
    let (status, _, error) = finish(peerage(dir.path(), &["run", "--role", "tracker"]));
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("expected peer or introducer"), "{error}");
}
