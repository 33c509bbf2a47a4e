//! What is inside a message that passes through others: who made it and when, signed over the exact
//! bytes that travel, and, if it is for one node, sealed for that one.
//!
//! A body is a line and its attachment:
//!
//! ```text
//! length of the line, u32 | the line, without its newline | the attachment
//! ```
//!
//! It stands behind who made it:
//!
//! ```text
//! 0x01 | public key, 32 | signature, 64 | time, u64 | token, 16 | body      signed
//! 0x00 | time, u64 | token, 16 | body                                       unsigned
//! ```
//!
//! Numbers are big-endian; the time is in milliseconds since the Unix epoch. The token is random and,
//! in a sealed message, known to none but the two ends: who can say something that follows from it has
//! read the message. What is signed is a label and what the message is about ([`Purpose`]), then
//! everything from the time on. And all this is sealed for the node it goes to:
//!
//! ```text
//! 0x02 | HPKE: encapsulated key, 32 | ciphertext | tag, 16
//! ```
//!
//! # Security
//! What is read here comes from strangers. No input makes it panic, and nothing is believed before
//! the signature fits. An id that follows from a key must be signed for; one that does not proves
//! nothing, and what it says is unsigned. That a message was not taken before is for
//! [`Replay`](crate::proto::replay::Replay) to say.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use rand::{CryptoRng, Rng};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    identity::{NodeKey, PublicKey, SEAL_OVERHEAD},
    ids::{MessageId, NodeId},
    proto::routing::Proof,
};

const UNSIGNED: u8 = 0;
const SIGNED: u8 = 1;
const SEALED: u8 = 2;

const ROUTED_LABEL: &[u8] = b"peerage/1 routed\0";
const GOSSIP_LABEL: &[u8] = b"peerage/1 gossip\0";
const GOSSIP_ID_LABEL: &[u8] = b"peerage/1 gossip id";
const SEALED_INFO: &[u8] = b"peerage/1 sealed";

const KEY: usize = 32;
const SIGNATURE: usize = 64;
const TIME: usize = 8;

/// A message's secret; none of its own length is guessed.
pub type Token = [u8; 16];

const TOKEN: usize = size_of::<Token>();

/// By how many bytes a signed message is longer than its line and its attachment.
pub const SIGNED_OVERHEAD: usize = 1 + KEY + SIGNATURE + TIME + TOKEN + 4;

/// By how many bytes a signed and sealed message is longer than its line and its attachment.
pub const SEALED_OVERHEAD: usize = SIGNED_OVERHEAD + 1 + SEAL_OVERHEAD;

/// What a message is about. It is signed with it, so that it cannot be passed off as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// For one node.
    Routed {
        /// That node.
        to: NodeId,
        /// The message's id.
        id: MessageId,
    },
    /// For all.
    Gossip {
        /// Its topic, of at most 255 bytes.
        topic: &'a str,
    },
}

/// What somebody says to one or to many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// When it was made, in milliseconds since the Unix epoch, by its maker's clock.
    pub time: u64,
    /// Its secret.
    pub token: Token,
    /// A JSON object, without a newline. Whether it is one is not known here.
    pub line: Bytes,
    /// The bytes that go along with it.
    pub attachment: Bytes,
}

/// Why a message cannot be read. To its sender all of it is `unreadable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It ends too early, or is of a kind that is not known.
    #[error("malformed")]
    Malformed,
    /// It is not sealed, and should be.
    #[error("not sealed")]
    NotSealed,
    /// It is sealed for another, or was altered on the way.
    #[error("not sealed for this node, or altered")]
    CannotOpen,
    /// Its key is not the one that the origin's id follows from.
    #[error("signed with a key that is not its origin's")]
    WrongKey,
    /// It was altered, or the origin did not make it for this purpose.
    #[error("the signature does not fit")]
    BadSignature,
    /// The origin has a key, and has not signed.
    #[error("not signed, though its origin has a key")]
    NotSigned,
}

impl Letter {
    /// A letter made at this time, with a secret of its own.
    pub fn new(rng: &mut impl CryptoRng, time: u64, line: Bytes, attachment: Bytes) -> Self {
        Self { time, token: rng.random(), line, attachment }
    }

