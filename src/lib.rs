//! A peer-to-peer node made of actors: nodes find each other and talk, without a server.
//!
//! Start a node anywhere, point it at any other, and from then on they know each other: each is
//! server and client, says `hello`, pings, and spreads addresses, as JSON lines over TCP. This
//! crate is the node; the program `peerage` is one way to run it.
//!
//! # A complete program
//!
//! Two nodes that greet each other. An actor takes messages of a type of its own, and hears who
//! comes and goes.
//!
//! ```
//! use actix::prelude::*;
//! use peerage::{Node, PeerEvent, PeerMessage, Received};
//! use serde::{Deserialize, Serialize};
//!
//! /// On the wire: `{"msgtype":"greeting","text":"..."}`.
//! #[derive(Serialize, Deserialize)]
//! struct Greeting {
//!     text: String,
//! }
//!
//! impl PeerMessage for Greeting {
//!     const MSGTYPE: &'static str = "greeting";
//! }
//!
//! /// Greets whoever comes, prints what others say, and then ends the program.
//! struct Host;
//!
//! impl Actor for Host {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<PeerEvent> for Host {
//!     type Result = ();
//!
//!     fn handle(&mut self, event: PeerEvent, _: &mut Context<Self>) {
//!         if let PeerEvent::Up(peer) = event {
//!             let greeting = Greeting { text: format!("welcome, {}", peer.info.id) };
//!             if let Err(refused) = peer.handle.send(&greeting) {
//!                 eprintln!("{} was not greeted: {refused}", peer.info.id);
//!             }
//!         }
//!     }
//! }
//!
//! impl Handler<Received<Greeting>> for Host {
//!     type Result = ();
//!
//!     fn handle(&mut self, greeting: Received<Greeting>, _: &mut Context<Self>) {
//!         println!("{} says: {}", greeting.sender(), greeting.message.text);
//!         System::current().stop();
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let system = actix_rt::System::new();
//!     system.block_on(async {
//!         let first = Node::builder().listen("127.0.0.1:0".parse()?).start().await?;
//!         first.subscribe(Host.start().recipient()).await;
//!
//!         let address = first.listen_addrs()[0].clone();
//!         let second = Node::builder().bootstrap(address.into()).start().await?;
//!         second.register::<Greeting>(Host.start().recipient())?;
//!         Ok::<(), Box<dyn std::error::Error>>(())
//!     })?;
//!     system.run()?;
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! * [`Node`] and [`NodeHandle`]: start a node, and everything a program can ask of it.
//! * [`PeerMessage`] and [`Received`]: messages of your own; [`Batch`] if they come by the hundred
//!   thousand.
//! * [`PeerEvent`]: who comes and goes.
//! * [`overlay`]: messages to any node, whether it is a peer or not.
//! * [`sim`]: a network of real nodes in one process under a virtual clock, to test your actors in.
//! * [`testkit`]: mock sessions and probes, to test one actor alone.
//! * [`config`]: every number, with its default and what breaks when it is wrong.
//!
//! Below these, in reading order: [`wire`] is what travels, [`proto`] is everything that is
//! decided (pure, no IO and no clock), [`actors`] are thin shells around that, [`transport`] and
//! [`outbox`] move the bytes. `docs/PROTOCOL.md` in the repository specifies the wire, and
//! `ARCHITECTURE.md` tells where to add what.

#![forbid(unsafe_code)]

pub mod actors;
pub mod address;
pub mod clock;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod extension;
pub mod identity;
pub mod ids;
pub mod lan;
pub mod meters;
pub mod node;
pub mod outbox;
pub mod overlay;
pub mod peer;
pub mod proto;
pub mod reason;
pub mod secure;
pub mod sim;
pub mod spaces;
pub mod store;
pub mod testkit;
pub mod traffic;
pub mod transport;
pub mod wire;

pub use actors::{
    discovery::{BookEntry, DialError},
    registry::{Peer, PeerEvent, Sent},
    session::PeerHandle,
    vital::NodeFailure,
};
pub use address::{Bootstrap, HostPort};
pub use config::{NodeConfig, Role, Security};
pub use data_dir::{DataDir, DataDirError, StoredKey};
pub use extension::{Batch, Parcel, PeerMessage, Received, RegisterError};
pub use identity::{NetworkKey, NodeKey, PublicKey};
pub use ids::{LinkId, NodeId};
pub use node::{Node, NodeBuilder, NodeHandle, StartError};
pub use outbox::SendError;
pub use peer::{Channel, ChannelSecurity, Direction, PeerInfo, Rtt};
pub use proto::{
    address_entry::NotTaken,
    bans::{Ban, BanError, Target},
    finder::{Finder, Finding},
    journal::{Decision, JournalQuery, Kind},
};
pub use reason::CloseReason;
pub use wire::{Tags, TagsError};

/// The README's program must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
