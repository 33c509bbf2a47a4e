//! What is said: lines that are encoded once and sent to any number of peers.

use std::{cell::Cell, sync::LazyLock};

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;

use crate::{
    address::HostPort,
    ids::NodeId,
    reason::CloseReason,
    wire::{Hello, MAX_ATTACHMENT, MAX_LINE, Tags},
};

/// How many pongs [`Encoded::pongs`] makes at once: somewhat less than one read can ask for.
pub const MAX_PONGS: usize = 1024;

/// One or more encoded lines, or one with an attachment, ready to be sent to any number of peers:
/// clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    line: Bytes,
    attachment: Bytes,
}

/// A message that cannot be put on the wire. Nothing was sent.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The message is not a JSON object, or cannot be serialised at all.
    #[error("the message must serialise to a JSON object: {0}")]
    NotAnObject(#[source] serde_json::Error),
    /// The line would be longer than [`MAX_LINE`].
    #[error("the line would have {0} bytes; the limit is {MAX_LINE}")]
    TooLarge(usize),
    /// The attachment is longer than [`MAX_ATTACHMENT`].
    #[error("the attachment has {0} bytes; the limit is {MAX_ATTACHMENT}")]
    AttachmentTooLarge(usize),
}

impl Encoded {
    /// `ping`.
    pub const PING: Self = Self::lines(Bytes::from_static(b"{\"msgtype\":\"ping\"}\n"));
    /// `pong`.
    pub const PONG: Self = Self::lines(Bytes::from_static(b"{\"msgtype\":\"pong\"}\n"));
    /// `getaddr` with nothing asked for in particular.
    pub const GETADDR: Self = Self::lines(Bytes::from_static(b"{\"msgtype\":\"getaddr\"}\n"));
    /// `spare`.
    pub const SPARE: Self = Self::lines(Bytes::from_static(b"{\"msgtype\":\"spare\"}\n"));

    /// As many `pong`s as were asked for, as one; no more than [`MAX_PONGS`] are made at once.
    #[must_use]
    pub fn pongs(n: usize) -> Self {
        static MANY: LazyLock<Bytes> =
            LazyLock::new(|| Encoded::PONG.bytes().repeat(MAX_PONGS).into());
        Self::lines(MANY.slice(..n.min(MAX_PONGS) * Self::PONG.bytes().len()))
    }

    /// A body under its msgtype.
    ///
    /// # Errors
    /// The body is no JSON object, or the line is longer than [`MAX_LINE`].
    pub fn message<T: Serialize>(msgtype: &str, body: &T) -> Result<Self, EncodeError> {
        Ok(Self::lines(encode(msgtype, 0, body)?))
    }

    /// The same with bytes behind it, which the line announces in its field `attach`. An empty
    /// attachment is none.
    ///
    /// # Errors
    /// Those of [`message`](Self::message), or the attachment is longer than [`MAX_ATTACHMENT`].
    pub fn with_attachment<T: Serialize>(
        msgtype: &str,
        body: &T,
        attachment: Bytes,
    ) -> Result<Self, EncodeError> {
        if attachment.len() > MAX_ATTACHMENT {
            return Err(EncodeError::AttachmentTooLarge(attachment.len()));
        }
        Ok(Self { line: encode(msgtype, attachment.len(), body)?, attachment })
    }

    /// A message whose JSON object is written like this, with what goes along with it.
    pub(crate) fn written(
        msgtype: &str,
        attachment: Bytes,
        write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> Result<Self, EncodeError> {
        let line = with_line(msgtype, attachment.len(), write, Bytes::copy_from_slice)?;
        Ok(Self { line, attachment })
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

    /// `presence` with these tags, which fit.
    #[must_use]
    pub fn presence(tags: &Tags) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            tags: &'a Tags,
        }
        Self::own("presence", &Body { tags })
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

    /// Several lines without attachments as one.
    #[must_use]
    pub(crate) fn concat(lines: &[Self]) -> Self {
        debug_assert!(lines.iter().all(|line| line.attachment.is_empty()));
        Self::lines(lines.iter().flat_map(|line| line.line.iter().copied()).collect())
    }

    /// The bytes of the line, newline included; what comes behind it is the
    /// [`attachment`](Self::attachment).
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.line
    }

