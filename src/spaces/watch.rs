//! The changes of a space, one after another.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::{
    keeper::Keeper,
    name::SpaceId,
    store::{Entry, Page, Store},
};
use crate::store::StoreError;

/// How many changes are read at a time.
const READ: usize = 64;

/// Something that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key has this now; without a value it was deleted.
    Entry(Entry),
    /// Changes before the next one may be missing, since they were forgotten: deletions that are over. A
    /// watcher that has to know reads the space again.
    Missed,
}

/// Tells the changes of a space in the order in which this node learnt of them. Of changes of one key
/// that are not read yet, only the latest is told.
///
/// It holds a few changes, however many there are and however slowly it is read. A later one that
/// begins with the [`seq`](Entry::seq) of the last that was read goes on behind it, also in a later run
/// of the node.
#[derive(Debug)]
pub struct Watch {
    keeper: Keeper<Store>,
    space: SpaceId,
    latest: watch::Receiver<u64>,
    seen: u64,
    held: VecDeque<Change>,
}

impl Watch {
    pub(super) fn new(
        keeper: Keeper<Store>,
        space: SpaceId,
        latest: watch::Receiver<u64>,
        since: Option<u64>,
    ) -> Self {
        let now = *latest.borrow();
        // A number that is still to come is of another life of the space: all is told, as missed.
        let (seen, held) = match since {
            Some(since) if since > now => (0, [Change::Missed].into()),
            since => (since.unwrap_or(now), VecDeque::new()),
        };
        Self { keeper, space, latest, seen, held }
    }

    /// The number of the last change that was told.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The next change; nothing when the space is left or the node stops. A dropped future loses
    /// nothing.
    ///
    /// # Errors
    /// The changes could not be read. The next call tries again.
    pub async fn next(&mut self) -> Result<Option<Change>, StoreError> {
        loop {
            if let Some(change) = self.held.pop_front() {
                if let Change::Entry(entry) = &change {
                    self.seen = entry.seq;
                }
                return Ok(Some(change));
            }
            let latest = *self.latest.borrow_and_update();
            if latest > self.seen {
                let (space, seen) = (self.space, self.seen);
                let read = move |store: &mut Store| store.changes(&space, seen, READ);
                let Ok(page) = self.keeper.call(read).await else { return Ok(None) };
                let Page { entries, missed, .. } = page?;
                if missed {
                    self.held.push_back(Change::Missed);
                }
                if entries.is_empty() {
                    // All of them were forgotten since.
                    self.seen = latest;
                }
                self.held.extend(entries.into_iter().map(Change::Entry));
                continue;
            }
            if self.latest.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}
