//! The bounded queue of frames on their way to one peer.
//!
//! Frames do not pass through the session's mailbox: whoever sends puts them here, and the
//! session's pipe writes what has gathered in one go. A full outbox refuses, and says so to the
//! sender; it never blocks.

use std::{cell::RefCell, collections::VecDeque, sync::Arc, task::Waker};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use thiserror::Error;

use crate::{traffic::Traffic, wire::Encoded};

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
    /// The message has an attachment, and the peer's hello does not say that it takes any.
    #[error("the peer takes no attachments")]
    NoAttachments,
}

/// Frames up to this size are copied together as they come; larger ones are shared by all outboxes
/// they wait in. Copying a small frame costs less than counting its references, and much less than
/// a call of its own to write it.
const SMALL: usize = 16 * 1024;

/// How much is copied together. More is written in several goes.
const CHUNK: usize = 64 * 1024;

/// Used buffers that a thread keeps for the next chunks, if they have grown to a size worth it.
const SPARE: usize = 64;
const WORTH_KEEPING: usize = CHUNK / 4;

thread_local! {
    static SPARE_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The frames waiting for one peer.
#[derive(Debug)]
pub struct Outbox {
    max_frames: usize,
    max_bytes: usize,
    traffic: Option<Arc<Traffic>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Chunk>,
    frames: usize,
    bytes: usize,
    /// A frame was refused, and less than half of either limit has been taken since: so neither a
    /// trickle ends it, nor does a sender that fills every gap keep a brisk peer in it.
    refusing: bool,
    /// What has been taken since then.
    relieved_frames: usize,
    relieved_bytes: usize,
    /// Found no room, and follows as soon as there is some, unless a newer one takes its place.
    latest: Option<Box<Encoded>>,
    /// The last frame is in; nothing more is taken.
    finished: bool,
    /// The peer takes attachments.
    attachments: bool,
    waker: Option<Waker>,
}

/// One or more frames that are written together, as far as they have not been written. A large
/// attachment is a chunk of its own, which counts as no frame.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    frames: usize,
    written: usize,
    bytes: ChunkBytes,
}

#[derive(Debug)]
enum ChunkBytes {
    Shared(Bytes),
    Copied(Vec<u8>),
}

impl Default for ChunkBytes {
    fn default() -> Self {
        Self::Shared(Bytes::new())
    }
}

