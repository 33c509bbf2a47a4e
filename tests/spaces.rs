//! Shared data, over whole networks in memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says what it measured"
)]

use std::time::Duration;

use bytes::Bytes;
use peerage::{
    JournalQuery, NodeKey,
    sim::{self, SimConfig, SimNetwork},
    spaces::{Change, Keep, Refusal, Space, SpaceError, SpaceSpec, Spaces, SpacesConfig},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A network of so many nodes, each in an open space.
async fn network(net: &mut SimNetwork, n: usize) -> Vec<Space> {
    net.grow(n, Duration::from_millis(100)).await;
    net.advance(secs(60)).await;
    let mut spaces = Vec::new();
    for index in 0..n {
        spaces.push(join(net, index, &SpaceSpec::open("notes").unwrap()).await);
    }
    net.advance(secs(10)).await;
    spaces
}

async fn join(net: &SimNetwork, index: usize, spec: &SpaceSpec) -> Space {
    let overlay = net.overlay(index).unwrap();
    let spaces = Spaces::start(overlay, SpacesConfig::default(), Keep::Memory).await.unwrap();
    spaces.join(spec).await.unwrap()
}

async fn value(space: &Space, key: &str) -> Option<Bytes> {
    space.get(key).await.unwrap().and_then(|entry| entry.value)
}

async fn roots(spaces: &[Space]) -> Vec<[u8; 8]> {
    let mut roots = Vec::new();
    for space in spaces {
        roots.push(space.info().await.unwrap().root);
    }
    roots
}

async fn are_equal(spaces: &[Space]) -> bool {
    let roots = roots(spaces).await;
    roots.iter().all(|root| *root == roots[0])
}

#[test]
fn what_one_writes_all_have_and_what_one_deletes_nobody_has() {
    sim::run(SimConfig::seeded(1), async |net| {
        let spaces = network(net, 20).await;
        for (n, space) in spaces.iter().enumerate() {
            space.set(&format!("key {n}"), n.to_string()).await.unwrap();
        }
        net.advance(secs(2)).await;
        for space in &spaces {
            let page = space.list("key ", None, 100).await.unwrap();
            assert_eq!((page.entries.len(), page.more), (20, false));
            assert!(page.entries.iter().all(|entry| entry.proven));
        }
        assert!(spaces[3].delete("key 7").await.unwrap().is_some());
        assert_eq!(spaces[3].delete("nothing").await.unwrap(), None);
        spaces[4].set("key 8", "later").await.unwrap();
        net.advance(secs(2)).await;
        for space in &spaces {
            assert_eq!(value(space, "key 7").await, None);
            assert_eq!(value(space, "key 8").await.as_deref(), Some(&b"later"[..]));
        }
        assert!(are_equal(&spaces).await);
    });
}

#[test]
fn a_newcomer_gets_what_there_is_also_what_is_too_large_to_be_published() {
    sim::run(SimConfig::seeded(2), async |net| {
        let mut spaces = network(net, 5).await;
        let large = Bytes::from(vec![7; 1 << 20]);
        for n in 0..300 {
            spaces[0].set(&format!("key {n:03}"), n.to_string()).await.unwrap();
        }
        spaces[1].set("large", large.clone()).await.unwrap();
        net.advance(secs(20)).await;
        assert!(are_equal(&spaces).await);
        net.grow(1, Duration::ZERO).await;
        net.advance(secs(10)).await;
        spaces.push(join(net, 5, &SpaceSpec::open("notes").unwrap()).await);
        net.advance(secs(20)).await;
        assert!(are_equal(&spaces).await);
        assert_eq!(value(&spaces[5], "large").await, Some(large));
    });
}

#[test]
fn two_among_many_that_are_no_peers_find_each_other() {
    sim::run(SimConfig::seeded(3), async |net| {
        net.grow(150, Duration::from_millis(100)).await;
        net.advance(secs(120)).await;
        let spec = SpaceSpec::open("rare").unwrap();
        let me = net.overlay(0).unwrap().node().peers().await;
        let far = (1..150).find(|n| {
            let id = net.overlay(*n).unwrap().id();
            me.iter().all(|peer| peer.id != id)
        });
        let first = join(net, 0, &spec).await;
        first.set("before", "1").await.unwrap();
        net.advance(secs(60)).await;
        let second = join(net, far.unwrap(), &spec).await;
        net.advance(secs(60)).await;
        assert_eq!(value(&second, "before").await.as_deref(), Some(&b"1"[..]));
        second.set("after", "2").await.unwrap();
        net.advance(secs(60)).await;
        assert_eq!(value(&first, "after").await.as_deref(), Some(&b"2"[..]));
        assert!(are_equal(&[first, second]).await);
    });
}

#[test]
fn only_named_writers_write_also_when_their_records_are_passed_on() {
    sim::run(SimConfig::seeded(4), async |net| {
        net.grow(6, Duration::from_millis(100)).await;
        net.advance(secs(30)).await;
        let writer = net.overlay(2).unwrap().id();
        let spec = SpaceSpec::with_writers("news", [writer]).unwrap();
        let mut spaces = Vec::new();
        for index in 0..6 {
            spaces.push(join(net, index, &spec).await);
        }
        net.advance(secs(5)).await;
        spaces[2].set("a", "1").await.unwrap();
        let refused = spaces[3].set("a", "2").await.unwrap_err();
        assert!(matches!(refused, SpaceError::Refused(Refusal::NotAWriter)), "{refused}");
        assert_eq!(refused.code(), "not-a-writer");
        net.advance(secs(5)).await;
        for space in &spaces {
            assert_eq!(value(space, "a").await.as_deref(), Some(&b"1"[..]));
        }
        // The same name with other writers is another space.
        let other = SpaceSpec::with_writers("news", [net.overlay(3).unwrap().id()]).unwrap();
        assert_ne!(other.id(), spec.id());
    });
}

#[test]
fn a_watcher_hears_each_change_and_goes_on_where_it_was() {
    sim::run(SimConfig::seeded(5), async |net| {
        let spaces = network(net, 3).await;
        let mut watch = spaces[1].watch(None);
        for n in 0..200 {
            spaces[0].set(&format!("key {n}"), "x").await.unwrap();
        }
        spaces[0].delete("key 5").await.unwrap();
        net.advance(secs(30)).await;
        let mut heard = Vec::new();
        for _ in 0..150 {
            let Some(Change::Entry(entry)) = watch.next().await.unwrap() else { panic!() };
            heard.push(entry);
        }
        let mut later = spaces[1].watch(Some(watch.seen()));
        while heard.len() < 200 {
            let Some(Change::Entry(entry)) = later.next().await.unwrap() else { panic!() };
            heard.push(entry);
        }
        let deleted: Vec<_> = heard.iter().filter(|entry| entry.value.is_none()).collect();
        assert!(deleted.len() == 1 && &*deleted[0].key == "key 5");
        assert!(heard.is_sorted_by_key(|entry| entry.seq));
        // Nothing more has happened.
        let waits = tokio::time::timeout(secs(5), later.next()).await;
        assert!(waits.is_err());
    });
}

/// Writes on both sides of a partition; after it all are equal within two minutes.
fn heals(nodes: usize) {
    sim::run(SimConfig::seeded(6), async |net| {
        let spaces = network(net, nodes).await;
        let half: Vec<usize> = (0..nodes / 2).collect();
        let others: Vec<usize> = (nodes / 2..nodes).collect();
        net.partition(&[&half, &others]);
        // Longer than sessions live without an answer.
        net.advance(secs(300)).await;
        for n in 0..20 {
            spaces[n].set(&format!("left {n}"), "1").await.unwrap();
            spaces[nodes - 1 - n].set(&format!("right {n}"), "2").await.unwrap();
            spaces[n].set("both", "left").await.unwrap();
            spaces[nodes - 1 - n].set("both", "right").await.unwrap();
            net.advance(secs(2)).await;
        }
        net.advance(secs(60)).await;
        assert!(!are_equal(&spaces).await);
        net.heal();
        let mut took = 0;
        while !are_equal(&spaces).await {
            assert!(took < 120, "not equal after two minutes");
            net.advance(secs(5)).await;
            took += 5;
        }
        println!("{nodes} nodes were equal after {took} s");
        assert_eq!(spaces[nodes / 2].list("", None, 100).await.unwrap().entries.len(), 41);
    });
}

#[test]
fn a_hundred_nodes_come_together_after_a_partition() {
    heals(100);
}

#[test]
#[ignore = "takes minutes; .ci/run has it"]
fn a_thousand_nodes_come_together_after_a_partition() {
    heals(1000);
}

#[test]
fn nobody_says_that_it_fails() {
    sim::run(SimConfig::seeded(7), async |net| {
        let spaces = network(net, 10).await;
        for n in 0..50 {
            spaces[n % 10].set("counter", n.to_string()).await.unwrap();
        }
        net.advance(secs(120)).await;
        assert!(are_equal(&spaces).await);
        for index in 0..10 {
            let journal = net.overlay(index).unwrap().node().journal(JournalQuery::default()).await;
            let bad: Vec<_> = journal.iter().filter(|d| d.reason == "not-in-step").collect();
            assert!(bad.is_empty(), "{bad:?}");
        }
    });
}

#[test]
fn a_writer_s_key_is_its_node_s() {
    let key = NodeKey::generate(&mut rand::rng());
    assert!(SpaceSpec::with_writers("a", [key.node_id()]).unwrap().may_write(key.node_id()));
}
