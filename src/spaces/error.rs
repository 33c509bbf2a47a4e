//! Why something with a space was not done.

use std::sync::Arc;

use thiserror::Error;

use super::{admission::Refusal, keeper::Closed, put::PutError};
use crate::store::StoreError;

/// Why something was not done. Nothing was changed then, unless it says otherwise.
#[derive(Debug, Clone, Error)]
pub enum SpaceError {
    /// This node is in no such space.
    #[error("this node is in no such space: join it first")]
    NoSuchSpace,
    /// The record was not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not read or write.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// A line of an import is none. What stood before it was taken.
    #[error("line {line}: {why}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The record of a line of an import was not taken. What stood before it was.
    #[error("line {line}: {refusal}")]
    LineRefused {
        /// Which line, from 1.
        line: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The node is stopping. A write may have been kept.
    #[error("the node is stopping")]
    Stopped,
}

impl SpaceError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchSpace => "no-such-space",
            Self::Refused(refusal) | Self::LineRefused { refusal, .. } => refusal.code(),
            Self::Store(error) => error.code(),
            Self::Line { .. } => "bad-line",
            Self::Stopped => "stopped",
        }
    }
}

impl From<Closed> for SpaceError {
    fn from(_: Closed) -> Self {
        Self::Stopped
    }
}

impl From<StoreError> for SpaceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<PutError> for SpaceError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Store(error) => Self::Store(error),
            PutError::NoSuchSpace => Self::NoSuchSpace,
            PutError::Stopped => Self::Stopped,
        }
    }
}
