//! Writing: many records in one transaction.

use std::{collections::BTreeMap, path::PathBuf};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{Entry, Kept, Owner, Store, forgotten, index, memtable::IndexEntry, rows, schema};
use crate::{
    clock::Moment,
    ids::NodeId,
    spaces::{
        admission::{Amount, Candidate, Present, Refusal, Verdict},
        name::SpaceId,
        reconcile::Item,
        record::{Author, Digest, KeyHash, Rank, Record},
        scribe::{Prepared, Scribe, Write},
    },
    store::{StoreError, database::Synced},
};

/// About how many bytes are forgotten, and copied, at a time.
const FORGOTTEN_TOGETHER: u64 = 4 << 20;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken, and is kept.
    Taken(Taken),
    /// What there was, is the same or later; or there was nothing to delete.
    Old,
    /// It was not taken.
    Refused(Refusal),
}

/// A record that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The record.
    pub record: Record,
    /// The number of its change.
    pub seq: u64,
}

/// What a transaction does to what is known in memory, once it is committed.
#[derive(Debug, Default)]
struct Delta {
    seq: u64,
    total: Amount,
    gone: Vec<(KeyHash, Digest)>,
    come: Vec<IndexEntry>,
    usage: BTreeMap<NodeId, Amount>,
}

impl Store {
    /// Makes something ready and writes it, all in one transaction: [`write`](Self::write) with what
    /// [`Scribe::prepare`] makes.
    ///
    /// # Errors
    /// Nothing was written; see there for what to do.
    pub fn commit(
        &mut self,
        writes: Vec<(SpaceId, Write)>,
        now: Moment,
    ) -> Result<Vec<Outcome>, StoreError> {
        let prepare = |(space, write): (SpaceId, Write)| {
            let kept = self.spaces.get(&space)?;
            Some((space, self.scribe.prepare(&kept.spec, write, now)))
        };
        let all = writes.into_iter().map(prepare).collect::<Vec<_>>();
        let mut written = self.write(all.iter().flatten().cloned().collect(), now)?.into_iter();
        let outcome = |prepared: Option<_>| match prepared {
            Some(_) => written.next().unwrap_or(Outcome::Old),
            None => Outcome::Old,
        };
        Ok(all.into_iter().map(outcome).collect())
    }

    /// Writes all of it in one transaction, in this order; the records of spaces that are not there (any
    /// more) are [`Old`](Outcome::Old). When it returns, what was taken survives a power cut.
    ///
    /// # Errors
    /// Nothing was written; see there for what to do.
    pub fn write(
        &mut self,
        writes: Vec<(SpaceId, Prepared)>,
        now: Moment,
    ) -> Result<Vec<Outcome>, StoreError> {
        self.flush_if_full()?;
        let Self { owner, database, scribe, spaces, .. } = self;
        let mut deltas: BTreeMap<SpaceId, Delta> = BTreeMap::new();
        let (outcomes, deltas) = database.transact(Synced::Full, |tx| {
            let mut outcomes = Vec::with_capacity(writes.len());
            let mut statements = Statements::new(tx)?;
            for (space, prepared) in writes {
                let Some(kept) = spaces.get(&space) else {
                    outcomes.push(Outcome::Old);
                    continue;
                };
                let delta = deltas.entry(space).or_insert_with(|| Delta::of(kept));
                let statements = &mut statements;
                let mut work = Work { tx, statements, kept, delta, owner, scribe, now };
                outcomes.push(work.write(prepared)?);
            }
            for (space, delta) in &deltas {
                if let Some(kept) = spaces.get(space) {
                    delta.save(tx, kept.row)?;
                }
            }
            Ok((outcomes, deltas))
        })?;
        for (space, delta) in deltas {
            self.apply(&space, delta);
        }
        Ok(outcomes)
    }

    /// Forgets these records, as if they had never been there, unless others have taken their places since
    /// they were listed. Their ties are by this number. How many were forgotten. Those of a file are in a
    /// [copy](Self::forgotten_place) beside it from then on.
    ///
    /// # Errors
    /// What is not forgotten yet stays.
    pub fn forget(
        &mut self,
        space: &SpaceId,
        items: &[Item],
        drawn: u32,
    ) -> Result<usize, StoreError> {
        let (mut n, mut entries, mut bytes) = (0, Vec::new(), 0);
        for (at, item) in items.iter().enumerate() {
            if self.item(space, item.hash, drawn)? == Some(*item)
                && let Some((record, seq)) = self.by_hash(space, &item.hash)?
            {
                bytes += record.size();
                entries.push(Entry::from((record, seq)));
            }
            if bytes >= FORGOTTEN_TOGETHER || at + 1 == items.len() {
                n += self.forget_entries(space, &std::mem::take(&mut entries))?;
                bytes = 0;
            }
        }
        Ok(n)
    }

