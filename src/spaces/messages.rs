//! What travels between the nodes of a space.
//!
//! [`Spaces`], [`SpaceHint`], [`SpaceAsk`] and [`SpaceAnswer`] go from node to node, over a session where
//! there is one and through the overlay where there is none; [`SpaceChange`] is published. Lists of ranges
//! and records are binary and go along as attachments, numbers big-endian:
//!
//! * ranges: level, u8 | prefix, u16; with 0x80 in the level, a hash of 16 bytes follows from which on the
//!   range is meant;
//! * sums: for each part of each range the first 4 bytes of a hash | count, u8;
//! * listings: count, u16, with 0x8000 if there are more | so many items;
//! * items: hash, 16 | time, u64 | tie, 4 | kind, u8 (1 for a value, 0 for a deletion);
//! * records, packed ([`record`](super::record)).

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::{
    hlc::Hlc,
    name::SpaceId,
    reconcile::{Item, Listing, Range, ToldSum},
    record::KeyHash,
    store::MAX_SPACES,
    summary::{Node, PARTS},
};
use crate::extension::PeerMessage;

/// On the wire: the spaces that the speaker is in, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spaces {
    /// Their ids; further than the 64th are not looked at.
    pub ids: Vec<SpaceId>,
    /// Whether the listener is to say its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
}

impl PeerMessage for Spaces {
    const MSGTYPE: &'static str = "spaces";
}

impl Spaces {
    /// The ids that count.
    pub fn first(&self) -> impl Iterator<Item = SpaceId> {
        self.ids.iter().take(MAX_SPACES).copied()
    }
}

/// On the wire: the speaker's space has changed otherwise than by what was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceHint {
    /// The space.
    pub space: SpaceId,
    /// Says the same as the receiver's if both hold the same: 16 hexadecimal digits.
    pub root: String,
}

impl PeerMessage for SpaceHint {
    const MSGTYPE: &'static str = "space_hint";
}

/// On the wire: a question about a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceAsk {
    /// The space.
    pub space: SpaceId,
    /// The asker's number of the question; the answer has it too.
    pub n: u32,
    /// When the asker was last in step with another node of the space, in milliseconds since the Unix
    /// epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_step: Option<u64>,
    /// What is asked.
    #[serde(flatten)]
    pub what: What,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum What {
    /// The sums of the parts of the attached ranges, hashed with a number that the asker has drawn.
    Sums {
        /// That number.
        drawn: u32,
    },
    /// What is in the attached ranges.
    Items {
        /// A number that the asker has drawn, for the ties.
        drawn: u32,
    },
    /// The records with the attached hashes.
    Get,
    /// A piece of one long record.
    Piece {
        /// The hash of its key, in hexadecimal digits.
        hash: String,
        /// The first byte of the piece.
        offset: usize,
    },
    /// Whether the answerer wants the attached items: it gets what it lacks before it answers.
    Offer {
        /// The number that their ties were made with.
        drawn: u32,
    },
    /// Nothing: the asker has all that the answerer had when it began, and the other way round.
    Done {
        /// How long ago that was, in milliseconds.
        took: u64,
    },
}

impl PeerMessage for SpaceAsk {
    const MSGTYPE: &'static str = "space_ask";
}

/// On the wire: the answer, with what was asked for attached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceAnswer {
    /// The number of the question.
    pub n: u32,
    /// When the answerer was last in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_step: Option<u64>,
    /// Why there is no answer: `no-such-space`, `busy`, `malformed` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// For how many of the hashes or items that were attached this is the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<usize>,
    /// The first record that was asked for is too long for one answer: so many bytes, packed. Or, of a
    /// piece: the record's whole length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<usize>,
    /// Which record a piece is of: its digest, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl PeerMessage for SpaceAnswer {
    const MSGTYPE: &'static str = "space_answer";
}

/// Published on a space's topic: the attached records are new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceChange {
    /// Whether the speaker looks for others that are in the space.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub who: bool,
}

impl PeerMessage for SpaceChange {
    const MSGTYPE: &'static str = "space_change";
}

const FROM: u8 = 0x80;
const MORE: u16 = 0x8000;

