//! One connection of the load generator: as little work per line as can be, so that the server and not
//! this side is what is measured.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use memchr::{memchr, memchr_iter};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use uuid::Uuid;

use crate::{
    Result,
    tls::{self, Identity},
    wire::{MAX_LINE, PONG, ROUTE_HEAD},
};

/// The kind of line that a load waits for; all others are skipped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    prefix: &'static [u8],
    min_len: usize,
}

impl Wanted {
    pub(crate) const HELLO: Self = Self::new(b"{\"msgtype\":\"hello\"");
    pub(crate) const PONG: Self = Self::new(b"{\"msgtype\":\"pong\"");
    /// Longer than what a server says of its own address after the handshake.
    pub(crate) const FULL_ADDR: Self =
        Self { min_len: 2000, ..Self::new(b"{\"msgtype\":\"addr\"") };
    /// Longer than any outcome but a delivery, which proves itself.
    pub(crate) const DELIVERED: Self =
        Self { min_len: 100, ..Self::new(b"{\"msgtype\":\"routed\"") };

    const fn new(prefix: &'static [u8]) -> Self {
        Self { prefix, min_len: 0 }
    }

    /// A fan-out line with at least this much text; shorter ones are probes.
    pub(crate) const fn fan(text: usize) -> Self {
        Self { min_len: text, ..Self::new(b"{\"msgtype\":\"fan\"") }
    }

    fn is(&self, line: &[u8]) -> bool {
        line.len() >= self.min_len && line.starts_with(self.prefix)
    }
}

/// The bytes of one connection.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Stream {
    async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(space).await,
            Self::Encrypted(tls) => tls.read(space).await,
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes).await,
            Self::Encrypted(tls) => {
                tls.write_all(bytes).await?;
                // TLS holds back what the socket had no room for.
                tls.flush().await
            }
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Encrypted(tls) => tls.get_ref().0,
        }
    }
}

/// Who a connection is made as: a key's id, TLS with that key, and what it can do besides.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    id: Uuid,
    config: Arc<ClientConfig>,
    features: &'static [&'static str],
}

impl Caller {
    /// With a new key. A `trusting` one does not check the server's signature.
    pub(crate) fn fresh(trusting: bool) -> Result<Self> {
        let identity = Identity::fresh()?;
        Ok(Self { id: identity.id(), config: identity.client(trusting)?, features: &[] })
    }

    /// With a new key; it takes part in routing.
    pub(crate) fn routing() -> Result<Self> {
        Ok(Self { features: &["attach", "route"], ..Self::fresh(false)? })
    }

    pub(crate) const fn id(&self) -> Uuid {
        self.id
    }
}

/// A handshaken connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    input: Vec<u8>,
    filled: usize,
    asides: Asides,
    /// Where the wanted lines are kept, while somebody wants to look inside.
    kept: Option<Vec<u8>>,
}

impl Client {
    /// Connects in plaintext and completes the hello exchange.
    pub(crate) async fn connect(server: SocketAddr, spread: usize) -> Result<Self> {
        let mut client = Self::new(Stream::Plain(dial(server, spread).await?));
        client.send(hello(Uuid::new_v4(), &[]).as_bytes()).await?;
        while client.recv(&Wanted::HELLO).await? == 0 {}
        Ok(client)
    }

    /// Connects, completes the TLS handshake with a key of its own, and then the hello exchange.
    pub(crate) async fn connect_encrypted(
        server: SocketAddr,
        spread: usize,
        caller: &Caller,
    ) -> Result<Self> {
        let tcp = dial(server, spread).await?;
        let connector = TlsConnector::from(Arc::clone(&caller.config));
        let name = ServerName::from(server.ip());
        let stream = Box::pin(connector.connect(name, tcp)).await;
        let stream = stream.map_err(|e| format!("TLS handshake: {e}"))?;
        let server_id = tls::proven_id(stream.get_ref().1).ok_or("the server proves no id")?;
        let mut client = Self::new(Stream::Encrypted(Box::new(stream)));
        let hello = hello(caller.id, caller.features);
        let hello = client.ask(hello.as_bytes(), &Wanted::HELLO).await?;
        if !hello.windows(36).any(|text| text == server_id.to_string().as_bytes()) {
            return Err("the server's hello is not of the id that its key proves".into());
        }
        Ok(client)
    }

    fn new(stream: Stream) -> Self {
        let input = vec![0; 2048];
        Self { stream, input, filled: 0, asides: Asides::default(), kept: None }
    }

    /// One read; how many lines of the wanted kind it completed, possibly none.
    ///
    /// Safe to drop while it waits: what it has read is then still in the socket.
    pub(crate) async fn recv(&mut self, wanted: &Wanted) -> Result<usize> {
        let (seen, was_filled) = self.read().await?;
        let found = self.take_lines(seen, wanted)?;
        self.make_room(was_filled)?;
        Ok(found)
    }

