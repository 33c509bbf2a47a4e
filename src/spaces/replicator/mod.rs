//! Keeps this node's spaces and those of others together: has records written, publishes them, takes what
//! others publish, asks others and answers them.
//!
//! Owns a [`Schedule`] for each space. What is to be written is written in batches, one at a time: while
//! one is being committed, the next gathers, and is signed and verified.

mod answering;
mod commits;
mod network;
mod publishing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{fut::wrap_future, prelude::*};
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, watch};

use self::{
    commits::{Preparing, Queued, Ready},
    publishing::Outgoing,
};
use super::{
    SpacesConfig,
    admission::Standing,
    keeper::Keeper,
    link::Link,
    messages::{SpaceAnswer, SpaceAsk, SpaceChange, SpaceHint, Spaces},
    name::{SpaceId, SpaceSpec},
    put::{Put, Source},
    schedule::{Due, Schedule},
    scribe::Scribe,
    shunned::Shunned,
    store::{JoinError, SpaceInfo, Store},
    sync::Sync,
};
use crate::{
    PeerHandle,
    actors::pace::Alarm,
    clock::Moment,
    ids::NodeId,
    overlay::{Overlay, Topic},
    proto::{
        journal::{Decision, Kind},
        token_bucket::TokenBucket,
    },
    store::{StoreError, Trouble},
};

/// How many spaces are brought together with others at a time.
const MAX_SYNCS: usize = 4;

/// Of so many questions at a time the store is read, in the order in which they came: what this node itself
/// reads and writes waits for no more of them.
const MAX_READING: usize = 4;

/// So many records that others publish are taken in a space at once, and so many more each second. What is
/// beyond that is found by asking, at this node's own pace.
const INTAKE: (u32, u32) = (10_000, 2_000);

/// How often deletions that are over are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// … and how soon it goes on where there were some.
const SWEEP_ON: Duration = Duration::from_secs(2);

/// Notes that others can cause: so many at once, then one every ten seconds or so.
const NOTES: u32 = 16;

/// A space that this node is in.
#[derive(Debug)]
struct Member {
    spec: Arc<SpaceSpec>,
    topic: Topic,
    schedule: Schedule,
    /// The number of the latest change, for those who watch.
    latest: watch::Sender<u64>,
    root: [u8; 8],
    /// Whether this node was away: then it asks every peer that comes itself.
    was_away: bool,
    outgoing: Outgoing,
    shunned: Arc<Mutex<Shunned>>,
    joined: Moment,
    intake: TokenBucket,
}

/// The replicator.
pub(super) struct Replicator {
    overlay: Overlay,
    keeper: Keeper<Store>,
    scribe: Keeper<Scribe>,
    link: Link,
    config: SpacesConfig,
    rng: ChaCha8Rng,
    members: BTreeMap<SpaceId, Member>,
    /// The peers that may be in spaces, and in which they say that they are.
    peers: BTreeMap<NodeId, (PeerHandle, bool, BTreeSet<SpaceId>)>,
    queue: VecDeque<Queued>,
    preparing: Preparing,
    ready: Ready,
    is_committing: bool,
    /// Whose questions are being answered, and whether they are offers.
    answering: BTreeSet<(NodeId, bool)>,
    reading: Arc<Semaphore>,
    syncing: usize,
    stats: SpacesStats,
    sweep: Moment,
    trouble: Trouble,
    notes: TokenBucket,
    /// How often those who look for others of a space are answered.
    looks: TokenBucket,
    alarm: Alarm,
}

/// Joins a space.
#[derive(Debug, Message)]
#[rtype(result = "Result<watch::Receiver<u64>, JoinError>")]
pub(super) struct Join(pub(super) SpaceSpec);

/// Leaves it, and forgets its records or keeps them. Whether there was anything to leave.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub(super) struct Leave(pub(super) SpaceId, pub(super) bool);

/// Asks for the way to a space.
#[derive(Debug, Message)]
#[rtype(result = "Option<watch::Receiver<u64>>")]
pub(super) struct Find(pub(super) SpaceId);

