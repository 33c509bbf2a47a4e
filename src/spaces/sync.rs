//! One node's work to have what another has, and to have it take what it lacks: the shell of
//! [`Reconciler`].

use std::{sync::Arc, time::Duration};

use actix::{MailboxError, Recipient};
use bytes::Bytes;
use futures_util::future;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;
use tokio::time::timeout;

use super::{
    admission::{Refusal, Rules, Standing},
    keeper::{Closed, Keeper},
    link::{AskError, Link},
    messages::{
        SpaceAnswer, What, pack_hashes, pack_items, pack_ranges, unpack_listings, unpack_sums,
    },
    name::SpaceId,
    put::{PUT_TOGETHER, Put, PutError, Source},
    reconcile::{Fault, Item, Range, Reconciler, Step, Terms, ToldSum},
    record::{KeyHash, MAX_PACKED, Record, RecordError},
    scribe::Write,
    shunned::Shunned,
    store::{Outcome, PIECE_BYTES, Store},
    summary::Node,
};
use crate::{
    clock::{Clock, Moment},
    ids::NodeId,
    proto::replay::millis,
    store::StoreError,
};

/// How many records are offered at once.
const OFFERED: usize = 256;

/// The longest that getting what was offered may take before it is answered how far that came.
const OFFER_TIME: Duration = Duration::from_secs(10);

/// The longest that bringing two nodes together may take: it goes on where it was, the next time.
const MAX_TIME: Duration = Duration::from_secs(30 * 60);

/// Where all were away together, they are in step again when they have met nobody who was for so long.
const AWAY_TOGETHER: Duration = Duration::from_secs(24 * 3600);

/// Why two nodes' records did not come together.
#[derive(Debug, Error)]
pub(super) enum SyncError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("an answer is malformed")]
    Malformed,
    #[error("it handed out a record that nobody may have: {0}")]
    Refused(Refusal),
    #[error("it took too long")]
    TooLong,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Put(#[from] PutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this node is stopping")]
    Stopped,
}

impl SyncError {
    /// Whether the other side has broken the protocol.
    pub(super) const fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(_) | Self::Malformed | Self::Record(_) | Self::Refused(_))
    }
}

impl From<Closed> for SyncError {
    fn from(_: Closed) -> Self {
        Self::Stopped
    }
}

impl From<MailboxError> for SyncError {
    fn from(_: MailboxError) -> Self {
        Self::Stopped
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Records that were taken.
    pub(super) taken: usize,
    /// Records that came and were refused.
    pub(super) refused: usize,
    /// Records that the other side was offered.
    pub(super) offered: usize,
    /// Records that were forgotten, since this node had been away.
    pub(super) forgotten: usize,
}

/// With whom, about what.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    pub(super) keeper: Keeper<Store>,
    pub(super) link: Link,
    pub(super) puts: Recipient<Put>,
    pub(super) clock: Clock,
    pub(super) space: SpaceId,
    pub(super) node: NodeId,
    pub(super) rules: Rules,
    pub(super) shunned: Arc<Mutex<Shunned>>,
    /// Since when this node takes part in the space in this run.
    pub(super) joined: Moment,
}

impl Sync {
    /// Brings both together. When it returns well, this node has all that the other had when it began.
    pub(super) async fn run(&self, rng: ChaCha8Rng) -> Result<Report, SyncError> {
        // Whoever goes on for longer is not to keep others waiting; what has come is kept.
        timeout(MAX_TIME, self.together(rng)).await.unwrap_or(Err(SyncError::TooLong))
    }

