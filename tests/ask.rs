//! Questions to many, over whole networks in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix::prelude::*;
use bytes::Bytes;
use peerage::{
    NodeId, PeerMessage, Tags,
    clock::Moment,
    ids::MessageId,
    overlay::{
        Account, Answers, Asked, Audience, Ending, Overlay, Published, Question, Response, Topic,
        envelope::{self, Letter, Purpose},
    },
    proto::{replay::millis, routing::Head},
    sim::{self, NodeIndex, SimConfig, SimNetwork},
    testkit::Probe,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Double {
    n: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Doubled {
    n: u64,
    by: usize,
}

impl PeerMessage for Double {
    const MSGTYPE: &'static str = "double";
}

impl PeerMessage for Doubled {
    const MSGTYPE: &'static str = "doubled";
}

impl Question for Double {
    type Answer = Doubled;
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What an actor does about questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answers,
    AnswersAfter(Duration),
    Refuses,
    /// Keeps the question and does nothing.
    Ponders,
    Drops,
    /// Ends with the first question.
    Leaves,
}

struct Answerer {
    me: usize,
    manner: Manner,
    pondered: Vec<Asked<Double>>,
}

impl Answerer {
    fn start(overlay: &Overlay, me: usize, manner: Manner) {
        let actor = Self { me, manner, pondered: Vec::new() }.start();
        overlay.answer::<Double>(actor.recipient()).unwrap();
    }

    fn answer(&self, asked: Asked<Double>) {
        let doubled = Doubled { n: 2 * asked.question.n, by: self.me };
        asked.answer(&doubled).unwrap();
    }
}

impl Actor for Answerer {
    type Context = Context<Self>;
}

impl Handler<Asked<Double>> for Answerer {
    type Result = ();

    fn handle(&mut self, asked: Asked<Double>, ctx: &mut Context<Self>) {
        assert!(asked.proven);
        match self.manner {
            Manner::Answers => self.answer(asked),
            Manner::AnswersAfter(time) => {
                ctx.run_later(time, |answerer, _| answerer.answer(asked));
            }
            Manner::Refuses => asked.refuse("no numbers"),
            Manner::Ponders => self.pondered.push(asked),
            Manner::Drops => drop(asked),
            Manner::Leaves => ctx.stop(),
        }
    }
}

/// A network of so many nodes, each with an actor of the manner that is chosen for it.
async fn network(
    net: &mut SimNetwork,
    n: usize,
    manner: impl Fn(NodeIndex) -> Option<Manner>,
) -> BTreeMap<NodeId, NodeIndex> {
    net.grow(n, Duration::from_millis(100)).await;
    net.advance(secs(20)).await;
    let mut indices = BTreeMap::new();
    for index in 0..n {
        let overlay = net.overlay(index).unwrap();
        if let Some(manner) = manner(index) {
            Answerer::start(overlay, index, manner);
        }
        indices.insert(overlay.id(), index);
    }
    indices
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn ask(net: &SimNetwork, asker: NodeIndex, audience: Audience) -> Answers<Double> {
    net.overlay(asker).unwrap().ask(&Double { n: 21 }, audience, secs(10))
}

/// All that comes back: who answered, who refused and why, and the account.
async fn outcome(
    mut answers: Answers<Double>,
) -> (Vec<NodeId>, BTreeMap<String, Vec<NodeId>>, Account) {
    let (mut replied, mut refused) = (vec![], BTreeMap::<_, Vec<_>>::new());
    while let Some(response) = answers.next().await {
        match response {
            Response::Reply(reply) => {
                assert!(reply.proven && reply.answer.n == 42);
                replied.push(reply.from);
            }
            Response::Refusal(refusal) => {
                refused.entry(refusal.why.into_string()).or_default().push(refusal.from);
            }
            Response::End(account) => {
                assert_eq!(account.asked, account.answered + account.refused + account.timed_out);
                return (replied, refused, account);
            }
        }
    }
    panic!("no account");
}

#[test]
fn every_node_but_the_asker_is_asked_and_answers_once() {
    sim::run(SimConfig::seeded(1), async |net| {
        let indices = network(net, 60, |_| Some(Manner::Answers)).await;
        let asker = net.overlay(7).unwrap();
        let began = net.now();
        let mut answers = ask(net, 7, Audience::everybody());
        let mut by = BTreeSet::new();
        let mut last = began;
        let account = loop {
            match answers.next().await.unwrap() {
                Response::Reply(reply) => {
                    assert_eq!(indices[&reply.from], reply.answer.by);
                    assert!(by.insert(reply.from));
                    last = net.now();
                }
                Response::Refusal(refusal) => panic!("{refusal:?}"),
                Response::End(account) => break account,
            }
        };
        let expected = Account { asked: 59, answered: 59, ..Account::empty(Ending::Limit) };
        assert_eq!(account, expected);
        assert!(by.len() == 59 && !by.contains(&asker.id()));
        assert!(last.since(began) < secs(3), "{:?}", last.since(began));
        let open = net.now().since(began);
        assert!(open >= secs(10) && open < secs(11), "{open:?}");
        let stats = asker.stats().await.ask;
        assert_eq!((stats.asking.asked, stats.asking.answers), (1, 59));
        assert_eq!((stats.asking.repeated, stats.asking.unknown, stats.asking.open), (0, 0, 0));
        for index in (0..60).filter(|index| *index != 7) {
            let answering = net.overlay(index).unwrap().stats().await.ask.answering;
            assert_eq!((answering.taken, answering.said.replies, answering.open), (1, 1, 0));
        }
    });
}

#[test]
fn the_account_tells_apart_who_answers_refuses_and_does_neither() {
    let manner = |index| match index {
        1..=5 => Some(Manner::Refuses),
        6..=8 => Some(Manner::Ponders),
        9 => Some(Manner::Drops),
        10 => Some(Manner::Leaves),
        11..=13 => Some(Manner::AnswersAfter(secs(4))),
        14 | 15 => Some(Manner::AnswersAfter(secs(15))),
        16..=19 => None,
        _ => Some(Manner::Answers),
    };
    sim::run(SimConfig::seeded(2), async |net| {
        let indices = network(net, 40, manner).await;
        for round in 0..2 {
            let (replied, refused, account) = outcome(ask(net, 0, Audience::everybody())).await;
            let by = |ids: &[NodeId]| ids.iter().map(|id| indices[id]).collect::<BTreeSet<_>>();
            let answering = (20..40).chain(11..=13).collect();
            assert_eq!(by(&replied), answering);
            let refused: BTreeMap<_, _> =
                refused.iter().map(|(why, ids)| (why.as_str(), by(ids))).collect();
            let (mut dropped, mut nobody) = (BTreeSet::from([9]), BTreeSet::from([16, 17, 18, 19]));
            if round == 0 {
                dropped.insert(10)
            } else {
                nobody.insert(10)
            };
            let expected =
                [("dropped", dropped), ("no numbers", (1..=5).collect()), ("nobody", nobody)];
            assert_eq!(refused, expected.into());
            // Six ponder or take too long: that they have the question is known by their receipts.
            let counts = (account.asked, account.answered, account.refused, account.timed_out);
            assert_eq!(counts, (39, 23, 11, 5));
            assert_eq!((account.ending, account.dropped, account.untracked), (Ending::Limit, 0, 0));
        }
    });
}

#[test]
fn only_nodes_with_all_of_the_tags_are_asked_as_they_are_at_the_time() {
    sim::run(SimConfig::seeded(3), async |net| {
        let indices = network(net, 30, |_| Some(Manner::Answers)).await;
        let asked = async |net: &SimNetwork, wanted: &[(&str, &str)]| {
            let audience = Audience::tagged(wanted.iter().copied());
            let (replied, _, account) = outcome(ask(net, 0, audience)).await;
            assert_eq!((account.asked, account.answered), (replied.len(), replied.len()));
            replied.iter().map(|id| indices[id]).collect::<BTreeSet<_>>()
        };
        assert_eq!(asked(net, &[("gpu", "yes")]).await, [].into());
        for index in 0..10 {
            let region = if index % 2 == 0 { "eu" } else { "us" };
            let node = net.node(index).unwrap();
            node.set_tags(tags(&[("gpu", "yes"), ("region", region)])).unwrap();
        }
        // The asker has them, too, and is not asked.
        assert_eq!(asked(net, &[("gpu", "yes")]).await, (1..10).collect());
        let european = [("region", "eu"), ("gpu", "yes")];
        assert_eq!(asked(net, &european).await, [2, 4, 6, 8].into());
        assert_eq!(asked(net, &[("region", "EU")]).await, [].into());
        net.node(4).unwrap().set_tags(Tags::new()).unwrap();
        net.node(20).unwrap().set_tags(tags(&european)).unwrap();
        assert_eq!(asked(net, &european).await, [2, 6, 8, 20].into());
    });
}

#[test]
fn who_dies_with_the_question_is_in_the_account_if_it_said_that_it_has_it() {
    sim::run(SimConfig::seeded(4), async |net| {
        network(net, 30, |index| {
            Some(if index < 10 { Manner::Ponders } else { Manner::AnswersAfter(secs(5)) })
        })
        .await;
        let answers = ask(net, 29, Audience::everybody());
        net.advance(secs(4)).await;
        net.kill_together(&[5, 6, 7, 8, 9, 10, 11, 12]).await;
        let (replied, _, account) = outcome(answers).await;
        assert_eq!((replied.len(), account.asked), (16, 29));
        assert_eq!((account.answered, account.timed_out), (16, 13));
    });
}

#[test]
fn answers_that_are_cut_off_come_when_the_network_is_whole_again() {
    sim::run(SimConfig::seeded(5), async |net| {
        network(net, 30, |_| Some(Manner::AnswersAfter(secs(2)))).await;
        let overlay = net.overlay(0).unwrap();
        let answers = overlay.ask(&Double { n: 21 }, Audience::everybody(), secs(120));
        net.advance(secs(1)).await;
        net.partition(&[&[10, 11, 12, 13, 14, 15, 16, 17, 18, 19]]);
        net.advance(secs(40)).await;
        net.heal();
        let (replied, _, account) = outcome(answers).await;
        assert_eq!((replied.len(), account.answered, account.asked), (29, 29, 29));
        let mut retries = 0;
        for index in 10..20 {
            let stats = net.overlay(index).unwrap().stats().await;
            retries += stats.ask.answering.said.retries;
        }
        assert!(retries > 0, "nothing had to be sent again");
    });
}

/// A question as it passes by any node.
#[derive(Debug, Serialize, Deserialize)]
struct Overheard {
    id: MessageId,
    limit_ms: u64,
}

impl PeerMessage for Overheard {
    const MSGTYPE: &'static str = "ask";
}

/// An answer as a node says it.
#[derive(Debug, Serialize, Deserialize)]
struct MadeUp {
    id: MessageId,
    outcome: String,
}

impl PeerMessage for MadeUp {
    const MSGTYPE: &'static str = "asked";
}

#[test]
fn nobody_answers_in_the_name_of_another_and_nobody_twice() {
    const ANSWER: &[u8] = b"{\"msgtype\":\"doubled\",\"n\":42,\"by\":666}";
    sim::run(SimConfig::seeded(6), async |net| {
        // Few enough that all are each other's peers.
        let indices = network(net, 6, |index| {
            Some(if index < 3 { Manner::Answers } else { Manner::Ponders })
        })
        .await;
        let (asker, liar) = (net.overlay(0).unwrap(), net.overlay(5).unwrap());
        let victim = net.overlay(4).unwrap().id();
        let overheard = Probe::<Published<Overheard>>::start();
        liar.subscribe(&Topic::new("peerage/ask").unwrap(), overheard.recipient()).unwrap();
        let answers = ask(net, 0, Audience::everybody());
        let question = overheard.expect().await;
        let about = question.message.id;
        assert_eq!((question.origin, question.message.limit_ms), (asker.id(), 10_000));
        assert_eq!(&question.attachment[..], b"{\"msgtype\":\"double\",\"n\":21}");

        // In the victim's name, sealed for the asker and signed by the liar.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let answered = |id| MadeUp { id, outcome: "answered".to_owned() };
        let line = answered(about).encode().unwrap();
        let line = line.bytes().slice(..line.bytes().len() - 1);
        let letter = Letter::new(&mut rng, millis(net.now()), line, Bytes::from_static(ANSWER));
        let (to, id) = (asker.id(), MessageId::random(&mut rng));
        let signed = letter.sign(liar.node().key(), victim, &Purpose::Routed { to, id });
        let key = asker.node().key().unwrap().public();
        let body = envelope::seal(&mut rng, &key, to, victim, id, &signed).unwrap();
        let head = Head { to, from: victim, id, hops: 1, key: false };
        liar.node().send_with(to, &head, body.into()).unwrap();
        // In its own name it can answer what it was asked, and what it was not.
        let answer = Bytes::from_static(ANSWER);
        for id in [about, about, MessageId::random(&mut rng)] {
            assert!(liar.send_with(to, &answered(id), answer.clone()).await.is_ok());
        }
        let (replied, _, account) = outcome(answers).await;
        let by: Vec<_> = replied.iter().map(|id| indices[id]).collect();
        assert_eq!(by.iter().copied().collect::<BTreeSet<_>>(), [1, 2, 5].into());
        assert_eq!((by.len(), account.asked, account.answered, account.timed_out), (3, 5, 3, 2));
        let stats = asker.stats().await;
        assert_eq!((stats.ask.asking.unknown, stats.routing.refused), (1, 1));
        // The liar's second answer, and its receipt.
        assert!(stats.ask.asking.repeated >= 1);
    });
}

#[test]
fn the_same_seed_gives_the_same_answers_at_the_same_times() {
    let times = |seed| {
        sim::run(SimConfig::seeded(seed), async |net| {
            network(net, 30, |index| {
                Some(if index % 7 == 3 { Manner::Refuses } else { Manner::Answers })
            })
            .await;
            let mut answers = ask(net, 11, Audience::everybody());
            let mut times: Vec<(Moment, NodeId)> = vec![];
            while let Some(response) = answers.next().await {
                match response {
                    Response::Reply(reply) => times.push((net.now(), reply.from)),
                    Response::Refusal(refusal) => times.push((net.now(), refusal.from)),
                    Response::End(account) => assert_eq!(account.asked, 29),
                }
            }
            times
        })
    };
    let first = times(7);
    assert_eq!(first.len(), 29);
    assert_eq!(first, times(7));
    assert!(first != times(8));
    // Nobody asked all at once.
    assert!(first[28].0.since(first[0].0) > Duration::from_millis(150), "{first:?}");
}
