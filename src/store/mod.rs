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
pub mod database;
mod error;
mod file;
mod messages;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod trouble;

use std::{fmt, path::Path};

pub use actor::Keeper;
use database::{Database, OpenedDatabase, Synced};
pub use error::StoreError;
pub use file::{SetAside, Why};
pub use messages::{Close, SaveAddresses, SaveBans};
pub use trouble::Trouble;

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

/// An open file. Dropping it closes it as well, but only [`close`](Self::close) tells how that went.
#[derive(Debug)]
pub struct Store {
    database: Database,
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
        let load = |connection: &mut _| rows::load(connection, &fresh_secret);
        let OpenedDatabase { database, loaded: kept, set_aside } =
            Database::open(path, &schema::LAYOUT, now, load)?;
        Ok(Opened { store: Self { database }, kept, set_aside })
    }

    /// Saves changes of the address book, in their order: all of them or, if it fails, none. They
    /// survive the end of the process at once, and a power cut once the operating system has written
    /// them back (Linux: after half a minute or so), or bans were saved.
    ///
    /// # Errors
    /// Nothing was changed; see there for what to do.
    pub fn save_addresses(&mut self, changes: &[AddressChange]) -> Result<(), StoreError> {
        self.database.transact(Synced::Normal, |tx| {
            changes.iter().try_for_each(|change| match change {
                AddressChange::Put(record) => rows::put_address(tx, record),
                AddressChange::Gone(addr) => rows::delete_address(tx, addr),
            })
        })
    }

    /// Saves changes of the bans, in their order: all of them or, if it fails, none. They survive a
    /// power cut.
    ///
    /// # Errors
    /// Nothing was changed; see there for what to do.
    pub fn save_bans(&mut self, changes: &[BanChange]) -> Result<(), StoreError> {
        self.database.transact(Synced::Full, |tx| {
            changes.iter().try_for_each(|change| match change {
                BanChange::Put(ban) => rows::put_ban(tx, ban),
                BanChange::Lifted(target) => rows::delete_ban(tx, target),
            })
        })
    }

    /// Copies the log into the file, syncs it to the disk and closes it. A file that is not closed
    /// is as good, but has its log beside it.
    ///
    /// # Errors
    /// What is not in the file yet is in the log beside it, and is found at the next start.
    pub fn close(self) -> Result<(), StoreError> {
        self.database.close()
    }
}
