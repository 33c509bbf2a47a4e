//! Runs what is to be done with the store: on a thread of its own, since a disk takes its time, or, for a
//! store in memory, where it is.

use std::{sync::Arc, thread};

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::store::Store;

/// Something done with a store, which may be closed.
type Work = dyn FnOnce(&mut Option<Store>) + Send;

/// What is to be done.
#[derive(Message)]
#[rtype(result = "()")]
struct Job(Box<Work>);

/// The store on a thread of its own.
struct OnThread(Option<Store>);

impl Actor for OnThread {
    type Context = SyncContext<Self>;
}

impl Handler<Job> for OnThread {
    type Result = ();

    fn handle(&mut self, Job(job): Job, _: &mut Self::Context) {
        job(&mut self.0);
    }
}

/// The way to a store. Clones lead to the same one.
///
/// What is on its way is bounded by those who send it: each waits for its answer.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Thread(Addr<OnThread>),
    Here(Arc<Mutex<Option<Store>>>),
}

/// The store was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl Keeper {
    /// Keeps a store on a thread of its own. Must be called inside an actix system.
    #[must_use]
    pub(super) fn on_thread(store: Store) -> Self {
        // The arbiter wants to be able to make a second one, but would do so only for an actor that
        // stops itself.
        let store = Mutex::new(Some(store));
        let make = move || OnThread(store.lock().take());
        let thread = || thread::Builder::new().name("peerage-spaces".to_owned());
        Self { way: Way::Thread(SyncArbiter::start_with_thread_builder(1, thread, make)) }
    }

    /// Keeps a store that is in memory: everything is done where it is asked for, at once.
    #[must_use]
    pub(super) fn here(store: Store) -> Self {
        Self { way: Way::Here(Arc::new(Mutex::new(Some(store)))) }
    }

    /// Does something with the store, after all that was asked for before. It is done even if nobody waits
    /// for it any more.
    ///
    /// # Errors
    /// The store was closed.
    pub(super) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        self.take(|store| store.as_mut().map(job)).await
    }

    /// Closes the store: later calls find it closed.
    ///
    /// # Errors
    /// It was closed already.
    pub(super) async fn close(&self) -> Result<Result<(), crate::store::StoreError>, Closed> {
        self.take(|store| store.take().map(Store::close)).await
    }

    async fn take<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Option<Store>) -> Option<R> + Send + 'static,
    ) -> Result<R, Closed> {
        match &self.way {
            Way::Here(store) => job(&mut store.lock()).ok_or(Closed),
            Way::Thread(thread) => {
                let (answer, answered) = oneshot::channel();
                thread.do_send(Job(Box::new(move |store| {
                    // Whoever asked may have gone.
                    let _gone = answer.send(job(store));
                })));
                answered.await.ok().flatten().ok_or(Closed)
            }
        }
    }
}
