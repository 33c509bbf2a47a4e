//! Messages for this node.

use bytes::Bytes;

use super::{
    actor::Router,
    messages::{Origin, Refusal},
};
use crate::{
    clock::Moment,
    ids::NodeId,
    overlay::envelope::{self, Letter, Purpose, Unreadable},
    proto::{
        journal::{Decision, Kind},
        routing::{Head, Outcome, Proof, Reply},
    },
};

/// What was answered to a message, to be said again if it comes again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    refusal: Option<Refusal>,
    proof: Proof,
}

impl Router {
    /// A message came for this node: it is read, handed over and answered, all at once.
    pub(super) fn arrived(&mut self, now: Moment, via: NodeId, head: &Head, body: Bytes) {
        let reply = if head.key { self.tell_key(head) } else { self.take(now, via, head, &body) };
        self.answer(via, &reply);
    }

    fn tell_key(&self, head: &Head) -> Reply {
        match self.node.key() {
            Some(key) => {
                let delivered = Reply::new(head.id, Outcome::Delivered, head.hops);
                Reply { key: Some(key.public()), ..delivered }
            }
            None => refused(head, Refusal::NoKey),
        }
    }

    fn take(&mut self, now: Moment, via: NodeId, head: &Head, body: &Bytes) -> Reply {
        if let Some(answer) = self.taken.known(&(head.from, head.id)) {
            self.stats.repeated += 1;
            return answer.reply(head);
        }
        let letter = match self.read(head, body) {
            Ok(letter) => letter,
            Err(why) => {
                self.stats.refused += 1;
                let note = Decision::new(now, Kind::Refused, Refusal::Unreadable.code()).peer(via);
                self.node.note(note.detail(format!("a message of {}: {why}", head.from)));
                return refused(head, Refusal::Unreadable);
            }
        };
        if !self.taken.is_fresh(now, letter.time) {
            self.stats.refused += 1;
            return Answer::new(&letter, Some(Refusal::Stale)).reply(head);
        }
        let (from, proven) = (head.from, head.from.is_self_certifying());
        let taken = self.takers.take(&letter, &Origin { from, proven, hops: head.hops });
        match taken {
            Ok(()) => self.stats.taken += 1,
            Err(_) => self.stats.refused += 1,
        }
        let answer = Answer::new(&letter, taken.err());
        self.taken.insert(now, (from, head.id), letter.time, answer);
        answer.reply(head)
    }

    fn read(&self, head: &Head, body: &Bytes) -> Result<Letter, Unreadable> {
        let Head { to, from, id, .. } = *head;
        let signed = match self.node.key() {
            Some(key) => envelope::open(key, to, from, id, body)?,
            None => body.clone(),
        };
        Letter::verify(&signed, from, &Purpose::Routed { to, id })
    }
}

impl Answer {
    fn new(letter: &Letter, refusal: Option<Refusal>) -> Self {
        let outcome = refusal.map_or(Outcome::Delivered, |_| Outcome::Refused);
        let why = refusal.map_or("", Refusal::code);
        Self { refusal, proof: envelope::prove(&letter.token, outcome.code(), why) }
    }

    fn reply(&self, head: &Head) -> Reply {
        let said = match self.refusal {
            Some(refusal) => refused(head, refusal),
            None => Reply::new(head.id, Outcome::Delivered, head.hops),
        };
        Reply { proof: Some(self.proof), ..said }
    }
}

/// A refusal that nothing proves.
fn refused(head: &Head, refusal: Refusal) -> Reply {
    let why = Some(refusal.code().into());
    Reply { why, ..Reply::new(head.id, Outcome::Refused, head.hops) }
}
