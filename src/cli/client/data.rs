//! `peerage data`: asks a node for what it shares with others, and tells it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read},
    path::Path,
};

use peerage::{
    control::model::{
        Changed, DeleteRequest, ImportReport, JoinRequest, KeyPage, LeaveRequest, SpaceEntry,
        SpaceEvent, SpaceList, ValueEntry, Written,
    },
    spaces::{MAX_VALUE, SpaceName},
};
use serde_json::json;

use super::{Asker, stream};
use crate::cli::{
    args::{DataVerb, ImportArgs, LsArgs, RmArgs, SetArgs, WatchArgs},
    error::{Failure, UsageError},
    print::{self, data as show, paint::Paint},
};

/// How many keys are asked for at a time.
const PAGE: usize = 1000;

/// How much of an import is sent at a time, in bytes: whole lines, and at least one.
const PIECE: usize = 256 * 1024;

/// The longest line of an import, in bytes, as the node takes it.
const MAX_LINE: u64 = 8 << 20;

/// Does one of them.
pub(super) fn run(asker: &Asker, verb: DataVerb) -> Result<(), Failure> {
    match verb {
        DataVerb::Set(args) => asker.set(&args),
        DataVerb::Get(args) => asker.get(&args.space, &args.key),
        DataVerb::Ls(args) => asker.ls(&args),
        DataVerb::Rm(args) => asker.rm(&args),
        DataVerb::Watch(args) => asker.watch_space(&args),
        DataVerb::Export(args) => asker.export(&args.space, &args.prefix),
        DataVerb::Import(args) => asker.import(&args),
        DataVerb::Spaces => asker.show::<SpaceList>("/v1/spaces", &[], show::spaces),
        DataVerb::Join(args) => {
            let join = JoinRequest { name: args.space, writers: args.writers };
            asker.tell::<SpaceEntry>("/v1/spaces/join", &join, show::joined)
        }
        DataVerb::Leave(args) => {
            let leave = LeaveRequest { name: args.space, forget: args.forget };
            asker.tell::<Changed>("/v1/spaces/leave", &leave, |left, _| {
                if left.changed { "left\n" } else { "the node was not in it\n" }.to_owned()
            })
        }
    }
}

impl Asker {
    fn set(&self, args: &SetArgs) -> Result<(), Failure> {
        let path = path(&args.space, "bytes")?;
        let value = value(&args.value)?;
        let written: Written = self.client.post_bytes(&path, &[("key", &args.key)], &value)?;
        self.print(&written, |_, _| String::new())
    }

    fn get(&self, space: &str, key: &str) -> Result<(), Failure> {
        let key = [("key", key)];
        if self.is_json {
            return self.show::<ValueEntry>(&path(space, "value")?, &key, |_, _| String::new());
        }
        let mut value = Vec::new();
        let read = self.client.bytes(&path(space, "bytes")?, &key)?.read_to_end(&mut value);
        read.map_err(|_broken| Failure::StreamEnded)?;
        if io::stdout().is_terminal() {
            return print::stdout(&show::for_terminal(&value));
        }
        print::bytes(&value).map(|_| ())
    }

    fn ls(&self, args: &LsArgs) -> Result<(), Failure> {
        let path = path(&args.space, "keys")?;
        let (mut after, mut left) = (args.after.clone(), args.limit.unwrap_or(usize::MAX));
        loop {
            let limit = left.min(PAGE).to_string();
            let mut query = vec![("prefix", args.prefix.as_str()), ("limit", &limit)];
            if let Some(after) = &after {
                query.push(("after", after));
            }
            let page: KeyPage = self.client.get(&path, &query)?;
            let mut text = String::new();
            for key in page.keys.iter().take(left) {
                if self.is_json {
                    text.push_str(&serde_json::to_string(key).unwrap_or_default());
                    text.push('\n');
                } else {
                    text.push_str(&show::key(key, args.long));
                }
            }
            if !print::piece(&text)? {
                return Ok(());
            }
            left = left.saturating_sub(page.keys.len());
            let Some(last) = page.keys.last().filter(|_| page.more) else { return Ok(()) };
            if left == 0 {
                print::stderr(&show::more(&last.key));
                return Ok(());
            }
            after = Some(last.key.clone());
        }
    }

    fn rm(&self, args: &RmArgs) -> Result<(), Failure> {
        let path = path(&args.space, "delete")?;
        for key in &args.keys {
            let deleted: Changed = self.client.post(&path, &DeleteRequest { key: key.clone() })?;
            let answer = json!({ "key": key, "changed": deleted.changed });
            self.print(&answer, |_, _| show::deleted(key, deleted.changed))?;
        }
        Ok(())
    }

    /// Prints changes until nobody reads, or the node is gone.
    fn watch_space(&self, args: &WatchArgs) -> Result<(), Failure> {
        let path = path(&args.space, "watch")?;
        let paint = Paint::stdout();
        let query: &[_] = if args.prefix.is_empty() { &[] } else { &[("prefix", &*args.prefix)] };
        let since = args.since.map(|since| since.to_string());
        stream::events::<SpaceEvent>(&self.client, (&path, query), since, |json, event| match event
        {
            _ if self.is_json => print::piece(&format!("{json}\n")),
            Some(event) => print::piece(&show::change(event, paint)),
            // One of a later version.
            None => Ok(true),
        })
    }

