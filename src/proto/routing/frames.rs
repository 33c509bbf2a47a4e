//! What travels about a routed message: its addressing forwards, its outcome back.
//!
//! # Security
//! All of it may come from a stranger. Every field has a fixed or bounded size.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    identity::PublicKey,
    ids::{MessageId, NodeId},
    proto::journal::cut,
};

/// The longest `why` of a refusal, in bytes; the rest is cut off.
pub const MAX_WHY: usize = 64;

/// What only the reader of a message can say about it, to prove that the answer is its own.
pub type Proof = [u8; 16];

/// The addressing of a message to one node: the line `route`. Its body is the attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whom it is for.
    pub to: NodeId,
    /// Who it is said to be from.
    pub from: NodeId,
    /// Which message it is.
    pub id: MessageId,
    /// How many steps it has taken with this one, those into dead ends included.
    pub hops: u8,
    /// It has no body and asks for the public key of the node it is for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key: bool,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No answer came in time.
    Timeout,
    /// Every node on the way that could take it could take no more just then.
    Busy,
    /// A node on the way cannot carry as much.
    TooLarge,
    /// The node it is for would not have it.
    Refused,
    /// The node it is for has it.
    Delivered,
    /// Nobody knows a way that was not tried. What a later version may say else counts as this.
    #[serde(other)]
    NoRoute,
}

impl Outcome {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::TooLarge => "too-large",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
        }
    }

    /// Of several reasons why there is no way, the one that explains more has the higher rank.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Delivered | Self::NoRoute | Self::Timeout => 0,
            Self::Busy => 1,
            Self::TooLarge => 2,
            Self::Refused => 3,
        }
    }

    /// Whether only the node that the message is for can say so.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Refused)
    }
}

/// What became of a message: the line `routed`, which goes back the way that the message came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which message.
    pub id: MessageId,
    /// What became of it.
    pub outcome: Outcome,
    /// How many steps it had taken where this was said.
    pub hops: u8,
    /// Why it was refused: a code.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "short_why")]
    pub why: Option<Cow<'static, str>>,
    /// That the node it was for has read it and says this.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex_proof")]
    pub proof: Option<Proof>,
    /// The public key that was asked for. It proves itself: the id is its hash.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex_key")]
    pub key: Option<PublicKey>,
}

impl Reply {
    /// An outcome and nothing more.
    #[must_use]
    pub const fn new(id: MessageId, outcome: Outcome, hops: u8) -> Self {
        Self { id, outcome, hops, why: None, proof: None, key: None }
    }

    /// Whether it may come from the node that the message was for, as far as one can tell who
    /// cannot read the message.
    pub(super) const fn is_plausible(&self) -> bool {
        self.outcome.is_final() && (self.proof.is_some() || self.key.is_some())
    }
}

/// A code of another version must neither be long nor write into a terminal.
fn short_why<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Cow<'static, str>>, D::Error> {
    let why = Option::<Cow<'de, str>>::deserialize(d)?;
    Ok(why.map(|why| {
        let printable: String = why.chars().filter(|c| !c.is_control()).take(MAX_WHY).collect();
        cut(printable.into(), MAX_WHY)
    }))
}

/// So many bytes, as hex digits.
struct Hex<const N: usize>([u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor)
    }
}

struct HexVisitor<const N: usize>;

impl<const N: usize> de::Visitor<'_> for HexVisitor<N> {
    type Value = Hex<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hex digits", 2 * N)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex<N>, E> {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(E::custom)?;
        Ok(Hex(bytes))
    }
}

mod hex_proof {
    use super::{Deserialize, Deserializer, Hex, Proof, Serializer};

    pub(super) fn serialize<S: Serializer>(proof: &Option<Proof>, s: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 32];
        let proof = proof.unwrap_or_default();
        // Sixteen bytes have 32 digits, and digits are text.
        let text = hex::encode_to_slice(proof, &mut digits).ok();
        s.serialize_str(text.and_then(|()| str::from_utf8(&digits).ok()).unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Proof>, D::Error> {
        Ok(Option::<Hex<16>>::deserialize(d)?.map(|Hex(bytes)| bytes))
    }
}

mod hex_key {
    use super::{Deserialize, Deserializer, Hex, PublicKey, Serializer};

    pub(super) fn serialize<S: Serializer>(
        key: &Option<PublicKey>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => s.collect_str(key),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D>(d: D) -> Result<Option<PublicKey>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Option::<Hex<32>>::deserialize(d)?.map(|Hex(bytes)| PublicKey::from_bytes(bytes)))
    }
}
