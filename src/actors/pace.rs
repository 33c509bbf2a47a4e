//! When an actor that owns a machine is woken for it, and when it lets others have their turn.

use actix::{fut::wrap_future, prelude::*};

use crate::clock::{Clock, Moment};

/// After so many messages of peers, others of the thread get their turn.
const YIELD_EVERY: usize = 64;

/// The one timer of an actor: set for what its machine wants next.
#[derive(Debug, Default)]
pub struct Alarm {
    set: Option<(Moment, SpawnHandle)>,
}

impl Alarm {
    /// Has the actor woken at this moment, if there is one. An earlier timer is left to fire: it finds
    /// nothing due and sets the later one. What is called then is to say [`rang`](Self::rang).
    pub fn set<A: Actor<Context = Context<A>>>(
        &mut self,
        clock: Clock,
        due: Option<Moment>,
        ctx: &mut Context<A>,
        ring: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) {
        let Some(due) = due.filter(|due| self.set.is_none_or(|(set, _)| *due < set)) else {
            return;
        };
        if let Some((_, timer)) = self.set.take() {
            ctx.cancel_future(timer);
        }
        self.set = Some((due, ctx.run_later(clock.until(due), ring)));
    }

    /// It has gone off.
    pub const fn rang(&mut self) {
        self.set = None;
    }
}

/// Counts the messages of peers that an actor has handled.
#[derive(Debug, Default)]
pub struct Turns {
    taken: usize,
}

impl Turns {
    /// So many more are handled. An actix mailbox is drained before timers and other tasks of the thread get
    /// their turn; sessions of other threads could keep it full for ever.
    pub fn took<A: Actor<Context = Context<A>>>(&mut self, n: usize, ctx: &mut Context<A>) {
        self.taken += n;
        if self.taken >= YIELD_EVERY {
            self.taken = 0;
            ctx.wait(wrap_future::<_, A>(tokio::task::yield_now()));
        }
    }
}
