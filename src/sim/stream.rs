//! One connection of the simulated network: two lanes of bytes that arrive after a while.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    post::Tick,
    wires::{CableId, Wires},
};

/// Bytes under way in one direction before writing waits, as a socket's buffers would make it.
const LANE_BYTES: usize = 256 * 1024;

/// What both ends of a connection share.
#[derive(Debug)]
pub(super) struct Cable {
    pub(super) id: CableId,
    /// The hosts of the dialler and of the listener.
    pub(super) ends: [IpAddr; 2],
    latency: Tick,
    /// What the hosts have sent so far over all their cables.
    sent: [Arc<AtomicU64>; 2],
    /// Nothing comes through, but nothing is lost: the network is partitioned.
    held: AtomicBool,
    /// One of the hosts is gone without a trace: nothing comes through ever again.
    dark: AtomicBool,
    /// One end is unplugged already.
    half_unplugged: AtomicBool,
    /// What the dialler writes, and what the listener writes.
    lanes: [Mutex<Lane>; 2],
}

#[derive(Debug, Default)]
struct Lane {
    under_way: VecDeque<(Tick, Bytes)>,
    bytes: usize,
    /// The writer has closed; its last byte arrives by then.
    finished: Option<Tick>,
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
    pub(super) fn new(
        id: CableId,
        ends: [IpAddr; 2],
        latency: Duration,
        sent: [Arc<AtomicU64>; 2],
    ) -> Self {
        Self {
            id,
            ends,
            latency: Tick::try_from(latency.as_millis()).unwrap_or(Tick::MAX),
            sent,
            held: AtomicBool::new(false),
            dark: AtomicBool::new(false),
            half_unplugged: AtomicBool::new(false),
            lanes: Default::default(),
        }
    }

    /// Cuts the connection, as a crash of one end would.
    pub(super) fn cut(&self) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            lane.broken = true;
            lane.wake();
        }
    }

    /// Has nothing come through for a while, or has all come through again.
    pub(super) fn hold(&self, held: bool) {
        if self.held.swap(held, Ordering::Relaxed) && !held {
            self.lanes.iter().for_each(|lane| lane.lock().wake());
        }
    }

    /// Has nothing come through any more, and neither end told so.
    pub(super) fn darken(&self) {
        self.dark.store(true, Ordering::Relaxed);
    }

    /// Has the reader on this side look at what has arrived.
    pub(super) fn wake_reader(&self, side: Side) {
        let waker = self.incoming(side).lock().reader.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// One end is gone. Whether it was the second.
    pub(super) fn unplug(&self) -> bool {
        self.half_unplugged.swap(true, Ordering::Relaxed)
    }

    fn is_cut_off(&self) -> bool {
        self.held.load(Ordering::Relaxed) || self.is_dark()
    }

    fn is_dark(&self) -> bool {
        self.dark.load(Ordering::Relaxed)
    }

    const fn outgoing(&self, side: Side) -> &Mutex<Lane> {
        let [dialer, listener] = &self.lanes;
        match side {
            Side::Dialer => dialer,
            Side::Listener => listener,
        }
    }

    const fn incoming(&self, side: Side) -> &Mutex<Lane> {
        self.outgoing(side.other())
    }

    fn count(&self, side: Side, n: usize) {
        let [dialer, listener] = &self.sent;
        let sent = match side {
            Side::Dialer => dialer,
            Side::Listener => listener,
        };
        sent.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// One end of a simulated connection.
#[derive(Debug)]
pub struct SimStream {
    cable: Arc<Cable>,
    wires: Wires,
    /// Which lane this end writes to; it reads from the other.
    side: Side,
}

/// The two ends of a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Listener,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

impl SimStream {
    pub(super) const fn new(cable: Arc<Cable>, wires: Wires, side: Side) -> Self {
        Self { cable, wires, side }
    }

    /// Has the other end's reader woken when what was sent now arrives. When that is.
    fn post(&self) -> Tick {
        let post = self.wires.post();
        let arrives = post.now().saturating_add(self.cable.latency);
        post.deliver(arrives, self.cable.clone(), self.side.other());
        arrives
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let cut_off = this.cable.is_cut_off();
        let mut lane = this.cable.incoming(this.side).lock();
        let Lane { under_way, bytes, writer, finished, .. } = &mut *lane;
        let is_waiting = !cut_off && (!under_way.is_empty() || finished.is_some());
        let now = if is_waiting { this.wires.post().now() } else { 0 };
        let mut read = false;
        while !cut_off
            && buf.remaining() > 0
            && let Some((at, arrived)) = under_way.front_mut()
            && *at <= now
        {
            let n = arrived.len().min(buf.remaining());
            buf.put_slice(arrived.get(..n).unwrap_or_default());
            arrived.advance(n);
            if arrived.is_empty() {
                under_way.pop_front();
            }
            *bytes -= n;
            read = true;
        }
        if read {
            if under_way.is_empty() {
                // An idle connection keeps no queue.
                *under_way = VecDeque::new();
            }
            if let Some(writer) = writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if lane.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let is_over = lane.under_way.is_empty() && lane.finished.is_some_and(|at| at <= now);
        if is_over && !cut_off {
            return Poll::Ready(Ok(()));
        }
        // The post wakes it, or whoever cuts or heals the network.
        if !lane.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            lane.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.cable.outgoing(self.side).lock();
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
        lane.under_way.push_back((self.post(), sent));
        self.cable.count(self.side, n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.cable.outgoing(self.side).lock();
        if lane.finished.is_none() {
            lane.finished = Some(self.post());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !self.cable.is_dark() {
            let mut outgoing = self.cable.outgoing(self.side).lock();
            if outgoing.finished.is_none() {
                outgoing.finished = Some(self.post());
            }
            outgoing.wake();
            drop(outgoing);
            let mut incoming = self.cable.incoming(self.side).lock();
            incoming.broken = true;
            incoming.wake();
        }
        self.wires.unplug(&self.cable);
    }
}
