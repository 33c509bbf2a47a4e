//! What outlives a run, on disk: the addresses that a node knows, the operator's bans, and the
//! secret by which the address book sorts.
//!
//! One `SQLite` file in the node's data directory. It is read once, at the start, and from then on
//! only written, by the [`Keeper`], on a thread of its own.
//!
//! * **A kill loses nothing that was saved, and a power cut at most the latest addresses.** The file
//!   has a write-ahead log that is synced to the disk only now and then (`synchronous=NORMAL`):
//!   `SQLite` promises that such a file is whole after either, and each save then costs no sync.
//!   Addresses come again by themselves. Bans do not, so that they are synced before a save is
//!   answered.
//! * **The file belongs to one process.** It stays locked for as long as it is open
//!   (`locking_mode=EXCLUSIVE`); another node, and the `sqlite3` program too, is refused.
//! * **Nothing is deleted.** A file that is damaged, or that a newer program wrote, is renamed
//!   ([`SetAside`]), and the node starts with a fresh one. The database of another program, and
//!   whatever is no file, is left where it is, and refused ([`StoreError::Foreign`]).
//! * **It is bounded**: to [`MAX_BYTES`], beyond which saving fails with [`StoreError::Full`], and to
//!   [`MAX_ADDRESSES`] at each start.
//!
//! # Security
//! The file is readable by its owner alone, since whoever knows the secret can aim addresses at the
//! same places of the book. What is read is not trusted: a row that makes no sense is skipped and
//! counted, and the schema is not allowed to run anything (`trusted_schema=OFF`).

mod actor;
mod error;
mod file;
mod messages;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

pub use actor::Keeper;
pub use error::StoreError;
use error::{Fault, in_words};
pub use file::{SetAside, Why};
pub use messages::{Close, SaveAddresses, SaveBans};

use crate::{
    clock::Moment,
    proto::{
        address_record::{AddressChange, AddressRecord},
        bans::{Ban, BanChange},
    },
};

/// The size that a file may have, in bytes: ten times what a full address book of the longest names
/// takes. A save that would make it larger fails with [`StoreError::Full`].
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The addresses that a file may hold when it is opened. Of more, those last proven and then those
/// last heard of are kept, and the others are forgotten and count as skipped. That is ten times an
/// address book of the default size, so that it happens only if forgetting was not saved time and
/// again.
pub const MAX_ADDRESSES: usize = 131_072;

/// How long to wait for another process to let go of the file: long enough for a node that is about
/// to end, short enough to be no delay.
const LOCK_WAIT: Duration = Duration::from_millis(250);

/// `SQLite`'s default, said so that [`MAX_BYTES`] does not depend on it. Only a new file gets it.
const PAGE_BYTES: u64 = 4096;

/// The log is cut back to this size when it has been copied into the file (which `SQLite` does when
/// it exceeds 1,000 pages, 4 MB).
const LOG_BYTES: u64 = 1024 * 1024;

/// An open file. Dropping it closes it as well, but only [`close`](Self::close) tells how that went.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

/// What a file held when it was opened.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The secret of the address book's keyed hash. Made once and never changed, or every address
    /// would move to another place of the book.
    pub secret: [u8; 32],
    /// The addresses, in no order that means anything.
    pub addresses: Vec<AddressRecord>,
    /// The bans, those that have ended since included: the caller knows what time it is.
    pub bans: Vec<Ban>,
    /// How many rows were left out: they made no sense, or were more than [`MAX_ADDRESSES`].
    pub skipped: usize,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret: _, addresses, bans, skipped } = self;
        f.debug_struct("Kept")
            .field("addresses", &addresses.len())
            .field("bans", &bans.len())
            .field("skipped", skipped)
            .finish_non_exhaustive()
    }
}

/// A file that was opened.
#[derive(Debug)]
pub struct Opened {
    /// To save to.
    pub store: Store,
    /// What it held.
    pub kept: Kept,
    /// The file that was there before and could not be used. The operator should be told.
    pub set_aside: Option<SetAside>,
}

