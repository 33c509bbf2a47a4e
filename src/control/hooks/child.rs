//! One run of the program: from its start to its end, whoever brings that about.

use std::{collections::BTreeSet, io, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    Ended, Hook, REAP,
    lines::{Lines, Pace},
    no_longer_wanted,
    words::{self, MAX_COMMAND},
};
use crate::{
    clock::Clock,
    control::{
        Control,
        listener::{Listener, Wish},
        model::ApiError,
    },
    proto::token_bucket::TokenBucket,
};

/// The most commands under way at a time, those whose answers are not written yet among them.
pub const MAX_COMMANDS: usize = 16;

/// How much is read of what the program says, in bytes per second; each line costs a kilobyte more.
pub const COMMAND_BYTES: u32 = 2 << 20;

/// How much is read of its stderr, likewise.
const LOG_BYTES: u32 = 1 << 20;

/// The longest line of its stderr that is logged whole, in bytes.
const MAX_LOG_LINE: usize = 1024;

/// Lines of its stderr that are logged at once, and per second in the long run; others are counted.
const LOG_LINES: (u32, u32) = (100, 10);

/// An answer to a command, and the place that it takes until it is written.
struct Reply {
    line: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

/// Runs the program once. `seen` is the number of the last event that it was told.
pub(super) async fn run(
    control: &Control,
    hook: &Hook,
    seen: &mut u64,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let mut listener = match listen(control, hook, *seen).await {
        Ok(listener) => listener,
        Err(error) => return Ended::NotHeard(error),
    };
    let mut child = match spawn(hook) {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error),
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Ended::NotStarted(io::Error::other("it has no pipes"));
    };
    tracing::info!(program = ?hook.program, pid = child.id(), "the hook runs");
    let clock = control.node().clock();
    let (replies, written) = mpsc::channel(MAX_COMMANDS);
    let mut telling = Box::pin(tell(stdin, &mut listener, written, hook.patience.unread));
    let (mut hearing, mut logging) =
        (std::pin::pin!(hear(stdout, control, replies)), std::pin::pin!(log(stderr, clock)));
    let (mut is_heard, mut is_logged) = (false, false);
    let ended = loop {
        tokio::select! {
            () = no_longer_wanted(stop) => break Ended::Stopped,
            exited = child.wait() => break exited.map_or_else(Ended::Unknown, Ended::Exited),
            ended = &mut telling => break ended,
            () = &mut hearing, if !is_heard => is_heard = true,
            () = &mut logging, if !is_logged => is_logged = true,
        }
    };
    // This closes its stdin.
    drop(telling);
    *seen = listener.seen();
    // What it said before its end still counts, whatever else holds its pipes open.
    let rest = async {
        let heard = async {
            if !is_heard {
                hearing.await;
            }
        };
        let logged = async {
            if !is_logged {
                logging.await;
            }
        };
        tokio::join!(child.wait(), heard, logged).0
    };
    let last = timeout(hook.patience.grace, rest).await;
    match (ended, last) {
        (Ended::Closed, Ok(Ok(status))) => Ended::Exited(status),
        (ended, Ok(_)) => ended,
        (ended, Err(_)) => {
            kill(&mut child).await;
            ended
        }
    }
}

async fn listen(control: &Control, hook: &Hook, seen: u64) -> Result<Listener, ApiError> {
    let wish = Wish { names: hook.only.clone(), topics: BTreeSet::new() };
    let mut listener = Listener::new(&control.feed, &control.hub, wish, Some(seen)).await?;
    for topic in &hook.topics {
        listener.take(topic.clone()).await?;
    }
    Ok(listener)
}

