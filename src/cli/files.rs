//! The files that settings name: reading them, within a bound, and who else may.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::resolve::Settings;

/// The longest file that is read; it has room for a list of a hundred thousand ids.
const MAX_FILE: u64 = 4 << 20;

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let n = File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(n).is_ok_and(|n| n <= MAX_FILE) {
        return Ok(bytes);
    }
    Err(io::Error::other(format!("it is longer than {} MiB", MAX_FILE >> 20)))
}

/// Warns if everybody on this machine may read the network's secret. Unlike a node's key it is not
/// refused: containers are handed their secrets so, in a file system of their own.
pub(crate) fn warn_of_readable_secret(settings: &Settings) {
    if let Some(path) = &settings.trust_files.network_key
        && is_readable_by_all(path)
    {
        tracing::warn!(
            file = %path.display(),
            "everybody on this machine may read the network key; if that is not meant, chmod 600"
        );
    }
}

/// Whether the file is open to all.
#[cfg(unix)]
fn is_readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

/// Nobody can tell here.
#[cfg(not(unix))]
fn is_readable_by_all(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let temp = tempfile::TempDir::new().unwrap();
        let path = temp.path().join("f");
        std::fs::write(&path, vec![b'x'; (4 << 20) + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("longer than 4 MiB"));
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(read(&path).unwrap(), b"abc");
    }
}
