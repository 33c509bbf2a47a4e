//! The wire: JSON objects, one a line. What the lines mean is decided elsewhere.
//!
//! [`mod@line`] cuts bytes into lines and never fails: a line that is too long is an item, not an
//! error. [`frame`] turns a line into a [`Frame`] and back. [`codec`] offers both as a
//! `tokio_util` codec for programs that speak to a node. `docs/PROTOCOL.md` is the specification.

pub mod codec;
pub mod frame;
pub mod line;

pub use codec::LineCodec;
pub use frame::{AddrEntry, Bye, Encoded, Frame, Hello, WireError};
pub use line::{Line, LineSplitter};

/// The longest line after the handshake, in bytes without its newline.
pub const MAX_LINE: usize = 64 * 1024;

/// The longest line before the handshake is done: a stranger may not make us keep more.
pub const MAX_HELLO_LINE: usize = 4 * 1024;

/// The `version` of the protocol in a full hello.
pub const VERSION: u32 = 1;
