//! What happens when an actor that the node cannot do without dies: the node goes down loudly.
//!
//! Registry, discovery, dialer, listener and journal each hold a [`Vital`]. If it is dropped while
//! the node is not stopping, because a handler panicked or the actor stopped, the node's handle
//! reports it, and whoever runs the node ends it with an error. None of them is restarted: each
//! holds state that the others rely on, and a table that has lost its memory would lie.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;
use tokio::sync::watch;

/// A core actor died. The node is no longer whole and should be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the {actor} actor has died")]
pub struct NodeFailure {
    /// Which.
    pub actor: &'static str,
}

/// Where deaths are reported to; shared by a node's vital actors.
#[derive(Debug, Clone)]
pub struct Watch {
    failed: Arc<watch::Sender<Option<NodeFailure>>>,
    stopping: Arc<AtomicBool>,
}

impl Watch {
    /// Nobody has died yet.
    #[must_use]
    pub fn new() -> Self {
        Self { failed: Arc::new(watch::Sender::new(None)), stopping: Arc::default() }
    }

    /// A guard for the actor of this name.
    #[must_use]
    pub fn guard(&self, actor: &'static str) -> Vital {
        Vital { actor, watch: self.clone() }
    }

    /// From now on actors may end. Whether this was the first call.
    pub fn stopping(&self) -> bool {
        !self.stopping.swap(true, Ordering::SeqCst)
    }

    /// The first death; waits for one.
    pub async fn failed(&self) -> NodeFailure {
        let mut failures = self.failed.subscribe();
        let failure = failures.wait_for(Option::is_some).await.ok().and_then(|failure| *failure);
        // The sender lives in `self`, so waiting cannot fail.
        failure.unwrap_or(NodeFailure { actor: "watch" })
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// Reports its holder's death when it is dropped.
pub struct Vital {
    actor: &'static str,
    watch: Watch,
}

impl fmt::Debug for Vital {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vital").field(&self.actor).finish()
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if self.watch.stopping.load(Ordering::SeqCst) {
            return;
        }
        tracing::error!(actor = self.actor, "a core actor has died");
        let failure = NodeFailure { actor: self.actor };
        self.watch.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            *failed = failed.or(Some(failure));
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use actix::prelude::*;

    use super::*;

    struct Fragile(#[expect(dead_code, reason = "held for its drop")] Vital);

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    enum Do {
        Panic,
        Stop,
    }

    impl Handler<Do> for Fragile {
        type Result = ();

        fn handle(&mut self, what: Do, ctx: &mut Context<Self>) {
            match what {
                Do::Panic => panic!("as a bug would"),
                Do::Stop => ctx.stop(),
            }
        }
    }

    #[actix::test]
    async fn a_core_actor_that_panics_or_stops_is_reported_by_name() {
        for how in [Do::Panic, Do::Stop] {
            let watch = Watch::new();
            Fragile(watch.guard("registry")).start().do_send(how);
            assert_eq!(watch.failed().await, NodeFailure { actor: "registry" });
        }
    }

    #[actix::test]
    async fn the_first_death_is_the_one_reported_and_an_orderly_end_is_none() {
        let watch = Watch::new();
        drop(watch.guard("discovery"));
        drop(watch.guard("registry"));
        assert_eq!(watch.failed().await.actor, "discovery");

        let watch = Watch::new();
        let guard = watch.guard("registry");
        assert!(watch.stopping() && !watch.stopping());
        drop(guard);
        assert_eq!(*watch.failed.borrow(), None);
    }
}
