//! Why a connection ends: a closed list with a stable code each.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

/// Why a session was closed or a connection refused.
///
/// The code travels in `bye`, stands in the journal, and never changes its meaning. What a peer
/// gives as its reason is kept as [`CloseReason::Peer`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The node that says it is stopping.
    Shutdown,
    /// Both ends have the same node id.
    SelfConnection,
    /// The two nodes already have a session, and that one stays (or a newer one took its place).
    Duplicate,
    /// No room for another session.
    Full,
    /// The other node's network has another name.
    WrongNetwork,
    /// The hello names another id than the one that follows from the speaker's key.
    IdMismatch,
    /// Another node answered than the one that was dialled.
    WrongNode,
    /// A version 8 id came over plaintext, where nothing proves it.
    Unproven,
    /// The connection is plaintext, and the node that says it talks only encrypted.
    TlsRequired,
    /// The connection began with TLS, and the node that says it has encryption off.
    PlaintextOnly,
    /// The speaker did not prove that it knows the key of the private network.
    NotMember,
    /// The node that says it lets only listed nodes connect.
    NotAllowed,
    /// The operator of the node that says it has banned the id or the address.
    Banned,
    /// The id or the address broke the protocol within the last hour.
    Discouraged,
    /// What came breaks the protocol; the detail says how.
    Protocol,
    /// A line is longer than the limit of its state.
    TooLarge,
    /// No hello, or no pong, in time.
    Timeout,
    /// The peer does not read what it is sent.
    Slow,
    /// The connection was made only to see whether a node answers there.
    Feeler,
    /// Both nodes have sessions enough without this one.
    Surplus,
    /// The node that says it only introduces others to each other, and has done so.
    Introduced,
    /// The operator or the program asked for it.
    Requested,
    /// A fault inside the node that says it.
    Internal,
    /// The connection ended without a `bye`. Never sent.
    Gone,
    /// The connection could not be made, or failed. Never sent.
    Unreachable,
    /// The TLS handshake failed, or the other side does not speak TLS. Never sent.
    TlsFailed,
    /// The peer said `bye` with this code. Never sent on.
    Peer(Box<str>),
}

impl CloseReason {
    /// Every reason this node may send, in the order of `docs/PROTOCOL.md`.
    pub const SENT: [Self; 23] = [
        Self::Shutdown,
        Self::SelfConnection,
        Self::Duplicate,
        Self::Full,
        Self::WrongNetwork,
        Self::IdMismatch,
        Self::WrongNode,
        Self::Unproven,
        Self::TlsRequired,
        Self::PlaintextOnly,
        Self::NotMember,
        Self::NotAllowed,
        Self::Banned,
        Self::Discouraged,
        Self::Protocol,
        Self::TooLarge,
        Self::Timeout,
        Self::Slow,
        Self::Feeler,
        Self::Surplus,
        Self::Introduced,
        Self::Requested,
        Self::Internal,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Peer(code) => code,
            own => own.own_code().unwrap_or_default(),
        }
    }

    /// The stable code, to be kept: one of this program's own words is not copied.
    #[must_use]
    pub fn word(&self) -> Cow<'static, str> {
        self.own_code().map_or_else(|| Cow::Owned(self.code().to_owned()), Cow::Borrowed)
    }

    /// The code, unless a peer made it up.
    const fn own_code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Shutdown => "shutdown",
            Self::SelfConnection => "self",
            Self::Duplicate => "duplicate",
            Self::Full => "full",
            Self::WrongNetwork => "wrong-network",
            Self::IdMismatch => "id-mismatch",
            Self::WrongNode => "wrong-node",
            Self::Unproven => "unproven",
            Self::TlsRequired => "tls-required",
            Self::PlaintextOnly => "plaintext-only",
            Self::NotMember => "not-member",
            Self::NotAllowed => "not-allowed",
            Self::Banned => "banned",
            Self::Discouraged => "discouraged",
            Self::Protocol => "protocol",
            Self::TooLarge => "too-large",
            Self::Timeout => "timeout",
            Self::Slow => "slow",
            Self::Feeler => "feeler",
            Self::Surplus => "surplus",
            Self::Introduced => "introduced",
            Self::Requested => "requested",
            Self::Internal => "internal",
            Self::Gone => "gone",
            Self::Unreachable => "unreachable",
            Self::TlsFailed => "tls-failed",
            Self::Peer(_) => return None,
        })
    }

    /// Whether a link that this node ends so was ended for what its peer did wrong, and not for
    /// want of room, of time or of a common setting: the peer is discouraged for a while.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        matches!(self, Self::Protocol | Self::TooLarge | Self::IdMismatch)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(code) => write!(f, "{code} (said the peer)"),
            own => f.write_str(own.code()),
        }
    }
}

impl Serialize for CloseReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
