//! Hears what happens in the node, and tells it to those who listen.
//!
//! Owns the topics that are taken for them and the questions that wait for their answer. What happens goes
//! into a [`Ring`] that listeners read at their own pace; nothing waits for one of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    messages::{Inquiry, InquiryReply, Note},
    model::{ApiError, Code, Event, Heard, Inquired, PeerEntry, at},
    ring::{Ring, Told},
    topics::{TooMany, Topics},
};
use crate::{
    Decision, NodeHandle, NodeId, Peer, PeerEvent,
    overlay::{Asked, Overlay, Published, Routed, Topic},
};

/// The most that listen at a time.
pub const MAX_LISTENERS: usize = 2048;

/// How often questions and topics are looked through for those whose time is up.
const SWEEP: Duration = Duration::from_secs(1);

/// Events that may wait for the hub; what is over is missed.
const MAILBOX: usize = 4096;

/// What the hub and the listeners share.
#[derive(Debug)]
pub(super) struct Feed {
    ring: Mutex<Ring>,
    /// Changes with every event. Whether no more will come.
    is_over: watch::Sender<bool>,
    listeners: AtomicUsize,
    /// Those of them who hear questions.
    answerers: AtomicUsize,
}

impl Feed {
    fn new() -> Self {
        Self {
            ring: Mutex::default(),
            is_over: watch::Sender::new(false),
            listeners: AtomicUsize::new(0),
            answerers: AtomicUsize::new(0),
        }
    }

    fn tell(&self, topic: Option<&Topic>, event: &Event) {
        let json = match serde_json::to_string(event) {
            Ok(json) => json.into(),
            Err(error) => return tracing::error!(%error, "an event cannot be told"),
        };
        let topic = topic.map(|topic| topic.name().into());
        self.ring.lock().push(Told { name: event.name(), topic, json });
        // After the push, so that whoever is woken finds it.
        self.is_over.send_replace(false);
    }

    /// Tells the listeners that no more will come.
    fn end(&self) {
        self.is_over.send_replace(true);
    }

    pub(super) fn last(&self) -> u64 {
        self.ring.lock().last()
    }

    pub(super) fn after(&self, seen: u64) -> super::ring::After {
        self.ring.lock().after(seen)
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.is_over.subscribe()
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    fn answerers(&self) -> usize {
        self.answerers.load(Ordering::Relaxed)
    }
}

/// A listener's place.
#[derive(Debug)]
pub(super) struct Seat {
    feed: Arc<Feed>,
    is_answerer: bool,
}

impl Seat {
    pub(super) fn take(feed: &Arc<Feed>, is_answerer: bool) -> Result<Self, ApiError> {
        let taken = feed.listeners.fetch_add(1, Ordering::Relaxed);
        feed.answerers.fetch_add(usize::from(is_answerer), Ordering::Relaxed);
        let seat = Self { feed: feed.clone(), is_answerer };
        if taken >= MAX_LISTENERS {
            return Err(ApiError::new(Code::Full, "there are too many listeners"));
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.feed.listeners.fetch_sub(1, Ordering::Relaxed);
        self.feed.answerers.fetch_sub(usize::from(self.is_answerer), Ordering::Relaxed);
    }
}

/// The actor.
pub(super) struct Hub {
    overlay: Overlay,
    feed: Arc<Feed>,
    topics: Topics,
    open: BTreeMap<u64, Asked<Inquiry>>,
    asked: u64,
}

impl Hub {
    /// Starts it, and has the node tell it everything.
    pub(super) async fn start(overlay: Overlay) -> (Addr<Self>, Arc<Feed>) {
        let feed = Arc::new(Feed::new());
        let shared = feed.clone();
        let node = overlay.node().clone();
        let hub = Self::create(|ctx: &mut Context<Self>| {
            ctx.set_mailbox_capacity(MAILBOX);
            let (topics, open) = (Topics::default(), BTreeMap::new());
            Self { overlay: overlay.clone(), feed: shared, topics, open, asked: 0 }
        });
        node.subscribe(hub.clone().recipient()).await;
        if !node.follow_journal(hub.clone().recipient()).await {
            tracing::error!("decisions are not told as events: too many follow the journal");
        }
        let registered = overlay
            .register::<Note>(hub.clone().recipient())
            .and_then(|()| overlay.answer::<Inquiry>(hub.clone().recipient()));
        if let Err(error) = registered {
            tracing::error!(%error, "messages and questions are not told as events");
        }
        (hub, feed)
    }

