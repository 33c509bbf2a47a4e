//! What the loopback tests share: a raw client that speaks bytes, waiting with a bound, and a way
//! to run a test alone in a process of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

use std::{
    env,
    net::{SocketAddr, TcpListener as StdListener},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use actix::prelude::*;
use peerage::{
    Decision, HostPort, JournalQuery, Kind, Node, NodeConfig, NodeHandle, NodeId, NodeKey,
    PeerMessage, Received,
    secure::{SecureStream, Tls},
};
use serde_json::Value;
use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

/// The most any step may take, on a machine busy with other tests.
pub(crate) const BOUND: Duration = Duration::from_secs(15);

// ---------------------------------------------------------------- waiting

/// Waits for a condition; fails the test if it does not come true in time.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(3)).await;
    }
}

/// What comes of a future; fails the test if nothing does in time.
pub(crate) async fn within<T>(bound: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(bound, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("not within {bound:?}: {what}"),
    }
}

// ---------------------------------------------------------------- nodes

/// A node that listens on a free port of 127.0.0.1 and carries its sessions on this thread.
pub(crate) fn quiet() -> NodeConfig {
    NodeConfig { listen: vec![at("127.0.0.1:0")], workers: 1, ..NodeConfig::default() }
}

/// The same with pauses so short that a test can wait for them.
pub(crate) fn hasty() -> NodeConfig {
    let ms = Duration::from_millis;
    let mut config = quiet();
    config.session.handshake_timeout = ms(1000);
    config.session.close_grace = ms(300);
    config.discovery.redial = [20, 40, 80].map(ms).to_vec();
    config.discovery.bootstrap_retry_max = ms(100);
    config.discovery.dials_per_second = 100;
    config.discovery.dial_timeout = ms(1000);
    config.discovery.refresh_min = ms(50);
    config
}

pub(crate) async fn start(config: NodeConfig) -> NodeHandle {
    Node::builder().config(config).start().await.unwrap()
}

pub(crate) fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

/// Where a node listens.
pub(crate) fn place(node: &NodeHandle) -> HostPort {
    node.listen_addrs().first().unwrap().clone()
}

pub(crate) fn id(n: u128) -> NodeId {
    NodeId::from_u128(n)
}

pub(crate) async fn peer_ids(node: &NodeHandle) -> Vec<NodeId> {
    node.peers().await.iter().map(|peer| peer.id).collect()
}

/// The node's decisions of one kind.
pub(crate) async fn noted(node: &NodeHandle, kind: Kind) -> Vec<Decision> {
    node.journal(JournalQuery { kind: Some(kind), ..JournalQuery::default() }).await
}

/// Waits until the journal has a decision of this kind for this reason.
pub(crate) async fn until_noted(node: &NodeHandle, kind: Kind, reason: &str) {
    let what = format!("the journal says {} {reason}", kind.code());
    until(&what, async || noted(node, kind).await.iter().any(|d| d.reason == reason)).await;
}

/// A port that nobody uses, outside the range that systems take ephemeral ports from, so that no
/// other test's connection can come to sit on it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    for _ in 0..10_000 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (start + n) % 20_000;
        if StdListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

// ---------------------------------------------------------------- an extension

/// An actor that hands the messages of one type to a closure.
pub(crate) struct Taker<M>(Box<dyn FnMut(Received<M>) + Send>);

impl<M: PeerMessage> Taker<M> {
    /// On this thread.
    pub(crate) fn start(take: impl FnMut(Received<M>) + Send + 'static) -> Addr<Self> {
        Actor::start(Self(Box::new(take)))
    }

    /// On a thread of its own.
    pub(crate) fn start_elsewhere(take: impl FnMut(Received<M>) + Send + 'static) -> Addr<Self> {
        let taker = Self(Box::new(take));
        Actor::start_in_arbiter(&Arbiter::new().handle(), move |_| taker)
    }
}

impl<M: PeerMessage> Actor for Taker<M> {
    type Context = Context<Self>;
}

impl<M: PeerMessage> Handler<Received<M>> for Taker<M> {
    type Result = ();

    fn handle(&mut self, received: Received<M>, _: &mut Context<Self>) {
        (self.0)(received);
    }
}

