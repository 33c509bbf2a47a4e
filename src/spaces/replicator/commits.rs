//! What is to be written, in batches: what gathers while one is being committed is signed and verified
//! meanwhile, on other threads, and committed next.

use std::{collections::BTreeMap, sync::Arc};

use actix::{fut::wrap_future, prelude::*};
use tokio::sync::oneshot;

use super::{Put, Replicator, Source};
use crate::{
    clock::Moment,
    overlay::Published,
    proto::journal::{Decision, Kind},
    spaces::{
        messages::SpaceChange,
        name::{SpaceId, SpaceSpec},
        put::{PUT_TOGETHER, PutError},
        scribe::{Prepared, Scribe, Write},
        store::{Outcome, Store},
    },
    store::StoreError,
};

/// The most records that are written in one transaction, but for those of the last [`Put`]. More gain little,
/// and make the first wait.
const MAX_BATCH: usize = 256;

/// The most bytes, likewise.
const MAX_BATCH_BYTES: u64 = 4 << 20;

/// Up to so many are signed or verified where they are committed, when nothing else is to be done: the way to
/// another thread and back takes longer.
const PREPARED_HERE: usize = 2;

type Answer = oneshot::Sender<Result<Vec<Outcome>, PutError>>;

/// Something to be written, and who waits for it.
pub(super) struct Queued {
    pub(super) put: Put,
    pub(super) answer: Option<Answer>,
    /// Its place among what was published and is not handled yet.
    pub(super) _place: Option<Published<SpaceChange>>,
}

/// One of a batch: of which space and source, so many writes, and who waits.
struct Waiting {
    space: SpaceId,
    source: Source,
    writes: usize,
    answer: Option<Answer>,
}

/// Some of the queue.
struct Batch {
    writes: Vec<(Arc<SpaceSpec>, Write)>,
    waiting: Vec<Waiting>,
    bytes: u64,
}

/// What is ready to be written.
#[derive(Default)]
pub(super) struct Ready {
    writes: Vec<(SpaceId, Prepared)>,
    waiting: Vec<Waiting>,
    bytes: u64,
}

impl Ready {
    fn extend(&mut self, next: Self) {
        self.writes.extend(next.writes);
        self.waiting.extend(next.waiting);
        self.bytes += next.bytes;
    }
}

/// What is being prepared, by the order in which it was taken; and, of what is done, what was taken after
/// something that is not.
#[derive(Default)]
pub(super) struct Preparing {
    /// The number of the next.
    next: u64,
    /// The number of the first that is not done.
    first: u64,
    /// With how many records each was begun.
    done: BTreeMap<u64, (usize, Ready)>,
    /// How much that is, in records and bytes.
    records: usize,
    bytes: u64,
}

impl Preparing {
    const fn len(&self) -> u64 {
        self.next - self.first
    }

    const fn begin(&mut self, records: usize, bytes: u64) -> u64 {
        self.next += 1;
        self.records += records;
        self.bytes += bytes;
        self.next - 1
    }

    /// One of so many records is done. What is ready with it is told in order.
    fn done(&mut self, number: u64, (records, ready): (usize, Ready), mut tell: impl FnMut(Ready)) {
        self.done.insert(number, (records, ready));
        while let Some((records, ready)) = self.done.remove(&self.first) {
            self.first += 1;
            self.records -= records;
            self.bytes -= ready.bytes;
            tell(ready);
        }
    }
}

/// What was written, and what each space is like now.
type Committed = (Vec<Outcome>, BTreeMap<SpaceId, (u64, [u8; 8])>);

impl Replicator {
    pub(super) fn enqueue(&mut self, queued: Queued, ctx: &mut Context<Self>) {
        self.queue.push_back(queued);
        self.advance(ctx);
    }

