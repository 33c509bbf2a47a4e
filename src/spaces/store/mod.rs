//! Where records are kept: one `SQLite` file in the node's data directory, or memory.
//!
//! * **What was committed is kept**: through a kill at any moment, and through a power cut
//!   (`synchronous=FULL`: the log is synced to the disk before a commit returns).
//! * **A write that fails changes nothing**, in the file and here.
//! * **Nothing is deleted that could not be read**: a damaged file is renamed, as the node's own is
//!   ([`Database`]).
//! * **Memory does not grow with the records**: the sums of each space take at most 3 MiB, the page cache
//!   [`CACHE_BYTES`], and what is not in the index yet about 2 MiB.

mod commit;
mod forgotten;
mod index;
mod memtable;
mod read;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, params};
use thiserror::Error;

use self::memtable::Memtable;
pub(super) use self::read::MAX_PAGE;
pub use self::{
    commit::{Outcome, Taken},
    read::{Entry, PIECE_BYTES, Page, Parcel},
};
use super::{
    admission::{Amount, Rules, Standing, pack_ids},
    hlc::{Hlc, Ticker},
    name::{SpaceId, SpaceSpec},
    scribe::Scribe,
    summary::Summary,
};
use crate::{
    clock::Moment,
    identity::NodeKey,
    ids::NodeId,
    proto::replay,
    store::{
        SetAside, StoreError,
        database::{Database, OpenedDatabase, Synced},
    },
};

/// What is kept in memory of the file's pages, in bytes.
pub const CACHE_BYTES: u64 = 64 << 20;

/// The most spaces that a file holds, those that were left included.
pub const MAX_SPACES: usize = 64;

/// How many deletions are forgotten in one transaction.
const SWEEP: i64 = 1024;

/// Who writes, by which rules, and how much in all.
#[derive(Debug, Clone)]
pub struct Owner {
    /// This node.
    pub id: NodeId,
    /// Its key, if it has one: what it writes is signed by it.
    pub key: Option<NodeKey>,
    /// The rules of all spaces.
    pub rules: Rules,
    /// The size that the file may have, in bytes.
    pub max_bytes: u64,
}

/// Why a space was not joined.
#[derive(Debug, Error)]
pub enum JoinError {
    /// There is one of that name already, with other writers.
    #[error(
        "there is a space of that name with other writers: leave it first, and forget its records"
    )]
    OtherWriters,
    /// There are as many as there may be.
    #[error("there are {MAX_SPACES} spaces already: forget one first")]
    TooMany,
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl JoinError {
    /// A stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherWriters => "other-writers",
            Self::TooMany => "too-many-spaces",
            Self::Store(error) => error.code(),
            Self::Stopped => "stopped",
        }
    }
}

/// A space, as it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    row: i64,
    spec: SpaceSpec,
    is_joined: bool,
    in_step: Option<Moment>,
    /// The number of the latest change.
    seq: u64,
    /// Changes up to this number may have been forgotten.
    forgotten: u64,
    total: Amount,
    summary: Summary,
    /// What is not in the table of the index yet.
    unflushed: Memtable,
}

/// What is known of a space without looking into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceInfo {
    /// What it is.
    pub spec: SpaceSpec,
    /// Whether this node is in it now.
    pub is_joined: bool,
    /// When this node last had all that another had.
    pub in_step: Option<Moment>,
    /// The number of the latest change.
    pub seq: u64,
    /// What it holds, deletions included.
    pub holds: Amount,
    /// Says the same on two nodes that hold the same records, and nothing more.
    pub root: [u8; 8],
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    owner: Owner,
    database: Database,
    scribe: Scribe,
    spaces: BTreeMap<SpaceId, Kept>,
    /// With so many index entries in memory they are written to the table.
    flush_at: usize,
}

impl Store {
    /// Opens a file, or makes one that only its owner may read. What could not be used and was set aside
    /// is told.
    ///
    /// # Errors
    /// There can be no such file here, or another process has it open.
    pub fn open(
        path: &Path,
        owner: Owner,
        now: Moment,
    ) -> Result<(Self, Option<SetAside>), StoreError> {
        let layout = schema::layout(owner.max_bytes);
        let OpenedDatabase { database, loaded, set_aside } =
            Database::open(path, &layout, now, |connection| load(connection, now))?;
        let connection = database.connection();
        let cache = -(CACHE_BYTES / 1024).cast_signed();
        connection
            .pragma_update(None, "cache_size", cache)
            .map_err(|error| database.error(&error))?;
        connection.set_prepared_statement_cache_capacity(64);
        let (spaces, ticker) = loaded;
        let scribe = Scribe::new(owner.id, owner.key.clone(), ticker);
        let flush_at = index::MAX_UNFLUSHED;
        Ok((Self { owner, database, scribe, spaces, flush_at }, set_aside))
    }

