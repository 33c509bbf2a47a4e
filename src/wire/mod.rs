//! The wire: JSON objects, one a line, some with raw bytes behind them. What they mean is decided
//! elsewhere.
//!
//! [`mod@line`] cuts bytes into lines and never fails: a line that is too long is an item, not an
//! error. [`frame`] turns a line into a [`Frame`], [`flat`] finds the fields of a simple one without a
//! parser, [`attachment`] gathers the bytes that follow it, [`tags`] are what a node says of itself, and
//! [`encoded`] is the way back. [`codec`] offers lines as a `tokio_util` codec for programs that speak to a
//! node. `docs/PROTOCOL.md` is the specification.

pub mod attachment;
pub mod codec;
pub mod encoded;
pub mod flat;
pub mod frame;
pub mod line;
pub mod tags;

pub use attachment::Gathering;
pub use codec::LineCodec;
pub use encoded::{EncodeError, Encoded};
pub use flat::{Fields, Flat, Value};
pub use frame::{AddrEntry, Bye, Frame, Hello, WireError};
pub use line::{Line, LineSplitter};
pub use tags::{Tags, TagsError};

/// The longest line after the handshake, in bytes without its newline.
pub const MAX_LINE: usize = 64 * 1024;

/// The longest line before the handshake is done: a stranger may not make us keep more.
pub const MAX_HELLO_LINE: usize = 4 * 1024;

/// The longest attachment, in bytes: what a file is cut into, and what one session may make us keep
/// for a message that has not come whole.
pub const MAX_ATTACHMENT: usize = 1024 * 1024;

/// The feature of a hello whose speaker takes attachments.
pub const ATTACH: &str = "attach";

/// The feature of a hello whose speaker only introduces others to each other, and ends sessions soon.
pub const INTRODUCE: &str = "introduce";

/// The `version` of the protocol in a full hello.
pub const VERSION: u32 = 1;
