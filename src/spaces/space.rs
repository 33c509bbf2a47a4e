//! One space, as programs use it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{SemaphorePermit, watch};

use super::{
    Spaces,
    admission::{Amount, Refusal},
    error::SpaceError,
    hlc::Hlc,
    lines::Line,
    name::{SpaceId, SpaceSpec},
    put::{Put, Source},
    scribe::Write,
    store::{Entry, Outcome, Page, SpaceInfo, Taken},
    watch::Watch,
};
use crate::store::StoreError;

/// What may be on its way to be written, in KiB: more waits.
pub(super) const WRITE_ROOM: usize = 16 * 1024;

/// How many lines of an import are written at once.
const IMPORT_BATCH: usize = 256;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// When.
    pub time: Hlc,
    /// The number of the change on this node: [`Space::watch`] goes on behind it.
    pub seq: u64,
}

/// What came of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines whose entries were written.
    pub written: usize,
    /// Lines whose entries had that value already.
    pub unchanged: usize,
}

/// A space that this node is in. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Space {
    spaces: Spaces,
    id: SpaceId,
    spec: SpaceSpec,
    latest: watch::Receiver<u64>,
}

impl Space {
    pub(super) fn new(spaces: &Spaces, spec: SpaceSpec, latest: watch::Receiver<u64>) -> Self {
        Self { spaces: spaces.clone(), id: spec.id(), spec, latest }
    }

    /// Its name and its writers.
    #[must_use]
    pub const fn spec(&self) -> &SpaceSpec {
        &self.spec
    }

    /// Gives a key a value. When it returns well, the value is on the disk; it is also on its way to
    /// others. Waits while 16 MiB of other writes wait.
    ///
    /// # Errors
    /// It was not written, and why.
    pub async fn set(&self, key: &str, value: impl Into<Bytes>) -> Result<Version, SpaceError> {
        let own = Write::Own { key: key.into(), value: Some(value.into()) };
        let written = self.write(vec![own]).await?.pop();
        written.flatten().ok_or(SpaceError::NoSuchSpace)
    }

    /// Deletes a key, everywhere. Nothing was written if it was not there.
    ///
    /// # Errors
    /// It was not deleted, and why.
    pub async fn delete(&self, key: &str) -> Result<Option<Version>, SpaceError> {
        let own = Write::Own { key: key.into(), value: None };
        Ok(self.write(vec![own]).await?.pop().flatten())
    }

