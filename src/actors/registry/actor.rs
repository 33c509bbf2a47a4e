//! The shell of the [`PeerTable`].

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{
    bans::Saving,
    directory::Directory,
    messages::{
        Announce, Disconnect, Elsewhere, LinkEvent, LinkNews, Peer, PeerEvent, PeerList, SaveBans,
        ShutDown, Stop, Subscribe,
    },
    setup::RegistrySetup,
};
use crate::{
    actors::{
        discovery::BanNews,
        journal::JournalPort,
        session::{Control, PeerHandle, SessionHandle},
        vital::Vital,
    },
    address::{Class, HostPort},
    clock::{Clock, Moment},
    ids::NodeId,
    peer::PeerInfo,
    proto::{
        admission::Spared,
        journal::{Decision, Kind},
        peer_table::{Effect, PeerTable},
    },
    reason::CloseReason,
};

/// The longest that a timer is set for. Bans may last for years.
const LONGEST_TIMER: Duration = Duration::from_secs(24 * 3600);

/// The registry.
#[derive(Debug)]
pub struct Registry {
    // The machine.
    pub(super) table: PeerTable<Arc<SessionHandle>>,
    pub(super) effects: Vec<Effect>,
    pub(super) clock: Clock,
    // The ways out.
    directory: Directory,
    subscribers: Vec<Recipient<PeerEvent>>,
    pub(super) journal: JournalPort,
    pub(super) store: Option<Recipient<SaveBans>>,
    /// Who hears of bans.
    pub(super) ban_listener: Option<Recipient<BanNews>>,
    /// Who waits for the last link to go.
    emptied: Vec<oneshot::Sender<()>>,
    // The rest.
    announce: Option<HostPort>,
    elsewhere: Arc<[(HostPort, NodeId)]>,
    timer: Option<(Moment, SpawnHandle)>,
    _vital: Option<Vital>,
}

impl Registry {
    /// A registry made of this.
    #[must_use]
    pub fn new(setup: RegistrySetup) -> Self {
        let mut table = PeerTable::new(setup.me, setup.limits, &setup.trust, setup.key);
        table.spare(Spared::new(&setup.bootstrap));
        let mut effects = Vec::new();
        table.take_up(setup.clock.now(), setup.bans, &mut effects);
        Self {
            table,
            effects,
            clock: setup.clock,
            directory: setup.directory,
            subscribers: Vec::new(),
            journal: setup.journal,
            store: setup.store,
            ban_listener: None,
            emptied: Vec::new(),
            announce: None,
            elsewhere: Arc::default(),
            timer: None,
            _vital: setup.vital,
        }
    }

    /// Does what the table wants done, and has kept what is to be.
    fn step(&mut self, now: Moment, ctx: &mut Context<Self>) {
        if let Some(saving) = self.apply(now, ctx) {
            ctx.spawn(saving.into_actor(self).map(|_is_kept, _, _| ()));
        }
    }

