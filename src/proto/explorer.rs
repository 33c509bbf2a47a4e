//! Whom to dial, whom to ask, whom to tell: how a node finds its network and keeps it.
//!
//! Owns the address book, the allowances of each peer, the schedule of dials and of questions.
//! Does not connect, resolve or send: it says what is to be done, as [`Output`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{Rng, SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    address::{Bootstrap, Host, HostPort},
    clock::Moment,
    config::DiscoveryConfig,
    ids::NodeId,
    peer::{Direction, PeerInfo},
    proto::{
        address_book::{AddressBook, Fate, Queue},
        address_entry::{Entry, NotTaken, Source},
        intake::Intake,
        journal::{Decision, Kind},
        link::Purpose,
        own_address::OwnAddress,
        redial::{Ladder, jittered},
        token_bucket::TokenBucket,
    },
    reason::CloseReason,
    wire::{AddrEntry, Encoded, MAX_LINE},
};

/// To how many peers a newly proven address is passed on.
const NEWS_FANOUT: usize = 2;

/// How long an address is left alone when this machine could not dial it.
const LOCAL_PAUSE: Duration = Duration::from_secs(5);

/// How long a node that said it is full is left alone.
const FULL_PAUSE: Duration = Duration::from_secs(600);

/// How long an encoded answer to a plain `getaddr` may be given again. It also keeps one asker
/// from seeing more of the book by asking faster.
const REPLY_KEPT: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial an address; answer with [`Explorer::dialled`].
    Dial(DialPlan),
    /// Resolve this bootstrap name; answer with [`Explorer::resolved`].
    Resolve(HostPort),
    /// Send this to a peer.
    Send(NodeId, Encoded),
    /// This node's own address is now known to be this.
    Announce(Option<HostPort>),
    /// These addresses may be tried instead of this node when it is full.
    Elsewhere(Vec<(HostPort, NodeId)>),
    /// Keep this decision.
    Note(Decision),
}

/// What a connection is to be dialled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// TLS, and nothing else.
    Tls,
    /// Plaintext.
    Plain,
}

/// One dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialPlan {
    /// Where.
    pub addr: HostPort,
    /// What for.
    pub purpose: Purpose,
    /// With what.
    pub via: Via,
    /// Who must answer; another is refused as `wrong-node`.
    pub expect: Option<NodeId>,
}

/// What is known after a hello came back from a dialled address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who answered.
    pub id: NodeId,
    /// The local address of the connection.
    pub local: Option<HostPort>,
}

/// How a dial ended: with a session (no `end`), or with a reason, with or without a hello before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialResult {
    /// Whether and who answered.
    pub proof: Option<Proof>,
    /// Why there is no session.
    pub end: Option<(CloseReason, String)>,
}

#[derive(Debug)]
struct Name {
    next_try: Moment,
    failures: u32,
    resolving: bool,
    addrs: Vec<HostPort>,
}

/// The machine behind the discovery actor.
#[derive(Debug)]
pub struct Explorer {
    me: NodeId,
    config: DiscoveryConfig,
    dead_after: Duration,
    rng: ChaCha8Rng,
    book: AddressBook,
    own: OwnAddress,
    announced: Option<HostPort>,
    peers: BTreeMap<NodeId, Intake>,
    names: BTreeMap<HostPort, Name>,
    /// Bootstraps that were given as addresses.
    fixed: BTreeSet<HostPort>,
    /// The dials under way, and what for.
    dials: BTreeMap<HostPort, Purpose>,
    dial_rate: TokenBucket,
    refresh: Refresh,
    reply: Option<(Moment, Encoded)>,
}

#[derive(Debug)]
struct Refresh {
    pause: Duration,
    next: Moment,
}