/// Ranges as they travel.
#[must_use]
pub fn pack_ranges(ranges: &[Range]) -> Bytes {
    let mut bytes = Vec::with_capacity(ranges.len() * 3);
    for range in ranges {
        let is_whole = *range == Range::whole(range.node);
        bytes.push(range.node.level() | if is_whole { 0 } else { FROM });
        bytes.extend_from_slice(&range.node.prefix().to_be_bytes());
        if !is_whole {
            bytes.extend_from_slice(&range.from.0);
        }
    }
    bytes.into()
}

/// Reads at most so many ranges; nothing if there are more, or something else.
#[must_use]
pub fn unpack_ranges(mut bytes: Bytes, most: usize) -> Option<Vec<Range>> {
    let mut ranges = Vec::new();
    while !bytes.is_empty() && ranges.len() < most {
        let level = bytes.try_get_u8().ok()?;
        let node = Node::new(level & !FROM, bytes.try_get_u16().ok()?)?;
        let mut range = Range::whole(node);
        if level & FROM != 0 {
            range.from = take_hash(&mut bytes)?;
            if !node.holds(range.from) {
                return None;
            }
        }
        ranges.push(range);
    }
    bytes.is_empty().then_some(ranges)
}

/// Sums as they travel.
#[must_use]
pub fn pack_sums(sums: &[Vec<ToldSum>]) -> Bytes {
    let mut bytes = Vec::with_capacity(sums.len() * PARTS * 5);
    for ToldSum { hash, count } in sums.iter().flatten() {
        bytes.extend_from_slice(hash);
        bytes.push(*count);
    }
    bytes.into()
}

/// Undoes [`pack_sums`]: the sums of as many ranges as there are.
#[must_use]
pub fn unpack_sums(mut bytes: Bytes) -> Option<Vec<Vec<ToldSum>>> {
    let mut ranges = Vec::new();
    while !bytes.is_empty() {
        let mut parts = Vec::with_capacity(PARTS);
        for _ in 0..PARTS {
            let mut hash = [0; 4];
            bytes.try_copy_to_slice(&mut hash).ok()?;
            parts.push(ToldSum { hash, count: bytes.try_get_u8().ok()? });
        }
        ranges.push(parts);
    }
    Some(ranges)
}

/// Items as they travel.
#[must_use]
pub fn pack_items(items: &[Item]) -> Bytes {
    let mut bytes = Vec::with_capacity(items.len() * 29);
    items.iter().for_each(|item| push_item(&mut bytes, item));
    bytes.into()
}

/// Reads at most so many items; nothing if there are more, or something else.
#[must_use]
pub fn unpack_items(mut bytes: Bytes, most: usize) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while !bytes.is_empty() && items.len() < most {
        items.push(take_item(&mut bytes)?);
    }
    bytes.is_empty().then_some(items)
}

/// Listings as they travel.
#[must_use]
pub fn pack_listings(listings: &[Listing<Item>]) -> Bytes {
    let mut bytes = Vec::new();
    for Listing { items, is_whole } in listings {
        // A listing has at most 2,048 items.
        let count = u16::try_from(items.len()).unwrap_or(MORE - 1);
        bytes.extend_from_slice(&(count | if *is_whole { 0 } else { MORE }).to_be_bytes());
        items.iter().for_each(|item| push_item(&mut bytes, item));
    }
    bytes.into()
}

/// Undoes [`pack_listings`].
#[must_use]
pub fn unpack_listings(mut bytes: Bytes) -> Option<Vec<Listing<Item>>> {
    let mut listings = Vec::new();
    while !bytes.is_empty() {
        let count = bytes.try_get_u16().ok()?;
        let items = (0..count & !MORE).map(|_| take_item(&mut bytes)).collect::<Option<_>>()?;
        listings.push(Listing { items, is_whole: count & MORE == 0 });
    }
    Some(listings)
}

/// Hashes as they travel.
#[must_use]
pub fn pack_hashes(hashes: &[KeyHash]) -> Bytes {
    hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>().into()
}

/// Reads at most so many hashes; nothing if there are more, or something else.
#[must_use]
pub fn unpack_hashes(bytes: &[u8], most: usize) -> Option<Vec<KeyHash>> {
    let (hashes, rest) = bytes.as_chunks();
    (rest.is_empty() && hashes.len() <= most).then(|| hashes.iter().copied().map(KeyHash).collect())
}

