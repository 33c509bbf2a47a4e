//! The wire as a `tokio_util` codec, for programs that talk to a node without being one.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::wire::{Encoded, MAX_LINE};

/// Lines in, [`Encoded`] out. A node's own sessions read without it, a whole batch at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineCodec;

impl Decoder for LineCodec {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Bytes>> {
        let Some(end) = memchr::memchr(b'\n', src) else {
            if src.len() > MAX_LINE + 1 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line longer than 64 KiB"));
            }
            return Ok(None);
        };
        let mut line = src.split_to(end).freeze();
        src.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len().saturating_sub(1));
        }
        Ok(Some(line))
    }
}

impl Encoder<Encoded> for LineCodec {
    type Error = io::Error;

    fn encode(&mut self, item: Encoded, dst: &mut BytesMut) -> io::Result<()> {
        dst.extend_from_slice(item.bytes());
        Ok(())
    }
}
