//! Whom to dial, whom to ask, whom to tell: how a node finds its network and keeps it.
//!
//! Owns the address book, the allowances of each peer, the schedule of dials and of questions, and
//! what is held against whom. Does not connect, resolve or send: it says what is to be done, as
//! [`Output`]. Whom to dial is chosen in `choice`, whom to ask in `lookups`, whom to part with in
//! `sparing`, what peers bring is in `events`, what follows from a dial in `outcome`, what others
//! are told in `telling`, and what all of that is for an introducer in `introducing`.

mod choice;
mod events;
mod introducing;
mod lookups;
mod outcome;
mod sparing;
mod telling;

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use self::lookups::FIRST_QUESTION;
use self::{sparing::Sparing, telling::ElsewhereState};
use crate::{
    address::{Bootstrap, Class, HostPort},
    clock::Moment,
    config::{DiscoveryConfig, IntroductionConfig, Security},
    ids::NodeId,
    proto::{
        address_book::{AddressBook, BookKey},
        address_entry::{Entry, NotTaken, Source},
        address_record::{AddressChange, AddressRecord},
        bans::{Bans, Verdict},
        bootstrap_names::BootstrapNames,
        buckets::Buckets,
        diversity::Diversity,
        finder::Finder,
        intake::Intake,
        introducer::Introducer,
        journal::{Decision, Kind},
        link::Purpose,
        own_address::OwnAddress,
        redial::{Ladder, jittered},
        token_bucket::TokenBucket,
    },
    reason::CloseReason,
    wire::Encoded,
};

/// Buckets that somebody stands in, in a large network: a hundred thousand nodes fill about so many.
const USUAL_BUCKETS: usize = 16;

/// How many extensions may find addresses for a node.
pub const MAX_FINDERS: usize = 16;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial an address; answer with [`Explorer::dialled`].
    Dial(DialPlan),
    /// Resolve this bootstrap name; answer with [`Explorer::resolved`].
    Resolve(HostPort),
    /// Send this to a peer.
    Send(NodeId, Encoded),
    /// End the session with a peer, with this reason.
    Close(NodeId, CloseReason),
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
    /// A name may lead to addresses of this class, and of those that are reached from farther: who
    /// told a name could not mean its own network, and must not choose from this node's.
    pub nearest: Class,
}

/// What is known after a hello came back from a dialled address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who answered.
    pub id: NodeId,
    /// Whether the connection itself proves that. Without it an id that could be proven counts for
    /// nothing.
    pub proven: bool,
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

/// What an explorer is made of.
#[derive(Debug)]
pub struct ExplorerSetup {
    /// This node's id.
    pub me: NodeId,
    /// What is kept of addresses, and how they are dialled.
    pub config: DiscoveryConfig,
    /// An address without an answer for this long is not told to others.
    pub dead_after: Duration,
    /// Whether connections are encrypted.
    pub security: Security,
    /// How to introduce nodes to each other, if that is all this one does.
    pub introduction: Option<IntroductionConfig>,
    /// What is known of this node's own address.
    pub own: OwnAddress,
    /// The secret that the places in the book follow from: the one of the last run, if there is a
    /// book to [`remember`](Explorer::remember).
    pub book_key: BookKey,
    /// Where its choices come from.
    pub seed: u64,
}

/// What is known of a peer with a session.
#[derive(Debug)]
struct Peer {
    intake: Intake,
    /// From where it can reach and be reached.
    class: Class,
    /// The other end's address, by which what it tells and asks is counted.
    remote: HostPort,
    /// This node has dialled it.
    is_dialled: bool,
}

