//! Keeps the node's decisions, and answers what it decided and why.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix::prelude::*;

use crate::{
    actors::vital::Vital,
    meters::DecisionCounts,
    proto::journal::{Decision, JournalQuery, Kind, Ring},
};

/// Decisions that may wait in the journal's mailbox. Beyond it they are counted and lost: a flood
/// of refusals must not cost the node more than the flood itself.
const MAILBOX: usize = 4096;

/// The most actors that decisions are sent to.
pub const MAX_FOLLOWERS: usize = 16;

impl Message for Decision {
    type Result = ();
}

/// Asks for decisions, oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Decision>")]
pub struct Find(pub JournalQuery);

/// Has every later decision that gets an entry of its own sent to an actor, as long as it lives.
/// Answered with whether there was room for one more follower.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Follow(pub Recipient<Decision>);

/// The shell of [`Ring`].
#[derive(Debug)]
pub struct Journal {
    ring: Ring,
    followers: Vec<Recipient<Decision>>,
    _vital: Option<Vital>,
}

impl Journal {
    /// Starts a journal of this many entries.
    pub fn start(entries: usize, vital: Option<Vital>) -> Addr<Self> {
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            Self { ring: Ring::new(entries), followers: Vec::new(), _vital: vital }
        })
    }
}

impl Actor for Journal {
    type Context = Context<Self>;
}

impl Handler<Decision> for Journal {
    type Result = ();

    fn handle(&mut self, decision: Decision, _: &mut Context<Self>) {
        let Some(decision) = self.ring.push(decision) else { return };
        // What a follower's full mailbox refuses is in the journal all the same.
        self.followers.retain(|follower| {
            !matches!(follower.try_send(decision.clone()), Err(SendError::Closed(_)))
        });
    }
}

impl Handler<Follow> for Journal {
    type Result = bool;

    fn handle(&mut self, Follow(follower): Follow, _: &mut Context<Self>) -> bool {
        self.followers.retain(Recipient::connected);
        let has_room = self.followers.len() < MAX_FOLLOWERS;
        if has_room {
            self.followers.push(follower);
        }
        has_room
    }
}

impl Handler<Find> for Journal {
    type Result = MessageResult<Find>;

    fn handle(&mut self, Find(query): Find, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.ring.find(&query))
    }
}

/// The way to the journal. Clones share the count of what was lost.
#[derive(Debug, Clone)]
pub struct JournalPort {
    to: Recipient<Decision>,
    lost: Arc<AtomicU64>,
    counts: Arc<DecisionCounts>,
}

impl JournalPort {
    /// A way to this journal, or to a mock of it.
    #[must_use]
    pub fn new(to: Recipient<Decision>) -> Self {
        Self { to, lost: Arc::default(), counts: Arc::default() }
    }

    /// Keeps a decision, and traces it.
    pub fn note(&self, decision: Decision) {
        log(&decision);
        self.counts.add(&decision);
        if self.to.try_send(decision).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were of each kind and reason.
    pub(crate) fn counts(&self) -> Vec<(Kind, &'static str, u64)> {
        self.counts.read()
    }

    /// How many decisions were lost since the node started.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Peers coming and going, and what the operator can mend, are news; what strangers can cause at
/// will is detail.
fn log(decision: &Decision) {
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(
                target: "peerage::journal",
                reason = &*decision.reason,
                detail = (!decision.detail.is_empty()).then_some(&*decision.detail),
                numbers = (!decision.numbers.is_empty())
                    .then(|| tracing::field::display(&decision.numbers)),
                peer = decision.peer.map(tracing::field::display),
                addr = decision.addr.as_ref().map(tracing::field::display),
                link = decision.link.map(|link| link.0),
                "{}",
                decision.kind.code(),
            )
        };
    }
    match decision.kind {
        Kind::SessionUp | Kind::SessionDown | Kind::StoreRecovered => event!(info),
        Kind::Banned | Kind::Unbanned | Kind::BanExpired => event!(info),
        Kind::AcceptFailed | Kind::NotResolved | Kind::StoreFailed => event!(warn),
        Kind::DialFailed if decision.numbers.get("bootstrap").is_some() => event!(warn),
        _ => event!(debug),
    }
}
