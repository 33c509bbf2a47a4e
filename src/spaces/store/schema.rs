//! The tables, and the statements on them.

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
/// changed, and a later change is at the end.
const MIGRATIONS: &[&str] = &["
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
"];

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

pub(super) const SELECT_SPACES: &str =
    "SELECT id, name, writers, joined, in_step, seq, forgotten FROM space ORDER BY id";
pub(super) const INSERT_SPACE: &str =
    "INSERT INTO space (id, name, writers, joined, seq, forgotten) VALUES (?4, ?1, ?2, 1, ?3, ?3)";
pub(super) const SET_JOINED: &str = "UPDATE space SET joined = ?2 WHERE id = ?1";
pub(super) const SET_IN_STEP: &str = "UPDATE space SET in_step = ?2 WHERE id = ?1";
pub(super) const SET_SEQ: &str = "UPDATE space SET seq = ?2 WHERE id = ?1";
pub(super) const SET_FORGOTTEN: &str =
    "UPDATE space SET forgotten = max(forgotten, ?2) WHERE id = ?1";

pub(super) const SELECT_SUMS: &str =
    "SELECT hash, digest, time FROM record INDEXED BY record_by_hash WHERE space = ?1";
pub(super) const SELECT_COUNT: &str =
    "SELECT coalesce(sum(records), 0), coalesce(sum(bytes), 0) FROM usage WHERE space = ?1";
pub(super) const SELECT_USAGE: &str =
    "SELECT records, bytes FROM usage WHERE space = ?1 AND writer = ?2";
pub(super) const PUT_USAGE: &str = "INSERT INTO usage (space, writer, records, bytes) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET records = ?3, bytes = ?4";
pub(super) const DELETE_USAGE: &str = "DELETE FROM usage WHERE space = ?1 AND writer = ?2";

pub(super) const SELECT_RANK: &str = "SELECT time, writer, digest, deleted, length(value) \
    FROM record WHERE space = ?1 AND key = ?2";
pub(super) const PUT_RECORD: &str = "INSERT OR REPLACE INTO record \
    (space, key, hash, time, writer, digest, deleted, id, author, value) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(super) const DELETE_RECORD: &str = "DELETE FROM record WHERE space = ?1 AND key = ?2";

pub(super) const SELECT_VALUE: &str =
    "SELECT value, time, writer, id FROM record WHERE space = ?1 AND key = ?2 AND deleted = 0";
pub(super) const SELECT_BY_HASH: &str = "SELECT key, value, deleted, time, writer, author, id \
    FROM record INDEXED BY record_by_hash WHERE space = ?1 AND hash = ?2";
pub(super) const SELECT_PAGE: &str = "SELECT value, time, writer, id, key, deleted \
    FROM record INDEXED BY record_by_key WHERE space = ?1 AND key >= ?2 AND deleted = 0 \
    ORDER BY key LIMIT ?3";
pub(super) const SELECT_CHANGES: &str = "SELECT value, time, writer, id, key, deleted \
    FROM record WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
pub(super) const SELECT_ITEMS: &str = "SELECT hash, time, digest, deleted \
    FROM record INDEXED BY record_by_hash WHERE space = ?1 AND hash >= ?2 AND hash <= ?3 \
    ORDER BY hash LIMIT ?4";
pub(super) const SELECT_WRITER: &str = "SELECT writer FROM record INDEXED BY record_by_hash \
    WHERE space = ?1 AND hash = ?2";
pub(super) const SELECT_OVER: &str = "SELECT key FROM record INDEXED BY deletion \
    WHERE space = ?1 AND deleted = 1 AND time < ?2 LIMIT ?3";
pub(super) const DELETE_ALL: [&str; 3] = [
    "DELETE FROM record WHERE space = ?1",
    "DELETE FROM usage WHERE space = ?1",
    "DELETE FROM space WHERE id = ?1",
];
