//! What this node owes to those who asked it: an answer to each question that it took, or a refusal,
//! and a word that it has the question if that takes long.
//!
//! Thousands of nodes get a question in the same moment, and all their answers go to one. So each waits
//! a random while, and what finds no way or no room is sent again, after longer and longer pauses.
//!
//! Invariants:
//! * D1: of one question at most one message is under way at a time, except that an answer does not
//!   wait for the outcome of a receipt.
//! * D2: one answer or refusal is taken of each question, and nothing is sent after its end.
//! * D3: debts, those to one asker, and the bytes of what waits to be sent are bounded
//!   ([`OwedLimits`]), as is how often one asker is listened to.
//!
//! # Security
//! A question costs its asker one message and everybody else one each. Who asks faster than the rate
//! is not heard, by each node for itself; a node that is not heard is not told, since telling would
//! cost as much as answering.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{recent::Recent, survey::MAX_LIMIT, token_bucket::TokenBucket};
use crate::{
    clock::Moment,
    ids::{MessageId, NodeId},
};

/// The first pause before something is sent again; each further one is twice as long.
pub const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The longest of these pauses.
pub const LAST_RETRY: Duration = Duration::from_secs(4);

/// How many askers' rates are remembered; the one that asked longest ago is forgotten.
const MAX_ASKERS: usize = 4096;

/// The bounds of what is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwedLimits {
    /// The most questions in work or waiting to be answered; more are ignored.
    pub max: usize,
    /// The most of them by one asker.
    pub max_per_asker: usize,
    /// The most bytes of answers that wait to be sent; one for which there is no room is a refusal
    /// (`busy`) instead. A single answer may have more.
    pub bytes: usize,
    /// How many questions of one asker are taken at once.
    pub burst: u32,
    /// How many more each second.
    pub per_second: u32,
}

impl Default for OwedLimits {
    /// 4,096 questions, 256 of one asker; 16 MiB of answers; 200 questions of one asker at once and 10
    /// more each second.
    fn default() -> Self {
        Self { max: 4096, max_per_asker: 256, bytes: 16 << 20, burst: 200, per_second: 10 }
    }
}

/// When something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After how long without an answer the asker is told that the question has come.
    pub receipt_after: Duration,
    /// How long an answer, a refusal or a receipt waits at most, at random, so that not all nodes
    /// speak at once. Never longer than a quarter of the question's time that is left.
    pub spread: Duration,
}

/// Which question: who asked it, and its id.
pub type Question = (NodeId, MessageId);

/// Why a question is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It is in work already.
    Known,
    /// Its asker asks too fast.
    Rate,
    /// Too many are in work.
    Crowded,
}

impl NotTaken {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Rate => "rate",
            Self::Crowded => "crowded",
        }
    }
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOwed {
    /// The question has ended, or was answered.
    Late,
    /// Too many bytes wait to be sent. Refuse instead.
    Crowded,
}

/// Something to be sent now. Say by [`Owed::sent`] what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due<R> {
    /// About which question.
    pub question: Question,
    /// Which message about it.
    pub serial: u32,
    /// The answer or refusal; `None`: that the question has come.
    pub reply: Option<R>,
}

/// What became of something that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The asker has it.
    Done,
    /// It may go better another time.
    Again,
    /// The asker will never have it.
    Never,
}

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwedCounts {
    /// Answers and refusals that the asker has.
    pub replies: u64,
    /// Receipts that the asker has.
    pub receipts: u64,
    /// Messages that were put off since they did not get through.
    pub retries: u64,
    /// Answers and refusals that did not get through.
    pub given_up: u64,
    /// Questions that were not answered in time.
    pub unanswered: u64,
    /// Answers and refusals that came too late.
    pub late: u64,
}

/// All that is owed. `R` is an answer or a refusal.
#[derive(Debug)]
pub struct Owed<R> {
    limits: OwedLimits,
    pace: Pace,
    rng: ChaCha8Rng,
    debts: BTreeMap<Question, Debt<R>>,
    due: BTreeSet<(Moment, Question)>,
    /// Of the replies that are held.
    bytes: usize,
    askers: Recent<NodeId, TokenBucket>,
    counts: OwedCounts,
}

#[derive(Debug)]
struct Debt<R> {
    end: Moment,
    reply: Option<(R, usize)>,
    /// When to send the reply, or the receipt while there is none.
    next: Option<Moment>,
    serial: u32,
    tries: u32,
}

impl<R: Clone> Owed<R> {
    /// Nothing yet. The generator decides how long things wait.
    #[must_use]
    pub fn new(limits: OwedLimits, pace: Pace, rng: ChaCha8Rng) -> Self {
        Self {
            limits,
            pace,
            rng,
            debts: BTreeMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            askers: Recent::new(MAX_ASKERS),
            counts: OwedCounts::default(),
        }
    }

    /// A question is taken, which is open for so long.
    ///
    /// # Errors
    /// It is not, and why; nothing is owed then.
    pub fn asked(
        &mut self,
        now: Moment,
        question: Question,
        limit: Duration,
    ) -> Result<(), NotTaken> {
        if self.debts.contains_key(&question) {
            return Err(NotTaken::Known);
        }
        if !self.hears(now, question.0) {
            return Err(NotTaken::Rate);
        }
        if self.debts.len() >= self.limits.max
            || self.owed_to(question.0) >= self.limits.max_per_asker
        {
            return Err(NotTaken::Crowded);
        }
        let end = now + limit.min(MAX_LIMIT);
        let next = now + self.pace.receipt_after + self.pause(now, end);
        let debt = Debt { end, reply: None, next: Some(next), serial: 0, tries: 0 };
        self.due.insert((debt.wakes(), question));
        self.debts.insert(question, debt);
        Ok(())
    }

