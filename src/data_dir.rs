//! What outlives a run: a directory with the node's key and its store, for one node at a time.
//!
//! [`DataDir`] is the directory while a node uses it; [`StoredKey`] is the key in it, which can
//! also be looked at while a node runs. Without a directory a node has a fresh key on each start.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use directories::ProjectDirs;
use thiserror::Error;

use crate::identity::{KeyError, NodeKey};

/// The file with the key.
const KEY_FILE: &str = "node.key";

/// The file whose lock says that a node uses the directory. It is empty, and stays.
const LOCK_FILE: &str = "lock";

/// The file of the address book and the bans.
const STORE_FILE: &str = "peerage.sqlite3";

/// The file of the spaces.
const SPACES_FILE: &str = "spaces.sqlite3";

/// The longest key file that is looked at: a key in PEM has some 120 bytes.
const MAX_KEY_FILE: u64 = 16 * 1024;

/// Why a directory, or the key in it, cannot be used. What was there is as it was.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// The operating system refused something.
    #[error(
        "cannot {what} {}: {source}; use another directory (--data-dir DIR), or none (--ephemeral)",
        path.display()
    )]
    Io {
        /// What was tried, in words that follow "cannot".
        what: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two nodes with one key would refuse each other as themselves.
    #[error(
        "{} is in use by another node: give this one a directory of its own (--data-dir DIR), or none (--ephemeral)",
        .0.display()
    )]
    InUse(PathBuf),
    /// Others on this machine may read the key, so it may not be a secret any more.
    #[error(
        "others may read the key {0} (mode {mode:04o}): run `chmod 600 {0}`, or move it away for a new one",
        path.display()
    )]
    Loose {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file holds no key. It is never replaced, since the node would silently be another.
    #[error(
        "cannot use the key {}: {source}; restore it, or move it away for a new one",
        path.display()
    )]
    Broken {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// There is no key to read.
    #[error(
        "there is no key in {} yet: `peerage id new` makes one, and so does the first `peerage run`",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A new key would make the node another, so none is put in the place of one.
    #[error(
        "there is a key already, {}: move it away first if the node is to get another id",
        .0.display()
    )]
    KeyExists(PathBuf),
}

/// A directory that this process alone uses as long as the value lives: keep it until the node has
/// stopped.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use peerage::{DataDir, Node};
///
/// let dir = DataDir::open("my-node".as_ref())?;
/// let node = Node::builder().key(dir.key()?.key).start().await?;
/// // ...
/// node.stop().await;
/// drop(dir);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked; the system lets go of it when the file is closed, also after a crash.
    _lock: File,
}

impl DataDir {
    /// Takes the directory for a node, and makes it, with its parents, if it is missing: on Unix
    /// for this user only (mode 0700).
    ///
    /// # Errors
    /// Another node uses it, or the system refuses something.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make_dir(path)?;
        let file = path.join(LOCK_FILE);
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true)).open(&file);
        let lock = lock.map_err(|source| io_error("open", &file, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(io_error("lock", &file, source)),
        }
    }

    /// Whether a node uses a directory now. Changes nothing, but a node that starts at this very moment
    /// may find the directory in use.
    ///
    /// # Errors
    /// The system does not let this user look.
    pub fn is_in_use(path: &Path) -> Result<bool, DataDirError> {
        let file = path.join(LOCK_FILE);
        let lock = match File::open(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|source| io_error("open", &file, source))?,
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(io_error("lock", &file, source)),
        }
    }

    /// Where the platform keeps such things for this user: `~/.local/share/peerage` on Linux.
    /// `None` if the user has no home.
    #[must_use]
    pub fn default_path() -> Option<PathBuf> {
        Some(ProjectDirs::from("", "", "peerage")?.data_local_dir().to_path_buf())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file for what the node learns: addresses, and bans. Nothing here reads or makes it.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// The file for the [spaces](crate::spaces). Nothing here reads or makes it.
    #[must_use]
    pub fn spaces_path(&self) -> PathBuf {
        self.path.join(SPACES_FILE)
    }

    /// The key in the directory; if there is none, a new one that is there from now on.
    ///
    /// # Errors
    /// The key cannot be used, or not be kept.
    pub fn key(&self) -> Result<StoredKey, DataDirError> {
        match StoredKey::read(&self.path) {
            Err(DataDirError::NoKey(_)) => {}
            done => return done,
        }
        match StoredKey::make(&self.path) {
            // Somebody made one just now, without being a node: `peerage id new`.
            Err(DataDirError::KeyExists(_)) => StoredKey::read(&self.path),
            done => done,
        }
    }
}

