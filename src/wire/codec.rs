//! The wire as a `tokio_util` codec, for programs that talk to a node without being one.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::wire::{Encoded, MAX_LINE};

/// Lines in, [`Encoded`] out. A node's own sessions read without it, a whole batch at a time.
///
/// It reads no attachments: who reads with it must not list the feature [`ATTACH`](crate::wire::ATTACH)
/// in its hello, and is then sent none.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineCodec;

impl Decoder for LineCodec {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Bytes>> {
        let end = memchr::memchr(b'\n', src);
        if end.unwrap_or(src.len()) > MAX_LINE + 1 {
            return Err(too_long());
        }
        let Some(end) = end else { return Ok(None) };
        let mut line = src.split_to(end).freeze();
        src.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len().saturating_sub(1));
        }
        if line.len() > MAX_LINE {
            return Err(too_long());
        }
        Ok(Some(line))
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "line longer than 64 KiB")
}

impl Encoder<Encoded> for LineCodec {
    type Error = io::Error;

    fn encode(&mut self, item: Encoded, dst: &mut BytesMut) -> io::Result<()> {
        dst.extend_from_slice(item.bytes());
        dst.extend_from_slice(item.attachment());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_and_a_long_one_is_an_error() {
        let mut bytes = BytesMut::from(&b"a\r\nbc\nd"[..]);
        assert_eq!(LineCodec.decode(&mut bytes).unwrap().unwrap(), "a");
        assert_eq!(LineCodec.decode(&mut bytes).unwrap().unwrap(), "bc");
        assert_eq!(LineCodec.decode(&mut bytes).unwrap(), None);
        let mut long = BytesMut::from(&vec![b'x'; MAX_LINE + 2][..]);
        assert!(LineCodec.decode(&mut long.clone()).is_err());
        long.extend_from_slice(b"\n");
        assert!(LineCodec.decode(&mut long).is_err());
    }
}
