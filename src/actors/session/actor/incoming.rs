//! Messages that the core does not answer itself, and the bytes that come behind them.

use bytes::Bytes;

use super::Session;
use crate::{
    clock::Moment,
    extension::{DeliverError, Route},
    proto::journal::{Decision, Kind},
    reason::CloseReason,
    wire::{Gathering, attachment::take_whole},
};

/// An attachment whose end has not been read, and the message that it belongs to.
#[derive(Debug)]
pub(in crate::actors::session) struct Incoming {
    gathering: Gathering,
    /// None if nobody wants it.
    message: Option<(Box<str>, Box<str>)>,
}

impl Incoming {
    /// Skips so many bytes: those that are there, and later the rest.
    pub(super) fn skip(n: usize, rest: &mut &[u8]) -> Option<Box<Self>> {
        let mut gathering = Gathering::skip(n);
        let is_all = gathering.take(rest);
        (!is_all).then(|| Box::new(Self { gathering, message: None }))
    }

    /// Takes what was read. Whether all is there now.
    pub(in crate::actors::session) fn take(&mut self, chunk: &mut &[u8]) -> bool {
        self.gathering.take(chunk)
    }
}

impl Session {
    /// An attachment has come whole.
    pub(in crate::actors::session) fn received(&mut self, now: Moment, incoming: Incoming) {
        let Incoming { gathering, message } = incoming;
        if let Some((msgtype, line)) = message {
            self.deliver(now, &msgtype, &line, gathering.into_bytes());
        }
    }

    /// Hands a message over whose attachment has been read with it, or begins to gather that.
    pub(super) fn deliver_with(
        &mut self,
        now: Moment,
        msgtype: &str,
        line: &str,
        attach: usize,
        rest: &mut &[u8],
    ) -> Option<Box<Incoming>> {
        let Some(route) = self.env.routes.find(msgtype) else {
            self.unknown += 1;
            return Incoming::skip(attach, rest);
        };
        if let Some(attachment) = take_whole(rest, attach) {
            self.deliver_to(now, &*route, msgtype, line, attachment);
            return None;
        }
        let mut gathering = Gathering::keep(attach);
        gathering.take(rest);
        let message = Some((msgtype.into(), line.into()));
        Some(Box::new(Incoming { gathering, message }))
    }

    pub(super) fn deliver(&mut self, now: Moment, msgtype: &str, line: &str, attachment: Bytes) {
        match self.env.routes.find(msgtype) {
            Some(route) => self.deliver_to(now, &*route, msgtype, line, attachment),
            None => self.unknown += 1,
        }
    }

    fn deliver_to(
        &mut self,
        now: Moment,
        route: &dyn Route,
        msgtype: &str,
        line: &str,
        attachment: Bytes,
    ) {
        let Some(from) = &self.peer else { return };
        let credit = self.credit(line.len() + attachment.len());
        match route.deliver(line, attachment, from, credit) {
            Ok(()) => {}
            Err(DeliverError::BadPayload(error)) => {
                self.close(now, CloseReason::Protocol, format!("{msgtype}: {error}"));
            }
            Err(DeliverError::Gone) => {
                self.env.routes.forget(msgtype);
                let note = Decision::new(now, Kind::Extension, "gone").detail(msgtype.to_owned());
                self.note(note);
            }
        }
    }
}
