//! The simulated network's wires: who listens where, which connections there are, what is broken.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::sleep,
};

use super::{
    latency::{Latency, Map},
    post::Post,
    stream::{Cable, Side, SimStream},
};
use crate::{
    address::HostPort,
    transport::{Connection, Transport},
};

/// Connections that wait to be accepted; one more is refused.
const BACKLOG: usize = 1024;

/// A connection's number within the network.
pub(super) type CableId = u64;

type Accepted = Connection<SimStream>;

/// All wires of one simulated network. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Wires {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    post: Arc<Post>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    map: Map,
    /// The share of dials that get no answer.
    dial_loss: f64,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Accepted>>,
    hosts: BTreeMap<IpAddr, Host>,
    n_cables: CableId,
    next_port: u16,
    is_partitioned: bool,
}

/// What there is to know of a host that has been heard of.
#[derive(Debug, Default)]
struct Host {
    /// Nobody can dial it, as if it were behind a NAT.
    hidden: bool,
    /// It is gone without a trace.
    dark: bool,
    /// Its group while the network is partitioned.
    group: usize,
    /// The connections of which it is an end.
    cables: BTreeMap<CableId, Weak<Cable>>,
    /// Bytes that it has sent.
    sent: Arc<AtomicU64>,
}

impl State {
    fn host(&mut self, host: IpAddr) -> &mut Host {
        self.hosts.entry(host).or_default()
    }

    /// Whether what one host sends reaches the other, as far as partitions go.
    fn reaches(&self, a: IpAddr, b: IpAddr) -> bool {
        let group = |host| self.hosts.get(host).map_or(0, |host| host.group);
        !self.is_partitioned || group(&a) == group(&b)
    }

    /// Every connection, once, in a fixed order.
    fn cables(&self) -> impl Iterator<Item = Arc<Cable>> {
        self.hosts.iter().flat_map(|(ip, host)| {
            let cables = host.cables.values().filter_map(Weak::upgrade);
            cables.filter(move |cable| {
                let [dialer, _] = &cable.ends;
                dialer == ip
            })
        })
    }

    fn cables_of(&self, host: IpAddr) -> Vec<Arc<Cable>> {
        let cables = self.hosts.get(&host).map(|host| host.cables.values());
        cables.into_iter().flatten().filter_map(Weak::upgrade).collect()
    }
}

impl Wires {
    /// A whole network of this seed, with these distances, in which this share of dials (0 to 1)
    /// gets no answer.
    #[must_use]
    pub fn new(seed: u64, latency: Latency, dial_loss: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let state = State {
            map: Map::new(latency, &mut rng),
            rng,
            dial_loss,
            listeners: BTreeMap::new(),
            hosts: BTreeMap::new(),
            n_cables: 0,
            next_port: 0,
            is_partitioned: false,
        };
        let inner = Inner { post: Arc::new(Post::new()), state: Mutex::new(state) };
        Self { inner: Arc::new(inner) }
    }

    /// The transport of the host with this address.
    #[must_use]
    pub fn endpoint(&self, host: IpAddr) -> Endpoint {
        Endpoint { wires: self.clone(), host }
    }

    /// Splits the network: hosts of different groups neither reach each other nor notice at once,
    /// since what they send is only held back. Who is in none is in group 0.
    pub fn partition(&self, groups: &BTreeMap<IpAddr, usize>) {
        let mut state = self.inner.state.lock();
        state.is_partitioned = !groups.is_empty();
        state.hosts.values_mut().for_each(|host| host.group = 0);
        for (ip, group) in groups {
            state.host(*ip).group = *group;
        }
        let cables: Vec<_> = state
            .cables()
            .map(|cable| {
                let [a, b] = cable.ends;
                (state.reaches(a, b), cable)
            })
            .collect();
        drop(state);
        cables.iter().for_each(|(reaches, cable)| cable.hold(!reaches));
    }

