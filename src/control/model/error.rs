//! What was refused and why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why something was not done: a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request is not understood.
    BadRequest,
    /// The token is missing or wrong.
    Unauthorized,
    /// The request comes from a page of another site, or by a name that is not this machine's.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path is right, but not with this method.
    MethodNotAllowed,
    /// More than one node's id begins so.
    Ambiguous,
    /// The body is longer than a request may be.
    TooLarge,
    /// There are as many of this as may be.
    Full,
    /// More in this time than the node may.
    Rate,
    /// Too much is under way just now.
    Busy,
    /// No way to that node was found.
    NoRoute,
    /// Nothing came of it in time.
    Timeout,
    /// The node it was for would not have it.
    Refused,
    /// The dial failed.
    DialFailed,
    /// It was done, but could not be kept on disk.
    NotKept,
    /// This node keeps no spaces.
    NoSpaces,
    /// The node is in no such space.
    NoSuchSpace,
    /// There is a space of that name with other writers.
    OtherWriters,
    /// The space names who may write to it, and this node is not among them.
    NotAWriter,
    /// The space has no room.
    SpaceFull,
    /// The node has as much in the space as one may have.
    WriterFull,
    /// The disk has no room, or the file has the size that it may have.
    DiskFull,
    /// The file of the spaces could not be read or written.
    StoreFailed,
    /// This node's clock is far behind one that has written before.
    ClockWrong,
    /// The node is stopping.
    Stopped,
    /// A fault of the node.
    Internal,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// A stable code.
    pub code: Code,
    /// The same for a person.
    pub message: String,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ApiError,
}

impl ApiError {
    /// An error of this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
