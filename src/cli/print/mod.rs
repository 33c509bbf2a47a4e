//! The only printing: what goes to stdout and stderr besides the log, and how it reads.
//!
//! A closed stdout (`| head`) is not an error: whoever read has read enough. A closed stderr is
//! nobody to tell.

mod config;
pub(crate) mod data;
pub(crate) mod doctor;
mod join;
pub(crate) mod node;
pub(crate) mod paint;
mod sim;
mod table;
pub(crate) mod why;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use peerage::{HostPort, StoredKey};

pub(crate) use self::{
    config::{default_values, settings_toml},
    join::{Join, join_command},
    sim::{sim_cost, sim_report},
};
use super::error::{Failure, one_line};

/// Says why the command failed: one line on stderr.
pub(crate) fn failure(failure: &Failure) {
    if let Failure::Help(text) = failure {
        // There is nobody to tell if stderr is closed.
        text.print().ok();
        return;
    }
    stderr(&format!("peerage: {}\n", one_line(&failure.to_string())));
}

/// Writes to stderr as it is.
pub(crate) fn stderr(text: &str) {
    // There is nobody to tell if stderr is closed.
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Writes to stdout.
pub(crate) fn stdout(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    accept_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())).map(|_| ())
}

/// Empties a terminal, and begins at its top.
pub(crate) const CLEAR: &str = "\x1b[2J\x1b[H";

/// Writes to stdout, one piece of several. Whether anybody still reads.
pub(crate) fn piece(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    accept_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Writes bytes to stdout. Whether anybody still reads.
pub(crate) fn bytes(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    accept_closed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Writes clap's help or version, coloured if stdout is a terminal.
pub(crate) fn help(text: &clap::Error) -> Result<(), Failure> {
    accept_closed(text.print()).map(|_| ())
}

/// Whether stdout is still open; an error if it broke in another way than by closing.
fn accept_closed(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Failure::System { what: "write to stdout", source }),
    }
}

/// The lines of a devnet, on stdout, until that closes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What stopped the lines.
    end: Option<Result<(), Failure>>,
}

impl Lines {
    /// Writes one or more lines; after the end it does nothing.
    pub(crate) fn write(&mut self, text: &str) {
        if self.end.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        match accept_closed(writeln!(stdout, "{text}").and_then(|()| stdout.flush())) {
            Ok(true) => {}
            Ok(false) => self.end = Some(Ok(())),
            Err(failure) => self.end = Some(Err(failure)),
        }
    }

    /// How the lines ended, once, if they have.
    pub(crate) const fn take_end(&mut self) -> Option<Result<(), Failure>> {
        self.end.take()
    }
}

/// What a node says on start.
#[derive(Debug)]
pub(crate) struct Started {
    /// The node's id.
    pub(crate) id: String,
    /// Where it listens.
    pub(crate) listen: Vec<HostPort>,
    /// Where its control API is, and the file with the token.
    pub(crate) api: Option<(SocketAddr, PathBuf)>,
    /// How others can join it.
    pub(crate) join: Join,
    /// Where its key is kept, if that was made just now.
    pub(crate) new_key: Option<PathBuf>,
}

impl Started {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("peerage {}, node {}\n", env!("CARGO_PKG_VERSION"), self.id);
        if let Some(path) = &self.new_key {
            let path = one_line(&path.display().to_string());
            text.push_str(&format!("its key is new, and kept in {path}\n"));
        }
        for addr in &self.listen {
            text.push_str(&format!("listening on {addr}\n"));
        }
        if let Some((addr, token)) = &self.api {
            let token = one_line(&token.display().to_string());
            text.push_str(&format!("control API on {addr}, token in {token}\n"));
        }
        match &self.join {
            Join::Command(join) => {
                text.push_str(&format!("to join it from another terminal: {join}\n"));
            }
            Join::OnlyListed => text.push_str("only the nodes on its list can join it\n"),
            Join::Never => text.push_str("not listening: it dials others, nobody can dial it\n"),
        }
        text
    }

    /// For programs: one log event.
    pub(crate) fn log(&self) {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        tracing::info!(
            target: super::logging::START,
            version = env!("CARGO_PKG_VERSION"),
            node = self.id,
            listen = listen.join(","),
            api = self.api.as_ref().map(|(addr, _)| addr.to_string()),
            join = self.join.command(),
            new_key = self.new_key.as_ref().map(|path| path.display().to_string()),
            "started"
        );
    }
}

/// A moment since the start: `+0.012s`.
pub(crate) fn since_start(elapsed: Duration) -> String {
    format!("+{:.3}s", elapsed.as_secs_f64())
}

/// What `peerage id` shows: all there is to know of a key but its secret.
pub(crate) fn identity(stored: &StoredKey, is_json: bool) -> String {
    let (id, public) = (stored.key.node_id(), stored.key.public());
    let file = stored.file.to_string_lossy();
    if is_json {
        let json = serde_json::json!({
            "node": id,
            "public_key": public.to_string(),
            "key_file": file,
        });
        return format!("{json}\n");
    }
    format!("node        {id}\npublic key  {public}\nkey file    {}\n", one_line(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_lines_say_id_addresses_and_join_command() {
        let listen: Vec<HostPort> =
            ["0.0.0.0:5999", "[::]:5999"].map(|addr| addr.parse().unwrap()).into();
        let join = Join::Command("a command".to_owned());
        let mut started =
            Started { id: "an-id".to_owned(), listen, api: None, join, new_key: None };
        let first = format!("peerage {}, node an-id\n", env!("CARGO_PKG_VERSION"));
        let rest = "listening on 0.0.0.0:5999\nlistening on [::]:5999\n\
                    to join it from another terminal: a command\n";
        assert_eq!(started.text(), format!("{first}{rest}"));
        started.new_key = Some("d/node.key".into());
        let new = "its key is new, and kept in d/node.key\n";
        assert_eq!(started.text(), format!("{first}{new}{rest}"));
        started.api = Some((([127, 0, 0, 1], 7999).into(), "d/api.token".into()));
        assert!(started.text().contains("\ncontrol API on 127.0.0.1:7999, token in d/api.token\n"));
    }
}
