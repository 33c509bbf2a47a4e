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
    CloseReason, NodeHandle, PeerEvent, PeerHandle, PeerMessage, Received, SendError,
    actors::pace::{Alarm, Turns},
    clock::Moment,
    ids::{MessageId, NodeId},
    overlay::envelope::{Letter, Purpose, SIGNED_OVERHEAD, gossip_id, made_at},
    proto::{
        journal::{Decision, Kind},
        plumtree::{Duty, GossipConfig, Head, LEVELS, Output, Plumtree, Verdict},
        replay::millis,
        token_bucket::TokenBucket,
    },
    wire::{Encoded, MAX_ATTACHMENT},
};

/// Notes about what subscribers missed or could not read, which anybody in the network can cause: so
/// many at once, then one a second.
const NOTES: u32 = 16;

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
    notes: TokenBucket,
    turns: Turns,
    alarm: Alarm,
}

impl Gossiper {
    pub(super) fn new(
        node: NodeHandle,
        subscribers: Arc<Subscribers>,
        config: GossipConfig,
    ) -> Self {
        let (mut rng, now) = (node.rng(), node.clock().now());
        let machine = Plumtree::new(node.id(), config, rng.random(), now);
        Self {
            rng,
            machine,
            outputs: Vec::new(),
            peers: BTreeMap::new(),
            subscribers,
            stats: BroadcastStats::default(),
            notes: TokenBucket::new(NOTES, 1, now),
            turns: Turns::default(),
            alarm: Alarm::default(),
            node,
        }
    }

    fn now(&self) -> Moment {
        self.node.clock().now()
    }

    /// Does what the machine wants done, then sets the timer to what it wants next.
    fn apply(&mut self, now: Moment, ctx: &mut Context<Self>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Push { id, hops, body, to } => self.push(now, id, hops, &body, &to),
                Output::Announce(to, ids) => self.tell(to, &Ihave { ids, compare: false }),
                Output::Compare(to, ids) => self.tell(to, &Ihave { ids, compare: true }),
                Output::Graft(to, ids) => self.tell(to, &Graft { ids }),
                Output::Prune(to) => self.tell(to, &Prune {}),
                Output::Note(decision) => self.node.note(*decision),
            }
        }
        // The room is kept for the next message.
        self.outputs = outputs;
        self.arm(ctx);
    }

    /// Sends a message to some, who share its bytes. Several may have the same to see to: what they
    /// are sent is encoded once.
    fn push(
        &mut self,
        now: Moment,
        id: MessageId,
        hops: u8,
        parcel: &Parcel,
        to: &[(NodeId, Duty)],
    ) {
        let Parcel { origin, topic, blob } = parcel;
        let mut line = Gossip {
            id,
            origin: *origin,
            topic: topic.clone(),
            hops,
            depth: LEVELS,
            beside: Vec::new(),
        };
        let mut encoded: Vec<(Duty, Encoded)> = Vec::new();
        for (peer, duty) in to {
            if !encoded.iter().any(|(known, _)| known == duty) {
                line.depth = duty.depth();
                line.beside.clear();
                line.beside.extend(duty.beside());
                match line.encode_with(blob.clone()) {
                    Ok(frame) => encoded.push((*duty, frame)),
                    Err(error) => tracing::error!(%error, "own frame not encoded"),
                }
            }
            if let Some((_, frame)) = encoded.iter().find(|(known, _)| known == duty)
                && self.send(*peer, frame) == Err(SendError::OutboxFull)
            {
                // Others tell it, and those behind it. What follows goes to others first.
                self.machine.pruned(now, *peer);
            }
        }
    }

    fn tell<M: PeerMessage>(&mut self, peer: NodeId, message: &M) {
        match message.encode() {
            // What a full outbox refuses others will announce, or this node when it is asked.
            Ok(frame) => drop(self.send(peer, &frame)),
            Err(error) => tracing::error!(%error, "own frame not encoded"),
        }
    }

    fn send(&mut self, peer: NodeId, frame: &Encoded) -> Result<(), SendError> {
        let peer = self.peers.get(&peer).ok_or(SendError::NoSuchPeer);
        let sent = peer.and_then(|peer| peer.send_encoded(frame));
        self.stats.refused += u64::from(sent.is_err());
        sent
    }

    /// A message came.
    fn take_in(&mut self, now: Moment, from: &PeerHandle, gossip: &Gossip, blob: &Bytes) {
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
        let begin = self.now();
        let letter = Letter::verify(blob, origin, &Purpose::Gossip { topic: topic.name() });
        self.stats.checks += 1;
        self.stats.checking += self.now().since(begin);
        let letter = match letter {
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
            if self.notes.take(now, 1) == 0 {
                return;
            }
            let note = Decision::new(now, Kind::Undelivered, reason).peer(source.origin);
            let note = note.detail(format!("published on {}", source.topic));
            self.node.note(note.number("subscribers", n));
        }
    }

    /// A message is not what it says. Whoever passes one on has to look first, and has not.
    fn forged(&mut self, now: Moment, from: &PeerHandle, why: &str) {
        self.stats.forged += 1;
        let note = Decision::new(now, Kind::Refused, CloseReason::Protocol.word());
        self.node.note(note.peer(from.id()).detail(format!("broadcast: {why}")));
        from.close(CloseReason::Protocol);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let (clock, due) = (self.node.clock(), self.machine.deadline());
        self.alarm.set(clock, due, ctx, |gossiper, ctx| {
            gossiper.alarm.rang();
            let now = gossiper.now();
            gossiper.machine.tick(now, &mut gossiper.outputs);
            gossiper.apply(now, ctx);
        });
    }

    /// Whether a peer's message counts. Its `Up` comes before its messages; what comes after its
    /// `Down` is nobody's.
    fn is_neighbour(&self, peer: NodeId) -> bool {
        self.peers.contains_key(&peer)
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
        self.apply(now, ctx);
    }
}

