//! What travels, and what the two actors are told and asked.

use std::{borrow::Cow, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::answers::Sink;
use crate::{
    extension::PeerMessage,
    ids::MessageId,
    proto::{
        journal::cut,
        owed::{OwedCounts, Question},
        routing::MAX_WHY,
        survey::Ending,
    },
    wire::Tags,
};

/// On the wire: a question to many. The question itself is the attachment, as its type's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) id: MessageId,
    /// How long the question is open.
    pub(super) limit_ms: u64,
    /// Only nodes that have all of these are asked.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub(super) tags: Tags,
}

impl PeerMessage for Ask {
    const MSGTYPE: &'static str = "ask";
}

/// On the wire: what a node says about a question that it was asked. An answer itself is the
/// attachment, as its type's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) id: MessageId,
    pub(super) outcome: Outcome,
    /// Why not: a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<Box<str>>,
}

impl PeerMessage for Told {
    const MSGTYPE: &'static str = "asked";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// The question has come; more may follow.
    Received,
    /// Here is the answer.
    Answered,
    /// There is none.
    Refused,
    /// What a later version says: the question has come.
    #[serde(other, skip_serializing)]
    Other,
}

/// A reason as it travels and is shown: short, and nothing that writes into a terminal.
pub(super) fn code(why: &str) -> Box<str> {
    let printable: String = why.chars().filter(|c| !c.is_control()).take(MAX_WHY).collect();
    cut(Cow::Owned(printable), MAX_WHY).into_owned().into()
}

/// Something to say to an asker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// A [`Told`], without its newline.
    pub(super) line: Bytes,
    /// The answer's line.
    pub(super) answer: Bytes,
}

impl Words {
    pub(super) fn receipt(id: MessageId) -> Self {
        Self::new(&Told { id, outcome: Outcome::Received, why: None }, Bytes::new())
    }

    pub(super) fn of(id: MessageId, settled: Settled) -> Self {
        match settled {
            Settled::Answer(line) => {
                Self::new(&Told { id, outcome: Outcome::Answered, why: None }, line)
            }
            Settled::Refusal(why) => {
                let why = Some(code(&why));
                Self::new(&Told { id, outcome: Outcome::Refused, why }, Bytes::new())
            }
        }
    }

    fn new(told: &Told, answer: Bytes) -> Self {
        // A short object always encodes; one that did not would be refused as `bad-payload`.
        let line = told.encode().map(|encoded| encoded.inner_line()).unwrap_or_default();
        Self { line, answer }
    }
}

/// What an actor makes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// The line of its answer.
    Answer(Bytes),
    /// Why there is none: a code.
    Refusal(Box<str>),
}

/// From whoever asks, to the pollster: ask this. One for each place among the open questions.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Begin {
    pub(super) id: MessageId,
    pub(super) tags: Tags,
    pub(super) limit: Duration,
    /// The question's line.
    pub(super) question: Bytes,
    pub(super) sink: Box<dyn Sink>,
}

/// From whoever asked, to the pollster: that is enough. One for each question.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct End(pub(super) MessageId, pub(super) Ending);

/// From an actor that was asked, to the respondent. One for each question that it was handed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Settle(pub(super) Question, pub(super) Settled);

/// Asks the pollster for its figures.
#[derive(Debug, Message)]
#[rtype(result = "AskingStats")]
pub(super) struct CountAsking;

/// Asks the respondent for its figures.
#[derive(Debug, Message)]
#[rtype(result = "AnsweringStats")]
pub(super) struct CountAnswering;

/// Ends an actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// What was asked and answered, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskStats {
    /// This node's own questions.
    pub asking: AskingStats,
    /// The questions of others.
    pub answering: AnsweringStats,
}

/// What became of this node's own questions, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, MessageResponse)]
pub struct AskingStats {
    /// Questions that were sent to all.
    pub asked: u64,
    /// Questions that were not, since the node asks too fast or for another reason that showed only
    /// when they were to be sent.
    pub not_asked: u64,
    /// Answers that counted.
    pub answers: u64,
    /// Refusals that counted, answers that were none included.
    pub refusals: u64,
    /// Words that a question has come.
    pub receipts: u64,
    /// What came from nodes that had answered or refused already.
    pub repeated: u64,
    /// What came too late, or about no question of this node.
    pub unknown: u64,
    /// What came from nodes beyond the most that are kept of one question.
    pub untracked: u64,
    /// What came from somebody who does not prove to be who it says.
    pub unproven: u64,
    /// Answers and refusals that were not handed over, since too many waited to be taken.
    pub dropped: u64,
    /// Questions that are open now.
    pub open: usize,
}

/// What was done about the questions of others, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, MessageResponse)]
pub struct AnsweringStats {
    /// Questions that came for nodes with other tags.
    pub not_meant: u64,
    /// Questions that came from somebody who does not prove to be who it says.
    pub unproven: u64,
    /// Questions that were not understood.
    pub malformed: u64,
    /// Questions that were ignored, since their asker asks too fast or too much is in work.
    pub ignored: u64,
    /// Questions that an actor was handed.
    pub taken: u64,
    /// Questions that no actor takes, or that its inbox had no room for.
    pub not_taken: u64,
    /// What was said about those that were taken and those that were not.
    pub said: OwedCounts,
    /// Questions in work, or waiting to be answered.
    pub open: usize,
}
