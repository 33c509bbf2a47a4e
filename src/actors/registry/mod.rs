//! Holds the peer table: which connections there are, which of them are sessions, who may stay.
//!
//! Owns the [`PeerTable`](crate::proto::peer_table::PeerTable) and is the only writer of the
//! [`Directory`]. Does not read or write frames, and does not decide whom to dial.
//!
//! * I1: every link that was opened is answered by a verdict after its hello.
//! * I2: subscribers hear `Up` and `Down` of a peer alternately, in order.
//! * I3: a ban is answered when it is kept, or with the news that it could not be.

mod actor;
mod bans;
mod directory;
mod messages;
mod setup;

pub use actor::Registry;
pub use directory::{Directory, Sent};
pub use messages::{
    Announce, BanList, BanTarget, BootstrapResolved, Disconnect, DiscouragedList, Elsewhere,
    LiftBan, LinkEvent, LinkNews, Peer, PeerEvent, PeerList, ReportBans, SaveBans, ShutDown, Stop,
    Subscribe,
};
pub use setup::RegistrySetup;

#[cfg(test)]
mod tests;