    /// The letter as it travels, signed if there is a key.
    #[must_use]
    pub fn sign(&self, key: Option<&NodeKey>, origin: NodeId, purpose: &Purpose<'_>) -> Vec<u8> {
        let Some(key) = key else {
            let mut blob = Vec::with_capacity(1 + TIME + TOKEN + 4 + self.len());
            blob.push(UNSIGNED);
            self.append(&mut blob);
            return blob;
        };
        let mut text = purpose.prefix(origin, SIGNED_OVERHEAD + self.len());
        let at = text.len();
        self.append(&mut text);
        let signature = key.sign(&text);
        let (_, tail) = text.split_at(at);
        let mut blob = Vec::with_capacity(SIGNED_OVERHEAD + self.len());
        blob.push(SIGNED);
        blob.extend_from_slice(key.public().as_bytes());
        blob.extend_from_slice(&signature);
        blob.extend_from_slice(tail);
        blob
    }

    /// Reads what [`sign`](Self::sign) made. What is returned shares the blob's bytes. An id that
    /// follows from a key is proven then, and no other.
    ///
    /// # Errors
    /// It is no such thing, or not by that origin for that purpose.
    pub fn verify(blob: &Bytes, origin: NodeId, purpose: &Purpose<'_>) -> Result<Self, Unreadable> {
        let (kind, rest) = blob.split_first().ok_or(Unreadable::Malformed)?;
        let text = match *kind {
            UNSIGNED if origin.is_self_certifying() => return Err(Unreadable::NotSigned),
            UNSIGNED => rest,
            SIGNED => {
                let (key, rest) = rest.split_first_chunk::<KEY>().ok_or(Unreadable::Malformed)?;
                let (signature, text) =
                    rest.split_first_chunk::<SIGNATURE>().ok_or(Unreadable::Malformed)?;
                let key = PublicKey::from_bytes(*key);
                if key.node_id() != origin {
                    return Err(Unreadable::WrongKey);
                }
                let mut signed = purpose.prefix(origin, text.len());
                signed.extend_from_slice(text);
                if !key.verify(&signed, signature) {
                    return Err(Unreadable::BadSignature);
                }
                text
            }
            _ => return Err(Unreadable::Malformed),
        };
        Self::read(blob, text).ok_or(Unreadable::Malformed)
    }

    /// The letter whose text is a part of these bytes.
    fn read(blob: &Bytes, text: &[u8]) -> Option<Self> {
        let (time, rest) = text.split_first_chunk::<TIME>()?;
        let (token, rest) = rest.split_first_chunk::<TOKEN>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (line, attachment) = rest.split_at_checked(len)?;
        Some(Self {
            time: u64::from_be_bytes(*time),
            token: *token,
            line: blob.slice_ref(line),
            attachment: blob.slice_ref(attachment),
        })
    }

    fn append(&self, blob: &mut Vec<u8>) {
        // A line is far shorter than 4 GiB; one that were not would be found out when it is read.
        let len = u32::try_from(self.line.len()).unwrap_or(u32::MAX);
        blob.extend_from_slice(&self.time.to_be_bytes());
        blob.extend_from_slice(&self.token);
        blob.extend_from_slice(&len.to_be_bytes());
        blob.extend_from_slice(&self.line);
        blob.extend_from_slice(&self.attachment);
    }

    fn len(&self) -> usize {
        self.line.len() + self.attachment.len()
    }
}

impl Purpose<'_> {
    /// What stands before the text when it is signed, in a buffer with room for that as well.
    fn prefix(&self, origin: NodeId, room: usize) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(512 + room);
        match self {
            Self::Routed { to, id } => {
                prefix.extend_from_slice(ROUTED_LABEL);
                prefix.extend_from_slice(&origin.as_u128().to_be_bytes());
                prefix.extend_from_slice(&to.as_u128().to_be_bytes());
                prefix.extend_from_slice(id.as_bytes());
            }
            Self::Gossip { topic } => {
                prefix.extend_from_slice(GOSSIP_LABEL);
                prefix.extend_from_slice(&origin.as_u128().to_be_bytes());
                append_topic(&mut prefix, topic);
            }
        }
        prefix
    }
}

