//! What becomes of this node's questions to many: who is known to have got each, and how it ended with
//! them.
//!
//! How many nodes a question reaches is not known to whoever asks it; that a node has got it is known
//! once the node says anything at all. A question is open until its limit or until it is ended.
//!
//! Invariants:
//! * S1: in every [`Account`], `asked` = `answered` + `refused` + `timed_out`.
//! * S2: each node counts once, and its first answer or refusal stays.
//! * S3: what is heard at a question's limit or later counts for nothing.
//! * S4: no more nodes are kept of a question than its bound; further ones are only counted.
//!
//! # Security
//! Ids cost nothing: whoever makes up thousands of them can answer for each. What is bounded is what
//! that costs here.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use thiserror::Error;

use crate::{
    clock::Moment,
    ids::{MessageId, NodeId},
    proto::token_bucket::TokenBucket,
    wire::TagsError,
};

/// The most nodes that are kept of one question.
pub const MAX_NODES: usize = 65_536;

/// The longest that a question may be open. Nodes that got it keep what they owe as long.
pub const MAX_LIMIT: Duration = Duration::from_secs(600);

/// How one question ended, in numbers of nodes: `asked` is always `answered` + `refused` +
/// `timed_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Why it ended.
    pub ending: Ending,
    /// The nodes known to have got the question. There may be others: some that did not live to say
    /// so, and some whose word was lost.
    pub asked: usize,
    /// Those that answered.
    pub answered: usize,
    /// Those that would not or could not.
    pub refused: usize,
    /// Those that did neither in time.
    pub timed_out: usize,
    /// Answers and refusals, counted above, that were not handed over since too many waited to be
    /// taken.
    pub dropped: usize,
    /// What was heard of nodes beyond the most that are kept. Those are not counted above.
    pub untracked: usize,
}

/// Why a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its time was up.
    Limit,
    /// Whoever asked had heard enough.
    Finished,
    /// The overlay was stopped.
    Stopped,
    /// It was not asked at all.
    NotAsked(Unasked),
}

/// Why a question was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unasked {
    /// It is no JSON object.
    #[error("the question cannot be encoded")]
    NotEncodable,
    /// It is longer than a line may be.
    #[error("the question is too large")]
    TooLarge,
    /// No node can have the tags that it is for.
    #[error("no node has such tags: {0}")]
    Audience(#[from] TagsError),
    /// Its limit is zero, or longer than [`MAX_LIMIT`].
    #[error("a question is open for some time, and for ten minutes at most")]
    Limit,
    /// As many questions are open as may be.
    #[error("too many questions are open")]
    Busy,
    /// This node asks faster than others answer.
    #[error("too many questions in a short time")]
    Rate,
    /// The overlay has stopped.
    #[error("the overlay has stopped")]
    Stopped,
}

impl Unasked {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotEncodable => "not-encodable",
            Self::TooLarge => "too-large",
            Self::Audience(_) => "audience",
            Self::Limit => "limit",
            Self::Busy => "busy",
            Self::Rate => "rate",
            Self::Stopped => "stopped",
        }
    }
}

impl Account {
    /// Nobody got it.
    #[must_use]
    pub const fn empty(ending: Ending) -> Self {
        Self { ending, asked: 0, answered: 0, refused: 0, timed_out: 0, dropped: 0, untracked: 0 }
    }
}

/// How it ended with one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// An answer.
    Answered,
    /// A refusal, or an answer that is none.
    Refused,
}

/// Why what a node says counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// No such question is open, or no longer.
    Unknown,
    /// The node has answered or refused already.
    Again,
    /// There is no room for another node.
    Untracked,
}

/// The open questions. `S` is where the answers of each go.
#[derive(Debug)]
pub struct Surveys<S> {
    max_nodes: usize,
    rate: TokenBucket,
    open: BTreeMap<MessageId, Open<S>>,
    ends: BTreeSet<(Moment, MessageId)>,
}

