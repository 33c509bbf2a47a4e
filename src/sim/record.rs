//! What the nodes of a simulated network tell.

use std::{cell::RefCell, collections::VecDeque, fmt, rc::Rc};

use actix::prelude::*;

use super::network::NodeIndex;
use crate::{
    actors::registry::PeerEvent,
    clock::{Clock, Moment},
    ids::NodeId,
    peer::Direction,
};

/// Something that a node told its subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimEvent {
    /// When.
    pub at: Moment,
    /// The node that it happened to.
    pub node: NodeIndex,
    /// The peer that came or went.
    pub peer: NodeId,
    /// Who dialled.
    pub direction: Direction,
    /// The reason code if it went; none if it came.
    pub down: Option<String>,
}

/// What is kept of it, and who hears it. Clones are the same record.
#[derive(Clone)]
pub(super) struct Record(Rc<RefCell<State>>);

type Observer = Box<dyn FnMut(NodeIndex, &PeerEvent)>;

struct State {
    events: VecDeque<SimEvent>,
    max: usize,
    observer: Observer,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Record {
    /// Room for so many events; beyond it the oldest is dropped.
    pub(super) fn new(max: usize) -> Self {
        let state = State { events: VecDeque::new(), max, observer: Box::new(|_, _| {}) };
        Self(Rc::new(RefCell::new(state)))
    }

    pub(super) fn events(&self) -> Vec<SimEvent> {
        self.0.borrow().events.iter().cloned().collect()
    }

    pub(super) fn observe(&self, observer: impl FnMut(NodeIndex, &PeerEvent) + 'static) {
        self.0.borrow_mut().observer = Box::new(observer);
    }

    fn heard(&self, at: Moment, node: NodeIndex, event: &PeerEvent) {
        let mut state = self.0.borrow_mut();
        (state.observer)(node, event);
        if state.max == 0 {
            return;
        }
        let (peer, down) = match event {
            PeerEvent::Up(peer) => (peer, None),
            PeerEvent::Changed(_) => return,
            PeerEvent::Down { peer, reason } => (peer, Some(reason.code().to_owned())),
        };
        let (peer, direction) = (peer.info.id, peer.info.direction);
        if state.events.len() >= state.max {
            state.events.pop_front();
        }
        state.events.push_back(SimEvent { at, node, peer, direction, down });
    }
}

/// Hears what one node tells.
#[derive(Debug)]
pub(super) struct Recorder {
    node: NodeIndex,
    clock: Clock,
    record: Record,
}

impl Recorder {
    pub(super) const fn new(node: NodeIndex, clock: Clock, record: Record) -> Self {
        Self { node, clock, record }
    }
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<PeerEvent> for Recorder {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _: &mut Context<Self>) {
        self.record.heard(self.clock.now(), self.node, &event);
    }
}
