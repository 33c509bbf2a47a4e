//! A connection that is plaintext or TLS, as its first byte says.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::{CommonState, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{Accept, Connect, TlsAcceptor, TlsConnector, client, server};

use super::tls::{ALPN, Tls, key_of};
use crate::{
    peer::{Channel, ChannelSecurity},
    proto::credentials::Established,
};

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1). No JSON begins
/// with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the binding of a membership proof is derived under (RFC 5705).
const BINDING_LABEL: &[u8] = b"EXPORTER-peerage-1-membership";

/// A connection's bytes, whatever is below them. Nothing can be read before
/// [`poll_established`](Self::poll_established) is ready.
pub struct SecureStream<S>(State<S>);

enum State<S> {
    /// Accepted; the first byte has yet to come. To `Accepting` or `Plain`.
    Sniffing {
        stream: S,
        tls: Option<Tls>,
    },
    /// In the handshake. To `Server`.
    Accepting(Box<Accept<Rewound<S>>>),
    /// In the handshake. To `Client`.
    Connecting(Box<Connect<S>>),
    Server(Box<server::TlsStream<Rewound<S>>>),
    Client(Box<client::TlsStream<S>>),
    Plain(Rewound<S>, Plain),
    /// The handshake failed.
    Failed,
}

/// What there is to know of a connection without TLS. As small as can be: every session keeps it.
#[derive(Clone, Copy)]
struct Plain {
    security: ChannelSecurity,
    tls_refused: bool,
}

impl Plain {
    const fn of(security: ChannelSecurity) -> Self {
        Self { security, tls_refused: false }
    }

    const fn established(self) -> Established {
        let channel = Channel { security: self.security, key: None };
        Established { tls_refused: self.tls_refused, ..Established::of(channel) }
    }
}

