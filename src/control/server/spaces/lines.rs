//! Cuts what comes in into whole lines: a pure decision.

use memchr::memrchr;

use crate::control::model::{ApiError, Code};

/// How much is imported at a time, in bytes: whole lines, and at least one.
const PIECE: usize = 256 * 1024;

/// The longest line, in bytes: a value of 1 MiB with each of its bytes as `\u0000`, and room for the rest.
const MAX_LINE: usize = 8 << 20;

/// Lines that came in and were not taken yet.
#[derive(Debug)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// How much of that is whole lines.
    whole: usize,
    /// The number of the first.
    number: usize,
}

impl Lines {
    /// None, when the next one has this number.
    pub(super) const fn from(number: usize) -> Self {
        Self { held: Vec::new(), whole: 0, number }
    }

    /// More has come.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if let Some(at) = memrchr(b'\n', bytes) {
            self.whole = self.held.len() + at + 1;
        }
        self.held.extend_from_slice(bytes);
    }

    /// Whole lines, if there are enough of them or no more come, and the number of the first.
    ///
    /// # Errors
    /// A line is too long, or no text.
    pub(super) fn take(&mut self, is_end: bool) -> Result<Option<(String, usize)>, ApiError> {
        if self.held.len() - self.whole > MAX_LINE {
            let message = format!("line {}: it has more than {MAX_LINE} bytes", self.last());
            return Err(ApiError::new(Code::TooLarge, message));
        }
        let len = if is_end { self.held.len() } else { self.whole };
        if len == 0 || (!is_end && len < PIECE) {
            return Ok(None);
        }
        let rest = self.held.split_off(len);
        let piece = std::mem::replace(&mut self.held, rest);
        let (first, count) = (self.number, newlines(&piece));
        (self.whole, self.number) = (0, first + count);
        let text = String::from_utf8(piece).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let line = first + good.map_or(0, newlines);
            ApiError::new(Code::BadRequest, format!("line {line}: it is not UTF-8"))
        })?;
        Ok(Some((text, first)))
    }

    /// The number of the line that is not whole.
    fn last(&self) -> usize {
        self.number + self.held.get(..self.whole).map_or(0, newlines)
    }
}

fn newlines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_pieces_the_lines_are_whole_and_all_there(
            lines in proptest::collection::vec("[a-zü]{0,20}", 0..50),
            cuts in proptest::collection::vec(1_usize..200, 1..100),
            has_last_newline: bool,
        ) {
            let mut text = lines.join("\n");
            if has_last_newline {
                text.push('\n');
            }
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
            let (mut taken, mut all) = (Lines::from(1), String::new());
            while !rest.is_empty() {
                let (bytes, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                taken.add(bytes);
                rest = more;
                prop_assert_eq!(taken.take(false).unwrap(), None, "there is not enough yet");
            }
            if let Some((piece, first)) = taken.take(true).unwrap() {
                prop_assert_eq!(first, 1);
                all.push_str(&piece);
            }
            prop_assert_eq!(all, text);
            prop_assert_eq!(taken.take(true).unwrap(), None);
        }
    }

    #[test]
    fn enough_lines_are_taken_at_once_and_numbered() {
        let mut lines = Lines::from(5);
        let long = "x".repeat(PIECE);
        lines.add(format!("a\n{long}\nrest").as_bytes());
        assert_eq!(lines.take(false).unwrap(), Some((format!("a\n{long}\n"), 5)));
        assert_eq!(lines.take(false).unwrap(), None);
        lines.add(b" of it");
        assert_eq!(lines.take(true).unwrap(), Some(("rest of it".to_owned(), 7)));
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_refused_by_its_number() {
        let mut lines = Lines::from(1);
        lines.add(b"a\n");
        lines.add(&vec![b'x'; MAX_LINE + 1]);
        let error = lines.take(false).unwrap_err();
        assert_eq!(error.code, Code::TooLarge);
        assert!(error.message.starts_with("line 2:"), "{}", error.message);
        let mut lines = Lines::from(1);
        lines.add(b"a\nb\n\xff\nc\n");
        let error = lines.take(true).unwrap_err();
        assert!(error.message.starts_with("line 3:"), "{}", error.message);
    }
}
