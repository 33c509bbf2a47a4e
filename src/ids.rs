//! The names everything goes by: a [`NodeId`] for a node, a [`LinkId`] for one connection, a
//! [`MessageId`] for a message that passes through more than one.

pub(crate) mod digits;

use std::{cmp::Ordering, fmt, str::FromStr};

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use uuid::Uuid;

/// A node's identity: a UUID. One of version 8 follows from the node's key and is proven by every
/// encrypted connection; any other, such as the random (version 4) one of a classic node, is only
/// what a peer says.
///
/// Ordered bytewise: the lower of two ids keeps the connection it dialled when both dial at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Uuid);

// Bytewise, as a number.
impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_u128().cmp(&other.as_u128())
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

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

    /// Appends what it is written as.
    pub(crate) fn append(self, text: &mut Vec<u8>) {
        text.extend_from_slice(
            self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
        );
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

/// One message, wherever it is: 128 bits, written as 32 hex digits. Ordered bytewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId([u8; 16]);

// Bytewise, as a number.
impl Ord for MessageId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_u128().cmp(&other.as_u128())
    }
}

impl PartialOrd for MessageId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A text that is no message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message id has 32 hex digits")]
pub struct MessageIdError;

impl MessageId {
    /// A fresh id from the given source of randomness.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(rng.random())
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 128 bits of the id.
    #[must_use]
    pub const fn as_u128(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl MessageId {
    /// Its digits. Sixteen bytes have 32 of them, and digits are text, so that nothing can fail.
    fn digits<'a>(&self, room: &'a mut [u8; 32]) -> Option<&'a str> {
        *room = digits::write(self.0);
        str::from_utf8(room).ok()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits(&mut [0; 32]).ok_or(fmt::Error)?)
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        digits::read(text).map(Self).ok_or(MessageIdError)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut room = [0; 32];
        serializer.serialize_str(self.digits(&mut room).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl de::Visitor<'_> for Digits {
            type Value = MessageId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MessageId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Digits)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_32_hex_digits() {
        let id = MessageId::from_bytes([0xab; 16]);
        let text = "ab".repeat(16);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<MessageId>(&format!("\"{text}\"")).unwrap(), id);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        for wrong in ["", "ab", &"ab".repeat(17), &"zz".repeat(16), &"é".repeat(16)] {
            assert_eq!(wrong.parse::<MessageId>(), Err(MessageIdError), "{wrong}");
        }
    }
}
