//! What the connections of the yardstick share: the constant lines, and the way from one to the others.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    task::Waker,
};

use uuid::Uuid;

use crate::{
    Result,
    wire::{self, GETADDR, PING},
};

/// With more than this unsent, a connection is closed: the rest comes from others and cannot be paused.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) greeting: Vec<u8>,
    pub(super) addr_reply: Vec<u8>,
    peers: RefCell<BTreeMap<Uuid, Rc<Peer>>>,
    /// Frames are passed on.
    pub(super) relays: bool,
    /// The encoded fan-out lines of the read at hand; kept for its capacity only.
    pub(super) fan: RefCell<Vec<u8>>,
}

impl Hub {
    pub(super) fn new(listen: SocketAddr, me: Uuid, relays: bool) -> Result<Self> {
        // By hand, for `json!` sorts the keys, and the client tells lines apart by how they begin.
        let hello = format!(
            "{{\"msgtype\":\"hello\",\"nodeid\":\"{me}\",\"version\":1,\"agent\":\"peerage/0.1.0\",\
             \"listen\":\"{listen}\",\"network\":\"main\",\"features\":[]}}\n"
        );
        let greeting = [hello.as_bytes(), &addr_line(&[(listen, me)])?, GETADDR, PING].concat();
        let addr_reply = addr_line(&wire::book())?;
        let (peers, fan) = <(RefCell<_>, RefCell<_>)>::default();
        Ok(Self { greeting, addr_reply, peers, relays, fan })
    }

    /// The newest session of a node wins, and the older one is closed.
    pub(super) fn admit(&self, id: Uuid, peer: &Rc<Peer>) {
        if let Some(older) = self.peers.borrow_mut().insert(id, Rc::clone(peer)) {
            older.close();
        }
    }

    pub(super) fn dismiss(&self, id: Uuid, peer: &Rc<Peer>) {
        let mut peers = self.peers.borrow_mut();
        if peers.get(&id).is_some_and(|current| Rc::ptr_eq(current, peer)) {
            peers.remove(&id);
        }
    }

    /// Pings those whose turn it is, out of `turns`.
    pub(super) fn ping(&self, turn: u64, turns: u64) {
        let peers = self.peers.borrow();
        let due = |id: &Uuid| id.as_u64_pair().1 % turns == turn;
        peers.iter().filter(|(id, _)| due(id)).for_each(|(_, peer)| peer.push(PING));
    }

    /// Somebody else, of two.
    pub(super) fn other(&self, me: &Rc<Peer>) -> Option<Rc<Peer>> {
        self.peers.borrow().values().find(|peer| !Rc::ptr_eq(peer, me)).cloned()
    }

    pub(super) fn fan_out(&self, from: &Rc<Peer>, lines: &[u8]) {
        let peers = self.peers.borrow();
        peers.values().filter(|peer| !Rc::ptr_eq(peer, from)).for_each(|peer| peer.push(lines));
    }
}

/// The part of a connection that others reach: what is to be written to it, and how to wake it.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) unsent: RefCell<Vec<u8>>,
    pub(super) waker: RefCell<Option<Waker>>,
    pub(super) closed: Cell<bool>,
}

impl Peer {
    /// Only the first lines in an empty buffer need a wake-up: with some in it already, either that
    /// wake-up is on its way or the socket's own will come.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.len() + lines.len() > MAX_UNSENT {
            self.close();
            return;
        }
        let first = unsent.is_empty();
        unsent.extend_from_slice(lines);
        if first {
            self.wake();
        }
    }

    fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

fn addr_line(peers: &[(SocketAddr, Uuid)]) -> Result<Vec<u8>> {
    Ok(format!("{{\"msgtype\":\"addr\",\"peers\":{}}}\n", serde_json::to_string(peers)?)
        .into_bytes())
}
