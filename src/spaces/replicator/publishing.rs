//! What this node has written, on its way to all nodes of the space.

use std::{collections::VecDeque, time::Duration};

use actix::{fut::wrap_future, prelude::*};
use bytes::Bytes;

use super::Replicator;
use crate::{
    clock::Moment,
    spaces::{
        messages::SpaceChange,
        name::SpaceId,
        record::{Packing, Record},
    },
};

/// About the most bytes of records that are published at once.
const CHUNK: usize = 60 * 1024;

/// So much may wait to be published; what is beyond that, others find when they ask.
const MAX_CHUNKS: usize = 4;

/// How often something is published at most: half as often as a node may.
const EVERY: Duration = Duration::from_millis(100);

/// Records that are to be published, packed.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Packing>,
    /// Not before this moment.
    next: Moment,
    is_publishing: bool,
}

impl Outgoing {
    /// Adds a record. Whether there was room for it.
    pub(super) fn add(&mut self, record: &Record) -> bool {
        let len = record.packed_len();
        if len > CHUNK {
            return false;
        }
        if let Some(chunk) = self.chunks.back_mut().filter(|chunk| chunk.len() + len <= CHUNK) {
            chunk.add(record);
            return true;
        }
        if self.chunks.len() >= MAX_CHUNKS {
            return false;
        }
        let mut chunk = Packing::default();
        chunk.add(record);
        self.chunks.push_back(chunk);
        true
    }

    fn take(&mut self, now: Moment) -> Option<Bytes> {
        if self.is_publishing || now < self.next {
            return None;
        }
        let chunk = self.chunks.pop_front()?;
        (self.is_publishing, self.next) = (true, now + EVERY);
        Some(chunk.finish())
    }

    /// When there is something to be published.
    pub(super) fn deadline(&self) -> Option<Moment> {
        (!self.is_publishing && !self.chunks.is_empty()).then_some(self.next)
    }
}

impl Replicator {
    /// Publishes what has gathered in a space, if it is time.
    pub(super) fn publish(&mut self, space: SpaceId, now: Moment, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get_mut(&space) else { return };
        let Some(chunk) = member.outgoing.take(now) else { return };
        let (overlay, topic) = (self.overlay.clone(), member.topic.clone());
        let publish =
            async move { overlay.publish_with(&topic, &SpaceChange { who: false }, chunk).await };
        ctx.spawn(wrap_future::<_, Self>(publish).map(move |published, replicator, ctx| {
            let now = replicator.now();
            if let Some(member) = replicator.members.get_mut(&space) {
                member.outgoing.is_publishing = false;
                if published.is_err() {
                    // Others hear that there is something, and ask for it.
                    member.schedule.learnt(now, None);
                }
            }
            replicator.work(ctx);
        }));
    }

    /// Asks the network who else is in a space.
    pub(super) fn look(&self, space: SpaceId, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get(&space) else { return };
        let (overlay, topic) = (self.overlay.clone(), member.topic.clone());
        let look = async move {
            // What was not published is published again later.
            let _refused = overlay.publish(&topic, &SpaceChange { who: true }).await;
        };
        ctx.spawn(wrap_future::<_, Self>(look));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::NodeId,
        spaces::{hlc::Hlc, record::Author},
    };

    fn record(len: usize) -> Record {
        let value = Some(Bytes::from(vec![7; len]));
        let author = Author::Unproven(NodeId::from_u128(1));
        Record { key: "k".into(), value, time: Hlc::default(), author }
    }

    #[test]
    fn the_first_goes_at_once_and_the_next_together() {
        let now = Moment::after(Duration::from_secs(1));
        let mut outgoing = Outgoing::default();
        assert!(outgoing.add(&record(100)) && outgoing.deadline().unwrap() <= now);
        assert!(outgoing.take(now).is_some());
        assert!(outgoing.add(&record(100)) && outgoing.add(&record(200)));
        assert_eq!((outgoing.take(now), outgoing.deadline()), (None, None));
        outgoing.is_publishing = false;
        assert_eq!((outgoing.take(now), outgoing.deadline()), (None, Some(now + EVERY)));
        let both = outgoing.take(now + EVERY).unwrap();
        assert_eq!(Record::unpack_all(both).unwrap().len(), 2);
    }

    #[test]
    fn what_is_too_long_or_too_much_is_left_to_those_who_ask() {
        let mut outgoing = Outgoing::default();
        assert!(!outgoing.add(&record(CHUNK)));
        let n = (0..100).take_while(|_| outgoing.add(&record(CHUNK / 2))).count();
        assert_eq!(n, MAX_CHUNKS);
    }
}
