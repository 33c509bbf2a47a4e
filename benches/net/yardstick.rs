//! The figure to beat: a server of the same wire, on bare tokio and tuned by hand.
//!
//! One thread, one task and one growing read buffer per connection, memchr for the line ends, an envelope
//! that borrows from the buffer, constant answers, and one write for all that a read gave rise to. The task
//! is one hand-written `poll`: tokio forgets a socket's readiness after a short read or write, so a round
//! trip costs one `read` and one `write` and no third call that says "would block". A fan-out message is
//! appended to the out-buffers of the others, which are woken once however many messages a read held.
//!
//! Encrypted, the same loop runs over what tokio-rustls accepts, and a hello must name the id of the key.
//! As a relay it passes on what one of two connections sends to the other, line and attachment as they are.
//!
//! What a real node does and this does not: liveness timers, deadlines, rate limits, a journal, counters,
//! an address book that changes. It does keep the bounds that memory needs (line length, out-buffer).

mod hub;
mod relay;

use std::{
    borrow::Cow,
    future::poll_fn,
    io, mem,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use clap::Args;
use memchr::{memchr_iter, memrchr};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, LocalOptions},
};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use self::hub::{Hub, Peer};
use crate::{
    Result,
    tls::{self, Identity},
    wire::{self, MAX_HELLO_LINE, MAX_LINE, PONG},
};

/// First size of a read buffer: 32 pings fit, and 5,000 idle sessions stay small. It doubles whenever a
/// read fills it.
const FIRST_BUFFER: usize = 1024;

/// With more than this unsent, a connection is not read from: whoever does not read is not answered.
const PAUSE_READING: usize = 256 * 1024;

/// What a yardstick is told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Manner {
    /// Speak TLS, and nothing else.
    #[arg(long)]
    tls: bool,
    /// Pass on the frames of each of two connections to the other.
    #[arg(long)]
    relay: bool,
    /// Ping every connection this often, in seconds; never by default.
    #[arg(long, default_value_t = 0)]
    ping_every: u64,
}

/// Runs the yardstick as a server child until stdin closes.
pub(crate) fn serve(manner: Manner) -> Result<()> {
    wire::exit_when_stdin_closes()?;
    let mut builder = Builder::new_current_thread();
    builder.enable_io();
    if manner.ping_every > 0 {
        builder.enable_time();
    }
    builder.build_local(LocalOptions::default())?.block_on(accept(manner))
}

async fn accept(manner: Manner) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(4096)?;
    let listen = listener.local_addr()?;
    let identity = manner.tls.then(Identity::fresh).transpose()?;
    let me = identity.as_ref().map_or_else(Uuid::new_v4, Identity::id);
    let hub = Rc::new(Hub::new(listen, me, manner.relay)?);
    let acceptor = identity.map(|own| own.server()).transpose()?.map(TlsAcceptor::from);
    if manner.ping_every > 0 {
        drop(tokio::task::spawn_local(ping(Rc::clone(&hub), manner.ping_every)));
    }
    wire::announce(listen)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let hub = Rc::clone(&hub);
                // How one connection ended is of no interest here: the client reports it if it minds.
                match acceptor.clone() {
                    None => drop(tokio::task::spawn_local(async move {
                        stream.set_nodelay(true)?;
                        Connection::new(stream, hub, None).run().await
                    })),
                    Some(acceptor) => {
                        drop(tokio::task::spawn_local(encrypted(stream, hub, acceptor)));
                    }
                }
            }
            // A client that is already gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(format!("accept: {error}").into()),
        }
    }
}

/// One connection over TLS. What the handshake needs is given back when it is done, and what stays is
/// boxed once, for a task keeps room for all that was ever moved through it.
async fn encrypted(stream: TcpStream, hub: Rc<Hub>, acceptor: TlsAcceptor) -> io::Result<()> {
    let (stream, proven) = Box::pin(async {
        stream.set_nodelay(true)?;
        let stream = Box::new(acceptor.accept(stream).await?);
        let proven = tls::proven_id(stream.get_ref().1);
        io::Result::Ok((stream, proven.ok_or(io::ErrorKind::InvalidData)?))
    })
    .await?;
    Connection::new(stream, hub, Some(proven)).run().await
}

/// Pings every connection once in `every` seconds, some of them each second.
async fn ping(hub: Rc<Hub>, every: u64) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for turn in (0..every).cycle() {
        seconds.tick().await;
        hub.ping(turn, every);
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    msgtype: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Hello {
    nodeid: Uuid,
}

#[derive(Deserialize)]
struct Fan {
    text: String,
}

#[derive(Serialize)]
struct FanLine<'a> {
    msgtype: &'static str,
    text: &'a str,
}

/// Whether a connection goes on after a line.
#[derive(PartialEq)]
enum Next {
    Read,
    Close,
}

