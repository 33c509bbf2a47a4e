//! Holds the peer table: which connections there are, which of them are sessions, who may stay.
//!
//! Owns the [`PeerTable`](crate::proto::peer_table::PeerTable) and is the only writer of the
//! [`Directory`]. Does not read or write frames, and does not decide whom to dial.
//!
//! * I1: every link that was opened is answered by a verdict after its hello.
//! * I2: subscribers hear `Up` and `Down` of a peer alternately, in order.

mod actor;
mod directory;
mod messages;

pub use actor::Registry;
pub use directory::{Directory, Sent};
pub use messages::{
    Announce, Disconnect, Elsewhere, LinkEvent, LinkNews, Peer, PeerEvent, PeerList, ShutDown,
    Stop, Subscribe,
};

#[cfg(test)]
mod tests;
