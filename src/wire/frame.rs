//! What a line says: the core's verbs, and everything else by its `msgtype`.
//!
//! # Security
//! Everything here is fed by strangers. A line is bounded before it arrives; parsing borrows from
//! it where it can, skips unknown fields without building them, and nests no deeper than
//! `serde_json`'s own limit.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use crate::{
    address::HostPort,
    ids::NodeId,
    wire::{
        MAX_ATTACHMENT,
        flat::{Fields, Flat, Value},
        tags::{self, Tags},
    },
};

/// A line that breaks the protocol. The text goes to the peer as the detail of its `bye`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The line is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The line is not a JSON object with a text `msgtype`, or a known verb has a wrong field.
    #[error("{0}")]
    Malformed(String),
    /// More bytes are to follow the line than an attachment may have.
    #[error("an attachment of {0} bytes is longer than {MAX_ATTACHMENT}")]
    AttachmentTooLarge(u64),
}

/// Who a node says it is; the first line of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The speaker's node id; all that a minimal peer sends.
    pub nodeid: NodeId,
    /// The protocol's version, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What software it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "short_text")]
    pub agent: Option<String>,
    /// Where it says it can be dialled. An unusable address counts as none.
    #[serde(default, deserialize_with = "lenient_address")]
    pub listen: Option<HostPort>,
    /// The name of its network.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "short_text")]
    pub network: Option<String>,
    /// What it can do beyond the core.
    #[serde(default, deserialize_with = "few_texts")]
    pub features: Vec<String>,
    /// The address the speaker sees the other side's connection come from or go to.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient_address"
    )]
    pub observed: Option<HostPort>,
    /// Proves that the speaker knows the key of its private network, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "short_text")]
    pub member: Option<String>,
    /// What else it says of itself, for others to choose by.
    #[serde(
        default,
        skip_serializing_if = "Tags::is_empty",
        deserialize_with = "tags::deserialize"
    )]
    pub tags: Tags,
    /// The connection only proves that somebody answers here; it ends after the hellos.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_is_default"
    )]
    pub feeler: bool,
}

/// One entry of `addr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddrEntry {
    /// The address as it was written; judged by whoever takes it in.
    pub addr: String,
    /// The node said to be there; a bare address names none.
    pub id: Option<NodeId>,
}

/// A farewell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bye<'a> {
    /// A code of the list, or one from a later version.
    pub reason: Cow<'a, str>,
    /// More for a person.
    pub detail: Option<Cow<'a, str>>,
    /// Addresses to try instead.
    pub peers: Vec<AddrEntry>,
}

/// One line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Who the speaker is.
    Hello(Box<Hello>),
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Asks for addresses.
    GetAddr {
        /// Prefer addresses of nodes close to this id by XOR.
        near: Option<NodeId>,
        /// No more than this many.
        max: Option<usize>,
    },
    /// The speaker could do without the session.
    Spare,
    /// Tells addresses.
    Addr(Vec<AddrEntry>),
    /// Tells what the speaker's tags are from now on.
    Presence(Tags),
    /// The speaker closes. Boxed, like the hello: frames that come by the million stay small.
    Bye(Box<Bye<'a>>),
    /// A msgtype that is not the core's: an extension's, or unknown.
    Other {
        /// Its name.
        msgtype: Cow<'a, str>,
        /// The whole line.
        text: &'a str,
        /// How many bytes follow the line, and belong to it; at most [`MAX_ATTACHMENT`].
        attach: usize,
    },
}

/// The msgtypes that an extension cannot register, since the core answers them.
pub const CORE_MSGTYPES: [&str; 8] =
    ["hello", "ping", "pong", "getaddr", "spare", "addr", "presence", "bye"];

const PING_LINE: &[u8] = br#"{"msgtype":"ping"}"#;
const PONG_LINE: &[u8] = br#"{"msgtype":"pong"}"#;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    msgtype: Cow<'a, str>,
    attach: Option<u64>,
}

#[derive(Deserialize)]
struct GetAddrBody {
    #[serde(default)]
    near: Option<NodeId>,
    #[serde(default)]
    max: Option<u64>,
}

#[derive(Deserialize)]
struct AddrBody {
    peers: Vec<AddrEntry>,
}

#[derive(Deserialize)]
struct PresenceBody {
    #[serde(default, deserialize_with = "tags::deserialize")]
    tags: Tags,
}

