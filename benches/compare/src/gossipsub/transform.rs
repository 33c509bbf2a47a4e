//! Counts the payloads that come in, which gossipsub itself does only together with all its metrics.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p::gossipsub::{DataTransform, IdentityTransform, Message, RawMessage, TopicHash};

/// Changes nothing. gossipsub calls it for every message whose signature is good, before it looks
/// whether it has had it already.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) copies: Arc<AtomicU64>,
}

impl DataTransform for Counting {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        self.copies.fetch_add(1, Ordering::Relaxed);
        IdentityTransform.inbound_transform(raw)
    }

    fn outbound_transform(&self, topic: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        IdentityTransform.outbound_transform(topic, data)
    }
}
