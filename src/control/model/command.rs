//! What a node can be told to do: over HTTP as the bodies of requests, from a hook as [`Command`]s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BanEntry;

/// Something to be done, as a hook writes it: `{"command": "send", "to": "7a5f", "text": "hello"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Connect to an address.
    Dial(DialRequest),
    /// End the session with a peer.
    Disconnect(DisconnectRequest),
    /// Ban a node, an address or a subnet.
    Ban(BanRequest),
    /// Take a ban, or a discouragement, back.
    Unban(TargetRequest),
    /// Send a text to one node.
    Send(SendRequest),
    /// Publish a text to all nodes that take its topic.
    Publish(PublishRequest),
    /// Take the messages of a topic: they come as events.
    Subscribe(TopicRequest),
    /// Take them no longer.
    Unsubscribe(TopicRequest),
    /// Ask other nodes, and gather what they answer.
    Ask(AskRequest),
    /// Answer a question of another node.
    Answer(InquiryAnswer),
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DialRequest {
    /// `host:port`.
    pub addr: String,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisconnectRequest {
    /// Its id, or how no other peer's begins.
    pub id: String,
}

/// Whom to ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// A node id (or how no other known one begins), an IP address, or a subnet such as `10.0.0.0/8`.
    pub target: String,
    /// For how long, in seconds; a day if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// A note for yourself, at most 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Somebody who is banned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetRequest {
    /// As in a ban.
    pub target: String,
}

/// A message to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// Whom: a node id, or how no other known one begins. It need not be a peer.
    pub to: String,
    /// The text.
    pub text: String,
}

/// A message to all that take its topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The topic: 1 to 64 bytes, no control characters.
    pub topic: String,
    /// The text.
    pub text: String,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicRequest {
    /// 1 to 64 bytes, no control characters.
    pub topic: String,
}

/// A question to many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// The question.
    pub text: String,
    /// Only nodes that have all of these tags; all nodes if there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// For how long the question is open, in milliseconds; 1 to 600,000, 5,000 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 600_000)]
    pub limit_ms: Option<u64>,
}

/// What to say to a question of another node: a text, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InquiryAnswer {
    /// The number that came with the question.
    pub inquiry: u64,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why there is none: a code of at most 64 bytes. Only without a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<String>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Outcome {
    /// Of a dial.
    Dialled(Dialled),
    /// Of a ban.
    Banned(BanEntry),
    /// Of a message to one node.
    Delivered(Delivered),
    /// Of a message to all.
    Published(Published),
    /// Of a question.
    Gathered(Gathered),
    /// Of the others.
    Changed(Changed),
}

/// There is a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dialled {
    /// Who is there.
    pub id: String,
}

/// Whether something is now otherwise than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// False if it was so already.
    pub changed: bool,
}

/// The node has the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivered {
    /// Who has it.
    pub to: String,
    /// How long it took there and back, in microseconds.
    pub rtt_us: u64,
    /// In how many steps it got there.
    pub hops: u8,
    /// Whether nobody on the way could read it.
    pub sealed: bool,
}

/// The message is on its way to all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// Its id.
    pub id: String,
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answered {
    /// Whose.
    pub from: String,
    /// What it says.
    pub text: String,
    /// Whether it is proven whose it is.
    pub proven: bool,
}

/// A node that did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// Whose.
    pub from: String,
    /// Why: `nobody` there answers questions, or its own code.
    pub why: String,
    /// Whether it is proven who refuses.
    pub proven: bool,
}

/// How a question ended, in numbers of nodes: `asked` is `answered` + `refused` + `timed_out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskEnd {
    /// Those known to have got the question.
    pub asked: usize,
    /// Those that answered.
    pub answered: usize,
    /// Those that would not or could not.
    pub refused: usize,
    /// Those that did neither in time.
    pub timed_out: usize,
    /// Answers and refusals, counted above, that were not handed over.
    pub dropped: usize,
}

/// All that came back to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gathered {
    /// The answers, as they came; with the refusals about 4 MiB at most.
    pub answers: Vec<Answered>,
    /// The refusals, likewise.
    pub refusals: Vec<Refused>,
    /// How it ended.
    pub end: AskEnd,
}

/// One line of what comes back to a question, in the streamed form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AskLine {
    /// A node answers.
    Answer(Answered),
    /// A node does not.
    Refusal(Refused),
    /// No more comes.
    End(AskEnd),
    /// It was not asked, or could not be brought to its end.
    Error(super::ApiError),
}
