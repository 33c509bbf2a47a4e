//! Writing: many records in one transaction.

use std::{collections::BTreeMap, path::PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Entry, Kept, Owner, Store, forgotten, rows, schema, sum_up};
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
    come: Vec<(KeyHash, Digest)>,
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
        let Self { owner, database, scribe, spaces } = self;
        let mut deltas: BTreeMap<SpaceId, Delta> = BTreeMap::new();
        let (outcomes, deltas) = database.transact(Synced::Full, |tx| {
            let mut outcomes = Vec::with_capacity(writes.len());
            for (space, prepared) in writes {
                let Some(kept) = spaces.get(&space) else {
                    outcomes.push(Outcome::Old);
                    continue;
                };
                let delta = deltas.entry(space).or_insert_with(|| Delta::of(kept));
                let mut work = Work { tx, kept, delta, owner, scribe, now };
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
            for key in keys {
                let present = find(tx, kept.row, key)?;
                if let Some((rank, bytes)) = present {
                    delta.leave(tx, kept.row, KeyHash::of(key), (rank, bytes))?;
                    tx.prepare_cached(schema::DELETE_RECORD)?.execute(params![kept.row, key])?;
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
        }
        for (hash, digest) in delta.come {
            kept.summary.add(hash, digest);
        }
        if kept.summary.is_outgrown() {
            // If it fails, the coarser sums are as true, and it is tried again.
            if let Ok((summary, _)) = sum_up(self.database.connection(), kept.row, drop) {
                kept.summary = summary;
            }
        }
    }
}

/// One transaction's work in one space.
struct Work<'a> {
    tx: &'a Connection,
    kept: &'a Kept,
    delta: &'a mut Delta,
    owner: &'a Owner,
    scribe: &'a Scribe,
    now: Moment,
}

impl Work<'_> {
    fn write(&mut self, Prepared { record, is_own }: Prepared) -> rusqlite::Result<Outcome> {
        let (mut record, mut rank) = match record {
            Ok(ranked) => ranked,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let present = find(self.tx, self.kept.row, &record.key)?;
        if is_own {
            if record.value.is_none() && present.is_none_or(|(_, size)| size.is_deletion) {
                return Ok(Outcome::Old);
            }
            if let Some((there, _)) = present.filter(|(there, _)| there.time >= record.time) {
                // What is there came after this one got its time.
                record = self.scribe.again(&self.kept.spec, &record, there.time);
                rank = record.rank(&self.kept.spec.id());
            }
        }
        let candidate =
            Candidate { rank, is_deletion: record.value.is_none(), bytes: record.size(), is_own };
        match self.judge(candidate, present.map(|(rank, size)| (rank, size.bytes)))? {
            Verdict::Old => Ok(Outcome::Old),
            Verdict::Refuse(refusal) => Ok(Outcome::Refused(refusal)),
            Verdict::Take => {
                if !record.time.is_ahead(self.now) {
                    self.scribe.seen(&record);
                }
                self.put(&record, candidate.rank, present)?;
                Ok(Outcome::Taken(Taken { record, seq: self.delta.seq }))
            }
        }
    }

    fn judge(
        &mut self,
        candidate: Candidate,
        record: Option<(Rank, u64)>,
    ) -> rusqlite::Result<Verdict> {
        let writer = self.delta.usage(self.tx, self.kept.row, candidate.rank.writer)?;
        let present = Present { record, space: self.delta.total, writer };
        Ok(self.owner.rules.judge(&self.kept.spec, candidate, &present, self.now))
    }

    fn put(
        &mut self,
        record: &Record,
        rank: Rank,
        present: Option<(Rank, Size)>,
    ) -> rusqlite::Result<()> {
        let (row, hash) = (self.kept.row, KeyHash::of(&record.key));
        if let Some(present) = present {
            self.delta.leave(self.tx, row, hash, present)?;
        }
        self.delta.enter(self.tx, row, hash, (rank, record.size()))?;
        let author = match &record.author {
            Author::Signed { key, signature } => [&key.as_bytes()[..], &signature[..]].concat(),
            Author::Unproven(_) => Vec::new(),
        };
        let mut put = self.tx.prepare_cached(schema::PUT_RECORD)?;
        put.execute(params![
            row,
            &*record.key,
            hash.0,
            rank.time.bits().cast_signed(),
            rank.writer.as_u128().to_be_bytes(),
            rank.digest.0,
            record.value.is_none(),
            schema::id_of(row, self.delta.seq),
            author,
            record.value.as_deref().unwrap_or_default(),
        ])?;
        Ok(())
    }
}

/// What a record that is there counts for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    bytes: u64,
    is_deletion: bool,
}

/// The rank of a key's record, and what it counts for.
fn find(tx: &Connection, row: i64, key: &str) -> rusqlite::Result<Option<(Rank, Size)>> {
    let mut select = tx.prepare_cached(schema::SELECT_RANK)?;
    let found = select.query_row(params![row, key], rows::rank).optional()?;
    Ok(found.map(|(rank, is_deletion, len)| {
        (rank, Size { bytes: key.len() as u64 + len, is_deletion })
    }))
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
        (rank, size): (Rank, Size),
    ) -> rusqlite::Result<()> {
        let gone = Amount::one(size.bytes);
        let usage = self.usage(tx, row, rank.writer)?.minus(gone);
        self.usage.insert(rank.writer, usage);
        self.total = self.total.minus(gone);
        self.gone.push((hash, rank.digest));
        Ok(())
    }

    fn enter(
        &mut self,
        tx: &Connection,
        row: i64,
        hash: KeyHash,
        (rank, bytes): (Rank, u64),
    ) -> rusqlite::Result<()> {
        let come = Amount::one(bytes);
        let usage = self.usage(tx, row, rank.writer)?.plus(come);
        self.usage.insert(rank.writer, usage);
        self.total = self.total.plus(come);
        self.come.push((hash, rank.digest));
        self.seq += 1;
        Ok(())
    }

    fn save(&self, tx: &Connection, row: i64) -> rusqlite::Result<()> {
        tx.prepare_cached(schema::SET_SEQ)?.execute(params![row, self.seq.cast_signed()])?;
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