impl Outbox {
    /// An empty outbox with these limits.
    #[must_use]
    pub fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { max_frames, max_bytes, traffic: None, state: Mutex::default() }
    }

    /// … and what it takes is counted there.
    #[must_use]
    pub(crate) fn counted(self, traffic: Arc<Traffic>) -> Self {
        Self { traffic: Some(traffic), ..self }
    }

    /// The peer's hello says that it takes attachments.
    pub fn allow_attachments(&self) {
        self.state.lock().attachments = true;
    }

    /// Whether it does.
    #[must_use]
    pub fn takes_attachments(&self) -> bool {
        self.state.lock().attachments
    }

    /// Queues a frame. Accepted means that it will be written unless the connection fails first. An
    /// empty outbox takes any frame, even one that is larger than its limit.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] at either limit, [`SendError::NoSuchPeer`] on a closing session,
    /// [`SendError::NoAttachments`] if the frame has one and the peer takes none.
    pub fn push(&self, frame: &Encoded) -> Result<(), SendError> {
        self.push_parts(frame.bytes(), frame.attachment())
    }

    /// The same of a frame that nobody else is sent: its line need not stay.
    pub(crate) fn push_line(&self, line: &[u8], attachment: &Bytes) -> Result<(), SendError> {
        self.push_parts(line, attachment)
    }

    fn push_parts(&self, line: &(impl Part + ?Sized), attachment: &Bytes) -> Result<(), SendError> {
        let waker = {
            let mut state = self.state.lock();
            self.accept(&mut state, line, attachment)?;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The same from within the session's own task, which writes before it sleeps and so needs no
    /// waking. Whether the outbox is crowded now.
    pub(crate) fn push_own(&self, frame: &Encoded) -> Result<bool, SendError> {
        let mut state = self.state.lock();
        self.accept(&mut state, frame.bytes(), frame.attachment())?;
        Ok(self.is_crowded(&state))
    }

    /// Queues one of the session's own few frames (hello, announcement, the outstanding ping)
    /// whatever the limits: without them a healthy session would end as dead.
    pub(crate) fn push_control(&self, frame: &Encoded) {
        let mut state = self.state.lock();
        if !state.finished {
            self.append(&mut state, frame.bytes(), frame.attachment());
        }
    }

    /// Queues what only the newest of matters: if there is no room for it now, it takes the place of
    /// an earlier one that waits for some. Never refused while the session lasts.
    pub fn push_latest(&self, frame: &Encoded) {
        let waker = {
            let mut state = self.state.lock();
            if state.finished {
                return;
            }
            // Behind one that waits it must not slip past.
            if state.latest.is_none() && self.has_room(&state, frame.wire_len()) {
                self.append(&mut state, frame.bytes(), frame.attachment());
            } else {
                state.latest = Some(Box::new(frame.clone()));
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn accept(
        &self,
        state: &mut State,
        line: &(impl Part + ?Sized),
        attachment: &Bytes,
    ) -> Result<(), SendError> {
        if state.finished {
            return Err(SendError::NoSuchPeer);
        }
        if !attachment.is_empty() && !state.attachments {
            return Err(SendError::NoAttachments);
        }
        if !self.has_room(state, line.bytes().len() + attachment.len()) {
            if !state.refusing {
                state.refusing = true;
                state.relieved_frames = 0;
                state.relieved_bytes = 0;
            }
            return Err(SendError::OutboxFull);
        }
        self.append(state, line, attachment);
        Ok(())
    }

    /// Queues a frame, or several that are one in memory.
    fn append(&self, state: &mut State, line: &(impl Part + ?Sized), attachment: &Bytes) {
        state.append(line, attachment);
        if let Some(traffic) = &self.traffic {
            let line = line.bytes();
            traffic.sent(line, line_count(line), line.len() + attachment.len());
        }
    }

    const fn has_room(&self, state: &State, len: usize) -> bool {
        // What waits alone is bounded by itself. Were it refused, it would be for ever.
        let fits = state.bytes == 0 || state.bytes + len <= self.max_bytes;
        fits && state.frames < self.max_frames
    }

    /// Queues the last frame, if there is one, whatever the limits, and takes no more. Later calls
    /// change nothing: the first reason wins.
    pub fn finish(&self, last: Option<&Encoded>) {
        let mut state = self.state.lock();
        if state.finished {
            return;
        }
        state.finished = true;
        state.latest = None;
        if let Some(last) = last {
            self.append(&mut state, last.bytes(), last.attachment());
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// The session is gone: nothing is taken any more, and what waited is given up.
    pub(crate) fn close(&self) {
        *self.state.lock() = State { finished: true, ..State::default() };
    }

    /// What to write next. If nothing waits, the task is woken when something does.
    pub(crate) fn take(&self, waker: &Waker) -> Option<Chunk> {
        let mut state = self.state.lock();
        let Some(chunk) = state.queue.pop_front() else {
            if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                state.waker = Some(waker.clone());
            }
            return None;
        };
        state.frames -= chunk.frames;
        state.bytes -= chunk.remaining();
        state.relieved_frames += chunk.frames;
        state.relieved_bytes += chunk.remaining();
        if state.relieved_frames >= self.max_frames.div_ceil(2)
            || state.relieved_bytes >= self.max_bytes / 2
            || state.queue.is_empty()
        {
            state.refusing = false;
        }
        if state.latest.as_ref().is_some_and(|latest| self.has_room(&state, latest.wire_len()))
            && let Some(latest) = state.latest.take()
        {
            self.append(&mut state, latest.bytes(), latest.attachment());
        }
        // An idle session keeps no queue.
        if state.queue.is_empty() && state.queue.capacity() > 8 {
            state.queue = VecDeque::new();
        }
        Some(chunk)
    }

    /// How it stands.
    pub(crate) fn status(&self) -> Status {
        let state = self.state.lock();
        Status { refusing: state.refusing, crowded: self.is_crowded(&state) }
    }

    /// How many frames and bytes wait.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.frames, state.bytes)
    }

    /// So full that a peer is not to ask for much more.
    const fn is_crowded(&self, state: &State) -> bool {
        state.frames > self.max_frames / 2 || state.bytes > self.max_bytes / 8
    }
}

impl State {
    fn append(&mut self, line: &(impl Part + ?Sized), attachment: &Bytes) {
        self.frames += 1;
        self.append_part(line, 1);
        if !attachment.is_empty() {
            self.append_part(attachment, 0);
        }
    }

    /// Appends the beginning of so many frames, or what belongs to the one before.
    fn append_part(&mut self, part: &(impl Part + ?Sized), frames: usize) {
        let bytes = part.bytes();
        self.bytes += bytes.len();
        if bytes.len() <= SMALL
            && let Some(last) = self.queue.back_mut()
            && last.copy(bytes, frames)
        {
            return;
        }
        self.queue.push_back(Chunk { frames, written: 0, bytes: part.to_chunk() });
    }
}

/// How many lines there are: pongs alone come several at once.
fn line_count(lines: &[u8]) -> u64 {
    let pong = Encoded::PONG;
    let several = lines.len() / pong.bytes().len();
    if several > 1 && lines.starts_with(pong.bytes()) { several as u64 } else { 1 }
}

/// A line or an attachment.
trait Part {
    fn bytes(&self) -> &[u8];

    /// As the beginning of a chunk.
    fn to_chunk(&self) -> ChunkBytes;
}

impl Part for Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn to_chunk(&self) -> ChunkBytes {
        ChunkBytes::Shared(self.clone())
    }
}

impl Part for [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn to_chunk(&self) -> ChunkBytes {
        if self.len() > SMALL {
            return ChunkBytes::Shared(Bytes::copy_from_slice(self));
        }
        let mut bytes = spare_buffer();
        bytes.extend_from_slice(self);
        ChunkBytes::Copied(bytes)
    }
}

fn spare_buffer() -> Vec<u8> {
    SPARE_BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

impl Chunk {
    /// Copies what is small behind what is there, if that is small as well.
    fn copy(&mut self, frame: &[u8], frames: usize) -> bool {
        match &mut self.bytes {
            ChunkBytes::Copied(bytes) if bytes.len() + frame.len() <= CHUNK => {
                bytes.extend_from_slice(frame);
            }
            ChunkBytes::Shared(first) if first.len() <= SMALL => {
                let mut bytes = spare_buffer();
                bytes.reserve(first.len() + frame.len());
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(frame);
                self.bytes = ChunkBytes::Copied(bytes);
            }
            ChunkBytes::Copied(_) | ChunkBytes::Shared(_) => return false,
        }
        self.frames += frames;
        true
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        let len = match &self.bytes {
            ChunkBytes::Shared(bytes) => bytes.len(),
            ChunkBytes::Copied(bytes) => bytes.len(),
        };
        len - self.written
    }

    fn chunk(&self) -> &[u8] {
        let bytes = match &self.bytes {
            ChunkBytes::Shared(bytes) => bytes.get(self.written..),
            ChunkBytes::Copied(bytes) => bytes.get(self.written..),
        };
        bytes.unwrap_or_default()
    }

    fn advance(&mut self, n: usize) {
        self.written += n.min(self.remaining());
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let ChunkBytes::Copied(bytes) = &mut self.bytes
            && bytes.capacity() >= WORTH_KEEPING
        {
            let mut bytes = std::mem::take(bytes);
            // A thread that is ending keeps nothing.
            let _ended = SPARE_BUFFERS.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARE {
                    bytes.clear();
                    spare.push(bytes);
                }
            });
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) refusing: bool,
    pub(crate) crowded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Encoded {
        frame_with(len, 0)
    }

    /// A line of about this length, and exactly if nothing follows it.
    fn frame_with(len: usize, attachment: usize) -> Encoded {
        let pad = "x".repeat(len.saturating_sub(r#"{"msgtype":"t","x":""}"#.len() + 1));
        let body = serde_json::json!({"x": pad});
        Encoded::with_attachment("t", &body, vec![7; attachment].into()).unwrap()
    }

    fn take(outbox: &Outbox) -> Option<usize> {
        outbox.take(Waker::noop()).map(|chunk| chunk.remaining())
    }

    #[test]
    fn it_refuses_at_either_limit_and_takes_again_when_there_is_room() {
        let outbox = Outbox::new(3, 1000);
        for _ in 0..3 {
            assert_eq!(outbox.push(&Encoded::PING), Ok(()));
        }
        assert_eq!(outbox.push(&Encoded::PING), Err(SendError::OutboxFull));
        assert_eq!(outbox.status(), Status { refusing: true, crowded: true });
        assert_eq!(take(&outbox), Some(57));
        assert_eq!(outbox.status(), Status { refusing: false, crowded: false });
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
        assert_eq!((take(&outbox), take(&outbox)), (Some(38), None));
    }

    #[test]
    fn small_frames_are_written_together_and_large_ones_are_shared() {
        let outbox = Outbox::new(100, 1 << 20);
        let large = frame(20_000);
        for frame in [&frame(30), &frame(40), &large, &frame(50), &frame(60)] {
            outbox.push(frame).unwrap();
        }
        assert_eq!(take(&outbox), Some(70));
        let shared = outbox.take(Waker::noop()).unwrap();
        assert_eq!(shared.chunk().as_ptr(), large.bytes().as_ptr());
        assert_eq!((take(&outbox), take(&outbox)), (Some(110), None));
    }

    #[test]
    fn a_small_attachment_is_copied_behind_its_line_and_a_large_one_is_shared() {
        let (small, large) = (frame_with(30, 1000), frame_with(30, 20_000));
        let outbox = Outbox::new(100, 1 << 20);
        assert_eq!(outbox.push(&small), Err(SendError::NoAttachments));
        assert!(!outbox.takes_attachments());
        outbox.allow_attachments();
        for frame in [&small, &large, &small] {
            outbox.push(frame).unwrap();
        }
        assert_eq!(outbox.state.lock().frames, 3);
        assert_eq!(take(&outbox), Some(small.wire_len() + large.bytes().len()));
        let shared = outbox.take(Waker::noop()).unwrap();
        assert_eq!(shared.chunk().as_ptr(), large.attachment().as_ptr());
        assert_eq!(take(&outbox), Some(small.wire_len()));
        let state = outbox.state.lock();
        assert_eq!((state.frames, state.bytes, state.queue.len()), (0, 0, 0));
    }

    #[test]
    fn a_line_that_is_only_lent_is_copied_in_its_turn() {
        let outbox = Outbox::new(100, 1 << 20);
        outbox.allow_attachments();
        let (line, long) = ([b'x'; 30], vec![b'y'; 20_000]);
        let attachment = Bytes::from_static(&[7; 40]);
        for (line, attachment) in
            [(&line[..], &attachment), (&line[..], &Bytes::new()), (&long, &attachment)]
        {
            outbox.push_line(line, attachment).unwrap();
        }
        assert_eq!(outbox.state.lock().frames, 3);
        let sizes = [take(&outbox), take(&outbox), take(&outbox)];
        assert_eq!(sizes, [Some(100), Some(20_000), Some(40)]);
        assert_eq!(take(&outbox), None);
        let refuses = Outbox::new(1, 1 << 20);
        assert_eq!(refuses.push_line(&line, &attachment), Err(SendError::NoAttachments));
        refuses.push_line(&line, &Bytes::new()).unwrap();
        assert_eq!(refuses.push_line(&line, &Bytes::new()), Err(SendError::OutboxFull));
    }

    #[test]
    fn an_empty_outbox_takes_what_is_larger_than_its_limit() {
        let outbox = Outbox::new(3, 1000);
        assert_eq!(outbox.push(&frame(1001)), Ok(()));
        assert_eq!(outbox.push(&Encoded::PING), Err(SendError::OutboxFull));
        assert_eq!(take(&outbox), Some(1001));
        assert_eq!(outbox.push(&Encoded::PING), Ok(()));
    }

    #[test]
    fn a_sender_that_fills_every_gap_does_not_keep_a_brisk_peer_refusing() {
        let outbox = Outbox::new(100, 1 << 20);
        let large = frame(20_000);
        while outbox.push(&large).is_ok() {}
        let mut taken = 0;
        while outbox.status().refusing {
            outbox.take(Waker::noop()).unwrap();
            taken += 1;
            outbox.push(&large).unwrap();
        }
        assert!((26..=50).contains(&taken), "half of the limit, {taken}");
    }

    #[test]
    fn of_what_only_the_newest_matters_that_follows_when_there_is_room() {
        let outbox = Outbox::new(2, 1000);
        outbox.push_latest(&frame(30));
        assert_eq!(take(&outbox), Some(30), "at once, if there is room");
        let sizes = |n| {
            let chunks = std::iter::from_fn(|| outbox.take(Waker::noop()));
            assert_eq!(chunks.map(|chunk| chunk.remaining()).collect::<Vec<_>>(), n);
        };
        let large = frame(900);
        outbox.push(&large).unwrap();
        for size in [200, 201, 202] {
            outbox.push_latest(&frame(size));
        }
        assert!(!outbox.status().refusing, "it is not the peer that asks for too much");
        outbox.push_latest(&frame(30));
        sizes(vec![900, 30]);
        outbox.push(&large).unwrap();
        outbox.push_latest(&frame(200));
        outbox.finish(Some(&Encoded::PONG));
        outbox.push_latest(&frame(200));
        sizes(vec![919]);
    }

    #[test]
    fn a_closed_outbox_takes_nothing_and_keeps_nothing() {
        let outbox = Outbox::new(3, 1000);
        outbox.push(&Encoded::PING).unwrap();
        outbox.close();
        assert_eq!(outbox.push(&Encoded::PING), Err(SendError::NoSuchPeer));
        assert_eq!(take(&outbox), None);
    }

    proptest::proptest! {
        /// Whatever is accepted comes out, in order, and the limits hold.
        #[test]
        fn nothing_accepted_is_lost(steps in proptest::collection::vec(
            proptest::option::weighted(0.8, (22usize..6000, 0usize..18_000)), 1..200,
        )) {
            let outbox = Outbox::new(20, 20_000);
            outbox.allow_attachments();
            let (mut accepted, mut written) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Some((len, attachment)) => {
                        // Half of them have none.
                        let frame = frame_with(len, attachment.saturating_sub(9000));
                        if outbox.push(&frame).is_ok() {
                            accepted.extend_from_slice(frame.bytes());
                            accepted.extend_from_slice(frame.attachment());
                        }
                    }
                    None => written.extend(outbox.take(Waker::noop()).iter().flat_map(|c| c.chunk().to_vec())),
                }
                proptest::prop_assert!(accepted.len() - written.len() <= 20_000);
            }
            while let Some(chunk) = outbox.take(Waker::noop()) {
                written.extend_from_slice(chunk.chunk());
            }
            proptest::prop_assert!(accepted == written);
            let state = outbox.state.lock();
            proptest::prop_assert_eq!((state.frames, state.bytes), (0, 0));
        }
    }
}
