//! Who a node is: an ed25519 key, and the id that follows from it.
//!
//! A version 8 [`NodeId`](crate::NodeId) is the beginning of the hash of a public key, so that
//! whoever proves the key proves the id. A version 4 id is random and proves nothing.

mod key;
mod membership;
mod sealing;

pub use key::{KeyError, NodeKey, PublicKey};
pub use membership::{NetworkKey, NetworkKeyError};
pub use sealing::SEAL_OVERHEAD;