struct Connection<S> {
    stream: S,
    hub: Rc<Hub>,
    peer: Rc<Peer>,
    /// The id that the connection's key proves; the hello must be of the same.
    proven: Option<Uuid>,
    id: Option<Uuid>,
    input: Vec<u8>,
    filled: usize,
    /// Bytes of `peer.unsent` that a short write has taken already.
    sent: usize,
    /// Nothing more is read: what is unsent goes out, then the connection ends.
    draining: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S, hub: Rc<Hub>, proven: Option<Uuid>) -> Self {
        Self {
            stream,
            hub,
            peer: Rc::default(),
            proven,
            id: None,
            input: vec![0; FIRST_BUFFER],
            filled: 0,
            sent: 0,
            draining: false,
        }
    }

    async fn run(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let known =
            self.peer.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            self.peer.waker.replace(Some(cx.waker().clone()));
        }
        loop {
            if self.peer.closed.get() {
                return Poll::Ready(Ok(()));
            }
            let paused = self.peer.unsent.borrow().len() > PAUSE_READING;
            let read = if self.draining || paused { Poll::Pending } else { self.poll_read(cx)? };
            // Also with nothing read: others may have left lines here.
            let flushed = self.poll_flush(cx)?;
            match (read, flushed) {
                (_, Poll::Ready(())) if self.draining => return Poll::Ready(Ok(())),
                // The socket says when there is more to read; but a read that was not tried for want of
                // room is tried now that there is room again.
                (Poll::Pending, Poll::Ready(())) if !paused => return Poll::Pending,
                (Poll::Pending, Poll::Pending) => return Poll::Pending,
                _ => {}
            }
        }
    }

    /// One read, and whatever the complete lines in it ask for.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = ReadBuf::new(self.input.get_mut(self.filled..).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
        let n = space.filled().len();
        let full = space.remaining() == 0;
        if n == 0 {
            self.draining = true;
            return Poll::Ready(Ok(()));
        }
        let seen = self.filled;
        self.filled += n;
        if self.hub.relays {
            self.take_frames();
        } else {
            self.take_lines(seen);
        }
        let limit = if self.id.is_some() { MAX_LINE } else { MAX_HELLO_LINE };
        if self.filled >= limit {
            self.draining = true;
        } else if full && self.input.len() < MAX_LINE {
            self.input.resize(self.input.len() * 2, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Handles every complete line; the first `seen` bytes are known to hold no line end.
    fn take_lines(&mut self, seen: usize) {
        let Some(last) = memrchr(b'\n', self.input.get(seen..self.filled).unwrap_or_default())
        else {
            return;
        };
        let end = seen + last + 1;
        let hub = Rc::clone(&self.hub);
        let mut fan = hub.fan.borrow_mut();
        let mut input = mem::take(&mut self.input);
        // The text is checked once for all lines, which spares the parser a check for every string in it.
        match str::from_utf8(input.get(..end).unwrap_or_default()) {
            Ok(lines) if lines_of(lines).all(|line| self.line(line, &mut fan) == Next::Read) => {}
            _ => self.draining = true,
        }
        input.copy_within(end..self.filled, 0);
        self.filled -= end;
        self.input = input;
        if !fan.is_empty() {
            hub.fan_out(&self.peer, &fan);
            fan.clear();
        }
    }

    fn line(&mut self, line: &str, fan: &mut Vec<u8>) -> Next {
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(line) else {
            return Next::Close;
        };
        let mut out = self.peer.unsent.borrow_mut();
        match (&*envelope.msgtype, self.id) {
            ("hello", None) => {
                let Ok(hello) = serde_json::from_str::<Hello>(line) else {
                    return Next::Close;
                };
                if self.proven.is_some_and(|id| id != hello.nodeid) {
                    return Next::Close;
                }
                out.extend_from_slice(&self.hub.greeting);
                self.id = Some(hello.nodeid);
                self.hub.admit(hello.nodeid, &self.peer);
            }
            (_, None) | ("bye", _) => return Next::Close,
            ("ping", _) => out.extend_from_slice(PONG),
            ("getaddr", _) => out.extend_from_slice(&self.hub.addr_reply),
            ("fan", _) => match serde_json::from_str::<Fan>(line) {
                Ok(message) if encode(&message, fan).is_ok() => {}
                _ => return Next::Close,
            },
            _ => {}
        }
        Next::Read
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unsent = self.peer.unsent.borrow_mut();
        while let Some(rest) = unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        unsent.clear();
        self.sent = 0;
        // A socket holds nothing back; TLS does when the socket was full.
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.hub.dismiss(id, &self.peer);
        }
    }
}

/// The complete lines in `text`, without their ends.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    memchr_iter(b'\n', text.as_bytes()).map(move |end| {
        let line = text.get(start..end).unwrap_or_default();
        start = end + 1;
        line
    })
}

fn encode(message: &Fan, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, &FanLine { msgtype: "fan", text: &message.text })?;
    out.push(b'\n');
    Ok(())
}
