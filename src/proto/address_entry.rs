//! One address in the book: what is known of it, and who told it.

use std::{net::IpAddr, time::Duration};

use crate::{
    address::{AddressError, Class},
    clock::Moment,
    ids::NodeId,
    proto::finder::Finder,
};

/// How long a proof stands before another node's claim to the place is looked into.
const CLAIM_PAUSE: Duration = Duration::from_secs(60);

/// After so many failed dials hearsay gives way to other hearsay.
const TERRIBLE_FAILURES: u32 = 2;

/// Hearsay that was heard of so long ago, and never answered since, gives way to other hearsay. As
/// long as Bitcoin Core's addrman keeps an address that nobody mentions.
const TERRIBLE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Who told an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The operator, as a first contact: retried for ever.
    Bootstrap,
    /// The operator or the program, by hand.
    Manual,
    /// The node that says it listens there.
    Declared(NodeId),
    /// Another node.
    Told(NodeId),
    /// An extension, by other means than a peer's word.
    Found(Finder),
}

impl Source {
    /// Whether the operator or the program said it: such an address needs no place in a bucket.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Bootstrap | Self::Manual)
    }
}

/// Who told an address, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// Who.
    pub source: Source,
    /// The remote address of the session in which it was told, or of whoever told it to the
    /// extension, if that knows. Its group decides how much of the book the teller can fill, and
    /// its class which addresses it can know anything about.
    pub from: Option<IpAddr>,
}

impl From<Source> for Hearing {
    fn from(source: Source) -> Self {
        Self { source, from: None }
    }
}

/// Why an address was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotTaken {
    /// It is no address, or nobody could dial it.
    Bad(AddressError),
    /// It is this node's own.
    Own,
    /// It can be reached only from nearer than where the teller is: a private address told by a
    /// peer on the public network, say.
    Class,
    /// There is no room for more addresses that are dialled by hand.
    BookFull,
    /// The bucket that it belongs to is full, and the address at its place is no worse.
    PlaceTaken,
    /// The same, and what fills it came from the same source group: it has used up its share.
    SourceFull,
    /// The operator has banned it.
    Banned,
    /// More came from one peer, or from one extension, than its allowance.
    Rate,
    /// As many extensions as there may be find addresses already.
    Finders,
    /// The node is stopping.
    Stopping,
}

impl NotTaken {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Bad(error) => error.code(),
            Self::Own => "own",
            Self::Class => "class",
            Self::BookFull => "book-full",
            Self::PlaceTaken => "place-taken",
            Self::SourceFull => "source-full",
            Self::Banned => "banned",
            Self::Rate => "rate",
            Self::Finders => "finders",
            Self::Stopping => "stopping",
        }
    }
}

/// Where in the book an address stands. It is always in exactly one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Outside the buckets: named by the operator or the program in this run, or this node's own.
    Given,
    /// In this slot of the table of hearsay.
    New(u32),
    /// In this slot of the table of proven addresses.
    Tried(u32),
    /// In the cold tier.
    Cold,
}

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node there: as proven, else as told.
    pub id: Option<NodeId>,
    /// Who told it first, or the node that speaks for itself.
    pub source: Source,
    /// From which address that was told; none if the operator said it.
    pub told_from: Option<IpAddr>,
    /// When it was first heard of.
    pub heard: Moment,
    /// When this node last completed a handshake there.
    pub proven: Option<Moment>,
    /// When it was last dialled.
    pub tried: Option<Moment>,
    /// What came of that: `hello`, or the reason code of the failure.
    pub outcome: Option<Box<str>>,
    /// Failed dials since the last success.
    pub failures: u32,
    /// When it may be dialled next.
    pub next_try: Moment,
    /// It is this node's own address.
    pub own: bool,
    /// The session with the node there ended, and nothing has answered there since.
    pub lost: bool,
    pub(super) place: Place,
    /// Proven by an earlier run, and not by this one yet: dialled, but not told to others.
    pub(super) remembered: bool,
    /// Another node than the proven one says that it listens there: a feeler is to find out.
    pub(super) claimed: bool,
    /// Another proven address wants its place: a feeler is to find out whether it still answers.
    pub(super) tested: bool,
    pub(super) dialling: bool,
    pub(super) bootstrap: bool,
    /// Who must answer there, by the operator's word.
    pub(super) pinned: Option<NodeId>,
    /// TLS found no taker there: the next dial is plaintext.
    pub(super) plain: bool,
    /// How often the node there has introduced this one and let it go, since this one had to ask.
    pub(super) introductions: u32,
    /// There is a record of it, or one is on its way.
    pub(super) kept: bool,
}

impl Entry {
    /// What is known of an address when it is first heard of.
    pub(super) const fn new(
        id: Option<NodeId>,
        hearing: Hearing,
        place: Place,
        now: Moment,
    ) -> Self {
        Self {
            id,
            source: hearing.source,
            told_from: hearing.from,
            heard: now,
            proven: None,
            tried: None,
            outcome: None,
            failures: 0,
            next_try: now,
            own: false,
            lost: false,
            place,
            remembered: false,
            claimed: false,
            tested: false,
            dialling: false,
            bootstrap: matches!(hearing.source, Source::Bootstrap),
            pinned: None,
            plain: false,
            introductions: 0,
            kept: false,
        }
    }

