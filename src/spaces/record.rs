//! One record: what it says, who says so, and how it travels.
//!
//! Packed, as it travels and is signed (numbers are big-endian):
//!
//! ```text
//! 0x01 | public key, 32 | signature, 64 | time, u64 | kind, u8 | key length, u16 | key | value length, u32 | value
//! 0x00 | writer's id, 16                | time, u64 | kind, u8 | key length, u16 | key | value length, u32 | value
//! 0x02 | signature, 64                  | time, u64 | ...
//! ```
//!
//! The last is signed with the same key as the record before it, among several ([`Packing`]).
//!
//! The kind is 1 for a value and 0 for a deletion, whose value is empty. What is signed is a label, the
//! space's id and the writer's, then everything from the time on; the digest is the SHA-256 of that, so
//! that it names what a record says, whoever has it.
//!
//! # Security
//! What is read here comes from strangers: no input makes it panic, and nothing is believed of a writer
//! whose id follows from a key before the signature fits.

use bytes::{Buf, Bytes};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{hlc::Hlc, name::SpaceId};
use crate::{
    identity::{NodeKey, PublicKey},
    ids::NodeId,
};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;

/// The longest value, in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// The longest packed record, in bytes.
pub const MAX_PACKED: usize = HEAD + MAX_KEY + MAX_VALUE;

/// The most that a packed record has beside its key and its value.
const HEAD: usize = 1 + 32 + 64 + 8 + 1 + 2 + 4;

const LABEL: &[u8] = b"peerage/1 record\0";
const KEY_LABEL: &[u8] = b"peerage/1 key\0";

const UNSIGNED: u8 = 0;
const SIGNED: u8 = 1;
const SIGNED_BY_THE_SAME: u8 = 2;
const DELETED: u8 = 0;
const VALUE: u8 = 1;

/// Where a key stands among those of its space: the first half of a SHA-256 of it. Keys are spread evenly
/// so, whatever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 16]);

impl KeyHash {
    /// That of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let hash: [u8; 32] =
            Sha256::new().chain_update(KEY_LABEL).chain_update(key).finalize().into();
        Self(half(&hash))
    }
}

/// Names what a record says: SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

/// Who says what a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A node whose id follows from this key, with its signature.
    Signed {
        /// The key.
        key: PublicKey,
        /// Its signature.
        signature: [u8; 64],
    },
    /// A node whose id proves nothing. Anybody may have said so.
    Unproven(NodeId),
}

impl Author {
    /// The writer's id.
    #[must_use]
    pub fn writer(&self) -> NodeId {
        match self {
            Self::Signed { key, .. } => key.node_id(),
            Self::Unproven(id) => *id,
        }
    }
}

/// A record as it is kept and travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key: 1 to [`MAX_KEY`] bytes.
    pub key: Box<str>,
    /// Its value, at most [`MAX_VALUE`] bytes; `None` if it was deleted.
    pub value: Option<Bytes>,
    /// When it was made.
    pub time: Hlc,
    /// Who made it.
    pub author: Author,
}

/// Which of two records of one key replaces the other: the greater. The later time, then the higher
/// writer's id, then, if one writer has said two things at one time, the higher digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// When it was made.
    pub time: Hlc,
    /// By whom.
    pub writer: NodeId,
    /// What it says.
    pub digest: Digest,
}

/// What cannot be a record. Its code stands in `update_ack` and the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The key is empty or too long.
    #[error("a key has 1 to {MAX_KEY} bytes")]
    Key,
    /// The value is too long.
    #[error("a value has at most {MAX_VALUE} bytes")]
    TooLarge,
    /// It ends too early, or is of a kind that is not known.
    #[error("the record is malformed")]
    Malformed,
    /// The signature is not the writer's, or not of this.
    #[error("the signature does not fit")]
    BadSignature,
    /// The writer has a key, and has not signed.
    #[error("the record is not signed, though its writer has a key")]
    NotSigned,
}

