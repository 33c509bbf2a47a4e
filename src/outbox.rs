//! The bounded queue of frames on their way to one peer.
//!
//! Frames do not pass through the session's mailbox: whoever sends puts them here, and the
//! session's pipe writes what has gathered in one go. A full outbox refuses, and says so to the
//! sender; it never blocks.

use std::{collections::VecDeque, task::Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;

use crate::wire::Encoded;

/// Why a message was not accepted. It was not sent, and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum SendError {
    /// There is no session with that node.
    #[error("no such peer")]
    NoSuchPeer,
    /// The peer's outbox is full: it reads more slowly than it is sent to.
    #[error("the peer's outbox is full")]
    OutboxFull,
    /// The message cannot be put on the wire: not a JSON object, or too long.
    #[error("the message cannot be encoded")]
    NotEncodable,
}

/// The frames waiting for one peer.
#[derive(Debug)]
pub struct Outbox {
    max_frames: usize,
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// A frame was refused, and the queue has not become half empty since.
    refusing: bool,
    /// The last frame is in; nothing more is taken.
    finished: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// An empty outbox with these limits.
    #[must_use]
    pub fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { max_frames, max_bytes, state: Mutex::default() }
    }

    /// Queues a frame. Accepted means that it will be written unless the connection fails first.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] at either limit, [`SendError::NoSuchPeer`] on a closing session.
    pub fn push(&self, frame: &Encoded) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if state.finished {
            return Err(SendError::NoSuchPeer);
        }
        let bytes = state.bytes + frame.bytes().len();
        if state.queue.len() >= self.max_frames || bytes > self.max_bytes {
            state.refusing = true;
            return Err(SendError::OutboxFull);
        }
        state.append(frame.bytes().clone());
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Queues the last frame, if there is one, whatever the limits, and takes no more. Later calls
    /// change nothing: the first reason wins.
    pub fn finish(&self, last: Option<&Encoded>) {
        let mut state = self.state.lock();
        if state.finished {
            return;
        }
        state.finished = true;
        if let Some(last) = last {
            state.append(last.bytes().clone());
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// The next frames to write: a single one as it is, several small ones copied into `scratch`
    /// (as many as fit, at least one). `None`: nothing waits.
    pub(crate) fn take(&self, scratch: &mut [u8]) -> Option<Taken> {
        let mut state = self.state.lock();
        let first = state.queue.pop_front()?;
        state.bytes -= first.len();
        let mut filled = 0;
        if state.queue.front().is_some_and(|next| first.len() + next.len() <= scratch.len()) {
            filled = copy_into(scratch, 0, &first);
            while let Some(next) = state.queue.front()
                && filled + next.len() <= scratch.len()
                && let Some(next) = state.queue.pop_front()
            {
                state.bytes -= next.len();
                filled = copy_into(scratch, filled, &next);
            }
        }
        if state.queue.len() <= self.max_frames / 2 && state.bytes <= self.max_bytes / 2 {
            state.refusing = false;
        }
        if state.queue.is_empty() && state.queue.capacity() > 64 {
            state.queue = VecDeque::new();
        }
        Some(if filled == 0 { Taken::One(first) } else { Taken::Copied(filled) })
    }

    /// Has the task woken at the next frame, unless one waits already: then it says so.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let waits = !state.queue.is_empty();
        if !waits {
            state.waker = Some(waker.clone());
        }
        waits
    }

    /// No waking until the next [`register`](Self::register): the task is running.
    pub(crate) fn unregister(&self) {
        self.state.lock().waker = None;
    }

    /// How it stands.
    pub(crate) fn status(&self) -> Status {
        let state = self.state.lock();
        Status {
            is_empty: state.queue.is_empty(),
            refusing: state.refusing,
            finished: state.finished,
            // A peer that does not take our answers is not asked for more questions.
            crowded: state.queue.len() > self.max_frames / 2 || state.bytes > self.max_bytes / 8,
        }
    }
}

impl State {
    fn append(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.queue.push_back(frame);
    }
}

fn copy_into(scratch: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    if let Some(room) = scratch.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
    at + bytes.len()
}

/// What [`Outbox::take`] took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    One(Bytes),
    Copied(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) is_empty: bool,
    pub(crate) refusing: bool,
    pub(crate) finished: bool,
    pub(crate) crowded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Encoded {
        #[derive(serde::Serialize)]
        struct Text(std::collections::BTreeMap<&'static str, String>);
        let envelope = Encoded::message("t", &Text([("x", String::new())].into())).unwrap();
        let pad = len.saturating_sub(envelope.bytes().len());
        Encoded::message("t", &Text([("x", "x".repeat(pad))].into())).unwrap()
    }

    #[test]
    fn it_refuses_at_either_limit_and_takes_again_when_there_is_room() {
        let outbox = Outbox::new(3, 1000);
        for _ in 0..3 {
            assert_eq!(outbox.push(&Encoded::PING), Ok(()));
        }
        assert_eq!(outbox.push(&Encoded::PING), Err(SendError::OutboxFull));
        assert!(outbox.status().refusing);
        let mut scratch = [0; 100];
        assert_eq!(outbox.take(&mut scratch), Some(Taken::Copied(57)));
        assert!(!outbox.status().refusing && outbox.status().is_empty);
        assert_eq!(outbox.push(&frame(900)), Ok(()));
        assert_eq!(outbox.push(&frame(101)), Err(SendError::OutboxFull));
    }

    #[test]
    fn the_last_frame_passes_the_limits_and_nothing_comes_after_it() {
        let outbox = Outbox::new(1, 1000);
        outbox.push(&Encoded::PING).unwrap();
        outbox.finish(Some(&Encoded::PONG));
        outbox.finish(Some(&Encoded::GETADDR));
        assert_eq!(outbox.push(&Encoded::PING), Err(SendError::NoSuchPeer));
        let mut scratch = [0; 100];
        assert_eq!(outbox.take(&mut scratch), Some(Taken::Copied(38)));
        assert_eq!(outbox.take(&mut scratch), None);
    }

    #[test]
    fn frames_leave_in_order_and_a_large_one_is_not_copied() {
        let outbox = Outbox::new(10, 10_000);
        for len in [30, 40, 500, 30] {
            outbox.push(&frame(len)).unwrap();
        }
        let mut scratch = [0; 100];
        assert_eq!(outbox.take(&mut scratch), Some(Taken::Copied(70)));
        assert!(matches!(outbox.take(&mut scratch), Some(Taken::One(b)) if b.len() == 500));
        assert!(matches!(outbox.take(&mut scratch), Some(Taken::One(b)) if b.len() == 30));
    }
}
