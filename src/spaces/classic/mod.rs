//! The classic verbs: what a plain peer, or a person with netcat, says to read and to write spaces.
//!
//! `get_data` is answered by `data`, `update_data` by `update_ack` once it is kept, `quit` by `bye`. Of one
//! session one thing is done after another, in the order in which it was said; writes that come one
//! behind another are committed together. Until it is answered each counts against its session, which is
//! not read meanwhile beyond its credit: a sender is slowed down, and nothing is lost. Who does not take
//! its answers gets no further ones until it does.

mod page;
#[cfg(test)]
mod tests;
mod turns;
mod words;

use std::time::Duration;

use actix::{fut::wrap_future, prelude::*};
use bytes::Bytes;

pub use self::words::{Data, DataRecord, GetData, Quit, UpdateAck, UpdateData};
use self::{turns::Turns, words::No};
use super::{
    Spaces, admission::Amount, error::SpaceError, scribe::Write, space::Version, store::MAX_PAGE,
};
use crate::{
    CloseReason, PeerHandle, Received, RegisterError,
    extension::PeerMessage,
    ids::{LinkId, NodeId},
    node::NodeHandle,
    wire::MAX_LINE,
};

/// The most writes of one session that are committed together.
const MAX_TOGETHER: usize = 256;

/// How often it is looked whether a peer has taken some of what waits for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Something that a peer wants. What it came with is held until it is answered.
enum Job {
    Get(Received<GetData>),
    Update(Received<UpdateData>),
    Quit(Received<Quit>),
}

impl Job {
    /// Whether the second can be done with the first.
    fn goes_with(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Update(first), Self::Update(next)) => first.message.space == next.message.space,
            _ => false,
        }
    }

    const fn from(&self) -> &PeerHandle {
        match self {
            Self::Get(received) => &received.from,
            Self::Update(received) => &received.from,
            Self::Quit(received) => &received.from,
        }
    }
}

/// Answers plain peers.
pub(super) struct Classic {
    spaces: Spaces,
    turns: Turns<LinkId, Job>,
}

/// Ends the actor. What waits is not done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Classic {
    /// Starts it, and has the messages sent to it.
    pub(super) fn start(spaces: Spaces, node: &NodeHandle) -> Addr<Self> {
        let classic = Self { spaces, turns: Turns::new() }.start();
        if let Err(error) = classic_routes(node, &classic) {
            tracing::error!(%error, "plain peers cannot read and write spaces");
        }
        classic
    }

    fn take(&mut self, job: Job, ctx: &mut Context<Self>) {
        let link = job.from().link();
        if self.turns.add(link, job) {
            self.work(link, ctx);
        }
    }

    /// Does what is next for a session, and then what is next after that.
    fn work(&mut self, link: LinkId, ctx: &mut Context<Self>) {
        let jobs = self.turns.next(link, MAX_TOGETHER, Job::goes_with);
        let Some(first) = jobs.first() else { return };
        let (spaces, peer) = (self.spaces.clone(), first.from().clone());
        let work = async move {
            // Whoever asks on without taking the answers waits for itself.
            while peer.is_crowded() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            answer(&spaces, &peer, jobs).await;
        };
        ctx.spawn(wrap_future::<_, Self>(work).map(move |(), classic, ctx| {
            classic.work(link, ctx);
        }));
    }
}

fn classic_routes(node: &NodeHandle, classic: &Addr<Classic>) -> Result<(), RegisterError> {
    node.register::<GetData>(classic.clone().recipient())?;
    node.register::<UpdateData>(classic.clone().recipient())?;
    node.register::<Quit>(classic.clone().recipient())
}

async fn answer(spaces: &Spaces, peer: &PeerHandle, jobs: Vec<Job>) {
    let mut updates = Vec::new();
    for job in &jobs {
        match job {
            Job::Get(asked) => say(peer, &get(spaces, &asked.message).await).await,
            Job::Update(asked) => updates.push(&asked.message),
            Job::Quit(_) => peer.close(CloseReason::Requested),
        }
    }
    for ack in update(spaces, peer.id(), &updates).await {
        say(peer, &ack).await;
    }
}