    async fn together(&self, mut rng: ChaCha8Rng) -> Result<Report, SyncError> {
        let space = self.space;
        let info = self.store(move |store| store.space(&space)).await?;
        let in_step = info.and_then(|info| info.in_step);
        let (now, drawn) = (self.clock.now(), rng.random());
        let mine = Standing::of(in_step, &self.rules, now);
        let root = (space, What::Sums { drawn }, in_step.map(millis));
        let ranges = pack_ranges(&[Range::whole(Node::ROOT)]);
        let (answer, sums) = self.link.ask(self.node, root, ranges).await?;
        let theirs = Standing::of(answer.in_step.map(from_millis), &self.rules, now);
        let mut machine = Reconciler::new(Terms { mine, theirs, rules: self.rules, now });
        let mut first = Some(sums);
        let mut report = Report::default();
        loop {
            match machine.step() {
                Step::Sums(nodes) => {
                    let theirs = match first.take() {
                        Some(sums) => sums,
                        None => self.sums(&nodes, drawn).await?,
                    };
                    let theirs = unpack_sums(theirs).ok_or(SyncError::Malformed)?;
                    let asked = nodes.clone();
                    let mine = move |store: &mut Store| told_sums(store, &space, &asked, drawn);
                    let mine = self.store(mine).await??;
                    machine.sums(&nodes, &mine, &theirs)?;
                }
                Step::Items(ranges) => {
                    let (_, theirs) = self.ask(What::Items { drawn }, pack_ranges(&ranges)).await?;
                    let theirs = unpack_listings(theirs).ok_or(SyncError::Malformed)?;
                    let is_away = matches!(mine, Standing::Away(_));
                    let asked = ranges.clone();
                    let own =
                        self.store(move |store| store.own_items(&space, &asked, drawn, is_away));
                    machine.items(&ranges, &own.await??, &theirs)?;
                }
                Step::Get(items) => {
                    let got = self.get(&self.wanted(items), None).await?;
                    report.taken += got.taken;
                    report.refused += got.refused;
                    machine.got(got.done.saturating_sub(got.taken + got.refused + got.old))?;
                }
                Step::Offer(items) => report.offered += self.offer(&items, drawn).await?,
                Step::Forget(items) => {
                    let forget = move |store: &mut Store| store.forget(&space, &items, drawn);
                    report.forgotten += self.store(forget).await??;
                }
                Step::Done => break,
            }
        }
        if let Some(then) = self.in_step(in_step, (mine, theirs), now) {
            self.store(move |store| store.set_in_step(&space, then)).await??;
        }
        let took = u64::try_from(self.clock.now().since(now).as_millis()).unwrap_or(u64::MAX);
        let done = (space, What::Done { took }, in_step.map(millis));
        self.link.ask(self.node, done, Bytes::new()).await?;
        Ok(report)
    }

    /// Since when this node is in step, now that it has all that another had.
    ///
    /// Who was away, and one that has all from it, may have what was deleted: they are in step only with one
    /// that is. Where nobody is, since all were away together, they are when they have met no such one for a
    /// day.
    fn in_step(
        &self,
        mine_was: Option<Moment>,
        standings: (Standing, Standing),
        now: Moment,
    ) -> Option<Moment> {
        let is_long_here = now.since(self.joined) > AWAY_TOGETHER;
        match standings {
            (Standing::InStep, _) | (_, Standing::InStep) | (Standing::New, Standing::New) => {
                Some(now)
            }
            (Standing::New, Standing::Away(then)) => Some(then),
            (Standing::Away(_), _) if is_long_here => Some(now),
            (Standing::Away(_), _) => mine_was,
        }
    }

    /// What is not left alone since it was refused.
    fn wanted(&self, mut items: Vec<Item>) -> Vec<Item> {
        let (now, shunned) = (self.clock.now(), self.shunned.lock());
        items.retain(|item| !shunned.has(now, item.hash, item.time));
        items
    }

    /// Gets records, and has them kept, until a moment if there is one.
    pub(super) async fn get(
        &self,
        items: &[Item],
        until: Option<Moment>,
    ) -> Result<Got, SyncError> {
        let hashes: Vec<KeyHash> = items.iter().map(|item| item.hash).collect();
        let (mut left, mut got) = (&hashes[..], Got::default());
        let mut came = Vec::new();
        while !left.is_empty() && until.is_none_or(|until| self.clock.now() < until) {
            // What has come is kept while more is on its way.
            let ask = self.ask(What::Get, pack_hashes(left));
            let put = self.put(std::mem::take(&mut came));
            let ((answer, packed), outcomes) = future::try_join(ask, put).await?;
            got.count(&outcomes);
            let (records, done) = match (answer.long, answer.done) {
                (Some(len), _) => {
                    let Some(hash) = left.first() else { break };
                    let packed = self.pieces(*hash, len).await?;
                    (packed.map_or(Ok(Vec::new()), Record::unpack_all)?, 1)
                }
                (None, Some(done)) => (Record::unpack_all(packed)?, done),
                (None, None) => return Err(SyncError::Malformed),
            };
            let (asked, rest) = left.split_at_checked(done).ok_or(SyncError::Malformed)?;
            let is_asked = |record: &Record| asked.contains(&KeyHash::of(&record.key));
            if asked.is_empty() || records.len() > asked.len() || !records.iter().all(is_asked) {
                return Err(SyncError::Malformed);
            }
            (left, came) = (rest, records);
        }
        got.count(&self.put(came).await?);
        got.done = hashes.len() - left.len();
        Ok(got)
    }

