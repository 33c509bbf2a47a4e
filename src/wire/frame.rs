//! What a line says: the core's verbs, and everything else by its `msgtype`.
//!
//! # Security
//! Everything here is fed by strangers. A line is bounded before it arrives; parsing borrows from
//! it where it can, skips unknown fields without building them, and nests no deeper than
//! `serde_json`'s own limit.

use std::{borrow::Cow, fmt, sync::LazyLock};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use crate::{address::HostPort, ids::NodeId, reason::CloseReason, wire::MAX_LINE};

/// A line that breaks the protocol. The text goes to the peer as the detail of `bye protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The line is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The line is not a JSON object with a text `msgtype`, or a known verb has a wrong field.
    #[error("{0}")]
    Malformed(String),
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
    /// Tells addresses.
    Addr(Vec<AddrEntry>),
    /// The speaker closes. Boxed, like the hello: frames that come by the million stay small.
    Bye(Box<Bye<'a>>),
    /// A msgtype that is not the core's: an extension's, or unknown.
    Other {
        /// Its name.
        msgtype: Cow<'a, str>,
        /// The whole line.
        text: &'a str,
    },
}

/// The msgtypes that an extension cannot register, since the core answers them.
pub const CORE_MSGTYPES: [&str; 6] = ["hello", "ping", "pong", "getaddr", "addr", "bye"];

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    msgtype: Cow<'a, str>,
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
        // What our own nodes send for the two most frequent verbs needs no parser.
        if line == PING_LINE {
            return Ok(Self::Ping);
        }
        if line == PONG_LINE {
            return Ok(Self::Pong);
        }
        let text = std::str::from_utf8(line).or(Err(WireError::NotUtf8))?;
        let malformed = |e: serde_json::Error| WireError::Malformed(shorten(&e.to_string()));
        // `serde` would also take a struct from an array.
        if !text.trim_start().starts_with('{') {
            return Err(WireError::Malformed("not a JSON object".to_owned()));
        }
        let Envelope { msgtype } = serde_json::from_str(text).map_err(malformed)?;
        Ok(match &*msgtype {
            "ping" => Self::Ping,
            "pong" => Self::Pong,
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
            "bye" => {
                let body: ByeBody<'a> = serde_json::from_str(text).map_err(malformed)?;
                let ByeBody { reason, detail, peers } = body;
                Self::Bye(Box::new(Bye { reason: reason.unwrap_or_default(), detail, peers }))
            }
            _ => Self::Other { msgtype, text },
        })
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

/// How many pongs [`Encoded::pongs`] makes at once: somewhat less than one read can ask for.
pub const MAX_PONGS: usize = 1024;

const PING_LINE: &[u8] = br#"{"msgtype":"ping"}"#;
const PONG_LINE: &[u8] = br#"{"msgtype":"pong"}"#;

/// One or more encoded lines, ready to be sent to any number of peers: clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded(Bytes);

/// A message that cannot be put on the wire. Nothing was sent.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The message is not a JSON object, or cannot be serialised at all.
    #[error("the message must serialise to a JSON object: {0}")]
    NotAnObject(#[source] serde_json::Error),
    /// The line would be longer than [`MAX_LINE`].
    #[error("the line would have {0} bytes; the limit is {MAX_LINE}")]
    TooLarge(usize),
}

impl Encoded {
    /// `ping`.
    pub const PING: Self = Self(Bytes::from_static(b"{\"msgtype\":\"ping\"}\n"));
    /// `pong`.
    pub const PONG: Self = Self(Bytes::from_static(b"{\"msgtype\":\"pong\"}\n"));
    /// `getaddr` with nothing asked for in particular.
    pub const GETADDR: Self = Self(Bytes::from_static(b"{\"msgtype\":\"getaddr\"}\n"));

    /// As many `pong`s as were asked for, as one; no more than [`MAX_PONGS`] are made at once.
    #[must_use]
    pub fn pongs(n: usize) -> Self {
        static MANY: LazyLock<Bytes> =
            LazyLock::new(|| Encoded::PONG.bytes().repeat(MAX_PONGS).into());
        Self(MANY.slice(..n.min(MAX_PONGS) * Self::PONG.bytes().len()))
    }

    /// A body under its msgtype.
    ///
    /// # Errors
    /// The body is no JSON object, or the line is longer than [`MAX_LINE`].
    pub fn message<T: Serialize>(msgtype: &str, body: &T) -> Result<Self, EncodeError> {
        let mut line = Vec::with_capacity(256);
        line.extend_from_slice(b"{\"msgtype\":");
        serde_json::to_writer(&mut line, msgtype).map_err(EncodeError::NotAnObject)?;
        let at = line.len();
        serde_json::to_writer(&mut line, body).map_err(EncodeError::NotAnObject)?;
        // The body's fields follow the msgtype in the same object.
        match line.get_mut(at..) {
            Some([b'{', b'}']) => drop(line.remove(at)),
            Some([open @ b'{', ..]) => *open = b',',
            _ => return Err(EncodeError::NotAnObject(serde::ser::Error::custom("no object"))),
        }
        if line.len() > MAX_LINE {
            return Err(EncodeError::TooLarge(line.len()));
        }
        line.push(b'\n');
        Ok(Self(line.into()))
    }