/// Sends an answer. If there is no room for it, it waits for some; who takes nothing for long is closed
/// as slow, and then there is nobody to answer.
async fn say<M: PeerMessage>(peer: &PeerHandle, answer: &M) {
    while peer.send(answer) == Err(crate::SendError::OutboxFull) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn get(spaces: &Spaces, asked: &GetData) -> Data {
    // JSON is not shorter than what it says: more would find no room.
    let most = Amount { records: MAX_PAGE as u64, bytes: MAX_LINE as u64 };
    let page = async {
        let space = spaces.space(&asked.space).await?;
        let prefix = asked.prefix.as_deref().unwrap_or_default();
        space.page(prefix, asked.after.as_deref(), most).await
    };
    match page.await {
        Ok(page) => page::answer(asked.echo(), page),
        Err(error) => {
            let (refused, detail) = No::from(error).told();
            Data { refused, detail, ..asked.echo() }
        }
    }
}

/// Has updates of one space kept, and says of each what became of it.
async fn update(spaces: &Spaces, writer: NodeId, asked: &[&UpdateData]) -> Vec<UpdateAck> {
    let Some(first) = asked.first() else { return Vec::new() };
    let changes: Vec<_> = asked.iter().map(|update| change(writer, update)).collect();
    let writes = changes.iter().flatten().cloned().collect();
    let written = async { spaces.space(&first.space).await?.write_each(writes).await }.await;
    // Of those that are to be written, one outcome each; or one for all.
    let (mut each, failure) = match written {
        Ok(each) => (each.into_iter(), SpaceError::Stopped),
        Err(error) => (Vec::new().into_iter(), error),
    };
    let outcome = |change: &Result<Write, No>| match change {
        _ if matches!(failure, SpaceError::NoSuchSpace) => Err(No::from(failure.clone())),
        Err(no) => Err(no.clone()),
        Ok(_) => match each.next() {
            Some(written) => written.map_err(|refusal| No::from(SpaceError::from(refusal))),
            None => Err(No::from(failure.clone())),
        },
    };
    let outcomes: Vec<_> = changes.iter().map(outcome).collect();
    asked.iter().zip(outcomes).map(|(update, outcome)| ack(update, outcome)).collect()
}

fn change(writer: NodeId, update: &UpdateData) -> Result<Write, No> {
    let value: Option<Bytes> = update.change()?;
    // Nobody but this node could know that it was this peer who said so.
    if writer.is_self_certifying() {
        return Err(No::NotSigned);
    }
    Ok(Write::Plain { writer, key: update.key.as_str().into(), value })
}

fn ack(update: &UpdateData, outcome: Result<Option<Version>, No>) -> UpdateAck {
    match outcome {
        Ok(Some(version)) => UpdateAck { time_ms: Some(version.time.millis()), ..update.echo() },
        Ok(None) if update.delete == Some(true) => update.echo(),
        // It has been left meanwhile.
        Ok(None) => ack(update, Err(SpaceError::NoSuchSpace.into())),
        Err(no) => {
            let (refused, detail) = no.told();
            UpdateAck { refused, detail, ..update.echo() }
        }
    }
}

impl Actor for Classic {
    type Context = Context<Self>;
}

impl Handler<Received<GetData>> for Classic {
    type Result = ();

    fn handle(&mut self, received: Received<GetData>, ctx: &mut Context<Self>) {
        self.take(Job::Get(received), ctx);
    }
}

impl Handler<Received<UpdateData>> for Classic {
    type Result = ();

    fn handle(&mut self, received: Received<UpdateData>, ctx: &mut Context<Self>) {
        self.take(Job::Update(received), ctx);
    }
}

impl Handler<Received<Quit>> for Classic {
    type Result = ();

    fn handle(&mut self, received: Received<Quit>, ctx: &mut Context<Self>) {
        self.take(Job::Quit(received), ctx);
    }
}

impl Handler<Stop> for Classic {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
