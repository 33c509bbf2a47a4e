//! Stand-ins to test actors with, the node's own and yours: a [`Probe`] takes the place of any
//! actor that is sent to, a [`FakeSession`] that of a peer's session.
//!
//! ```
//! use peerage::{
//!     Direction, PeerEvent,
//!     testkit::{FakeSession, Probe, TestRegistry},
//! };
//!
//! actix_rt::System::new().block_on(async {
//!     tokio::time::pause();
//!     let registry = TestRegistry::start(50);
//!     let subscriber = Probe::<PeerEvent>::start();
//!     registry.subscribe(subscriber.recipient()).await;
//!
//!     let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
//!     session.greet(7);
//!     let event = subscriber.expect().await;
//!     assert!(matches!(event, PeerEvent::Up(peer) if peer.info.id.as_u128() == 7));
//! });
//! ```

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use crate::{
    actors::{
        journal::{Find, Journal, JournalPort},
        registry::{Directory, LinkEvent, LinkNews, PeerEvent, Registry, RegistrySetup, Subscribe},
        session::{Control, PeerHandle, SessionHandle},
    },
    address::HostPort,
    clock::Clock,
    config::LimitsConfig,
    ids::{LinkId, NodeId},
    outbox::Outbox,
    peer::{Channel, ChannelSecurity, Direction},
    proto::journal::{Decision, JournalQuery},
    reason::CloseReason,
    wire::{ATTACH, Frame, Hello, Line, LineSplitter, MAX_LINE, Tags, attachment::take_whole},
};

/// How long an expected message may take; under a paused clock that is no time at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// An actor that keeps what it is sent. Clones look at the same messages.
pub struct Probe<M> {
    seen: Arc<Seen<M>>,
}

struct Seen<M> {
    messages: Mutex<VecDeque<M>>,
    arrived: Notify,
}

impl<M> Clone for Probe<M> {
    fn clone(&self) -> Self {
        Self { seen: self.seen.clone() }
    }
}

impl<M> fmt::Debug for Probe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({} messages)", self.seen.messages.lock().len())
    }
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Probe<M> {
    /// A probe that has seen nothing.
    #[must_use]
    pub fn start() -> Self {
        let seen = Seen { messages: Mutex::default(), arrived: Notify::new() };
        Self { seen: Arc::new(seen) }
    }

    /// The way to it, to hand to the actor under test. It lives as long as this does.
    #[must_use]
    pub fn recipient(&self) -> Recipient<M> {
        ProbeActor(self.clone()).start().recipient()
    }

    /// The next message.
    ///
    /// # Panics
    /// If there is none within five seconds of the test's clock.
    #[track_caller]
    pub fn expect(&self) -> impl Future<Output = M> + use<M> {
        let caller = std::panic::Location::caller();
        let seen = self.seen.clone();
        async move {
            let next = async {
                loop {
                    let arrived = seen.arrived.notified();
                    if let Some(message) = seen.messages.lock().pop_front() {
                        return message;
                    }
                    arrived.await;
                }
            };
            let found = timeout(PATIENCE, next).await;
            found.unwrap_or_else(|_| panic!("no message came, expected at {caller}"))
        }
    }

    /// All messages so far, once everything under way has been handled.
    pub async fn take(&self) -> Vec<M> {
        settle().await;
        self.seen.messages.lock().drain(..).collect()
    }
}

struct ProbeActor<M>(Probe<M>);

impl<M: Unpin + 'static> Actor for ProbeActor<M> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // A test may send faster than it looks.
        ctx.set_mailbox_capacity(4096);
    }
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for ProbeActor<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Context<Self>) {
        self.0.seen.messages.lock().push_back(message);
        self.0.seen.arrived.notify_waiters();
    }
}

/// Lets everything under way be handled, without time passing beyond a millisecond of the test's
/// clock.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A hello as a minimal peer of this id says it.
#[must_use]
pub const fn minimal_hello(id: u128) -> Hello {
    Hello {
        nodeid: NodeId::from_u128(id),
        version: None,
        agent: None,
        listen: None,
        network: None,
        features: Vec::new(),
        observed: None,
        member: None,
        tags: Tags::new(),
        feeler: false,
    }
}

/// A real registry with nothing around it.
#[derive(Debug)]
pub struct TestRegistry {
    /// The actor.
    pub addr: Addr<Registry>,
    /// What it writes.
    pub directory: Directory,
    journal: Addr<Journal>,
}

impl TestRegistry {
    /// The registry of a node of this id.
    #[must_use]
    pub fn start(me: u128) -> Self {
        Self::with_limits(me, LimitsConfig::default())
    }

    /// The same, with these limits.
    #[must_use]
    pub fn with_limits(me: u128, limits: LimitsConfig) -> Self {
        Self::with(me, |setup| setup.limits = limits)
    }

    /// The same, set up otherwise than by default. Its directory and its journal stay.
    #[must_use]
    pub fn with(me: u128, change: impl FnOnce(&mut RegistrySetup)) -> Self {
        let directory = Directory::default();
        let journal = Journal::start(256, None);
        let notes = JournalPort::new(journal.clone().recipient());
        let me = NodeId::from_u128(me);
        let mut setup = RegistrySetup::new(me, Clock::start(), directory.clone(), notes.clone());
        change(&mut setup);
        let setup = RegistrySetup { directory: directory.clone(), journal: notes, ..setup };
        Self { addr: Registry::new(setup).start(), directory, journal }
    }