/// The hash with these hexadecimal digits.
#[must_use]
pub fn hash_of(text: &str) -> Option<KeyHash> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(KeyHash(bytes))
}

fn push_item(bytes: &mut Vec<u8>, item: &Item) {
    bytes.extend_from_slice(&item.hash.0);
    bytes.extend_from_slice(&item.time.bits().to_be_bytes());
    bytes.extend_from_slice(&item.tie);
    bytes.push(u8::from(!item.is_deletion));
}

fn take_item(bytes: &mut Bytes) -> Option<Item> {
    let hash = take_hash(bytes)?;
    let time = Hlc::from_bits(bytes.try_get_u64().ok()?);
    let mut tie = [0; 4];
    bytes.try_copy_to_slice(&mut tie).ok()?;
    let is_deletion = match bytes.try_get_u8().ok()? {
        0 => true,
        1 => false,
        _ => return None,
    };
    Some(Item { hash, time, tie, is_deletion })
}

fn take_hash(bytes: &mut Bytes) -> Option<KeyHash> {
    let mut hash = [0; 16];
    bytes.try_copy_to_slice(&mut hash).ok()?;
    Some(KeyHash(hash))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_item() -> impl Strategy<Value = Item> {
        (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 4]>(), any::<bool>()).prop_map(
            |(hash, time, tie, is_deletion)| Item {
                hash: KeyHash(hash),
                time: Hlc::from_bits(time),
                tie,
                is_deletion,
            },
        )
    }

    fn any_range() -> impl Strategy<Value = Range> {
        (any::<[u8; 16]>(), 0u8..=4, any::<bool>()).prop_map(|(hash, level, is_whole)| {
            let prefix =
                u32::from(Node::of(KeyHash(hash)).prefix()) >> (4 * (4 - u32::from(level)));
            let node = Node::new(level, u16::try_from(prefix).unwrap()).unwrap();
            if is_whole { Range::whole(node) } else { Range { node, from: KeyHash(hash) } }
        })
    }

    proptest! {
        #[test]
        fn everything_is_read_as_it_was_packed(
            items in proptest::collection::vec(any_item(), 0..20),
            ranges in proptest::collection::vec(any_range(), 0..20),
            is_whole: bool,
            sum: (u32, u8),
        ) {
            prop_assert_eq!(unpack_items(pack_items(&items), 20), Some(items.clone()));
            prop_assert_eq!(unpack_ranges(pack_ranges(&ranges), 20), Some(ranges));
            let hashes: Vec<_> = items.iter().map(|item| item.hash).collect();
            prop_assert_eq!(unpack_hashes(&pack_hashes(&hashes), 20), Some(hashes));
            let listings = vec![Listing { items, is_whole }, Listing { items: vec![], is_whole: true }];
            prop_assert_eq!(unpack_listings(pack_listings(&listings)), Some(listings));
            let hash = sum.0.to_be_bytes();
            let sums = vec![vec![ToldSum { hash, count: sum.1 }; PARTS]; 2];
            prop_assert_eq!(unpack_sums(pack_sums(&sums)), Some(sums));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = (unpack_items(bytes.clone(), 3), unpack_ranges(bytes.clone(), 3));
            let _ = (unpack_listings(bytes.clone()), unpack_sums(bytes.clone()));
            let _ = unpack_hashes(&bytes, 3);
        }
    }

    #[test]
    fn more_than_there_may_be_are_none() {
        let hashes = [KeyHash([1; 16]); 3];
        assert_eq!(unpack_hashes(&pack_hashes(&hashes), 2), None);
        let ranges = [Range::whole(Node::ROOT); 3];
        assert_eq!(unpack_ranges(pack_ranges(&ranges), 2), None);
    }

    #[test]
    fn a_question_is_one_flat_object() {
        let space: SpaceId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let ask = SpaceAsk { space, n: 7, in_step: None, what: What::Sums { drawn: 9 } };
        let text = serde_json::to_string(&ask).unwrap();
        let expected =
            r#"{"space":"00112233445566778899aabbccddeeff","n":7,"ask":"sums","drawn":9}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<SpaceAsk>(&text).unwrap(), ask);
        let answer = SpaceAnswer { n: 7, ..SpaceAnswer::default() };
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"n":7}"#);
    }
}
