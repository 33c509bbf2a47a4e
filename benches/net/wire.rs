//! What both servers and the load generator must agree on: the constant lines, the address table, and
//! how a server child tells its parent where it listens and learns that it is no longer wanted.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    process, thread,
};

use uuid::Uuid;

pub(crate) const PING: &[u8] = b"{\"msgtype\":\"ping\"}\n";
pub(crate) const PONG: &[u8] = b"{\"msgtype\":\"pong\"}\n";
pub(crate) const GETADDR: &[u8] = b"{\"msgtype\":\"getaddr\"}\n";

/// How a message to one node begins; the number of bytes that follow the line comes next.
pub(crate) const ROUTE_HEAD: &[u8] = b"{\"msgtype\":\"route\",\"attach\":";

/// Addresses in every answer to `getaddr`, on both sides, so that both write the same number of bytes.
pub(crate) const BOOK_ENTRIES: usize = 100;

/// Bytes in one line, from the protocol; before the handshake is done it is [`MAX_HELLO_LINE`].
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// Bytes in a line of a peer that has not said hello, from the protocol.
pub(crate) const MAX_HELLO_LINE: usize = 4 * 1024;

/// The address table that a server under test gives away: `BOOK_ENTRIES` pairs of address and node id.
///
/// The addresses are loopback ones on which nothing listens, so that even a server that dials what it
/// knows never leaves the machine.
pub(crate) fn book() -> Vec<(SocketAddr, Uuid)> {
    (0u8..)
        .take(BOOK_ENTRIES)
        .map(|i| {
            let addr = SocketAddr::from(([127, 1, i, 1], 20_000 + u16::from(i)));
            (addr, Uuid::from_u128(0x7065_6572_0000_4000_8000_0000_0000_0000 + u128::from(i)))
        })
        .collect()
}

/// Tells the parent, as the first line on stdout, where this server child listens.
pub(crate) fn announce(listen: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening {listen}")?;
    stdout.flush()
}

/// Ends this process as soon as its stdin is closed, whatever its runtime is doing.
///
/// A plain thread, so that it works the same under tokio and under actix, and so that a parent that was
/// killed leaves no server behind.
pub(crate) fn exit_when_stdin_closes() -> io::Result<()> {
    let watch = || {
        let mut sink = [0; 64];
        while matches!(io::stdin().read(&mut sink), Ok(n) if n > 0) {}
        process::exit(0);
    };
    thread::Builder::new().name("stdin".to_owned()).spawn(watch).map(drop)
}