/// Asks how many peers are in each space.
#[derive(Debug, Message)]
#[rtype(result = "BTreeMap<SpaceId, usize>")]
pub(super) struct CountPeers;

/// What was done so far, counted from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, MessageResponse)]
pub struct SpacesStats {
    /// Transactions.
    pub commits: u64,
    /// Records that were to be written in them.
    pub writes: u64,
    /// Times that this node and another have been brought together …
    pub syncs: u64,
    /// … and that this failed.
    pub failed_syncs: u64,
    /// Records that were taken from others in doing so.
    pub received: u64,
}

/// Asks for the figures.
#[derive(Debug, Message)]
#[rtype(result = "SpacesStats")]
pub(super) struct Count;

/// Ends the actor. What is queued and not yet being committed is answered [`PutError::Stopped`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Replicator {
    pub(super) fn new(
        overlay: &Overlay,
        (keeper, scribe): (Keeper<Store>, Keeper<Scribe>),
        config: SpacesConfig,
        spaces: Vec<SpaceInfo>,
    ) -> Self {
        let (node, link) = (overlay.node(), Link::new(overlay.clone()));
        let now = node.clock().now();
        let mut replicator = Self {
            overlay: overlay.clone(),
            keeper,
            scribe,
            link,
            config,
            rng: node.rng(),
            members: BTreeMap::new(),
            peers: BTreeMap::new(),
            queue: VecDeque::new(),
            preparing: Preparing::default(),
            ready: Ready::default(),
            is_committing: false,
            answering: BTreeSet::new(),
            reading: Arc::new(Semaphore::new(MAX_READING)),
            syncing: 0,
            stats: SpacesStats::default(),
            sweep: now + SWEEP_EVERY,
            trouble: Trouble::default(),
            notes: TokenBucket::new(NOTES, 1, now),
            looks: TokenBucket::new(1, 1, now),
            alarm: Alarm::default(),
        };
        for info in spaces.into_iter().filter(|info| info.is_joined) {
            replicator.add(info, now);
        }
        replicator
    }

    fn now(&self) -> Moment {
        self.overlay.node().clock().now()
    }

    /// Takes part in a space from now on.
    fn add(&mut self, info: SpaceInfo, now: Moment) -> Option<watch::Receiver<u64>> {
        let id = info.spec.id();
        let topic = Topic::new(&format!("space/{id}")).ok()?;
        let (latest, watching) = watch::channel(info.seq);
        let was_away =
            matches!(Standing::of(info.in_step, &self.config.rules, now), Standing::Away(_));
        let mut schedule = Schedule::new(self.config.times, now, &mut self.rng);
        for (peer, (_, is_dialled, spaces)) in &self.peers {
            if spaces.contains(&id) {
                let is_first = *is_dialled || was_away;
                schedule.joined(now, *peer, is_first, &mut self.rng);
            }
        }
        let member = Member {
            spec: Arc::new(info.spec),
            topic,
            schedule,
            latest,
            root: info.root,
            was_away,
            outgoing: Outgoing::default(),
            shunned: Arc::default(),
            joined: now,
            intake: TokenBucket::new(INTAKE.0, INTAKE.1, now),
        };
        self.members.insert(id, member);
        Some(watching)
    }

    /// Hears what is published in a space.
    fn listen(&self, topic: &Topic, ctx: &Context<Self>) {
        if let Err(error) = self.overlay.subscribe::<SpaceChange>(topic, ctx.address().recipient())
        {
            let note = Decision::new(self.now(), Kind::Extension, "not-subscribed");
            self.overlay.node().note(note.detail(format!("{topic}: {error}")));
        }
    }

    fn note(&mut self, note: Decision) {
        let now = self.now();
        if self.notes.take(now, 1) > 0 {
            self.overlay.node().note(note);
        }
    }

    fn told_spaces(&self) -> Spaces {
        Spaces { ids: self.members.keys().copied().collect(), ask: false }
    }

    /// Tells all peers which spaces this node is in.
    fn tell_all(&self) {
        let spaces = self.told_spaces();
        for (peer, ..) in self.peers.values() {
            // A peer whose outbox is full is closed if it stays so, and told when it comes again.
            let _refused = peer.send(&spaces);
        }
    }

    /// Does what is due, and sets the timer to what will be.
    fn work(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        let mut ids: Vec<SpaceId> = self.members.keys().copied().collect();
        // Not always the same ones first.
        let first = self.rng.random_range(0..ids.len().max(1));
        ids.rotate_left(first);
        for id in &ids {
            self.publish(*id, now, ctx);
            while let Some(member) = self.members.get_mut(id)
                && let Some(due) = member.schedule.due(now, self.syncing < MAX_SYNCS, &mut self.rng)
            {
                match due {
                    Due::Ask(node) => self.ask(*id, node, ctx),
                    Due::Hint(except) => self.hint(*id, except),
                    Due::Look => self.look(*id, ctx),
                }
            }
        }
        if self.sweep <= now {
            self.sweep = now + SWEEP_EVERY;
            self.sweep(ctx);
        }
        let mut due = self.sweep;
        for member in self.members.values() {
            due = due.min(member.schedule.deadline(self.syncing < MAX_SYNCS));
            due = member.outgoing.deadline().map_or(due, |at| due.min(at));
        }
        let clock = self.overlay.node().clock();
        self.alarm.set(clock, Some(due), ctx, |replicator, ctx| {
            replicator.alarm.rang();
            replicator.work(ctx);
        });
    }

    fn sweep(&self, ctx: &mut Context<Self>) {
        let (keeper, now) = (self.keeper.clone(), self.now());
        let sweep = async move { keeper.call(move |store| store.sweep(now)).await };
        let swept = wrap_future::<_, Self>(sweep).map(|swept, replicator, ctx| match swept {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(n)) => {
                tracing::debug!(n, "deletions that are over were forgotten");
                // There may be more.
                replicator.sweep = replicator.now() + SWEEP_ON;
                replicator.refresh(ctx);
            }
            Ok(Err(error)) => replicator.failed(&error),
        });
        ctx.spawn(swept);
    }

    /// What was forgotten has changed what there is.
    fn refresh(&self, ctx: &mut Context<Self>) {
        let keeper = self.keeper.clone();
        let read = async move { keeper.call(|store| store.spaces()).await.unwrap_or_default() };
        ctx.spawn(wrap_future::<_, Self>(read).map(|infos, replicator, ctx| {
            for info in infos {
                if let Some(member) = replicator.members.get_mut(&info.spec.id()) {
                    member.root = info.root;
                }
            }
            replicator.work(ctx);
        }));
    }

    /// What could not be kept is told once for each kind of error, until it works again.
    fn failed(&mut self, error: &StoreError) {
        if self.trouble.is_new(error.code()) {
            let note = Decision::new(self.now(), Kind::StoreFailed, error.code());
            self.overlay.node().note(note.detail(error.to_string()));
        }
    }

    fn ask(&mut self, space: SpaceId, node: NodeId, ctx: &mut Context<Self>) {
        self.syncing += 1;
        let (sync, rng) = (self.sync(space, node, ctx), self.overlay.node().rng());
        let run = wrap_future::<_, Self>(async move { sync.run(rng).await });
        ctx.spawn(run.map(move |report, replicator, ctx| {
            replicator.syncing -= 1;
            let now = replicator.now();
            if let Some(member) = replicator.members.get_mut(&space) {
                member.schedule.ended(now, node, report.is_ok());
                member.was_away &= report.is_err();
            }
            replicator.stats.syncs += u64::from(report.is_ok());
            replicator.stats.failed_syncs += u64::from(report.is_err());
            replicator.stats.received += report.as_ref().map_or(0, |report| report.taken as u64);
            if report.as_ref().is_ok_and(|report| report.forgotten > 0) {
                replicator.refresh(ctx);
            }
            replicator.synced(space, node, report);
            replicator.work(ctx);
        }));
    }

    fn sync(&self, space: SpaceId, node: NodeId, ctx: &Context<Self>) -> Sync {
        Sync {
            keeper: self.keeper.clone(),
            link: self.link.clone(),
            puts: ctx.address().recipient(),
            clock: self.overlay.node().clock(),
            space,
            node,
            rules: self.config.rules,
            shunned: self.members.get(&space).map(|m| m.shunned.clone()).unwrap_or_default(),
            joined: self.members.get(&space).map_or(Moment::ZERO, |member| member.joined),
        }
    }
}

