//! What carries bytes between nodes. The actors are generic over it, so that the same node runs
//! over TCP and over the in-memory network of [`sim`](crate::sim).

use std::{
    fmt, io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::HostPort;

pub mod tcp;

/// A connection that was made or accepted, with the addresses of its two ends.
#[derive(Debug)]
pub struct Connection<S> {
    /// The bytes.
    pub stream: S,
    /// The other end; an ephemeral port if the connection was accepted.
    pub remote: HostPort,
    /// This end.
    pub local: Option<HostPort>,
}

/// A way to listen and to dial.
pub trait Transport: Clone + fmt::Debug + Send + 'static {
    /// Whether the transport itself vouches for who is at the other end, so that connections need
    /// no encryption. Only a simulation can.
    const VOUCHES: bool = false;

    /// A connection's bytes.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    /// A connection on its way to another thread.
    type Parked: Send + 'static;
    /// A bound listening address.
    type Listener: Unpin + 'static;

    /// Listens on an address; port 0 picks a free one. `exclusive_v6` keeps an IPv6 wildcard from
    /// taking the IPv4 side of the port as well.
    fn bind(
        &self,
        addr: &HostPort,
        exclusive_v6: bool,
    ) -> impl Future<Output = io::Result<Self::Listener>>;

    /// The address that is listened on.
    ///
    /// # Errors
    /// The operating system's.
    fn local_addr(listener: &Self::Listener) -> io::Result<HostPort>;

    /// The next connection.
    fn poll_accept(
        listener: &mut Self::Listener,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Connection<Self::Stream>>>;

    /// Connects to an address.
    fn dial(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Connection<Self::Stream>>>;

    /// All addresses of a name.
    fn resolve(&self, name: &HostPort) -> impl Future<Output = io::Result<Vec<SocketAddr>>>;

    /// Makes a connection ready to move to another thread.
    ///
    /// # Errors
    /// The operating system's; the connection is gone.
    fn park(stream: Self::Stream) -> io::Result<Self::Parked>;

    /// Takes a connection up on the thread that it has moved to.
    ///
    /// # Errors
    /// The operating system's; the connection is gone.
    fn unpark(parked: Self::Parked) -> io::Result<Self::Stream>;
}
