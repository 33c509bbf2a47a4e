//! One actor per connection: handshake, pings, and the way between the wire and everybody else.
//!
//! Owns the connection's [`Link`](crate::proto::link::Link), its outbox and its credits. Does not
//! decide whether it may stay (the registry does), nor what an address is worth (discovery does).
//!
//! * I1: for each session that told the registry `Opened` there is exactly one `Closed`, even
//!   after a panic.
//! * I2: a dial is answered exactly once, by a session or by its failure.
//! * I3: everything one read brought is handled at once, and answered with one write.
//! * I4: while the actors that a session delivers to have not finished with half of its credit,
//!   it is not read: nothing accepted is lost, and a slow extension slows its senders only.

mod actor;
mod launch;
mod messages;
mod pipe;
mod tags;

pub use actor::Session;
pub use launch::{Env, HelloTemplate, Launcher, Workers};
pub use messages::{Control, Credit, DialTicket, PeerHandle, SessionHandle};
pub use tags::OwnTags;

#[cfg(test)]
mod tests;
