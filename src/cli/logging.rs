//! The log: from `tracing` events to lines on stderr.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, filter::Directive};

use super::{print::paint::is_unwanted, resolve::LogFormat};

/// The target of the event that says a node has started. In JSON it stands for the start lines,
/// which no filter hides, so no filter hides it.
pub(crate) const START: &str = "peerage::start";

/// The most log that is held back; more is let through.
const MAX_HELD: usize = 64 * 1024;

/// A log whose lines wait until the start lines are out.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Mutex<Held>>);

/// What waits.
#[derive(Debug)]
enum Held {
    /// These bytes.
    Back(Vec<u8>),
    /// Nothing: lines go straight to stderr.
    Nothing,
}

/// Sends the log to stderr from now on; text waits for [`Log::release`]. The filter is known to
/// parse.
pub(crate) fn start(filter: &str, format: LogFormat) -> Log {
    // What the HTTP server says of its start is no news of the node; it can be asked for by name.
    let quiet = if filter.contains("actix") { "" } else { ",actix_server=warn" };
    let filter = EnvFilter::builder().parse_lossy(format!("{filter}{quiet}"));
    let held = match format {
        LogFormat::Text => Held::Back(Vec::new()),
        LogFormat::Json => Held::Nothing,
    };
    let log = Log(Arc::new(Mutex::new(held)));
    let writer = log.clone();
    // A line that cannot be written is nobody's to read; tracing would panic over it on a closed
    // stderr.
    let builder =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_env_filter(filter).with_ansi(is_colourful()).init(),
        LogFormat::Json => {
            let filter = match format!("{START}={}", LevelFilter::INFO).parse::<Directive>() {
                Ok(always) => filter.add_directive(always),
                Err(_) => filter,
            };
            let json = builder.json().flatten_event(true);
            let json = json.with_current_span(false).with_span_list(false);
            json.with_env_filter(filter).init();
        }
    }
    log
}

impl Log {
    /// Lets what waits, and all that follows, go to stderr.
    pub(crate) fn release(&self) {
        // There is nobody to tell if stderr is closed.
        self.0.lock().release().ok();
    }
}

impl Held {
    /// Writes what waits.
    fn release(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Back(bytes) => io::stderr().write_all(&bytes),
            Self::Nothing => Ok(()),
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock();
        if let Held::Back(back) = &mut *held {
            if back.len() + bytes.len() <= MAX_HELD {
                back.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            held.release()?;
        }
        io::stderr().write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stderr shows colours, and the person wants them (<https://no-color.org>).
fn is_colourful() -> bool {
    io::stderr().is_terminal() && !is_unwanted()
}