#[derive(Deserialize)]
struct ByeBody<'a> {
    #[serde(default, borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    detail: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "null_is_default")]
    peers: Vec<AddrEntry>,
}

impl<'a> Frame<'a> {
    /// Reads one line.
    ///
    /// # Errors
    /// The line breaks the protocol; the connection is to be closed with `bye protocol`.
    pub fn parse(line: &'a [u8]) -> Result<Self, WireError> {
        Self::parse_noting(line, &mut Fields::default())
    }

    /// Reads one line, and notes where its fields are if it is a flat one of a msgtype that is not the
    /// core's, for whoever reads on ([`Fields::last`]).
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_noting(line: &'a [u8], fields: &mut Fields) -> Result<Self, WireError> {
        fields.clear();
        // What our own nodes send for the two most frequent verbs needs no parser.
        if line == PING_LINE {
            return Ok(Self::Ping);
        }
        if line == PONG_LINE {
            return Ok(Self::Pong);
        }
        let text = std::str::from_utf8(line).or(Err(WireError::NotUtf8))?;
        let flat = fields.read(text).and_then(Envelope::of_flat);
        if let Some(Envelope { msgtype, attach }) = flat
            && !CORE_MSGTYPES.contains(&&*msgtype)
        {
            return Self::other(msgtype, text, attach.unwrap_or_default());
        }
        let malformed = |e: serde_json::Error| WireError::Malformed(shorten(&e.to_string()));
        // `serde` would also take a struct from an array.
        if !text.trim_start().starts_with('{') {
            return Err(WireError::Malformed("not a JSON object".to_owned()));
        }
        let Envelope { msgtype, attach } = serde_json::from_str(text).map_err(malformed)?;
        let attach = attach.unwrap_or_default();
        if attach > 0 && CORE_MSGTYPES.contains(&&*msgtype) {
            return Err(WireError::Malformed(format!("{msgtype} has no attachment")));
        }
        Ok(match &*msgtype {
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            "spare" => Self::Spare,
            "hello" => Self::Hello(serde_json::from_str(text).map_err(malformed)?),
            "getaddr" => {
                let body: GetAddrBody = serde_json::from_str(text).map_err(malformed)?;
                let max = body.max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
                Self::GetAddr { near: body.near, max }
            }
            "addr" => {
                let body: AddrBody = serde_json::from_str(text).map_err(malformed)?;
                Self::Addr(body.peers)
            }
            "presence" => {
                let PresenceBody { tags } = serde_json::from_str(text).map_err(malformed)?;
                Self::Presence(tags)
            }
            "bye" => {
                let body: ByeBody<'a> = serde_json::from_str(text).map_err(malformed)?;
                let ByeBody { reason, detail, peers } = body;
                Self::Bye(Box::new(Bye { reason: reason.unwrap_or_default(), detail, peers }))
            }
            _ => return Self::other(msgtype, text, attach),
        })
    }

    fn other(msgtype: Cow<'a, str>, text: &'a str, attach: u64) -> Result<Self, WireError> {
        match usize::try_from(attach) {
            Ok(attach) if attach <= MAX_ATTACHMENT => Ok(Self::Other { msgtype, text, attach }),
            _ => Err(WireError::AttachmentTooLarge(attach)),
        }
    }
}

impl<'a> Envelope<'a> {
    /// What serde would make of it. None is left to serde.
    fn of_flat(flat: Flat<'a, '_>) -> Option<Self> {
        let (mut msgtype, mut attach) = (None, None);
        for (name, value) in flat.fields() {
            match (name, value) {
                (b"msgtype", Value::Text(text)) => msgtype = Some(Cow::Borrowed(text)),
                (b"attach", Value::Number(n)) => attach = Some(n),
                (b"msgtype" | b"attach", _) => return None,
                _ => {}
            }
        }
        Some(Self { msgtype: msgtype?, attach })
    }
}

impl<'de> Deserialize<'de> for AddrEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

/// An entry is a bare address, or a list of an address, an id, and whatever later versions add.
struct EntryVisitor;

impl<'de> de::Visitor<'de> for EntryVisitor {
    type Value = AddrEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a pair of an address and an id")
    }

    fn visit_str<E: de::Error>(self, addr: &str) -> Result<AddrEntry, E> {
        Ok(AddrEntry { addr: addr.to_owned(), id: None })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<AddrEntry, A::Error> {
        let addr = list.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let id = list.next_element::<Option<Cow<'de, str>>>()?.flatten();
        while list.next_element::<de::IgnoredAny>()?.is_some() {}
        // An id that is no UUID makes the entry a bare one: the address may still be right.
        Ok(AddrEntry { addr, id: id.and_then(|id| id.parse().ok()) })
    }
}