    /// Ends every partition; what was held back arrives.
    pub fn heal(&self) {
        self.partition(&BTreeMap::new());
    }

    /// Makes a host one that nobody can dial, or the opposite.
    pub fn hide(&self, host: IpAddr, hidden: bool) {
        self.inner.state.lock().host(host).hidden = hidden;
    }

    /// Cuts all connections of a host and stops its listening, as the crash of a program does.
    pub fn crash(&self, host: IpAddr) {
        self.unlisten(host).iter().for_each(|cable| cable.cut());
    }

    /// Has a host vanish, as if its power failed: nobody is told, whoever is connected to it waits,
    /// and so does whoever dials it, until the host is taken up again ([`appear`](Self::appear)).
    pub fn vanish(&self, host: IpAddr) {
        let cables = self.unlisten(host);
        self.inner.state.lock().host(host).dark = true;
        cables.iter().for_each(|cable| cable.darken());
    }

    /// Has a host that had vanished be there again. Its connections stay lost.
    pub fn appear(&self, host: IpAddr) {
        self.inner.state.lock().host(host).dark = false;
    }

    /// Stops a host's listening. Its connections.
    fn unlisten(&self, host: IpAddr) -> Vec<Arc<Cable>> {
        let mut state = self.inner.state.lock();
        let all = SocketAddr::new(host, 0)..=SocketAddr::new(host, u16::MAX);
        let ports: Vec<_> = state.listeners.range(all).map(|(addr, _)| *addr).collect();
        for addr in ports {
            state.listeners.remove(&addr);
        }
        state.cables_of(host)
    }

    /// Cuts this share of all connections, chosen at random. How many that were.
    pub fn cut_some(&self, share: f64) -> usize {
        let mut state = self.inner.state.lock();
        let mut cables: Vec<_> = state.cables().collect();
        let share = share.clamp(0.0, 1.0);
        cables.retain(|_| state.rng.random_bool(share));
        drop(state);
        cables.iter().for_each(|cable| cable.cut());
        cables.len()
    }

    /// How many connections there are.
    #[must_use]
    pub fn n_connections(&self) -> usize {
        let state = self.inner.state.lock();
        state.hosts.values().map(|host| host.cables.len()).sum::<usize>() / 2
    }

    /// How many bytes a host has sent so far, over all its connections.
    #[must_use]
    pub fn sent(&self, host: IpAddr) -> u64 {
        let state = self.inner.state.lock();
        state.hosts.get(&host).map_or(0, |host| host.sent.load(Ordering::Relaxed))
    }