#[derive(Debug)]
struct Open<S> {
    end: Moment,
    /// `None`: the node has it, and has not said more.
    nodes: BTreeMap<NodeId, Option<Said>>,
    dropped: usize,
    untracked: usize,
    sink: S,
}

impl<S> Surveys<S> {
    /// None yet. Of each question so many nodes are kept, and they are asked at this rate.
    #[must_use]
    pub const fn new(max_nodes: usize, rate: TokenBucket) -> Self {
        Self { max_nodes, rate, open: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// A question is asked, and is open for so long. The id must be a fresh one.
    ///
    /// # Errors
    /// It is not, since it would be one too many.
    pub fn begin(
        &mut self,
        now: Moment,
        id: MessageId,
        limit: Duration,
        sink: S,
    ) -> Result<(), (Unasked, S)> {
        if self.rate.take(now, 1) == 0 {
            return Err((Unasked::Rate, sink));
        }
        let Entry::Vacant(place) = self.open.entry(id) else { return Err((Unasked::Busy, sink)) };
        let end = now + limit.min(MAX_LIMIT);
        place.insert(Open { end, nodes: BTreeMap::new(), dropped: 0, untracked: 0, sink });
        self.ends.insert((end, id));
        Ok(())
    }

    /// A node says something about a question, so it has got it. If it has answered or refused, hand
    /// that over and say so by [`settled`](Self::settled).
    ///
    /// # Errors
    /// It counts for nothing, and why.
    pub fn got(&mut self, now: Moment, id: &MessageId, node: NodeId) -> Result<&mut S, Ignored> {
        let open = self.open.get_mut(id).filter(|open| now < open.end);
        let open = open.ok_or(Ignored::Unknown)?;
        if open.nodes.get(&node).is_some_and(Option::is_some) {
            return Err(Ignored::Again);
        }
        if open.nodes.len() >= self.max_nodes && !open.nodes.contains_key(&node) {
            open.untracked = open.untracked.saturating_add(1);
            return Err(Ignored::Untracked);
        }
        open.nodes.entry(node).or_insert(None);
        Ok(&mut open.sink)
    }

    /// How it ended with a node that [`got`](Self::got) let through, and whether whoever asked could
    /// be given what it said.
    pub fn settled(&mut self, id: &MessageId, node: NodeId, said: Said, is_handed_over: bool) {
        let Some(open) = self.open.get_mut(id) else { return };
        if let Some(state @ None) = open.nodes.get_mut(&node) {
            *state = Some(said);
            open.dropped = open.dropped.saturating_add(usize::from(!is_handed_over));
        }
    }

    /// Ends a question before its time; `None` if it has ended.
    pub fn end(&mut self, id: &MessageId, ending: Ending) -> Option<(S, Account)> {
        let open = self.open.remove(id)?;
        self.ends.remove(&(open.end, *id));
        let account = open.account(ending);
        Some((open.sink, account))
    }

    /// The next question whose time is up, if there is one.
    pub fn pop_due(&mut self, now: Moment) -> Option<(S, Account)> {
        let (end, id) = *self.ends.first()?;
        if end > now { None } else { self.end(&id, Ending::Limit) }
    }

    /// Ends all of them.
    pub fn stop(&mut self) -> Vec<(S, Account)> {
        self.ends.clear();
        let open = std::mem::take(&mut self.open).into_values();
        let ended = open.map(|open| {
            let account = open.account(Ending::Stopped);
            (open.sink, account)
        });
        ended.collect()
    }

    /// When to call [`pop_due`](Self::pop_due) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl<S> Open<S> {
    fn account(&self, ending: Ending) -> Account {
        let Self { dropped, untracked, .. } = *self;
        let mut account = Account { dropped, untracked, ..Account::empty(ending) };
        account.asked = self.nodes.len();
        for said in self.nodes.values() {
            let place = match said {
                Some(Said::Answered) => &mut account.answered,
                Some(Said::Refused) => &mut account.refused,
                None => &mut account.timed_out,
            };
            *place = place.saturating_add(1);
        }
        account
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