    /// The line without its newline, as it stands inside another message. Shares the bytes.
    #[must_use]
    pub fn inner_line(&self) -> Bytes {
        self.line.slice(..self.line.len().saturating_sub(1))
    }

    /// The bytes behind the line; empty if there are none.
    #[must_use]
    pub const fn attachment(&self) -> &Bytes {
        &self.attachment
    }

    /// How many bytes it has on the wire.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        self.line.len() + self.attachment.len()
    }

    const fn lines(line: Bytes) -> Self {
        Self { line, attachment: Bytes::new() }
    }

    /// A body of ours always fits; should a later one not, the peer gets nothing rather than a
    /// line it must refuse.
    fn own<T: Serialize>(msgtype: &str, body: &T) -> Self {
        Self::message(msgtype, body).unwrap_or_else(|error| {
            tracing::error!(%error, msgtype, "own frame not encoded");
            Self::lines(Bytes::new())
        })
    }
}

/// The line of a body under its msgtype, followed by so many bytes.
fn encode<T: Serialize>(msgtype: &str, attach: usize, body: &T) -> Result<Bytes, EncodeError> {
    let mut line = Vec::with_capacity(256);
    append_line(&mut line, msgtype, attach, |json| serde_json::to_writer(json, body))?;
    Ok(line.into())
}

/// The line of a message whose JSON object is written like this, for as long as it takes to copy it
/// elsewhere.
pub(crate) fn with_line<R>(
    msgtype: &str,
    attach: usize,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    run: impl FnOnce(&[u8]) -> R,
) -> Result<R, EncodeError> {
    thread_local! {
        static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    if attach > MAX_ATTACHMENT {
        return Err(EncodeError::AttachmentTooLarge(attach));
    }
    let mut line = ROOM.take();
    line.clear();
    let result = append_line(&mut line, msgtype, attach, write).map(|()| run(&line));
    // The room of what was far too long is given back.
    if line.capacity() <= 2 * MAX_LINE {
        ROOM.set(line);
    }
    result
}

fn append_line(
    line: &mut Vec<u8>,
    msgtype: &str,
    attach: usize,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
) -> Result<(), EncodeError> {
    line.extend_from_slice(b"{\"msgtype\":");
    serde_json::to_writer(&mut *line, msgtype).map_err(EncodeError::NotAnObject)?;
    if attach > 0 {
        line.extend_from_slice(b",\"attach\":");
        serde_json::to_writer(&mut *line, &attach).map_err(EncodeError::NotAnObject)?;
    }
    let at = line.len();
    write(line).map_err(EncodeError::NotAnObject)?;
    // The body's fields follow in the same object.
    match line.get_mut(at..) {
        Some([b'{', b'}']) => drop(line.remove(at)),
        Some([open @ b'{', ..]) => *open = b',',
        _ => return Err(EncodeError::NotAnObject(serde::ser::Error::custom("no object"))),
    }
    if line.len() > MAX_LINE {
        return Err(EncodeError::TooLarge(line.len()));
    }
    line.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_attachment_is_announced_and_bounded() {
        let encode = |n: usize| {
            let body = serde_json::json!({"n": 1});
            Encoded::with_attachment("t", &body, vec![7; n].into())
        };
        let encoded = encode(3).unwrap();
        assert_eq!(&encoded.bytes()[..], b"{\"msgtype\":\"t\",\"attach\":3,\"n\":1}\n");
        assert_eq!((&encoded.attachment()[..], encoded.wire_len()), (&[7; 3][..], 36));
        let none = serde_json::json!({});
        let empty = Encoded::with_attachment("t", &none, Bytes::new()).unwrap();
        assert_eq!(empty, Encoded::message("t", &none).unwrap());
        assert_eq!(encode(MAX_ATTACHMENT).unwrap().attachment().len(), MAX_ATTACHMENT);
        let error = encode(MAX_ATTACHMENT + 1).unwrap_err();
        assert!(matches!(error, EncodeError::AttachmentTooLarge(n) if n == MAX_ATTACHMENT + 1));
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
}
