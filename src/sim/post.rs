//! The simulated network's post: wakes each reader at the moment at which bytes reach it.
//!
//! One timer serves all connections. A reader is woken once per arrival and has no timer of its
//! own, which is most of what makes a message cheap.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use super::stream::{Cable, Side};

/// A point of simulated time: whole milliseconds since the post was opened.
pub(super) type Tick = u64;

/// What is on its way in one network.
#[derive(Debug)]
pub(super) struct Post {
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whose reader is to be woken when.
    due: BTreeMap<Tick, Vec<(Arc<Cable>, Side)>>,
    /// Lists that have been worked off, to be used again.
    spare: Vec<Vec<(Arc<Cable>, Side)>>,
    /// What the postman sleeps until.
    armed: Option<Tick>,
    postman: Option<Waker>,
    is_manned: bool,
}

impl Post {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), state: Mutex::default() }
    }

    /// The current tick. Under the clock of a simulation all moments are whole milliseconds apart.
    pub(super) fn now(&self) -> Tick {
        Tick::try_from(self.opened.elapsed().as_millis()).unwrap_or(Tick::MAX)
    }

    /// Has the reader on this side of a cable woken at a tick.
    pub(super) fn deliver(&self, at: Tick, cable: Arc<Cable>, reader: Side) {
        let mut state = self.state.lock();
        let State { due, spare, .. } = &mut *state;
        due.entry(at).or_insert_with(|| spare.pop().unwrap_or_default()).push((cable, reader));
        if state.armed.is_none_or(|armed| at < armed)
            && let Some(postman) = state.postman.take()
        {
            postman.wake();
        }
    }

    /// Starts the postman, unless there is one. Must be called where actors can run.
    pub(super) fn man(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if !state.is_manned {
            state.is_manned = true;
            let sleep = Box::pin(sleep_until(self.opened));
            actix_rt::spawn(Postman { post: Arc::downgrade(self), sleep });
        }
    }

    /// Whom to wake by now.
    fn take_due(&self, now: Tick) -> Option<Vec<(Arc<Cable>, Side)>> {
        let mut state = self.state.lock();
        let first = state.due.first_entry()?;
        (*first.key() <= now).then(|| first.remove())
    }

    fn give_back(&self, mut list: Vec<(Arc<Cable>, Side)>) {
        list.clear();
        self.state.lock().spare.push(list);
    }

    /// When the next reader is due. Until it sleeps, the postman is woken for whatever comes.
    fn arm(&self, waker: &Waker) -> Option<Instant> {
        let mut state = self.state.lock();
        state.armed = state.due.first_key_value().map(|(at, _)| *at);
        state.postman = Some(waker.clone());
        state.armed.map(|at| self.opened + Duration::from_millis(at))
    }
}

/// Wakes who is due, as long as anybody keeps the network.
struct Postman {
    post: Weak<Post>,
    sleep: Pin<Box<Sleep>>,
}

impl Future for Postman {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(post) = this.post.upgrade() else { return Poll::Ready(()) };
        loop {
            while let Some(mut list) = post.take_due(post.now()) {
                for (cable, side) in list.drain(..) {
                    cable.wake_reader(side);
                }
                post.give_back(list);
            }
            let Some(next) = post.arm(cx.waker()) else { return Poll::Pending };
            this.sleep.as_mut().reset(next);
            if this.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
