//! What the texts mean: each value parsed by itself, with the reason if it cannot be.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use peerage::{Bootstrap, HostPort, NodeId, Role, Security, Tags, wire::tags::check_tags};
use tracing_subscriber::EnvFilter;

use super::LogFormat;
use crate::cli::error::duration;

/// The longest duration that can be asked for; nothing longer makes sense, and adding it to a
/// clock must not overflow.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// The shortest duration that can be asked for; timers have no finer grain.
const MIN_DURATION: Duration = Duration::from_millis(1);

/// The most threads that can be asked for; a guess at "surely a typing error".
const MAX_WORKERS: usize = 256;

/// A part of a value that does not parse, and why.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The part.
    pub(super) part: String,
    /// What was expected.
    pub(super) why: String,
}

/// A refusal of `part`.
pub(super) fn wrong<T>(part: &str, why: impl ToString) -> Result<T, Wrong> {
    Err(Wrong { part: part.to_owned(), why: why.to_string() })
}

/// Every item of a list.
pub(super) fn parse_list<R>(
    list: &[String],
    parse: impl Fn(&str) -> Result<R, Wrong>,
) -> Result<Vec<R>, Wrong> {
    list.iter().map(|text| parse(text)).collect()
}

/// An address.
pub(super) fn parse_addr(text: &str) -> Result<HostPort, Wrong> {
    HostPort::from_str(text.trim()).or_else(|error| wrong(text, error))
}

/// An address that somebody could dial.
pub(super) fn parse_dialable(text: &str) -> Result<HostPort, Wrong> {
    let addr = parse_addr(text)?;
    match addr.check_dialable() {
        Ok(()) => Ok(addr),
        Err(error) => wrong(text, error),
    }
}

/// A first contact that somebody could dial.
pub(super) fn parse_bootstrap(text: &str) -> Result<Bootstrap, Wrong> {
    let contact = Bootstrap::from_str(text.trim()).or_else(|error| wrong(text, error))?;
    match contact.addr.check_dialable() {
        Ok(()) => Ok(contact),
        Err(error) => wrong(text, error),
    }
}

/// Tags, each by its name once.
pub(super) fn parse_tags(list: &[String]) -> Result<Tags, Wrong> {
    let mut tags = Tags::new();
    for text in list {
        let Some((key, value)) = text.trim().split_once('=') else {
            return wrong(text, "expected KEY=VALUE");
        };
        if let Err(error) = check_tags(&[(key.to_owned(), value.to_owned())].into()) {
            return wrong(text, error);
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return wrong(text, format_args!("there is another value for {key}"));
        }
    }
    Ok(tags)
}

/// An id that somebody can prove.
pub(super) fn parse_allowed(text: &str) -> Result<NodeId, Wrong> {
    match NodeId::from_str(text.trim()) {
        Ok(id) if id.is_self_certifying() => Ok(id),
        Ok(_) => wrong(text, "expected an id of version 8, since nothing proves another"),
        Err(_) => wrong(text, "expected a node id, which is a UUID; `peerage id` shows a node's"),
    }
}

/// What a node is there for.
pub(super) fn parse_role(text: &str) -> Result<Role, Wrong> {
    match text.trim() {
        "peer" => Ok(Role::Peer),
        "introducer" => Ok(Role::Introducer),
        _ => wrong(text, "expected peer or introducer"),
    }
}

/// Whether connections are encrypted.
pub(super) fn parse_security(text: &str) -> Result<Security, Wrong> {
    match text.trim() {
        "require" => Ok(Security::Require),
        "prefer" => Ok(Security::Prefer),
        "off" => Ok(Security::Off),
        _ => wrong(text, "expected require, prefer or off"),
    }
}

/// A duration within reason.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    match humantime::parse_duration(text.trim()) {
        Ok(value) if value < MIN_DURATION || value > MAX_DURATION => {
            let (min, max) = (duration(MIN_DURATION), MAX_DURATION.as_secs() / 86400);
            wrong(text, format_args!("expected at least {min} and at most {max}days"))
        }
        Ok(value) => Ok(value),
        Err(error) => {
            wrong(text, format_args!("expected a duration such as 200ms, 60s or 5m ({error})"))
        }
    }
}

/// A switch.
pub(super) fn parse_switch(text: &str) -> Result<bool, Wrong> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => wrong(text, "expected true or false"),
    }
}

/// A path.
pub(super) fn parse_path(path: &Path) -> Result<PathBuf, Wrong> {
    if path.as_os_str().is_empty() {
        wrong("", "the path is empty")
    } else {
        Ok(path.to_path_buf())
    }
}

/// A number of threads within reason.
pub(super) fn parse_workers(text: &str) -> Result<usize, Wrong> {
    parse_number(text, &(1..=MAX_WORKERS))
}

/// A number within a range.
pub(super) fn parse_number(text: &str, range: &RangeInclusive<usize>) -> Result<usize, Wrong> {
    match text.trim().parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => {
            let (start, end) = (range.start(), range.end());
            wrong(text, format_args!("expected a number from {start} to {end}"))
        }
    }
}

/// A log filter, which stays text.
pub(super) fn parse_filter(text: &str) -> Result<String, Wrong> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => wrong(
            text,
            format_args!("expected a level (info) or target=level (warn,peerage=debug): {error}"),
        ),
    }
}

/// A log format.
pub(super) fn parse_format(text: &str) -> Result<LogFormat, Wrong> {
    match text.trim() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => wrong(text, "expected text or json"),
    }
}
