//! Handing records to be kept.

use std::sync::Arc;

use actix::prelude::*;
use thiserror::Error;

use super::{name::SpaceId, scribe::Write, store::Outcome};
use crate::{ids::NodeId, store::StoreError};

/// About so many records are signed or verified by one thread at a time, so that the first of them do not
/// wait for the last. One [`Put`] is for one thread; who has many hands them over in several.
pub(super) const PUT_TOGETHER: usize = 32;

/// Has records kept: answered when they are.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Outcome>, PutError>")]
pub(super) struct Put {
    pub(super) space: SpaceId,
    pub(super) writes: Vec<Write>,
    pub(super) source: Source,
}

/// Where records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From this node: others are to be told.
    Here,
    /// They were published: others hear of it as this node did.
    Published(NodeId),
    /// This node has asked for them: its peers are told that there is something.
    Sync(NodeId),
}

/// Why records were not kept; none of them was.
#[derive(Debug, Clone, Error)]
pub enum PutError {
    /// The store could not keep them.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// This node is not in the space (any more).
    #[error("this node is in no such space: join it first")]
    NoSuchSpace,
    /// The node is stopping. What was accepted may have been kept.
    #[error("the node is stopping")]
    Stopped,
}

impl PutError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::NoSuchSpace => "no-such-space",
            Self::Stopped => "stopped",
        }
    }
}
