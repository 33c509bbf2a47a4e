//! The bytes that follow a line, gathered as they arrive.

use bytes::Bytes;

/// Takes the bytes that follow a line out of what was read, if they are all there: one copy, and
/// `chunk` is advanced past them. Otherwise nothing changes.
#[must_use]
pub fn take_whole(chunk: &mut &[u8], len: usize) -> Option<Bytes> {
    let (bytes, rest) = chunk.split_at_checked(len)?;
    *chunk = rest;
    Some(Bytes::copy_from_slice(bytes))
}

/// An attachment whose end has not arrived.
///
/// # Security
/// What is announced and does not come costs nothing: memory grows with what has arrived, to at most
/// twice as much on the way and never beyond what was announced.
#[derive(Debug)]
pub struct Gathering {
    /// What has arrived; nothing of what is only to be skipped.
    kept: Vec<u8>,
    missing: usize,
    is_kept: bool,
}

impl Gathering {
    /// Keeps the next `len` bytes.
    #[must_use]
    pub const fn keep(len: usize) -> Self {
        Self { kept: Vec::new(), missing: len, is_kept: true }
    }

    /// Skips the next `len` bytes: nobody wants them.
    #[must_use]
    pub const fn skip(len: usize) -> Self {
        Self { kept: Vec::new(), missing: len, is_kept: false }
    }

    /// Takes what there is of them out of what was read, and advances `chunk` past that. Whether they
    /// are all there now.
    pub fn take(&mut self, chunk: &mut &[u8]) -> bool {
        let (bytes, rest) =
            chunk.split_at_checked(self.missing.min(chunk.len())).unwrap_or((chunk, &[]));
        *chunk = rest;
        if self.is_kept {
            // Grown by doubling, but to no more than the whole.
            if self.kept.capacity() - self.kept.len() < bytes.len() {
                self.kept.reserve_exact(self.missing.min(bytes.len().max(self.kept.len())));
            }
            self.kept.extend_from_slice(bytes);
        }
        self.missing -= bytes.len();
        self.missing == 0
    }

    /// How many bytes have not arrived.
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// What was kept.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.kept.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::MAX_ATTACHMENT;

    #[test]
    fn what_is_all_there_is_taken_at_once_and_what_is_not_is_left() {
        let mut chunk = &b"abcde"[..];
        assert_eq!(take_whole(&mut chunk, 3), Some(Bytes::from_static(b"abc")));
        assert_eq!(take_whole(&mut chunk, 3), None);
        assert_eq!(chunk, b"de");
    }

    #[test]
    fn what_was_announced_and_does_not_come_costs_nothing() {
        let mut gathering = Gathering::keep(MAX_ATTACHMENT);
        assert_eq!(gathering.kept.capacity(), 0);
        assert!(!gathering.take(&mut &[7; 100][..]));
        assert_eq!(gathering.kept.capacity(), 100);
        assert!(!gathering.take(&mut &[7; 101][..]));
        assert!(gathering.kept.capacity() <= 2 * 201);
    }

    #[test]
    fn what_is_skipped_is_not_kept() {
        let mut gathering = Gathering::skip(5);
        assert!(!gathering.take(&mut &b"abc"[..]));
        let mut chunk = &b"defg"[..];
        assert!(gathering.take(&mut chunk));
        assert_eq!((chunk, gathering.kept.capacity()), (&b"fg"[..], 0));
    }

    proptest! {
        #[test]
        fn in_whatever_pieces_it_comes_whole_and_in_no_more_room_than_it_needs(
            bytes in proptest::collection::vec(any::<u8>(), 1..2000),
            step in 1usize..300,
        ) {
            let (mut gathering, mut all) = (Gathering::keep(bytes.len()), Vec::new());
            for piece in bytes.chunks(step) {
                all.extend_from_slice(piece);
                let is_all = gathering.take(&mut &piece[..]);
                prop_assert_eq!(is_all, all.len() == bytes.len());
                prop_assert!(gathering.kept.capacity() <= (2 * all.len()).min(bytes.len()));
            }
            prop_assert_eq!(gathering.into_bytes(), all);
        }
    }
}
