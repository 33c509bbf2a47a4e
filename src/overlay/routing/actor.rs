//! The shell of the [`Routing`] machine. What comes for this node is in `arriving`, what goes from it
//! in `sending`.

use std::{collections::BTreeMap, sync::Arc};

use actix::prelude::*;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    ROUTE,
    arriving::Answer,
    messages::{Count, Outgoing, RoutingStats, Stop},
    sending::Pending,
    takers::Takers,
};
use crate::{
    Batch, NodeHandle, Parcel, PeerEvent, PeerHandle, SendError,
    actors::pace::{Alarm, Turns},
    clock::Moment,
    identity::PublicKey,
    ids::{MessageId, NodeId},
    overlay::RoutingConfig,
    proto::{
        keys::Keys,
        replay::Replay,
        routing::{Head, Outcome, Output, Reply, Routing},
    },
};

/// The router.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) node: NodeHandle,
    pub(super) config: RoutingConfig,
    pub(super) rng: ChaCha8Rng,
    // What decides.
    pub(super) machine: Routing,
    pub(super) outputs: Vec<Output>,
    pub(super) taken: Replay<(NodeId, MessageId), Answer>,
    pub(super) keys: Keys<Outgoing>,
    // Who is there.
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) takers: Arc<Takers>,
    /// What waits for an outcome.
    pub(super) pending: BTreeMap<MessageId, Pending>,
    pub(super) stats: RoutingStats,
    turns: Turns,
    alarm: Alarm,
}

/// What the router knows of a peer.
#[derive(Debug)]
pub(super) struct Peer {
    handle: PeerHandle,
    /// The key that its connection has proven.
    pub(super) key: Option<PublicKey>,
}

impl Router {
    pub(super) fn new(node: NodeHandle, takers: Arc<Takers>, config: &RoutingConfig) -> Self {
        let mut rng = node.rng();
        Self {
            config: *config,
            machine: Routing::new(node.id(), config.trails, rng.random()),
            rng,
            outputs: Vec::new(),
            taken: Replay::new(config.taken),
            keys: Keys::new(config.known_keys),
            peers: BTreeMap::new(),
            takers,
            pending: BTreeMap::new(),
            stats: RoutingStats::default(),
            turns: Turns::default(),
            alarm: Alarm::default(),
            node,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.node.clock().now()
    }

    /// Does what the machine wants done, which may lead to more, then sets the timer to what it wants
    /// next.
    pub(super) fn apply(&mut self, now: Moment, ctx: &mut Context<Self>) {
        self.act_all(now);
        self.arm(ctx);
    }

    fn act_all(&mut self, now: Moment) {
        let mut outputs = std::mem::take(&mut self.outputs);
        while !outputs.is_empty() {
            for output in outputs.drain(..) {
                self.act(now, output);
            }
            std::mem::swap(&mut outputs, &mut self.outputs);
        }
        // The room is kept for the next message.
        self.outputs = outputs;
    }

    fn act(&mut self, now: Moment, output: Output) {
        match output {
            Output::Forward { to, head, body } => {
                let Some(peer) = self.peers.get(&to) else {
                    let out = &mut self.outputs;
                    return self.machine.not_sent(to, head.id, body, Outcome::NoRoute, out);
                };
                let sent = peer.handle.send_with(&head, body.clone());
                let failure = match sent {
                    Ok(()) => return,
                    Err(SendError::OutboxFull) => Outcome::Busy,
                    Err(_) => Outcome::NoRoute,
                };
                self.machine.not_sent(to, head.id, body, failure, &mut self.outputs);
            }
            Output::Reply { to, reply } => self.answer(to, &reply),
            Output::Deliver { via, head, body } => self.arrived(now, via, &head, body),
            Output::Done(reply) => self.done(now, reply),
        }
    }

    /// Tells a peer what became of a message. What cannot be sent is lost: the origin asks again, or
    /// its time is up.
    pub(super) fn answer(&mut self, to: NodeId, reply: &Reply) {
        let sent = self.peers.get(&to).map(|peer| peer.handle.send(reply));
        if sent != Some(Ok(())) {
            self.stats.lost += 1;
        }
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let (clock, due) = (self.node.clock(), self.machine.deadline());
        self.alarm.set(clock, due, ctx, |router, ctx| {
            router.alarm.rang();
            let now = router.now();
            router.machine.tick(now, &mut router.outputs);
            router.apply(now, ctx);
        });
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Handler<PeerEvent> for Router {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, ctx: &mut Context<Self>) {
        let now = self.now();
        match event {
            PeerEvent::Up(peer) => {
                let id = peer.info.id;
                let key = peer.info.channel.key.filter(|key| key.node_id() == id);
                if peer.info.features.iter().any(|feature| feature == ROUTE)
                    && peer.handle.takes_attachments()
                {
                    self.machine.up(id);
                }
                self.peers.insert(id, Peer { handle: peer.handle, key });
            }
            // Who it is and what it can do stays the same.
            PeerEvent::Changed(_) => return,
            PeerEvent::Down { peer, .. } => {
                self.peers.remove(&peer.info.id);
                self.machine.down(now, peer.info.id, &mut self.outputs);
            }
        }
        self.apply(now, ctx);
    }
}

impl Handler<Batch<Head>> for Router {
    type Result = ();

    fn handle(&mut self, mut batch: Batch<Head>, ctx: &mut Context<Self>) {
        let (now, via) = (self.now(), batch.sender());
        // A peer's `Up` comes before its messages. What comes after its `Down` nobody waits for.
        if !self.peers.contains_key(&via) {
            return;
        }
        let n = batch.parcels.len();
        for Parcel { message: head, attachment: body } in batch.parcels.drain(..) {
            self.machine.arrived(now, via, head, body, &mut self.outputs);
            self.act_all(now);
        }
        self.arm(ctx);
        self.turns.took(n, ctx);
    }
}

impl Handler<Batch<Reply>> for Router {
    type Result = ();

    fn handle(&mut self, mut batch: Batch<Reply>, ctx: &mut Context<Self>) {
        let (now, from, n) = (self.now(), batch.sender(), batch.parcels.len());
        for Parcel { message, .. } in batch.parcels.drain(..) {
            let (reply, is_true) = self.judge(now, from, message);
            self.machine.replied(now, from, reply, is_true, &mut self.outputs);
            // The next answer may be to what follows from this one.
            self.act_all(now);
        }
        self.arm(ctx);
        self.turns.took(n, ctx);
    }
}

impl Handler<Count> for Router {
    type Result = RoutingStats;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> RoutingStats {
        let (_, trails) = self.machine.under_way();
        let (relayed, waiting) = (self.machine.counts(), self.pending.len());
        RoutingStats { relayed, waiting, trails, ..self.stats }
    }
}

impl Handler<Stop> for Router {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        // Whoever waits is told by the end of what it waits for.
        self.pending.clear();
        ctx.stop();
    }
}
