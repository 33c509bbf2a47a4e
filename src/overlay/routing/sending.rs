//! Messages that go from this node, and what becomes of them.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use super::{
    actor::Router,
    messages::{Delivered, Delivery, Origin, Outgoing, SendTo, Undelivered, Waiter},
};
use crate::{
    clock::Moment,
    identity::PublicKey,
    ids::{MessageId, NodeId},
    overlay::envelope::{self, Letter, Purpose, Token},
    proto::{
        journal::{Decision, Kind},
        keys::Unanswered,
        replay::millis,
        routing::{Head, Outcome, Reply},
    },
};

/// What waits for an outcome.
#[derive(Debug)]
pub(super) enum Pending {
    /// A message.
    Message {
        /// What proves an answer.
        token: Token,
        since: Moment,
        is_sealed: bool,
        waiter: Waiter,
    },
    /// A question for the key of this node.
    Key(NodeId),
}

impl Handler<SendTo> for Router {
    type Result = ();

    fn handle(&mut self, SendTo { to, letter }: SendTo, ctx: &mut Context<Self>) {
        let now = self.now();
        let due = now + self.config.timeout;
        if to == self.node.id() {
            self.keep(now, letter);
        } else if !to.is_self_certifying() {
            self.send(now, to, None, due, letter);
        } else if let Some(key) = self.key_of(to) {
            self.send(now, to, Some(key), due, letter);
        } else if self.keys.wait(to, due, letter) {
            self.ask_key(now, to, due);
        }
        self.apply(now, ctx);
    }
}

impl Router {
    fn key_of(&mut self, id: NodeId) -> Option<PublicKey> {
        let known = self.peers.get(&id).and_then(|peer| peer.key);
        known.or_else(|| self.keys.find(id))
    }

    /// A message to this node itself.
    fn keep(&mut self, now: Moment, outgoing: Outgoing) {
        let Outgoing { line, attachment, waiter } = outgoing;
        let letter = Letter::new(&mut self.rng, millis(now), line, attachment);
        let origin = Origin { from: self.node.id(), proven: true, hops: 0 };
        let taken = self.takers.take(&letter, &origin);
        let delivered = Delivered { rtt: Duration::ZERO, hops: 0, sealed: false };
        self.tell(waiter, taken.map(|()| delivered).map_err(|refusal| refusal.told()));
    }

    fn send(
        &mut self,
        now: Moment,
        to: NodeId,
        key: Option<PublicKey>,
        due: Moment,
        outgoing: Outgoing,
    ) {
        let Outgoing { line, attachment, waiter } = outgoing;
        let (me, id) = (self.node.id(), MessageId::random(&mut self.rng));
        let letter = Letter::new(&mut self.rng, millis(now), line, attachment);
        let signed = letter.sign(self.node.key(), me, &Purpose::Routed { to, id });
        let body = match &key {
            Some(key) => envelope::seal(&mut self.rng, key, to, me, id, &signed),
            None => Some(signed),
        };
        // Its id is that of a key for which nothing can be sealed: nobody can have it.
        let Some(body) = body else { return self.tell(waiter, Err(Undelivered::NoRoute)) };
        let is_sealed = key.is_some();
        let message = Pending::Message { token: letter.token, since: now, is_sealed, waiter };
        self.originate(now, to, id, false, body.into(), due, message);
    }

    fn ask_key(&mut self, now: Moment, of: NodeId, due: Moment) {
        let id = MessageId::random(&mut self.rng);
        self.originate(now, of, id, true, Bytes::new(), due, Pending::Key(of));
    }

    #[expect(clippy::too_many_arguments, reason = "what a message is")]
    fn originate(
        &mut self,
        now: Moment,
        to: NodeId,
        id: MessageId,
        key: bool,
        body: Bytes,
        due: Moment,
        pending: Pending,
    ) {
        self.stats.sent += 1;
        self.pending.insert(id, pending);
        let head = Head { to, from: self.node.id(), id, hops: 0, key };
        self.machine.originate(now, head, body, due, &mut self.outputs);
    }

    /// Whether an answer about one of this node's messages is true, as far as it claims what only the
    /// target can say. One that is made up says nothing.
    pub(super) fn judge(&mut self, now: Moment, from: NodeId, reply: Reply) -> (Reply, bool) {
        let (outcome, why) = (reply.outcome, reply.why.as_deref().unwrap_or_default());
        let Some(pending) = self.pending.get(&reply.id).filter(|_| outcome.is_final()) else {
            return (reply, true);
        };
        let is_true = match pending {
            Pending::Message { token, .. } => reply
                .proof
                .is_some_and(|proof| envelope::is_proven(token, outcome.code(), why, &proof)),
            Pending::Key(of) => reply.key.is_some_and(|key| key.node_id() == *of),
        };
        // The target cannot prove that it could not read the message.
        if is_true || (outcome == Outcome::Refused && reply.proof.is_none()) {
            return (reply, is_true);
        }
        self.stats.forged += 1;
        let note = Decision::new(now, Kind::Refused, "forged").peer(from);
        self.node.note(note.detail("an answer to a routed message does not prove itself"));
        (Reply::new(reply.id, Outcome::NoRoute, reply.hops), false)
    }

    /// One of this node's messages has its outcome.
    pub(super) fn done(&mut self, now: Moment, reply: Reply) {
        match self.pending.remove(&reply.id) {
            Some(Pending::Message { since, is_sealed, waiter, .. }) => {
                let delivered =
                    Delivered { rtt: now.since(since), hops: reply.hops, sealed: is_sealed };
                let delivery = match reply.outcome {
                    Outcome::Delivered => Ok(delivered),
                    _ => Err(Undelivered::from(reply)),
                };
                self.tell(waiter, delivery);
            }
            Some(Pending::Key(of)) => match reply.key {
                Some(key) => {
                    for (due, outgoing) in self.keys.learn(key) {
                        self.send(now, of, Some(key), due, outgoing);
                    }
                }
                None => self.no_key(now, of, reply),
            },
            None => {}
        }
    }

    fn no_key(&mut self, now: Moment, of: NodeId, reply: Reply) {
        let is_late = reply.outcome == Outcome::Timeout;
        let Unanswered { given_up, ask_until } = self.keys.unanswered(now, of, is_late);
        let why = Undelivered::from(reply);
        for outgoing in given_up {
            self.tell(outgoing.waiter, Err(why.clone()));
        }
        if let Some(due) = ask_until {
            self.ask_key(now, of, due);
        }
    }

    fn tell(&mut self, waiter: Waiter, delivery: Delivery) {
        match &delivery {
            Ok(_) => self.stats.delivered += 1,
            Err(_) => self.stats.undelivered += 1,
        }
        waiter.tell(delivery);
    }
}