    /// Goes on with what is to be written, wherever it can.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        self.commit(ctx);
        self.prepare(ctx);
    }

    /// The next of the queue, if there is anything.
    fn take(&mut self) -> Option<Batch> {
        let mut batch = Batch { writes: Vec::new(), waiting: Vec::new(), bytes: 0 };
        while batch.writes.len() < PUT_TOGETHER
            && batch.bytes < MAX_BATCH_BYTES
            && let Some(Queued { put, answer, .. }) = self.queue.pop_front()
        {
            let Put { space, writes: some, source } = put;
            // Who has left a space since has nothing written there.
            let Some(member) = self.members.get(&space) else {
                let _gone = answer.map(|answer| answer.send(Err(PutError::NoSuchSpace)));
                continue;
            };
            batch.bytes += some.iter().map(Write::size).sum::<u64>();
            batch.waiting.push(Waiting { space, source, writes: some.len(), answer });
            batch.writes.extend(some.into_iter().map(|write| (member.spec.clone(), write)));
        }
        (!batch.waiting.is_empty()).then_some(batch)
    }

    /// Has what is next in the queue signed and verified, unless enough is ready to be written.
    fn prepare(&mut self, ctx: &mut Context<Self>) {
        while self.preparing.len() < self.scribe.threads() as u64
            && self.ready.writes.len() + self.preparing.records < MAX_BATCH
            && self.ready.bytes + self.preparing.bytes < MAX_BATCH_BYTES
            && let Some(Batch { writes, waiting, bytes }) = self.take()
        {
            let records = writes.len();
            let number = self.preparing.begin(records, bytes);
            let (scribe, now) = (self.scribe.clone(), self.now());
            let prepare =
                async move { scribe.call(move |scribe| prepare_all(scribe, writes, now)).await };
            ctx.spawn(wrap_future::<_, Self>(prepare).map(move |prepared, replicator, ctx| {
                let ready = match prepared {
                    Ok(writes) => Ready { writes, waiting, bytes },
                    // Its thread has ended: nothing of it is written, and whoever waits hears that it stops.
                    Err(_closed) => Ready { bytes, ..Ready::default() },
                };
                let Self { preparing, ready: all, .. } = replicator;
                preparing.done(number, (records, ready), |next| all.extend(next));
                replicator.advance(ctx);
            }));
        }
    }

    /// Writes what is ready, unless something is being written.
    fn commit(&mut self, ctx: &mut Context<Self>) {
        if self.is_committing {
            return;
        }
        let now = self.now();
        let Ready { writes, waiting, .. } = std::mem::take(&mut self.ready);
        if !waiting.is_empty() {
            return self
                .commit_by(ctx, waiting, writes.len(), move |store| write(store, writes, now));
        }
        // What is being prepared comes first; and it is not for much that readers wait for signatures.
        let next = self.queue.iter().take(PREPARED_HERE + 1).map(|queued| queued.put.writes.len());
        if self.preparing.len() == 0
            && next.sum::<usize>() <= PREPARED_HERE
            && let Some(Batch { writes, waiting, .. }) = self.take()
        {
            self.commit_by(ctx, waiting, writes.len(), move |store| {
                let writes = prepare_all(store.scribe(), writes, now);
                write(store, writes, now)
            });
        }
    }

    fn commit_by(
        &mut self,
        ctx: &mut Context<Self>,
        waiting: Vec<Waiting>,
        writes: usize,
        commit: impl FnOnce(&mut Store) -> Result<Committed, StoreError> + Send + 'static,
    ) {
        self.is_committing = true;
        self.stats.commits += 1;
        self.stats.writes += writes as u64;
        let keeper = self.keeper.clone();
        let commit = async move { keeper.call(commit).await };
        ctx.spawn(wrap_future::<_, Self>(commit).map(move |committed, replicator, ctx| {
            replicator.is_committing = false;
            // What is next is being committed while those who waited for this are told.
            replicator.advance(ctx);
            replicator.committed(committed.ok(), waiting);
            replicator.work(ctx);
        }));
    }

    fn committed(
        &mut self,
        committed: Option<Result<Committed, StoreError>>,
        waiting: Vec<Waiting>,
    ) {
        let failure = match committed {
            Some(Ok((outcomes, now_so))) => {
                if let Some(failed) = self.trouble.is_over() {
                    let note = Decision::new(self.now(), Kind::StoreRecovered, "saved");
                    self.overlay.node().note(note.detail(format!("{failed} writes had failed")));
                }
                return self.spread(outcomes, now_so, waiting);
            }
            Some(Err(error)) => {
                self.failed(&error);
                PutError::Store(error.into())
            }
            None => PutError::Stopped,
        };
        for answer in waiting.into_iter().filter_map(|waiting| waiting.answer) {
            // Whoever waited may have lost interest.
            let _gone = answer.send(Err(failure.clone()));
        }
    }

    /// Tells everybody what is written.
    fn spread(
        &mut self,
        outcomes: Vec<Outcome>,
        now_so: BTreeMap<SpaceId, (u64, [u8; 8])>,
        waiting: Vec<Waiting>,
    ) {
        for (space, (seq, root)) in now_so {
            if let Some(member) = self.members.get_mut(&space) {
                member.root = root;
                member.latest.send_if_modified(|latest| std::mem::replace(latest, seq) != seq);
            }
        }
        let mut outcomes = outcomes.into_iter();
        for Waiting { space, source, writes, answer } in waiting {
            let some: Vec<Outcome> = outcomes.by_ref().take(writes).collect();
            self.pass_on(space, source, &some);
            if let Some(answer) = answer {
                let _gone = answer.send(Ok(some));
            }
        }
    }

    fn pass_on(&mut self, space: SpaceId, source: Source, outcomes: &[Outcome]) {
        let now = self.now();
        for outcome in outcomes {
            if let (Outcome::Refused(refusal), Source::Published(from) | Source::Sync(from)) =
                (outcome, source)
            {
                let note = Decision::new(now, Kind::Dropped, refusal.code()).peer(from);
                self.note(note.detail(format!("a record of the space {space}: {refusal}")));
            }
        }
        let Some(member) = self.members.get_mut(&space) else { return };
        for outcome in outcomes {
            let Outcome::Taken(taken) = outcome else { continue };
            match source {
                Source::Here => {
                    if !member.outgoing.add(&taken.record) {
                        member.schedule.learnt(now, None);
                    }
                }
                Source::Sync(from) => member.schedule.learnt(now, Some(from)),
                Source::Published(_) => {}
            }
        }
    }
}

