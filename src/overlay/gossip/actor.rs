//! The shell of the [`Plumtree`] machine.

use std::{collections::BTreeMap, sync::Arc};

use actix::prelude::*;
use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    GOSSIP,
    messages::{
        BroadcastStats, Count, Gossip, Graft, Ihave, Prune, Publish, PublishError, Source, Stop,
        Topic,
    },
    subscribers::Subscribers,
};
use crate::{
    CloseReason, NodeHandle, PeerEvent, PeerHandle, PeerMessage, Received,
    clock::Moment,
    ids::{MessageId, NodeId},
    overlay::envelope::{Letter, Purpose, SIGNED_OVERHEAD, gossip_id, made_at},
    proto::{
        journal::{Decision, Kind},
        plumtree::{Duty, GossipConfig, Head, LEVELS, Output, Plumtree, Verdict},
    },
    wire::{Encoded, MAX_ATTACHMENT},
};

/// After so many messages of peers, others of the thread get their turn.
const YIELD_EVERY: usize = 64;

/// What a message is kept and sent by.
#[derive(Debug)]
struct Parcel {
    origin: NodeId,
    topic: Topic,
    blob: Bytes,
}

/// The gossiper.
#[derive(Debug)]
pub(super) struct Gossiper {
    node: NodeHandle,
    rng: ChaCha8Rng,
    machine: Plumtree<Arc<Parcel>>,
    outputs: Vec<Output<Arc<Parcel>>>,
    peers: BTreeMap<NodeId, PeerHandle>,
    subscribers: Arc<Subscribers>,
    stats: BroadcastStats,
    /// Messages of peers handled since the start.
    handled: usize,
    timer: Option<(Moment, SpawnHandle)>,
}

impl Gossiper {
    pub(super) fn new(
        node: NodeHandle,
        subscribers: Arc<Subscribers>,
        config: GossipConfig,
    ) -> Self {
        let mut rng = node.rng();
        let machine = Plumtree::new(node.id(), config, rng.random(), node.clock().now());
        Self {
            rng,
            machine,
            outputs: Vec::new(),
            peers: BTreeMap::new(),
            subscribers,
            stats: BroadcastStats::default(),
            handled: 0,
            timer: None,
            node,
        }
    }

    fn now(&self) -> Moment {
        self.node.clock().now()
    }

    /// Does what the machine wants done, then sets the timer to what it wants next.
    fn apply(&mut self, ctx: &mut Context<Self>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Push { id, hops, body, to } => self.push(id, hops, &body, &to),
                Output::Announce(to, ids) => self.tell(to, &Ihave { ids, compare: false }),
                Output::Compare(to, ids) => self.tell(to, &Ihave { ids, compare: true }),
                Output::Graft(to, ids) => self.tell(to, &Graft { ids }),
                Output::Prune(to) => self.tell(to, &Prune {}),
                Output::Note(decision) => self.node.note(decision),
            }
        }
        // The room is kept for the next message.
        self.outputs = outputs;
        self.arm(ctx);
    }

    /// Sends a message to some, who share its bytes.
    fn push(&mut self, id: MessageId, hops: u8, parcel: &Parcel, to: &[(NodeId, Duty)]) {
        let Parcel { origin, topic, blob } = parcel;
        let mut line = Gossip {
            id,
            origin: *origin,
            topic: topic.clone(),
            hops,
            depth: LEVELS,
            beside: Vec::new(),
        };
        for (peer, duty) in to {
            line.depth = duty.depth();
            line.beside.clear();
            line.beside.extend(duty.beside());
            match line.encode_with(blob.clone()) {
                Ok(frame) => self.send(*peer, &frame),
                Err(error) => tracing::error!(%error, "own frame not encoded"),
            }
        }
    }

    fn tell<M: PeerMessage>(&mut self, peer: NodeId, message: &M) {
        match message.encode() {
            Ok(frame) => self.send(peer, &frame),
            Err(error) => tracing::error!(%error, "own frame not encoded"),
        }
    }

    /// What a full outbox refuses others will announce, or this node when it is asked.
    fn send(&mut self, peer: NodeId, frame: &Encoded) {
        let sent = self.peers.get(&peer).map(|peer| peer.send_encoded(frame));
        if sent != Some(Ok(())) {
            self.stats.refused += 1;
        }
    }

    /// A message came.
    fn take_in(&mut self, from: &PeerHandle, gossip: &Gossip, blob: &Bytes) {
        let now = self.now();
        let Some(made) = made_at(blob) else { return self.forged(now, from, "malformed") };
        let Gossip { id, origin, hops, ref topic, .. } = *gossip;
        let head = Head { id, origin, made, hops, duty: gossip.duty() };
        if self.machine.check(now, from.id(), &head, &mut self.outputs) != Verdict::New {
            return;
        }
        // Once for each message on each node, and before it is handed on to anybody.
        if gossip_id(origin, topic.name(), blob) != id {
            return self.forged(now, from, "the id is not the content's");
        }
        let letter = match Letter::verify(blob, origin, &Purpose::Gossip { topic: topic.name() }) {
            Ok(letter) => letter,
            Err(why) => return self.forged(now, from, &why.to_string()),
        };
        let parcel = Arc::new(Parcel { origin, topic: topic.clone(), blob: blob.clone() });
        let kept = (blob.len(), parcel);
        if self.machine.accept(now, from.id(), &head, kept, &mut self.outputs) {
            self.deliver(now, &letter, &Source { topic, origin, id, hops });
        }
    }

    fn deliver(&mut self, now: Moment, letter: &Letter, source: &Source<'_>) {
        let handed = self.subscribers.hand(letter, source);
        self.stats.delivered += handed.delivered;
        self.stats.missed += handed.missed;
        let noted = [("slow", handed.newly_slow), ("bad-payload", handed.bad)];
        for (reason, n) in noted.into_iter().filter(|(_, n)| *n > 0) {
            let note = Decision::new(now, Kind::Undelivered, reason).peer(source.origin);
            let note = note.detail(format!("published on {}", source.topic));
            self.node.note(note.number("subscribers", n));
        }
    }

    /// A message is not what it says. Whoever passes one on has to look first, and has not.
    fn forged(&mut self, now: Moment, from: &PeerHandle, why: &str) {
        self.stats.forged += 1;
        let note = Decision::new(now, Kind::Refused, CloseReason::Protocol.code().to_owned());
        self.node.note(note.peer(from.id()).detail(format!("broadcast: {why}")));
        from.close(CloseReason::Protocol);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = self.machine.deadline();
        // An earlier timer is left to fire: it finds nothing due and sets the later one.
        let Some(due) = due.filter(|due| self.timer.is_none_or(|(armed, _)| *due < armed)) else {
            return;
        };
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(self.node.clock().until(due), |gossiper, ctx| {
            gossiper.timer = None;
            let now = gossiper.now();
            gossiper.machine.tick(now, &mut gossiper.outputs);
            gossiper.apply(ctx);
        });
        self.timer = Some((due, timer));
    }

    /// Whether a peer's message counts. Its `Up` comes before its messages; what comes after its
    /// `Down` is nobody's.
    fn is_neighbour(&self, peer: NodeId) -> bool {
        self.peers.contains_key(&peer)
    }

    /// An actix mailbox is drained before timers and other tasks of the thread get their turn;
    /// sessions of other threads could keep it full for ever.
    fn give_way(&mut self, ctx: &mut Context<Self>) {
        self.handled = self.handled.wrapping_add(1);
        if self.handled.is_multiple_of(YIELD_EVERY) {
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}

impl Actor for Gossiper {
    type Context = Context<Self>;
}

impl Handler<PeerEvent> for Gossiper {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, ctx: &mut Context<Self>) {
        let now = self.now();
        match event {
            PeerEvent::Up(peer) => {
                let id = peer.info.id;
                if peer.info.features.iter().any(|feature| feature == GOSSIP)
                    && peer.handle.takes_attachments()
                {
                    self.peers.insert(id, peer.handle);
                    self.machine.up(now, id, &mut self.outputs);
                }
            }
            PeerEvent::Changed(_) => return,
            PeerEvent::Down { peer, .. } => {
                self.peers.remove(&peer.info.id);
                self.machine.down(peer.info.id);
            }
        }
        self.apply(ctx);
    }
}

