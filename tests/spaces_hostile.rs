//! What nodes of a space do that mean no good, or know no better: it costs them, and nobody else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use peerage::{
    JournalQuery, NodeId, Received,
    overlay::{Overlay, Topic},
    sim::{self, SimConfig, SimNetwork},
    spaces::{
        Keep, Space, SpaceId, SpaceSpec, Spaces, SpacesConfig,
        messages::{self, SpaceAnswer, SpaceAsk, SpaceChange, SpaceHint, What},
        reconcile::{Range, ToldSum},
        record::{Author, Record},
        summary::{Node, PARTS},
    },
    testkit::Probe,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn spec() -> SpaceSpec {
    SpaceSpec::open("notes").unwrap()
}

fn id() -> SpaceId {
    spec().id()
}

/// Some nodes in a space, and one more that is only a node.
async fn network(net: &mut SimNetwork, n: usize) -> Vec<Space> {
    net.grow(n + 1, Duration::from_millis(100)).await;
    net.advance(secs(30)).await;
    let mut spaces = Vec::new();
    for index in 0..n {
        let overlay = net.overlay(index).unwrap();
        let config = SpacesConfig::default();
        let all = Spaces::start(overlay, config, Keep::Memory).await.unwrap();
        spaces.push(all.join(&spec()).await.unwrap());
    }
    spaces[0].set("a", "1").await.unwrap();
    net.advance(secs(10)).await;
    spaces
}

async fn reasons(overlay: &Overlay) -> Vec<String> {
    let journal = overlay.node().journal(JournalQuery::default()).await;
    journal.into_iter().map(|decision| decision.reason.to_string()).collect()
}

fn record(net: &SimNetwork, of: usize, key: &str, time: u64) -> Record {
    let node = net.overlay(of).unwrap().node();
    let what = (key, Some(Bytes::from_static(b"x")));
    let time = peerage::spaces::Hlc::at(node.clock().now() + secs(time));
    Record::write(&id(), what, time, (node.id(), node.key())).unwrap()
}

async fn publish(overlay: &Overlay, bytes: Vec<u8>) {
    let topic = Topic::new(&format!("space/{}", id())).unwrap();
    overlay.publish_with(&topic, &SpaceChange { who: false }, bytes.into()).await.unwrap();
}

#[test]
fn forged_and_future_records_are_refused_with_a_reason_and_good_ones_beside_them_taken() {
    sim::run(SimConfig::seeded(1), async |net| {
        let spaces = network(net, 3).await;
        let stranger = net.overlay(3).unwrap();
        let good = record(net, 3, "good", 0);
        let mut forged = record(net, 3, "forged", 0);
        forged.value = Some(Bytes::from_static(b"y"));
        let mut unsigned = record(net, 3, "unsigned", 0);
        unsigned.author = Author::Unproven(stranger.id());
        let future = record(net, 3, "future", 3600);
        let mut packed = Vec::new();
        [&forged, &unsigned, &future, &good].iter().for_each(|record| record.pack(&mut packed));
        publish(stranger, packed).await;
        publish(stranger, vec![9; 100]).await;
        net.advance(secs(5)).await;
        for space in &spaces {
            let page = space.list("", None, 100).await.unwrap();
            let keys: Vec<_> = page.entries.iter().map(|entry| &*entry.key).collect();
            assert_eq!(keys, ["a", "good"]);
        }
        let reasons = reasons(net.overlay(0).unwrap()).await;
        for reason in ["bad-signature", "not-signed", "future", "malformed"] {
            assert!(reasons.iter().any(|r| r == reason), "{reason} is not among {reasons:?}");
        }
    });
}

/// Answers every question with the same.
struct Liar {
    answer: SpaceAnswer,
    bytes: Bytes,
}

impl Actor for Liar {
    type Context = Context<Self>;
}

impl Handler<Received<SpaceAsk>> for Liar {
    type Result = ();

    fn handle(&mut self, ask: Received<SpaceAsk>, _: &mut Context<Self>) {
        let answer = SpaceAnswer { n: ask.message.n, ..self.answer.clone() };
        let _gone = ask.from.send_with(&answer, self.bytes.clone());
    }
}

/// Has a node that lies in this manner hint that it has something.
async fn lie(net: &SimNetwork, answer: SpaceAnswer, bytes: Bytes) {
    let overlay = net.overlay(3).unwrap();
    let liar = Liar { answer, bytes }.start();
    overlay.node().register::<SpaceAsk>(liar.recipient()).unwrap();
    let hint = SpaceHint { space: id(), root: "00".repeat(8) };
    overlay.node().send_all(&hint).unwrap();
}

fn sums(count: u8) -> Bytes {
    messages::pack_sums(&[vec![ToldSum { hash: [7; 4], count }; PARTS]])
}