/// The longest `agent`, `network` and feature name taken from a peer, in bytes.
const MAX_TEXT: usize = 64;
/// The most features taken from a peer's hello.
pub(crate) const MAX_FEATURES: usize = 32;

fn short_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| checked(text).map_err(de::Error::custom)).transpose()
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn few_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts: Vec<String> = null_is_default(deserializer)?;
    if texts.len() > MAX_FEATURES {
        return Err(de::Error::custom("more than 32 features"));
    }
    texts.into_iter().map(|text| checked(text).map_err(de::Error::custom)).collect()
}

/// Control characters would let a peer write into an operator's terminal.
pub(crate) fn check_text(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err("a text in hello is longer than 64 bytes or has control characters");
    }
    Ok(())
}

fn checked(text: String) -> Result<String, &'static str> {
    check_text(&text).map(|()| text)
}

/// A hello with a strange address is still a hello: the peer is then one that cannot be dialled.
fn lenient_address<'de, D: Deserializer<'de>>(d: D) -> Result<Option<HostPort>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(d)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Bounds what is echoed back to a peer and kept in the journal, and keeps it printable.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{reason::CloseReason, wire::Encoded};

    fn parse(line: &str) -> Result<Frame<'_>, WireError> {
        Frame::parse(line.as_bytes())
    }

    fn id(bits: u128) -> NodeId {
        NodeId::from_u128(bits)
    }

    #[test]
    fn own_lines_are_understood() {
        let hello = Hello {
            nodeid: id(7),
            version: Some(1),
            agent: Some("peerage/0.1.0".into()),
            listen: Some("127.0.0.1:5999".parse().unwrap()),
            network: Some("main".into()),
            features: vec![],
            observed: None,
            member: None,
            tags: [("k".into(), "v".into())].into(),
            feeler: false,
        };
        let line = Encoded::hello(&hello);
        assert_eq!(Frame::parse(line.bytes().trim_ascii_end()), Ok(Frame::Hello(hello.into())));
        for (encoded, frame) in [
            (Encoded::PING, Frame::Ping),
            (Encoded::PONG, Frame::Pong),
            (Encoded::GETADDR, Frame::GetAddr { near: None, max: None }),
            (
                Encoded::presence(&[("k".into(), "v".into())].into()),
                Frame::Presence([("k".into(), "v".into())].into()),
            ),
            (
                Encoded::bye(&CloseReason::Full, "512 sessions", &[]),
                Frame::Bye(Box::new(Bye {
                    reason: "full".into(),
                    detail: Some("512 sessions".into()),
                    peers: vec![],
                })),
            ),
            (
                Encoded::addr(&[("[::1]:5".parse().unwrap(), id(1))]),
                Frame::Addr(vec![AddrEntry { addr: "[::1]:5".into(), id: Some(id(1)) }]),
            ),
        ] {
            assert_eq!(Frame::parse(encoded.bytes().trim_ascii_end()), Ok(frame));
        }
    }

    #[test]
    fn a_minimal_hello_is_enough() {
        let line = r#"{"msgtype":"hello","nodeid":"6f1c2a3b-0000-4000-8000-000000000001"}"#;
        let Ok(Frame::Hello(hello)) = parse(line) else { panic!("no hello") };
        assert_eq!((hello.listen, hello.network, hello.feeler), (None, None, false));
    }

    #[test]
    fn pairs_and_bare_strings_stand_side_by_side() {
        let line =
            r#"{"msgtype":"addr","peers":[["1.2.3.4:5","no-uuid"],"h:6",["[::1]:7",null,9]]}"#;
        let Ok(Frame::Addr(entries)) = parse(line) else { panic!("no addr") };
        let addrs: Vec<_> = entries.iter().map(|e| (e.addr.as_str(), e.id)).collect();
        assert_eq!(addrs, [("1.2.3.4:5", None), ("h:6", None), ("[::1]:7", None)]);
    }

    #[test]
    fn unknown_fields_and_msgtypes_pass() {
        assert_eq!(parse(r#"{"x":[{"y":1}],"msgtype":"ping"}"#), Ok(Frame::Ping));
        let text = r#"{"msgtype":"zebra","deep":{"a":[1]}}"#;
        assert_eq!(parse(text), Ok(Frame::Other { msgtype: "zebra".into(), text, attach: 0 }));
    }

    #[test]
    fn frames_that_come_by_the_million_are_small() {
        assert!(size_of::<Frame<'_>>() <= 48, "{}", size_of::<Frame<'_>>());
    }

    #[test]
    fn what_follows_a_line_is_known_from_it() {
        for (field, expected) in [
            (r#""attach":1"#, Ok(1)),
            (r#""attach":1048576"#, Ok(MAX_ATTACHMENT)),
            (r#""attach":0"#, Ok(0)),
            (r#""attach":null"#, Ok(0)),
            (r#""attach":1048577"#, Err(Some(1_048_577))),
            (r#""attach":18446744073709551615"#, Err(Some(u64::MAX))),
            (r#""attach":18446744073709551616"#, Err(None)),
            (r#""attach":-1"#, Err(None)),
            (r#""attach":1.0"#, Err(None)),
            (r#""attach":"1""#, Err(None)),
            (r#""attach":1,"attach":1"#, Err(None)),
        ] {
            let text = format!(r#"{{"msgtype":"zebra",{field}}}"#);
            let understood = match parse(&text) {
                Ok(Frame::Other { attach, .. }) => Ok(attach),
                Err(WireError::AttachmentTooLarge(n)) => Err(Some(n)),
                _ => Err(None),
            };
            assert_eq!(understood, expected, "{text}");
        }
    }

    #[test]
    fn the_core_s_own_messages_have_no_attachment() {
        for msgtype in CORE_MSGTYPES {
            let text = format!(r#"{{"msgtype":"{msgtype}","attach":99999999}}"#);
            let expected = format!("{msgtype} has no attachment");
            assert_eq!(parse(&text), Err(WireError::Malformed(expected)));
        }
        assert_eq!(parse(r#"{"msgtype":"ping","attach":0}"#), Ok(Frame::Ping));
    }

    #[test]
    fn what_is_no_object_with_a_msgtype_is_refused() {
        for line in [
            "",
            " ",
            "[]",
            "[\"ping\"]",
            "\"ping\"",
            "5",
            "null",
            "{}",
            "{",
            "{\"msgtype\":5}",
            "{\"msgtype\":null}",
            "{\"msgtype\":\"ping\"} x",
            "{\"msgtype\":\"ping\",\"msgtype\":\"pong\"}",
            "{\"msgtype\":\"hello\"}",
            "{\"msgtype\":\"hello\",\"nodeid\":\"x\"}",
            "{\"msgtype\":\"hello\",\"nodeid\":7}",
            "{\"msgtype\":\"addr\"}",
            "{\"msgtype\":\"addr\",\"peers\":[7]}",
            "{\"msgtype\":\"getaddr\",\"max\":-1}",
            "{\"msgtype\":\"presence\",\"tags\":[]}",
            "{\"msgtype\":\"presence\",\"tags\":{\"k\":1}}",
            "{\"msgtype\":\"ping\"\0}",
        ] {
            assert!(
                matches!(parse(line), Err(WireError::Malformed(_))),
                "{line}: {:?}",
                parse(line)
            );
        }
        assert_eq!(Frame::parse(b"{\"msgtype\":\"p\xff\"}"), Err(WireError::NotUtf8));
    }

    #[test]
    fn deep_nesting_is_refused_or_skipped_but_never_overflows() {
        let deep =
            format!("{{\"msgtype\":\"x\",\"d\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        let _ = parse(&deep);
        let deep = format!(
            "{{\"msgtype\":\"addr\",\"peers\":{}{}}}",
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        assert!(parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::parse(&line);
        }

        #[test]
        fn no_json_makes_the_parser_panic(
            verb in "hello|ping|pong|getaddr|addr|presence|bye|x",
            key in "nodeid|near|max|peers|reason|listen|features|version|tags|attach",
            value in "-?[0-9]{1,20}|\"[a-z:0-9.]{0,30}\"|\\[\\]|\\{\\}|null|true|\\[\"a:1\",[\"b:2\",null]\\]",
        ) {
            let _ = parse(&format!("{{\"msgtype\":\"{verb}\",\"{key}\":{value}}}"));
        }
    }
}