    /// `hello`.
    #[must_use]
    pub fn hello(hello: &Hello) -> Self {
        Self::own("hello", hello)
    }

    /// `getaddr` for at most so many addresses of the nodes closest to an id.
    #[must_use]
    pub fn getaddr_near(near: NodeId, max: usize) -> Self {
        #[derive(Serialize)]
        struct Body {
            near: NodeId,
            max: usize,
        }
        Self::own("getaddr", &Body { near, max })
    }

    /// `addr` with these pairs. The caller keeps their number such that the line fits.
    #[must_use]
    pub fn addr(peers: &[(HostPort, NodeId)]) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            peers: &'a [(HostPort, NodeId)],
        }
        Self::own("addr", &Body { peers })
    }

    /// `bye` with a reason and, unless they are empty, a detail for a person and some addresses to
    /// try instead. The caller keeps their number such that the line fits.
    #[must_use]
    pub fn bye(reason: &CloseReason, detail: &str, peers: &[(HostPort, NodeId)]) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            reason: &'a CloseReason,
            #[serde(skip_serializing_if = "str::is_empty")]
            detail: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            peers: &'a [(HostPort, NodeId)],
        }
        Self::own("bye", &Body { reason, detail, peers })
    }

    /// Several lines as one.
    #[must_use]
    pub fn concat(lines: &[Self]) -> Self {
        Self(lines.iter().flat_map(|line| line.0.iter().copied()).collect())
    }

    /// The bytes, newline included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// A body of ours always fits; should a later one not, the peer gets nothing rather than a
    /// line it must refuse.
    fn own<T: Serialize>(msgtype: &str, body: &T) -> Self {
        Self::message(msgtype, body).unwrap_or_else(|error| {
            tracing::error!(%error, msgtype, "own frame not encoded");
            Self(Bytes::new())
        })
    }
}

/// The longest `agent`, `network` and feature name taken from a peer, in bytes.
const MAX_TEXT: usize = 64;
/// The most features taken from a peer's hello.
const MAX_FEATURES: usize = 32;

fn short_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| check_text(text).map_err(de::Error::custom)).transpose()
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
    texts.into_iter().map(|text| check_text(text).map_err(de::Error::custom)).collect()
}

/// Control characters would let a peer write into an operator's terminal.
fn check_text(text: String) -> Result<String, &'static str> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err("a text in hello is longer than 64 bytes or has control characters");
    }
    Ok(text)
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
            feeler: false,
        };
        let line = Encoded::hello(&hello);
        assert_eq!(Frame::parse(line.bytes().trim_ascii_end()), Ok(Frame::Hello(hello.into())));
        for (encoded, frame) in [
            (Encoded::PING, Frame::Ping),
            (Encoded::PONG, Frame::Pong),
            (Encoded::GETADDR, Frame::GetAddr { near: None, max: None }),
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
        assert_eq!(parse(text), Ok(Frame::Other { msgtype: "zebra".into(), text }));
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

    #[test]
    fn a_body_of_any_object_gets_its_msgtype() {
        use std::collections::BTreeMap;
        let line = |body: BTreeMap<&str, u8>| {
            let line = Encoded::message("a\"b", &body).unwrap();
            String::from_utf8(line.bytes().to_vec()).unwrap()
        };
        assert_eq!(line([].into()), "{\"msgtype\":\"a\\\"b\"}\n");
        assert_eq!(line([("n", 1)].into()), "{\"msgtype\":\"a\\\"b\",\"n\":1}\n");
        for none in [serde_json::json!([1]), serde_json::json!("{}"), serde_json::json!(null)] {
            assert!(matches!(Encoded::message("t", &none), Err(EncodeError::NotAnObject(_))));
        }
    }

    #[test]
    fn a_message_too_long_for_a_line_is_refused_before_it_is_sent() {
        #[derive(Serialize)]
        struct Text {
            text: String,
        }
        let body = Text { text: "x".repeat(MAX_LINE) };
        assert!(matches!(Encoded::message("t", &body), Err(EncodeError::TooLarge(_))));
        assert!(matches!(Encoded::message("t", &5), Err(EncodeError::NotAnObject(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::parse(&line);
        }

        #[test]
        fn no_json_makes_the_parser_panic(
            verb in "hello|ping|pong|getaddr|addr|bye|x",
            key in "nodeid|near|max|peers|reason|listen|features|version",
            value in "-?[0-9]{1,20}|\"[a-z:0-9.]{0,30}\"|\\[\\]|\\{\\}|null|true|\\[\"a:1\",[\"b:2\",null]\\]",
        ) {
            let _ = parse(&format!("{{\"msgtype\":\"{verb}\",\"{key}\":{value}}}"));
        }
    }
}
