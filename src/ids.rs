//! The two names everything goes by: a [`NodeId`] for a node, a [`LinkId`] for one connection.

use std::{fmt, str::FromStr};

use rand::Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A node's identity: a UUID. One of version 8 follows from the node's key and is proven by every
/// encrypted connection; any other, such as the random (version 4) one of a classic node, is only
/// what a peer says.
///
/// Ordered bytewise: the lower of two ids keeps the connection it dialled when both dial at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Uuid);

impl NodeId {
    /// A fresh version 4 id from the given source of randomness.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(uuid::Builder::from_random_bytes(rng.random()).into_uuid())
    }

    /// A version 8 id of these bytes, six bits of which give way to the version and the variant.
    pub(crate) const fn from_custom_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Whether the id follows from a key, so that its node can prove it: a version 8 UUID.
    #[must_use]
    pub fn is_self_certifying(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// The id with these 128 bits; for tests and for ids derived elsewhere.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The 128 bits of the id.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The XOR distance (Kademlia, Maymounkov and Mazières 2002) to another id.
    #[must_use]
    pub const fn distance(self, other: Self) -> u128 {
        self.as_u128() ^ other.as_u128()
    }

    /// How many of the first bits another id has in common with this one, which is the number of the
    /// bucket that it stands in; none if it is the same.
    #[must_use]
    pub const fn bucket(self, other: Self) -> Option<u8> {
        let common = self.distance(other).leading_zeros() as u8;
        if common < 128 { Some(common) } else { None }
    }

    /// The first eight hex digits: enough for a person to tell nodes apart.
    #[must_use]
    pub fn short(self) -> String {
        format!("{:08x}", self.as_u128() >> 96)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// One connection of this node, from its first byte to its last; never used again in the same run.
/// Later connections have higher ids. It names a connection within one node and never travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}
