//! The messages that this node has sent off and waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::walk::Walk;
use crate::{
    clock::Moment,
    ids::{MessageId, NodeId},
};

/// One message of this node's own.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) walk: Walk,
    /// When it ends without an answer.
    pub(super) due: Moment,
    /// When another first step is tried beside those that have not answered.
    next_try: Moment,
    pause: Duration,
}

/// All of them, each with one time at which something is to be done.
#[derive(Debug, Default)]
pub(super) struct Owns {
    by_id: BTreeMap<MessageId, Own>,
    by_time: BTreeSet<(Moment, MessageId)>,
}

impl Own {
    pub(super) fn new(now: Moment, walk: Walk, due: Moment) -> Self {
        // A third each for the first way, the next best, and the one after that.
        let pause = due.since(now) / 3;
        Self { walk, due, next_try: now + pause, pause }
    }

    fn wakes(&self) -> Moment {
        self.due.min(self.next_try)
    }
}

impl Owns {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get_mut(&mut self, id: &MessageId) -> Option<&mut Own> {
        self.by_id.get_mut(id)
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn insert(&mut self, own: Own) {
        let id = own.walk.head.id;
        self.by_time.insert((own.wakes(), id));
        self.by_id.insert(id, own);
    }

    pub(super) fn remove(&mut self, id: &MessageId) -> Option<Own> {
        let own = self.by_id.remove(id)?;
        self.by_time.remove(&(own.wakes(), *id));
        Some(own)
    }

    /// Those that wait for a peer.
    pub(super) fn waiting_for(&self, peer: NodeId) -> Vec<MessageId> {
        let waiting = self.by_id.iter().filter(|(_, own)| own.walk.waits_for(peer));
        waiting.map(|(id, _)| *id).collect()
    }

    /// The next one that something is to be done about, and whether that is its end. If it is not,
    /// it comes again after another pause.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<(MessageId, bool)> {
        let (time, id) = self.by_time.first().copied().filter(|(time, _)| *time <= now)?;
        self.by_time.remove(&(time, id));
        let own = self.by_id.get_mut(&id)?;
        let is_end = own.due <= now;
        if !is_end {
            own.next_try = now + own.pause.max(Duration::from_millis(1));
        }
        self.by_time.insert((own.wakes(), id));
        Some((id, is_end))
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.by_time.first().map(|(time, _)| *time)
    }
}
