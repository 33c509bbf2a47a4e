//! The shell of the [`Explorer`].

use std::{collections::BTreeMap, time::Duration};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::messages::{
    BanNews, Book, BookEntry, DialError, DialNow, Dialled, Found, FromPeer, Question, Resolved,
    SaveAddresses,
};
use crate::{
    actors::{
        dialer::{Dial, Resolve},
        journal::JournalPort,
        pace::{Alarm, Turns},
        registry::{Announce, BootstrapResolved, Elsewhere, PeerEvent, Stop},
        session::PeerHandle,
        vital::Vital,
    },
    address::{Bootstrap, HostPort},
    clock::{Clock, Moment},
    ids::NodeId,
    outbox::SendError,
    proto::{
        address_entry::{Entry, NotTaken},
        address_record::{AddressChange, Shelf},
        explorer::{Explorer, Output},
    },
    reason::CloseReason,
};

/// How long a node that stops waits for its addresses to be kept.
const LAST_SAVE: Duration = Duration::from_secs(1);

/// The ways out of discovery.
#[derive(Debug)]
pub struct Ports {
    /// To the dialer.
    pub dial: Recipient<Dial>,
    /// To the dialer.
    pub resolve: Recipient<Resolve>,
    /// To the registry.
    pub announce: Recipient<Announce>,
    /// To the registry.
    pub elsewhere: Recipient<Elsewhere>,
    /// To the registry.
    pub bootstrap_resolved: Recipient<BootstrapResolved>,
    /// To the journal.
    pub journal: JournalPort,
    /// To the store; without one nothing is kept.
    pub save: Option<Recipient<SaveAddresses>>,
}

/// Discovery.
#[derive(Debug)]
pub struct Discovery {
    // The machine.
    explorer: Explorer,
    outputs: Vec<Output>,
    clock: Clock,
    bootstrap: Vec<Bootstrap>,
    // The ways out.
    ports: Ports,
    peers: BTreeMap<NodeId, PeerHandle>,
    /// Who waits for a dial of an address.
    waiting: BTreeMap<HostPort, Vec<oneshot::Sender<Result<NodeId, DialError>>>>,
    turns: Turns,
    // What is kept.
    save_interval: Duration,
    /// The changes that the store has and has not answered for.
    saving: Option<Vec<AddressChange>>,
    alarm: Alarm,
    _vital: Option<Vital>,
}

impl Discovery {
    /// Discovery over this machine, starting from these first contacts.
    #[must_use]
    pub fn new(
        explorer: Explorer,
        bootstrap: Vec<Bootstrap>,
        save_interval: Duration,
        clock: Clock,
        ports: Ports,
        vital: Option<Vital>,
    ) -> Self {
        Self {
            explorer,
            outputs: Vec::new(),
            clock,
            bootstrap,
            ports,
            peers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: Turns::default(),
            save_interval,
            saving: None,
            alarm: Alarm::default(),
            _vital: vital,
        }
    }