impl Handler<Put> for Replicator {
    type Result = ResponseFuture<Result<Vec<Outcome>, PutError>>;

    fn handle(&mut self, put: Put, ctx: &mut Context<Self>) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Queued { put, answer: Some(answer), _place: None }, ctx);
        Box::pin(async { answered.await.unwrap_or(Err(PutError::Stopped)) })
    }
}

fn prepare_all(
    scribe: &Scribe,
    writes: Vec<(Arc<SpaceSpec>, Write)>,
    now: Moment,
) -> Vec<(SpaceId, Prepared)> {
    let prepare =
        |(spec, write): (Arc<SpaceSpec>, Write)| (spec.id(), scribe.prepare(&spec, write, now));
    writes.into_iter().map(prepare).collect()
}

fn write(
    store: &mut Store,
    writes: Vec<(SpaceId, Prepared)>,
    now: Moment,
) -> Result<Committed, StoreError> {
    let mut spaces: Vec<SpaceId> = writes.iter().map(|(space, _)| *space).collect();
    spaces.dedup();
    let outcomes = store.write(writes, now)?;
    let state = |space| store.space(&space).map(|info| (space, (info.seq, info.root)));
    Ok((outcomes, spaces.into_iter().filter_map(state).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_first_is_ready_first() {
        let mut preparing = Preparing::default();
        let numbers = [0u64, 1, 2].map(|n| preparing.begin(n as usize, n));
        let mut told = Vec::new();
        let mut done = |preparing: &mut Preparing, n: usize| {
            let ready = Ready { bytes: n as u64, ..Ready::default() };
            preparing.done(numbers[n], (n, ready), |ready| told.push(ready.bytes));
            preparing.len()
        };
        assert_eq!(done(&mut preparing, 2), 3);
        assert_eq!(done(&mut preparing, 0), 2);
        assert_eq!(done(&mut preparing, 1), 0);
        assert_eq!((told, preparing.bytes, preparing.records), (vec![0, 1, 2], 0, 0));
    }
}
