//! Cuts what a read brought into lines, without copying those that arrived whole.

use memchr::memchr;

/// One line, without its `\n` and an `\r` before it.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A complete line.
    Whole(&'a [u8]),
    /// A line that passed the limit. Nothing after it can be trusted to start a line, so the
    /// connection is to be closed.
    TooLong,
}

/// Keeps the beginning of a line whose end has not arrived; at most the limit it is given.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
    /// `partial` was handed out as a whole line and is cleared on the next call.
    spent: bool,
}

impl LineSplitter {
    /// A splitter at the start of a connection. It holds no memory until a line arrives in parts.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: Vec::new(), spent: false }
    }

    /// The next line out of what is kept and `chunk`, which is advanced past it. `None` means that
    /// `chunk` is used up. `limit` is the longest line allowed at this point.
    pub fn next<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8], limit: usize) -> Option<Line<'s>> {
        if self.spent {
            // A long line's memory is given back, so that an idle session costs next to nothing.
            self.partial = Vec::new();
            self.spent = false;
        }
        let Some(end) = memchr(b'\n', chunk) else {
            if self.partial.len() + chunk.len() > limit + 1 {
                *chunk = &[];
                return Some(Line::TooLong);
            }
            self.partial.extend_from_slice(chunk);
            *chunk = &[];
            return None;
        };
        let (head, rest) = chunk.split_at_checked(end).unwrap_or((chunk, &[]));
        *chunk = rest.get(1..).unwrap_or_default();
        let line = if self.partial.is_empty() {
            head
        } else {
            if self.partial.len() + head.len() > limit + 1 {
                return Some(Line::TooLong);
            }
            self.partial.extend_from_slice(head);
            self.spent = true;
            &self.partial
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(if line.len() > limit { Line::TooLong } else { Line::Whole(line) })
    }

    /// How many bytes of an unfinished line are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        if self.spent { 0 } else { self.partial.len() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of an input that arrives in the given pieces; `None` for a too long one.
    fn lines(pieces: &[&[u8]], limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut splitter = LineSplitter::new();
        let mut out = Vec::new();
        for piece in pieces {
            let mut chunk = *piece;
            while let Some(line) = splitter.next(&mut chunk, limit) {
                match line {
                    Line::Whole(line) => out.push(Some(line.to_vec())),
                    Line::TooLong => {
                        out.push(None);
                        return out;
                    }
                }
            }
            assert!(splitter.kept() <= limit + 1, "kept {}", splitter.kept());
        }
        out
    }

    #[test]
    fn a_line_may_end_in_crlf_and_be_empty() {
        assert_eq!(
            lines(&[b"a\r\n\n\r\nb\n"], 10),
            [Some(b"a".to_vec()), Some(vec![]), Some(vec![]), Some(b"b".to_vec())]
        );
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_byte_more_does_not() {
        assert_eq!(lines(&[b"12345\n"], 5), [Some(b"12345".to_vec())]);
        assert_eq!(lines(&[b"12345\r\n"], 5), [Some(b"12345".to_vec())]);
        assert_eq!(lines(&[b"123", b"45\r", b"\n"], 5), [Some(b"12345".to_vec())]);
        assert_eq!(lines(&[b"123456\n"], 5), [None]);
        assert_eq!(lines(&[b"123", b"456\n"], 5), [None]);
    }

    #[test]
    fn ten_mebibytes_without_a_newline_keep_no_more_than_the_limit() {
        let mut splitter = LineSplitter::new();
        let block = [b'x'; 1 << 16];
        let mut closed = false;
        for _ in 0..160 {
            let mut chunk = &block[..];
            if splitter.next(&mut chunk, 4096) == Some(Line::TooLong) {
                closed = true;
                break;
            }
        }
        assert!(closed && splitter.kept() <= 4097);
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_makes_no_difference(
            text in proptest::collection::vec(proptest::sample::select(b"ab\r\n\n{}".to_vec()), 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..20),
            limit in 1usize..40,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            prop_assert_eq!(lines(&pieces, limit), lines(&[&text], limit));
        }
    }
}