/// The machine behind the discovery actor.
#[derive(Debug)]
pub struct Explorer {
    me: NodeId,
    config: DiscoveryConfig,
    dead_after: Duration,
    security: Security,
    rng: ChaCha8Rng,
    book: AddressBook,
    bans: Bans,
    own: OwnAddress,
    announced: Option<HostPort>,
    peers: BTreeMap<NodeId, Peer>,
    /// How they are spread over the network.
    buckets: Buckets,
    /// What extensions that find addresses may tell; at most [`MAX_FINDERS`].
    finders: BTreeMap<Finder, Intake>,
    /// How many of the peers this node has dialled.
    n_outbound: usize,
    names: BootstrapNames,
    /// The dials under way.
    dials: BTreeMap<HostPort, DialPlan>,
    dial_rate: TokenBucket,
    diversity: Diversity,
    next_feeler: Moment,
    /// Of the feelers that are sent while sessions are wanted.
    feeler_rate: TokenBucket,
    refresh: Refresh,
    sparing: Sparing,
    /// When the lost may be tried again out of turn.
    next_recall: Moment,
    /// Answers to plain questions, by the class of those who ask.
    replies: BTreeMap<Class, (Moment, Encoded)>,
    elsewhere: ElsewhereState,
    /// If this node introduces others and does nothing else.
    introducer: Option<Introducer>,
    /// What was decided before there was anybody to tell.
    early: Vec<Decision>,
}

#[derive(Debug)]
struct Refresh {
    pause: Duration,
    next: Moment,
}

impl Explorer {
    /// A node that knows nobody yet.
    #[must_use]
    pub fn new(setup: ExplorerSetup, now: Moment) -> Self {
        let ExplorerSetup { me, config, dead_after, security, introduction, .. } = setup;
        let ExplorerSetup { own, book_key, seed, .. } = setup;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut book = AddressBook::new(me, config.clone(), book_key, rng.random());
        if introduction.is_some() {
            book.keep_ring();
        }
        let ladder = Ladder::new(config.redial.clone());
        Self {
            me,
            dead_after,
            security,
            book,
            bans: Bans::default(),
            own,
            announced: None,
            peers: BTreeMap::new(),
            finders: BTreeMap::new(),
            buckets: Buckets::new(me, config.bucket_sessions),
            n_outbound: 0,
            names: BootstrapNames::new(config.bootstrap_retry_max, ladder),
            dials: BTreeMap::new(),
            dial_rate: TokenBucket::new(config.dial_burst, config.dials_per_second, now),
            diversity: Diversity::new(
                config.target_peers,
                config.target_peers.max(config.bucket_sessions * USUAL_BUCKETS),
                config.outbound_per_group,
            ),
            feeler_rate: TokenBucket::new(
                config.dial_burst.div_ceil(2),
                config.dials_per_second.div_ceil(2),
                now,
            ),
            next_feeler: now + jittered(config.feeler_interval, &mut rng),
            refresh: Refresh { pause: config.refresh_min, next: now + config.refresh_min },
            sparing: Sparing::new(config.spare_interval, now),
            next_recall: now,
            replies: BTreeMap::new(),
            elsewhere: ElsewhereState::default(),
            introducer: introduction.map(Introducer::new),
            early: Vec::new(),
            rng,
            config,
        }
    }

    /// Takes addresses for proven at this moment, as if this run had proven them.
    pub fn take_for_proven(&mut self, now: Moment, proven: &[(HostPort, NodeId)]) {
        for (addr, id) in proven {
            self.book.proven(addr, *id, now);
        }
    }

    /// Takes in what an earlier run has left, before the [`start`](Self::start). None of it is told
    /// to others until this run has proven it.
    pub fn remember(&mut self, now: Moment, records: Vec<AddressRecord>) {
        let told = records.len();
        let dropped = self.book.remember(now, records);
        if dropped > 0 {
            let note = Decision::new(now, Kind::Forgotten, "place-taken").count("kept", told);
            let note = note.count("dropped", dropped).detail("kept addresses that found no place");
            self.early.push(note);
        }
    }

    /// What has changed of what is to be kept, since this was last asked.
    pub fn take_changes(&mut self) -> Vec<AddressChange> {
        self.book.take_changes()
    }

    /// These changes could not be kept; they come again.
    pub fn put_back(&mut self, changes: Vec<AddressChange>) {
        self.book.put_back(changes);
    }

