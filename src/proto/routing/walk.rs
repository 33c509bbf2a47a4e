//! One message's search for a way: whom it was sent to from here, and what came of it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    MAX_HOPS,
    frames::{Head, Outcome, Reply},
};
use crate::ids::NodeId;

/// To how many peers one message is sent from one node, one after the other. Each dead end costs a
/// round trip, and what four of the closest do not know is most likely not there.
pub const MAX_TRIES: usize = 4;

/// Where a message has been tried.
#[derive(Debug)]
pub(super) struct Walk {
    /// The message; `hops` are the steps that it has taken, as far as is known here.
    pub(super) head: Head,
    /// Its body, if it is kept.
    pub(super) body: Option<Bytes>,
    tried: [Option<NodeId>; MAX_TRIES],
    /// Which of them have not answered.
    waiting: [bool; MAX_TRIES],
    /// What explains best that nobody has taken it so far.
    miss: Outcome,
    why: Option<Cow<'static, str>>,
}

impl Walk {
    pub(super) const fn new(head: Head, body: Option<Bytes>) -> Self {
        Self {
            head,
            body,
            tried: [None; MAX_TRIES],
            waiting: [false; MAX_TRIES],
            miss: Outcome::NoRoute,
            why: None,
        }
    }

    /// Whether it was sent to this peer.
    pub(super) fn has_tried(&self, peer: NodeId) -> bool {
        self.tried.contains(&Some(peer))
    }

    /// Whether this peer has it and has not answered.
    pub(super) fn waits_for(&self, peer: NodeId) -> bool {
        self.tried.iter().zip(self.waiting).any(|(tried, waits)| waits && *tried == Some(peer))
    }

    /// Whether somebody has it and has not answered.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.contains(&true)
    }

    /// Whether it may be sent to one more peer.
    pub(super) fn has_tries(&self) -> bool {
        self.tried.contains(&None)
    }

    /// It is sent to this peer.
    pub(super) fn sent(&mut self, peer: NodeId) {
        let free = self.tried.iter_mut().zip(&mut self.waiting).find(|(tried, _)| tried.is_none());
        if let Some((tried, waiting)) = free {
            *tried = Some(peer);
            *waiting = true;
        }
    }

    /// Nothing comes of that peer.
    pub(super) fn missed(&mut self, peer: NodeId, reply: Option<&Reply>, outcome: Outcome) {
        for (tried, waiting) in self.tried.iter().zip(&mut self.waiting) {
            if *tried == Some(peer) {
                *waiting = false;
            }
        }
        if let Some(reply) = reply {
            self.head.hops = self.head.hops.max(reply.hops.min(MAX_HOPS));
        }
        if outcome.rank() > self.miss.rank() {
            self.miss = outcome;
            self.why = reply.and_then(|reply| reply.why.clone());
        }
    }

    /// What is said when there is nobody left to try.
    pub(super) fn verdict(&self) -> Reply {
        Reply { why: self.why.clone(), ..Reply::new(self.head.id, self.miss, self.head.hops) }
    }
}