impl Actor for Replicator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let me = ctx.address();
        let node = self.overlay.node();
        let registered = node
            .register::<Spaces>(me.clone().recipient())
            .and_then(|()| node.register::<SpaceHint>(me.clone().recipient()))
            .and_then(|()| node.register::<SpaceAsk>(me.clone().recipient()))
            .and_then(|()| node.register::<SpaceAnswer>(me.clone().recipient()))
            .and_then(|()| self.overlay.register::<SpaceHint>(me.clone().recipient()))
            .and_then(|()| self.overlay.register::<SpaceAsk>(me.clone().recipient()))
            .and_then(|()| self.overlay.register::<SpaceAnswer>(me.clone().recipient()));
        if let Err(error) = registered {
            tracing::error!(%error, "spaces are not brought together with others");
        }
        for member in self.members.values() {
            self.listen(&member.topic, ctx);
        }
        self.work(ctx);
    }
}

impl Handler<Join> for Replicator {
    type Result = ResponseActFuture<Self, Result<watch::Receiver<u64>, JoinError>>;

    fn handle(&mut self, Join(spec): Join, _: &mut Context<Self>) -> Self::Result {
        let (keeper, now) = (self.keeper.clone(), self.now());
        let join = async move {
            let joined = keeper.call(move |store| {
                store.join(&spec, now)?;
                Ok::<_, JoinError>(store.space(&spec.id()))
            });
            joined.await.unwrap_or(Err(JoinError::Stopped))
        };
        Box::pin(wrap_future::<_, Self>(join).map(|joined, replicator, ctx| {
            let info = joined?.ok_or(JoinError::Stopped)?;
            let id = info.spec.id();
            if let Some(member) = replicator.members.get(&id) {
                return Ok(member.latest.subscribe());
            }
            let watching = replicator.add(info, replicator.now()).ok_or(JoinError::Stopped)?;
            if let Some(member) = replicator.members.get(&id) {
                replicator.listen(&member.topic, ctx);
            }
            replicator.tell_all();
            replicator.work(ctx);
            Ok(watching)
        }))
    }
}

