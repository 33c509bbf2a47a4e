//! One connection of the simulated network: two lanes of bytes that arrive after a while.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::wires::{CableId, Wires};

/// Bytes under way in one direction before writing waits, as a socket's buffers would make it.
const LANE_BYTES: usize = 256 * 1024;

/// What both ends of a connection share.
#[derive(Debug)]
pub(super) struct Cable {
    latency: Duration,
    lanes: [Mutex<Lane>; 2],
}

#[derive(Debug, Default)]
struct Lane {
    under_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// The writer has closed; its last byte arrives by then.
    finished: Option<Instant>,
    /// The reader is gone, or the connection was cut.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Cable {
    pub(super) fn new(latency: Duration) -> Self {
        Self { latency, lanes: Default::default() }
    }

    /// Cuts the connection, as a crash of one end would.
    pub(super) fn cut(&self) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            lane.broken = true;
            lane.wake();
        }
    }

    /// Has both ends look again, after a partition has healed.
    pub(super) fn wake(&self) {
        for lane in &self.lanes {
            lane.lock().wake();
        }
    }
}

/// One end of a simulated connection.
#[derive(Debug)]
pub struct SimStream {
    cable: Arc<Cable>,
    id: CableId,
    wires: Wires,
    /// Which lane this end writes to; it reads from the other.
    side: Side,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The two ends of a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Listener,
}

impl SimStream {
    pub(super) const fn new(cable: Arc<Cable>, id: CableId, wires: Wires, side: Side) -> Self {
        Self { cable, id, wires, side, timer: None }
    }

    fn lanes(&self) -> (&Mutex<Lane>, &Mutex<Lane>) {
        let [a, b] = &self.cable.lanes;
        match self.side {
            Side::Dialer => (a, b),
            Side::Listener => (b, a),
        }
    }

    fn outgoing(&self) -> &Mutex<Lane> {
        self.lanes().0
    }

    fn incoming(&self) -> &Mutex<Lane> {
        self.lanes().1
    }

    /// What has arrived by now, or when the next of it will.
    fn arrived(&self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Arrival {
        let now = Instant::now();
        let cut_off = self.wires.is_partitioned(self.id);
        let mut lane = self.incoming().lock();
        let mut read = false;
        while !cut_off
            && buf.remaining() > 0
            && let Some((at, bytes)) = lane.under_way.front_mut()
            && *at <= now
        {
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(bytes.get(..n).unwrap_or_default());
            bytes.advance(n);
            if bytes.is_empty() {
                lane.under_way.pop_front();
            }
            lane.bytes -= n;
            read = true;
        }
        if read {
            if let Some(writer) = lane.writer.take() {
                writer.wake();
            }
            return Arrival::Done(Ok(()));
        }
        if lane.broken {
            return Arrival::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        lane.reader = Some(cx.waker().clone());
        let next = lane.under_way.front().map(|(at, _)| *at).or(lane.finished);
        match next {
            None => Arrival::Never,
            Some(_) if cut_off => Arrival::Never,
            Some(at) if at <= now => Arrival::Done(Ok(())),
            Some(at) => Arrival::At(at),
        }
    }
}

enum Arrival {
    Done(io::Result<()>),
    At(Instant),
    /// Not before somebody wakes the reader.
    Never,
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.arrived(cx, buf) {
                Arrival::Done(result) => {
                    this.timer = None;
                    return Poll::Ready(result);
                }
                Arrival::Never => {
                    this.timer = None;
                    return Poll::Pending;
                }
                Arrival::At(at) => {
                    let timer = match this.timer.take() {
                        Some(timer) if timer.deadline() == at => timer,
                        _ => Box::pin(sleep_until(at)),
                    };
                    let timer = this.timer.insert(timer);
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.timer = None;
                }
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let arrives = Instant::now() + self.cable.latency;
        let mut lane = self.outgoing().lock();
        if lane.broken || lane.finished.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = bytes.len().min(LANE_BYTES.saturating_sub(lane.bytes));
        if n == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        lane.bytes += n;
        let sent = Bytes::copy_from_slice(bytes.get(..n).unwrap_or_default());
        lane.under_way.push_back((arrives, sent));
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let arrives = Instant::now() + self.cable.latency;
        let mut lane = self.outgoing().lock();
        lane.finished.get_or_insert(arrives);
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let arrives = Instant::now() + self.cable.latency;
        {
            let mut outgoing = self.outgoing().lock();
            outgoing.finished.get_or_insert(arrives);
            outgoing.wake();
        }
        {
            let mut incoming = self.incoming().lock();
            incoming.broken = true;
            incoming.wake();
        }
        self.wires.unplug(self.id);
    }
}
