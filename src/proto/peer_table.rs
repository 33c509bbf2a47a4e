//! Which connections there are, and which of them are sessions.
//!
//! Who is not wanted at all is the business of [`admission`](super::admission), who gives way when
//! the table is full that of [`eviction`](super::eviction). Everything that is decided here about a
//! connection is noted, with its figures.
//!
//! Invariants:
//! * I1: a node id has at most one active session.
//! * I2: this node's own id never has one.
//! * I3: inbound sessions never exceed their limit, and neither do unfinished inbound handshakes,
//!   nor inbound connections that are closing, nor connections from one address or subnet.
//! * I4: `Up` and `Down` of a peer alternate, and every `Up` is followed by one `Down`.
//! * I5: nobody who is banned is a peer.

mod room;
mod unwanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    address::HostPort,
    clock::Moment,
    config::{LimitsConfig, TrustConfig},
    ids::{LinkId, NodeId},
    peer::{Channel, Direction, PeerInfo, Rtt},
    proto::{
        admission::{Admission, Refusal, Spared},
        bans::{BanChange, Standing},
        eviction::Ground,
        journal::{Decision, Kind},
    },
    reason::CloseReason,
    wire::{Hello, Tags},
};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Let this link be a session.
    Admit(LinkId),
    /// Tell this link to close.
    Close(LinkId, CloseReason, &'static str),
    /// Let this link, which is closing, wait no longer for its peer.
    Drop(LinkId),
    /// Tell subscribers that a peer is there.
    Up(PeerInfo),
    /// Tell subscribers that a peer says something else of itself.
    Changed(PeerInfo),
    /// Tell subscribers that a peer is gone.
    Down(PeerInfo, CloseReason),
    /// Keep a change of the bans.
    Keep(BanChange),
    /// Tell whoever dials what is held against a target now.
    Standing(Standing),
    /// Keep a decision in the journal.
    Note(Decision),
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
    /// Where it comes from, and that one's place in the secret order; for inbound links.
    ground: Option<(Ground, u64)>,
    /// Whether it counts for its address and subnet.
    is_counted: bool,
    /// Whether it has broken the protocol, and that has had its consequences.
    is_blamed: bool,
    /// Its place among those that are closing.
    ending: Option<u64>,
    state: State,
    info: Option<PeerInfo>,
}

/// The peer table. `H` is what the owner keeps for each link to reach it by.
#[derive(Debug)]
pub struct PeerTable<H> {
    me: NodeId,
    limits: LimitsConfig,
    admission: Admission,
    /// The secret behind the order of groups in evictions.
    key: u64,
    links: BTreeMap<LinkId, Row<H>>,
    active: BTreeMap<NodeId, LinkId>,
    contending: BTreeMap<NodeId, LinkId>,
    /// Inbound links without a hello, oldest first.
    greeting: BTreeSet<LinkId>,
    /// Inbound links that are closing, in the order in which they began to.
    ending: BTreeMap<u64, LinkId>,
    n_ended: u64,
    n_inbound: usize,
    stopping: bool,
}

impl<H> PeerTable<H> {
    /// An empty table. The key decides which groups an eviction spares, and is nobody else's to
    /// know.
    #[must_use]
    pub fn new(me: NodeId, limits: LimitsConfig, trust: &TrustConfig, key: u64) -> Self {
        Self {
            me,
            limits,
            admission: Admission::new(&limits, trust),
            key,
            links: BTreeMap::new(),
            active: BTreeMap::new(),
            contending: BTreeMap::new(),
            greeting: BTreeSet::new(),
            ending: BTreeMap::new(),
            n_ended: 0,
            n_inbound: 0,
            stopping: false,
        }
    }

    /// Never discourages these by itself.
    pub fn spare(&mut self, spared: Spared) {
        self.admission.spared = spared;
    }

    /// What the name of such a contact stands for.
    pub fn resolved(&mut self, name: &HostPort, addrs: &[HostPort]) {
        self.admission.spared.resolved(name, addrs.iter().filter_map(HostPort::ip));
    }

    /// A connection was made.
    pub fn opened(
        &mut self,
        now: Moment,
        link: LinkId,
        direction: Direction,
        remote: HostPort,
        handle: H,
        out: &mut Vec<Effect>,
    ) {
        let is_inbound = direction == Direction::Inbound;
        let wanted = match self.stopping {
            true => Ok(false),
            false => self.admission.enter(now, direction, &remote).map(|()| is_inbound),
        };
        let ground = is_inbound.then(|| Ground::of(&remote)).map(|ground| {
            let rank = ground.rank(self.key);
            (ground, rank)
        });
        let row = Row {
            handle,
            direction,
            remote,
            ground,
            is_counted: matches!(wanted, Ok(true)),
            is_blamed: false,
            ending: None,
            state: State::Greeting,
            info: None,
        };
        self.links.insert(link, row);
        match wanted {
            _ if self.stopping => self.tell_close(link, CloseReason::Shutdown, "", out),
            Err(refusal) => self.refuse(now, link, refusal, out),
            Ok(_) if is_inbound => self.await_hello(now, link, out),
            Ok(_) => {}
        }
    }

