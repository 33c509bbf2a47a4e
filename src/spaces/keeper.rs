//! Runs what is to be done with the store, and what is prepared for it: on threads of their own, since a disk
//! takes its time, or, for a store in memory, where it is.

use std::{sync::Arc, thread};

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::store::Store;

/// Something done with what is kept, which may be closed.
type Work<T> = dyn FnOnce(&mut Option<T>) + Send;

/// What is to be done.
#[derive(Message)]
#[rtype(result = "()")]
struct Job<T>(Box<Work<T>>);

/// What is kept, or a clone of it, on a thread of its own.
struct OnThread<T>(Option<T>);

impl<T: Unpin + 'static> Actor for OnThread<T> {
    type Context = SyncContext<Self>;
}

impl<T: Unpin + 'static> Handler<Job<T>> for OnThread<T> {
    type Result = ();

    fn handle(&mut self, Job(job): Job<T>, _: &mut Self::Context) {
        job(&mut self.0);
    }
}

/// The way to a store, or to whoever prepares what is written there. Clones lead to the same one.
///
/// What is on its way is bounded by those who send it: each waits for its answer.
#[derive(Debug)]
pub(super) struct Keeper<T: Unpin + 'static> {
    way: Way<T>,
    threads: usize,
}

#[derive(Debug)]
enum Way<T: Unpin + 'static> {
    Thread(Addr<OnThread<T>>),
    Here(Arc<Mutex<Option<T>>>),
}

impl<T: Unpin + 'static> Clone for Keeper<T> {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::Thread(thread) => Way::Thread(thread.clone()),
            Way::Here(kept) => Way::Here(kept.clone()),
        };
        Self { way, threads: self.threads }
    }
}

/// The store was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl<T: Send + Unpin + 'static> Keeper<T> {
    /// Keeps something on a thread of its own. Must be called inside an actix system.
    #[must_use]
    pub(super) fn on_thread(kept: T, name: &'static str) -> Self {
        // The arbiter wants to be able to make a second one, but would do so only for an actor that
        // stops itself.
        let kept = Mutex::new(Some(kept));
        Self::start(1, name, move || kept.lock().take())
    }

    /// Has things done on some threads, each with its own clone, so that two of them may be done at the same
    /// time and the later one first. Must be called inside an actix system.
    #[must_use]
    pub(super) fn on_threads(kept: T, name: &'static str, threads: usize) -> Self
    where
        T: Clone,
    {
        let kept = Mutex::new(kept);
        Self::start(threads, name, move || Some(kept.lock().clone()))
    }

    fn start(
        threads: usize,
        name: &'static str,
        kept: impl Fn() -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let thread = move || thread::Builder::new().name(name.to_owned());
        let make = move || OnThread(kept());
        let way = Way::Thread(SyncArbiter::start_with_thread_builder(threads, thread, make));
        Self { way, threads }
    }

    /// Has everything done where it is asked for, at once.
    #[must_use]
    pub(super) fn here(kept: T) -> Self {
        Self { way: Way::Here(Arc::new(Mutex::new(Some(kept)))), threads: 1 }
    }

    /// How many things may be done at a time.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// Does something with what is kept; on one thread, after all that was asked for before. It is done even
    /// if nobody waits for it any more.
    ///
    /// # Errors
    /// The store was closed.
    pub(super) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        self.take(|kept| kept.as_mut().map(job)).await
    }

    async fn take<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Option<T>) -> Option<R> + Send + 'static,
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

impl Keeper<Store> {
    /// Closes the store: later calls find it closed.
    ///
    /// # Errors
    /// It was closed already.
    pub(super) async fn close(&self) -> Result<Result<(), crate::store::StoreError>, Closed> {
        self.take(|store| store.take().map(Store::close)).await
    }
}
