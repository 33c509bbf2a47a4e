//! Every way a command can fail: one line for the person, one exit status for the shell.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use peerage::{
    DataDirError, NodeFailure, StartError,
    config::ConfigError,
    control::{
        model::{ApiError, Code},
        server::ServeError,
        token::TokenError,
    },
    store::StoreError,
};
use thiserror::Error;

use super::layer::Origin;

/// Why a command ended without success.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The command line, the environment or the file asks for something that cannot be. Nothing
    /// was started.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// No subcommand was given: the whole help text, which goes to stderr as it is.
    #[error("{0}")]
    Help(clap::Error),
    /// The node could not start, for instance because its port is in use.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file of the spaces cannot be used.
    #[error(transparent)]
    Spaces(#[from] StoreError),
    /// The data directory, or the key in it, cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The control API cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its token cannot be kept.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The operating system refused something the command itself needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried, in words that follow "cannot".
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that was asked for cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file, or its directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No node is there to be asked.
    #[error(
        "no node with a control API runs with the data directory {}: start one with `peerage run`, or name its directory with --data-dir DIR",
        .0.display()
    )]
    NoNode(PathBuf),
    /// The node does not answer.
    #[error("no node answers at {base}: {why}; is it still running?")]
    Unreachable {
        /// Where it should be.
        base: String,
        /// What went wrong.
        why: String,
    },
    /// The node answers with something else than it should.
    #[error("the node's answer makes no sense ({0}): is it of another version?")]
    Answer(String),
    /// What it was telling has ended too early.
    #[error("the node has stopped in the middle of its answer")]
    StreamEnded,
    /// The node would not, and says why.
    #[error("{} ({})", .0.message, code(.0.code))]
    Refused(ApiError),
    /// `peerage doctor` has found and told what does not work.
    #[error("{failed} of {of} checks failed")]
    Unwell {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// An actor the node cannot live without has died; the node is down.
    #[error("the node is down: {0}")]
    Actor(NodeFailure),
    /// The same in a network of several nodes.
    #[error("node {0} is down: {1}")]
    ActorOf(usize, NodeFailure),
}

/// A code as the node writes it.
fn code(code: Code) -> String {
    serde_json::to_value(code)
        .ok()
        .and_then(|code| code.as_str().map(str::to_owned))
        .unwrap_or_default()
}

impl Failure {
    /// The exit status, as documented in `--help`.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Help(_) | Self::Start(StartError::Config(_)) => 2,
            Self::Serve(ServeError::Remote(_)) => 2,
            Self::Serve(_) | Self::Token(_) => 1,
            Self::Start(_) | Self::Spaces(_) | Self::DataDir(_) => 1,
            Self::System { .. } | Self::Write { .. } => 1,
            // EX_UNAVAILABLE of sysexits.h: a service is not there.
            Self::NoNode(_) | Self::Unreachable { .. } | Self::StreamEnded => 69,
            // EX_NOPERM.
            Self::Refused(error) if matches!(error.code, Code::Unauthorized | Code::Forbidden) => {
                77
            }
            Self::Refused(_) | Self::Answer(_) | Self::Unwell { .. } => 1,
            // EX_SOFTWARE of sysexits.h: an internal error.
            Self::Actor(_) | Self::ActorOf(..) => 70,
        }
    }
}

/// What is wrong with what was asked for, and where that stands.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum UsageError {
    /// The arguments do not parse; the text is clap's, on one line.
    #[error("{0}")]
    Arguments(String),
    /// The configuration file cannot be read, or is not what it should be. The place is the path,
    /// with line and column where they are known.
    #[error("{place}: {why}")]
    File {
        /// Path, or `path:line:column`.
        place: String,
        /// What is wrong there.
        why: String,
    },
    /// A value does not parse.
    #[error("bad value {} for {}: {why}", quoted(value), origin.of(key))]
    BadValue {
        /// The setting.
        key: &'static str,
        /// Which layer the value comes from.
        origin: Origin,
        /// The value as it was written.
        value: String,
        /// What was expected.
        why: String,
    },
    /// A line of a file that a setting names does not parse.
    #[error("{}:{line}: bad value {}: {why}", path.display(), quoted(value))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// The value as it was written.
        value: String,
        /// What was expected.
        why: String,
    },
    /// One layer says both of two things of which only one can be.
    #[error("{} and {} exclude each other: give one of them", .0.of(.1[0]), .0.of(.1[1]))]
    Exclusive(Origin, [&'static str; 2]),
    /// There is nowhere to keep the token of the control API.
    #[error(
        "the control API needs a place for its token, and an ephemeral node has none: name a file with --api-token-file FILE"
    )]
    NoTokenFile,
    /// It is said what a hook is told, but not which program that is.
    #[error("{0} is of no use without hooks.program: name the program of the hook, too")]
    NoHookProgram(String),
    /// A list of those who may connect is empty; the text says which.
    #[error("{0} lists no node id, so nobody could connect: add one, or leave the setting out")]
    AllowsNobody(String),
    /// The user has no home, and no directory was named.
    #[error(
        "this user has no home to keep the node's key in: name a directory with --data-dir DIR, or keep nothing with --ephemeral"
    )]
    NoHome,
    /// Values that are fine one by one, but not together.
    #[error("{error}{}", fmt_origins(origins))]
    Together {
        /// What the node says.
        error: ConfigError,
        /// The settings involved, and where each comes from.
        origins: Vec<(&'static str, Origin)>,
    },
}

impl UsageError {
    /// A file that cannot be used as a whole.
    pub(crate) fn file(path: &Path, why: impl fmt::Display) -> Self {
        Self::File { place: path.display().to_string(), why: why.to_string() }
    }
}

/// `; ping-interval is from …, dead-after is from …`, or nothing.
fn fmt_origins(origins: &[(&'static str, Origin)]) -> String {
    let list: Vec<String> = origins
        .iter()
        .map(|(key, origin)| format!("{key} is from {}", origin.describe(key)))
        .collect();
    if list.is_empty() { String::new() } else { format!("; {}", list.join(", ")) }
}

/// The text in double quotes, with control characters escaped and cut after 80 characters, so
/// that it stays on one readable line.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", one_line(&cut))
}

/// The text with control characters escaped, so that it cannot break out of its line.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// A duration as it can be typed.
pub(crate) fn duration(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_control_characters_stays_on_one_line() {
        let error = UsageError::BadValue {
            key: "listen",
            origin: Origin::Env,
            value: format!("a\nb\u{1b}[2J{}", "x".repeat(200)),
            why: "no".to_owned(),
        };
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text}");
        assert!(text.starts_with(r#"bad value "a\nb\u{1b}[2Jxxx"#), "{text}");
        assert!(text.ends_with(r#"xxx..." for PEERAGE_LISTEN: no"#), "{text}");
    }
}
