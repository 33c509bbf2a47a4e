//! Rows as values. What makes no sense (another program has been at the file) is skipped or an error, and
//! never believed.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Row, types::Type};

use super::{Entry, Kept, commit::There, memtable::IndexEntry, schema};
use crate::{
    clock::Moment,
    identity::PublicKey,
    ids::NodeId,
    spaces::{
        admission::{Amount, unpack_ids},
        hlc::Hlc,
        name::SpaceSpec,
        record::{Author, Digest, KeyHash, Rank, Record},
    },
};

/// A space without what is known from its records, and up to which change the table of the index goes;
/// nothing if it cannot be one.
pub(super) fn space(row: &Row<'_>) -> rusqlite::Result<Option<(Kept, u64)>> {
    let id: i64 = row.get(0)?;
    let (name, writers): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
    let spec = unpack_ids(&writers).and_then(|ids| SpaceSpec::with_writers(&name, ids).ok());
    let Some(spec) = spec.filter(|_| schema::is_space(id)) else { return Ok(None) };
    let in_step: Option<i64> = row.get(4)?;
    let in_step = in_step.map(|ms| Moment::after(Duration::from_millis(ms.max(0).cast_unsigned())));
    let numbers: [i64; 2] = [row.get(5)?, row.get(6)?];
    if !numbers.iter().copied().all(schema::is_seq) {
        return Ok(None);
    }
    let [forgotten, flushed] = numbers.map(i64::cast_unsigned);
    let kept = Kept { is_joined: row.get(3)?, in_step, forgotten, ..Kept::new(id, spec) };
    Ok(Some((kept, flushed)))
}

/// Records and bytes, in two columns.
pub(super) fn amount(row: &Row<'_>, at: usize) -> rusqlite::Result<Amount> {
    let number = |at| row.get::<_, i64>(at).map(|n| n.max(0).cast_unsigned());
    Ok(Amount { records: number(at)?, bytes: number(at + 1)? })
}

/// A space's number, and a key of it.
pub(super) fn placed(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    let key = schema::key_of(row.get_ref(1)?.as_str()?).to_owned();
    Ok((schema::space_of(row.get(0)?), key))
}

/// What there is of a key that has this length.
pub(super) fn there(row: &Row<'_>, key: usize) -> rusqlite::Result<There> {
    let rank = Rank {
        time: time(row, 0)?,
        writer: NodeId::from_u128(u128::from_be_bytes(row.get(1)?)),
        digest: Digest(row.get(2)?),
    };
    let bytes = key as u64 + row.get::<_, i64>(4)?.max(0).cast_unsigned();
    Ok(There { id: row.get(5)?, rank, bytes, is_deletion: row.get(3)? })
}

/// What the table of the index says of a record.
pub(super) fn indexed(row: &Row<'_>) -> rusqlite::Result<IndexEntry> {
    entry_of(KeyHash(row.get(0)?), row)
}

/// What it would say, of a record that it has not.
pub(super) fn unindexed(row: &Row<'_>) -> rusqlite::Result<IndexEntry> {
    entry_of(KeyHash::of(schema::key_of(row.get_ref(0)?.as_str()?)), row)
}

fn entry_of(hash: KeyHash, row: &Row<'_>) -> rusqlite::Result<IndexEntry> {
    let (time, digest) = (time(row, 2)?, Digest(row.get(3)?));
    Ok(IndexEntry { hash, id: row.get(1)?, time, digest, is_deletion: row.get(4)? })
}

/// A record, and the number of its change.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<(Record, u64)> {
    let key = schema::key_of(row.get_ref(0)?.as_str()?).into();
    let is_deletion: bool = row.get(2)?;
    let value = if is_deletion { None } else { Some(Bytes::from(row.get::<_, Vec<u8>>(1)?)) };
    let writer: [u8; 16] = row.get(4)?;
    let author = row.get_ref(5)?.as_blob()?;
    let author = if author.is_empty() {
        Author::Unproven(NodeId::from_u128(u128::from_be_bytes(writer)))
    } else {
        let parts = author.split_first_chunk::<32>();
        let parts = parts.and_then(|(key, rest)| Some((*key, <[u8; 64]>::try_from(rest).ok()?)));
        let (key, signature) = parts.ok_or_else(|| {
            rusqlite::Error::InvalidColumnType(5, "author".to_owned(), Type::Blob)
        })?;
        Author::Signed { key: PublicKey::from_bytes(key), signature }
    };
    let record = Record { key, value, time: time(row, 3)?, author };
    Ok((record, schema::seq_of(row.get(6)?)))
}

/// What a key has, with the key and whether that is a deletion.
pub(super) fn entry(row: &Row<'_>, key: Box<str>, is_deletion: bool) -> rusqlite::Result<Entry> {
    let writer = NodeId::from_u128(u128::from_be_bytes(row.get(2)?));
    // Nobody wrote it without a proof whose id follows from a key.
    let proven = writer.is_self_certifying();
    let value = if is_deletion { None } else { Some(Bytes::from(row.get::<_, Vec<u8>>(0)?)) };
    let seq = schema::seq_of(row.get(3)?);
    Ok(Entry { key, value, time: time(row, 1)?, writer, proven, seq })
}

/// The same from a row that has these two.
pub(super) fn keyed_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    entry(row, schema::key_of(row.get_ref(4)?.as_str()?).into(), row.get(5)?)
}

fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Hlc> {
    Ok(Hlc::from_bits(row.get::<_, i64>(at)?.cast_unsigned()))
}
