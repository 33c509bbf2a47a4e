//! Reads what another program writes, line by line, no faster than it may.

use std::{io, time::Duration};

use memchr::memchr;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::{clock::Clock, proto::token_bucket::TokenBucket};

/// What each line costs beside its bytes, so that short lines are no way around the rate.
const LINE_COST: usize = 1024;

/// How much of what is held of a line may be left unused, in bytes.
const SPARE: usize = 4096;

/// One line, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its bytes, or as many as were wanted at most.
    pub(super) bytes: Vec<u8>,
    /// There were more, which are gone.
    pub(super) is_cut: bool,
}

/// What may be read per second, in bytes.
pub(super) struct Pace {
    clock: Clock,
    bucket: TokenBucket,
}

impl Pace {
    /// That many bytes in the long run, and a second's worth at once.
    pub(super) fn new(per_second: u32, clock: Clock) -> Self {
        Self { clock, bucket: TokenBucket::new(per_second, per_second, clock.now()) }
    }

    /// Waits until so much may be read. What was waited for in vain is lost, if the wait is given up.
    async fn pay(&mut self, bytes: usize) {
        let mut owed = u32::try_from(bytes).unwrap_or(u32::MAX);
        loop {
            let now = self.clock.now();
            owed -= self.bucket.take(now, owed);
            if owed == 0 {
                return;
            }
            let pause = self.clock.until(self.bucket.next_token(now));
            tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        }
    }
}

/// Cuts a stream into lines. What the other program writes beyond the pace waits in its own pipe.
pub(super) struct Lines<R> {
    source: BufReader<R>,
    pace: Pace,
    longest: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Of each line no more than `longest` bytes are held.
    pub(super) fn new(source: R, longest: usize, pace: Pace) -> Self {
        Self { source: BufReader::new(source), pace, longest }
    }

    /// The next line; `None` at the end. A last one without a newline is a line, too.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line { bytes: Vec::new(), is_cut: false };
        let mut is_empty = true;
        loop {
            let chunk = self.source.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(Some(line).filter(|_| !is_empty));
            }
            is_empty = false;
            let end = memchr(b'\n', chunk);
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or(chunk);
            let room = self.longest.saturating_sub(line.bytes.len());
            line.is_cut |= part.len() > room;
            line.bytes.extend_from_slice(part.get(..room).unwrap_or(part));
            let used = part.len() + usize::from(end.is_some());
            self.source.consume(used);
            if end.is_some() {
                self.pace.pay(used + LINE_COST).await;
                line.bytes.shrink_to(line.bytes.len() + SPARE);
                return Ok(Some(line));
            }
            self.pace.pay(used).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: u32 = 1 << 30;

    async fn lines(text: &[u8], longest: usize) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::new(text, longest, Pace::new(FAST, Clock::start_at_zero()));
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push((line.bytes, line.is_cut));
        }
        all
    }

    #[tokio::test]
    async fn lines_end_with_newlines_and_the_last_one_need_not() {
        assert_eq!(lines(b"", 9).await, []);
        let all = [b"a".to_vec(), vec![], b"bc".to_vec()].map(|line| (line, false));
        assert_eq!(lines(b"a\n\nbc", 9).await, all);
        assert_eq!(lines(b"a\n\nbc\n", 9).await, all);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        assert_eq!(lines(b"abc\nd\n", 3).await[0], (b"abc".to_vec(), false));
        let long = [vec![b'x'; 100_000], b"\nd\n".to_vec()].concat();
        let all = lines(&long, 10).await;
        assert_eq!(all, [(vec![b'x'; 10], true), (b"d".to_vec(), false)]);
        assert_eq!(lines(&vec![b'x'; 100_000], 10).await, [(vec![b'x'; 10], true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_read_than_the_pace_allows() {
        let clock = Clock::start_at_zero();
        let text = b"x\n".repeat(1000);
        let mut lines = Lines::new(text.as_slice(), 10, Pace::new(102_400, clock));
        while lines.next().await.unwrap().is_some() {}
        // A thousand lines of a kilobyte each, of which the first hundred come at once.
        let took = clock.since_start(clock.now()).as_millis();
        assert!((8900..9200).contains(&took), "{took}");
    }
}
