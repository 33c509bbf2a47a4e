//! What comes piece by piece: events, over lost connections, and the answers to a question.

use std::{io::BufRead, thread, time::Duration};

use peerage::control::model::{AskLine, AskRequest};
use serde::de::DeserializeOwned;

use super::http::Client;
use crate::cli::error::Failure;

/// How long to wait before a lost stream is asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often in a row that may fail.
const TRIES: u32 = 10;

/// Hands over events as they come, until `each` says that it is enough. Goes on where it was when the
/// connection is lost; gives up when the node is gone. `last` is where to begin.
pub(super) fn events<T: DeserializeOwned>(
    client: &Client,
    (path, query): (&str, &[(&str, &str)]),
    mut last: Option<String>,
    mut each: impl FnMut(&str, Option<&T>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let (mut was_there, mut failures) = (false, 0);
    loop {
        let lines = match client.events(path, query, last.as_deref()) {
            Ok(lines) => lines,
            Err(error @ Failure::Unreachable { .. }) if was_there && failures < TRIES => {
                tracing::debug!(%error, "asks again");
                failures += 1;
                thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error),
        };
        (was_there, failures) = (true, 0);
        let mut block = Block::default();
        for line in lines.lines() {
            let Ok(line) = line else { break };
            if let Some((id, data)) = block.line(&line) {
                if !id.is_empty() {
                    last = Some(id);
                }
                if !data.is_empty() && !each(&data, serde_json::from_str(&data).ok().as_ref())? {
                    return Ok(());
                }
            }
        }
        // The node may be stopping: then the next try says so.
        thread::sleep(PAUSE);
    }
}

/// The lines of one server-sent event (the HTML standard, section 9.2), as far as the node uses them.
#[derive(Debug, Default)]
struct Block {
    id: String,
    data: String,
}

impl Block {
    /// One more line; the id and the data of the event that it ends. One without data only says where the
    /// stream is.
    fn line(&mut self, line: &str) -> Option<(String, String)> {
        if line.is_empty() {
            let block = std::mem::take(self);
            let is_empty = block.id.is_empty() && block.data.is_empty();
            return (!is_empty).then_some((block.id, block.data));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.id = value.to_owned(),
            "data" => self.data.push_str(value),
            _ => {}
        }
        None
    }
}

/// Asks, and hands over what comes back, the account last.
pub(super) fn ask(
    client: &Client,
    question: &AskRequest,
    mut each: impl FnMut(&str, AskLine) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let lines = client.post_lines("/v1/ask/stream", question)?;
    for line in lines.lines() {
        let Ok(line) = line else { break };
        let piece =
            serde_json::from_str(&line).map_err(|error| Failure::Answer(error.to_string()))?;
        if let AskLine::Error(error) = piece {
            return Err(Failure::Refused(error));
        }
        let is_end = matches!(piece, AskLine::End(_));
        if !each(&line, piece)? || is_end {
            return Ok(());
        }
    }
    Err(Failure::StreamEnded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_an_empty_line_and_comments_are_none() {
        let mut block = Block::default();
        for line in [": hello", "", "id: 1f-7", "event: missed", "data: {\"a\":1}"] {
            assert_eq!(block.line(line), None);
        }
        assert_eq!(block.line(""), Some(("1f-7".to_owned(), "{\"a\":1}".to_owned())));
        assert_eq!(block.line(""), None);
        assert_eq!(block.line("id: 8"), None);
        assert_eq!(block.line(""), Some(("8".to_owned(), String::new())));
    }
}
