//! What can go wrong, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use thiserror::Error;

use super::file::Why;

/// Why a file was not opened, or a change was not saved. What was saved before is not affected.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has the file open.
    #[error(
        "{} is in use by another process, probably another node with the same data directory: stop \
         that one, or give this one a data directory of its own",
        .path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file does not exist and cannot be made.
    #[error(
        "{} cannot be made: {source}. The directory must exist, and the user that runs the node \
         must be allowed to write to it",
        .path.display()
    )]
    NoFile {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Something else is in its place: a directory, say.
    #[error("{} is not a file: move it away, or choose another data directory", .path.display())]
    NotAFile {
        /// What is in the way.
        path: PathBuf,
    },
    /// The file is the database of another program. It was not touched.
    #[error(
        "{} is the database of another program (application id {application}): move it away, or \
         choose another data directory",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The number by which that program marks its files; 0 if it does not.
        application: i32,
    },
    /// The file cannot be used, and cannot be renamed either. It was left as it is.
    #[error(
        "{} cannot be used: {why}. It should have been set aside, but cannot be renamed: {source}. \
         Move it away, or allow the user that runs the node to write to its directory",
        .path.display()
    )]
    NotSetAside {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        why: String,
        /// Why it was not renamed.
        source: io::Error,
    },
    /// The disk is full, or the file has reached its limit
    /// ([`Layout::max_bytes`](super::database::Layout::max_bytes)).
    #[error(
        "{} has no room to grow: the disk is full, or the file has reached the size that it may \
         have. Make room on the disk",
        .path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory cannot be written to.
    #[error(
        "{} cannot be written to: {cause}. The user that runs the node must be allowed to write to \
         the file and to its directory, on a file system that is not read-only",
        .path.display()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        cause: String,
    },
    /// The file is damaged, and was found to be so only after it was opened.
    #[error(
        "{} is damaged: {cause}. Restart the node: it sets the file aside and starts a fresh one; \
         if it happens again, check the disk",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        cause: String,
    },
    /// The operating system failed to read or to write.
    #[error("{} cannot be read or written: {cause}. Check the disk", .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        cause: String,
    },
    /// Anything else that `SQLite` refuses.
    #[error("{} cannot be used: {cause}", .path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        cause: String,
    },
}

impl StoreError {
    /// A stable code, for the journal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in-use",
            Self::NoFile { .. } => "no-file",
            Self::NotAFile { .. } => "not-a-file",
            Self::Foreign { .. } => "foreign",
            Self::NotSetAside { .. } => "not-set-aside",
            Self::Full { .. } => "full",
            Self::NotWritable { .. } => "not-writable",
            Self::Damaged { .. } => "damaged",
            Self::Disk { .. } => "disk",
            Self::Other { .. } => "other",
        }
    }

    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let (code, cause) = said(error);
        let path = path.to_owned();
        match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::NotWritable { path, cause }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, cause }
            }
            Some(ErrorCode::SystemIoFailure) => Self::Disk { path, cause },
            _ => Self::Other { path, cause },
        }
    }
}

/// Why a file could not be made ready.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has to give way.
    Unusable(Why),
    /// It belongs to the program with this application id.
    Foreign(i32),
    /// Anything else.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Whether a file has to give way because of an error that came up while it was made ready. A table
/// or column that is missing (`SQLite` has no code for it but that of any other error) counts: such a
/// file says that it is of a version that has them.
pub(super) fn as_damage(error: &rusqlite::Error) -> Option<Why> {
    let (code, cause) = said(error);
    let damaged = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase, ErrorCode::Unknown];
    damaged.contains(&code?).then_some(Why::Damaged(cause))
}

/// An error's code, and its words without the statement that led to it.
fn said(error: &rusqlite::Error) -> (Option<ErrorCode>, String) {
    match error {
        rusqlite::Error::SqlInputError { error, msg, .. } => (Some(error.code), in_words(msg)),
        error => (error.sqlite_error_code(), in_words(&error.to_string())),
    }
}

/// The first line of a message: `SQLite` appends what led to it on others.
pub(super) fn in_words(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