impl RecordError {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Key => "bad-key",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad-signature",
            Self::NotSigned => "not-signed",
        }
    }
}

impl Record {
    /// A record by this node: signed if it has a key.
    ///
    /// # Errors
    /// The key or the value is not one.
    pub fn write(
        space: &SpaceId,
        (key, value): (&str, Option<Bytes>),
        time: Hlc,
        by: (NodeId, Option<&NodeKey>),
    ) -> Result<Self, RecordError> {
        check(key, value.as_deref())?;
        let mut record = Self { key: key.into(), value, time, author: Author::Unproven(by.0) };
        if let Some(signer) = by.1 {
            let signature = signer.sign(&record.text(space, by.0));
            record.author = Author::Signed { key: signer.public(), signature };
        }
        Ok(record)
    }

    /// The writer's id.
    #[must_use]
    pub fn writer(&self) -> NodeId {
        self.author.writer()
    }

    /// Whether the writer is proven to have said this, or has an id that proves nothing anyway.
    ///
    /// # Errors
    /// Neither, and why.
    pub fn verify(&self, space: &SpaceId) -> Result<(), RecordError> {
        check(&self.key, self.value.as_deref())?;
        match &self.author {
            Author::Unproven(id) if id.is_self_certifying() => Err(RecordError::NotSigned),
            Author::Unproven(_) => Ok(()),
            Author::Signed { key, signature } => {
                let is_good = key.verify(&self.text(space, key.node_id()), signature);
                if is_good { Ok(()) } else { Err(RecordError::BadSignature) }
            }
        }
    }

    /// What it says, by its name.
    #[must_use]
    pub fn digest(&self, space: &SpaceId) -> Digest {
        Digest(Sha256::digest(self.text(space, self.writer())).into())
    }

    /// Its place among the records of its key.
    #[must_use]
    pub fn rank(&self, space: &SpaceId) -> Rank {
        Rank { time: self.time, writer: self.writer(), digest: self.digest(space) }
    }