    /// The value of a key, with who wrote it and when; nothing if it is not there.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, SpaceError> {
        let (id, key) = (self.id, key.to_owned());
        Ok(self.spaces.inner.keeper.call(move |store| store.get(&id, &key)).await??)
    }

    /// The entries whose keys begin with a prefix, in the order of the keys' bytes, behind a key: at most
    /// so many, 1,000 and about 1 MiB.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let (id, prefix, after) = (self.id, prefix.to_owned(), after.map(str::to_owned));
        let list = self
            .spaces
            .inner
            .keeper
            .call(move |store| store.list(&id, &prefix, after.as_deref(), limit));
        Ok(list.await??)
    }

    /// The same, at most so much, but at least one.
    pub(super) async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: Amount,
    ) -> Result<Page, SpaceError> {
        let (id, prefix, after) = (self.id, prefix.to_owned(), after.map(str::to_owned));
        let page = self
            .spaces
            .inner
            .keeper
            .call(move |store| store.page(&id, &prefix, after.as_deref(), most));
        Ok(page.await??)
    }

    /// What changes from now on; or what has changed since a change, by its number, and then what
    /// changes.
    #[must_use]
    pub fn watch(&self, since: Option<u64>) -> Watch {
        Watch::new(self.spaces.inner.keeper.clone(), self.id, self.latest.clone(), since)
    }

    /// What is known of the space.
    ///
    /// # Errors
    /// It has been left and forgotten.
    pub async fn info(&self) -> Result<SpaceInfo, SpaceError> {
        let id = self.id;
        let info = self.spaces.inner.keeper.call(move |store| store.space(&id)).await?;
        info.ok_or(SpaceError::NoSuchSpace)
    }

    /// The next JSON lines of an export, behind a key, and the last key of them; nothing at the end. Each
    /// is one [`Line`].
    ///
    /// # Errors
    /// They could not be read.
    pub async fn export(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Option<(String, String)>, SpaceError> {
        let page = self.list(prefix, after, usize::MAX).await?;
        let Some(last) = page.entries.last().map(|entry| entry.key.to_string()) else {
            return Ok(None);
        };
        let mut text = String::new();
        for entry in &page.entries {
            text.push_str(&serde_json::to_string(&Line::from(entry)).unwrap_or_default());
            text.push('\n');
        }
        Ok(Some((text, last)))
    }

    /// Writes the entries of some JSON lines, each a [`Line`], as this node's own. Those whose value is
    /// there already are left as they are; empty lines are passed over. The number of the first line is
    /// for errors.
    ///
    /// # Errors
    /// A line is none, or was refused: what stood before it was written. What follows was not, but for some
    /// of the 256 lines around one that was refused. To import the same lines again does no harm.
    pub async fn import(&self, text: &str, first: usize) -> Result<Imported, SpaceError> {
        let mut imported = Imported::default();
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(n, line)| (first + n, line))
            .filter(|(_, line)| !line.trim().is_empty())
            .collect();
        for some in lines.chunks(IMPORT_BATCH) {
            let (entries, failed) = entries_of(some);
            let there = self.has(&entries).await?;
            let mut changed = BTreeMap::new();
            let (mut writes, mut numbers) = (Vec::new(), Vec::new());
            for ((line, key, value), is_there) in entries.into_iter().zip(there) {
                // The line before may say something else of the same key.
                if changed.get(&key).map_or(is_there, |before| *before == value) {
                    imported.unchanged += 1;
                    continue;
                }
                changed.insert(key.clone(), value.clone());
                numbers.push(line);
                writes.push(Write::Own { key: key.into(), value: Some(value) });
            }
            let outcomes = self.write_each(writes).await?;
            for (outcome, line) in outcomes.into_iter().zip(numbers) {
                outcome.map_err(|refusal| SpaceError::LineRefused { line, refusal })?;
                imported.written += 1;
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(imported)
    }

    /// Which of these keys have these values already.
    async fn has(&self, entries: &[(usize, String, Bytes)]) -> Result<Vec<bool>, SpaceError> {
        let (id, entries) = (self.id, entries.to_vec());
        let read = self.spaces.inner.keeper.call(move |store| {
            let has = |(_, key, value): &(usize, String, Bytes)| {
                let there = store.get(&id, key)?.and_then(|entry| entry.value);
                Ok::<_, StoreError>(there.as_ref() == Some(value))
            };
            entries.iter().map(has).collect::<Result<Vec<bool>, _>>()
        });
        Ok(read.await??)
    }

    /// Writes together. None for what had nothing to do.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Option<Version>>, SpaceError> {
        let written = self.write_each(writes).await?;
        written.into_iter().map(|version| Ok(version?)).collect()
    }

    /// Writes together, and says what became of each. None for what had nothing to do.
    pub(super) async fn write_each(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Option<Version>, Refusal>>, SpaceError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let _room = self.room(&writes).await?;
        let put = Put { space: self.id, writes, source: Source::Here };
        let outcomes = self.spaces.inner.replicator.send(put).await;
        let outcomes = outcomes.or(Err(SpaceError::Stopped))??;
        let version = |outcome| match outcome {
            Outcome::Taken(Taken { record, seq }) => Ok(Some(Version { time: record.time, seq })),
            Outcome::Old => Ok(None),
            Outcome::Refused(refusal) => Err(refusal),
        };
        Ok(outcomes.into_iter().map(version).collect())
    }

    async fn room(&self, writes: &[Write]) -> Result<SemaphorePermit<'_>, SpaceError> {
        let kib: u64 = writes.iter().map(|write| 1 + write.size() / 1024).sum();
        let kib = u32::try_from(kib.min(WRITE_ROOM as u64)).unwrap_or(u32::MAX);
        self.spaces.inner.room.acquire_many(kib).await.or(Err(SpaceError::Stopped))
    }
}

/// The entries of numbered lines, as far as the first that is none; and what is wrong with that.
fn entries_of(lines: &[(usize, &str)]) -> (Vec<(usize, String, Bytes)>, Option<SpaceError>) {
    let mut entries = Vec::with_capacity(lines.len());
    for (line, text) in lines {
        match entry_of(text) {
            Ok((key, value)) => entries.push((*line, key, value)),
            Err(why) => return (entries, Some(SpaceError::Line { line: *line, why })),
        }
    }
    (entries, None)
}

/// The key and the value of a line.
fn entry_of(text: &str) -> Result<(String, Bytes), String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let value = line.value.bytes().map_err(|error| error.to_string())?;
    Ok((line.key, value))
}
