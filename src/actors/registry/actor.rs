//! The shell of the [`PeerTable`].

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{
    directory::Directory,
    messages::{
        Announce, Disconnect, Elsewhere, LinkEvent, LinkNews, Peer, PeerEvent, PeerList, ShutDown,
        Stop, Subscribe,
    },
};
use crate::{
    actors::{
        journal::JournalPort,
        session::{Control, PeerHandle, SessionHandle},
        vital::Vital,
    },
    address::HostPort,
    clock::{Clock, Moment},
    config::LimitsConfig,
    ids::NodeId,
    peer::PeerInfo,
    proto::{
        journal::{Decision, Kind},
        peer_table::{Effect, PeerTable},
    },
    reason::CloseReason,
};

/// The registry.
#[derive(Debug)]
pub struct Registry {
    // The machine.
    table: PeerTable<Arc<SessionHandle>>,
    effects: Vec<Effect>,
    clock: Clock,
    // The ways out.
    directory: Directory,
    subscribers: Vec<Recipient<PeerEvent>>,
    journal: JournalPort,
    /// Who waits for the last link to go.
    emptied: Vec<oneshot::Sender<()>>,
    // The rest.
    announce: Option<HostPort>,
    elsewhere: Arc<[(HostPort, NodeId)]>,
    timer: Option<(Moment, SpawnHandle)>,
    _vital: Option<Vital>,
}

impl Registry {
    /// The registry of the node with this id. The directory is its to write.
    #[must_use]
    pub fn new(
        me: NodeId,
        limits: LimitsConfig,
        clock: Clock,
        directory: Directory,
        journal: JournalPort,
        vital: Option<Vital>,
    ) -> Self {
        Self {
            table: PeerTable::new(me, limits),
            effects: Vec::new(),
            clock,
            directory,
            subscribers: Vec::new(),
            journal,
            emptied: Vec::new(),
            announce: None,
            elsewhere: Arc::default(),
            timer: None,
            _vital: vital,
        }
    }

    /// Does what the table wants done, then sets the timer to what it wants next.
    fn apply(&mut self, now: Moment, ctx: &mut Context<Self>) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Admit(link) => {
                    let announce = self.announce.clone();
                    self.control(link, Control::Admit { announce });
                }
                Effect::Close(link, reason, detail) => {
                    let full = reason == CloseReason::Full;
                    let elsewhere = if full { self.elsewhere.clone() } else { Arc::default() };
                    self.control(link, Control::Close { reason, detail, elsewhere });
                }
                Effect::Up(info) => self.up(now, info),
                Effect::Down(info, reason) => self.down(now, info, reason),
            }
        }
        if self.table.n_links() == 0 {
            for waiting in self.emptied.drain(..) {
                // Whoever asked may have gone by now.
                let _gone = waiting.send(());
            }
        }
        self.arm(ctx);
    }

    fn control(&self, link: crate::ids::LinkId, control: Control) {
        if let Some(handle) = self.table.handle(link) {
            handle.control.do_send(control);
        }
    }

    fn up(&mut self, now: Moment, info: PeerInfo) {
        let Some(peer) = self.peer(info) else { return };
        self.directory.insert(peer.handle.clone());
        let note = Decision::new(now, Kind::SessionUp, peer.info.direction.to_string());
        self.note(note, &peer.info);
        self.publish(&PeerEvent::Up(peer));
    }

    fn down(&mut self, now: Moment, info: PeerInfo, reason: CloseReason) {
        // The table may have dropped the link by now; the directory has it until here.
        let Some(handle) = self.directory.remove(info.id) else { return };
        let peer = Peer { info, handle };
        let note = Decision::new(now, Kind::SessionDown, reason.code().to_owned());
        let by = if matches!(reason, CloseReason::Peer(_)) { "said the peer" } else { "" };
        self.note(note.detail(by), &peer.info);
        self.publish(&PeerEvent::Down { peer, reason });
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
            let timer = ctx.run_later(self.clock.until(due), |registry, ctx| {
                registry.timer = None;
                let now = registry.clock.now();
                registry.table.tick(now, &mut registry.effects);
                registry.apply(now, ctx);
            });
            self.timer = Some((due, timer));
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<LinkEvent> for Registry {
    type Result = ();

    fn handle(&mut self, LinkEvent { link, news }: LinkEvent, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let out = &mut self.effects;
        match news {
            LinkNews::Opened { direction, remote, handle } => {
                self.table.opened(link, direction, remote, handle, out);
            }
            LinkNews::Greeted(hello, channel) => {
                self.table.greeted(now, link, *hello, channel, out);
            }
            LinkNews::Pong(sample) => return self.table.pong(now, link, sample),
            LinkNews::Closing(reason) => self.table.closing(link, now, &reason, out),
            LinkNews::Closed(reason) => self.table.closed(link, now, &reason, out),
        }
        self.apply(now, ctx);
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
        self.apply(self.clock.now(), ctx);
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
        self.apply(self.clock.now(), ctx);
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