fn spawn(hook: &Hook) -> io::Result<Child> {
    let mut command = Command::new(&hook.program);
    command.args(&hook.args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A group of its own: what is typed at the node's terminal is for the node, which ends it in good
    // order, and whatever it has started can be killed with it.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// Kills it, and what it has started, if it still runs.
async fn kill(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        && let Err(error) =
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
    {
        tracing::debug!(%error, "the hook's process group cannot be killed");
    }
    match timeout(REAP, child.kill()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the hook cannot be killed"),
        Err(_) => tracing::warn!("the hook was killed, and has not ended yet"),
    }
}

/// Writes events and answers, as they come, to its stdin.
async fn tell(
    mut stdin: ChildStdin,
    listener: &mut Listener,
    mut replies: mpsc::Receiver<Reply>,
    unread: Duration,
) -> Ended {
    loop {
        let written = tokio::select! {
            // The sender may be gone, when it has closed its stdout.
            Some(reply) = replies.recv() => write(&mut stdin, &reply.line, unread).await,
            next = listener.next() => {
                let Some(next) = next else { return Ended::Stopped };
                let line = format!("{}\n", next.told.json);
                write(&mut stdin, line.as_bytes(), unread).await
            }
        };
        if let Err(ended) = written {
            return ended;
        }
    }
}

/// Writes all of it, as long as some of it is taken in each such time.
async fn write(stdin: &mut ChildStdin, mut bytes: &[u8], unread: Duration) -> Result<(), Ended> {
    while !bytes.is_empty() {
        match timeout(unread, stdin.write(bytes)).await {
            Ok(Ok(n)) if n > 0 => bytes = bytes.get(n..).unwrap_or_default(),
            Ok(_) => return Err(Ended::Closed),
            Err(_) => return Err(Ended::Unread),
        }
    }
    Ok(())
}

/// Does what it says on its stdout, until it says no more and all is done.
async fn hear(stdout: ChildStdout, control: &Control, replies: mpsc::Sender<Reply>) {
    let pace = Pace::new(COMMAND_BYTES, control.node().clock());
    let mut lines = Lines::new(stdout, MAX_COMMAND, pace);
    let places = Arc::new(Semaphore::new(MAX_COMMANDS));
    let mut commands = JoinSet::new();
    // Nobody closes the semaphore.
    while let Ok(place) = places.clone().acquire_owned().await {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the hook cannot be heard any more");
                break;
            }
        };
        if line.bytes.trim_ascii().is_empty() && !line.is_cut {
            continue;
        }
        let (control, replies) = (control.clone(), replies.clone());
        commands.spawn_local(async move {
            let (tag, command) = words::command(&line);
            drop(line);
            let result = match command {
                Ok(command) => control.execute(command).await,
                Err(error) => Err(error),
            };
            let reply = Reply { line: words::reply(&tag, &result), _place: place };
            // If it does not read any more, it does not want to know.
            let _unread = replies.send(reply).await;
        });
        while let Some(done) = commands.try_join_next() {
            report(done);
        }
    }
    while let Some(done) = commands.join_next().await {
        report(done);
    }
}

/// A command that has died is a fault of the node.
fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        tracing::error!(%error, "a command of the hook was not brought to its end");
    }
}

/// Puts what it writes to its stderr into the node's log.
async fn log(stderr: ChildStderr, clock: Clock) {
    let mut lines = Lines::new(stderr, MAX_LOG_LINE, Pace::new(LOG_BYTES, clock));
    let (burst, per_second) = LOG_LINES;
    let mut allowance = TokenBucket::new(burst, per_second, clock.now());
    let mut unsaid: u64 = 0;
    while let Ok(Some(line)) = lines.next().await {
        if allowance.take(clock.now(), 1) == 0 {
            unsaid += 1;
            continue;
        }
        report_unsaid(&mut unsaid);
        let more = if line.is_cut { "..." } else { "" };
        // As a debug string: no control character of its gets into the log.
        let text = format!("{}{more}", String::from_utf8_lossy(&line.bytes));
        tracing::info!(stderr = ?text, "hook");
    }
    report_unsaid(&mut unsaid);
}

fn report_unsaid(unsaid: &mut u64) {
    let lines = std::mem::take(unsaid);
    if lines > 0 {
        tracing::warn!(lines, "lines of the hook's stderr were not logged: it writes too many");
    }
}