/// A key that is kept in a directory. Printed, it shows only its public half.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// The key.
    pub key: NodeKey,
    /// The file that it is in.
    pub file: PathBuf,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl StoredKey {
    /// Reads the key in this directory, also while a node uses it.
    ///
    /// # Errors
    /// There is none, others may read it, or it is broken.
    pub fn read(dir: &Path) -> Result<Self, DataDirError> {
        let path = dir.join(KEY_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataDirError::NoKey(dir.to_path_buf()));
            }
            Err(source) => return Err(io_error("open the key", &path, source)),
        };
        check_private(&file, &path)?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_KEY_FILE).read_to_end(&mut bytes);
        read.map_err(|source| io_error("read the key", &path, source))?;
        match NodeKey::from_pem(&String::from_utf8_lossy(&bytes)) {
            Ok(key) => Ok(Self { key, file: path, is_new: false }),
            Err(source) => Err(DataDirError::Broken { path, source }),
        }
    }

    /// Makes a key in this directory, and the directory if it is missing. The key is there whole
    /// or not at all, whenever the machine stops.
    ///
    /// # Errors
    /// There is a key already, or the system refuses something.
    pub fn make(dir: &Path) -> Result<Self, DataDirError> {
        let path = dir.join(KEY_FILE);
        if path.symlink_metadata().is_ok() {
            return Err(DataDirError::KeyExists(path));
        }
        make_dir(dir)?;
        let key = NodeKey::generate(&mut rand::rng());
        match key.to_pem() {
            Ok(pem) => put(dir, &path, pem.as_bytes())?,
            Err(source) => return Err(DataDirError::Broken { path, source }),
        }
        Ok(Self { key, file: path, is_new: true })
    }
}

/// Makes a directory, with its parents, for this user only. One that is there stays as it is.
fn make_dir(path: &Path) -> Result<(), DataDirError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| io_error("make the directory", path, source))
}

/// Puts these bytes at `path`, unless something is there: under another name first, so that
/// nobody ever sees a part of them.
fn put(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let name = format!("{KEY_FILE}.{:016x}.tmp", rand::random::<u64>());
    let temporary = Temporary(dir.join(name));
    let write = || -> io::Result<()> {
        let mut file =
            private(OpenOptions::new().create_new(true).write(true)).open(&temporary.0)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io_error("write", &temporary.0, source))?;
    // Unlike a renamed file, a link never takes the place of another.
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DataDirError::KeyExists(path.to_path_buf()));
        }
        Err(source) => return Err(io_error("write the key", path, source)),
    }
    #[cfg(unix)]
    if let Ok(dir) = File::open(dir) {
        // Some file systems cannot do this. Then a loss of power in the next seconds may cost the
        // new key, and the next start makes another.
        dir.sync_all().ok();
    }
    Ok(())
}

/// A file that is removed in the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Left behind, it is in nobody's way.
        fs::remove_file(&self.0).ok();
    }
}

/// Makes files for this user only, from their first moment on.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Refuses a key that others may read, as ssh does.
#[cfg(unix)]
fn check_private(file: &File, path: &Path) -> Result<(), DataDirError> {
    use std::os::unix::fs::PermissionsExt as _;

    let meta = file.metadata().map_err(|source| io_error("look at the key", path, source))?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(DataDirError::Loose { path: path.to_path_buf(), mode })
}

