//! One address in the book: what is known of it, and who told it.

use std::time::Duration;

use crate::{address::AddressError, clock::Moment, ids::NodeId};

/// How long a proof stands before another node's claim to the place is looked into.
const CLAIM_PAUSE: Duration = Duration::from_secs(60);

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
}

/// Why an address was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotTaken {
    /// It is no address, or nobody could dial it.
    Bad(AddressError),
    /// It is this node's own.
    Own,
    /// The book is full.
    BookFull,
    /// The source has used up its share of the book.
    SourceFull,
    /// More came from one peer than its allowance.
    Rate,
}

impl NotTaken {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Bad(error) => error.code(),
            Self::Own => "own",
            Self::BookFull => "book-full",
            Self::SourceFull => "source-full",
            Self::Rate => "rate",
        }
    }
}

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node there: as proven, else as told.
    pub id: Option<NodeId>,
    /// Who told it first.
    pub source: Source,
    /// When this node last completed a handshake there.
    pub proven: Option<Moment>,
    /// Failed dials since the last success.
    pub failures: u32,
    /// When it may be dialled next.
    pub next_try: Moment,
    /// It is in the cold tier.
    pub cold: bool,
    /// It is this node's own address.
    pub own: bool,
    /// The session with the node there ended, and nothing has answered there since.
    pub lost: bool,
    /// Another node than the proven one says that it listens there: a feeler is to find out.
    pub(super) claimed: bool,
    pub(super) dialling: bool,
    pub(super) bootstrap: bool,
}

impl Entry {
    /// Whether hearing of it again changes nothing: by far the most frequent case.
    pub(super) fn is_old_news(&self, id: Option<NodeId>, source: Source) -> bool {
        match source {
            Source::Told(_) => self.proven.is_some() || self.id.is_some() || id.is_none(),
            Source::Declared(_) => self.proven.is_some() && self.id == id,
            Source::Bootstrap | Source::Manual => false,
        }
    }

    /// Whether the operator named it as a first contact.
    #[must_use]
    pub const fn is_bootstrap(&self) -> bool {
        self.bootstrap
    }

    pub(super) fn heard_again(&mut self, id: Option<NodeId>, source: Source, now: Moment) {
        if source == Source::Bootstrap {
            self.bootstrap = true;
        }
        if matches!(source, Source::Bootstrap | Source::Manual) {
            self.next_try = now;
        }
        // What was proven is not overwritten by what is said, but a node speaks for itself.
        if self.proven.is_none() {
            if let Source::Declared(_) = source {
                self.source = source;
                self.id = id;
                // Saying it again and again does not have it dialled more often.
                if self.failures == 0 {
                    self.next_try = self.next_try.min(now);
                }
            } else if self.id.is_none() {
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
