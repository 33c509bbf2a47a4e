//! Messages to everybody, over whole networks in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::time::Duration;

use bytes::Bytes;
use peerage::{
    JournalQuery, Kind, PeerMessage,
    overlay::{GossipConfig, Overlay, OverlayConfig, PublishError, Published, Topic},
    sim::{self, SimConfig, SimNetwork},
    testkit::{Probe, settle},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct News {
    n: u32,
}

impl PeerMessage for News {
    const MSGTYPE: &'static str = "news";
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

fn subscribe(overlay: &Overlay, name: &str) -> Probe<Published<News>> {
    let probe = Probe::start();
    overlay.subscribe(&topic(name), probe.recipient()).unwrap();
    probe
}

/// A network of so many nodes, and a subscriber of each to `all`.
async fn network(net: &mut SimNetwork, n: usize) -> Vec<Probe<Published<News>>> {
    net.grow(n, Duration::from_millis(100)).await;
    net.advance(secs(60)).await;
    (0..n).map(|index| subscribe(net.overlay(index).unwrap(), "all")).collect()
}

async fn heard(probe: &Probe<Published<News>>) -> Vec<u32> {
    let mut heard: Vec<_> = probe.take().await.into_iter().map(|news| news.message.n).collect();
    heard.sort_unstable();
    heard
}

#[test]
fn everybody_gets_every_message_once_and_hardly_any_copy() {
    sim::run(SimConfig::seeded(3), async |net| {
        let probes = network(net, 60).await;
        for n in 0..60u32 {
            let origin = net.overlay(usize::try_from(n).unwrap()).unwrap();
            origin.publish(&topic("all"), &News { n }).await.unwrap();
            net.advance(Duration::from_millis(200)).await;
        }
        net.advance(secs(5)).await;
        for (index, probe) in probes.iter().enumerate() {
            let me = u32::try_from(index).unwrap();
            let all: Vec<u32> = (0..60).filter(|n| *n != me).collect();
            assert_eq!(heard(probe).await, all, "node {index}");
        }
        let (mut received, mut accepted) = (0, 0);
        for index in 0..60 {
            let stats = net.overlay(index).unwrap().stats().await.broadcast;
            received += stats.gossip.received;
            accepted += stats.gossip.accepted;
        }
        assert_eq!(accepted, 60 * 59);
        assert!(received * 10 <= accepted * 11, "{received} copies of {accepted}");
    });
}

#[test]
fn subscribers_hear_their_topics_only_and_until_they_unsubscribe() {
    sim::run(SimConfig::seeded(4), async |net| {
        network(net, 5).await;
        let [first, second] = [0, 1].map(|index| net.overlay(index).unwrap());
        let probes = ["red", "red", "blue"].map(|name| subscribe(second, name));
        for (n, name) in ["red", "blue", "green"].into_iter().enumerate() {
            let news = News { n: u32::try_from(n).unwrap() };
            first.publish(&topic(name), &news).await.unwrap();
        }
        net.advance(secs(1)).await;
        let mut heards = vec![];
        for probe in &probes {
            heards.push(heard(probe).await);
        }
        assert_eq!(heards, [vec![0], vec![0], vec![1]]);
        second.unsubscribe(&topic("red"));
        first.publish(&topic("red"), &News { n: 9 }).await.unwrap();
        net.advance(secs(1)).await;
        assert!(heard(&probes[0]).await.is_empty());
    });
}

#[test]
fn what_goes_along_arrives_whole_with_who_sent_it() {
    sim::run(SimConfig::seeded(5), async |net| {
        let probes = network(net, 30).await;
        let bytes: Bytes = (0..200_000u32).map(|n| n.to_be_bytes()[3]).collect();
        let origin = net.overlay(7).unwrap();
        let sent = origin.publish_with(&topic("all"), &News { n: 1 }, bytes.clone()).await;
        net.advance(secs(5)).await;
        for (index, probe) in probes.iter().enumerate().filter(|(index, _)| *index != 7) {
            let news = probe.take().await;
            assert_eq!(news.len(), 1, "node {index}");
            assert!(news[0].attachment == bytes && news[0].proven && news[0].hops >= 1);
            assert_eq!((news[0].origin, Ok(news[0].id)), (origin.id(), sent));
        }
        let huge = Bytes::from(vec![0; 1 << 20]);
        let refused = origin.publish_with(&topic("all"), &News { n: 2 }, huge).await;
        assert_eq!(refused, Err(PublishError::TooLarge));
    });
}

#[test]
fn who_joins_or_comes_back_gets_what_it_missed_within_the_window() {
    sim::run(SimConfig::seeded(6), async |net| {
        let probes = network(net, 20).await;
        let half: Vec<usize> = (0..10).collect();
        net.partition(&[&half]);
        for (n, index) in [(1, 0), (2, 15)] {
            let origin = net.overlay(index).unwrap();
            origin.publish(&topic("all"), &News { n }).await.unwrap();
        }
        net.advance(secs(30)).await;
        assert_eq!((heard(&probes[3]).await, heard(&probes[17]).await), (vec![1], vec![2]));
        net.heal();
        net.advance(secs(45)).await;
        assert_eq!((heard(&probes[3]).await, heard(&probes[17]).await), (vec![2], vec![1]));

        let late = net.add(&[0]).await;
        let probe = subscribe(net.overlay(late).unwrap(), "all");
        net.advance(secs(10)).await;
        assert_eq!(heard(&probe).await, [1, 2]);
        net.advance(secs(150)).await;
        let too_late = net.add(&[0]).await;
        let probe = subscribe(net.overlay(too_late).unwrap(), "all");
        net.advance(secs(60)).await;
        assert!(heard(&probe).await.is_empty());
    });
}

#[test]
fn nodes_that_pass_nothing_on_are_no_gap() {
    sim::run(SimConfig::seeded(8), async |net| {
        let mut probes = vec![];
        for index in 0..24 {
            let bootstrap = [0];
            let known = if index == 0 { &[][..] } else { &bootstrap };
            if index % 3 == 2 {
                net.add_bare(known).await;
            } else {
                let index = net.add(known).await;
                probes.push(subscribe(net.overlay(index).unwrap(), "all"));
            }
        }
        net.advance(secs(60)).await;
        net.overlay(0).unwrap().publish(&topic("all"), &News { n: 1 }).await.unwrap();
        net.advance(secs(10)).await;
        for probe in &probes[1..] {
            assert_eq!(heard(probe).await, [1]);
        }
    });
}

#[test]
fn an_origin_that_publishes_too_much_is_told_and_so_is_the_journal_of_a_slow_subscriber() {
    let mut config = SimConfig::seeded(9);
    config.overlay = Some(OverlayConfig {
        gossip: GossipConfig { publish_burst: 10, publish_per_second: 1, ..Default::default() },
        inbox: peerage::overlay::inbox::InboxLimits { messages: 4, bytes: 1 << 20 },
        ..OverlayConfig::default()
    });
    sim::run(config, async |net| {
        network(net, 4).await;
        let origin = net.overlay(0).unwrap();
        let held = Probe::<Published<News>>::start();
        let slow = net.overlay(1).unwrap();
        slow.subscribe(&topic("held"), held.recipient()).unwrap();
        let mut refused = 0;
        for n in 0..12 {
            let published = origin.publish(&topic("held"), &News { n }).await;
            refused += usize::from(published == Err(PublishError::Rate));
        }
        assert_eq!(refused, 2);
        net.advance(secs(1)).await;
        settle().await;
        let stats = slow.stats().await.broadcast;
        assert_eq!((stats.delivered, stats.missed), (4, 6));
        let query = JournalQuery { kind: Some(Kind::Undelivered), ..JournalQuery::default() };
        let noted = slow.node().journal(query).await;
        assert_eq!(noted.iter().filter(|note| &*note.reason == "slow").count(), 1);
    });
}