impl Store {
    /// Opens a file, or makes one that only its owner may read. Reads and checks all of it: a full
    /// address book of the default size takes some 20 ms (`tests/store.rs`, in release mode).
    ///
    /// The secret is used only if the file has none yet. The moment names a file that is set aside.
    ///
    /// # Errors
    /// There can be no such file here, or another process has it open. What could not be used and
    /// could not be set aside either was left as it is.
    pub fn open(path: &Path, fresh_secret: [u8; 32], now: Moment) -> Result<Opened, StoreError> {
        // A relative path such as `file:x` would mean something else to SQLite.
        let path = &std::path::absolute(path)
            .map_err(|source| StoreError::NoFile { path: path.to_owned(), source })?;
        let why = match Self::attempt(path, &fresh_secret)? {
            Ok((store, kept)) => return Ok(Opened { store, kept, set_aside: None }),
            Err(why) => why,
        };
        let set_aside = Some(file::set_aside(path, why, now)?);
        match Self::attempt(path, &fresh_secret)? {
            Ok((store, kept)) => Ok(Opened { store, kept, set_aside }),
            Err(why) => Err(StoreError::Damaged { path: path.clone(), cause: why.to_string() }),
        }
    }

    /// Opens what is there. The inner error is a file that has to give way.
    fn attempt(
        path: &Path,
        fresh_secret: &[u8; 32],
    ) -> Result<Result<(Self, Kept), Why>, StoreError> {
        if let Some(why) = file::make(path)? {
            return Ok(Err(why));
        }
        let failed = |error| StoreError::of(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        match prepare(&mut connection, fresh_secret) {
            Ok(kept) => Ok(Ok((Self { path: path.to_owned(), connection }, kept))),
            Err(Fault::Unusable(why)) => Ok(Err(why)),
            Err(Fault::Foreign(application)) => {
                Err(StoreError::Foreign { path: path.to_owned(), application })
            }
            Err(Fault::Sqlite(error)) => match error::as_damage(&error) {
                Some(why) => Ok(Err(why)),
                None => Err(StoreError::of(path, &error)),
            },
        }
    }

    /// Saves changes of the address book, in their order: all of them or, if it fails, none. They
    /// survive the end of the process at once, and a power cut once the operating system has written
    /// them back (Linux: after half a minute or so), or bans were saved.
    ///
    /// # Errors
    /// Nothing was changed; see there for what to do.
    pub fn save_addresses(&mut self, changes: &[AddressChange]) -> Result<(), StoreError> {
        let saved = self.transact("NORMAL", |tx| {
            changes.iter().try_for_each(|change| match change {
                AddressChange::Put(record) => rows::put_address(tx, record),
                AddressChange::Gone(addr) => rows::delete_address(tx, addr),
            })
        });
        saved.map_err(|error| StoreError::of(&self.path, &error))
    }

    /// Saves changes of the bans, in their order: all of them or, if it fails, none. They survive a
    /// power cut.
    ///
    /// # Errors
    /// Nothing was changed; see there for what to do.
    pub fn save_bans(&mut self, changes: &[BanChange]) -> Result<(), StoreError> {
        let saved = self.transact("FULL", |tx| {
            changes.iter().try_for_each(|change| match change {
                BanChange::Put(ban) => rows::put_ban(tx, ban),
                BanChange::Lifted(target) => rows::delete_ban(tx, target),
            })
        });
        saved.map_err(|error| StoreError::of(&self.path, &error))
    }

    fn transact(
        &mut self,
        synchronous: &str,
        save: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "synchronous", synchronous)?;
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        save(&tx)?;
        tx.commit()
    }

    /// Copies the log into the file, syncs it to the disk and closes it. A file that is not closed
    /// is as good, but has its log beside it.
    ///
    /// # Errors
    /// What is not in the file yet is in the log beside it, and is found at the next start.
    pub fn close(self) -> Result<(), StoreError> {
        let Self { path, connection } = self;
        let copied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = connection.close().map_err(|(_, error)| error);
        copied.and(closed).map_err(|error| StoreError::of(&path, &error))
    }
}

/// Makes a file ready to be written to, and reads it. One that cannot be used is not changed.
fn prepare(connection: &mut Connection, fresh_secret: &[u8; 32]) -> Result<Kept, Fault> {
    connection.busy_timeout(LOCK_WAIT)?;
    // Until it is known to be usable, closing it leaves the log as it was found.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
    // Nobody else from here on: the lock is not given back.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;

    let version = schema::version(connection)?;
    if version > 0 {
        let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if report != "ok" {
            return Err(Fault::Unusable(Why::Damaged(in_words(&report))));
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES.cast_signed())?;
    let pages = (MAX_BYTES / PAGE_BYTES).cast_signed();
    connection.pragma_update(None, "max_page_count", pages)?;
    schema::migrate(connection, version, schema::MIGRATIONS)?;
    let kept = rows::load(connection, fresh_secret)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(kept)
}
