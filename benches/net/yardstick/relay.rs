//! A relay's part of a connection: what one of two sends goes on to the other.

use std::{borrow::Cow, mem};

use memchr::memchr;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Next};

/// All that a relay must know of a frame.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    msgtype: Cow<'a, str>,
    /// Bytes behind the line.
    #[serde(default)]
    attach: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Passes on, or handles, every frame that has come whole.
    pub(super) fn take_frames(&mut self) {
        let other = self.id.and_then(|_| self.hub.other(&self.peer));
        let mut input = mem::take(&mut self.input);
        let mut rest = input.get(..self.filled).unwrap_or_default();
        while !self.draining
            && let Some(end) = memchr(b'\n', rest)
        {
            let line = rest.get(..end).unwrap_or_default();
            let Ok(Head { msgtype, attach }) = serde_json::from_slice(line) else {
                self.draining = true;
                break;
            };
            let Some((frame, behind)) = rest.split_at_checked(end + 1 + attach) else { break };
            match (&*msgtype, &other) {
                ("route" | "routed", Some(other)) => other.push(frame),
                _ => self.draining = !self.is_handled(line),
            }
            rest = behind;
        }
        let left = rest.len();
        input.copy_within(self.filled - left..self.filled, 0);
        self.filled = left;
        self.input = input;
    }

    fn is_handled(&mut self, line: &[u8]) -> bool {
        let next = str::from_utf8(line).map(|line| self.line(line, &mut Vec::new()));
        matches!(next, Ok(Next::Read))
    }
}