impl Handler<Received<Gossip>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Gossip>, ctx: &mut Context<Self>) {
        let Received { message, attachment, from, .. } = &received;
        if self.is_neighbour(from.id()) {
            self.take_in(from, message, attachment);
            self.apply(ctx);
            self.give_way(ctx);
        }
    }
}

impl Handler<Received<Ihave>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Ihave>, ctx: &mut Context<Self>) {
        let (now, from) = (self.now(), received.sender());
        let Ihave { ids, compare } = &received.message;
        if *compare {
            self.machine.compared(now, from, ids, &mut self.outputs);
        } else {
            self.machine.announced(now, from, ids);
        }
        self.apply(ctx);
        self.give_way(ctx);
    }
}

impl Handler<Received<Graft>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Graft>, ctx: &mut Context<Self>) {
        let (now, from) = (self.now(), received.sender());
        self.machine.asked(now, from, &received.message.ids, &mut self.outputs);
        self.apply(ctx);
        self.give_way(ctx);
    }
}

impl Handler<Received<Prune>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Prune>, ctx: &mut Context<Self>) {
        let (now, from) = (self.now(), received.sender());
        self.machine.pruned(now, from);
        self.give_way(ctx);
    }
}

impl Handler<Publish> for Gossiper {
    type Result = Result<MessageId, PublishError>;

    fn handle(&mut self, message: Publish, ctx: &mut Context<Self>) -> Self::Result {
        let Publish { topic, line, attachment } = message;
        if line.len() + attachment.len() + SIGNED_OVERHEAD > MAX_ATTACHMENT {
            return Err(PublishError::TooLarge);
        }
        let (now, origin) = (self.now(), self.node.id());
        let made = u64::try_from(now.since_epoch().as_millis()).unwrap_or(u64::MAX);
        let letter = Letter::new(&mut self.rng, made, line, attachment);
        let purpose = Purpose::Gossip { topic: topic.name() };
        let blob = Bytes::from(letter.sign(self.node.key(), origin, &purpose));
        let id = gossip_id(origin, topic.name(), &blob);
        let kept = (blob.len(), Arc::new(Parcel { origin, topic, blob }));
        let published = self.machine.publish(now, id, made, kept, &mut self.outputs);
        published.map_err(|_over_rate| PublishError::Rate)?;
        self.apply(ctx);
        Ok(id)
    }
}

impl Handler<Count> for Gossiper {
    type Result = BroadcastStats;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> BroadcastStats {
        BroadcastStats { gossip: self.machine.stats(), ..self.stats }
    }
}

impl Handler<Stop> for Gossiper {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
