//! SIGINT and SIGTERM: the first asks for an orderly stop, the second ends the process at once.
//!
//! A thread of its own waits for them, so that they work even while the node's thread is busy.

use std::{io, process, sync::mpsc, thread, time::Duration};

use tokio::sync::watch;

use super::{error::Failure, print};

/// How long an orderly stop may take before the process ends regardless. The promise is 2 s; the
/// rest is for the end of the process itself.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_millis(1800);

/// SIGINT's number, as shells count it into the exit status.
const SIGINT: i32 = 2;

/// SIGTERM's number, as shells count it into the exit status.
#[cfg(unix)]
const SIGTERM: i32 = 15;

/// The request to stop.
#[derive(Debug)]
pub(crate) struct StopRequest(watch::Receiver<bool>);

impl StopRequest {
    /// Resolves when the first signal has come, every time.
    pub(crate) async fn received(&mut self) {
        if self.0.wait_for(|is_received| *is_received).await.is_err() {
            // The thread is gone without a signal: there will be none.
            std::future::pending::<()>().await;
        }
    }
}

/// Takes over both signals, from before this returns until the end of the process.
pub(crate) fn watch() -> Result<StopRequest, Failure> {
    let failed = |source| Failure::System { what: "wait for signals", source };
    let (first, request) = watch::channel(false);
    let (ready, is_ready) = mpsc::sync_channel(1);
    let watcher = thread::Builder::new().name("signals".to_owned());
    watcher.spawn(move || watch_thread(first, &ready)).map_err(failed)?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(StopRequest(request)),
        Ok(Err(source)) => Err(failed(source)),
        Err(gone) => Err(failed(io::Error::other(gone))),
    }
}

/// The thread: reports whether it could start, then waits.
fn watch_thread(first: watch::Sender<bool>, ready: &mpsc::SyncSender<io::Result<()>>) {
    let result = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match result {
        Ok(runtime) => runtime,
        Err(error) => {
            ready.send(Err(error)).ok();
            return;
        }
    };
    runtime.block_on(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                ready.send(Err(error)).ok();
                return;
            }
        };
        ready.send(Ok(())).ok();
        signals.next().await;
        // Nobody listens if the node has just ended by itself; then the process ends, too.
        first.send(true).ok();
        tokio::select! {
            signal = signals.next() => process::exit(128 + signal),
            () = tokio::time::sleep(STOP_DEADLINE) => {
                print::stderr("peerage: the orderly stop took too long, leaving without it\n");
                process::exit(0)
            }
        }
    });
}

/// Both signals.
#[cfg(unix)]
struct Signals {
    /// Ctrl-C.
    interrupt: tokio::signal::unix::Signal,
    /// What service managers send.
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Takes the signals over.
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}

/// Ctrl-C alone, where there is nothing else.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Nothing to take over.
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// The number Ctrl-C has elsewhere.
    async fn next(&mut self) -> i32 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        SIGINT
    }
}
