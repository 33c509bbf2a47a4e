//! What a node shares with others, for people. What others have written is shown with its control characters
//! escaped.

use peerage::control::model::{
    ImportReport, KeyEntry, SpaceEntry, SpaceEvent, SpaceList, ValueEntry,
};

use super::{
    node::{age, clock, headed, moment, shorten},
    paint::Paint,
    table::Table,
};
use crate::cli::error::one_line;

/// How much of a value is shown in a line, in characters.
const SHOWN: usize = 200;

/// The spaces, as a table.
pub(crate) fn spaces(list: &SpaceList, paint: Paint) -> String {
    if list.spaces.is_empty() {
        return "no spaces; `peerage data join NAME` joins one\n".to_owned();
    }
    let mut table =
        Table::new(&["space", "writers", "in step"], &["peers", "records", "bytes", "changes"]);
    for space in &list.spaces {
        table.row([
            one_line(&space.name),
            writers(space),
            in_step(space),
            space.peers.to_string(),
            space.records.to_string(),
            space.bytes.to_string(),
            space.seq.to_string(),
        ]);
    }
    headed(&table, paint)
}

fn writers(space: &SpaceEntry) -> String {
    match &space.writers[..] {
        [] => "everybody".to_owned(),
        [one] => shorten(one),
        [first, rest @ ..] => format!("{} and {} more", shorten(first), rest.len()),
    }
}

fn in_step(space: &SpaceEntry) -> String {
    match space.in_step_ms {
        _ if !space.joined => "left".to_owned(),
        Some(ms) => format!("{} ago", age(ms)),
        None => "never".to_owned(),
    }
}

/// A space that was joined.
pub(crate) fn joined(space: &SpaceEntry, _: Paint) -> String {
    let who = if space.writers.is_empty() {
        "everybody may write".to_owned()
    } else {
        let ids: Vec<String> = space.writers.iter().map(|id| shorten(id)).collect();
        format!("{} may write", ids.join(", "))
    };
    format!("joined {} ({who}; {} records here)\n", one_line(&space.name), space.records)
}

/// A key, alone or with what is known of its value.
pub(crate) fn key(entry: &KeyEntry, is_long: bool) -> String {
    let key = one_line(&entry.key);
    if !is_long {
        return format!("{key}\n");
    }
    let writer = by(&entry.writer, entry.proven);
    format!("{:>8}  {}  {writer}  {key}\n", entry.bytes, moment(entry.time_ms))
}

fn by(writer: &str, is_proven: bool) -> String {
    let writer = shorten(writer);
    if is_proven { writer } else { format!("{writer} (unproven)") }
}

/// That there are more keys.
pub(crate) fn more(last: &str) -> String {
    format!("there are more: --after {}\n", quoted_for_shell(last))
}

/// As it can be typed.
fn quoted_for_shell(text: &str) -> String {
    format!("'{}'", one_line(text).replace('\'', r"'\''"))
}

/// Whether a key was deleted.
pub(crate) fn deleted(key: &str, is_changed: bool) -> String {
    let key = one_line(key);
    if is_changed { format!("deleted {key}\n") } else { format!("{key} was not there\n") }
}

/// What came of an import.
pub(crate) fn imported(report: &ImportReport, _: Paint) -> String {
    format!("{} written, {} were there already\n", report.written, report.unchanged)
}

/// A change, on one line.
pub(crate) fn change(event: &SpaceEvent, paint: Paint) -> String {
    match event {
        SpaceEvent::Set(entry) => {
            let (time, key) = (clock(entry.time_ms), paint.bold(&one_line(&entry.key)));
            let writer = by(&entry.writer, entry.proven);
            format!("{time}  {writer}  {} {key} = {}\n", paint.green("set"), short(entry))
        }
        SpaceEvent::Delete(entry) => {
            let (time, key) = (clock(entry.time_ms), paint.bold(&one_line(&entry.key)));
            let writer = by(&entry.writer, entry.proven);
            format!("{time}  {writer}  {} {key}\n", paint.yellow("delete"))
        }
        SpaceEvent::Missed => {
            format!("{}  some deletions are forgotten\n", paint.red("missed"))
        }
    }
}

fn short(entry: &ValueEntry) -> String {
    match (&entry.value, &entry.base64) {
        (Some(text), _) => {
            let cut: String = text.chars().take(SHOWN).collect();
            let more = if cut.len() < text.len() { "..." } else { "" };
            format!("{}{more}", one_line(&cut))
        }
        (None, base64) => {
            let len =
                base64.as_ref().map_or(0, |base64| base64.trim_end_matches('=').len() * 3 / 4);
            format!("({len} bytes)")
        }
    }
}

/// A value, so that it cannot do anything to a terminal: with control characters escaped but for newlines and
/// tabs, and a newline at the end.
pub(crate) fn for_terminal(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let lines = text.split_inclusive(['\n', '\t']);
    let escaped = |piece: &str| {
        let end = if piece.ends_with(['\n', '\t']) { piece.len() - 1 } else { piece.len() };
        let (piece, end) = piece.split_at(end);
        one_line(piece) + end
    };
    let mut text: String = lines.map(escaped).collect();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(for_terminal(b"a\tb\nc\x1b[2J"), "a\tb\nc\\u{1b}[2J\n");
        assert_eq!(for_terminal(b"a\n"), "a\n");
        assert_eq!(for_terminal(b"\xff"), "\u{fffd}\n");
        assert_eq!(for_terminal(b""), "\n");
        let entry = ValueEntry {
            key: "k\n".to_owned(),
            value: Some("\x1b".repeat(300)),
            base64: None,
            time_ms: 0,
            writer: "7a5f0c1e-0000".to_owned(),
            proven: false,
            seq: 1,
        };
        let line = change(&SpaceEvent::Set(entry.clone()), Paint::plain());
        assert!(line.starts_with(r"00:00:00  7a5f0c1e (unproven)  set k\n = \u{1b}"), "{line}");
        assert!(line.ends_with("...\n") && !line.contains('\x1b'), "{line}");
        let bytes = ValueEntry { value: None, base64: Some("/wA=".to_owned()), ..entry };
        assert!(change(&SpaceEvent::Set(bytes), Paint::plain()).ends_with("= (2 bytes)\n"));
        assert_eq!(more("it's"), "there are more: --after 'it'\\''s'\n");
    }
}