    /// How many bytes all hosts together have sent so far.
    #[must_use]
    pub fn sent_by_all(&self) -> u64 {
        let state = self.inner.state.lock();
        state.hosts.values().map(|host| host.sent.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn post(&self) -> &Post {
        &self.inner.post
    }

    /// One end of a cable is gone.
    pub(super) fn unplug(&self, cable: &Cable) {
        if cable.unplug() {
            let mut state = self.inner.state.lock();
            for end in &cable.ends {
                if let Some(host) = state.hosts.get_mut(end) {
                    host.cables.remove(&cable.id);
                }
            }
        }
    }

    /// Lays a cable between two hosts; its two ends, and how long the way takes.
    fn plug(&self, from: IpAddr, to: SocketAddr) -> (Accepted, Accepted, Duration) {
        self.inner.post.man();
        let mut state = self.inner.state.lock();
        let State { rng, map, .. } = &mut *state;
        let ends = [from, to.ip()];
        let latency = map.draw(ends, rng);
        state.n_cables += 1;
        // Ephemeral ports, as they would be.
        state.next_port = state.next_port.wrapping_add(1) % 28_000;
        let local = SocketAddr::new(from, 32_768 + state.next_port);
        let sent = ends.map(|end| state.host(end).sent.clone());
        let cable = Arc::new(Cable::new(state.n_cables, ends, latency, sent));
        for end in ends {
            state.host(end).cables.insert(cable.id, Arc::downgrade(&cable));
        }
        drop(state);
        let end = |cable, side, local: SocketAddr, remote: SocketAddr| Connection {
            stream: SimStream::new(cable, self.clone(), side),
            remote: remote.into(),
            local: Some(local.into()),
        };
        let dialer = end(cable.clone(), Side::Dialer, local, to);
        let listener = end(cable, Side::Listener, to, local);
        (dialer, listener, latency)
    }

    async fn dial(&self, from: IpAddr, to: SocketAddr) -> io::Result<Accepted> {
        let lost = {
            let mut state = self.inner.state.lock();
            let loss = state.dial_loss;
            let lost = loss > 0.0 && state.rng.random_bool(loss.min(1.0));
            let reaches = state.reaches(from, to.ip());
            let host = state.host(to.ip());
            lost || host.hidden || host.dark || !reaches
        };
        if lost {
            // Nothing comes back, and whoever dials gives up when it likes.
            std::future::pending::<()>().await;
        }
        let (dialer, listener, latency) = self.plug(from, to);
        sleep(latency).await;
        let (door, is_dark) = {
            let mut state = self.inner.state.lock();
            (state.listeners.get(&to).cloned(), state.host(to.ip()).dark)
        };
        if is_dark {
            std::future::pending::<()>().await;
        }
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        match door.ok_or_else(refused)?.try_send(listener) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => return Err(refused()),
        }
        sleep(latency).await;
        Ok(dialer)
    }
}

/// The transport of one simulated host.
#[derive(Debug, Clone)]
pub struct Endpoint {
    wires: Wires,
    host: IpAddr,
}

/// A simulated listening address.
#[derive(Debug)]
pub struct SimListener {
    wires: Wires,
    addr: SocketAddr,
    incoming: mpsc::Receiver<Accepted>,
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.incoming.close();
        let mut state = self.wires.inner.state.lock();
        // A restarted node may have taken the address already.
        if state.listeners.get(&self.addr).is_some_and(mpsc::Sender::is_closed) {
            state.listeners.remove(&self.addr);
        }
    }
}

impl Transport for Endpoint {
    const VOUCHES: bool = true;

    type Stream = SimStream;
    type Parked = SimStream;
    type Listener = SimListener;

    async fn bind(&self, addr: &HostPort, _: bool) -> io::Result<SimListener> {
        let mut state = self.wires.inner.state.lock();
        let port = if addr.port() == 0 { 5999 } else { addr.port() };
        let addr = SocketAddr::new(self.host, port);
        if state.listeners.get(&addr).is_some_and(|door| !door.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (door, incoming) = mpsc::channel(BACKLOG);
        state.listeners.insert(addr, door);
        Ok(SimListener { wires: self.wires.clone(), addr, incoming })
    }

    fn local_addr(listener: &SimListener) -> io::Result<HostPort> {
        Ok(listener.addr.into())
    }

    fn poll_accept(listener: &mut SimListener, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        listener.incoming.poll_recv(cx).map(|accepted| {
            // The sender is taken away by a crash: as if the interface were down.
            accepted.ok_or_else(|| io::ErrorKind::NetworkDown.into())
        })
    }

    async fn dial(&self, addr: SocketAddr) -> io::Result<Accepted> {
        self.wires.dial(self.host, addr).await
    }

    async fn resolve(&self, _: &HostPort) -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, "the simulation has no names"))
    }

    fn park(stream: SimStream) -> io::Result<SimStream> {
        Ok(stream)
    }

    fn unpark(parked: SimStream) -> io::Result<SimStream> {
        Ok(parked)
    }
}

/// The address of the n-th host: 10.0.0.1, 10.0.1.1 and on, each in a subnet of its own as long as
/// there are some, since hosts of one subnet count together where connections are limited.
pub(super) fn host(n: usize) -> IpAddr {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    let (round, subnet) = (n >> 16 & 0xff, n & 0xffff);
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | subnet << 8 | (round + 1) & 0xff))
}
