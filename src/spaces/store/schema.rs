//! The tables, and the statements on them.

use super::MAX_SPACES;
use crate::store::database::Layout;

/// The file of the spaces. Its application id reads "pees": peerage's spaces.
pub(super) const fn layout(max_bytes: u64) -> Layout {
    Layout {
        application_id: 0x7065_6573,
        migrations: MIGRATIONS,
        max_bytes,
        check_bytes: 256 << 20,
    }
}

/// Times of records are their 64 bits; those that would be negative here are too far ahead to be taken.
/// Moments are milliseconds since the Unix epoch. `author` is key and signature, or nothing. A record's `id`
/// is its space's, and the number of its change ([`id_of`]): so the records lie in the order in which they
/// changed, and a later change is at the end. Its `place` is its space and its key in one text ([`place_of`]),
/// since `SQLite` compares a single text faster than two columns.
///
/// `by_hash` is the index by key hash, of changes up to `flushed`; later ones are in memory
/// ([`Memtable`](super::memtable::Memtable)), and go before what it says of the same hash.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE space (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        writers BLOB NOT NULL,
        joined INTEGER NOT NULL,
        in_step INTEGER,
        seq INTEGER NOT NULL,
        forgotten INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE record (
        id INTEGER PRIMARY KEY,
        space INTEGER NOT NULL,
        key TEXT NOT NULL,
        hash BLOB NOT NULL,
        time INTEGER NOT NULL,
        writer BLOB NOT NULL,
        digest BLOB NOT NULL,
        deleted INTEGER NOT NULL,
        author BLOB NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX record_by_key ON record (space, key);
    CREATE INDEX record_by_hash ON record (space, hash, time, digest, deleted);
    CREATE INDEX deletion ON record (space, time) WHERE deleted = 1;
    CREATE TABLE usage (
        space INTEGER NOT NULL,
        writer BLOB NOT NULL,
        records INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (space, writer)
    ) STRICT, WITHOUT ROWID;
",
    // The index by key hash is a table of its own, and space and key are one text.
    "
    ALTER TABLE record RENAME TO record_1;
    DROP INDEX record_by_key;
    DROP INDEX record_by_hash;
    DROP INDEX deletion;
    CREATE TABLE record (
        id INTEGER PRIMARY KEY,
        place TEXT NOT NULL,
        time INTEGER NOT NULL,
        writer BLOB NOT NULL,
        digest BLOB NOT NULL,
        deleted INTEGER NOT NULL,
        author BLOB NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    INSERT INTO record
        SELECT id, char(32 + space) || key, time, writer, digest, deleted, author, value
        FROM record_1 ORDER BY id;
    CREATE UNIQUE INDEX record_by_place ON record (place);
    CREATE INDEX deletion ON record (time) WHERE deleted = 1;
    CREATE TABLE by_hash (
        space INTEGER NOT NULL,
        hash BLOB NOT NULL,
        id INTEGER NOT NULL,
        time INTEGER NOT NULL,
        digest BLOB NOT NULL,
        deleted INTEGER NOT NULL,
        PRIMARY KEY (space, hash)
    ) STRICT, WITHOUT ROWID;
    INSERT OR REPLACE INTO by_hash
        SELECT space, hash, id, time, digest, deleted FROM record_1 ORDER BY space, hash;
    DROP TABLE record_1;
    ALTER TABLE space ADD COLUMN flushed INTEGER NOT NULL DEFAULT 0;
    UPDATE space SET flushed = seq;
    ALTER TABLE space DROP COLUMN seq;
",
];

/// The bits of a record's id that are the number of its change: milliseconds since the Unix epoch fit for nine
/// thousand years.
const SEQ_BITS: u32 = 48;

/// The id of the record that a change of a space has made.
pub(super) const fn id_of(space: i64, seq: u64) -> i64 {
    (space << SEQ_BITS) | (seq & ((1 << SEQ_BITS) - 1)).cast_signed()
}

/// The number of the change that has made a record.
pub(super) const fn seq_of(id: i64) -> u64 {
    id.cast_unsigned() & ((1 << SEQ_BITS) - 1)
}

/// The space of a record.
pub(super) const fn space_of(id: i64) -> i64 {
    id >> SEQ_BITS
}

/// Whether this can be the number of a change.
pub(super) const fn is_seq(n: i64) -> bool {
    0 <= n && n < 1 << SEQ_BITS
}

/// Whether this can be the number of a space.
pub(super) fn is_space(n: i64) -> bool {
    (1..=MAX_SPACES as i64).contains(&n)
}

/// Before all records of a space; those of the next one are behind it.
pub(super) const fn before(space: i64) -> i64 {
    id_of(space, 0)
}

/// What stands before the keys of a space: one printable character for each of the spaces that there may be.
fn mark(space: i64) -> char {
    // From "!" on.
    u8::try_from(space).map_or(char::MAX, |n| char::from(b' '.saturating_add(n)))
}

/// The place of a space's key among all records.
pub(super) fn place_of(space: i64, key: &str) -> String {
    let mut place = String::with_capacity(1 + key.len());
    place.push(mark(space));
    place.push_str(key);
    place
}

/// Behind all places of a space.
pub(super) fn behind(space: i64) -> String {
    place_of(space + 1, "")
}

/// The key at a place.
pub(super) fn key_of(place: &str) -> &str {
    let mut rest = place.chars();
    rest.next();
    rest.as_str()
}

pub(super) const SELECT_SPACES: &str =
    "SELECT id, name, writers, joined, in_step, forgotten, flushed FROM space ORDER BY id";
pub(super) const INSERT_SPACE: &str = "INSERT INTO space \
    (id, name, writers, joined, forgotten, flushed) VALUES (?4, ?1, ?2, 1, ?3, ?3)";
pub(super) const SET_JOINED: &str = "UPDATE space SET joined = ?2 WHERE id = ?1";
pub(super) const SET_IN_STEP: &str = "UPDATE space SET in_step = ?2 WHERE id = ?1";
pub(super) const SET_FLUSHED: &str = "UPDATE space SET flushed = ?2 WHERE id = ?1";
pub(super) const SET_FORGOTTEN: &str =
    "UPDATE space SET forgotten = max(forgotten, ?2) WHERE id = ?1";
pub(super) const SELECT_LAST: &str = "SELECT max(id) FROM record WHERE id > ?1 AND id < ?2";

pub(super) const SELECT_COUNT: &str =
    "SELECT coalesce(sum(records), 0), coalesce(sum(bytes), 0) FROM usage WHERE space = ?1";
pub(super) const SELECT_USAGE: &str =
    "SELECT records, bytes FROM usage WHERE space = ?1 AND writer = ?2";
pub(super) const PUT_USAGE: &str = "INSERT INTO usage (space, writer, records, bytes) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET records = ?3, bytes = ?4";
pub(super) const DELETE_USAGE: &str = "DELETE FROM usage WHERE space = ?1 AND writer = ?2";

pub(super) const SELECT_RANK: &str =
    "SELECT time, writer, digest, deleted, length(value), id FROM record WHERE place = ?1";
pub(super) const INSERT_RECORD: &str = "INSERT OR IGNORE INTO record \
    (id, place, time, writer, digest, deleted, author, value) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
pub(super) const REPLACE_RECORD: &str = "INSERT OR REPLACE INTO record \
    (id, place, time, writer, digest, deleted, author, value) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
pub(super) const DELETE_RECORD: &str = "DELETE FROM record WHERE id = ?1";

pub(super) const SELECT_VALUE: &str =
    "SELECT value, time, writer, id FROM record WHERE place = ?1 AND deleted = 0";
pub(super) const SELECT_RECORD: &str =
    "SELECT place, value, deleted, time, writer, author, id FROM record WHERE id = ?1";
pub(super) const SELECT_WRITER: &str = "SELECT writer FROM record WHERE id = ?1";
pub(super) const SELECT_PAGE: &str = "SELECT value, time, writer, id, place, deleted \
    FROM record INDEXED BY record_by_place WHERE place >= ?1 AND place < ?2 AND deleted = 0 \
    ORDER BY place LIMIT ?3";
pub(super) const SELECT_CHANGES: &str = "SELECT value, time, writer, id, place, deleted \
    FROM record WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
pub(super) const SELECT_OVER: &str = "SELECT id, place FROM record INDEXED BY deletion \
    WHERE deleted = 1 AND time < ?1 LIMIT ?2";

pub(super) const SELECT_SUMS: &str =
    "SELECT hash, id, time, digest, deleted FROM by_hash WHERE space = ?1";
pub(super) const SELECT_RANGE: &str = "SELECT hash, id, time, digest, deleted FROM by_hash \
    WHERE space = ?1 AND hash >= ?2 AND hash <= ?3 ORDER BY hash LIMIT ?4";
pub(super) const SELECT_UNFLUSHED: &str =
    "SELECT place, id, time, digest, deleted FROM record WHERE id > ?1 AND id < ?2";
pub(super) const PUT_INDEX: &str = "INSERT OR REPLACE INTO by_hash \
    (space, hash, id, time, digest, deleted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(super) const DELETE_INDEX: &str = "DELETE FROM by_hash WHERE space = ?1 AND hash = ?2";

pub(super) const DELETE_RECORDS: &str = "DELETE FROM record WHERE id > ?1 AND id < ?2";
pub(super) const DELETE_THE_REST: [&str; 3] = [
    "DELETE FROM by_hash WHERE space = ?1",
    "DELETE FROM usage WHERE space = ?1",
    "DELETE FROM space WHERE id = ?1",
];
