use std::{
    collections::VecDeque,
    task::{Poll, Waker},
};

use futures_core::Stream;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    messages::{End, Outcome},
    *,
};
use crate::{
    JournalQuery, Node, NodeBuilder, NodeConfig, PeerMessage, Security,
    clock::{Clock, Moment},
    overlay::{Delivered, Published, Routed, Undelivered},
    proto::{
        owed::OwedCounts,
        survey::{Account, Ending},
    },
    testkit::{Probe, settle},
    wire::Tags,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HowMany {
    of: String,
}

impl PeerMessage for HowMany {
    const MSGTYPE: &'static str = "how-many";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Many {
    n: u64,
}

impl PeerMessage for Many {
    const MSGTYPE: &'static str = "many";
}

impl Question for HowMany {
    type Answer = Many;
}

const MANY: &str = "{\"msgtype\":\"many\",\"n\":7}";
const HOW_MANY: &str = "{\"msgtype\":\"how-many\",\"of\":\"cats\"}";

fn how_many() -> HowMany {
    HowMany { of: "cats".to_owned() }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A node with a key, as others have it.
fn other(n: u8) -> NodeId {
    NodeId::from_custom_bytes([n; 16])
}

fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

/// Plays the network.
#[derive(Clone)]
struct Fake(Arc<Mutex<Played>>);

struct Played {
    clock: Clock,
    published: Vec<(Ask, Bytes)>,
    unasked: Option<Unasked>,
    sent: Vec<Said>,
    /// What becomes of what is sent; when there is no more, it is delivered.
    fates: VecDeque<Undelivered>,
}

#[derive(Debug, Clone, PartialEq)]
struct Said {
    at: Moment,
    to: NodeId,
    told: Told,
    answer: Bytes,
}

impl Carrier for Fake {
    fn publish(&self, ask: Ask, question: Bytes) -> Later<Result<(), Unasked>> {
        let mut played = self.0.lock();
        played.published.push((ask, question));
        Box::pin(std::future::ready(played.unasked.map_or(Ok(()), Err)))
    }

    fn send(&self, to: NodeId, line: Bytes, answer: Bytes) -> Later<Delivery> {
        let mut played = self.0.lock();
        let told = serde_json::from_slice(&line).unwrap();
        let said = Said { at: played.clock.now(), to, told, answer };
        played.sent.push(said);
        let delivered = Delivered { rtt: secs(0), hops: 1, sealed: true };
        let fate = played.fates.pop_front().map_or(Ok(delivered), Err);
        Box::pin(std::future::ready(fate))
    }
}

struct Rig {
    node: NodeHandle,
    handle: Handle,
    fake: Fake,
}

impl Rig {
    async fn start() -> Self {
        Self::with(OverlayConfig::default(), Node::builder().seed(1)).await
    }

    async fn with(config: OverlayConfig, builder: NodeBuilder) -> Self {
        tokio::time::pause();
        let node = builder.start().await.unwrap();
        let fake = Fake(Arc::new(Mutex::new(Played {
            clock: node.clock(),
            published: vec![],
            unasked: None,
            sent: vec![],
            fates: VecDeque::new(),
        })));
        let carriers: (Box<dyn Carrier>, Box<dyn Carrier>) =
            (Box::new(fake.clone()), Box::new(fake.clone()));
        let handle = Handle::start(&node, &config, carriers);
        Self { node, handle, fake }
    }

    fn ask(&self, limit: Duration) -> Answers<HowMany> {
        self.try_ask(&how_many(), &Audience::everybody(), limit).unwrap()
    }

    fn try_ask<Q: Question>(
        &self,
        question: &Q,
        audience: &Audience,
        limit: Duration,
    ) -> Result<Answers<Q>, Unasked> {
        self.handle.ask(&self.node, question, audience, limit)
    }

    /// The one question that was published since the last time.
    async fn published(&self) -> (Ask, Bytes) {
        settle().await;
        let published = std::mem::take(&mut self.fake.0.lock().published);
        assert_eq!(published.len(), 1, "{published:?}");
        published[0].clone()
    }

    /// A node says something about a question of this one.
    fn tell(&self, from: NodeId, id: MessageId, outcome: Outcome, text: &'static str) {
        let why = (outcome == Outcome::Refused).then(|| text.into());
        let mut routed = Routed::mock(Told { id, outcome, why }, from);
        if outcome == Outcome::Answered {
            routed.attachment = Bytes::from_static(text.as_bytes());
        }
        routed.proven = from.is_self_certifying();
        self.handle.pollster.do_send(routed);
    }

    /// A node asks something.
    fn hear(&self, from: NodeId, ask: Ask, line: &'static str) {
        self.handle.respondent.do_send(published(ask, from, line));
    }

    /// What was said to askers since the last time.
    async fn said(&self) -> Vec<Said> {
        settle().await;
        std::mem::take(&mut self.fake.0.lock().sent)
    }

    /// The one thing that was said to an asker within half a second.
    async fn soon_said(&self) -> Said {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let said = self.said().await;
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    }

    async fn asking(&self) -> AskingStats {
        self.handle.asking().await
    }

    async fn answering(&self) -> AnsweringStats {
        self.handle.answering().await
    }

    async fn notes(&self, reason: &str) -> usize {
        settle().await;
        let journal = self.node.journal(JournalQuery::default()).await;
        journal.iter().filter(|decision| decision.reason == *reason).count()
    }
}

fn published(ask: Ask, origin: NodeId, line: &'static str) -> Published<Ask> {
    let mut published = Published::mock(ask, &topic(), origin);
    published.attachment = Bytes::from_static(line.as_bytes());
    published
}

fn question(n: u8, limit: Duration) -> Ask {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap();
    Ask { id: id(n), limit_ms, tags: Tags::new() }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn reply(n: u8) -> Response<Many> {
    Response::Reply(Reply { answer: Many { n: 7 }, from: other(n), proven: true })
}

fn refusal(n: u8, why: &str) -> Response<Many> {
    Response::Refusal(Refusal { why: why.into(), from: other(n), proven: true })
}

// --- Asking -------------------------------------------------------------------------------------

#[actix::test]
async fn answers_and_refusals_come_as_they_come_and_then_the_account() {
    let rig = Rig::start().await;
    let audience = Audience::tagged([("gpu", "yes")]);
    let mut answers = rig.try_ask(&how_many(), &audience, secs(5)).unwrap();
    let (ask, line) = rig.published().await;
    assert_eq!((ask.limit_ms, &ask.tags), (5000, audience.tags()));
    assert_eq!(line, HOW_MANY);
    rig.tell(other(1), ask.id, Outcome::Answered, MANY);
    assert_eq!(answers.next().await, Some(reply(1)));
    rig.tell(other(2), ask.id, Outcome::Received, "");
    rig.tell(other(3), ask.id, Outcome::Refused, "no cats\u{1b}");
    rig.tell(other(4), ask.id, Outcome::Answered, "{\"cats\":\"many\"}");
    rig.tell(other(5), ask.id, Outcome::Other, "");
    assert_eq!(answers.next().await, Some(refusal(3, "no cats")));
    assert_eq!(answers.next().await, Some(refusal(4, "bad-answer")));
    let (before, end) = (rig.node.clock().now(), answers.next().await);
    assert!(rig.node.clock().now().since(before) > secs(4));
    let account = Account {
        asked: 5,
        answered: 1,
        refused: 2,
        timed_out: 2,
        ..Account::empty(Ending::Limit)
    };
    assert_eq!(end, Some(Response::End(account)));
    assert_eq!((answers.next().await, answers.next().await), (None, None));
    let stats =
        AskingStats { asked: 1, answers: 1, refusals: 2, receipts: 2, ..rig.asking().await };
    assert_eq!((rig.asking().await, stats.open), (stats, 0));
}

#[actix::test]
async fn what_is_said_twice_too_late_without_proof_or_about_nothing_does_not_count() {
    let rig = Rig::start().await;
    let answers = rig.ask(secs(5));
    let (ask, _) = rig.published().await;
    let classic = NodeId::from_u128(7);
    for (from, about) in
        [(other(1), ask.id), (other(1), ask.id), (classic, ask.id), (other(2), id(9))]
    {
        rig.tell(from, about, Outcome::Answered, MANY);
    }
    rig.tell(other(1), ask.id, Outcome::Refused, "after all");
    let (replies, account) = answers.all().await;
    assert_eq!((replies.len(), account.asked, account.answered), (1, 1, 1));
    rig.tell(other(3), ask.id, Outcome::Answered, MANY);
    let stats = rig.asking().await;
    assert_eq!((stats.repeated, stats.unproven, stats.unknown), (2, 1, 2));
}

#[actix::test]
async fn a_node_without_a_key_takes_what_nobody_proves_and_says_so() {
    let off = NodeConfig { security: Security::Off, ..NodeConfig::default() };
    let builder = Node::builder().config(off).seed(1);
    let rig = Rig::with(OverlayConfig::default(), builder).await;
    let answers = rig.ask(secs(5));
    let (ask, _) = rig.published().await;
    rig.tell(NodeId::from_u128(7), ask.id, Outcome::Answered, MANY);
    let (replies, _) = answers.all().await;
    assert!(replies.len() == 1 && !replies[0].proven);
}

#[actix::test]
async fn what_nobody_takes_is_dropped_and_counted() {
    let mut config = OverlayConfig::default();
    config.ask.buffer.messages = 2;
    config.ask.nodes = 4;
    let rig = Rig::with(config, Node::builder().seed(1)).await;
    let mut answers = rig.ask(secs(5));
    let (ask, _) = rig.published().await;
    for n in 0..6 {
        rig.tell(other(n), ask.id, Outcome::Answered, MANY);
    }
    settle().await;
    assert_eq!(answers.next().await, Some(reply(0)));
    let (replies, account) = answers.all().await;
    assert_eq!((replies.len(), account.asked, account.answered), (1, 4, 4));
    assert_eq!((account.dropped, account.untracked), (2, 2));
    assert_eq!(rig.notes("answers").await, 1);
    assert_eq!((rig.asking().await.dropped, rig.asking().await.untracked), (2, 2));
}

#[actix::test]
async fn who_has_heard_enough_gets_the_account_at_once() {
    let rig = Rig::start().await;
    let answers = rig.ask(secs(50));
    let (ask, _) = rig.published().await;
    rig.tell(other(1), ask.id, Outcome::Answered, MANY);
    rig.tell(other(2), ask.id, Outcome::Received, "");
    let before = rig.node.clock().now();
    let account = answers.finish().await;
    assert_eq!(rig.node.clock().now(), before);
    let expected =
        Account { asked: 2, answered: 1, timed_out: 1, ..Account::empty(Ending::Finished) };
    assert_eq!((account, rig.asking().await.open), (expected, 0));
}

#[actix::test]
async fn dropping_the_answers_ends_the_question() {
    let mut config = OverlayConfig::default();
    config.ask.open = 1;
    let rig = Rig::with(config, Node::builder().seed(1)).await;
    let answers = rig.ask(secs(50));
    let everybody = Audience::everybody();
    let refused = rig.try_ask(&how_many(), &everybody, secs(5));
    assert!(matches!(refused, Err(Unasked::Busy)));
    drop(answers);
    assert_eq!(rig.asking().await.open, 0);
    drop(rig.ask(secs(50)));
}

#[actix::test]
async fn answers_are_a_stream() {
    let rig = Rig::start().await;
    let mut answers = Box::pin(rig.ask(secs(5)));
    let (ask, _) = rig.published().await;
    let mut cx = std::task::Context::from_waker(Waker::noop());
    assert_eq!(answers.as_mut().poll_next(&mut cx), Poll::Pending);
    rig.tell(other(1), ask.id, Outcome::Answered, MANY);
    settle().await;
    assert_eq!(answers.as_mut().poll_next(&mut cx), Poll::Ready(Some(reply(1))));
    tokio::time::sleep(secs(5)).await;
    let end = answers.as_mut().poll_next(&mut cx);
    assert!(matches!(end, Poll::Ready(Some(Response::End(_)))));
    assert_eq!(answers.as_mut().poll_next(&mut cx), Poll::Ready(None));
}

#[actix::test]
async fn a_question_that_is_not_asked_says_why() {
    #[derive(Serialize, Deserialize)]
    struct Number(u8);

    impl PeerMessage for Number {
        const MSGTYPE: &'static str = "number";
    }

    impl Question for Number {
        type Answer = Many;
    }

    let mut config = OverlayConfig::default();
    config.ask.burst = 2;
    let rig = Rig::with(config, Node::builder().seed(1)).await;
    let everybody = Audience::everybody();
    let why = |limit| rig.try_ask(&how_many(), &everybody, limit).err();
    assert_eq!(why(secs(0)), Some(Unasked::Limit));
    assert_eq!(why(MAX_LIMIT + Duration::from_millis(1)), Some(Unasked::Limit));
    let long = HowMany { of: "x".repeat(70_000) };
    assert_eq!(rig.try_ask(&long, &everybody, secs(1)).err(), Some(Unasked::TooLarge));
    let number = rig.try_ask(&Number(7), &everybody, secs(1));
    assert_eq!(number.err(), Some(Unasked::NotEncodable));
    let nobody = Audience::tagged([("", "")]);
    let refused = rig.try_ask(&how_many(), &nobody, secs(1));
    assert!(matches!(refused, Err(Unasked::Audience(_))));
    // What shows only when it is to be sent is told as the end.
    rig.fake.0.lock().unasked = Some(Unasked::TooLarge);
    for why in [Unasked::TooLarge, Unasked::TooLarge, Unasked::Rate] {
        let (replies, account) = rig.ask(secs(1)).all().await;
        assert_eq!((replies, account), (vec![], Account::empty(Ending::NotAsked(why))));
    }
    assert_eq!((rig.asking().await.asked, rig.asking().await.not_asked), (0, 3));
    let (_, account) = Answers::<HowMany>::none(Unasked::Limit).all().await;
    assert_eq!(account.ending, Ending::NotAsked(Unasked::Limit));
}

#[actix::test]
async fn who_asks_when_the_overlay_stops_is_told_so() {
    let rig = Rig::start().await;
    let answers = rig.ask(secs(5));
    let (ask, _) = rig.published().await;
    rig.tell(other(1), ask.id, Outcome::Received, "");
    rig.handle.stop().await;
    let account = answers.finish().await;
    assert_eq!((account.ending, account.asked, account.timed_out), (Ending::Stopped, 1, 1));
    settle().await;
    let refused = rig.try_ask(&how_many(), &Audience::everybody(), secs(5));
    assert!(matches!(refused, Err(Unasked::Stopped)));
    assert_eq!(rig.handle.asking().await, AskingStats::default());
    assert_eq!(rig.handle.answering().await, AnsweringStats::default());
    rig.handle.pollster.do_send(End(id(1), Ending::Finished));
}

// --- Answering ----------------------------------------------------------------------------------

#[actix::test]
async fn a_question_is_handed_to_its_actor_and_its_answer_to_the_asker() {
    let rig = Rig::start().await;
    let questions = Probe::<Asked<HowMany>>::start();
    rig.handle.responders.register(questions.recipient(), InboxLimits::default()).unwrap();
    rig.hear(other(1), question(7, secs(5)), HOW_MANY);
    let asked = questions.expect().await;
    assert_eq!(
        (&asked.question, asked.from, asked.proven, asked.hops),
        (&how_many(), other(1), true, 1)
    );
    assert!(asked.until.since(rig.node.clock().now()) <= secs(5));
    let before = rig.node.clock().now();
    asked.answer(&Many { n: 7 }).unwrap();
    let said = rig.soon_said().await;
    let told = Told { id: id(7), outcome: Outcome::Answered, why: None };
    assert_eq!((said.to, said.told, &said.answer[..]), (other(1), told, MANY.as_bytes()));
    assert!(said.at.since(before) <= Duration::from_millis(251));
    let stats = rig.answering().await;
    assert_eq!((stats.taken, stats.said.replies, stats.open), (1, 1, 0));
}

#[actix::test]
async fn nobody_answers_what_it_is_not_meant_by() {
    let rig = Rig::start().await;
    let questions = Probe::<Asked<HowMany>>::start();
    rig.handle.responders.register(questions.recipient(), InboxLimits::default()).unwrap();
    let wanted = tags(&[("gpu", "yes")]);
    let gpus = |n| Ask { tags: wanted.clone(), ..question(n, secs(5)) };
    rig.hear(other(1), gpus(1), HOW_MANY);
    rig.hear(rig.node.id(), question(2, secs(5)), HOW_MANY);
    rig.hear(NodeId::from_u128(7), question(3, secs(5)), HOW_MANY);
    let broken = Ask { tags: tags(&[("gpu", "\n")]), ..question(4, secs(5)) };
    rig.hear(other(1), broken, HOW_MANY);
    assert!(questions.take().await.is_empty());
    rig.node.set_tags(tags(&[("gpu", "yes"), ("region", "eu")])).unwrap();
    rig.hear(other(1), gpus(5), HOW_MANY);
    assert_eq!(questions.take().await.len(), 1);
    rig.node.set_tags(Tags::new()).unwrap();
    rig.hear(other(1), gpus(6), HOW_MANY);
    assert!(questions.take().await.is_empty());
    let stats = rig.answering().await;
    assert_eq!((stats.not_meant, stats.unproven, stats.malformed, stats.taken), (2, 1, 1, 1));
    assert_eq!(rig.notes("malformed").await, 1);
}

#[actix::test]
async fn what_is_not_answered_is_refused_with_the_reason() {
    let mut config = OverlayConfig::default();
    config.inbox.messages = 1;
    let rig = Rig::with(config, Node::builder().seed(1)).await;
    let mut n = 0;
    let mut ask = async |rig: &Rig, line: &'static str| {
        n += 1;
        rig.hear(other(1), question(n, secs(5)), line);
        settle().await;
    };
    let why = async |rig: &Rig| {
        let said = rig.soon_said().await;
        assert_eq!((said.told.outcome, &said.answer[..]), (Outcome::Refused, &b""[..]));
        said.told.why.unwrap()
    };
    ask(&rig, HOW_MANY).await;
    assert_eq!(*why(&rig).await, *"nobody");
    ask(&rig, "no json").await;
    assert_eq!(*why(&rig).await, *"bad-payload");
    let questions = Probe::<Asked<HowMany>>::start();
    rig.handle.responders.register(questions.recipient(), config.inbox).unwrap();
    ask(&rig, "{\"msgtype\":\"how-many\"}").await;
    assert_eq!(*why(&rig).await, *"bad-payload");
    ask(&rig, HOW_MANY).await;
    ask(&rig, HOW_MANY).await;
    assert_eq!(*why(&rig).await, *"busy", "the first is not handled yet");
    questions.expect().await.refuse("no cats\n");
    assert_eq!(*why(&rig).await, *"no cats");
    ask(&rig, HOW_MANY).await;
    drop(questions.expect().await);
    assert_eq!(*why(&rig).await, *"dropped");
    assert_eq!((rig.answering().await.taken, rig.answering().await.not_taken), (2, 4));
}

#[derive(Debug, Serialize, Deserialize)]
struct Essay {}

impl PeerMessage for Essay {
    const MSGTYPE: &'static str = "essay";
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Long { text: String },
    None,
}

impl PeerMessage for Text {
    const MSGTYPE: &'static str = "text";
}

impl Question for Essay {
    type Answer = Text;
}

#[actix::test]
async fn an_answer_that_cannot_travel_is_refused_and_the_actor_hears_of_it() {
    let rig = Rig::start().await;
    let essays = Probe::<Asked<Essay>>::start();
    rig.handle.responders.register(essays.recipient(), InboxLimits::default()).unwrap();
    let long = Text::Long { text: "x".repeat(70_000) };
    for (n, answer, why) in [(1, long, "too-large"), (2, Text::None, "not-encodable")] {
        rig.hear(other(1), question(n, secs(5)), "{\"msgtype\":\"essay\"}");
        assert!(essays.expect().await.answer(&answer).is_err());
        assert_eq!(rig.soon_said().await.told.why.as_deref(), Some(why));
    }
}

#[actix::test]
async fn an_actor_that_has_gone_is_nobody_and_what_it_had_is_dropped() {
    struct Hello;

    impl Actor for Hello {
        type Context = Context<Self>;
    }

    impl Handler<Asked<HowMany>> for Hello {
        type Result = ();

        fn handle(&mut self, _: Asked<HowMany>, ctx: &mut Context<Self>) {
            ctx.stop();
        }
    }

    let rig = Rig::start().await;
    let register = |to| rig.handle.responders.register::<HowMany>(to, InboxLimits::default());
    register(Hello.start().recipient()).unwrap();
    let second = Probe::<Asked<HowMany>>::start();
    assert_eq!(register(second.recipient()), Err(RegisterError::Taken));
    for why in ["dropped", "nobody"] {
        rig.hear(other(1), question(why.len() as u8, secs(5)), HOW_MANY);
        assert_eq!(rig.soon_said().await.told.why.as_deref(), Some(why));
    }
    register(second.recipient()).unwrap();
}

#[actix::test]
async fn an_asker_hears_within_a_little_more_than_a_second_that_the_question_has_come() {
    let rig = Rig::start().await;
    let questions = Probe::<Asked<HowMany>>::start();
    rig.handle.responders.register(questions.recipient(), InboxLimits::default()).unwrap();
    let before = rig.node.clock().now();
    rig.hear(other(1), question(1, secs(10)), HOW_MANY);
    let asked = questions.expect().await;
    tokio::time::sleep(Duration::from_millis(990)).await;
    assert!(rig.said().await.is_empty());
    let receipt = rig.soon_said().await;
    assert_eq!(receipt.told, Told { id: id(1), outcome: Outcome::Received, why: None });
    assert!(receipt.at.since(before) >= secs(1) && receipt.at.since(before) <= secs(2));
    tokio::time::sleep(secs(5)).await;
    assert!(rig.said().await.is_empty(), "one is enough");
    asked.answer(&Many { n: 7 }).unwrap();
    assert_eq!(rig.soon_said().await.told.outcome, Outcome::Answered);
    // Too late for the next one.
    rig.hear(other(1), question(2, secs(2)), HOW_MANY);
    let asked = questions.expect().await;
    tokio::time::sleep(secs(3)).await;
    assert_eq!(rig.said().await.len(), 1);
    asked.refuse("late");
    tokio::time::sleep(secs(3)).await;
    assert!(rig.said().await.is_empty());
    let said = rig.answering().await.said;
    let counts = OwedCounts { replies: 1, receipts: 2, unanswered: 1, late: 1, ..said };
    assert_eq!((said, said.given_up), (counts, 0));
}

#[actix::test]
async fn an_answer_that_does_not_get_through_is_sent_again_unless_that_is_in_vain() {
    let rig = Rig::start().await;
    let busy = Undelivered::Refused("busy".into());
    let again = [Undelivered::Busy, Undelivered::Timeout, Undelivered::NoRoute, busy];
    rig.fake.0.lock().fates.extend(again);
    rig.hear(other(1), question(1, secs(20)), HOW_MANY);
    tokio::time::sleep(secs(15)).await;
    let said = rig.said().await;
    assert_eq!(said.len(), 5);
    let pauses: Vec<_> = said.windows(2).map(|two| two[1].at.since(two[0].at)).collect();
    for (n, pause) in pauses.iter().enumerate() {
        let longest = Duration::from_millis(250 << n);
        assert!(
            *pause >= longest / 2 && *pause <= longest + Duration::from_millis(1),
            "{pauses:?}"
        );
    }
    rig.fake.0.lock().fates.push_back(Undelivered::Refused("nobody".into()));
    rig.hear(other(1), question(2, secs(20)), HOW_MANY);
    tokio::time::sleep(secs(15)).await;
    assert_eq!(rig.said().await.len(), 1);
    let counts = OwedCounts { replies: 1, retries: 4, given_up: 1, ..OwedCounts::default() };
    assert_eq!((rig.answering().await.said, rig.answering().await.open), (counts, 0));
}

#[actix::test]
async fn an_asker_that_asks_too_fast_is_not_heard_for_a_while_and_others_are() {
    let mut config = OverlayConfig::default();
    (config.ask.owed.burst, config.ask.owed.per_second) = (2, 1);
    let rig = Rig::with(config, Node::builder().seed(1)).await;
    for n in 0..4 {
        rig.hear(other(1), question(n, secs(5)), HOW_MANY);
    }
    rig.hear(other(2), question(9, secs(5)), HOW_MANY);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(rig.said().await.len(), 3);
    assert_eq!(rig.answering().await.ignored, 2);
    assert!(rig.notes("rate").await >= 1);
    rig.hear(other(1), question(2, secs(5)), HOW_MANY);
    rig.soon_said().await;
}

#[actix::test]
async fn answers_wait_a_random_while_that_the_seed_decides() {
    let times = async |seed| {
        let rig = Rig::with(OverlayConfig::default(), Node::builder().seed(seed)).await;
        let start = rig.node.clock().now();
        for n in 0..20 {
            rig.hear(other(n), question(n, secs(5)), HOW_MANY);
        }
        tokio::time::sleep(secs(1)).await;
        let said = rig.said().await;
        assert_eq!(said.len(), 20);
        let times = said.iter().map(|said| (said.at.since(start).as_millis(), said.to)).collect();
        tokio::time::resume();
        times
    };
    let first: Vec<_> = times(1).await;
    assert!(first.last().unwrap().0 - first[0].0 > 100, "{first:?}");
    assert_eq!(first, times(1).await);
    assert!(first != times(2).await);
}

#[actix::test]
async fn an_actor_that_answers_can_be_tested_alone() {
    let (asked, said) = Asked::mock(how_many(), other(1));
    asked.answer(&Many { n: 3 }).unwrap();
    assert_eq!(said.await.unwrap(), Ok(Many { n: 3 }));
    let (asked, said) = Asked::mock(how_many(), other(1));
    asked.refuse("no");
    assert_eq!(said.await.unwrap(), Err("no".into()));
    let (asked, said) = Asked::mock(how_many(), other(1));
    drop(asked);
    assert_eq!(said.await.unwrap(), Err("dropped".into()));
}

#[test]
fn the_examples_in_the_protocol_are_these_messages() {
    let document = include_str!("../../../docs/PROTOCOL.md");
    let blocks = document.split("```jsonl\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let mut n = 0;
    for line in lines {
        let encoded = if line.starts_with("{\"msgtype\":\"ask\",") {
            serde_json::from_str::<Ask>(line).unwrap().encode()
        } else {
            serde_json::from_str::<Told>(line).unwrap().encode()
        };
        assert_eq!(encoded.unwrap().inner_line(), line);
        n += 1;
    }
    assert_eq!(n, 5);
}

#[test]
fn what_a_later_version_says_means_that_the_question_has_come() {
    let line = format!("{{\"msgtype\":\"asked\",\"id\":\"{}\",\"outcome\":\"pondering\"}}", id(1));
    assert_eq!(serde_json::from_str::<Told>(&line).unwrap().outcome, Outcome::Other);
}