    /// One read; hands over the lines of the messages to one node that it completed, attachment and all.
    /// How many these were.
    pub(crate) async fn recv_routes(
        &mut self,
        each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<usize> {
        let (_, was_filled) = self.read().await?;
        let found = self.take_routes(each)?;
        self.make_room(was_filled)?;
        Ok(found)
    }

    /// Reads once. How much was there before, and whether there was no room for more.
    async fn read(&mut self) -> Result<(usize, bool)> {
        let space = self.input.get_mut(self.filled..).unwrap_or_default();
        let room = space.len();
        let n = self.stream.read(space).await.map_err(|e| self.lost(&e.to_string()))?;
        if n == 0 {
            return Err(self.lost("end of stream").into());
        }
        let seen = self.filled;
        self.filled += n;
        Ok((seen, n == room))
    }

    /// Grows the buffer after a read that has filled it.
    fn make_room(&mut self, was_filled: bool) -> Result<()> {
        if was_filled && self.input.len() <= MAX_LINE {
            self.input.resize(self.input.len() * 2, 0);
        } else if self.filled == self.input.len() {
            return Err("the server sent a line that is too long".into());
        }
        Ok(())
    }

    /// Writes `bytes`, and the pongs that are due.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.asides.pongs.is_empty() {
            let pongs = std::mem::take(&mut self.asides.pongs);
            self.stream.write_all(&pongs).await.map_err(|e| self.lost(&e.to_string()))?;
        }
        self.stream.write_all(bytes).await.map_err(|e| self.lost(&e.to_string()))?;
        Ok(())
    }

    /// Stays connected and polite, for as long as it is polled.
    pub(crate) async fn idle(&mut self) -> Result<()> {
        loop {
            self.recv(&Wanted::PONG).await?;
            self.send(&[]).await?;
        }
    }

    /// Asks once and returns the whole text of the first wanted line that follows.
    pub(crate) async fn ask(&mut self, request: &[u8], wanted: &Wanted) -> Result<Vec<u8>> {
        self.kept = Some(Vec::new());
        self.send(request).await?;
        while self.recv(wanted).await? == 0 {}
        Ok(self.kept.take().unwrap_or_default())
    }

    /// Closes with a reset, which leaves no half-closed connection and no port in TIME_WAIT behind.
    pub(crate) fn reset(self) -> Result<()> {
        Ok(self.stream.tcp().set_zero_linger()?)
    }

    fn take_lines(&mut self, seen: usize, wanted: &Wanted) -> Result<usize> {
        let (mut found, mut start) = (0, 0);
        for i in memchr_iter(b'\n', self.input.get(seen..self.filled).unwrap_or_default()) {
            let line = self.input.get(start..seen + i).unwrap_or_default();
            start = seen + i + 1;
            if wanted.is(line) {
                found += 1;
                if let Some(kept) = &mut self.kept {
                    kept.extend_from_slice(line);
                }
            } else {
                self.asides.take(line)?;
            }
        }
        self.done_with(start);
        Ok(found)
    }

    fn take_routes(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let (mut found, mut start) = (0, 0);
        loop {
            let rest = self.input.get(start..self.filled).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else { break };
            let line = rest.get(..end).unwrap_or_default();
            match attached(line) {
                None => self.asides.take(line)?,
                Some(n) if end + 1 + n > rest.len() => break,
                Some(n) => {
                    each(line)?;
                    found += 1;
                    start += n;
                }
            }
            start += end + 1;
        }
        self.done_with(start);
        Ok(found)
    }

    fn done_with(&mut self, n: usize) {
        self.input.copy_within(n..self.filled, 0);
        self.filled -= n;
    }

    fn lost(&self, what: &str) -> String {
        let bye = self.asides.bye.as_deref().unwrap_or("nothing");
        format!("connection lost: {what}; before that the server said {bye}")
    }
}

/// What the server says besides what the load is about.
#[derive(Debug, Default)]
struct Asides {
    /// Answers to its pings, which leave with the next write.
    pongs: Vec<u8>,
    /// Its last words, for the error when it closes.
    bye: Option<String>,
}

impl Asides {
    fn take(&mut self, line: &[u8]) -> Result<()> {
        if line.starts_with(b"{\"msgtype\":\"ping\"") {
            self.pongs.extend_from_slice(PONG);
        } else if line.starts_with(b"{\"msgtype\":\"bye\"") {
            self.bye = Some(String::from_utf8_lossy(line).into_owned());
        } else if !line.starts_with(b"{\"msgtype\":\"") {
            let line = String::from_utf8_lossy(line);
            return Err(format!("a line whose kind this client cannot tell: {line}").into());
        }
        Ok(())
    }
}

/// How many bytes follow a line; none if it is no message to one node.
fn attached(line: &[u8]) -> Option<usize> {
    let number = line.strip_prefix(ROUTE_HEAD)?;
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |n, digit| n * 10 + usize::from(digit - b'0')))
}

/// A TCP connection. `spread` picks a source address of the 127.0.0.0/24 net, so that thousands of
/// connections do not share one range of ephemeral ports.
async fn dial(server: SocketAddr, spread: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(2 + spread % 64)?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)))?;
    let stream = socket.connect(server).await.map_err(|e| format!("connect: {e}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn hello(id: Uuid, features: &[&str]) -> String {
    let features = match features {
        [] => String::new(),
        some => format!(",\"features\":{some:?}"),
    };
    format!("{{\"msgtype\":\"hello\",\"nodeid\":\"{id}\"{features}}}\n")
}