    /// Does what the machine wants done, then sets the timer to what it wants next.
    fn apply(&mut self, now: Moment, ctx: &mut Context<Self>) {
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Dial(plan) => self.ports.dial.do_send(Dial(plan)),
                Output::Resolve(name) => self.ports.resolve.do_send(Resolve(name)),
                Output::Announce(addr) => self.ports.announce.do_send(Announce(addr)),
                Output::Elsewhere(addrs) => {
                    self.ports.elsewhere.do_send(Elsewhere(addrs.into()));
                }
                Output::Note(decision) => self.ports.journal.note(decision),
                Output::Close(id, reason) => {
                    if let Some(peer) = self.peers.get(&id) {
                        peer.close(reason);
                    }
                }
                Output::Send(id, frame) => {
                    let sent = self.peers.get(&id).map(|peer| peer.send_encoded(&frame));
                    if sent == Some(Err(SendError::OutboxFull)) {
                        tracing::debug!(%id, "addresses not sent: outbox full");
                    }
                }
            }
        }
        self.arm(now, ctx);
    }

    fn arm(&mut self, now: Moment, ctx: &mut Context<Self>) {
        let due = self.explorer.deadline(now);
        self.alarm.set(self.clock, due, ctx, |discovery, ctx| {
            discovery.alarm.rang();
            let now = discovery.clock.now();
            discovery.explorer.tick(now, &mut discovery.outputs);
            discovery.apply(now, ctx);
        });
    }

    /// Has the store keep what has changed, and again after a pause.
    fn save(&mut self, ctx: &mut Context<Self>) {
        let Some(store) = &self.ports.save else { return };
        let changes = match self.saving {
            Some(_) => Vec::new(),
            None => self.explorer.take_changes(),
        };
        if !changes.is_empty() {
            self.saving = Some(changes.clone());
            let answer = store.send(SaveAddresses(changes)).into_actor(self);
            ctx.spawn(answer.map(|kept, discovery, _| {
                let changes = discovery.saving.take().unwrap_or_default();
                if !matches!(kept, Ok(true)) {
                    discovery.explorer.put_back(changes);
                }
            }));
        }
        ctx.run_later(self.save_interval, Self::save);
    }

    fn answer_waiting(&mut self, addr: &HostPort, answer: &Result<NodeId, DialError>) {
        for waiting in self.waiting.remove(addr).unwrap_or_default() {
            // Whoever asked may have gone by now.
            let _gone = waiting.send(answer.clone());
        }
    }
}

impl Actor for Discovery {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let bootstrap = std::mem::take(&mut self.bootstrap);
        self.explorer.start(now, &bootstrap, &mut self.outputs);
        self.apply(now, ctx);
        if self.ports.save.is_some() {
            ctx.run_later(self.save_interval, Self::save);
        }
    }
}

impl Handler<PeerEvent> for Discovery {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        match event {
            PeerEvent::Up(peer) => {
                self.peers.insert(peer.info.id, peer.handle);
                self.explorer.peer_up(now, &peer.info, &mut self.outputs);
            }
            // Where it can be dialled is not among what changes.
            PeerEvent::Changed(_) => {}
            PeerEvent::Down { peer, reason } => {
                self.peers.remove(&peer.info.id);
                self.explorer.peer_down(now, &peer.info, &reason, &mut self.outputs);
            }
        }
        self.apply(now, ctx);
    }
}

impl Handler<FromPeer> for Discovery {
    type Result = ();

    fn handle(&mut self, message: FromPeer, ctx: &mut Context<Self>) {
        let FromPeer { from, question, credit } = message;
        let now = self.clock.now();
        match question {
            Question::GetAddr { near, max } => {
                let reply = self.explorer.get_addr(now, from.id(), near, max);
                if let Err(error) = from.send_encoded(&reply) {
                    tracing::debug!(peer = %from.id(), %error, "addr reply not sent");
                }
            }
            Question::Spare => {
                self.explorer.offered(from.id(), &mut self.outputs);
                self.apply(now, ctx);
            }
            Question::Addrs(entries) => {
                self.explorer.addrs(now, from.id(), &entries, &mut self.outputs);
                self.apply(now, ctx);
            }
        }
        drop(credit);
        self.turns.took(1, ctx);
    }
}

impl Handler<Dialled> for Discovery {
    type Result = ();

    fn handle(&mut self, Dialled { addr, result }: Dialled, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let id = result.proof.as_ref().map(|proof| proof.id);
        let answer = match (&result.end, id) {
            (None, Some(id)) => Some(Ok(id)),
            // Another session with the same node is as good.
            (Some((CloseReason::Duplicate, _)), Some(id)) => Some(Ok(id)),
            (Some(_), Some(id)) if self.peers.contains_key(&id) => Some(Ok(id)),
            // A feeler saw who is there; whoever waits wants a session.
            (Some((CloseReason::Feeler, _)), _) => None,
            (Some((reason, detail)), _) => {
                let (reason, detail) = (reason.clone(), detail.clone());
                Some(Err(DialError::Failed { reason, detail }))
            }
            (None, None) => Some(Err(DialError::Stopping)),
        };
        self.explorer.dialled(now, &addr, result, &mut self.outputs);
        match answer {
            // It is tried again at once, in another way.
            Some(Err(_)) if self.explorer.is_dialling(&addr) => {}
            Some(answer) => self.answer_waiting(&addr, &answer),
            None if self.waiting.contains_key(&addr) => {
                if let Err(why) = self.explorer.dial_now(now, &addr, &mut self.outputs) {
                    self.answer_waiting(&addr, &Err(DialError::BadAddress(why.code())));
                }
            }
            None => {}
        }
        self.apply(now, ctx);
    }
}

