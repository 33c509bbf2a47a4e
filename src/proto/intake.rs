//! What one peer, or one extension that finds addresses, may tell: how many addresses, which of them as
//! its own, and how often its mistakes are noted.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    address::HostPort,
    clock::Moment,
    config::DiscoveryConfig,
    ids::NodeId,
    proto::{
        address_entry::NotTaken,
        journal::{Decision, Kind},
        token_bucket::TokenBucket,
    },
};

/// How many addresses a session may declare as its peer's own in `addr`. They are proven before
/// anything else is dialled, so that one peer with many would leave no dial for all others.
const MAX_DECLARED: usize = 4;

/// How many notes about addresses that were not taken one peer causes at once; then one a second,
/// with what has gathered.
const NOTES: u32 = 64;

/// How many questions that need a look through the whole book one peer may ask at once; then one a
/// second. What comes faster is answered with nothing.
const QUESTIONS: u32 = 16;

/// How many unanswered questions are kept in mind. One that never answers saves nothing up.
const MAX_ASKED: u32 = 2;

/// The allowances of one session.
#[derive(Debug)]
pub struct Intake {
    /// How many unsolicited addresses it may still tell.
    unsolicited: TokenBucket,
    /// How many questions it may still ask that need a look through the book.
    questions: TokenBucket,
    /// How many it may tell in answer to a question.
    answer: usize,
    /// How many questions it has yet to answer.
    asked: u32,
    declared: BTreeSet<HostPort>,
    /// What was not taken and has not been noted.
    refused: BTreeMap<NotTaken, usize>,
    notes: TokenBucket,
}

impl Intake {
    /// A session that comes up, and asks its first question by itself.
    #[must_use]
    pub fn new(config: &DiscoveryConfig, now: Moment) -> Self {
        Self {
            unsolicited: TokenBucket::new(config.addr_burst, config.addrs_per_second, now),
            questions: TokenBucket::new(QUESTIONS, 1, now),
            answer: config.addr_reply_max,
            asked: 1,
            declared: BTreeSet::new(),
            refused: BTreeMap::new(),
            notes: TokenBucket::new(NOTES, 1, now),
        }
    }

    /// Whether the peer may ask one more question that needs a look through the book.
    pub fn may_ask(&mut self, now: Moment) -> bool {
        self.questions.take(now, 1) > 0
    }

    /// The peer was asked for addresses.
    pub fn asked(&mut self) {
        self.asked = (self.asked + 1).min(MAX_ASKED);
    }

    /// The peer tells so many addresses at once. How many of them are looked at: an answer's worth
    /// if one is due (a single one is an announcement or news), and as many more as it has
    /// allowance for.
    pub fn allow(&mut self, now: Moment, told: usize) -> usize {
        let mut free = 0;
        if self.asked > 0 && told > 1 {
            self.asked -= 1;
            free = self.answer;
        }
        let beyond = u32::try_from(told.saturating_sub(free)).unwrap_or(u32::MAX);
        let paid = usize::try_from(self.unsolicited.take(now, beyond)).unwrap_or(usize::MAX);
        let allowed = free.saturating_add(paid).min(told);
        if allowed < told {
            *self.refused.entry(NotTaken::Rate).or_default() += told - allowed;
        }
        allowed
    }

    /// Whether the peer may call this address its own, or must leave it hearsay.
    pub fn may_declare(&mut self, addr: &HostPort) -> bool {
        self.declared.contains(addr)
            || (self.declared.len() < MAX_DECLARED && self.declared.insert(addr.clone()))
    }

    /// An address was not taken.
    pub fn refuse(&mut self, why: NotTaken) {
        *self.refused.entry(why).or_default() += 1;
    }

    /// What was not taken, in one note: at once, or together with what follows if there were many
    /// notes. One peer's nonsense must not wash everything else out of the journal. `last` notes
    /// what is left.
    pub fn note(
        &mut self,
        from: impl Into<Option<NodeId>>,
        now: Moment,
        last: bool,
    ) -> Option<Decision> {
        let reason = self.refused.keys().next_back()?.code();
        if self.notes.take(now, 1) == 0 && !last {
            return None;
        }
        let refused = std::mem::take(&mut self.refused);
        let n_refused = refused.values().sum();
        let counts: Vec<String> =
            refused.into_iter().map(|(why, n)| format!("{n} {}", why.code())).collect();
        let note = Decision::new(now, Kind::AddrsRefused, reason).count("addresses", n_refused);
        Some(note.detail(counts.join(", ")).peer(from))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::address::AddressError;

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    fn intake() -> Intake {
        Intake::new(&DiscoveryConfig::default(), at(0))
    }

    #[test]
    fn an_answer_is_free_once_for_each_question_and_the_rest_is_paid_for() {
        let mut intake = intake();
        assert_eq!(intake.allow(at(0), 256), 256);
        assert_eq!(intake.allow(at(0), 1200), 1000);
        assert_eq!(intake.allow(at(0), 1), 0);
        assert_eq!(intake.allow(at(1), 100), 10);
        for _ in 0..100 {
            intake.asked();
        }
        let free = [0; 3].map(|_| intake.allow(at(1), 256));
        assert_eq!(free, [256, 256, 0]);
        let note = intake.note(NodeId::from_u128(7), at(1), false).unwrap();
        assert_eq!((&*note.reason, &*note.detail), ("rate", "547 rate"));
    }

    #[test]
    fn a_fifth_declared_address_is_hearsay() {
        let mut intake = intake();
        let addr = |n: u8| -> HostPort { format!("10.0.0.{n}:5").parse().unwrap() };
        let may = [1, 2, 3, 4, 5, 1].map(|n| intake.may_declare(&addr(n)));
        assert_eq!(may, [true, true, true, true, false, true]);
    }

    #[test]
    fn a_flood_of_mistakes_is_noted_together() {
        let mut intake = intake();
        let mut notes = 0;
        for _ in 0..5000 {
            intake.refuse(NotTaken::Bad(AddressError::PortZero));
            notes += usize::from(intake.note(NodeId::from_u128(7), at(0), false).is_some());
        }
        assert_eq!(notes, 64);
        let last = intake.note(NodeId::from_u128(7), at(0), true).unwrap();
        assert_eq!(last.detail, "4936 port-zero");
    }
}