// ---------------------------------------------------------------- a raw client

/// The least that a peer must say.
pub(crate) fn hello(n: u128) -> String {
    hello_with(n, "")
}

/// A hello with more fields, each beginning with a comma.
pub(crate) fn hello_with(n: u128, more: &str) -> String {
    hello_of(id(n), more)
}

/// The same of this id.
pub(crate) fn hello_of(id: NodeId, more: &str) -> String {
    format!("{{\"msgtype\":\"hello\",\"nodeid\":\"{id}\"{more}}}\n")
}

/// A key that nobody has had before.
pub(crate) fn new_key() -> NodeKey {
    NodeKey::generate(&mut rand::rng())
}

pub(crate) const PING: &str = "{\"msgtype\":\"ping\"}\n";

/// An `addr` line of these bare addresses.
pub(crate) fn addr_line(addrs: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let peers: Vec<String> = addrs.into_iter().map(|addr| format!("{:?}", addr.as_ref())).collect();
    format!("{{\"msgtype\":\"addr\",\"peers\":[{}]}}\n", peers.join(","))
}

/// A connection that says what it likes and reads lines, each step within [`BOUND`].
pub(crate) struct Raw<S = TcpStream> {
    stream: BufReader<S>,
    reset: bool,
}

/// The same within TLS.
pub(crate) type Sealed = Raw<SecureStream<TcpStream>>;

impl Sealed {
    /// A connection on which this key is proven, and nothing is said yet.
    pub(crate) async fn dial(node: &NodeHandle, key: &NodeKey) -> Self {
        let to = place(node).socket_addr().unwrap();
        let stream = within(BOUND, "connect", TcpStream::connect(to)).await.unwrap();
        Self::handshake(SecureStream::connect(stream, &Tls::new(key).unwrap())).await.unwrap()
    }

    /// What comes of a handshake.
    pub(crate) async fn handshake(mut stream: SecureStream<TcpStream>) -> std::io::Result<Self> {
        let shaken = std::future::poll_fn(|cx| stream.poll_established(cx));
        within(BOUND, "a handshake", shaken).await?;
        Ok(Self::on(stream))
    }

    /// A session of the node with this key.
    pub(crate) async fn enter(node: &NodeHandle, key: &NodeKey) -> Self {
        let mut sealed = Self::dial(node, key).await;
        sealed.send(hello_of(key.node_id(), "")).await;
        sealed.expect("ping").await;
        sealed
    }
}

impl Raw {
    pub(crate) async fn connect(to: &HostPort) -> Self {
        Self::try_connect(to.socket_addr().unwrap()).await.unwrap()
    }

    pub(crate) async fn try_connect(to: SocketAddr) -> std::io::Result<Self> {
        Ok(Self::over(within(BOUND, "connect", TcpStream::connect(to)).await?))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }

