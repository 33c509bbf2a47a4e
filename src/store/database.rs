//! A file of one program's tables: opened for one process alone, checked, migrated, and set aside if it
//! cannot be used. What the tables hold is its owner's business: the node's own [`Store`](super::Store)
//! and extensions that keep something open theirs here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    error::{self, Fault, StoreError, in_words},
    file::{self, SetAside, Why},
    schema,
};
use crate::clock::Moment;

/// How long to wait for another process to let go of the file: long enough for a node that is about
/// to end, short enough to be no delay.
const LOCK_WAIT: Duration = Duration::from_millis(250);

/// `SQLite`'s default, said so that [`Layout::max_bytes`] does not depend on it. Only a new file gets it.
const PAGE_BYTES: u64 = 4096;

/// The log is cut back to this size when it has been copied into the file (which `SQLite` does when it exceeds
/// 1,000 pages, 4 MB) and has grown beyond it for once. It is above what a log has as a rule, also when an
/// index is written all over: one that is written over again is synced faster than one that has to grow.
const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// `SQLite`'s query planner stability guarantee. Without it a statement on a range is prepared anew for each
/// range, in case a better plan is to be had for that one.
const PREPARE_ONCE: DbConfig = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;

/// What a file is to hold, and how large it may be.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Marks the file as one of this kind, in the place that `SQLite` has for that.
    pub application_id: i32,
    /// The n-th step makes a file of version n one of version n + 1; version 0 is an empty file. A
    /// step that was released is never changed: what is to be different is another step.
    pub migrations: &'static [&'static str],
    /// The size that it may have, in bytes; what would make it larger fails with [`StoreError::Full`].
    pub max_bytes: u64,
    /// Up to this size, in bytes, it is read and checked whole when it is opened.
    pub check_bytes: u64,
}

/// A file that was opened.
#[derive(Debug)]
pub struct OpenedDatabase<T> {
    /// To read and write by.
    pub database: Database,
    /// What was read when it was opened.
    pub loaded: T,
    /// The file that was there before and could not be used. The operator should be told.
    pub set_aside: Option<SetAside>,
}

/// An open file, or one in memory. Dropping it closes it as well, but only [`close`](Self::close) tells
/// how that went.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    connection: Connection,
    /// How the connection syncs, if that was set.
    synced: Option<Synced>,
}

impl Database {
    /// Opens a file, or makes one that only its owner may read, and reads from it what `load` does. One
    /// that cannot be used, or from which `load` finds that it cannot, is set aside, and a fresh one takes
    /// its place; the moment names the file that was set aside.
    ///
    /// # Errors
    /// There can be no such file here, or another process has it open. What could not be used and
    /// could not be set aside either was left as it is.
    pub fn open<T>(
        path: &Path,
        layout: &Layout,
        now: Moment,
        load: impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<OpenedDatabase<T>, StoreError> {
        // A relative path such as `file:x` would mean something else to SQLite.
        let path = &std::path::absolute(path)
            .map_err(|source| StoreError::NoFile { path: path.to_owned(), source })?;
        let why = match Self::attempt(path, layout, &load)? {
            Ok((database, loaded)) => {
                return Ok(OpenedDatabase { database, loaded, set_aside: None });
            }
            Err(why) => why,
        };
        let set_aside = Some(file::set_aside(path, why, now)?);
        match Self::attempt(path, layout, &load)? {
            Ok((database, loaded)) => Ok(OpenedDatabase { database, loaded, set_aside }),
            Err(why) => Err(StoreError::Damaged { path: path.clone(), cause: why.to_string() }),
        }
    }

    /// Makes one in memory, which ends with this value.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory(layout: &Layout) -> Result<Self, StoreError> {
        let path = PathBuf::from("(memory)");
        let failed = |error| StoreError::of(&path, &error);
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        connection.set_db_config(PREPARE_ONCE, true).map_err(failed)?;
        let pages = (layout.max_bytes / PAGE_BYTES).cast_signed();
        connection.pragma_update(None, "max_page_count", pages).map_err(failed)?;
        schema::migrate(&mut connection, layout, 0).map_err(failed)?;
        Ok(Self { path, connection, synced: None })
    }

    /// Opens what is there. The inner error is a file that has to give way.
    fn attempt<T>(
        path: &Path,
        layout: &Layout,
        load: &impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<Result<(Self, T), Why>, StoreError> {
        if let Some(why) = file::make(path)? {
            return Ok(Err(why));
        }
        let failed = |error| StoreError::of(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        match prepare(&mut connection, path, layout, load) {
            Ok(loaded) => {
                let path = path.to_owned();
                Ok(Ok((Self { path, connection, synced: None }, loaded)))
            }
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

    /// The connection, to read by.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    #[cfg(test)]
    pub(super) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an error of `SQLite` means for this file.
    #[must_use]
    pub fn error(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, error)
    }

    /// Writes all of it or, if it fails, nothing. With [`Synced::Full`] it survives a power cut once this
    /// has returned, with [`Synced::Normal`] the end of the process.
    ///
    /// # Errors
    /// Nothing was changed; see there for what to do.
    pub fn transact<T>(
        &mut self,
        synced: Synced,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let Self { path, connection, synced: last } = self;
        let transact = || {
            if *last != Some(synced) {
                connection.pragma_update(None, "synchronous", synced.word())?;
                *last = Some(synced);
            }
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let written = write(&tx)?;
            tx.commit()?;
            Ok(written)
        };
        transact().map_err(|error| StoreError::of(path, &error))
    }

    /// Copies the log into the file, syncs it to the disk and closes it. A file that is not closed
    /// is as good, but has its log beside it.
    ///
    /// # Errors
    /// What is not in the file yet is in the log beside it, and is found at the next start.
    pub fn close(self) -> Result<(), StoreError> {
        let Self { path, connection, .. } = self;
        let copied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = connection.close().map_err(|(_, error)| error);
        copied.and(closed).map_err(|error| StoreError::of(&path, &error))
    }
}

/// What is certain when a transaction has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// It survives the end of the process.
    Normal,
    /// It survives a power cut.
    Full,
}

impl Synced {
    const fn word(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

/// Makes a file ready to be written to, and reads it. One that cannot be used is not changed.
fn prepare<T>(
    connection: &mut Connection,
    path: &Path,
    layout: &Layout,
    load: &impl Fn(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, Fault> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_db_config(PREPARE_ONCE, true)?;
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

    let version = schema::version(connection, layout)?;
    let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
    if version > 0 && bytes <= layout.check_bytes {
        let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if report != "ok" {
            return Err(Fault::Unusable(Why::Damaged(in_words(&report))));
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES.cast_signed())?;
    let pages = (layout.max_bytes / PAGE_BYTES).cast_signed();
    connection.pragma_update(None, "max_page_count", pages)?;
    schema::migrate(connection, layout, version)?;
    let loaded = load(connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(loaded)
}
