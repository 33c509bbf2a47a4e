//! What the nodes of `peerage run` send each other for people and scripts.

use serde::{Deserialize, Serialize};

use crate::{PeerMessage, overlay::Question};

/// A text, for one node or for a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The text.
    pub text: String,
}

impl PeerMessage for Note {
    const MSGTYPE: &'static str = "note";
}

/// A question in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// The question.
    pub text: String,
}

impl PeerMessage for Inquiry {
    const MSGTYPE: &'static str = "inquiry";
}

/// An answer in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InquiryReply {
    /// The answer.
    pub text: String,
}

impl PeerMessage for InquiryReply {
    const MSGTYPE: &'static str = "inquiry-reply";
}

impl Question for Inquiry {
    type Answer = InquiryReply;
}
