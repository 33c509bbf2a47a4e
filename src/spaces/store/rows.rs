//! Rows as values. What makes no sense (another program has been at the file) is skipped or an error, and
//! never believed.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Row, types::Type};
use sha2::{Digest as _, Sha256};

use super::{Entry, Kept, schema};
use crate::{
    clock::Moment,
    identity::PublicKey,
    ids::NodeId,
    spaces::{
        admission::{Amount, unpack_ids},
        hlc::Hlc,
        name::SpaceSpec,
        reconcile::Item,
        record::{Author, Digest, KeyHash, Rank, Record},
    },
};

/// A space, without its sums; nothing if it cannot be one.
pub(super) fn space(row: &Row<'_>) -> rusqlite::Result<Option<Kept>> {
    let (name, writers): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
    let spec = unpack_ids(&writers).and_then(|ids| SpaceSpec::with_writers(&name, ids).ok());
    let Some(spec) = spec else { return Ok(None) };
    let in_step: Option<i64> = row.get(4)?;
    let in_step = in_step.map(|ms| Moment::after(Duration::from_millis(ms.max(0).cast_unsigned())));
    Ok(Some(Kept {
        is_joined: row.get(3)?,
        in_step,
        seq: row.get::<_, i64>(5)?.max(0).cast_unsigned(),
        forgotten: row.get::<_, i64>(6)?.max(0).cast_unsigned(),
        ..Kept::new(row.get(0)?, spec)
    }))
}

/// Records and bytes, in two columns.
pub(super) fn amount(row: &Row<'_>, at: usize) -> rusqlite::Result<Amount> {
    let number = |at| row.get::<_, i64>(at).map(|n| n.max(0).cast_unsigned());
    Ok(Amount { records: number(at)?, bytes: number(at + 1)? })
}

/// The rank of a record, whether it is a deletion, and how long its value is.
pub(super) fn rank(row: &Row<'_>) -> rusqlite::Result<(Rank, bool, u64)> {
    let rank = Rank {
        time: time(row, 0)?,
        writer: NodeId::from_u128(u128::from_be_bytes(row.get(1)?)),
        digest: Digest(row.get(2)?),
    };
    Ok((rank, row.get(3)?, row.get::<_, i64>(4)?.max(0).cast_unsigned()))
}

/// A record, and the number of its change.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<(Record, u64)> {
    let key: String = row.get(0)?;
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
    let record = Record { key: key.into(), value, time: time(row, 3)?, author };
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
    entry(row, row.get::<_, String>(4)?.into(), row.get(5)?)
}

/// A record as it is listed to somebody who has drawn this number.
pub(super) fn item(row: &Row<'_>, drawn: u32) -> rusqlite::Result<Item> {
    let digest: [u8; 32] = row.get(2)?;
    Ok(Item {
        hash: KeyHash(row.get(0)?),
        time: time(row, 1)?,
        tie: tie(&Digest(digest), drawn),
        is_deletion: row.get(3)?,
    })
}

/// What an item has of a digest.
fn tie(digest: &Digest, drawn: u32) -> [u8; 4] {
    let hash: [u8; 32] =
        Sha256::new().chain_update(drawn.to_be_bytes()).chain_update(digest.0).finalize().into();
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 4], &[]));
    *first
}

fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Hlc> {
    Ok(Hlc::from_bits(row.get::<_, i64>(at)?.cast_unsigned()))
}