    /// Makes one in memory, which ends with this value.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory(owner: Owner) -> Result<Self, StoreError> {
        let database = Database::in_memory(&schema::layout(owner.max_bytes))?;
        database.connection().set_prepared_statement_cache_capacity(64);
        let scribe = Scribe::new(owner.id, owner.key.clone(), Ticker::default());
        let (spaces, flush_at) = (BTreeMap::new(), index::MAX_UNFLUSHED);
        Ok(Self { owner, database, scribe, spaces, flush_at })
    }

    /// Whom it belongs to.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Who makes ready what is to be written here.
    #[must_use]
    pub const fn scribe(&self) -> &Scribe {
        &self.scribe
    }

    /// The spaces, by name.
    #[must_use]
    pub fn spaces(&self) -> Vec<SpaceInfo> {
        let mut spaces: Vec<_> = self.spaces.values().map(Kept::info).collect();
        spaces.sort_by(|a, b| a.spec.name().cmp(b.spec.name()));
        spaces
    }

    /// The space of this name, if it is there.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<SpaceInfo> {
        self.spaces.values().find(|kept| kept.spec.name().as_str() == name).map(Kept::info)
    }

    /// One space, if it is there.
    #[must_use]
    pub fn space(&self, id: &SpaceId) -> Option<SpaceInfo> {
        self.spaces.get(id).map(Kept::info)
    }

    /// Joins a space, or joins it again with what it held. Whether this node was not in it.
    ///
    /// # Errors
    /// It was not joined, and why.
    pub fn join(&mut self, spec: &SpaceSpec, now: Moment) -> Result<bool, JoinError> {
        let id = spec.id();
        if let Some(kept) = self.spaces.get_mut(&id) {
            let was_joined = kept.is_joined;
            if !was_joined {
                let row = kept.row;
                self.database.transact(Synced::Full, |tx| {
                    tx.execute(schema::SET_JOINED, params![row, true])
                })?;
                kept.is_joined = true;
            }
            return Ok(!was_joined);
        }
        if self.spaces.values().any(|kept| kept.spec.name() == spec.name()) {
            return Err(JoinError::OtherWriters);
        }
        if self.spaces.len() >= MAX_SPACES {
            return Err(JoinError::TooMany);
        }
        // Later than all numbers of a space of this name that was forgotten, so that who watched that one is
        // told that it has missed something.
        let seq = millis(now);
        let is_free = |row: &i64| self.spaces.values().all(|kept| kept.row != *row);
        let row = (1..).find(is_free).unwrap_or(i64::MAX);
        self.database.transact(Synced::Full, |tx| {
            let writers = pack_ids(spec.writers());
            tx.execute(schema::INSERT_SPACE, params![spec.name().as_str(), writers, seq, row])
        })?;
        let seq = seq.max(0).cast_unsigned();
        let kept = Kept { seq, forgotten: seq, ..Kept::new(row, spec.clone()) };
        self.spaces.insert(id, kept);
        Ok(true)
    }

    /// Leaves a space. Its records stay, unless they are to be forgotten. Whether this node was in it, or
    /// it was there to be forgotten.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub fn leave(&mut self, id: &SpaceId, forget: bool) -> Result<bool, StoreError> {
        let Some(kept) = self.spaces.get_mut(id) else { return Ok(false) };
        let row = kept.row;
        if forget {
            self.database.transact(Synced::Full, |tx| {
                tx.execute(schema::DELETE_RECORDS, [row, row + 1].map(schema::before))?;
                schema::DELETE_THE_REST.iter().try_for_each(|sql| tx.execute(sql, [row]).map(drop))
            })?;
            self.spaces.remove(id);
            return Ok(true);
        }
        let was_joined = kept.is_joined;
        self.database
            .transact(Synced::Full, |tx| tx.execute(schema::SET_JOINED, params![row, false]))?;
        kept.is_joined = false;
        Ok(was_joined)
    }

    /// How this node stands to others in a space.
    #[must_use]
    pub fn standing(&self, id: &SpaceId, now: Moment) -> Standing {
        let in_step = self.spaces.get(id).and_then(|kept| kept.in_step);
        Standing::of(in_step, &self.owner.rules, now)
    }

    /// This node has all that another had. It need not survive a power cut: then it was in step a little
    /// earlier.
    ///
    /// # Errors
    /// It was not kept, and why.
    pub fn set_in_step(&mut self, id: &SpaceId, now: Moment) -> Result<(), StoreError> {
        let later = |kept: &&mut Kept| kept.in_step.is_none_or(|then| now > then);
        let Some(kept) = self.spaces.get_mut(id).filter(later) else { return Ok(()) };
        let (row, millis) = (kept.row, millis(now));
        self.database
            .transact(Synced::Normal, |tx| tx.execute(schema::SET_IN_STEP, params![row, millis]))?;
        kept.in_step = Some(now);
        Ok(())
    }

    /// Forgets deletions that are older than they are kept. How many; the most there can be is a
    /// thousand, and then there may be more.
    ///
    /// # Errors
    /// Nothing was forgotten, and why.
    pub fn sweep(&mut self, now: Moment) -> Result<usize, StoreError> {
        let before = Hlc::at(now - self.owner.rules.keep_deletions).bits().cast_signed();
        let over = self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_OVER)?;
            let rows = select.query_map([before, SWEEP], rows::placed)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let spaces: Vec<_> = self.spaces.iter().map(|(id, kept)| (*id, kept.row)).collect();
        let mut swept = 0;
        for (id, row) in spaces {
            let keys = over.iter().filter(|(of, _)| *of == row).map(|(_, key)| key.clone());
            swept += self.forget_keys(&id, &keys.collect::<Vec<_>>())?;
        }
        Ok(swept)
    }

    /// Closes the file; see [`Database::close`].
    ///
    /// # Errors
    /// What is not in the file yet is in the log beside it.
    pub fn close(self) -> Result<(), StoreError> {
        self.database.close()
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(self.database.connection()).map_err(|error| self.database.error(&error))
    }
}