impl Handler<Resolved> for Discovery {
    type Result = ();

    fn handle(&mut self, Resolved { name, addrs }: Resolved, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        if let Ok(addrs) = &addrs {
            let (name, addrs) = (name.clone(), addrs.clone());
            self.ports.bootstrap_resolved.do_send(BootstrapResolved { name, addrs });
        }
        self.explorer.resolved(now, &name, addrs, &mut self.outputs);
        self.apply(now, ctx);
    }
}

impl Handler<DialNow> for Discovery {
    type Result = ResponseFuture<Result<NodeId, DialError>>;

    fn handle(&mut self, DialNow(addr): DialNow, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.clock.now();
        if let Some(id) = self.explorer.book().connected_at(&addr) {
            return Box::pin(async move { Ok(id) });
        }
        if let Err(why) = self.explorer.dial_now(now, &addr, &mut self.outputs) {
            return Box::pin(async move { Err(DialError::BadAddress(why.code())) });
        }
        let (answer, waiting) = oneshot::channel();
        self.waiting.entry(addr).or_default().push(answer);
        self.apply(now, ctx);
        Box::pin(async move { waiting.await.unwrap_or(Err(DialError::Stopping)) })
    }
}

impl Handler<Found> for Discovery {
    type Result = Result<bool, NotTaken>;

    fn handle(&mut self, Found { by, finding }: Found, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.clock.now();
        let taken = self.explorer.found(now, by, &finding, &mut self.outputs);
        self.apply(now, ctx);
        taken
    }
}

impl Handler<BanNews> for Discovery {
    type Result = ();

    fn handle(&mut self, news: BanNews, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        match news.until {
            Some(until) => self.explorer.shun(now, news.target, until, news.verdict),
            None => self.explorer.lift(now, news.target, &mut self.outputs),
        }
        self.apply(now, ctx);
    }
}

impl Handler<Book> for Discovery {
    type Result = MessageResult<Book>;

    fn handle(&mut self, _: Book, _: &mut Context<Self>) -> Self::Result {
        let entries = self.explorer.book().iter().map(|(addr, entry)| shown(addr, entry));
        MessageResult(entries.collect())
    }
}

fn shown(addr: &HostPort, entry: &Entry) -> BookEntry {
    let shelf = match (entry.is_cold(), entry.is_tried()) {
        (true, _) => Shelf::Cold,
        (_, true) => Shelf::Tried,
        _ => Shelf::New,
    };
    BookEntry {
        addr: addr.clone(),
        id: entry.id,
        shelf,
        source: entry.source,
        told_from: entry.told_from,
        heard: entry.heard,
        proven: entry.proven,
        tried: entry.tried,
        outcome: entry.outcome.as_deref().map(str::to_owned),
        failures: entry.failures,
        next_try: entry.next_try,
        given: entry.is_given(),
        cold: entry.is_cold(),
        own: entry.own,
    }
}

/// Answered when what has changed is kept, or after a second.
impl Handler<Stop> for Discovery {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) -> Self::Result {
        // What the store has not answered for goes with the rest: keeping it twice does no harm.
        self.explorer.put_back(self.saving.take().unwrap_or_default());
        let changes = self.explorer.take_changes();
        let store = self.ports.save.take().filter(|_| !changes.is_empty());
        let last = async move {
            if let Some(store) = store {
                let saved = tokio::time::timeout(LAST_SAVE, store.send(SaveAddresses(changes)));
                if !matches!(saved.await, Ok(Ok(true))) {
                    tracing::warn!("the latest changes of the address book were not kept");
                }
            }
        };
        Box::pin(last.into_actor(self).map(|(), _, ctx| ctx.stop()))
    }
}
