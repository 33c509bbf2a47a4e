//! Moves bytes between a stream and its session, in the session's own task.
//!
//! One future does it all: it reads as much as there is into memory shared by all sessions of the
//! thread, hands the lines over one after the other without copying them, and then writes what has
//! gathered in the outbox. An idle session keeps no buffer.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use actix::{ActorContext, ActorFuture, Context};
use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Semaphore,
    time::{Sleep, sleep_until},
};

use super::{Session, actor::Incoming};
use crate::{
    clock::Moment,
    outbox::Chunk,
    secure::SecureStream,
    traffic::Reading,
    wire::{Fields, Line, LineSplitter, MAX_LINE},
};

/// How much is read at once.
const SCRATCH: usize = 64 * 1024;

/// How often is read before what gathered is written.
const READS_PER_ROUND: usize = 4;

/// How often that is done before the thread's other sessions get their turn.
const ROUNDS_PER_POLL: usize = 4;

thread_local! {
    /// Taken while a session of this thread reads; they take turns, so one is enough.
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

fn with_buffer<R>(run: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.take().unwrap_or_else(|| vec![0; SCRATCH].into());
    let result = run(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}

type Refill = Pin<Box<dyn Future<Output = ()>>>;

/// The stream of one session.
pub(super) struct Pipe<S> {
    stream: SecureStream<S>,
    /// It is known whether the stream is encrypted, and with whom.
    established: bool,
    lines: LineSplitter,
    /// What belongs to the latest line and has not come whole. Boxed, for it is rare.
    incoming: Option<Box<Incoming>>,
    /// Read, but not looked at yet.
    backlog: Vec<u8>,
    /// Taken out of the outbox, but not taken by the stream yet.
    writing: Chunk,
    /// The peer has closed its side.
    eof: bool,
    /// This side is closed.
    shut: bool,
    /// Waits until enough of the session's messages have been handled.
    refill: Option<Refill>,
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Moment>,
    /// The peer took not everything when last something was written.
    behind: bool,
    /// Written, but the stream may still hold it back.
    unflushed: bool,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something was done; there may be more.
    Again,
    /// Nothing can be done until something wakes the task.
    Wait,
    /// The connection is over.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pipe<S> {
    pub(super) fn new(stream: SecureStream<S>) -> Self {
        Self {
            stream,
            established: false,
            lines: LineSplitter::new(),
            incoming: None,
            backlog: Vec::new(),
            writing: Chunk::default(),
            eof: false,
            shut: false,
            refill: None,
            timer: None,
            armed: None,
            behind: false,
            unflushed: false,
        }
    }

    /// Finds out what the stream is, before anything can be read or written. Whether that is known.
    fn establish(&mut self, session: &mut Session, now: Moment, task: &mut Task<'_>) -> Step {
        if session.is_closing() {
            // Somebody who has not even spoken can still be told why.
            self.established = self.stream.give_up();
            return if self.established { Step::Again } else { Step::Over };
        }
        match self.stream.poll_established(task) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok(established)) => {
                self.established = true;
                session.established(now, &established);
                Step::Again
            }
            Poll::Ready(Err(error)) => {
                session.not_established(now, &error);
                Step::Over
            }
        }
    }

    /// Reads a few batches, once it is known what the stream is.
    fn take_in(&mut self, session: &mut Session, now: Moment, task: &mut Task<'_>) -> Step {
        if !self.established {
            return self.establish(session, now, task);
        }
        let mut step = Step::Again;
        for _ in 0..READS_PER_ROUND {
            step = self.read(session, now, task);
            if step != Step::Again {
                break;
            }
        }
        session.hand_over(now);
        step
    }

    /// Reads one batch and hands its lines over.
    fn read(&mut self, session: &mut Session, now: Moment, task: &mut Task<'_>) -> Step {
        if session.is_closing() {
            return self.discard(session, now, task);
        }
        if !session.is_reading() || session.is_put_off() || session.turns(now) == 0 {
            return Step::Wait;
        }
        if let Some(refill) = &mut self.refill {
            if refill.as_mut().poll(task).is_pending() {
                return Step::Wait;
            }
            self.refill = None;
        }
        if !self.backlog.is_empty() {
            let backlog = std::mem::take(&mut self.backlog);
            self.hand_over(session, now, &backlog);
            return Step::Again;
        }
        if self.eof {
            session.hand_over(now);
            session.peer_closed(now);
            return Step::Again;
        }
        with_buffer(|buffer| match poll_read(&mut self.stream, task, buffer) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok([])) => {
                self.eof = true;
                // Answers to what was asked before are still on their way to the outbox.
                self.wait_for(session, now, usize::MAX);
                Step::Again
            }
            Poll::Ready(Ok(bytes)) => {
                self.hand_over(session, now, bytes);
                Step::Again
            }
            Poll::Ready(Err(error)) => {
                session.hand_over(now);
                session.failed(now, &error);
                Step::Over
            }
        })
    }

    fn hand_over(&mut self, session: &mut Session, now: Moment, bytes: &[u8]) {
        let mut chunk = bytes;
        self.take_attachment(session, now, &mut chunk);
        let turns = session.turns(now);
        let (mut fields, mut taken) = (Fields::default(), 0);
        let (mut reading, traffic) = (Reading::default(), session.env.meters.traffic.clone());
        while session.may_read()
            && taken < turns
            && let Some(line) = self.lines.next(&mut chunk, session.line_limit())
        {
            let line = match line {
                Line::Whole(line) => Some(line),
                Line::TooLong => None,
            };
            // What has not come whole leaves nothing in the chunk, so that no line is looked for in it.
            let before = chunk.len();
            self.incoming = session.line(now, line, &mut fields, &mut chunk);
            let attached = before - chunk.len();
            reading.line(&traffic, line.unwrap_or_default(), attached);
            taken += 1;
        }
        reading.end(&traffic);
        session.took_turns(taken);
        session.answer_pings();
        if !chunk.is_empty() && !session.is_closing() {
            self.backlog = chunk.to_vec();
        }
        if session.is_reading() && !session.may_read() {
            // Not at once for every message: half of what may be under way is to be done first.
            let all = session.env.config.session.undelivered_bytes;
            self.wait_for(session, now, all.midpoint(MAX_LINE));
        }
    }

    /// Goes on with the attachment that the last batch did not hold to its end.
    fn take_attachment(&mut self, session: &mut Session, now: Moment, chunk: &mut &[u8]) {
        if let Some(mut incoming) = self.incoming.take() {
            let before = chunk.len();
            let is_all = incoming.take(chunk);
            session.env.meters.traffic.received_more(incoming.msgtype(), before - chunk.len());
            if is_all {
                session.received(now, *incoming);
            } else {
                self.incoming = Some(incoming);
            }
        }
    }

    /// No reading until this many of the session's messages have been handled (or all).
    fn wait_for(&mut self, session: &mut Session, now: Moment, credits: usize) {
        // What is still being gathered is waited for as well.
        session.hand_over(now);
        let all = session.env.config.session.undelivered_bytes;
        let wanted = u32::try_from(credits.min(all)).unwrap_or(u32::MAX);
        let semaphore: Arc<Semaphore> = session.credits.clone();
        self.refill = Some(Box::pin(async move {
            // The session holds the semaphore and never closes it.
            drop(semaphore.acquire_many_owned(wanted).await);
        }));
    }

    /// A closing session reads on without looking, so that the peer gets the last frames: closing
    /// a socket with unread input resets the connection, and the farewell is lost.
    fn discard(&mut self, session: &mut Session, now: Moment, task: &mut Task<'_>) -> Step {
        self.refill = None;
        self.incoming = None;
        self.backlog = Vec::new();
        if self.eof {
            return if self.shut { Step::Over } else { Step::Wait };
        }
        with_buffer(|buffer| match poll_read(&mut self.stream, task, buffer) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok([])) => {
                self.eof = true;
                Step::Again
            }
            Poll::Ready(Ok(_)) => Step::Again,
            Poll::Ready(Err(error)) => {
                session.failed(now, &error);
                Step::Over
            }
        })
    }

    /// Writes what waits, as far as the peer takes it.
    fn flush(&mut self, session: &mut Session, now: Moment, task: &mut Task<'_>) -> Step {
        if !self.established {
            // A farewell can be said to whoever has not spoken yet.
            return if session.is_closing() { Step::Again } else { Step::Wait };
        }
        let mut taken = false;
        let result = self.write_all(session, task, &mut taken);
        if taken || self.behind || result.is_pending() {
            let status = session.outbox.status();
            self.behind = result.is_pending() || status.refusing;
            // What was put off for want of room may be due now.
            if session.wrote(now, taken, result.is_pending(), status) {
                return Step::Again;
            }
        }
        match result {
            Poll::Ready(Ok(())) if session.is_closing() => self.shut_down(task),
            Poll::Ready(Ok(())) | Poll::Pending => Step::Wait,
            Poll::Ready(Err(error)) => {
                session.failed(now, &error);
                Step::Over
            }
        }
    }

    fn write_all(
        &mut self,
        session: &Session,
        task: &mut Task<'_>,
        taken: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.writing.has_remaining() {
                // A written chunk is given back here, so that an idle session keeps none.
                let next = session.outbox.take(task.waker());
                let is_last = next.is_none();
                self.writing = next.unwrap_or_default();
                if is_last && self.unflushed {
                    ready!(Pin::new(&mut self.stream).poll_flush(task))?;
                    self.unflushed = false;
                }
                if is_last {
                    return Poll::Ready(Ok(()));
                }
                // It may be empty, which is nothing to write.
                continue;
            }
            let n = ready!(Pin::new(&mut self.stream).poll_write(task, self.writing.chunk()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *taken = true;
            self.unflushed = true;
            self.writing.advance(n);
        }
    }

    fn shut_down(&mut self, task: &mut Task<'_>) -> Step {
        if !self.shut {
            // Whether the peer heard it or not, this side is done.
            self.shut = Pin::new(&mut self.stream).poll_shutdown(task).is_ready();
        }
        if self.shut && self.eof { Step::Over } else { Step::Wait }
    }

    /// Does what is due.
    fn do_due(&self, session: &mut Session, now: Moment) -> Step {
        let is_due = session.deadline().is_some_and(|due| now >= due);
        let waits = self.refill.is_some() || session.is_put_off() || session.is_throttled();
        let paused = waits && !self.eof;
        if is_due && session.tick(now, paused) { Step::Over } else { Step::Wait }
    }

    /// Sees to it that the task is woken for what will be due.
    fn arm(&mut self, session: &Session, now: Moment, task: &mut Task<'_>) -> Step {
        let Some(due) = session.deadline() else { return Step::Wait };
        // A later deadline is left to the timer that is set: when it fires, it is set again.
        if self.armed.is_some_and(|armed| now < armed && armed <= due) {
            return Step::Wait;
        }
        let at = session.env.clock.instant(due);
        let timer = match &mut self.timer {
            Some(timer) => {
                timer.as_mut().reset(at);
                timer
            }
            none => none.insert(Box::pin(sleep_until(at))),
        };
        self.armed = Some(due);
        // Polled once, it wakes the task; until then there is nothing to ask it.
        if timer.as_mut().poll(task).is_ready() { Step::Again } else { Step::Wait }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ActorFuture<Session> for Pipe<S> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut Session,
        ctx: &mut Context<Session>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ROUNDS_PER_POLL {
            let now = session.env.clock.now();
            // The writing comes late, for it also has the task woken for what others send, and the
            // timer last, for it depends on what could be written.
            let steps = [
                this.take_in(session, now, task),
                this.do_due(session, now),
                this.flush(session, now, task),
                this.arm(session, now, task),
            ];
            if steps.contains(&Step::Over) {
                ctx.stop();
                return Poll::Ready(());
            }
            if !steps.contains(&Step::Again) {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

fn poll_read<'b>(
    stream: &mut (impl AsyncRead + Unpin),
    task: &mut Task<'_>,
    buffer: &'b mut [u8],
) -> Poll<io::Result<&'b [u8]>> {
    let mut read = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(task, &mut read))?;
    let n = read.filled().len();
    Poll::Ready(Ok(buffer.get(..n).unwrap_or_default()))
}
