//! Encryption: TLS 1.3 with raw public keys (RFC 7250) on both sides, on the same port as plaintext.
//!
//! Owns: what the node speaks TLS with, and how the first byte of a connection tells TLS from JSON.
//! Does not decide who may be a peer: it says which key the other end has proven
//! ([`Established`](crate::proto::credentials::Established)), and the [`link`](crate::proto::link) decides what that is worth.
//!
//! There are no certificates and no authority: a node's id is the hash of its key, so whoever
//! proves the key is the node. Sessions are not resumed, and no data is sent early.

mod stream;
mod tls;

pub use stream::SecureStream;
pub use tls::{ALPN, Tls, TlsError};
