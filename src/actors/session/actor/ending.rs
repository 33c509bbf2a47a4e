//! How a session ends, and who is told what of it.

use std::sync::Arc;

use super::Session;
use crate::{
    actors::{
        registry::{LinkEvent, LinkNews},
        session::launch::Env,
    },
    address::HostPort,
    clock::Moment,
    ids::{LinkId, NodeId},
    outbox::Outbox,
    proto::journal::{Decision, Kind},
    reason::CloseReason,
    wire::Encoded,
};

/// What is said at the end.
pub(super) enum Farewell {
    /// Nothing: nobody listens.
    None,
    /// The reason.
    Bye,
    /// The reason, and these addresses to try instead.
    Elsewhere(Arc<[(HostPort, NodeId)]>),
}

impl Farewell {
    fn encode(&self, reason: &CloseReason, detail: &str) -> Option<Encoded> {
        let elsewhere = match self {
            Self::None => return None,
            Self::Bye => &[][..],
            Self::Elsewhere(addrs) => addrs,
        };
        Some(match reason {
            // The peer has closed its side and may still read.
            CloseReason::Gone => Encoded::bye(&CloseReason::Requested, "you closed your side", &[]),
            reason => Encoded::bye(reason, detail, elsewhere),
        })
    }
}

/// Tells the registry that the link is gone, whatever ended it.
#[derive(Debug)]
pub(super) struct EndGuard {
    pub(super) env: Arc<Env>,
    pub(super) link: LinkId,
    pub(super) reason: CloseReason,
    pub(super) outbox: Arc<Outbox>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.outbox.close();
        let news = LinkNews::Closed(self.reason.clone());
        self.env.registry.do_send(LinkEvent { link: self.link, news });
    }
}

impl Session {
    /// Says `bye` and ends.
    pub(super) fn close(&mut self, now: Moment, reason: CloseReason, detail: String) {
        self.end(now, reason, detail, Farewell::Bye);
    }

    pub(super) fn end(
        &mut self,
        now: Moment,
        reason: CloseReason,
        detail: String,
        farewell: Farewell,
    ) {
        if self.link.is_closing() {
            return;
        }
        self.answer_pings();
        self.link.close(now);
        self.outbox.finish(farewell.encode(&reason, &detail).as_ref());
        self.note_refusal(now, &reason, &detail);
        if let Some(dial) = self.origin.dial.take() {
            dial.settle(self.proof.take(), Some((reason.clone(), detail)));
        }
        self.tell_registry(LinkNews::Closing(reason.clone()));
        self.end.reason = reason;
    }

    /// What the registry does not know of a session's end, and of a connection that never was one;
    /// the end of a dial is discovery's to note.
    fn note_refusal(&self, now: Moment, reason: &CloseReason, detail: &str) {
        if self.unknown > 0 {
            let note = Decision::new(now, Kind::Undelivered, "unknown").detail("unknown msgtypes");
            self.note(note.number("messages", self.unknown));
        }
        if self.throttlings > 1 {
            let note = Decision::new(now, Kind::Throttled, "rate").addr(self.origin.remote.clone());
            self.note(note.number("times", self.throttlings));
        }
        let is_trouble =
            !matches!(reason, CloseReason::Gone | CloseReason::Shutdown | CloseReason::Peer(_));
        if is_trouble && !self.is_told && self.origin.dial.is_none() {
            let note = Decision::new(now, Kind::Refused, reason.word());
            self.note(note.detail(detail.to_owned()).addr(self.origin.remote.clone()));
        }
    }
}
