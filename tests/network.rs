//! Whole networks over the in-memory transport, under a virtual clock.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use peerage::{
    NodeId, PeerMessage, Received,
    sim::{self, SimConfig, SimEvent, SimNetwork},
    testkit::Probe,
};
use serde::{Deserialize, Serialize};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn small_mesh(net: &mut SimNetwork, n: usize) {
    let first = net.add(&[]).await;
    for _ in 1..n {
        net.add(&[first]).await;
    }
    assert!(net.until(secs(10), async |net| net.is_full_mesh().await).await, "no mesh in 10 s");
    // Dials that crossed are settled by now.
    net.advance(secs(6)).await;
}

#[test]
fn ten_nodes_that_know_one_bootstrap_become_a_full_mesh_within_seconds() {
    for seed in 0..10 {
        sim::run(SimConfig::seeded(seed), async |net| small_mesh(net, 10).await);
    }
}

/// Every node dials every other, however many there are.
fn full_mesh(seed: u64) -> SimConfig {
    let mut config = SimConfig::seeded(seed);
    config.node.discovery.target_peers = 64;
    config
}

/// A network with a bit of everything: joins, losses, a partition, a crash, a restart.
async fn eventful(net: &mut SimNetwork) -> Vec<SimEvent> {
    net.grow(30, Duration::from_millis(300)).await;
    net.partition(&[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
    net.advance(secs(300)).await;
    net.heal();
    net.cut_some(0.2);
    net.kill(3).await;
    net.advance(secs(60)).await;
    net.restart(3, &[7]).await;
    net.stop(5).await;
    net.advance(secs(600)).await;
    net.events()
}

#[test]
fn the_same_seed_gives_the_same_events_in_the_same_order() {
    let run = |seed| sim::run(SimConfig { dial_loss: 0.1, ..full_mesh(seed) }, eventful);
    let (first, again, other) = (run(7), run(7), run(8));
    assert!(first.len() > 1000, "{} events", first.len());
    let differs = first.iter().zip(&again).position(|(a, b)| a != b);
    assert_eq!(differs.map(|n| (n, &first[n], &again[n])), None, "seed 7");
    assert_eq!(first.len(), again.len());
    assert!(first != other);
}

#[test]
fn events_alternate_and_agree_with_the_tables() {
    sim::run(SimConfig::seeded(3), async |net| {
        let events = eventful(net).await;
        let mut up = BTreeMap::new();
        for event in events {
            let key = (event.node, event.peer);
            let was_up = up.insert(key, event.down.is_none()).unwrap_or(false);
            assert_ne!(was_up, event.down.is_none(), "{event:?}");
        }
        for (node, peers) in net.tables().await {
            for peer in peers {
                assert_eq!(up.get(&(node, peer.id)), Some(&true));
            }
        }
    });
}

#[test]
fn a_killed_node_is_noticed_and_a_restarted_one_is_found_again() {
    sim::run(SimConfig::seeded(1), async |net| {
        small_mesh(net, 6).await;
        net.kill(0).await;
        assert!(net.until(secs(2), async |net| net.is_full_mesh().await).await);
        // The others never gave up on the bootstrap.
        net.restart(0, &[]).await;
        assert!(net.until(secs(90), async |net| net.is_full_mesh().await).await);
    });
}

#[test]
fn silence_ends_sessions_after_dead_after_and_a_healed_network_comes_together_again() {
    sim::run(SimConfig::seeded(2), async |net| {
        small_mesh(net, 8).await;
        net.partition(&[&[0, 1, 2, 3]]);
        net.advance(secs(200)).await;
        assert!(net.is_full_mesh().await, "silence proves nothing yet");
        net.advance(secs(120)).await;
        assert!(net.tables().await.values().all(|peers| peers.len() == 3));
        let timeouts = net.events().iter().filter(|e| e.down.as_deref() == Some("timeout")).count();
        assert!(timeouts >= 16, "{timeouts}");
        net.heal();
        assert!(net.until(secs(900), async |net| net.is_full_mesh().await).await);
    });
}

#[test]
fn a_short_partition_costs_no_session() {
    sim::run(SimConfig::seeded(2), async |net| {
        small_mesh(net, 6).await;
        let events = net.events().len();
        net.partition(&[&[0, 1, 2]]);
        net.advance(secs(100)).await;
        net.heal();
        net.advance(secs(300)).await;
        assert_eq!(net.events().len(), events);
    });
}

#[test]
fn nodes_that_stop_say_so() {
    sim::run(SimConfig::seeded(5), async |net| {
        small_mesh(net, 5).await;
        net.stop(2).await;
        net.advance(secs(1)).await;
        let told = net.events().iter().filter(|e| e.down.as_deref() == Some("shutdown")).count();
        assert_eq!(told, 8, "four peers hear it, and the node itself says it of four sessions");
    });
}

#[test]
fn a_node_nobody_can_dial_has_sessions_but_is_never_advertised() {
    sim::run(SimConfig::seeded(4), async |net| {
        small_mesh(net, 4).await;
        let hidden = net.add(&[]).await;
        net.hide(hidden, true);
        let first = SimNetwork::addr(0);
        assert!(net.node(hidden).unwrap().dial(first).await.is_ok());
        assert!(net.until(secs(60), async |net| net.is_full_mesh().await).await);
        for (index, node) in net.alive() {
            let addr = SimNetwork::addr(hidden);
            let known = node.addresses().await.into_iter().find(|entry| entry.addr == addr);
            assert!(index == hidden || known.is_none_or(|entry| entry.proven.is_none()));
        }
    });
}

#[test]
fn two_nodes_that_dial_each_other_at_once_end_with_one_session_on_both_sides() {
    for seed in 0..50 {
        sim::run(SimConfig::seeded(seed), async |net| {
            let (a, b) = (net.add(&[]).await, net.add(&[]).await);
            let (addr_a, addr_b) = (SimNetwork::addr(a), SimNetwork::addr(b));
            let (node_a, node_b) = (net.node(a).unwrap(), net.node(b).unwrap());
            let both = (node_a.dial(addr_b), node_b.dial(addr_a));
            let (first, second) = tokio::join!(both.0, both.1);
            assert_eq!((first.ok(), second.ok()), (Some(node_b.id()), Some(node_a.id())), "{seed}");
            net.advance(secs(5)).await;
            let tables = net.tables().await;
            let ends: Vec<_> =
                tables.values().flatten().map(|p| (p.direction, p.rtt.is_some())).collect();
            assert_eq!(ends.len(), 2, "{seed}: {tables:?}");
            assert!(ends[0].0 != ends[1].0 && ends[0].1 && ends[1].1, "{seed}: {ends:?}");
        });
    }
}

#[test]
fn the_rest_of_the_network_survives_a_third_of_it() {
    sim::run(full_mesh(9), async |net| {
        net.grow(60, Duration::from_millis(100)).await;
        net.advance(secs(30)).await;
        for index in 0..20 {
            net.kill(index).await;
        }
        net.advance(secs(120)).await;
        assert!(net.is_full_mesh().await);
    });
}

#[test]
fn a_thousand_nodes_can_all_reach_each_other_with_few_sessions() {
    sim::run(SimConfig::seeded(7), async |net| {
        let first = net.add(&[]).await;
        for _ in 1..1000 {
            net.add(&[first]).await;
            net.advance(Duration::from_millis(50)).await;
        }
        // Of some ten thousand buckets a handful may take longer: their nodes are neither known to be
        // there nor asked for again soon.
        assert!(whole_within(net, 120, 5).await);
        net.advance(secs(60)).await;
        let map = Map::of(net).await;
        assert!(map.is_whole(5) && map.mean() < 50.0, "{} sessions a node", map.mean());
        let routes = map.routes(5000);
        assert!(routes.iter().flatten().count() >= 4995);
        assert!(routes.iter().flatten().all(|hops| *hops <= 10));
        let pinged = net.tables().await.into_values().flatten().all(|peer| peer.rtt.is_some());
        assert!(pinged, "every session has been pinged by now");
    });
}

#[test]
fn a_network_cut_in_two_is_one_again_soon_after_it_is_whole() {
    sim::run(SimConfig::seeded(4), async |net| {
        net.grow(120, Duration::from_millis(100)).await;
        net.advance(secs(60)).await;
        let half: Vec<usize> = (0..60).collect();
        net.partition(&[&half]);
        net.advance(secs(600)).await;
        assert!(!Map::of(net).await.is_whole(0));
        net.heal();
        assert!(whole_within(net, 120, 0).await);
    });
}

#[test]
fn what_nodes_lose_at_once_is_made_good_for() {
    sim::run(SimConfig::seeded(5), async |net| {
        net.grow(200, Duration::from_millis(50)).await;
        net.advance(secs(60)).await;
        for index in 0..60 {
            net.kill(index * 3).await;
        }
        // Of four sessions in a bucket some are left.
        let routes = Map::of(net).await.routes(2000);
        let arrived = routes.iter().flatten().count();
        assert!(arrived >= 1900, "{arrived} of 2000");
        assert!(whole_within(net, 60, 0).await);
    });
}

/// Whether no node lacks a session in any bucket, but for so many, within this time. Looked at every
/// ten seconds, for it is much to look at.
async fn whole_within(net: &SimNetwork, limit: u64, but: usize) -> bool {
    for _ in 0..limit / 10 {
        net.advance(secs(10)).await;
        if Map::of(net).await.is_whole(but) {
            return true;
        }
    }
    false
}

/// Who has a session with whom, and what greedy routing makes of it.
struct Map(BTreeMap<NodeId, Vec<NodeId>>);

impl Map {
    async fn of(net: &SimNetwork) -> Self {
        let mut map = BTreeMap::new();
        for (index, peers) in net.tables().await {
            map.insert(net.node(index).unwrap().id(), peers.iter().map(|p| p.id).collect());
        }
        Self(map)
    }

    fn mean(&self) -> f64 {
        self.0.values().map(Vec::len).sum::<usize>() as f64 / self.0.len() as f64
    }

    /// Whether every node has a session in each bucket that anybody stands in, but for so many.
    fn is_whole(&self, but: usize) -> bool {
        let missing = |(me, peers): (&NodeId, &Vec<NodeId>)| {
            let buckets = |ids: &mut dyn Iterator<Item = &NodeId>| -> BTreeSet<u8> {
                ids.filter_map(|id| me.bucket(*id)).collect()
            };
            let (all, had) = (buckets(&mut self.0.keys()), buckets(&mut peers.iter()));
            all.difference(&had).count()
        };
        self.0.iter().map(missing).sum::<usize>() <= but
    }

    /// The hops between so many pairs of nodes, each always to the peer strictly closer.
    fn routes(&self, n: usize) -> Vec<Option<usize>> {
        let ids: Vec<NodeId> = self.0.keys().copied().collect();
        let pair = |i: usize| (ids[i * 7919 % ids.len()], ids[(i * 104_729 + 1) % ids.len()]);
        (0..n).map(pair).map(|(from, to)| self.hops(from, to)).collect()
    }

    fn hops(&self, from: NodeId, to: NodeId) -> Option<usize> {
        let (mut at, mut hops) = (from, 0);
        while at != to {
            let peers = self.0[&at].iter().filter(|id| self.0.contains_key(id));
            let next = *peers.min_by_key(|id| id.distance(to))?;
            if next.distance(to) >= at.distance(to) {
                return None;
            }
            (at, hops) = (next, hops + 1);
        }
        Some(hops)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Blob {
    n: u32,
    text: String,
}

impl PeerMessage for Blob {
    const MSGTYPE: &'static str = "blob";
}

#[test]
fn two_nodes_that_send_each_other_much_at_once_both_get_it_all() {
    sim::run(SimConfig::seeded(6), async |net| {
        small_mesh(net, 2).await;
        let probes = [Probe::<Received<Blob>>::start(), Probe::<Received<Blob>>::start()];
        for (index, node) in net.alive() {
            node.register(probes[index].recipient()).unwrap();
        }
        for (_, node) in net.alive() {
            for n in 0..60 {
                let sent = node.send_all(&Blob { n, text: "x".repeat(60_000) }).unwrap();
                assert_eq!((sent.accepted, sent.refused), (1, 0));
            }
        }
        for probe in &probes {
            for n in 0..60 {
                assert_eq!(probe.expect().await.message.n, n);
            }
        }
        net.advance(secs(10)).await;
        assert!(net.is_full_mesh().await && net.events().iter().all(|event| event.down.is_none()));
    });
}
