//! The index by key hash, by which other nodes find what they lack: a table, and a [`Memtable`] before it.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Kept, Store,
    memtable::{IndexEntry, Memtable},
    rows, schema,
};
use crate::{
    spaces::{
        admission::Amount,
        hlc::Hlc,
        name::SpaceId,
        record::{KeyHash, Record},
        summary::Summary,
    },
    store::{StoreError, database::Synced},
};

/// How many entries there are in memory, of all spaces together, before they are written to the table; of a
/// batch more at most. They take about 130 bytes each.
pub(super) const MAX_UNFLUSHED: usize = 16_384;

/// … and so many while they cannot be written: what makes room in a full file is to be taken all the same.
const MAX_WAITING: usize = 4 * MAX_UNFLUSHED;

/// How many more there are before that is tried again.
const FLUSH_AGAIN: usize = 1024;

impl Store {
    /// Writes the entries that are in memory to the table, if there are many.
    pub(super) fn flush_if_full(&mut self) -> Result<(), StoreError> {
        let unflushed: usize = self.spaces.values().map(|kept| kept.unflushed.len()).sum();
        if unflushed < self.flush_at.min(MAX_WAITING) {
            return Ok(());
        }
        let flushed = self.flush();
        self.flush_at = if flushed.is_ok() { MAX_UNFLUSHED } else { unflushed + FLUSH_AGAIN };
        if unflushed < MAX_WAITING { Ok(()) } else { flushed }
    }

    /// Writes them. That need not survive a power cut: they would be made again.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        let Self { database, spaces, .. } = self;
        database
            .transact(Synced::Normal, |tx| spaces.values().try_for_each(|kept| write(tx, kept)))?;
        for kept in spaces.values_mut() {
            kept.unflushed.clear();
        }
        Ok(())
    }

    /// What the index says of the records whose hashes are in a range: the first of them, by hash.
    pub(super) fn indexed(
        &self,
        kept: &Kept,
        (first, last): (KeyHash, KeyHash),
        limit: usize,
    ) -> Result<Vec<IndexEntry>, StoreError> {
        let table = self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_RANGE)?;
            let rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let found =
                select.query_map(params![kept.row, first.0, last.0, rows], rows::indexed)?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(kept.unflushed.merged((first, last), table, limit))
    }

    /// What it says of the record whose key has this hash.
    pub(super) fn indexed_one(
        &self,
        kept: &Kept,
        hash: KeyHash,
    ) -> Result<Option<IndexEntry>, StoreError> {
        match kept.unflushed.get(&hash) {
            Some(entry) => Ok(Some(*entry)),
            None => Ok(self.indexed(kept, (hash, hash), 1)?.pop()),
        }
    }

    /// The record whose key has this hash, and the number of its change.
    pub(super) fn by_hash(
        &self,
        space: &SpaceId,
        hash: &KeyHash,
    ) -> Result<Option<(Record, u64)>, StoreError> {
        let Some(kept) = self.spaces.get(space) else { return Ok(None) };
        let Some(entry) = self.indexed_one(kept, *hash)? else { return Ok(None) };
        self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_RECORD)?;
            select.query_row([entry.id], rows::record).optional()
        })
    }
}

/// Writes a space's entries to the table: by hash, so that those of a page come together.
fn write(tx: &Connection, kept: &Kept) -> rusqlite::Result<()> {
    if kept.unflushed.len() == 0 {
        return Ok(());
    }
    let mut put = tx.prepare_cached(schema::PUT_INDEX)?;
    for entry in kept.unflushed.entries() {
        let IndexEntry { hash, id, time, digest, is_deletion } = entry;
        let time = time.bits().cast_signed();
        put.execute(params![kept.row, hash.0, id, time, digest.0, is_deletion])?;
    }
    tx.execute(schema::SET_FLUSHED, params![kept.row, kept.seq.cast_signed()])?;
    Ok(())
}

/// The entries of a space's records that are not in the table.
pub(super) fn unflushed(
    connection: &Connection,
    row: i64,
    flushed: u64,
) -> rusqlite::Result<Memtable> {
    let mut memtable = Memtable::default();
    let mut select = connection.prepare_cached(schema::SELECT_UNFLUSHED)?;
    let range = [schema::id_of(row, flushed), schema::before(row + 1)];
    for entry in select.query_map(range, rows::unindexed)? {
        memtable.put(entry?);
    }
    Ok(memtable)
}

/// The sums of a space's records and what they count for. Their times are told.
pub(super) fn sum_up(
    connection: &Connection,
    row: i64,
    unflushed: &Memtable,
    mut seen: impl FnMut(Hlc),
) -> rusqlite::Result<(Summary, Amount)> {
    let total = connection.query_row(schema::SELECT_COUNT, [row], |row| rows::amount(row, 0))?;
    let mut summary = Summary::for_count(u32::try_from(total.records).unwrap_or(u32::MAX));
    let mut add = |entry: &IndexEntry| {
        summary.add(entry.hash, entry.digest);
        seen(entry.time);
    };
    let mut select = connection.prepare_cached(schema::SELECT_SUMS)?;
    let mut found = select.query([row])?;
    while let Some(row) = found.next()? {
        let entry = rows::indexed(row)?;
        if unflushed.get(&entry.hash).is_none() {
            add(&entry);
        }
    }
    unflushed.entries().for_each(add);
    Ok((summary, total))
}