    /// The bytes that it counts for in a quota: key and value.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.key.len() + self.value.as_ref().map_or(0, Bytes::len)) as u64
    }

    /// How long it is when it is packed, alone.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        let author = match self.author {
            Author::Signed { .. } => 1 + 32 + 64,
            Author::Unproven(_) => 1 + 16,
        };
        author + self.body_len()
    }

    const fn key_of_author(&self) -> Option<PublicKey> {
        match self.author {
            Author::Signed { key, .. } => Some(key),
            Author::Unproven(_) => None,
        }
    }

    /// Appends it, packed alone.
    pub fn pack(&self, bytes: &mut Vec<u8>) {
        match &self.author {
            Author::Signed { key, signature } => {
                bytes.push(SIGNED);
                bytes.extend_from_slice(key.as_bytes());
                bytes.extend_from_slice(signature);
            }
            Author::Unproven(id) => {
                bytes.push(UNSIGNED);
                bytes.extend_from_slice(&id.as_u128().to_be_bytes());
            }
        }
        self.append(bytes);
    }

    /// All records that are packed one behind another in these bytes, which they share. Nothing is
    /// verified.
    ///
    /// # Errors
    /// There is something else among them.
    pub fn unpack_all(mut bytes: Bytes) -> Result<Vec<Self>, RecordError> {
        let (mut records, mut last) = (Vec::new(), None);
        while !bytes.is_empty() {
            let record: Self = unpack(&mut bytes, last).ok_or(RecordError::Malformed)?;
            last = record.key_of_author();
            records.push(record);
        }
        Ok(records)
    }

    /// What is signed, and what the digest is of.
    fn text(&self, space: &SpaceId, writer: NodeId) -> Vec<u8> {
        let mut text = Vec::with_capacity(LABEL.len() + 32 + self.body_len());
        text.extend_from_slice(LABEL);
        text.extend_from_slice(space.as_bytes());
        text.extend_from_slice(&writer.as_u128().to_be_bytes());
        self.append(&mut text);
        text
    }

    fn body_len(&self) -> usize {
        8 + 1 + 2 + self.key.len() + 4 + self.value.as_ref().map_or(0, Bytes::len)
    }

    fn append(&self, bytes: &mut Vec<u8>) {
        let value = self.value.as_deref().unwrap_or_default();
        bytes.extend_from_slice(&self.time.bits().to_be_bytes());
        bytes.push(if self.value.is_some() { VALUE } else { DELETED });
        // Longer ones do not come to be; one that did would be found out when it is read.
        bytes.extend_from_slice(&u16::try_from(self.key.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(value);
    }
}

/// Records, packed one behind another: of those that one writer has signed, one behind another, only the
/// first has its key.
#[derive(Debug, Clone, Default)]
pub struct Packing {
    bytes: Vec<u8>,
    last: Option<PublicKey>,
}

impl Packing {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        match &record.author {
            Author::Signed { key, signature } if self.last == Some(*key) => {
                self.bytes.push(SIGNED_BY_THE_SAME);
                self.bytes.extend_from_slice(signature);
                record.append(&mut self.bytes);
            }
            _ => record.pack(&mut self.bytes),
        }
        self.last = record.key_of_author();
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// Takes a record off the front; one by the writer of the record before it needs that one's key.
fn unpack(bytes: &mut Bytes, last: Option<PublicKey>) -> Option<Record> {
    let author = match bytes.try_get_u8().ok()? {
        kind @ (SIGNED | SIGNED_BY_THE_SAME) => {
            let (mut key, mut signature) = ([0; 32], [0; 64]);
            let key = if kind == SIGNED {
                bytes.try_copy_to_slice(&mut key).ok()?;
                PublicKey::from_bytes(key)
            } else {
                last?
            };
            bytes.try_copy_to_slice(&mut signature).ok()?;
            Author::Signed { key, signature }
        }
        UNSIGNED => Author::Unproven(NodeId::from_u128(bytes.try_get_u128().ok()?)),
        _ => return None,
    };
    let time = Hlc::from_bits(bytes.try_get_u64().ok()?);
    let kind = bytes.try_get_u8().ok()?;
    let len = usize::from(bytes.try_get_u16().ok()?);
    let key = take(bytes, len)?;
    let key = std::str::from_utf8(&key).ok()?.into();
    let len = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let value = take(bytes, len)?;
    let value = match kind {
        VALUE => Some(value),
        DELETED if value.is_empty() => None,
        _ => return None,
    };
    Some(Record { key, value, time, author })
}

fn take(bytes: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

/// Whether these can be a record's.
fn check(key: &str, value: Option<&[u8]>) -> Result<(), RecordError> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(RecordError::Key);
    }
    if value.is_some_and(|value| value.len() > MAX_VALUE) {
        return Err(RecordError::TooLarge);
    }
    Ok(())
}

/// The first half of a hash.
pub(super) fn half(hash: &[u8; 32]) -> [u8; 16] {
    let (half, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
    *half
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::spaces::name::SpaceSpec;

    fn key(seed: u64) -> NodeKey {
        NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn space(name: &str) -> SpaceId {
        SpaceSpec::open(name).unwrap().id()
    }

    fn signed(text: &str) -> Record {
        let signer = key(1);
        let what = ("colour", Some(Bytes::copy_from_slice(text.as_bytes())));
        Record::write(&space("a"), what, Hlc::from_bits(7), (signer.node_id(), Some(&signer)))
            .unwrap()
    }

    #[test]
    fn a_signed_record_proves_its_writer_in_its_space_alone() {
        let record = signed("red");
        assert_eq!((record.writer(), record.verify(&space("a"))), (key(1).node_id(), Ok(())));
        assert_eq!(record.verify(&space("b")), Err(RecordError::BadSignature));
        let mut altered = record.clone();
        altered.value = Some(Bytes::from_static(b"rod"));
        assert_eq!(altered.verify(&space("a")), Err(RecordError::BadSignature));
        let mut stripped = record.clone();
        stripped.author = Author::Unproven(record.writer());
        assert_eq!(stripped.verify(&space("a")), Err(RecordError::NotSigned));
        let Author::Signed { signature, .. } = record.author else { panic!() };
        let mut stolen = record;
        stolen.author = Author::Signed { key: key(2).public(), signature };
        assert_eq!(stolen.verify(&space("a")), Err(RecordError::BadSignature));
    }

    #[test]
    fn the_digest_is_of_what_is_said_and_not_of_its_signature() {
        let record = signed("red");
        let mut other = record.clone();
        if let Author::Signed { signature, .. } = &mut other.author {
            signature[0] ^= 1;
        }
        assert_eq!(record.digest(&space("a")), other.digest(&space("a")));
        assert_ne!(record.digest(&space("a")), record.digest(&space("b")));
        assert_ne!(record.digest(&space("a")), signed("rod").digest(&space("a")));
    }

    #[test]
    fn keys_and_values_have_limits() {
        let by = (NodeId::random(&mut ChaCha8Rng::seed_from_u64(3)), None);
        let write = |key: &str, len: usize| {
            let what = (key, Some(Bytes::from(vec![0; len])));
            Record::write(&space("a"), what, Hlc::default(), by).map(|record| record.packed_len())
        };
        assert_eq!(write("", 1), Err(RecordError::Key));
        assert_eq!(write(&"k".repeat(1025), 1), Err(RecordError::Key));
        assert_eq!(write("k", MAX_VALUE + 1), Err(RecordError::TooLarge));
        assert!(write(&"k".repeat(1024), MAX_VALUE).unwrap() <= MAX_PACKED);
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50));
        let author = (any::<bool>(), any::<[u8; 32]>(), any::<u128>());
        (".{1,20}", value, any::<u64>(), author).prop_map(
            |(key, value, time, (signed, bytes, id))| {
                let author = if signed {
                    Author::Signed { key: PublicKey::from_bytes(bytes), signature: [bytes[0]; 64] }
                } else {
                    Author::Unproven(NodeId::from_u128(id))
                };
                let value = value.map(Bytes::from);
                Record { key: key.into(), value, time: Hlc::from_bits(time), author }
            },
        )
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_packed(records in proptest::collection::vec(any_record(), 0..5)) {
            let mut bytes = Vec::new();
            for record in &records {
                let before = bytes.len();
                record.pack(&mut bytes);
                prop_assert_eq!(bytes.len() - before, record.packed_len());
            }
            prop_assert_eq!(Record::unpack_all(bytes.into()), Ok(records));
        }

        #[test]
        fn packed_together_they_say_the_same_and_take_less(
            records in proptest::collection::vec(any_record(), 0..6),
            same in proptest::collection::vec(any::<proptest::sample::Index>(), 6),
        ) {
            // Some of them by one writer.
            let many: Vec<_> = same.iter().filter(|_| !records.is_empty())
                .map(|index| index.get(&records).clone()).flat_map(|r| [r.clone(), r]).collect();
            let mut packing = Packing::default();
            many.iter().for_each(|record| packing.add(record));
            let alone: usize = many.iter().map(Record::packed_len).sum();
            prop_assert!(packing.len() <= alone && packing.is_empty() == many.is_empty());
            prop_assert_eq!(Record::unpack_all(packing.finish()), Ok(many));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(records) = Record::unpack_all(bytes.into()) {
                for record in records {
                    let _ = record.verify(&space("a"));
                }
            }
        }

        #[test]
        fn a_record_cut_short_is_none(record in any_record(), cut in 1usize..30) {
            let mut bytes = Vec::new();
            record.pack(&mut bytes);
            bytes.truncate(bytes.len() - cut.min(bytes.len() - 1));
            prop_assert_eq!(Record::unpack_all(bytes.into()), Err(RecordError::Malformed));
        }
    }
}
