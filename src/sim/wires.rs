//! The simulated network's wires: who listens where, which connections there are, what is broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, Weak},
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

use super::stream::{Cable, Side, SimStream};
use crate::{
    address::HostPort,
    clock::whole_millis,
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
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    latency: RangeInclusive<Duration>,
    /// The share of dials that get no answer.
    dial_loss: f64,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Accepted>>,
    cables: BTreeMap<CableId, Plugged>,
    n_cables: CableId,
    next_port: u16,
    /// The group of each host while the network is partitioned; others are in group 0.
    groups: BTreeMap<IpAddr, usize>,
    /// Hosts that nobody can dial, as those behind a NAT.
    hidden: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Plugged {
    ends: [IpAddr; 2],
    cable: Weak<Cable>,
    /// How many of the two ends are still held.
    n_ends: u8,
}

impl State {
    fn is_partitioned(&self, a: IpAddr, b: IpAddr) -> bool {
        let group = |ip| self.groups.get(&ip).copied().unwrap_or_default();
        !self.groups.is_empty() && group(a) != group(b)
    }
}

impl Wires {
    /// A whole network of this seed; a connection's latency is taken once, from the range.
    #[must_use]
    pub fn new(seed: u64, latency: RangeInclusive<Duration>, dial_loss: f64) -> Self {
        let state = State {
            rng: ChaCha8Rng::seed_from_u64(seed),
            latency,
            dial_loss,
            listeners: BTreeMap::new(),
            cables: BTreeMap::new(),
            n_cables: 0,
            next_port: 0,
            groups: BTreeMap::new(),
            hidden: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The transport of the host with this address.
    #[must_use]
    pub fn endpoint(&self, host: IpAddr) -> Endpoint {
        Endpoint { wires: self.clone(), host }
    }

    /// Splits the network: hosts of different groups neither reach each other nor notice at once,
    /// since what they send is only held back.
    pub fn partition(&self, groups: BTreeMap<IpAddr, usize>) {
        self.state.lock().groups = groups;
        self.wake_all();
    }

    /// Ends every partition; what was held back arrives.
    pub fn heal(&self) {
        self.partition(BTreeMap::new());
    }

    /// Makes a host one that nobody can dial, or the opposite.
    pub fn hide(&self, host: IpAddr, hidden: bool) {
        let mut state = self.state.lock();
        if hidden {
            state.hidden.insert(host);
        } else {
            state.hidden.remove(&host);
        }
    }

    /// Cuts all connections of a host and stops its listening, as a crash does.
    pub fn crash(&self, host: IpAddr) {
        let mut state = self.state.lock();
        state.listeners.retain(|addr, _| addr.ip() != host);
        let cables = state.cables.values().filter(|plugged| plugged.ends.contains(&host));
        let cut: Vec<_> = cables.filter_map(|plugged| plugged.cable.upgrade()).collect();
        drop(state);
        cut.iter().for_each(|cable| cable.cut());
    }

    /// Cuts this share of all connections, chosen at random. How many that were.
    pub fn cut_some(&self, share: f64) -> usize {
        let mut state = self.state.lock();
        let State { rng, cables, .. } = &mut *state;
        let chosen = cables.values().filter(|_| rng.random_bool(share.clamp(0.0, 1.0)));
        let cut: Vec<_> = chosen.filter_map(|plugged| plugged.cable.upgrade()).collect();
        drop(state);
        cut.iter().for_each(|cable| cable.cut());
        cut.len()
    }

    /// How many connections there are.
    #[must_use]
    pub fn n_connections(&self) -> usize {
        self.state.lock().cables.len()
    }

    pub(super) fn is_partitioned(&self, id: CableId) -> bool {
        let state = self.state.lock();
        if state.groups.is_empty() {
            return false;
        }
        state.cables.get(&id).is_some_and(|plugged| {
            let [a, b] = plugged.ends;
            state.is_partitioned(a, b)
        })
    }

    pub(super) fn unplug(&self, id: CableId) {
        let mut state = self.state.lock();
        if let Some(plugged) = state.cables.get_mut(&id) {
            plugged.n_ends -= 1;
            if plugged.n_ends == 0 {
                state.cables.remove(&id);
            }
        }
    }

    fn wake_all(&self) {
        let state = self.state.lock();
        let all: Vec<_> = state.cables.values().filter_map(|p| p.cable.upgrade()).collect();
        drop(state);
        all.iter().for_each(|cable| cable.wake());
    }

    /// Lays a cable between two hosts; its two ends, and how long the way takes.
    fn plug(&self, from: IpAddr, to: SocketAddr) -> (Accepted, Accepted, Duration) {
        let mut state = self.state.lock();
        let State { rng, latency, .. } = &mut *state;
        let latency = whole_millis(rng.random_range(latency.clone()));
        state.n_cables += 1;
        // Ephemeral ports, as they would be.
        state.next_port = state.next_port.wrapping_add(1) % 28_000;
        let local = SocketAddr::new(from, 32_768 + state.next_port);
        let id = state.n_cables;
        let cable = Arc::new(Cable::new(latency));
        let plugged = Plugged { ends: [from, to.ip()], cable: Arc::downgrade(&cable), n_ends: 2 };
        state.cables.insert(id, plugged);
        drop(state);
        let end = |cable, side, local: SocketAddr, remote: SocketAddr| Connection {
            stream: SimStream::new(cable, id, self.clone(), side),
            remote: remote.into(),
            local: Some(local.into()),
        };
        let dialer = end(cable.clone(), Side::Dialer, local, to);
        let listener = end(cable, Side::Listener, to, local);
        (dialer, listener, latency)
    }

    async fn dial(&self, from: IpAddr, to: SocketAddr) -> io::Result<Accepted> {
        let lost = {
            let mut state = self.state.lock();
            let loss = state.dial_loss;
            let lost = loss > 0.0 && state.rng.random_bool(loss.min(1.0));
            lost || state.hidden.contains(&to.ip()) || state.is_partitioned(from, to.ip())
        };
        if lost {
            // Nothing comes back, and whoever dials gives up when it likes.
            std::future::pending::<()>().await;
        }
        let (dialer, listener, latency) = self.plug(from, to);
        sleep(latency).await;
        let door = self.state.lock().listeners.get(&to).cloned();
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
        let mut state = self.wires.state.lock();
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
        let mut state = self.wires.state.lock();
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

/// The address of the n-th host: 10.0.0.1 onwards.
pub(super) fn host(n: usize) -> IpAddr {
    let n = u32::try_from(n).unwrap_or(u32::MAX).wrapping_add(1) & 0x00ff_ffff;
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | n))
}