impl Handler<Received<Gossip>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Gossip>, ctx: &mut Context<Self>) {
        let now = self.now();
        let Received { message, attachment, from, .. } = &received;
        if self.is_neighbour(from.id()) {
            self.take_in(now, from, message, attachment);
            self.apply(now, ctx);
            self.turns.took(1, ctx);
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
        self.apply(now, ctx);
        self.turns.took(1, ctx);
    }
}

impl Handler<Received<Graft>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Graft>, ctx: &mut Context<Self>) {
        let (now, from) = (self.now(), received.sender());
        self.machine.asked(now, from, &received.message.ids, &mut self.outputs);
        self.apply(now, ctx);
        self.turns.took(1, ctx);
    }
}

impl Handler<Received<Prune>> for Gossiper {
    type Result = ();

    fn handle(&mut self, received: Received<Prune>, ctx: &mut Context<Self>) {
        let (now, from) = (self.now(), received.sender());
        self.machine.pruned(now, from);
        self.turns.took(1, ctx);
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
        if !self.machine.may_publish(now) {
            return Err(PublishError::Rate);
        }
        let made = millis(now);
        let letter = Letter::new(&mut self.rng, made, line, attachment);
        let purpose = Purpose::Gossip { topic: topic.name() };
        let blob = Bytes::from(letter.sign(self.node.key(), origin, &purpose));
        let id = gossip_id(origin, topic.name(), &blob);
        let kept = (blob.len(), Arc::new(Parcel { origin, topic, blob }));
        let published = self.machine.publish(now, id, made, kept, &mut self.outputs);
        published.map_err(|_over_rate| PublishError::Rate)?;
        self.apply(now, ctx);
        Ok(id)
    }
}

impl Handler<Count> for Gossiper {
    type Result = BroadcastStats;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> BroadcastStats {
        let (kept, kept_bytes) = self.machine.kept();
        BroadcastStats {
            gossip: self.machine.stats(),
            neighbours: self.peers.len(),
            missing: self.machine.n_missing(),
            kept,
            kept_bytes,
            ..self.stats
        }
    }
}

impl Handler<Stop> for Gossiper {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
