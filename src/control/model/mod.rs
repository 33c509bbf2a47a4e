//! What the control API says and is told, as JSON: shared by the server, the command line and hooks.
//!
//! Names are `snake_case`, codes `kebab-case`. Times are milliseconds since the Unix epoch (`…_ms` after
//! `at`, `since`, `until` and the like), lengths of time milliseconds too. What is not known is left out.

mod address;
mod command;
mod error;
mod event;
mod journal;
mod node;
mod peer;
mod space;

use std::time::Duration;

pub use self::{
    address::{Address, Addresses},
    command::{
        Answered, AskEnd, AskLine, AskRequest, BanRequest, Changed, Command, Delivered,
        DialRequest, Dialled, DisconnectRequest, Gathered, InquiryAnswer, Outcome, PublishRequest,
        Published, Refused, SendRequest, TargetRequest, TopicRequest,
    },
    error::{ApiError, Code, ErrorBody},
    event::{Event, Heard, Inquired, Missed},
    journal::{BanEntry, Bans, Discouragement, Entry, Journal, Why},
    node::{Configuration, Health, NodeInfo, Readiness},
    peer::{PeerEntry, Peers, RoundTrip},
    space::{
        DeleteRequest, ImportReport, JoinRequest, KeyEntry, KeyPage, LeaveRequest, SetRequest,
        SpaceEntry, SpaceEvent, SpaceList, ValueEntry, Written,
    },
};
use crate::clock::Moment;

/// A length of time as the API says it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as the API says it.
pub(super) fn at(moment: Moment) -> u64 {
    millis(moment.since_epoch())
}