    /// A connection whose system keeps as little as it can of what is not read or not sent yet.
    pub(crate) async fn connect_narrow(to: &HostPort) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        Self::over(socket.connect(to.socket_addr().unwrap()).await.unwrap())
    }

    /// A connection that has said this hello, and has heard the node's.
    pub(crate) async fn greet(node: &NodeHandle, n: u128) -> Self {
        let mut raw = Self::connect(&place(node)).await;
        raw.send(hello(n)).await;
        assert_eq!(raw.expect("hello").await["nodeid"], node.id().to_string());
        raw
    }

    /// A connection from another address of this machine.
    pub(crate) async fn connect_from(node: &NodeHandle, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        let to = place(node).socket_addr().unwrap();
        Self::over(socket.connect(to).await.unwrap())
    }

    /// A session of a peer at another address of this machine.
    pub(crate) async fn join_from(node: &NodeHandle, n: u128, from: &str) -> Self {
        let mut raw = Self::connect_from(node, from).await;
        raw.send(hello(n)).await;
        raw.expect("ping").await;
        raw
    }

    /// A session: the node has it in its table.
    pub(crate) async fn join(node: &NodeHandle, n: u128) -> Self {
        let mut raw = Self::greet(node, n).await;
        // The first ping says that the session is up.
        raw.expect("ping").await;
        raw
    }

    pub(crate) fn local_addr(&self) -> HostPort {
        self.stream.get_ref().local_addr().unwrap().into()
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let stream = self.stream.into_inner();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn on(stream: S) -> Self {
        Self { stream: BufReader::new(stream), reset: false }
    }

    /// What is below.
    pub(crate) fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// The same towards a node that may close meanwhile.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        let write = async {
            stream.write_all(bytes.as_ref()).await?;
            stream.flush().await
        };
        within(BOUND, "the node takes what it is sent", write).await
    }

    /// The next line without its newline; `None` when the connection has ended, whichever way.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = within(BOUND, "a line or the end", self.stream.read_line(&mut line)).await;
        self.reset |= read.is_err();
        match read {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
        }
    }

    pub(crate) async fn message(&mut self) -> Option<Value> {
        let line = self.line().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The next message of this type; others are skipped.
    pub(crate) async fn expect(&mut self, msgtype: &str) -> Value {
        let mut seen = Vec::new();
        while let Some(message) = self.message().await {
            if message["msgtype"] == msgtype {
                return message;
            }
            seen.push(message.to_string());
        }
        panic!("no {msgtype} before the end, but {seen:?}");
    }

    /// The msgtypes of everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(message) = self.message().await {
            all.push(message["msgtype"].as_str().unwrap().to_owned());
        }
        all
    }

    /// The `bye` that the node says as its last word: its reason, and its detail.
    pub(crate) async fn bye_in_full(&mut self) -> (String, String) {
        let bye = self.expect("bye").await;
        assert_eq!(self.line().await, None, "something after bye");
        let text = |key: &str| bye[key].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("detail"))
    }

    /// The reason of the `bye` that the node says as its last word.
    pub(crate) async fn bye(&mut self) -> String {
        self.bye_in_full().await.0
    }

    /// Pings, and gives the time until the pong.
    pub(crate) async fn ping(&mut self) -> Duration {
        let sent = Instant::now();
        self.send(PING).await;
        self.expect("pong").await;
        sent.elapsed()
    }

    /// Says the same over and over until the node has taken nothing for this long, or as much as
    /// `most`. How many bytes it took.
    pub(crate) async fn send_until_blocked(
        &mut self,
        bytes: &[u8],
        pause: Duration,
        most: usize,
    ) -> usize {
        let mut taken = 0;
        while taken < most {
            let rest = bytes.get(taken % bytes.len()..).unwrap();
            match timeout(pause, self.stream.get_mut().write(rest)).await {
                Ok(n) => taken += n.unwrap(),
                Err(_blocked) => break,
            }
        }
        taken
    }

    /// Whether the connection has ended with a reset rather than an orderly end.
    pub(crate) const fn was_reset(&self) -> bool {
        self.reset
    }

    /// Says nothing more, but goes on reading.
    pub(crate) async fn close_writing(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }
}

// ---------------------------------------------------------------- a process of its own

const ALONE: &str = "PEERAGE_TEST_ALONE";

/// Runs a test alone in a process of its own, where memory and file descriptors are not other
/// tests', with this limit of open files. Whether this is that process: then the caller goes on
/// with the test's body; else the test has already run there, and well.
#[track_caller]
pub(crate) fn alone(test: &str, open_files: u32) -> bool {
    if env::var(ALONE).is_ok_and(|name| name == test) {
        return true;
    }
    let mut command = Command::new("sh");
    // A hard limit below may forbid to raise it; the test then says what it lacks.
    command.arg("-c").arg(format!("ulimit -n {open_files} 2>/dev/null; exec \"$0\" \"$@\""));
    command.arg(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ALONE, test);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}, alone: {}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "no test of the name {test}?\n{text}");
    println!("{text}");
    false
}

/// A figure of this process in KiB, as `VmRSS` or `VmHWM`. `None` where there is no such thing.
pub(crate) fn memory_kib(figure: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(figure))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How many files this process has open. `None` where nobody can tell.
pub(crate) fn open_files() -> Option<usize> {
    let dir = ["/proc/self/fd", "/dev/fd"].into_iter().find(|dir| Path::new(dir).exists())?;
    Some(std::fs::read_dir(dir).ok()?.count())
}