async fn is_peer(net: &SimNetwork, of: usize, id: NodeId) -> bool {
    net.overlay(of).unwrap().node().peers().await.iter().any(|peer| peer.id == id)
}

#[test]
fn an_answer_that_cannot_be_meant_costs_the_session_and_nothing_else() {
    for (seed, bytes) in
        [Bytes::from_static(b"nonsense"), Bytes::new(), sums(3)].into_iter().enumerate()
    {
        sim::run(SimConfig::seeded(seed as u64), async |net| {
            let spaces = network(net, 3).await;
            let liar = net.overlay(3).unwrap().id();
            lie(net, SpaceAnswer::default(), bytes).await;
            net.advance(secs(3)).await;
            let reasons = reasons(net.overlay(0).unwrap()).await;
            assert!(reasons.iter().any(|reason| reason == "not-in-step"), "{reasons:?}");
            spaces[1].set("b", "2").await.unwrap();
            net.advance(secs(5)).await;
            for space in &spaces {
                assert_eq!(space.list("", None, 100).await.unwrap().entries.len(), 2);
            }
            assert!(!is_peer(net, 0, liar).await || !is_peer(net, 1, liar).await);
        });
    }
}

#[test]
fn one_that_never_answers_holds_nobody_up() {
    sim::run(SimConfig::seeded(9), async |net| {
        let spaces = network(net, 3).await;
        let silent = net.overlay(3).unwrap();
        let asked = Probe::<Received<SpaceAsk>>::start();
        silent.node().register::<SpaceAsk>(asked.recipient()).unwrap();
        for n in 0..30 {
            let root = format!("{n:016}");
            silent.node().send_all(&SpaceHint { space: id(), root }).unwrap();
            net.advance(secs(1)).await;
        }
        // Too large to be published, so the others have to ask for it.
        let large = Bytes::from(vec![1; 500_000]);
        spaces[2].set("large", large.clone()).await.unwrap();
        net.advance(secs(60)).await;
        for space in &spaces {
            let entry = space.get("large").await.unwrap().unwrap();
            assert_eq!(entry.value, Some(large.clone()));
        }
        let n = asked.take().await.len();
        assert!((1..12).contains(&n), "it was asked {n} times in ninety seconds");
    });
}

#[test]
fn questions_that_make_no_sense_are_refused_with_a_reason() {
    sim::run(SimConfig::seeded(10), async |net| {
        network(net, 2).await;
        let asker = net.overlay(2).unwrap().node();
        let answers = Probe::<Received<SpaceAnswer>>::start();
        asker.register::<SpaceAnswer>(answers.recipient()).unwrap();
        let to = net.overlay(0).unwrap().id();
        let other = SpaceSpec::open("other").unwrap().id();
        let root = messages::pack_ranges(&[Range::whole(Node::ROOT)]);
        let questions = [
            (other, What::Sums { drawn: 1 }, root.clone(), Some("no-such-space")),
            (id(), What::Sums { drawn: 1 }, root.clone(), None),
            (id(), What::Sums { drawn: 1 }, Bytes::from_static(b"xx"), Some("malformed")),
            (id(), What::Items { drawn: 1 }, Bytes::from(vec![0; 3 * 1025]), Some("malformed")),
            // The same range twice.
            (id(), What::Sums { drawn: 1 }, Bytes::from(vec![0; 6]), Some("malformed")),
            (id(), What::Get, Bytes::from(vec![0; 17]), Some("malformed")),
            (id(), What::Get, Bytes::from(vec![0; 16 * 2049]), Some("malformed")),
            (id(), What::Piece { hash: "zz".into(), offset: 0 }, root.clone(), Some("malformed")),
            (id(), What::Offer { drawn: 1 }, Bytes::from(vec![0; 32]), Some("malformed")),
            (id(), What::Get, Bytes::from(vec![0; 16]), None),
        ];
        for (n, (space, what, bytes, expected)) in questions.into_iter().enumerate() {
            let n = u32::try_from(n).unwrap();
            asker.send_with(to, &SpaceAsk { space, n, in_step: None, what }, bytes).unwrap();
            net.advance(secs(1)).await;
            let answer = answers.take().await.remove(0).message;
            assert_eq!((answer.n, answer.refused.as_deref()), (n, expected));
        }
        // Two at a time are one too many.
        for n in 0..20 {
            let what = What::Sums { drawn: n };
            let ask = SpaceAsk { space: id(), n, in_step: None, what };
            asker.send_with(to, &ask, root.clone()).unwrap();
        }
        net.advance(secs(1)).await;
        let busy = answers.take().await;
        assert_eq!(busy.len(), 20);
    });
}
