//! How many frames and bytes came and went, by msgtype: counters that everybody may add to.
//!
//! Invariants:
//! * T1: a name that only came from the network is never kept: what is not the core's and nobody has
//!   registered counts as [`OTHER`].
//! * T2: there are no more than [`MAX_NAMES`] names in each direction; those beyond it count as [`OTHER`].

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::wire::frame::CORE_MSGTYPES;

/// The most msgtypes that are counted by name.
pub const MAX_NAMES: usize = 32;

/// What the others are called together.
pub const OTHER: &str = "other";

/// What one msgtype has come to, one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amount {
    /// The msgtype, or [`OTHER`].
    pub msgtype: String,
    /// How many frames.
    pub frames: u64,
    /// Their bytes: lines with their newlines, and attachments.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counter {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, frames: u64, bytes: u64) {
        // Nothing is concluded from one of them about another.
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn amount(&self, msgtype: &str) -> Amount {
        Amount {
            msgtype: msgtype.to_owned(),
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// One way: names are added and never taken away, so they are found without a lock.
#[derive(Debug, Default)]
struct Way {
    rows: [OnceLock<(Box<str>, Counter)>; MAX_NAMES],
    other: Counter,
}

impl Way {
    fn of_core() -> Self {
        let way = Self::default();
        for name in CORE_MSGTYPES {
            way.learn(name);
        }
        way
    }

    /// The counter of a name, which is kept from now on if there is room.
    fn learn(&self, name: &str) -> &Counter {
        for row in &self.rows {
            let (known, counter) = row.get_or_init(|| (name.into(), Counter::default()));
            if **known == *name {
                return counter;
            }
        }
        &self.other
    }

    /// The place of a name, or [`MAX_NAMES`]. The place of the name before is looked at first.
    fn place(&self, name: &[u8], before: usize) -> usize {
        let is_it = |row: &OnceLock<(Box<str>, Counter)>| {
            row.get().is_some_and(|(known, _)| known.as_bytes() == name)
        };
        if self.rows.get(before).is_some_and(is_it) {
            return before;
        }
        let known = self.rows.iter().take_while(|row| row.get().is_some());
        known.into_iter().position(is_it).unwrap_or(MAX_NAMES)
    }

    /// The counter at a place.
    fn at(&self, place: usize) -> &Counter {
        self.rows.get(place).and_then(OnceLock::get).map_or(&self.other, |(_, counter)| counter)
    }

    fn amounts(&self) -> Vec<Amount> {
        let known = self.rows.iter().map_while(OnceLock::get);
        let named = known.map(|(name, counter)| counter.amount(name));
        let all = named.chain([self.other.amount(OTHER)]);
        all.filter(|amount| amount.frames > 0).collect()
    }
}

/// What came and went over all sessions of a node since its start.
#[derive(Debug)]
pub struct Traffic {
    received: Way,
    sent: Way,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { received: Way::of_core(), sent: Way::of_core() }
    }
}

impl Traffic {
    /// A msgtype of the node's own program: its name is kept.
    pub(crate) fn learn(&self, msgtype: &str) {
        self.received.learn(msgtype);
        self.sent.learn(msgtype);
    }

    /// Frames that were put on their way: the first line of them, their number, and all of their bytes.
    pub(crate) fn sent(&self, line: &[u8], frames: u64, bytes: usize) {
        let bytes = bytes as u64;
        let name = msgtype_of(line).unwrap_or_default();
        let place = self.sent.place(name, MAX_NAMES);
        match std::str::from_utf8(name) {
            // What this node says itself, though nobody registered for it.
            Ok(new) if place == MAX_NAMES && !new.is_empty() => self.sent.learn(new),
            _ => self.sent.at(place),
        }
        .add(frames, bytes);
    }

    /// More bytes of an attachment came.
    pub(crate) fn received_more(&self, msgtype: &str, bytes: usize) {
        let place = self.received.place(msgtype.as_bytes(), MAX_NAMES);
        self.received.at(place).add(0, bytes as u64);
    }

    /// What came, by msgtype; those of which nothing came are left out.
    #[must_use]
    pub fn all_received(&self) -> Vec<Amount> {
        self.received.amounts()
    }

    /// What went, likewise: put into outboxes, of which a connection that fails may lose the last.
    #[must_use]
    pub fn all_sent(&self) -> Vec<Amount> {
        self.sent.amounts()
    }
}

/// Counts the lines of one read: those of one msgtype in a row are added at once.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    place: usize,
    frames: u64,
    bytes: u64,
}

impl Reading {
    /// A line came, without its newline, with an attachment of so many bytes.
    pub(crate) fn line(&mut self, traffic: &Traffic, line: &[u8], attachment: usize) {
        let name = msgtype_of(line).unwrap_or_default();
        let place = traffic.received.place(name, self.place);
        if self.place != place {
            self.end(traffic);
            self.place = place;
        }
        self.frames += 1;
        self.bytes += (line.len() + 1 + attachment) as u64;
    }

    /// Adds what was not added yet.
    pub(crate) fn end(&mut self, traffic: &Traffic) {
        if self.frames > 0 {
            traffic.received.at(self.place).add(self.frames, self.bytes);
            (self.frames, self.bytes) = (0, 0);
        }
    }
}

/// The msgtype of a line that begins with it, as those of nearly all programs do. It is not worth reading a
/// line twice to count the others by name.
fn msgtype_of(line: &[u8]) -> Option<&[u8]> {
    let after = |text: &'_ [u8], token: &[u8]| -> Option<usize> {
        let rest = text.trim_ascii_start();
        rest.starts_with(token).then(|| text.len() - rest.len() + token.len())
    };
    let mut rest = line;
    for token in [&b"{"[..], b"\"msgtype\"", b":", b"\""] {
        rest = rest.get(after(rest, token)?..)?;
    }
    rest.get(..memchr::memchr(b'"', rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(msgtype: &str, frames: u64, bytes: u64) -> Amount {
        Amount { msgtype: msgtype.to_owned(), frames, bytes }
    }

    #[test]
    fn lines_are_counted_by_msgtype_and_strangers_words_together() {
        let traffic = Traffic::default();
        traffic.learn("chat");
        let mut reading = Reading::default();
        let ping = br#"{"msgtype":"ping"}"#;
        reading.line(&traffic, ping, 0);
        reading.line(&traffic, ping, 0);
        reading.line(&traffic, br#"{"msgtype":"chat","text":"x"}"#, 100);
        reading.line(&traffic, br#"{"msgtype":"made-up"}"#, 0);
        reading.line(&traffic, br#"{ "msgtype": "pong" }"#, 0);
        reading.line(&traffic, b"not json", 0);
        reading.end(&traffic);
        reading.end(&traffic);
        assert_eq!(
            traffic.all_received(),
            [
                amount("ping", 2, 38),
                amount("pong", 1, 22),
                amount("chat", 1, 130),
                amount(OTHER, 2, 31)
            ]
        );
        assert_eq!(traffic.all_sent(), []);
    }

    #[test]
    fn what_the_node_says_itself_is_learned_as_far_as_there_is_room() {
        let traffic = Traffic::default();
        for n in 0..MAX_NAMES {
            traffic.sent(format!("{{\"msgtype\":\"m{n}\"}}\n").as_bytes(), 1, 10);
        }
        let sent = traffic.all_sent();
        let kept = MAX_NAMES - CORE_MSGTYPES.len();
        assert_eq!(sent.len(), kept + 1);
        assert_eq!(sent.last(), Some(&amount(OTHER, CORE_MSGTYPES.len() as u64, 80)));
    }
}