    fn node(&self) -> &NodeHandle {
        self.overlay.node()
    }

    fn entry(&self, peer: &Peer) -> PeerEntry {
        PeerEntry::of(&peer.info, self.node().clock().now())
    }

    /// Takes a topic, if it was not taken before, and notes for whom.
    fn take<T>(
        &mut self,
        topic: &Topic,
        own: Recipient<Published<Note>>,
        note: impl FnOnce(&mut Topics, Topic) -> Result<T, TooMany>,
    ) -> Result<T, ApiError> {
        let is_new = !self.topics.is_taken(topic);
        let noted = note(&mut self.topics, topic.clone());
        let noted =
            noted.map_err(|TooMany| ApiError::new(Code::Full, "there are too many topics"))?;
        if is_new && let Err(error) = self.overlay.subscribe::<Note>(topic, own) {
            self.topics.forget(topic);
            return Err(ApiError::new(Code::Full, error.to_string()));
        }
        Ok(noted)
    }

    /// A note came, from whom, whether that is proven, and over how many steps.
    fn heard(&self, topic: Option<&Topic>, note: Note, (from, proven, hops): (NodeId, bool, u8)) {
        let heard = Heard {
            at_ms: at(self.node().clock().now()),
            from: from.to_string(),
            proven,
            topic: topic.map(|topic| topic.name().to_owned()),
            text: note.text,
            hops,
        };
        self.feed.tell(topic, &Event::Message(heard));
    }

    /// Takes topics no longer that nobody wants any more.
    fn let_go(&mut self, own: &Recipient<Published<Note>>) {
        for topic in self.topics.drop_unwanted(self.node().clock().now()) {
            self.overlay.leave(&topic, own);
        }
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP, |hub, ctx| {
            hub.let_go(&ctx.address().recipient());
            let now = hub.node().clock().now();
            let late: Vec<u64> =
                hub.open.iter().filter(|(_, asked)| asked.until <= now).map(|(n, _)| *n).collect();
            for asked in late.iter().filter_map(|n| hub.open.remove(n)) {
                asked.refuse("no-answer");
            }
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.feed.end();
    }
}

impl Handler<PeerEvent> for Hub {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _: &mut Context<Self>) {
        let at_ms = at(self.node().clock().now());
        let event = match event {
            PeerEvent::Up(peer) => Event::PeerUp { at_ms, peer: self.entry(&peer) },
            PeerEvent::Changed(peer) => Event::PeerChanged { at_ms, peer: self.entry(&peer) },
            PeerEvent::Down { peer, reason } => {
                Event::PeerDown { at_ms, peer: self.entry(&peer), reason: reason.code().to_owned() }
            }
        };
        self.feed.tell(None, &event);
    }
}

impl Handler<Decision> for Hub {
    type Result = ();

    fn handle(&mut self, decision: Decision, _: &mut Context<Self>) {
        self.feed.tell(None, &Event::Decision { entry: (&decision).into() });
    }
}

impl Handler<Routed<Note>> for Hub {
    type Result = ();

    fn handle(&mut self, note: Routed<Note>, _: &mut Context<Self>) {
        let Routed { message, from, proven, hops, .. } = note;
        self.heard(None, message, (from, proven, hops));
    }
}

impl Handler<Published<Note>> for Hub {
    type Result = ();