impl<S> fmt::Debug for SecureStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            State::Sniffing { .. } => "Sniffing",
            State::Accepting(_) | State::Connecting(_) => "Handshaking",
            State::Server(_) | State::Client(_) => "Tls",
            State::Plain(..) => "Plain",
            State::Failed => "Failed",
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SecureStream<S> {
    /// An accepted connection. Without TLS a side that begins with it is told so.
    pub const fn accept(stream: S, tls: Option<Tls>) -> Self {
        Self(State::Sniffing { stream, tls })
    }

    /// A dialled connection that is to be encrypted.
    pub fn connect(stream: S, tls: &Tls) -> Self {
        // The name is neither sent nor looked at: the key is what counts.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let connector = TlsConnector::from(tls.client.clone());
        Self(State::Connecting(Box::new(connector.connect(name, stream))))
    }

    /// A dialled connection in plaintext.
    pub const fn plain(stream: S) -> Self {
        let rewound = Rewound { first: None, inner: stream };
        Self(State::Plain(rewound, Plain::of(ChannelSecurity::Plaintext)))
    }

    /// A connection of a transport that vouches for both ends.
    pub const fn vouched(stream: S) -> Self {
        let rewound = Rewound { first: None, inner: stream };
        Self(State::Plain(rewound, Plain::of(ChannelSecurity::Vouched)))
    }

    /// Works until it is known what the connection is.
    ///
    /// # Errors
    /// The connection ended, or the TLS handshake failed.
    pub fn poll_established(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Established>> {
        loop {
            match &mut self.0 {
                State::Plain(_, plain) => return Poll::Ready(Ok(plain.established())),
                State::Server(tls) => {
                    let tls = tls.get_ref().1;
                    let binding = |out| tls.export_keying_material(out, BINDING_LABEL, None);
                    return Poll::Ready(established(tls, binding));
                }
                State::Client(tls) => {
                    let tls = tls.get_ref().1;
                    let binding = |out| tls.export_keying_material(out, BINDING_LABEL, None);
                    return Poll::Ready(established(tls, binding));
                }
                State::Failed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                State::Sniffing { stream, .. } => {
                    let mut bytes = [0; 1024];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
                    let first = buffer.filled().to_vec();
                    self.sniffed(first);
                }
                State::Accepting(handshake) => {
                    let done = ready!(Pin::new(&mut **handshake).poll(cx));
                    self.shaken(done.map(|tls| State::Server(Box::new(tls))))?;
                }
                State::Connecting(handshake) => {
                    let done = ready!(Pin::new(&mut **handshake).poll(cx));
                    self.shaken(done.map(|tls| State::Client(Box::new(tls))))?;
                }
            }
        }
    }

    fn sniffed(&mut self, first: Vec<u8>) {
        let State::Sniffing { stream, tls } = std::mem::replace(&mut self.0, State::Failed) else {
            return;
        };
        let speaks_tls = first.first() == Some(&TLS_HANDSHAKE);
        let first = Some(first).filter(|first| !first.is_empty()).map(Box::new);
        let rewound = Rewound { first, inner: stream };
        self.0 = match tls {
            Some(tls) if speaks_tls => {
                State::Accepting(Box::new(TlsAcceptor::from(tls.server).accept(rewound)))
            }
            _ => {
                let plain = Plain::of(ChannelSecurity::Plaintext);
                State::Plain(rewound, Plain { tls_refused: speaks_tls, ..plain })
            }
        };
    }

    fn shaken(&mut self, done: io::Result<State<S>>) -> io::Result<()> {
        let (state, result) = match done {
            Ok(state) => (state, Ok(())),
            Err(error) => (State::Failed, Err(error)),
        };
        self.0 = state;
        result
    }

    /// Nobody waits for the other side's first bytes any longer. Whether something can still be
    /// said: in plaintext to a side that has not begun to speak, and to nobody within a handshake.
    pub fn give_up(&mut self) -> bool {
        if let State::Sniffing { .. } = self.0 {
            self.sniffed(Vec::new());
        }
        matches!(self.0, State::Plain(..) | State::Server(_) | State::Client(_))
    }
}

/// What a finished handshake says.
fn established<T>(
    tls: &CommonState,
    binding: impl FnOnce([u8; 32]) -> Result<[u8; 32], T>,
) -> io::Result<Established> {
    let refused = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    if tls.alpn_protocol() != Some(ALPN) {
        return Err(refused("the other side speaks TLS, but not peerage/1"));
    }
    let key = tls.peer_certificates().and_then(|keys| key_of(keys.first()?));
    let key = key.ok_or_else(|| refused("the other side has shown no key"))?;
    let binding = binding([0; 32]).or(Err(refused("the connection cannot be bound to")))?;
    let channel = Channel { security: ChannelSecurity::Encrypted, key: Some(key) };
    Ok(Established { channel, binding, tls_refused: false })
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SecureStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            State::Plain(stream, _) => Pin::new(stream).poll_read(cx, buf),
            State::Server(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
            State::Client(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SecureStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            State::Plain(stream, _) => Pin::new(&mut stream.inner).poll_write(cx, buf),
            State::Server(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
            State::Client(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            State::Plain(stream, _) => Pin::new(&mut stream.inner).poll_flush(cx),
            State::Server(tls) => Pin::new(&mut **tls).poll_flush(cx),
            State::Client(tls) => Pin::new(&mut **tls).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            State::Plain(stream, _) => Pin::new(&mut stream.inner).poll_shutdown(cx),
            State::Server(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            State::Client(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// A stream whose first bytes have been looked at, and are read again.
struct Rewound<S> {
    #[expect(clippy::box_collection, reason = "every session keeps the place, and few the bytes")]
    first: Option<Box<Vec<u8>>>,
    inner: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(first) = &mut this.first else {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        };
        let n = first.len().min(buf.remaining());
        buf.put_slice(first.get(..n).unwrap_or_default());
        first.drain(..n);
        if first.is_empty() {
            // A session keeps no buffer that it does not need.
            this.first = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    // TLS writes several records with one call where it can.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