    /// Does what the table wants done, then sets the timer to what it wants next. What is to be kept
    /// is on its way to the store when this returns.
    #[must_use]
    pub(super) fn apply(&mut self, now: Moment, ctx: &mut Context<Self>) -> Option<Saving> {
        let mut changes = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Admit(link) => {
                    let announce = self.announce.clone();
                    self.control(link, Control::Admit { announce });
                }
                Effect::Close(link, reason, detail) => {
                    let full = reason == CloseReason::Full;
                    let elsewhere = if full { self.elsewhere_for(link) } else { Arc::default() };
                    self.control(link, Control::Close { reason, detail, elsewhere });
                }
                Effect::Drop(link) => self.control(link, Control::Drop),
                Effect::Up(info) => self.up(now, info),
                Effect::Changed(info) => self.changed(info),
                Effect::Down(info, reason) => self.down(now, info, reason),
                Effect::Keep(change) => changes.push(change),
                Effect::Standing(standing) => self.report(standing),
                Effect::Note(decision) => self.journal.note(decision),
            }
        }
        if self.table.n_links() == 0 {
            for waiting in self.emptied.drain(..) {
                // Whoever asked may have gone by now.
                let _gone = waiting.send(());
            }
        }
        self.arm(ctx);
        self.keep(changes)
    }

    /// Where else this link's peer may go: only where it can be meant to reach.
    fn elsewhere_for(&self, link: crate::ids::LinkId) -> Arc<[(HostPort, NodeId)]> {
        let class = self.table.remote(link).map_or(Class::Public, HostPort::class);
        let reachable = self.elsewhere.iter().filter(|(addr, _)| addr.class() >= class);
        reachable.cloned().collect()
    }

    fn control(&self, link: crate::ids::LinkId, control: Control) {
        if let Some(handle) = self.table.handle(link) {
            handle.control.do_send(control);
        }
    }

    fn up(&mut self, now: Moment, info: PeerInfo) {
        let Some(peer) = self.peer(info) else { return };
        self.directory.insert(peer.handle.clone());
        let note = Decision::new(now, Kind::SessionUp, peer.info.direction.code());
        let note = note.detail(peer.info.channel.security.code());
        self.note(note, &peer.info);
        self.publish(&PeerEvent::Up(peer));
    }

    fn down(&mut self, now: Moment, info: PeerInfo, reason: CloseReason) {
        // The table may have dropped the link by now; the directory has it until here.
        let Some(handle) = self.directory.remove(info.id) else { return };
        let peer = Peer { info, handle };
        let note = Decision::new(now, Kind::SessionDown, reason.word());
        let by = if matches!(reason, CloseReason::Peer(_)) { "said the peer" } else { "" };
        let secs = now.since(peer.info.since).as_secs();
        self.note(note.detail(by).number("secs", secs), &peer.info);
        self.publish(&PeerEvent::Down { peer, reason });
    }

    fn changed(&mut self, info: PeerInfo) {
        if let Some(peer) = self.peer(info) {
            self.publish(&PeerEvent::Changed(peer));
        }
    }

    fn note(&self, decision: Decision, info: &PeerInfo) {
        let decision = decision.link(info.link).peer(info.id).addr(info.remote.clone());
        self.journal.note(decision);
    }

    fn peer(&self, info: PeerInfo) -> Option<Peer> {
        let session = self.table.handle(info.link)?.clone();
        let handle = PeerHandle::new(info.id, info.link, session);
        Some(Peer { info, handle })
    }

    fn publish(&mut self, event: &PeerEvent) {
        self.subscribers.retain(|subscriber| {
            subscriber.do_send(event.clone());
            subscriber.connected()
        });
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = self.table.deadline();
        if due == self.timer.map(|(due, _)| due) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = due {
            let pause = self.clock.until(due).min(LONGEST_TIMER);
            let timer = ctx.run_later(pause, |registry, ctx| {
                registry.timer = None;
                let now = registry.clock.now();
                registry.table.tick(now, &mut registry.effects);
                registry.step(now, ctx);
            });
            self.timer = Some((due, timer));
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.step(self.clock.now(), ctx);
    }
}

impl Handler<LinkEvent> for Registry {
    type Result = ();

    fn handle(&mut self, LinkEvent { link, news }: LinkEvent, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let out = &mut self.effects;
        match news {
            LinkNews::Opened { direction, remote, handle } => {
                self.table.opened(now, link, direction, remote, handle, out);
            }
            LinkNews::Greeted(hello, channel) => {
                self.table.greeted(now, link, *hello, channel, out);
            }
            LinkNews::Pong(sample) => return self.table.pong(now, link, sample),
            LinkNews::Presence(tags) => self.table.presence(link, tags, out),
            LinkNews::Closing(reason) => self.table.closing(link, now, &reason, out),
            LinkNews::Closed(reason) => self.table.closed(link, now, &reason, out),
        }
        self.step(now, ctx);
    }
}

impl Handler<Subscribe> for Registry {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Context<Self>) {
        for info in self.table.peers() {
            if let Some(peer) = self.peer(info.clone()) {
                subscriber.do_send(PeerEvent::Up(peer));
            }
        }
        self.subscribers.push(subscriber);
    }
}

impl Handler<PeerList> for Registry {
    type Result = MessageResult<PeerList>;

    fn handle(&mut self, _: PeerList, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.table.peers().cloned().collect())
    }
}

impl Handler<Disconnect> for Registry {
    type Result = bool;

    fn handle(&mut self, Disconnect { id, reason }: Disconnect, ctx: &mut Context<Self>) -> bool {
        let found = self.table.disconnect(id, &reason, &mut self.effects);
        self.step(self.clock.now(), ctx);
        found
    }
}

impl Handler<Announce> for Registry {
    type Result = ();

    fn handle(&mut self, Announce(addr): Announce, _: &mut Context<Self>) {
        self.announce = addr;
    }
}

impl Handler<Elsewhere> for Registry {
    type Result = ();

    fn handle(&mut self, Elsewhere(addrs): Elsewhere, _: &mut Context<Self>) {
        self.elsewhere = addrs;
    }
}

impl Handler<ShutDown> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: ShutDown, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        let (done, waiting) = oneshot::channel();
        self.emptied.push(done);
        self.table.shut_down(&mut self.effects);
        self.step(self.clock.now(), ctx);
        Box::pin(async move {
            // An error would mean that the registry itself is gone, and with it all links.
            let _gone = waiting.await;
        })
    }
}

impl Handler<Stop> for Registry {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
