//! Which connections there are, and which of them are sessions.
//!
//! Invariants:
//! * I1: a node id has at most one active session.
//! * I2: this node's own id never has one.
//! * I3: a peer that is not there yet is admitted inbound only below the limit; unfinished inbound
//!   handshakes never exceed theirs.
//! * I4: `Up` and `Down` of a peer alternate, and every `Up` is followed by one `Down`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    address::HostPort,
    clock::Moment,
    config::LimitsConfig,
    ids::{LinkId, NodeId},
    peer::{Channel, Direction, PeerInfo, Rtt},
    reason::CloseReason,
    wire::Hello,
};

/// How long the dialler of two sessions to one node waits for the other side to choose between
/// them, before it drops the newer one itself.
const CONTENDER_PATIENCE: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Let this link be a session.
    Admit(LinkId),
    /// Tell this link to close.
    Close(LinkId, CloseReason, &'static str),
    /// Tell subscribers that a peer is there.
    Up(PeerInfo),
    /// Tell subscribers that a peer is gone.
    Down(PeerInfo, CloseReason),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// No hello yet.
    Greeting,
    /// A second outbound session to a node that has one: the node will close one of the two.
    Contending { due: Moment },
    /// A session.
    Active,
    /// Told to close.
    Closing,
}

#[derive(Debug)]
struct Row<H> {
    handle: H,
    direction: Direction,
    remote: HostPort,
    state: State,
    info: Option<PeerInfo>,
}

/// The peer table. `H` is what the owner keeps for each link to reach it by.
#[derive(Debug)]
pub struct PeerTable<H> {
    me: NodeId,
    limits: LimitsConfig,
    links: BTreeMap<LinkId, Row<H>>,
    active: BTreeMap<NodeId, LinkId>,
    contending: BTreeMap<NodeId, LinkId>,
    /// Inbound links without a hello, oldest first.
    greeting: BTreeSet<LinkId>,
    n_inbound: usize,
    stopping: bool,
}

impl<H> PeerTable<H> {
    /// An empty table.
    #[must_use]
    pub const fn new(me: NodeId, limits: LimitsConfig) -> Self {
        Self {
            me,
            limits,
            links: BTreeMap::new(),
            active: BTreeMap::new(),
            contending: BTreeMap::new(),
            greeting: BTreeSet::new(),
            n_inbound: 0,
            stopping: false,
        }
    }

    /// A connection was made.
    pub fn opened(
        &mut self,
        link: LinkId,
        direction: Direction,
        remote: HostPort,
        handle: H,
        out: &mut Vec<Effect>,
    ) {
        let row = Row { handle, direction, remote, state: State::Greeting, info: None };
        self.links.insert(link, row);
        if self.stopping {
            self.tell_close(link, CloseReason::Shutdown, "", out);
            return;
        }
        if direction == Direction::Inbound {
            self.greeting.insert(link);
            if self.greeting.len() > self.limits.max_unfinished
                && let Some(oldest) = self.greeting.pop_first()
            {
                let detail = "too many unfinished handshakes, and yours is the oldest";
                self.tell_close(oldest, CloseReason::Full, detail, out);
            }
        }
    }

    /// A connection's hello came.
    pub fn greeted(
        &mut self,
        now: Moment,
        link: LinkId,
        hello: Hello,
        channel: Channel,
        out: &mut Vec<Effect>,
    ) {
        self.greeting.remove(&link);
        let Some(row) = self.links.get_mut(&link).filter(|row| row.state == State::Greeting) else {
            return;
        };
        let id = hello.nodeid;
        row.info = Some(PeerInfo {
            id,
            channel,
            link,
            direction: row.direction,
            remote: row.remote.clone(),
            listen: hello.listen,
            observed: hello.observed,
            agent: hello.agent,
            features: hello.features,
            since: now,
            last_seen: now,
            rtt: None,
        });
        if id == self.me {
            return self.tell_close(link, CloseReason::SelfConnection, "", out);
        }
        match self.active.get(&id).copied() {
            None => self.admit_if_room(now, link, id, out),
            Some(old) => self.choose(now, old, link, id, out),
        }
    }

    /// Two links to the same node. Dialled by different sides: the one dialled by the lower id
    /// stays, which both sides know. Dialled by the same side: the side that was dialled lets the
    /// newest win (the older may be dead without knowing), and the dialler waits for that choice,
    /// since it may have seen the two hellos in another order.
    fn choose(&mut self, now: Moment, old: LinkId, new: LinkId, id: NodeId, out: &mut Vec<Effect>) {
        let direction = |link| self.links.get(&link).map(|row: &Row<H>| row.direction);
        let (Some(old_direction), Some(new_direction)) = (direction(old), direction(new)) else {
            return;
        };
        let preferred = if self.me < id { Direction::Outbound } else { Direction::Inbound };
        match (old_direction, new_direction) {
            (Direction::Inbound, Direction::Inbound) => {
                self.replace(now, old, new, "a newer session of yours took its place", out);
            }
            (Direction::Outbound, Direction::Outbound) => {
                if let Some(previous) = self.contending.insert(id, new) {
                    self.tell_close(previous, CloseReason::Duplicate, "", out);
                }
                if let Some(row) = self.links.get_mut(&new) {
                    row.state = State::Contending { due: now + CONTENDER_PATIENCE };
                }
            }
            (_, new_direction) if new_direction == preferred => {
                self.replace(now, old, new, "the session dialled by the lower id stays", out);
            }
            _ => {
                let detail = "the session dialled by the lower id stays";
                self.tell_close(new, CloseReason::Duplicate, detail, out);
            }
        }
    }