    fn forget_entries(&mut self, space: &SpaceId, entries: &[Entry]) -> Result<usize, StoreError> {
        if let Some(place) = self.forgotten_place().filter(|_| !entries.is_empty())
            && let Some(kept) = self.spaces.get(space)
        {
            forgotten::append(&place, kept.spec.name(), entries)
                .map_err(|source| StoreError::NoFile { path: place, source })?;
        }
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.to_string()).collect();
        self.forget_keys(space, &keys)
    }

    /// Where copies are of what was forgotten since this node was away for longer than deletions are
    /// kept; nowhere for a store in memory.
    #[must_use]
    pub fn forgotten_place(&self) -> Option<PathBuf> {
        let path = self.database.path();
        path.is_absolute().then(|| forgotten::place(path))
    }

    pub(super) fn forget_keys(
        &mut self,
        space: &SpaceId,
        keys: &[String],
    ) -> Result<usize, StoreError> {
        let Some(kept) = self.spaces.get(space).filter(|_| !keys.is_empty()) else { return Ok(0) };
        let mut delta = Delta::of(kept);
        let (n, delta) = self.database.transact(Synced::Normal, |tx| {
            let mut n = 0;
            let mut statements = Statements::new(tx)?;
            for key in keys {
                if let Some(there) = statements.find(&schema::place_of(kept.row, key))? {
                    let hash = KeyHash::of(key);
                    delta.leave(tx, kept.row, hash, there)?;
                    tx.prepare_cached(schema::DELETE_RECORD)?.execute([there.id])?;
                    tx.prepare_cached(schema::DELETE_INDEX)?.execute(params![kept.row, hash.0])?;
                    n += 1;
                }
            }
            delta.save(tx, kept.row)?;
            // Whoever watches from before this may miss a change, and is told so.
            tx.execute(schema::SET_FORGOTTEN, params![kept.row, kept.seq.cast_signed()])?;
            Ok((n, delta))
        })?;
        let seq = kept.seq;
        self.apply(space, delta);
        if let Some(kept) = self.spaces.get_mut(space) {
            kept.forgotten = seq;
        }
        Ok(n)
    }

    fn apply(&mut self, space: &SpaceId, delta: Delta) {
        let Some(kept) = self.spaces.get_mut(space) else { return };
        kept.seq = delta.seq;
        kept.total = delta.total;
        for (hash, digest) in delta.gone {
            kept.summary.remove(hash, digest);
            kept.unflushed.remove(&hash);
        }
        for entry in delta.come {
            kept.summary.add(entry.hash, entry.digest);
            kept.unflushed.put(entry);
        }
        if kept.summary.is_outgrown() {
            // If it fails, the coarser sums are as true, and it is tried again.
            let connection = self.database.connection();
            if let Ok((summary, _)) = index::sum_up(connection, kept.row, &kept.unflushed, drop) {
                kept.summary = summary;
            }
        }
    }
}

/// The statements that each record of a batch needs.
struct Statements<'tx> {
    find: CachedStatement<'tx>,
    insert: CachedStatement<'tx>,
}

impl<'tx> Statements<'tx> {
    fn new(tx: &'tx Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find: tx.prepare_cached(schema::SELECT_RANK)?,
            insert: tx.prepare_cached(schema::INSERT_RECORD)?,
        })
    }

    /// What there is at a place.
    fn find(&mut self, place: &str) -> rusqlite::Result<Option<There>> {
        self.find.query_row([place], |row| rows::there(row, schema::key_of(place).len())).optional()
    }
}

/// What there is of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct There {
    /// The record's id.
    pub(super) id: i64,
    pub(super) rank: Rank,
    /// What it counts for.
    pub(super) bytes: u64,
    pub(super) is_deletion: bool,
}

/// One transaction's work in one space.
struct Work<'a, 'tx> {
    tx: &'tx Connection,
    statements: &'a mut Statements<'tx>,
    kept: &'a Kept,
    delta: &'a mut Delta,
    owner: &'a Owner,
    scribe: &'a Scribe,
    now: Moment,
}