    /// A question is answered or refused, with a reply of so many bytes.
    ///
    /// # Errors
    /// The reply is not taken, and why.
    pub fn settle(
        &mut self,
        now: Moment,
        question: Question,
        reply: R,
        bytes: usize,
    ) -> Result<(), NotOwed> {
        let open = self.debts.get(&question).filter(|debt| debt.reply.is_none() && now < debt.end);
        let Some(end) = open.map(|debt| debt.end) else {
            self.counts.late = self.counts.late.saturating_add(1);
            return Err(NotOwed::Late);
        };
        let held = self.bytes.saturating_add(bytes);
        if bytes > 0 && self.bytes > 0 && held > self.limits.bytes {
            return Err(NotOwed::Crowded);
        }
        self.bytes = held;
        let next = now + self.pause(now, end);
        self.change(question, |debt| {
            debt.reply = Some((reply, bytes));
            debt.next = Some(next);
            debt.serial = debt.serial.wrapping_add(1);
            debt.tries = 0;
        });
        Ok(())
    }

    /// What is to be sent now.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Due<R>>) {
        while let Some((at, question)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let Some(debt) = self.debts.get(&question) else {
                self.due.remove(&(at, question));
                continue;
            };
            if debt.end <= now {
                let count = match debt.reply {
                    Some(_) => &mut self.counts.given_up,
                    None => &mut self.counts.unanswered,
                };
                *count = count.saturating_add(1);
                self.remove(question);
                continue;
            }
            let reply = debt.reply.as_ref().map(|(reply, _)| reply.clone());
            out.push(Due { question, serial: debt.serial, reply });
            self.change(question, |debt| debt.next = None);
        }
    }

    /// What became of what was sent about a question.
    pub fn sent(&mut self, now: Moment, question: Question, serial: u32, fate: Fate) {
        let Some(debt) = self.debts.get(&question) else { return };
        // An answer has come since, or it waits for another try already.
        if debt.serial != serial || debt.next.is_some() {
            return;
        }
        let (is_reply, end, tries) = (debt.reply.is_some(), debt.end, debt.tries);
        let again = now + self.retry_after(tries);
        match fate {
            Fate::Done => {
                let counts = &mut self.counts;
                let count = if is_reply { &mut counts.replies } else { &mut counts.receipts };
                *count = count.saturating_add(1);
            }
            Fate::Again if again < end => {
                self.counts.retries = self.counts.retries.saturating_add(1);
                return self.change(question, |debt| {
                    debt.next = Some(again);
                    debt.tries = tries.saturating_add(1);
                });
            }
            Fate::Again | Fate::Never if is_reply => {
                self.counts.given_up = self.counts.given_up.saturating_add(1);
            }
            Fate::Again | Fate::Never => {}
        }
        if is_reply {
            self.remove(question);
        }
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> OwedCounts {
        self.counts
    }

    /// How many questions are in work or wait to be answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.debts.len()
    }

    /// Whether nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.debts.is_empty()
    }

    fn hears(&mut self, now: Moment, asker: NodeId) -> bool {
        if let Some(bucket) = self.askers.get(&asker) {
            return bucket.take(now, 1) == 1;
        }
        let mut bucket = TokenBucket::new(self.limits.burst, self.limits.per_second, now);
        let is_heard = bucket.take(now, 1) == 1;
        self.askers.insert(asker, bucket);
        is_heard
    }

    fn owed_to(&self, asker: NodeId) -> usize {
        let (first, last) = (MessageId::from_bytes([0; 16]), MessageId::from_bytes([0xff; 16]));
        self.debts.range((asker, first)..=(asker, last)).count()
    }

    /// In whole milliseconds, as timers are.
    fn pause(&mut self, now: Moment, end: Moment) -> Duration {
        let longest = self.pace.spread.min(end.since(now) / 4).as_millis();
        let longest = u64::try_from(longest).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.random_range(0..=longest))
    }

    fn retry_after(&mut self, tries: u32) -> Duration {
        let pause = FIRST_RETRY.saturating_mul(1 << tries.min(16)).min(LAST_RETRY);
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.random_range(pause / 2..=pause))
    }

    fn change(&mut self, question: Question, change: impl FnOnce(&mut Debt<R>)) {
        let Some(debt) = self.debts.get_mut(&question) else { return };
        self.due.remove(&(debt.wakes(), question));
        change(debt);
        self.due.insert((debt.wakes(), question));
    }

    fn remove(&mut self, question: Question) {
        let Some(debt) = self.debts.remove(&question) else { return };
        self.due.remove(&(debt.wakes(), question));
        let bytes = debt.reply.map_or(0, |(_, bytes)| bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<R> Debt<R> {
    /// When there is something to be done about it.
    fn wakes(&self) -> Moment {
        self.next.map_or(self.end, |next| next.min(self.end))
    }
}

#[cfg(test)]
#[path = "owed_tests.rs"]
mod tests;