impl Explorer {
    /// A node that knows only its bootstraps.
    #[must_use]
    pub fn new(
        me: NodeId,
        config: DiscoveryConfig,
        dead_after: Duration,
        own: OwnAddress,
        seed: u64,
        now: Moment,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            me,
            dead_after,
            book: AddressBook::new(me, config.clone(), rng.random()),
            rng,
            own,
            announced: None,
            peers: BTreeMap::new(),
            names: BTreeMap::new(),
            fixed: BTreeSet::new(),
            dials: BTreeMap::new(),
            dial_rate: TokenBucket::new(config.dial_burst, config.dials_per_second, now),
            refresh: Refresh { pause: config.refresh_min, next: now + config.refresh_min },
            reply: None,
            config,
        }
    }

    /// What an earlier run has proven.
    pub fn remember(&mut self, now: Moment, proven: &[(HostPort, NodeId)]) {
        for (addr, id) in proven {
            self.book.proven(addr, *id, now);
        }
    }

    /// Starts with these first contacts, and with what is known of the own address.
    pub fn start(&mut self, now: Moment, bootstrap: &[Bootstrap], out: &mut Vec<Output>) {
        for Bootstrap { addr, .. } in bootstrap {
            match addr.host() {
                Host::Name(_) => {
                    let name =
                        Name { next_try: now, failures: 0, resolving: false, addrs: Vec::new() };
                    self.names.insert(addr.clone(), name);
                }
                Host::Ip(_) => {
                    self.fixed.insert(addr.clone());
                    self.learn_bootstrap(now, addr, out);
                }
            }
        }
        self.announce(now, out);
        self.tick(now, out);
    }

    fn learn_bootstrap(&mut self, now: Moment, addr: &HostPort, out: &mut Vec<Output>) {
        if let Err(why) = self.book.learn(addr, None, Source::Bootstrap, now) {
            let note = Decision::new(now, Kind::AddrsRefused, why.code()).detail("bootstrap");
            out.push(Output::Note(note.addr(addr.clone())));
        }
    }

    /// A session came up.
    pub fn peer_up(&mut self, now: Moment, info: &PeerInfo, out: &mut Vec<Output>) {
        if self.peers.is_empty() {
            self.refresh.next = self.refresh.next.max(now + self.config.refresh_min);
        }
        self.peers.insert(info.id, Intake::new(&self.config, now));
        self.book.connected(info.id);
        self.reply = None;
        if let Some(observed) = &info.observed {
            self.own.reported(info.id, observed);
            self.announce(now, out);
        }
        if let Some(listen) = &info.listen {
            self.declared(now, info.id, listen, out);
        }
        self.tick(now, out);
    }

    /// A session ended.
    pub fn peer_down(
        &mut self,
        now: Moment,
        info: &PeerInfo,
        reason: &CloseReason,
        out: &mut Vec<Output>,
    ) {
        if let Some(mut intake) = self.peers.remove(&info.id) {
            out.extend(intake.note(info.id, now, true).map(Output::Note));
        }
        self.book.disconnected(info.id, now, now.since(info.since));
        // A full node answers the hello first, so that its refusal ends what was a session.
        if info.direction == Direction::Outbound && is_full(reason) {
            for addr in self.book.addresses_of(info.id) {
                self.turned_away(now, &addr);
            }
        }
        self.reply = None;
        self.refresh_soon(now);
        self.tick(now, out);
    }

    /// A peer told addresses.
    pub fn addrs(
        &mut self,
        now: Moment,
        from: NodeId,
        entries: &[AddrEntry],
        out: &mut Vec<Output>,
    ) {
        let Some(intake) = self.peers.get_mut(&from) else { return };
        let alone = entries.len() == 1;
        let allowed = intake.allow(now, entries.len());
        let mut news = false;
        for entry in entries.iter().take(allowed) {
            let taken = entry.addr.parse::<HostPort>().map_err(NotTaken::Bad).and_then(|addr| {
                // A classic peer announces itself by a bare address; should it be another's, the
                // proof will say so.
                addr.check_dialable().map_err(NotTaken::Bad)?;
                if entry.id.or(alone.then_some(from)) == Some(from) && intake.may_declare(&addr) {
                    return self.book.learn(&addr, Some(from), Source::Declared(from), now);
                }
                self.book.learn(&addr, entry.id, Source::Told(from), now)
            });
            match taken {
                Ok(new) => news |= new,
                // Hearing one's own address from others is how the network works, not a fault.
                Err(NotTaken::Own) => {}
                Err(why) => intake.refuse(why),
            }
        }
        out.extend(intake.note(from, now, false).map(Output::Note));
        if news {
            self.refresh_soon(now);
        }
        self.tick(now, out);
    }

    fn declared(&mut self, now: Moment, by: NodeId, addr: &HostPort, out: &mut Vec<Output>) {
        match self.book.learn(addr, Some(by), Source::Declared(by), now) {
            Ok(_) | Err(NotTaken::Own) => {}
            Err(why) => {
                let note = Decision::new(now, Kind::AddrsRefused, why.code()).peer(by);
                out.push(Output::Note(note.addr(addr.clone())));
            }
        }
    }

    /// A peer asks for addresses.
    pub fn get_addr(&mut self, now: Moment, near: Option<NodeId>, max: Option<usize>) -> Encoded {
        let limit = self.config.addr_reply_max;
        let max = max.map_or(limit, |max| max.min(limit));
        let plain = near.is_none() && max == limit;
        if let Some((made, reply)) = &self.reply
            && plain
            && now.since(*made) < REPLY_KEPT
        {
            return reply.clone();
        }
        let fresh_since = Moment::ZERO + now.since(Moment::ZERO + self.dead_after);
        let mut peers = self.book.advertised(near, max, fresh_since);
        fit_line(&mut peers);
        let reply = Encoded::addr(&peers);
        if plain {
            self.reply = Some((now, reply.clone()));
        }
        reply
    }

    /// A dial ended.
    pub fn dialled(
        &mut self,
        now: Moment,
        addr: &HostPort,
        result: DialResult,
        out: &mut Vec<Output>,
    ) {
        self.dials.remove(addr);
        let answered = result.proof.as_ref().map(|proof| proof.id);
        match &result.proof {
            Some(proof) if proof.id == self.me => {
                self.book.own(addr, now);
                let note = Decision::new(
                    now,
                    Kind::OwnAddress,
                    CloseReason::SelfConnection.code().to_owned(),
                );
                out.push(Output::Note(note.addr(addr.clone())));
                return self.tick(now, out);
            }
            Some(proof) => self.prove(now, addr, proof, out),
            None => {}
        }
        if let Some((reason, detail)) = result.end
            && !(answered.is_some() && is_fair(&reason))
        {
            self.dial_failed(now, addr, answered, &reason, detail, out);
        }
        self.tick(now, out);
    }

    fn prove(&mut self, now: Moment, addr: &HostPort, proof: &Proof, out: &mut Vec<Output>) {
        let news = self.book.proven(addr, proof.id, now);
        self.reply = None;
        if let Some(local) = &proof.local {
            self.own.local(local);
            self.announce(now, out);
        }
        if news {
            let note = Decision::new(now, Kind::Proven, "hello").peer(proof.id);
            out.push(Output::Note(note.addr(addr.clone())));
            let line = Encoded::addr(&[(addr.clone(), proof.id)]);
            let others = self.peers.keys().filter(|id| **id != proof.id).copied();
            for id in others.choose_multiple(&mut self.rng, NEWS_FANOUT) {
                out.push(Output::Send(id, line.clone()));
            }
        }
    }

    fn dial_failed(
        &mut self,
        now: Moment,
        addr: &HostPort,
        answered: Option<NodeId>,
        reason: &CloseReason,
        detail: String,
        out: &mut Vec<Output>,
    ) {
        let code = reason.code().to_owned();
        let note = Decision::new(now, Kind::DialFailed, code.clone()).detail(detail);
        out.push(Output::Note(note.addr(addr.clone()).peer(answered)));
        if answered.is_some() && is_full(reason) {
            return self.turned_away(now, addr);
        }
        // What this machine lacks says nothing about the address.
        if answered.is_none() && *reason == CloseReason::Internal {
            return self.book.postpone(addr, now + jittered(LOCAL_PAUSE, &mut self.rng));
        }
        let fate = match self.book.failed(addr, now) {
            Fate::Forgotten => Kind::Forgotten,
            Fate::Cold(_) => Kind::WentCold,
            Fate::Retry(_) | Fate::Unknown => return,
        };
        out.push(Output::Note(Decision::new(now, fate, code).addr(addr.clone())));
    }

    /// The node there has no room: it is left alone for a while.
    fn turned_away(&mut self, now: Moment, addr: &HostPort) {
        let bootstrap = self.book.get(addr).is_some_and(Entry::is_bootstrap);
        let pause = if bootstrap { self.config.bootstrap_retry_max } else { FULL_PAUSE };
        let until = now + jittered(pause, &mut self.rng);
        self.book.postpone(addr, until);
    }

    /// A bootstrap name was resolved, or not.
    pub fn resolved(
        &mut self,
        now: Moment,
        name: &HostPort,
        addrs: Result<Vec<HostPort>, String>,
        out: &mut Vec<Output>,
    ) {
        let max = self.config.bootstrap_retry_max;
        let Some(state) = self.names.get_mut(name) else { return };
        state.resolving = false;
        match addrs {
            Ok(addrs) if !addrs.is_empty() => {
                state.failures = 0;
                state.next_try = now + jittered(max, &mut self.rng);
                let old = std::mem::replace(&mut state.addrs, addrs.clone());
                for gone in old.iter().filter(|addr| !addrs.contains(addr)) {
                    if !self.fixed.contains(gone) {
                        self.book.demote(gone);
                    }
                }
                for addr in &addrs {
                    self.learn_once(now, addr, out);
                }
            }
            failed => {
                state.failures = state.failures.saturating_add(1);
                let ladder = Ladder::new(self.config.redial.clone());
                let pause = ladder.pause_for_ever(state.failures, max, &mut self.rng);
                state.next_try = now + pause;
                let why = failed.err().unwrap_or_else(|| "no addresses".to_owned());
                let note = Decision::new(now, Kind::NotResolved, "dns").detail(why);
                out.push(Output::Note(note.addr(name.clone())));
            }
        }
        self.tick(now, out);
    }

    /// An address that a name resolved to again keeps its place on the ladder.
    fn learn_once(&mut self, now: Moment, addr: &HostPort, out: &mut Vec<Output>) {
        if !self.book.get(addr).is_some_and(Entry::is_bootstrap) {
            self.learn_bootstrap(now, addr, out);
        }
    }

    /// The operator or the program wants this address dialled now. What comes of it comes through
    /// [`dialled`](Self::dialled); if it is being dialled already, through that dial.
    pub fn dial_now(
        &mut self,
        now: Moment,
        addr: &HostPort,
        out: &mut Vec<Output>,
    ) -> Result<(), NotTaken> {
        self.book.learn(addr, None, Source::Manual, now)?;
        if !self.dials.contains_key(addr) {
            self.start_dial(addr.clone(), Purpose::Session, out);
        }
        Ok(())
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.resolve_due(now, out);
        self.refresh_due(now, out);
        while self.dials.len() < self.config.dials_in_flight
            && self.dial_rate.next_token(now) <= now
            && let Some((addr, purpose)) = self.next_dial(now)
        {
            self.dial_rate.take(now, 1);
            self.start_dial(addr, purpose, out);
        }
    }

    fn next_dial(&mut self, now: Moment) -> Option<(HostPort, Purpose)> {
        let mut lines = vec![Queue::Bootstrap, Queue::Feeler];
        lines.extend(self.wants_sessions().then_some(Queue::Known));
        lines.into_iter().find_map(|queue| {
            let purpose = if queue == Queue::Feeler { Purpose::Feeler } else { Purpose::Session };
            Some((self.book.pick(queue, now)?, purpose))
        })
    }

    fn start_dial(&mut self, addr: HostPort, purpose: Purpose, out: &mut Vec<Output>) {
        self.book.dialling(&addr);
        // One that was forgotten while it was dialled, and heard of again, is dialled already.
        if self.dials.insert(addr.clone(), purpose).is_none() {
            let id = self.book.get(&addr).and_then(|entry| entry.id);
            let via = if id.is_none_or(NodeId::is_self_certifying) { Via::Tls } else { Via::Plain };
            let expect = id.filter(|id| id.is_self_certifying());
            out.push(Output::Dial(DialPlan { addr, purpose, via, expect }));
        }
    }

    fn wants_sessions(&self) -> bool {
        let sessions = self.dials.values().filter(|purpose| **purpose == Purpose::Session).count();
        self.peers.len() + sessions < self.config.target_peers
    }

    fn resolve_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        for (addr, name) in &mut self.names {
            if name.resolving || name.next_try > now {
                continue;
            }
            if name.addrs.iter().any(|addr| self.book.connected_at(addr).is_some()) {
                name.next_try = now + jittered(self.config.bootstrap_retry_max, &mut self.rng);
                continue;
            }
            name.resolving = true;
            out.push(Output::Resolve(addr.clone()));
        }
    }

    fn refresh_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        if now < self.refresh.next || self.peers.is_empty() {
            return;
        }
        self.refresh.pause = (self.refresh.pause * 2).min(self.config.refresh_max);
        self.refresh.next = now + jittered(self.refresh.pause, &mut self.rng);
        if let Some((id, intake)) = self.peers.iter_mut().choose(&mut self.rng) {
            intake.asked();
            out.push(Output::Send(*id, Encoded::GETADDR));
        }
    }

    /// Something changed: ask around again soon, if sessions are wanted.
    fn refresh_soon(&mut self, now: Moment) {
        if self.wants_sessions() {
            self.refresh.pause = self.config.refresh_min;
            let soon = now + jittered(self.config.refresh_min, &mut self.rng);
            self.refresh.next = self.refresh.next.min(soon);
        }
    }

    fn announce(&mut self, now: Moment, out: &mut Vec<Output>) {
        let current = self.own.current();
        if current != self.announced {
            // What others report may be another node's address; that it is ours is known when a
            // dial has met ourselves there.
            if let Some(addr) = current.as_ref().filter(|_| self.own.is_settled()) {
                self.book.own(addr, now);
            }
            self.announced.clone_from(&current);
            out.push(Output::Announce(current));
        }
    }

    /// When to call [`tick`](Self::tick) next.
    pub fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let names = self.names.values().filter(|name| !name.resolving).map(|name| name.next_try);
        let refresh = (!self.peers.is_empty()).then_some(self.refresh.next);
        let mut next = names.chain(refresh).min();
        if self.dials.len() < self.config.dials_in_flight {
            let token = self.dial_rate.next_token(now);
            let known = self.wants_sessions().then_some(Queue::Known);
            let queues = [Some(Queue::Bootstrap), Some(Queue::Feeler), known];
            let first = |queue| self.book.due_at(queue).map(|at| at.max(token));
            let dial = queues.into_iter().flatten().filter_map(first).min();
            next = next.into_iter().chain(dial).min();
        }
        next
    }

    /// The address book, to look at.
    #[must_use]
    pub const fn book(&self) -> &AddressBook {
        &self.book
    }
}

/// Whether the peer said that it has no room.
fn is_full(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Peer(code) if &**code == "full")
}

/// Whether an answered dial that ended so did what it was made for.
fn is_fair(reason: &CloseReason) -> bool {
    match reason {
        CloseReason::Feeler
        | CloseReason::Duplicate
        | CloseReason::Shutdown
        | CloseReason::Requested => true,
        CloseReason::Peer(code) => &**code == "duplicate",
        _ => false,
    }
}

/// Keeps an `addr` line within the limit even if every host is a long name.
fn fit_line(peers: &mut Vec<(HostPort, NodeId)>) {
    const ENVELOPE: usize = 64;
    const PER_ENTRY: usize = 36 + 8 + 6;
    let mut room = MAX_LINE - ENVELOPE;
    let fits = |(addr, _): &(HostPort, NodeId)| {
        let host = if let Host::Name(name) = addr.host() { name.len() } else { 41 };
        let rest = room.checked_sub(host + PER_ENTRY);
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    let n = peers.iter().map(fits).take_while(|fits| *fits).count();
    peers.truncate(n);
}

#[cfg(test)]
#[path = "explorer_tests.rs"]
mod tests;