    fn handle(&mut self, note: Published<Note>, _: &mut Context<Self>) {
        let Published { message, topic, origin, proven, hops, .. } = note;
        self.heard(Some(&topic), message, (origin, proven, hops));
    }
}

impl Handler<Asked<Inquiry>> for Hub {
    type Result = ();

    fn handle(&mut self, asked: Asked<Inquiry>, _: &mut Context<Self>) {
        if self.feed.answerers() == 0 {
            return asked.refuse("nobody");
        }
        self.asked += 1;
        let inquired = Inquired {
            inquiry: self.asked,
            from: asked.from.to_string(),
            proven: asked.proven,
            text: asked.question.text.clone(),
            until_ms: at(asked.until),
        };
        // As many as the overlay's inbox lets be alive at a time.
        self.open.insert(self.asked, asked);
        self.feed.tell(None, &Event::Inquiry(inquired));
    }
}

/// Take a topic until that is taken back. Whether it was not kept before.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, ApiError>")]
pub(super) struct Keep(pub(super) Topic);

impl Handler<Keep> for Hub {
    type Result = Result<bool, ApiError>;

    fn handle(&mut self, Keep(topic): Keep, ctx: &mut Context<Self>) -> Self::Result {
        self.take(&topic, ctx.address().recipient(), Topics::keep)
    }
}

/// Take that back. Whether it was kept.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(super) struct Release(pub(super) Topic);

impl Handler<Release> for Hub {
    type Result = bool;

    fn handle(&mut self, Release(topic): Release, ctx: &mut Context<Self>) -> bool {
        let was_kept = self.topics.release(&topic);
        self.let_go(&ctx.address().recipient());
        was_kept
    }
}

/// Take a topic for a listener.
#[derive(Debug, Message)]
#[rtype(result = "Result<Held, ApiError>")]
pub(super) struct Listen(pub(super) Topic);

/// A topic that is taken for a listener, as long as this lives and a while longer: also if the listener is
/// gone before it has got this.
#[derive(Debug)]
pub(super) struct Held {
    hub: Addr<Hub>,
    topic: Topic,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hub.do_send(Leave(self.topic.clone()));
    }
}

impl Handler<Listen> for Hub {
    type Result = Result<Held, ApiError>;

    fn handle(&mut self, Listen(topic): Listen, ctx: &mut Context<Self>) -> Self::Result {
        self.take(&topic, ctx.address().recipient(), Topics::listen)?;
        Ok(Held { hub: ctx.address(), topic })
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Leave(Topic);

impl Handler<Leave> for Hub {
    type Result = ();

    fn handle(&mut self, Leave(topic): Leave, _: &mut Context<Self>) {
        self.topics.leave(self.node().clock().now(), &topic);
    }
}

/// Say this to a question. Whether it was still open.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, ApiError>")]
pub(super) struct Say {
    pub(super) inquiry: u64,
    /// A text, or the reason for there being none.
    pub(super) said: Result<String, String>,
}

impl Handler<Say> for Hub {
    type Result = Result<bool, ApiError>;

    fn handle(&mut self, say: Say, _: &mut Context<Self>) -> Self::Result {
        let Some(asked) = self.open.remove(&say.inquiry) else { return Ok(false) };
        match say.said {
            Ok(text) => asked
                .answer(&InquiryReply { text })
                .map_err(|error| ApiError::new(Code::TooLarge, error.to_string()))?,
            Err(why) => asked.refuse(&why),
        }
        Ok(true)
    }
}

/// The topics that are taken.
#[derive(Debug, Message)]
#[rtype(result = "Vec<String>")]
pub(super) struct ListTopics;

impl Handler<ListTopics> for Hub {
    type Result = Vec<String>;

    fn handle(&mut self, _: ListTopics, _: &mut Context<Self>) -> Self::Result {
        self.topics.names().map(|topic| topic.name().to_owned()).collect()
    }
}

/// Ends it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct End;

impl Handler<End> for Hub {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