    fn replace(
        &mut self,
        now: Moment,
        old: LinkId,
        new: LinkId,
        detail: &'static str,
        out: &mut Vec<Effect>,
    ) {
        self.retire(old, &CloseReason::Duplicate, out);
        self.tell_close(old, CloseReason::Duplicate, detail, out);
        self.activate(now, new, out);
    }

    fn admit_if_room(&mut self, now: Moment, link: LinkId, id: NodeId, out: &mut Vec<Effect>) {
        let inbound = self.links.get(&link).is_some_and(|row| row.direction == Direction::Inbound);
        if inbound && self.n_inbound >= self.limits.max_inbound {
            return self.tell_close(link, CloseReason::Full, "no room for another session", out);
        }
        debug_assert!(!self.active.contains_key(&id));
        self.activate(now, link, out);
    }

    fn activate(&mut self, now: Moment, link: LinkId, out: &mut Vec<Effect>) {
        let Some(row) = self.links.get_mut(&link) else { return };
        let Some(info) = &mut row.info else { return };
        row.state = State::Active;
        info.since = now;
        self.n_inbound += usize::from(row.direction == Direction::Inbound);
        self.active.insert(info.id, link);
        // Discovery must know of the peer before it hears that the dial succeeded.
        out.push(Effect::Up(info.clone()));
        out.push(Effect::Admit(link));
    }

    /// Takes a link out of the active ones and tells subscribers.
    fn retire(&mut self, link: LinkId, reason: &CloseReason, out: &mut Vec<Effect>) {
        let Some(row) = self.links.get_mut(&link).filter(|row| row.state == State::Active) else {
            return;
        };
        row.state = State::Closing;
        self.n_inbound -= usize::from(row.direction == Direction::Inbound);
        if let Some(info) = &row.info {
            self.active.remove(&info.id);
            out.push(Effect::Down(info.clone(), reason.clone()));
        }
    }

    fn tell_close(
        &mut self,
        link: LinkId,
        reason: CloseReason,
        detail: &'static str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(row) = self.links.get_mut(&link) {
            row.state = State::Closing;
            out.push(Effect::Close(link, reason, detail));
        }
    }

    /// A link begins to close by itself; it is a session no longer.
    pub fn closing(
        &mut self,
        link: LinkId,
        now: Moment,
        reason: &CloseReason,
        out: &mut Vec<Effect>,
    ) {
        self.greeting.remove(&link);
        let id = self.links.get(&link).and_then(|row| row.info.as_ref()).map(|info| info.id);
        self.retire(link, reason, out);
        if let Some(row) = self.links.get_mut(&link) {
            row.state = State::Closing;
        }
        let Some(id) = id else { return };
        if self.contending.get(&id) == Some(&link) {
            self.contending.remove(&id);
        }
        if !self.active.contains_key(&id)
            && !self.stopping
            && let Some(next) = self.contending.remove(&id)
        {
            self.activate(now, next, out);
        }
    }

    /// A link is gone with all it had.
    pub fn closed(
        &mut self,
        link: LinkId,
        now: Moment,
        reason: &CloseReason,
        out: &mut Vec<Effect>,
    ) {
        self.closing(link, now, reason, out);
        self.links.remove(&link);
    }

    /// A peer answered a ping.
    pub fn pong(&mut self, now: Moment, link: LinkId, sample: Duration) {
        if let Some(info) = self.links.get_mut(&link).and_then(|row| row.info.as_mut()) {
            info.last_seen = now;
            info.rtt = Some(Rtt::with(info.rtt, sample));
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let overdue: Vec<NodeId> = self
            .contending
            .iter()
            .filter(|(_, link)| self.contender_due(**link).is_some_and(|due| now >= due))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if let Some(link) = self.contending.remove(&id) {
                self.tell_close(link, CloseReason::Duplicate, "there is already a session", out);
            }
        }
    }

    fn contender_due(&self, link: LinkId) -> Option<Moment> {
        match self.links.get(&link)?.state {
            State::Contending { due } => Some(due),
            _ => None,
        }
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.contending.values().filter_map(|link| self.contender_due(*link)).min()
    }

    /// The operator or the program wants a peer gone. Whether there is such a peer.
    pub fn disconnect(&mut self, id: NodeId, reason: &CloseReason, out: &mut Vec<Effect>) -> bool {
        let Some(link) = self.active.get(&id).copied() else { return false };
        if let Some(contender) = self.contending.remove(&id) {
            self.tell_close(contender, reason.clone(), "", out);
        }
        self.retire(link, reason, out);
        self.tell_close(link, reason.clone(), "", out);
        true
    }

    /// Tells every link to close, and every later one too.
    pub fn shut_down(&mut self, out: &mut Vec<Effect>) {
        self.stopping = true;
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.retire(link, &CloseReason::Shutdown, out);
            self.tell_close(link, CloseReason::Shutdown, "", out);
        }
    }

    /// What the owner keeps for a link.
    #[must_use]
    pub fn handle(&self, link: LinkId) -> Option<&H> {
        self.links.get(&link).map(|row| &row.handle)
    }

    /// The active peers, by id.
    pub fn peers(&self) -> impl Iterator<Item = &PeerInfo> {
        self.active.values().filter_map(|link| self.links.get(link)?.info.as_ref())
    }

    /// How many connections there are, in whatever state.
    #[must_use]
    pub fn n_links(&self) -> usize {
        self.links.len()
    }
}

#[cfg(test)]
#[path = "peer_table_tests.rs"]
mod tests;