    fn export(&self, space: &str, prefix: &str) -> Result<(), Failure> {
        let query: &[_] = if prefix.is_empty() { &[] } else { &[("prefix", prefix)] };
        let mut coming = self.client.bytes(&path(space, "export")?, query)?;
        let mut piece = vec![0; 64 * 1024];
        loop {
            let len = coming.read(&mut piece).map_err(|_broken| Failure::StreamEnded)?;
            let Some(piece) = piece.get(..len).filter(|piece| !piece.is_empty()) else {
                return Ok(());
            };
            if !print::bytes(piece)? {
                return Ok(());
            }
        }
    }

    /// Sends lines as they come, in pieces, so that what is wrong is said in time.
    fn import(&self, args: &ImportArgs) -> Result<(), Failure> {
        let path = path(&args.space, "import")?;
        let mut lines = BufReader::with_capacity(PIECE, opened(&args.file)?);
        let (mut report, mut first) = (ImportReport::default(), 1);
        loop {
            let (piece, count) = piece_of(&mut lines)?;
            // Also without a line once, so that a space that is none is noticed.
            if piece.is_empty() && first > 1 {
                break;
            }
            let number = first.to_string();
            let sent = self.client.post_bytes(&path, &[("line", &number)], &piece);
            let ImportReport { written, unchanged } = sent?;
            report.written += written;
            report.unchanged += unchanged;
            first += count.max(1);
        }
        self.print(&report, show::imported)
    }
}

/// Some whole lines, and how many; none at the end.
fn piece_of(lines: &mut BufReader<impl Read>) -> Result<(Vec<u8>, usize), Failure> {
    let failed = |source| Failure::System { what: "read what is to be imported", source };
    let (mut piece, mut count) = (Vec::new(), 0);
    loop {
        let len =
            Read::by_ref(lines).take(MAX_LINE + 1).read_until(b'\n', &mut piece).map_err(failed)?;
        if len as u64 > MAX_LINE {
            let message = "a line has more than 8 MiB: this is no export".to_owned();
            return Err(UsageError::Arguments(message).into());
        }
        count += usize::from(len > 0);
        // What is here already goes now, if more would have to be waited for.
        if len == 0 || piece.len() >= PIECE || lines.buffer().is_empty() {
            return Ok((piece, count));
        }
    }
}

fn opened(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file);
    let opened = opened.map_err(|error| {
        UsageError::Arguments(format!("cannot read {}: {error}", file.display()))
    })?;
    Ok(Box::new(opened))
}

/// The value, or what stdin says in place of `-`, byte for byte.
fn value(typed: &str) -> Result<Vec<u8>, Failure> {
    let bytes = if typed == "-" {
        let failed = |source| Failure::System { what: "read the value from stdin", source };
        let mut bytes = Vec::new();
        io::stdin().lock().take(MAX_VALUE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        bytes
    } else {
        typed.as_bytes().to_vec()
    };
    if bytes.len() > MAX_VALUE {
        return Err(UsageError::Arguments("the value is longer than 1 MiB".to_owned()).into());
    }
    Ok(bytes)
}

/// Where something of a space is.
fn path(space: &str, what: &str) -> Result<String, UsageError> {
    let name: SpaceName =
        space.parse().map_err(|error| UsageError::Arguments(format!("{space:?}: {error}")))?;
    Ok(format!("/v1/spaces/{}/{what}", segment(name.as_str())))
}

/// A text as a segment of a path (RFC 3986): all but what never has a meaning there is percent-encoded.
fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment_of_a_path() {
        assert_eq!(path("notes", "keys").unwrap(), "/v1/spaces/notes/keys");
        assert_eq!(path("a b?#%ü", "keys").unwrap(), "/v1/spaces/a%20b%3F%23%25%C3%BC/keys");
        assert_eq!(path("..", "keys").unwrap(), "/v1/spaces/%2E%2E/keys");
        for bad in ["", "a/b", "a\n"] {
            assert!(path(bad, "keys").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_import_goes_in_pieces_of_whole_lines() {
        let line = format!("{}\n", "x".repeat(100 * 1024));
        let text = line.repeat(5) + "last";
        let mut lines = BufReader::with_capacity(text.len(), text.as_bytes());
        let sizes: Vec<_> = std::iter::from_fn(|| {
            let (piece, count) = piece_of(&mut lines).unwrap();
            (count > 0).then_some((piece.len(), count))
        })
        .collect();
        assert_eq!(sizes, [(3 * line.len(), 3), (2 * line.len() + 4, 3)]);
        let endless = vec![b'x'; 9 << 20];
        assert!(piece_of(&mut BufReader::new(&endless[..])).is_err());
    }
}