impl Work<'_, '_> {
    fn write(&mut self, Prepared { record, is_own }: Prepared) -> rusqlite::Result<Outcome> {
        let (mut record, mut rank) = match record {
            Ok(ranked) => ranked,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let place = schema::place_of(self.kept.row, &record.key);
        let bytes = record.size();
        let mut it = Candidate { rank, is_deletion: record.value.is_none(), bytes, is_own };
        // Most keys are new. That one is shows when it is inserted, which spares looking for it before.
        if !it.is_deletion
            && self.judge(it, None)? == Verdict::Take
            && self.put(Place::Free, &place, &record, rank)?
        {
            return self.taken(record, rank, None);
        }
        let there = self.statements.find(&place)?;
        if is_own {
            if it.is_deletion && there.is_none_or(|there| there.is_deletion) {
                return Ok(Outcome::Old);
            }
            if let Some(there) = there.filter(|there| there.rank.time >= record.time) {
                // What is there came after this one got its time.
                record = self.scribe.again(&self.kept.spec, &record, there.rank.time);
                rank = record.rank(&self.kept.spec.id());
                it.rank = rank;
            }
        }
        match self.judge(it, there)? {
            Verdict::Old => Ok(Outcome::Old),
            Verdict::Refuse(refusal) => Ok(Outcome::Refused(refusal)),
            Verdict::Take => {
                let at = if there.is_some() { Place::Taken } else { Place::Free };
                if !self.put(at, &place, &record, rank)? {
                    // Another record has this one's id: another program has been at the file.
                    return Err(rusqlite::Error::StatementChangedRows(0));
                }
                self.taken(record, rank, there)
            }
        }
    }

    fn judge(&mut self, it: Candidate, there: Option<There>) -> rusqlite::Result<Verdict> {
        let writer = self.delta.usage(self.tx, self.kept.row, it.rank.writer)?;
        let record = there.map(|there| (there.rank, there.bytes));
        let present = Present { record, space: self.delta.total, writer };
        Ok(self.owner.rules.judge(&self.kept.spec, it, &present, self.now))
    }

    /// Writes a record as the next change. Whether there was room for a new one at its place.
    fn put(
        &mut self,
        at: Place,
        place: &str,
        record: &Record,
        rank: Rank,
    ) -> rusqlite::Result<bool> {
        let mut author = [0; 96];
        let author = match &record.author {
            Author::Signed { key, signature } => {
                let (first, rest) = author.split_at_mut(32);
                first.copy_from_slice(key.as_bytes());
                rest.copy_from_slice(signature);
                &author[..]
            }
            Author::Unproven(_) => &[],
        };
        let row = params![
            schema::id_of(self.kept.row, self.delta.seq + 1),
            place,
            rank.time.bits().cast_signed(),
            rank.writer.as_u128().to_be_bytes(),
            rank.digest.0,
            record.value.is_none(),
            author,
            record.value.as_deref().unwrap_or_default(),
        ];
        let written = match at {
            Place::Free => self.statements.insert.execute(row)?,
            Place::Taken => self.tx.prepare_cached(schema::REPLACE_RECORD)?.execute(row)?,
        };
        Ok(written > 0)
    }

    /// A record was written.
    fn taken(
        &mut self,
        record: Record,
        rank: Rank,
        there: Option<There>,
    ) -> rusqlite::Result<Outcome> {
        if !record.time.is_ahead(self.now) {
            self.scribe.seen(&record);
        }
        let (row, hash) = (self.kept.row, KeyHash::of(&record.key));
        if let Some(there) = there {
            self.delta.leave(self.tx, row, hash, there)?;
        }
        self.delta.enter(self.tx, row, hash, &record, rank)?;
        Ok(Outcome::Taken(Taken { record, seq: self.delta.seq }))
    }
}

/// What is at the place where a record is written.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Nothing, it seems.
    Free,
    /// A record, which gives way.
    Taken,
}

impl Delta {
    fn of(kept: &Kept) -> Self {
        Self { seq: kept.seq, total: kept.total, ..Self::default() }
    }

    /// What a writer has in the space by now.
    fn usage(&mut self, tx: &Connection, row: i64, writer: NodeId) -> rusqlite::Result<Amount> {
        if let Some(amount) = self.usage.get(&writer) {
            return Ok(*amount);
        }
        let mut select = tx.prepare_cached(schema::SELECT_USAGE)?;
        let id = writer.as_u128().to_be_bytes();
        let found = select.query_row(params![row, id], |row| rows::amount(row, 0)).optional()?;
        let amount = found.unwrap_or_default();
        self.usage.insert(writer, amount);
        Ok(amount)
    }

    fn leave(
        &mut self,
        tx: &Connection,
        row: i64,
        hash: KeyHash,
        there: There,
    ) -> rusqlite::Result<()> {
        let gone = Amount::one(there.bytes);
        let usage = self.usage(tx, row, there.rank.writer)?.minus(gone);
        self.usage.insert(there.rank.writer, usage);
        self.total = self.total.minus(gone);
        self.gone.push((hash, there.rank.digest));
        Ok(())
    }

    fn enter(
        &mut self,
        tx: &Connection,
        row: i64,
        hash: KeyHash,
        record: &Record,
        rank: Rank,
    ) -> rusqlite::Result<()> {
        let come = Amount::one(record.size());
        let usage = self.usage(tx, row, rank.writer)?.plus(come);
        self.usage.insert(rank.writer, usage);
        self.total = self.total.plus(come);
        self.seq += 1;
        let (id, Rank { time, digest, .. }) = (schema::id_of(row, self.seq), rank);
        let is_deletion = record.value.is_none();
        self.come.push(IndexEntry { hash, id, time, digest, is_deletion });
        Ok(())
    }

    fn save(&self, tx: &Connection, row: i64) -> rusqlite::Result<()> {
        for (writer, amount) in &self.usage {
            let writer = writer.as_u128().to_be_bytes();
            let Amount { records, bytes } = *amount;
            if records == 0 {
                tx.prepare_cached(schema::DELETE_USAGE)?.execute(params![row, writer])?;
            } else {
                let numbers = (records.cast_signed(), bytes.cast_signed());
                let mut put = tx.prepare_cached(schema::PUT_USAGE)?;
                put.execute(params![row, writer, numbers.0, numbers.1])?;
            }
        }
        Ok(())
    }
}
