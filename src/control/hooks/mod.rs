//! A program of the operator's that hears what happens in the node, and may tell it what to do.
//!
//! It gets each [`Event`](super::model::Event) as one line of JSON on its stdin, and writes
//! [`Command`](super::model::Command)s, one a line, to its stdout; each is answered by one line on stdin.
//! Its stderr goes to the node's log.
//!
//! Invariants:
//! * K1: nothing in the node waits for the program. It reads events from the ring at its own pace, and
//!   learns what it has missed.
//! * K2: what it writes is read no faster than [`COMMAND_BYTES`] per second, and not at all as long as
//!   [`MAX_COMMANDS`] of its commands are under way or their answers unread.
//! * K3: whatever it does, it is there at most once, and started anew only after a pause that grows.

mod child;
mod lines;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::BTreeSet, fmt, io, process::ExitStatus, time::Duration};

use actix_rt::task::JoinHandle;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

pub use self::{
    child::{COMMAND_BYTES, MAX_COMMANDS},
    words::MAX_COMMAND,
};
use super::{Control, model::ApiError};
use crate::{Decision, Kind, overlay::Topic, proto::back_off::BackOff};

/// How long [`Running::stop`] waits beyond the grace for a program that was killed.
const REAP: Duration = Duration::from_millis(250);

/// Which program, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program: a path, or a name that is looked for in `PATH`.
    pub program: String,
    /// Its arguments. No shell sees them.
    pub args: Vec<String>,
    /// The names of the events that it is told, besides `missed`; all if there are none.
    pub only: BTreeSet<String>,
    /// Topics that the node takes for it.
    pub topics: Vec<Topic>,
    /// How patient the node is with it.
    pub patience: Patience,
}

impl Hook {
    /// A program that is told all events, with no topics of its own.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            only: BTreeSet::new(),
            topics: Vec::new(),
            patience: Patience::default(),
        }
    }
}

/// How patient the node is with a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause before it is started again after a first failure; each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// After a run of this length failures are forgotten.
    pub lasting: Duration,
    /// How long it may leave unread what is written to it.
    pub unread: Duration,
    /// How long it has to end by itself, once its stdin is closed.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            lasting: Duration::from_secs(60),
            unread: Duration::from_secs(60),
            // A node promises to stop within two seconds.
            grace: Duration::from_secs(1),
        }
    }
}

/// How a run of the program ended.
#[derive(Debug)]
enum Ended {
    /// The node wanted it to.
    Stopped,
    /// The node has no room for it, or is stopping.
    NotHeard(ApiError),
    /// The system could not start it.
    NotStarted(io::Error),
    /// By itself.
    Exited(ExitStatus),
    /// It left unread what was written to it.
    Unread,
    /// It closed its stdin, and did not end.
    Closed,
    /// The system does not tell how.
    Unknown(io::Error),
}

impl Ended {
    /// A stable code for the journal.
    const fn code(&self) -> &'static str {
        match self {
            Self::Stopped => "hook-stopped",
            Self::NotHeard(_) => "hook-not-heard",
            Self::NotStarted(_) => "hook-not-started",
            Self::Exited(_) | Self::Unknown(_) => "hook-ended",
            Self::Unread => "hook-unread",
            Self::Closed => "hook-closed",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("it was stopped"),
            Self::NotHeard(error) => write!(f, "it was not started: {error}"),
            Self::NotStarted(error) => write!(f, "it cannot be started: {error}"),
            Self::Exited(status) => write!(f, "it has ended: {status}"),
            Self::Unread => f.write_str("it did not read what was written to it, and was killed"),
            Self::Closed => f.write_str("it closed its stdin and did not end, and was killed"),
            Self::Unknown(error) => write!(f, "it has ended: {error}"),
        }
    }
}

/// A hook that is kept running. To drop it ends the hook.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    grace: Duration,
    task: JoinHandle<()>,
}

impl Running {
    /// Closes the program's stdin, and kills it if it does not end then. Returns when it has ended, or
    /// after little more than its grace.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if timeout(self.grace + 2 * REAP, self.task).await.is_err() {
            tracing::warn!("the hook did not end in time");
        }
    }
}

impl Control {
    /// Starts a hook, and starts it again whenever it ends.
    #[must_use]
    pub fn hook(&self, hook: Hook) -> Running {
        let (stop, stopped) = watch::channel(false);
        let grace = hook.patience.grace;
        Running { stop, grace, task: actix_rt::spawn(keep(self.clone(), hook, stopped)) }
    }
}

/// Resolves when the hook is not wanted any more.
async fn no_longer_wanted(stop: &mut watch::Receiver<bool>) {
    // Nobody holds it any more: that says the same.
    let _dropped = stop.wait_for(|stop| *stop).await;
}

/// Keeps the hook running.
async fn keep(control: Control, hook: Hook, mut stop: watch::Receiver<bool>) {
    let clock = control.node().clock();
    let Patience { first_pause, longest_pause, lasting, .. } = hook.patience;
    let mut back_off = BackOff::new(first_pause, longest_pause, lasting);
    // From the node's start on; later, from where the run before it was.
    let mut seen = 0;
    let mut runs = 0;
    loop {
        let began = clock.now();
        runs += 1;
        let ended = child::run(&control, &hook, &mut seen, &mut stop).await;
        if matches!(ended, Ended::Stopped) {
            return;
        }
        let now = clock.now();
        let ran = now.since(began);
        let pause = back_off.after(ran);
        let program = &hook.program;
        tracing::warn!(?program, runs, ?ran, again_in = ?pause, "the hook is down: {ended}");
        control.node().note(
            Decision::new(now, Kind::Extension, ended.code())
                .detail(format!("hook {program:?}: {ended}"))
                .number("runs", runs)
                .number("ran_ms", super::model::millis(ran))
                .number("again_in_ms", super::model::millis(pause)),
        );
        tokio::select! {
            () = sleep(pause) => {}
            () = no_longer_wanted(&mut stop) => return,
        }
    }
}
