//! The actors: thin shells that turn messages into calls on the machines of
//! [`proto`](crate::proto), and what those answer into messages.
//!
//! | from | to | message | bounded by |
//! |---|---|---|---|
//! | session | registry | [`LinkEvent`](registry::LinkEvent) | five kinds per link; a pong per ping; new tags once a second |
//! | registry | session | [`Control`](session::Control) | two per link and verdict |
//! | registry | discovery, subscribers | [`PeerEvent`](registry::PeerEvent) | two per session; new tags once a second |
//! | session | discovery | [`FromPeer`](discovery::FromPeer) | the session's credits |
//! | session | extensions | [`Received`](crate::Received), [`Batch`](crate::Batch) | the session's credits |
//! | discovery | dialer | [`Dial`](dialer::Dial), [`Resolve`](dialer::Resolve) | dials in flight; bootstrap names |
//! | dialer, session | discovery | [`Dialled`](discovery::Dialled), [`Resolved`](discovery::Resolved) | one per dial |
//! | discovery | registry | [`Announce`](registry::Announce), [`Elsewhere`](registry::Elsewhere), [`BootstrapResolved`](registry::BootstrapResolved) | changes of the own address; one in 10 s; look-ups of bootstrap names |
//! | extensions | discovery | [`Found`](discovery::Found) | those who wait for the answer; the allowance of a peer for each finder |
//! | registry | discovery | [`BanNews`](discovery::BanNews) | bans and discouragements, which are bounded |
//! | discovery, registry | the store's keeper | [`SaveAddresses`](discovery::SaveAddresses), [`SaveBans`](registry::SaveBans) | one under way; the operator's changes |
//! | all | journal | [`Decision`](crate::proto::journal::Decision) | its mailbox; what is over is counted |
//! | anybody | the overlay's router | messages to any node | its permits for what is under way |
//! | the overlay's router | registered actors | [`Routed`](crate::overlay::Routed) | the actor's inbox |
//! | anybody | the overlay's gossiper | messages to everybody | those who wait for the answer |
//! | the overlay's gossiper | subscribed actors | [`Published`](crate::overlay::Published) | the actor's inbox |
//! | anybody | a session's outbox | encoded frames, past the mailbox | frames and bytes |

pub mod dialer;
pub mod discovery;
pub mod journal;
pub mod knock;
pub mod listener;
pub mod pace;
pub mod registry;
pub mod session;
pub mod vital;