    /// Starts with these first contacts, and with what is known of the own address.
    pub fn start(&mut self, now: Moment, bootstrap: &[Bootstrap], out: &mut Vec<Output>) {
        out.extend(self.early.drain(..).map(Output::Note));
        for contact in bootstrap {
            self.names.add(now, contact);
        }
        let fixed: Vec<_> = self.names.fixed().map(|(addr, pin)| (addr.clone(), pin)).collect();
        for (addr, pin) in fixed {
            self.learn_bootstrap(now, &addr, pin, out);
        }
        self.announce(now, out);
        self.tick(now, out);
    }

    fn learn_bootstrap(
        &mut self,
        now: Moment,
        addr: &HostPort,
        pin: Option<NodeId>,
        out: &mut Vec<Output>,
    ) {
        if let Err(why) = self.book.learn(addr, None, Source::Bootstrap, now) {
            let note = Decision::new(now, Kind::AddrsRefused, why.code()).detail("bootstrap");
            out.push(Output::Note(note.addr(addr.clone())));
        }
        if let Some(pin) = pin {
            self.book.pin(addr, pin);
        }
    }

    /// A bootstrap name was resolved, or not.
    pub fn resolved(
        &mut self,
        now: Moment,
        name: &HostPort,
        addrs: Result<Vec<HostPort>, String>,
        out: &mut Vec<Output>,
    ) {
        match self.names.resolved(now, name, addrs, &mut self.rng) {
            Ok(found) => {
                for gone in &found.gone {
                    self.book.demote(gone);
                }
                for (addr, pin) in &found.here {
                    // One that a name resolved to again keeps its place on the ladder.
                    if !self.book.get(addr).is_some_and(Entry::is_bootstrap) {
                        self.learn_bootstrap(now, addr, *pin, out);
                    } else if let Some(pin) = pin {
                        self.book.pin(addr, *pin);
                    }
                }
            }
            Err(why) => {
                let note = Decision::new(now, Kind::NotResolved, "dns").detail(why);
                out.push(Output::Note(note.addr(name.clone())));
            }
        }
        self.tick(now, out);
    }

    /// The operator or the program wants this address dialled now. What comes of it comes through
    /// [`dialled`](Self::dialled); if it is being dialled already, through that dial.
    ///
    /// # Errors
    /// It cannot be dialled, or is banned.
    pub fn dial_now(
        &mut self,
        now: Moment,
        addr: &HostPort,
        out: &mut Vec<Output>,
    ) -> Result<(), NotTaken> {
        if self.shunned(now, addr) == Some(Verdict::Banned) {
            return Err(NotTaken::Banned);
        }
        self.book.learn(addr, None, Source::Manual, now)?;
        if !self.is_dialling(addr) {
            self.start_dial(now, addr.clone(), Purpose::Session, out);
        }
        Ok(())
    }

    /// Whether a dial of this address is under way.
    #[must_use]
    pub fn is_dialling(&self, addr: &HostPort) -> bool {
        self.dials.contains_key(addr)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Output>) {
        let book = &self.book;
        let is_connected =
            |addr: &HostPort| book.connected_at(addr).is_some() || book.is_introducer(addr, now);
        out.extend(
            self.names.due(now, &mut self.rng, is_connected).into_iter().map(Output::Resolve),
        );
        if self.introducer.is_none() {
            self.refresh_due(now, out);
            self.spare_due(now, out);
        }
        self.guests_due(now, out);
        self.elsewhere_due(now, out);
        self.dial_due(now, out);
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
        let dial = self.dial_deadline(now);
        let (refresh, spare) = match &self.introducer {
            Some(introducer) => (introducer.deadline(), None),
            None => {
                let refresh = (!self.peers.is_empty()).then_some(self.refresh.next);
                (refresh, self.spare_deadline())
            }
        };
        let times = [self.names.deadline(), refresh, spare, self.elsewhere_deadline(), dial];
        times.into_iter().flatten().min()
    }

    /// The address book, to look at.
    #[must_use]
    pub const fn book(&self) -> &AddressBook {
        &self.book
    }
}

/// Whether this node or its peer gave this reason.
fn is_code(reason: &CloseReason, wanted: &CloseReason) -> bool {
    reason.code() == wanted.code()
}

#[cfg(test)]
#[path = "explorer_tests.rs"]
mod tests;