    fn await_hello(&mut self, now: Moment, link: LinkId, out: &mut Vec<Effect>) {
        self.greeting.insert(link);
        if self.greeting.len() > self.limits.max_unfinished
            && let Some(oldest) = self.greeting.pop_first()
        {
            let (reason, n) = (CloseReason::Full, Some(self.limits.max_unfinished));
            let detail = "too many unfinished handshakes, and yours is the oldest";
            self.refuse(now, oldest, Refusal { reason, detail, n }, out);
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
            tags: hello.tags,
            since: now,
            last_seen: now,
            rtt: None,
        });
        if id == self.me {
            let refusal = Refusal { reason: CloseReason::SelfConnection, detail: "", n: None };
            return self.refuse(now, link, refusal, out);
        }
        if let Some(refusal) = self.objection(now, link) {
            return self.refuse(now, link, refusal, out);
        }
        match self.active.get(&id).copied() {
            None => self.admit_if_room(now, link, id, out),
            Some(old) => self.choose(now, old, link, id, out),
        }
    }

    fn admit_if_room(&mut self, now: Moment, link: LinkId, id: NodeId, out: &mut Vec<Effect>) {
        let inbound = self.links.get(&link).is_some_and(|row| row.direction == Direction::Inbound);
        if !inbound || self.make_room(now, link, out) {
            debug_assert!(!self.active.contains_key(&id));
            self.activate(now, link, out);
        }
    }

    /// Why a link that has said who it is may not stay.
    fn objection(&self, now: Moment, link: LinkId) -> Option<Refusal> {
        let info = self.links.get(&link)?.info.as_ref()?;
        self.admission.objection(now, info, self.n_inbound)
    }

    fn refuse(&mut self, now: Moment, link: LinkId, refusal: Refusal, out: &mut Vec<Effect>) {
        let Refusal { reason, detail, n } = refusal;
        let note = Decision::new(now, Kind::Refused, reason.word()).detail(detail);
        let note = match n {
            Some(n) => note.count("connections", n),
            None => note,
        };
        out.extend(self.note(link, note));
        self.tell_close(link, reason, detail, out);
    }

    /// A decision about a link.
    fn note(&self, link: LinkId, note: Decision) -> Option<Effect> {
        let row = self.links.get(&link)?;
        let id = row.info.as_ref().map(|info| info.id);
        Some(Effect::Note(note.link(link).peer(id).addr(row.remote.clone())))
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
            self.linger(link, out);
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
            self.linger(link, out);
        }
        if reason.is_violation() {
            self.blame(now, link, reason, out);
        }
        let Some(id) = id else { return };
        if self.contending.get(&id) == Some(&link) {
            self.contending.remove(&id);
        }
        if !self.active.contains_key(&id)
            && !self.stopping
            && let Some(next) = self.contending.remove(&id)
        {
            match self.objection(now, next) {
                Some(refusal) => self.refuse(now, next, refusal, out),
                None => self.activate(now, next, out),
            }
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
        let Some(row) = self.links.remove(&link) else { return };
        if let Some(place) = row.ending {
            self.ending.remove(&place);
        }
        if row.is_counted {
            self.admission.leave(&row.remote);
        }
    }

    /// A peer answered a ping.
    pub fn pong(&mut self, now: Moment, link: LinkId, sample: Duration) {
        if let Some(info) = self.links.get_mut(&link).and_then(|row| row.info.as_mut()) {
            info.last_seen = now;
            info.rtt = Some(Rtt::with(info.rtt, sample));
        }
    }

    /// A peer says what its tags are now.
    pub fn presence(&mut self, link: LinkId, tags: Tags, out: &mut Vec<Effect>) {
        let row = self.links.get_mut(&link).filter(|row| row.state == State::Active);
        if let Some(info) = row.and_then(|row| row.info.as_mut())
            && info.tags != tags
        {
            info.tags = tags;
            out.push(Effect::Changed(info.clone()));
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
        self.end_contenders(now, out);
        self.end_bans(now, out);
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let contenders = self.contending.values().filter_map(|link| self.contender_due(*link));
        contenders.chain(self.admission.bans.deadline()).min()
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

    /// The other end of a link.
    #[must_use]
    pub fn remote(&self, link: LinkId) -> Option<&HostPort> {
        self.links.get(&link).map(|row| &row.remote)
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
