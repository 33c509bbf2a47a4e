//! Bans: what the operator asks, what is kept, and who is told.

use std::pin::Pin;

use actix::prelude::*;

use super::{
    actor::Registry,
    messages::{
        BanList, BanTarget, BootstrapResolved, DiscouragedList, LiftBan, ReportBans, SaveBans,
    },
};
use crate::{
    actors::discovery::BanNews,
    proto::{
        bans::{Ban, BanChange, BanError, Standing},
        journal::{Decision, Kind},
    },
};

/// Changes on their way to the store; whether they were kept.
pub(super) type Saving = Pin<Box<dyn Future<Output = bool>>>;

impl Registry {
    /// Has changes kept. `None` if there is nothing to do.
    pub(super) fn keep(&self, changes: Vec<BanChange>) -> Option<Saving> {
        let store = self.store.as_ref().filter(|_| !changes.is_empty())?;
        let n_changes = changes.len();
        let saving = store.send(SaveBans(changes));
        let (clock, journal) = (self.clock, self.journal.clone());
        Some(Box::pin(async move {
            // A store that has ended keeps nothing either.
            let kept = saving.await.unwrap_or(false);
            if !kept {
                let note = Decision::new(clock.now(), Kind::StoreFailed, "bans");
                journal.note(note.count("changes", n_changes));
            }
            kept
        }))
    }

    pub(super) fn report(&self, Standing { target, verdict, until }: Standing) {
        if let Some(listener) = &self.ban_listener {
            listener.do_send(BanNews { target, verdict, until });
        }
    }
}

impl Handler<BanTarget> for Registry {
    type Result = ResponseFuture<Result<Ban, BanError>>;

    fn handle(&mut self, message: BanTarget, ctx: &mut Context<Self>) -> Self::Result {
        let BanTarget { target, lasts, note } = message;
        let now = self.clock.now();
        let banned = self.table.ban(now, target, lasts, note, &mut self.effects);
        let saving = self.apply(now, ctx);
        Box::pin(async move {
            let ban = banned?;
            let is_kept = match saving {
                Some(saving) => saving.await,
                None => true,
            };
            if is_kept { Ok(ban) } else { Err(BanError::NotKept(ban)) }
        })
    }
}

impl Handler<LiftBan> for Registry {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, LiftBan(target): LiftBan, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.clock.now();
        let found = self.table.unban(now, target, &mut self.effects);
        let saving = self.apply(now, ctx);
        Box::pin(async move {
            if let Some(saving) = saving {
                // What could not be kept has been noted, and is lifted for this run.
                let _is_kept: bool = saving.await;
            }
            found
        })
    }
}

impl Handler<BanList> for Registry {
    type Result = MessageResult<BanList>;

    fn handle(&mut self, _: BanList, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.table.bans().cloned().collect())
    }
}

impl Handler<DiscouragedList> for Registry {
    type Result = MessageResult<DiscouragedList>;

    fn handle(&mut self, _: DiscouragedList, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.table.discouraged().collect())
    }
}

impl Handler<ReportBans> for Registry {
    type Result = ();

    fn handle(&mut self, ReportBans(listener): ReportBans, _: &mut Context<Self>) {
        self.ban_listener = Some(listener);
        for standing in self.table.standings() {
            self.report(standing);
        }
    }
}

impl Handler<BootstrapResolved> for Registry {
    type Result = ();

    fn handle(&mut self, message: BootstrapResolved, _: &mut Context<Self>) {
        self.table.resolved(&message.name, &message.addrs);
    }
}
