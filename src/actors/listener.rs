//! Accepts connections on one listening address and starts a session on each.
//!
//! Whether a connection may stay is decided by the registry when it has heard of it. When the
//! operating system refuses (no file descriptors left), accepting pauses and comes back.

use std::{
    borrow::Cow,
    io,
    pin::Pin,
    task::{Context as Task, Poll},
    time::Duration,
};

use actix::prelude::*;
use tokio::time::{Sleep, sleep};

use super::{journal::JournalPort, registry::Stop, session::Launcher, vital::Vital};
use crate::{
    address::HostPort,
    clock::Clock,
    proto::journal::{Decision, Kind},
    transport::Transport,
};

/// Connections accepted before other tasks of the thread get their turn.
const ACCEPTS_PER_POLL: usize = 32;

/// The first pause after a failed accept; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The listener of one address.
#[derive(Debug)]
pub struct Listener {
    launcher: Launcher,
    addr: HostPort,
    clock: Clock,
    journal: JournalPort,
    _vital: Option<Vital>,
}

impl Listener {
    /// Starts accepting.
    pub fn start<T: Transport>(
        listener: T::Listener,
        addr: HostPort,
        launcher: Launcher,
        vital: Option<Vital>,
    ) -> Addr<Self> {
        let env = launcher.env();
        let (clock, journal) = (env.clock, env.journal.clone());
        Self::create(|ctx| {
            ctx.spawn(Accept::<T> { listener, pause: FIRST_PAUSE, pausing: None });
            Self { launcher, addr, clock, journal, _vital: vital }
        })
    }

    fn refused(&self, error: &io::Error) {
        let note = Decision::new(self.clock.now(), Kind::AcceptFailed, code_of(error));
        self.journal.note(note.detail(error.to_string()).addr(self.addr.clone()));
    }
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Stop> for Listener {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Accepts for ever.
struct Accept<T: Transport> {
    listener: T::Listener,
    pause: Duration,
    pausing: Option<Pin<Box<Sleep>>>,
}

impl<T: Transport> ActorFuture<Listener> for Accept<T> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut Listener,
        _: &mut Context<Listener>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ACCEPTS_PER_POLL {
            if let Some(pausing) = &mut this.pausing {
                if pausing.as_mut().poll(task).is_pending() {
                    return Poll::Pending;
                }
                this.pausing = None;
            }
            match T::poll_accept(&mut this.listener, task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(connection)) => {
                    this.pause = FIRST_PAUSE;
                    actor.launcher.inbound::<T>(connection);
                }
                // The peer went away between its connecting and our accepting.
                Poll::Ready(Err(error)) if is_about_the_peer(&error) => {}
                Poll::Ready(Err(error)) => {
                    actor.refused(&error);
                    this.pausing = Some(Box::pin(sleep(this.pause)));
                    this.pause = (this.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A stable code; the standard library has no name for the commonest.
fn code_of(error: &io::Error) -> Cow<'static, str> {
    if is_out_of_files(error) {
        return "too-many-files".into();
    }
    error.kind().to_string().into()
}

/// Whether this process, or the whole machine, has no file descriptors left.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}