/// Elsewhere the directory of the user is private by itself.
#[cfg(not(unix))]
fn check_private(_: &File, _: &Path) -> Result<(), DataDirError> {
    Ok(())
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { what, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use tempfile::TempDir;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_key_is_made_once_and_found_again() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("a/b");
        let dir = DataDir::open(&path).unwrap();
        let made = dir.key().unwrap();
        assert!(made.is_new);
        assert_eq!(names(&path), ["lock", "node.key"]);
        drop(dir);
        let again = DataDir::open(&path).unwrap().key().unwrap();
        assert!(!again.is_new);
        assert_eq!((again.key.node_id(), again.file), (made.key.node_id(), path.join("node.key")));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_look_into_what_is_made() {
        use std::os::unix::fs::PermissionsExt as _;

        let temp = TempDir::new().unwrap();
        let path = temp.path().join("a/b");
        DataDir::open(&path).unwrap().key().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&temp.path().join("a")), mode(&path)), (0o700, 0o700));
        assert_eq!((mode(&path.join("node.key")), mode(&path.join("lock"))), (0o600, 0o600));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt as _;

        let temp = TempDir::new().unwrap();
        let key = StoredKey::make(temp.path()).unwrap();
        for (mode, is_fine) in
            [(0o640, false), (0o604, false), (0o610, false), (0o400, true), (0o700, true)]
        {
            fs::set_permissions(&key.file, fs::Permissions::from_mode(mode)).unwrap();
            match StoredKey::read(temp.path()) {
                Ok(_) => assert!(is_fine, "{mode:o}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!is_fine && text.contains(&format!("(mode {mode:04o})")), "{text}");
                    assert!(
                        text.contains(&format!("`chmod 600 {}`", key.file.display())),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_node_at_a_time_but_anybody_may_ask_for_the_id() {
        let temp = TempDir::new().unwrap();
        let first = DataDir::open(temp.path()).unwrap();
        let id = first.key().unwrap().key.node_id();
        let text = DataDir::open(temp.path()).unwrap_err().to_string();
        assert!(text.contains("in use by another node"), "{text}");
        assert!(text.contains("--data-dir DIR") && text.contains("--ephemeral"), "{text}");
        assert_eq!(StoredKey::read(temp.path()).unwrap().key.node_id(), id);
        assert!(DataDir::is_in_use(temp.path()).unwrap());
        drop(first);
        assert!(!DataDir::is_in_use(temp.path()).unwrap());
        DataDir::open(temp.path()).unwrap();
        assert!(!DataDir::is_in_use(&temp.path().join("absent")).unwrap());
    }

    #[test]
    fn a_broken_key_is_refused_and_left_alone() {
        let temp = TempDir::new().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let path = temp.path().join("node.key");
        let pem = NodeKey::generate(&mut rand::rng()).to_pem().unwrap();
        for bytes in [&b""[..], b"\xff\xfe", b"hello", &pem.as_bytes()[..60], &[b'x'; 40_000]] {
            fs::remove_file(&path).ok();
            let mut file =
                private(OpenOptions::new().create(true).write(true)).open(&path).unwrap();
            file.write_all(bytes).unwrap();
            let text = dir.key().unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("cannot use the key {}: ", path.display())),
                "{text}"
            );
            assert!(text.ends_with("restore it, or move it away for a new one"), "{text}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let temp = TempDir::new().unwrap();
        let made = StoredKey::make(temp.path()).unwrap();
        let before = fs::read(&made.file).unwrap();
        let error = StoredKey::make(temp.path()).unwrap_err();
        assert!(matches!(error, DataDirError::KeyExists(_)), "{error}");
        let error = put(temp.path(), &made.file, b"another").unwrap_err();
        assert!(matches!(error, DataDirError::KeyExists(_)), "{error}");
        assert_eq!(fs::read(&made.file).unwrap(), before);
        assert_eq!(names(temp.path()), ["node.key"]);
    }

    #[test]
    fn of_many_that_make_a_key_at_once_one_does() {
        let temp = TempDir::new().unwrap();
        let barrier = Barrier::new(8);
        let made = thread::scope(|scope| {
            let make = || {
                barrier.wait();
                StoredKey::make(temp.path())
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let [winner] = &made.iter().flatten().collect::<Vec<_>>()[..] else {
            panic!("not one winner: {made:?}");
        };
        let kept = StoredKey::read(temp.path()).unwrap();
        assert_eq!(kept.key.node_id(), winner.key.node_id());
        assert_eq!(names(temp.path()), ["node.key"]);
    }

    #[test]
    fn without_a_key_nothing_is_made_by_reading() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("absent");
        let text = StoredKey::read(&path).unwrap_err().to_string();
        assert!(text.contains("there is no key in ") && text.contains("peerage id new"), "{text}");
        assert!(!path.exists());
    }

    #[test]
    fn a_place_that_cannot_be_a_directory_is_named() {
        let temp = TempDir::new().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let text = DataDir::open(&file.join("dir")).unwrap_err().to_string();
        assert!(
            text.starts_with("cannot make the directory ") && text.contains("file/dir"),
            "{text}"
        );
        assert!(text.contains("--data-dir DIR"), "{text}");
    }

    #[test]
    fn nothing_that_is_printed_shows_the_secret() {
        let temp = TempDir::new().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let stored = dir.key().unwrap();
        let pem = fs::read_to_string(&stored.file).unwrap();
        let secret = pem.lines().nth(1).unwrap();
        let shown = format!("{dir:?} {stored:?}");
        assert!(shown.contains("NodeKey(of ") && !shown.contains(secret), "{shown}");
    }
}
