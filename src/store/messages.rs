//! What the keeper is told.
//!
//! A sync actor's mailbox has no bound of its own. Each sender has to wait for the answer before it
//! sends again, and to merge what changes meanwhile. It has to hold on to the request until then:
//! actix throws a message away if its answer is no longer waited for.

use actix::prelude::*;

pub use crate::actors::{discovery::SaveAddresses, registry::SaveBans};

/// Closes the file, after everything that was sent before. Answered when it is closed; whether all is
/// in the file. Later saves are refused.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Close;
