//! TCP.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::{Connection, Transport};
use crate::address::{Host, HostPort};

/// How many connections may wait to be accepted, as far as the operating system lets us.
const BACKLOG: i32 = 1024;

/// The real network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Transport for Tcp {
    type Stream = TcpStream;
    type Parked = std::net::TcpStream;
    type Listener = TcpListener;

    async fn bind(&self, addr: &HostPort, exclusive_v6: bool) -> io::Result<TcpListener> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in self.resolve(addr).await? {
            match listen(addr, exclusive_v6) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn local_addr(listener: &TcpListener) -> io::Result<HostPort> {
        listener.local_addr().map(HostPort::from)
    }

    fn poll_accept(
        listener: &mut TcpListener,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Connection<TcpStream>>> {
        listener.poll_accept(cx).map(|accepted| {
            let (stream, remote) = accepted?;
            connection(stream, remote)
        })
    }

    async fn dial(&self, addr: SocketAddr) -> io::Result<Connection<TcpStream>> {
        connection(TcpStream::connect(addr).await?, addr)
    }

    async fn resolve(&self, name: &HostPort) -> io::Result<Vec<SocketAddr>> {
        match name.host() {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, name.port())]),
            Host::Name(host) => Ok(lookup_host((&**host, name.port())).await?.collect()),
        }
    }

    fn park(stream: TcpStream) -> io::Result<std::net::TcpStream> {
        stream.into_std()
    }

    fn unpark(parked: std::net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(parked)
    }
}

fn connection(stream: TcpStream, remote: SocketAddr) -> io::Result<Connection<TcpStream>> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr().ok();
    // Dialling a port of this machine where nobody listens, the system may choose that very port
    // for this end. The connection then ends in itself (RFC 9293, section 3.5), and the node would
    // hear its own hello and take the address for its own for ever.
    if local == Some(remote) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let local = local.map(HostPort::from);
    Ok(Connection { stream, remote: remote.into(), local })
}

fn listen(addr: SocketAddr, exclusive_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(exclusive_v6)?;
    }
    // A node that restarts must not wait for the old connections of its port to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_ends_in_itself_is_a_refused_one() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap();
        if socket.connect(&addr).is_err() {
            // A system that does not let a socket meet itself needs no guard.
            return;
        }
        socket.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(socket.into()).unwrap();
        let error = connection(stream, addr.as_socket().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
