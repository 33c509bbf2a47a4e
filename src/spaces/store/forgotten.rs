//! A copy of what is forgotten since this node was away: nothing that was acknowledged goes without one.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::spaces::{lines::Line, name::SpaceName, store::Entry};

/// Where the copies of a file's records are: JSON lines, beside it, as `export` gives them and `import`
/// takes them.
pub(super) fn place(store: &Path) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(".forgotten.jsonl");
    name.into()
}

/// A line of the copy: that of an export, and the space that it was in.
#[derive(Debug, Serialize)]
struct Forgotten<'a> {
    space: &'a str,
    #[serde(flatten)]
    line: Line,
}

/// Appends entries of a space, and has them on the disk when it returns.
pub(super) fn append(place: &Path, space: &SpaceName, entries: &[Entry]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(place)?;
    let mut text = Vec::new();
    for entry in entries.iter().filter(|entry| entry.value.is_some()) {
        let forgotten = Forgotten { space: space.as_str(), line: Line::from(entry) };
        serde_json::to_writer(&mut text, &forgotten)?;
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()
}
