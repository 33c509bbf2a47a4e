//! The file as such: making it, and getting one that cannot be used out of the way.

use std::{
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::error::StoreError;
use crate::clock::Moment;

/// What `SQLite` puts beside a file, by the endings that it appends.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The size of the smallest database: one page of the smallest size
/// (<https://sqlite.org/fileformat2.html>, section 1.3.2).
const MIN_BYTES: u64 = 512;

/// How many files may have been set aside within one second.
const MAX_TWINS: u32 = 100;

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is damaged, or is no database at all; what is wrong with it.
    Damaged(String),
    /// A newer program wrote it.
    Newer {
        /// The version that it has.
        version: usize,
        /// The newest version that this program knows.
        known: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "it is damaged ({what})"),
            Self::Newer { version, known } => write!(
                f,
                "a newer peerage wrote it (version {version}; this one knows up to {known})"
            ),
        }
    }
}

/// A file that could not be used and was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it was. A fresh file is there now.
    pub from: PathBuf,
    /// Where it is: `<name>.corrupt-<unix seconds>` or `<name>.newer-<version>-<unix seconds>`, with
    /// its log, if there was one, beside it as before.
    pub to: PathBuf,
    /// Why.
    pub why: Why,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, why } = self;
        write!(
            f,
            "{} could not be used: {why}. It was renamed to {} and nothing in it was changed; the \
             node starts with an empty one, and finds its network by its bootstraps",
            from.display(),
            to.display(),
        )
    }
}

/// Makes an empty file that only its owner may read, unless there is one. Why that one cannot be a
/// database, if it shows already: `SQLite` would take a few bytes for nothing, and overwrite them.
///
/// One that exists is not opened here: closing it would give back the locks that this process may
/// have on it (POSIX, fcntl), and another [`Store`](super::Store) would lose its own.
pub(super) fn make(path: &Path) -> Result<Option<Why>, StoreError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |source| StoreError::NoFile { path: path.to_owned(), source };
    match options.open(path) {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::metadata(path).map_err(failed)?;
            if !found.is_file() {
                return Err(StoreError::NotAFile { path: path.to_owned() });
            }
            let too_short = (1..MIN_BYTES).contains(&found.len());
            Ok(too_short.then(|| Why::Damaged("file is not a database: too short".to_owned())))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Renames a file, and what is beside it, to a name that nothing has.
pub(super) fn set_aside(path: &Path, why: Why, now: Moment) -> Result<SetAside, StoreError> {
    let seconds = now.since_epoch().as_secs();
    let ending = match why {
        Why::Damaged(_) => format!(".corrupt-{seconds}"),
        Why::Newer { version, .. } => format!(".newer-{version}-{seconds}"),
    };
    let failed = |source| {
        let (path, why) = (path.to_owned(), why.to_string());
        StoreError::NotSetAside { path, why, source }
    };
    let to = free_name(path, &ending).map_err(failed)?;
    // The log first. A node that is killed in between finds a file that it sets aside again; the
    // other way round it would find a log without its file, which SQLite deletes.
    for beside in BESIDE {
        match fs::rename(with_ending(path, beside), with_ending(&to, beside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    fs::rename(path, &to).map_err(failed)?;
    Ok(SetAside { from: path.to_owned(), to, why })
}

/// A name that neither a file nor what would be beside it has: renaming would overwrite it.
fn free_name(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let is_free = |path: &Path| match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        found => found.map(|_| false),
    };
    for twin in 1..=MAX_TWINS {
        let twin = if twin == 1 { String::new() } else { format!("-{twin}") };
        let name = with_ending(path, &format!("{ending}{twin}"));
        let mut free = is_free(&name)?;
        for beside in BESIDE {
            free &= is_free(&with_ending(&name, beside))?;
        }
        if free {
            return Ok(name);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name for it is taken"))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