fn append_topic(bytes: &mut Vec<u8>, topic: &str) {
    bytes.push(u8::try_from(topic.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(topic.as_bytes());
}

/// When a message says that it was made, in milliseconds since the Unix epoch, before anything of it
/// is verified. None if it is not what [`Letter::sign`] makes.
#[must_use]
pub fn made_at(blob: &[u8]) -> Option<u64> {
    let at = match *blob.first()? {
        UNSIGNED => 1,
        SIGNED => 1 + KEY + SIGNATURE,
        _ => return None,
    };
    let time = blob.get(at..)?.first_chunk::<TIME>()?;
    Some(u64::from_be_bytes(*time))
}

/// Seals what [`Letter::sign`] made for the node that holds this key. None if the key is none.
#[must_use]
pub fn seal(
    rng: &mut impl CryptoRng,
    key: &PublicKey,
    to: NodeId,
    from: NodeId,
    id: MessageId,
    signed: &[u8],
) -> Option<Vec<u8>> {
    let mut sealed = key.seal(rng, SEALED_INFO, &addressing(to, from, id), signed)?;
    sealed.insert(0, SEALED);
    Some(sealed)
}

/// Opens what [`seal`] made for the node with this key.
///
/// # Errors
/// It is not sealed, or not for this node with this addressing.
pub fn open(
    key: &NodeKey,
    to: NodeId,
    from: NodeId,
    id: MessageId,
    blob: &[u8],
) -> Result<Bytes, Unreadable> {
    match blob.split_first() {
        Some((&SEALED, sealed)) => {
            let signed = key.open(SEALED_INFO, &addressing(to, from, id), sealed);
            signed.map(Bytes::from).ok_or(Unreadable::CannotOpen)
        }
        Some((&(UNSIGNED | SIGNED), _)) => Err(Unreadable::NotSealed),
        _ => Err(Unreadable::Malformed),
    }
}

/// What stands on the envelope, and can be changed there by whoever passes it on: bound to what is in
/// it.
fn addressing(to: NodeId, from: NodeId, id: MessageId) -> [u8; 48] {
    let mut bytes = [0; 48];
    let (first, rest) = bytes.split_at_mut(16);
    let (second, third) = rest.split_at_mut(16);
    first.copy_from_slice(&to.as_u128().to_be_bytes());
    second.copy_from_slice(&from.as_u128().to_be_bytes());
    third.copy_from_slice(id.as_bytes());
    bytes
}

/// What only somebody who has read the message can say along with its outcome: the first half of an
/// HMAC-SHA256 with the token as its key, over the outcome's code and, behind a space, the reason (which
/// may be empty).
#[must_use]
pub fn prove(token: &Token, outcome: &str, why: &str) -> Proof {
    let mut proof = Proof::default();
    let mac = answer_mac(token, outcome, why).finalize().into_bytes();
    if let Some((half, _)) = mac.split_first_chunk() {
        proof = *half;
    }
    proof
}

/// Whether somebody who has read the message said this.
#[must_use]
pub fn is_proven(token: &Token, outcome: &str, why: &str, proof: &Proof) -> bool {
    answer_mac(token, outcome, why).verify_truncated_left(proof).is_ok()
}

fn answer_mac(token: &Token, outcome: &str, why: &str) -> Hmac<Sha256> {
    // A key of any length will do for HMAC, so nothing can fail here; were it otherwise, nothing would
    // be proven.
    let mac = Hmac::<Sha256>::new_from_slice(token);
    let mac = mac.unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.chain_update(outcome).chain_update(b" ").chain_update(why)
}

/// The id of a message for all: it follows from the content, so that nobody can take it away from
/// another message.
#[must_use]
pub fn gossip_id(origin: NodeId, topic: &str, blob: &[u8]) -> MessageId {
    let mut head = Vec::with_capacity(GOSSIP_ID_LABEL.len() + 17 + topic.len());
    head.extend_from_slice(GOSSIP_ID_LABEL);
    head.extend_from_slice(&origin.as_u128().to_be_bytes());
    append_topic(&mut head, topic);
    let hash: [u8; 32] = Sha256::new().chain_update(&head).chain_update(blob).finalize().into();
    let mut id = [0; 16];
    if let Some((half, _)) = hash.split_first_chunk() {
        id = *half;
    }
    MessageId::from_bytes(id)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
