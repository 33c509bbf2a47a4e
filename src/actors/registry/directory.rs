//! Who is connected, readable from any thread.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use crate::{actors::session::PeerHandle, ids::NodeId, outbox::SendError, wire::Encoded};

/// The connected peers and the way to each. The registry writes it; everybody else reads it, so
/// that sending needs no detour through the registry's mailbox.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    peers: Arc<RwLock<BTreeMap<NodeId, PeerHandle>>>,
}

/// What became of a message to many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Peers whose outbox took it.
    pub accepted: usize,
    /// Peers whose outbox was full, whose session is closing, or who take no attachment where there was
    /// one.
    pub refused: usize,
}

impl Directory {
    pub(super) fn insert(&self, handle: PeerHandle) {
        self.peers.write().insert(handle.id(), handle);
    }

    pub(super) fn remove(&self, id: NodeId) -> Option<PeerHandle> {
        self.peers.write().remove(&id)
    }

    /// The way to a peer.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<PeerHandle> {
        self.peers.read().get(&id).cloned()
    }

    /// The way to every peer.
    pub(crate) fn all(&self) -> Vec<PeerHandle> {
        self.peers.read().values().cloned().collect()
    }

    /// Sends to one peer.
    ///
    /// # Errors
    /// The message was not accepted, and why.
    pub fn send(&self, id: NodeId, message: &Encoded) -> Result<(), SendError> {
        self.peers.read().get(&id).ok_or(SendError::NoSuchPeer)?.send_encoded(message)
    }

    /// Sends to every peer but one.
    #[must_use]
    pub fn send_all(&self, message: &Encoded, except: Option<NodeId>) -> Sent {
        let mut sent = Sent::default();
        for (id, peer) in self.peers.read().iter() {
            if Some(*id) != except {
                let accepted = peer.send_encoded(message).is_ok();
                sent.accepted += usize::from(accepted);
                sent.refused += usize::from(!accepted);
            }
        }
        sent
    }

    /// Tells every peer what only the newest of matters; none of them can refuse it.
    pub(crate) fn tell_latest(&self, message: &Encoded) {
        for peer in self.peers.read().values() {
            peer.outbox().push_latest(message);
        }
    }

    /// How many peers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