impl Kept {
    fn new(row: i64, spec: SpaceSpec) -> Self {
        Self {
            row,
            spec,
            is_joined: true,
            in_step: None,
            seq: 0,
            forgotten: 0,
            total: Amount::default(),
            summary: Summary::default(),
            unflushed: Memtable::default(),
        }
    }

    fn info(&self) -> SpaceInfo {
        SpaceInfo {
            spec: self.spec.clone(),
            is_joined: self.is_joined,
            in_step: self.in_step,
            seq: self.seq,
            holds: self.total,
            root: self.summary.root().hash(0),
        }
    }
}

/// Reads what is kept of the spaces, and sums up their records.
fn load(
    connection: &mut Connection,
    now: Moment,
) -> rusqlite::Result<(BTreeMap<SpaceId, Kept>, Ticker)> {
    let mut ticker = Ticker::default();
    let mut spaces = BTreeMap::new();
    let mut select = connection.prepare(schema::SELECT_SPACES)?;
    let found = select.query_map([], rows::space)?.collect::<rusqlite::Result<Vec<_>>>()?;
    for (mut kept, flushed) in found.into_iter().flatten() {
        let range = [kept.row, kept.row + 1].map(schema::before);
        let last: Option<i64> =
            connection.query_row(schema::SELECT_LAST, range, |row| row.get(0))?;
        kept.seq = kept.forgotten.max(last.map_or(0, schema::seq_of));
        kept.unflushed = index::unflushed(connection, kept.row, flushed.min(kept.seq))?;
        let (summary, total) = index::sum_up(connection, kept.row, &kept.unflushed, |time| {
            // Written while the machine's clock was wrong: it must not carry along what is written now.
            if !time.is_ahead(now) {
                ticker.seen(time);
            }
        })?;
        (kept.summary, kept.total) = (summary, total);
        spaces.insert(kept.spec.id(), kept);
    }
    Ok((spaces, ticker))
}

/// As the file has moments.
fn millis(moment: Moment) -> i64 {
    i64::try_from(replay::millis(moment)).unwrap_or(i64::MAX)
}
