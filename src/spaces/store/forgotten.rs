//! A copy of what is forgotten since this node was away: nothing that was acknowledged goes without one.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::spaces::{lines::Line, store::Entry};

/// Where the copies of a file's records are: JSON lines, beside it, as `export` gives them and `import`
/// takes them.
pub(super) fn place(store: &Path) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(".forgotten.jsonl");
    name.into()
}

/// Appends entries, and has them on the disk when it returns.
pub(super) fn append(place: &Path, entries: &[Entry]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(place)?;
    let mut text = Vec::new();
    for entry in entries.iter().filter(|entry| entry.value.is_some()) {
        serde_json::to_writer(&mut text, &Line::from(entry))?;
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()
}