    /// What it decided, oldest first.
    pub async fn journal(&self, query: JournalQuery) -> Vec<Decision> {
        settle().await;
        self.journal.send(Find(query)).await.unwrap_or_default()
    }

    /// Where sessions report.
    #[must_use]
    pub fn links(&self) -> Recipient<LinkEvent> {
        self.addr.clone().recipient()
    }

    /// Subscribes to its events.
    pub async fn subscribe(&self, subscriber: Recipient<PeerEvent>) {
        self.addr.do_send(Subscribe(subscriber));
        settle().await;
    }
}

/// Plays the session of one peer: says to a registry what a session would, and keeps what it is
/// told and sent.
#[derive(Debug)]
pub struct FakeSession {
    link: LinkId,
    registry: Recipient<LinkEvent>,
    handle: Arc<SessionHandle>,
    /// What the session is told.
    pub control: Probe<Control>,
}

impl FakeSession {
    /// A new connection on loopback.
    #[must_use]
    pub fn open(registry: &Recipient<LinkEvent>, link: u64, direction: Direction) -> Self {
        let remote = std::net::SocketAddr::from(([127, 0, 0, 1], 40_000)).into();
        Self::open_from(registry, link, direction, remote)
    }

    /// A new connection with this address at its other end.
    #[must_use]
    pub fn open_from(
        registry: &Recipient<LinkEvent>,
        link: u64,
        direction: Direction,
        remote: HostPort,
    ) -> Self {
        let control = Probe::start();
        let outbox = Arc::new(Outbox::new(16, 1 << 20));
        let handle = Arc::new(SessionHandle { control: control.recipient(), outbox });
        let session = Self {
            link: LinkId(link),
            registry: registry.clone(),
            handle: handle.clone(),
            control,
        };
        session.tell(LinkNews::Opened { direction, remote, handle });
        session
    }

    /// The peer says a minimal hello of this id.
    pub fn greet(&self, id: u128) {
        self.greet_with(minimal_hello(id));
    }

    /// The peer says a minimal hello of this id, over a connection that proves it.
    pub fn greet_proven(&self, id: u128) {
        let channel = Channel { security: ChannelSecurity::Vouched, key: None };
        self.greet_over(minimal_hello(id), channel);
    }

    /// The peer says this hello.
    pub fn greet_with(&self, hello: Hello) {
        self.greet_over(hello, Channel::PLAINTEXT);
    }

    /// The peer says this hello over such a connection.
    pub fn greet_over(&self, hello: Hello, channel: Channel) {
        if hello.features.iter().any(|feature| feature == ATTACH) {
            self.handle.outbox.allow_attachments();
        }
        self.tell(LinkNews::Greeted(Box::new(hello), channel));
    }

    /// The peer answers a ping after this long.
    pub fn pong(&self, sample: Duration) {
        self.tell(LinkNews::Pong(sample));
    }

    /// The peer says what its tags are now.
    pub fn say_tags(&self, tags: Tags) {
        self.tell(LinkNews::Presence(tags));
    }

    /// The connection begins to close by itself.
    pub fn closing(&self, reason: CloseReason) {
        self.tell(LinkNews::Closing(reason));
    }

    /// The connection ends.
    pub fn close(&self, reason: CloseReason) {
        self.tell(LinkNews::Closed(reason));
    }

    fn tell(&self, news: LinkNews) {
        self.registry.do_send(LinkEvent { link: self.link, news });
    }

    /// The way to this peer, as actors hold it.
    #[must_use]
    pub fn peer(&self, id: u128) -> PeerHandle {
        PeerHandle::new(NodeId::from_u128(id), self.link, self.handle.clone())
    }

    /// The lines that were sent to this peer since the last call, without their attachments.
    pub fn take_sent(&self) -> Vec<String> {
        self.take_sent_with().into_iter().map(|(line, _)| line).collect()
    }

    /// The lines that were sent to this peer since the last call, each with its attachment, which is
    /// empty if it has none.
    pub fn take_sent_with(&self) -> Vec<(String, Bytes)> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.handle.outbox.take(std::task::Waker::noop()) {
            bytes.extend_from_slice(bytes::Buf::chunk(&chunk));
        }
        let (mut splitter, mut rest, mut sent) = (LineSplitter::new(), &bytes[..], Vec::new());
        while let Some(Line::Whole(line)) = splitter.next(&mut rest, MAX_LINE) {
            let attach = match Frame::parse(line) {
                Ok(Frame::Other { attach, .. }) => attach,
                _ => 0,
            };
            let attachment = take_whole(&mut rest, attach).unwrap_or_default();
            sent.push((String::from_utf8_lossy(line).into_owned(), attachment));
        }
        sent
    }

    /// Whether the registry has let this link be a session, and nothing else has been said since.
    pub async fn is_admitted(&self) -> bool {
        matches!(&self.control.take().await[..], [Control::Admit { .. }])
    }

    /// The reason code that the session was last told to close with.
    pub async fn told_to_close(&self) -> Option<String> {
        self.control.take().await.into_iter().rev().find_map(|control| match control {
            Control::Close { reason, .. } => Some(reason.code().to_owned()),
            Control::Admit { .. } | Control::Knock | Control::Drop => None,
        })
    }
}
