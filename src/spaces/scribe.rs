//! Makes what is to be written ready for the store: signs what this node writes, and verifies what others
//! wrote. That is most of the work of a write, and needs no store, so it is done beside it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    admission::Refusal,
    hlc::{Hlc, Ticker},
    name::SpaceSpec,
    record::{Author, Rank, Record, RecordError},
};
use crate::{clock::Moment, identity::NodeKey, ids::NodeId};

/// Something to be written.
#[derive(Debug, Clone)]
pub enum Write {
    /// By this node: a value, or a deletion. It gets its time and its signature here.
    Own {
        /// The key.
        key: Box<str>,
        /// The value; `None` deletes.
        value: Option<Bytes>,
    },
    /// By a node whose id proves nothing, which has told it to this one.
    Plain {
        /// That node.
        writer: NodeId,
        /// The key.
        key: Box<str>,
        /// The value; `None` deletes.
        value: Option<Bytes>,
    },
    /// By another, as it came.
    Other(Record),
}

impl Write {
    /// About how many bytes are to be written.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Own { key, value } | Self::Plain { key, value, .. } => {
                (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64
            }
            Self::Other(record) => record.size(),
        }
    }
}

/// A record whose writer is proven, as far as its id can prove anything; or why there is none.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) record: Result<(Record, Rank), Refusal>,
    /// Whether this node has written it just now.
    pub(super) is_own: bool,
}

/// Writes and reads signatures for one node. Clones give out the same times.
#[derive(Debug, Clone)]
pub struct Scribe {
    id: NodeId,
    key: Option<NodeKey>,
    ticker: Arc<Mutex<Ticker>>,
}

impl Scribe {
    /// That of a node, with its key if it has one.
    #[must_use]
    pub fn new(id: NodeId, key: Option<NodeKey>, ticker: Ticker) -> Self {
        Self { id, key, ticker: Arc::new(Mutex::new(ticker)) }
    }

    /// Hears of a record that was taken: later ones of this node are later than it.
    pub(super) fn seen(&self, record: &Record) {
        self.ticker.lock().seen(record.time);
    }

    /// Makes something ready to be written in a space.
    #[must_use]
    pub fn prepare(&self, space: &SpaceSpec, write: Write, now: Moment) -> Prepared {
        let (record, is_own) = match write {
            Write::Own { key, value } => {
                let by = (self.id, self.key.as_ref());
                (self.write(space, (&key, value), by, now), true)
            }
            Write::Plain { writer, key, value } => {
                (self.write(space, (&key, value), (writer, None), now), true)
            }
            Write::Other(record) => (Ok(record), false),
        };
        let record = record.map_err(Refusal::from).and_then(|record| {
            if !space.may_write(record.writer()) {
                // Before the signature, which costs most.
                return Err(Refusal::NotAWriter);
            }
            if !is_own && record.time.is_ahead(now) {
                return Err(Refusal::Future);
            }
            // What this node has signed just now fits.
            if !(is_own && matches!(record.author, Author::Signed { .. })) {
                record.verify(&space.id())?;
            }
            let rank = record.rank(&space.id());
            Ok((record, rank))
        });
        Prepared { record, is_own }
    }

    /// Writes a record of this node once more, right after a time.
    pub(super) fn again(&self, space: &SpaceSpec, record: &Record, after: Hlc) -> Record {
        let by = match record.author {
            Author::Signed { .. } => (self.id, self.key.as_ref()),
            Author::Unproven(writer) => (writer, None),
        };
        let what = (&*record.key, record.value.clone());
        let written = Record::write(&space.id(), what, after.next(), by);
        written.unwrap_or_else(|_it_was_one| record.clone())
    }

    fn write(
        &self,
        space: &SpaceSpec,
        what: (&str, Option<Bytes>),
        by: (NodeId, Option<&NodeKey>),
        now: Moment,
    ) -> Result<Record, RecordError> {
        let time = self.ticker.lock().tick(now);
        Record::write(&space.id(), what, time, by)
    }
}