    /// Gets a long record, packed. None if it is not there any more, or is another by now.
    async fn pieces(&self, hash: KeyHash, len: usize) -> Result<Option<Bytes>, SyncError> {
        if len > MAX_PACKED {
            return Err(SyncError::Malformed);
        }
        let (mut packed, mut digest) = (Vec::new(), None);
        while packed.len() < len {
            let piece = What::Piece { hash: hex::encode(hash.0), offset: packed.len() };
            let (answer, bytes) = self.ask(piece, Bytes::new()).await?;
            let first = digest.get_or_insert(answer.digest.clone());
            let is_same = answer.long == Some(len) && first == &answer.digest;
            if !is_same {
                return Ok(None);
            }
            if bytes.is_empty() || bytes.len() > PIECE_BYTES || packed.len() + bytes.len() > len {
                return Err(SyncError::Malformed);
            }
            packed.extend_from_slice(&bytes);
        }
        Ok(Some(packed.into()))
    }

    /// Has records kept: some at a time, so that several threads verify them.
    async fn put(&self, records: Vec<Record>) -> Result<Vec<Outcome>, SyncError> {
        let names: Vec<_> =
            records.iter().map(|record| (KeyHash::of(&record.key), record.time)).collect();
        let mut puts = Vec::with_capacity(records.len().div_ceil(PUT_TOGETHER));
        let mut records = records.into_iter().map(Write::Other).peekable();
        while records.peek().is_some() {
            let writes = records.by_ref().take(PUT_TOGETHER).collect();
            let put = Put { space: self.space, writes, source: Source::Sync(self.node) };
            puts.push(self.puts.send(put));
        }
        let (mut outcomes, mut failed) = (Vec::with_capacity(names.len()), None);
        for put in future::join_all(puts).await {
            match put.map_err(SyncError::from).and_then(|put| Ok(put?)) {
                Ok(some) => outcomes.extend(some),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let now = self.clock.now();
        for ((hash, time), outcome) in names.into_iter().zip(&outcomes) {
            let Outcome::Refused(refusal) = outcome else { continue };
            if refusal.is_fault() {
                // No node of the space keeps such a record.
                failed = Some(SyncError::Refused(*refusal));
            } else {
                self.shunned.lock().add(now, hash, time);
            }
        }
        failed.map_or(Ok(outcomes), Err)
    }

    /// Offers records until the other side has looked at all. How many those were.
    async fn offer(&self, items: &[Item], drawn: u32) -> Result<usize, SyncError> {
        let mut left = items;
        while !left.is_empty() {
            let (some, _) = left.split_at(OFFERED.min(left.len()));
            let (answer, _) = self.ask(What::Offer { drawn }, pack_items(some)).await?;
            let done = answer.done.filter(|done| (1..=some.len()).contains(done));
            left = left.get(done.ok_or(SyncError::Malformed)?..).unwrap_or_default();
        }
        Ok(items.len())
    }

    /// Gets what was offered and is lacking, for a while. Of how many items it is seen to.
    pub(super) async fn take_offer(
        &self,
        items: Vec<Item>,
        drawn: u32,
    ) -> Result<usize, SyncError> {
        let (space, offered) = (self.space, items.clone());
        let lacking = self.store(move |store| store.lacking(&space, &items, drawn)).await??;
        let lacking = self.wanted(lacking);
        let got = self.get(&lacking, Some(self.clock.now() + OFFER_TIME)).await?;
        let next = lacking.get(got.done);
        let seen_to = next.and_then(|next| offered.iter().position(|item| item == next));
        Ok(seen_to.unwrap_or(offered.len()))
    }

    async fn sums(&self, nodes: &[Node], drawn: u32) -> Result<Bytes, SyncError> {
        let ranges: Vec<Range> = nodes.iter().copied().map(Range::whole).collect();
        Ok(self.ask(What::Sums { drawn }, pack_ranges(&ranges)).await?.1)
    }

    async fn ask(&self, what: What, bytes: Bytes) -> Result<(SpaceAnswer, Bytes), SyncError> {
        Ok(self.link.ask(self.node, (self.space, what, None), bytes).await?)
    }

    async fn store<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> R + Send + 'static,
    ) -> Result<R, SyncError> {
        Ok(self.keeper.call(job).await?)
    }
}

/// What came of records that were got.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Got {
    taken: usize,
    old: usize,
    refused: usize,
    /// Of how many of those asked for this is.
    done: usize,
}

impl Got {
    fn count(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Taken(_) => self.taken += 1,
                Outcome::Old => self.old += 1,
                Outcome::Refused(_) => self.refused += 1,
            }
        }
    }
}

/// The sums of ranges as they are told.
pub(super) fn told_sums(
    store: &Store,
    space: &SpaceId,
    nodes: &[Node],
    drawn: u32,
) -> Result<Vec<Vec<ToldSum>>, StoreError> {
    let sums = store.sums(space, nodes)?;
    Ok(sums.iter().map(|parts| parts.iter().map(|sum| ToldSum::of(sum, drawn)).collect()).collect())
}

pub(super) fn from_millis(millis: u64) -> Moment {
    Moment::after(Duration::from_millis(millis))
}