    /// Who told it, and from where.
    pub(super) const fn hearing(&self) -> Hearing {
        Hearing { source: self.source, from: self.told_from }
    }

    /// Whether hearing of it again changes nothing: by far the most frequent case.
    pub(super) fn is_old_news(&self, id: Option<NodeId>, source: Source) -> bool {
        match source {
            Source::Told(_) | Source::Found(_) => {
                self.proven.is_some() || id.is_none() || self.id == id || self.claimed
            }
            Source::Declared(_) => self.proven.is_some() && self.id == id,
            Source::Bootstrap | Source::Manual => false,
        }
    }

    /// Whether the operator named it as a first contact.
    #[must_use]
    pub const fn is_bootstrap(&self) -> bool {
        self.bootstrap
    }

    /// Whether it is retried only slowly.
    #[must_use]
    pub const fn is_cold(&self) -> bool {
        matches!(self.place, Place::Cold)
    }

    /// Whether it stands among the proven: in their table, or outside the tables and proven.
    #[must_use]
    pub const fn is_tried(&self) -> bool {
        match self.place {
            Place::Tried(_) => true,
            Place::Given => self.proven.is_some(),
            Place::New(_) | Place::Cold => false,
        }
    }

    /// Whether the operator or the program named it in this run.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        matches!(self.place, Place::Given)
    }

    /// Whether other hearsay may take its place: it failed repeatedly, or nobody found it worth a
    /// dial for a month.
    pub(super) fn is_terrible(&self, now: Moment) -> bool {
        let is_old = now.since(self.heard) >= TERRIBLE_AGE;
        !self.dialling && self.proven.is_none() && (self.failures >= TERRIBLE_FAILURES || is_old)
    }

    /// Who must answer a dial: the operator's word; else the known id, if a connection can prove
    /// it. When somebody claims the place, whoever is there.
    pub(super) fn expected(&self) -> Option<NodeId> {
        let known = self.id.filter(|id| id.is_self_certifying() && !self.claimed);
        self.pinned.or(known)
    }

    /// Whether nothing but an encrypted connection will do, since the id there can be proven.
    /// The nearest class of addresses that its teller can have meant.
    pub(super) fn nearest(&self) -> Class {
        match self.told_from {
            Some(ip) if !self.source.is_trusted() && !self.bootstrap => Class::of(ip),
            None if matches!(self.source, Source::Found(_)) && !self.bootstrap => Class::Public,
            _ => Class::Loopback,
        }
    }

    pub(super) fn must_prove(&self) -> bool {
        self.pinned.is_some() || self.id.is_some_and(NodeId::is_self_certifying)
    }

    /// Whether what is kept of it on disk differs.
    pub(super) fn differs(&self, before: &Self) -> bool {
        let kept = |entry: &Self| {
            let Self { id, source, told_from, heard, proven, tried, failures, .. } = *entry;
            let place = std::mem::discriminant(&entry.place);
            (id, source, told_from, heard, proven, tried, failures, entry.own, place)
        };
        kept(self) != kept(before)
    }

    /// Whether an unproven address is said to belong to another than is known, or to anybody if the
    /// operator has named it. Either may lie: who is there is to prove itself, and not in plaintext
    /// if one of them can.
    fn is_contested(&self, id: Option<NodeId>) -> bool {
        let is_news = id.is_some() && self.id != id;
        is_news && (self.id.is_some() || self.source.is_trusted() || self.bootstrap)
    }

    pub(super) fn heard_again(&mut self, id: Option<NodeId>, hearing: Hearing, now: Moment) {
        let source = hearing.source;
        if source == Source::Bootstrap {
            self.bootstrap = true;
        }
        if source.is_trusted() {
            self.next_try = now;
        }
        // What was proven is not overwritten by what is said, but a node speaks for itself.
        if self.proven.is_none() {
            if let Source::Declared(_) = source {
                if self.is_contested(id) {
                    self.claimed = true;
                } else {
                    self.source = source;
                    self.told_from = hearing.from;
                    self.id = id;
                }
                // Saying it again and again does not have it dialled more often.
                if self.failures == 0 {
                    self.next_try = self.next_try.min(now);
                }
            } else if self.is_contested(id) {
                self.claimed = true;
            } else if id.is_some() {
                self.id = id;
            }
        } else if let Source::Declared(by) = source
            && self.id != Some(by)
            && self.proven.is_none_or(|proven| now.since(proven) >= CLAIM_PAUSE)
        {
            // Another node claims the place: find out, by the same proof as ever.
            if self.failures == 0 {
                self.next_try = self.next_try.min(now);
            }
            self.claimed = true;
        }
    }
}