impl Handler<Leave> for Replicator {
    type Result = ResponseFuture<Result<bool, StoreError>>;

    fn handle(&mut self, Leave(space, forget): Leave, ctx: &mut Context<Self>) -> Self::Result {
        if let Some(member) = self.members.remove(&space) {
            self.overlay.leave::<SpaceChange>(&member.topic, &ctx.address().recipient());
            self.tell_all();
        }
        let keeper = self.keeper.clone();
        Box::pin(async move {
            let left = keeper.call(move |store| store.leave(&space, forget)).await;
            left.unwrap_or(Ok(false))
        })
    }
}

impl Handler<Find> for Replicator {
    type Result = Option<watch::Receiver<u64>>;

    fn handle(&mut self, Find(space): Find, _: &mut Context<Self>) -> Self::Result {
        self.members.get(&space).map(|member| member.latest.subscribe())
    }
}

impl Handler<CountPeers> for Replicator {
    type Result = MessageResult<CountPeers>;

    fn handle(&mut self, _: CountPeers, _: &mut Context<Self>) -> Self::Result {
        let count = |member: &Member| member.schedule.peers().len();
        MessageResult(self.members.iter().map(|(id, member)| (*id, count(member))).collect())
    }
}

impl Handler<Count> for Replicator {
    type Result = SpacesStats;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> SpacesStats {
        self.stats
    }
}

impl Handler<Stop> for Replicator {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        for member in self.members.values() {
            self.overlay.leave::<SpaceChange>(&member.topic, &ctx.address().recipient());
        }
        self.queue.clear();
        self.preparing = Preparing::default();
        self.ready = Ready::default();
        ctx.stop();
    }
}
