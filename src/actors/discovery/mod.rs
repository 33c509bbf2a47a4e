//! Finds the network and keeps it: processes `addr` and `getaddr`, says whom to dial.
//!
//! Owns the [`Explorer`](crate::proto::explorer::Explorer). Knows peers only by their
//! [`PeerHandle`](super::session::PeerHandle); never dials or resolves itself.

mod actor;
mod messages;

pub use actor::{Discovery, Ports};
pub use messages::{
    BanNews, Book, BookEntry, DialError, DialNow, Dialled, Found, FromPeer, Question, Resolved,
    SaveAddresses,
};

#[cfg(test)]
mod tests;
