//! A peer-to-peer node made of actors.
//!
//! [`docs/PROTOCOL.md`]: https://docs.rs/crate/peerage/latest/source/docs/PROTOCOL.md

#![forbid(unsafe_code)]

pub mod actors;
pub mod address;
pub mod clock;
pub mod config;
pub mod extension;
pub mod ids;
pub mod node;
pub mod outbox;
pub mod peer;
pub mod proto;
pub mod reason;
pub mod sim;
pub mod testkit;
pub mod transport;
pub mod wire;

pub use actors::{
    discovery::{BookEntry, DialError},
    registry::{Peer, PeerEvent, Sent},
    session::PeerHandle,
    vital::NodeFailure,
};
pub use address::HostPort;
pub use config::NodeConfig;
pub use extension::{PeerMessage, Received, RegisterError};
pub use ids::{LinkId, NodeId};
pub use node::{Node, NodeBuilder, NodeHandle, StartError};
pub use outbox::SendError;
pub use peer::{Direction, PeerInfo, Rtt};
pub use proto::journal::{Decision, JournalQuery, Kind};
pub use reason::CloseReason;
