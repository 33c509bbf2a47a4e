//! Messages that the core does not answer itself, and the bytes that come behind them.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{MESSAGE_COST, Session, credit};
use crate::{
    clock::Moment,
    extension::{Arrived, DeliverError, Gather, Route},
    proto::journal::{Decision, Kind},
    reason::CloseReason,
    wire::{Fields, Gathering, attachment::take_whole},
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

    /// The msgtype of its message; none if nobody wants it.
    pub(in crate::actors::session) fn msgtype(&self) -> &str {
        self.message.as_ref().map_or("", |(msgtype, _)| msgtype)
    }

    /// Takes what was read. Whether all is there now.
    pub(in crate::actors::session) fn take(&mut self, chunk: &mut &[u8]) -> bool {
        self.gathering.take(chunk)
    }
}

/// Where the messages of one msgtype go. Kept from one line to the next, as long as nothing else comes
/// between them, and not beyond what is read in one go.
pub(in crate::actors::session) struct Open {
    route: Arc<dyn Route>,
    /// If they are handed over together.
    batch: Option<Box<dyn Gather>>,
    /// What they count against the session's credit.
    cost: usize,
}

impl Open {
    fn new(route: Arc<dyn Route>) -> Self {
        Self { batch: route.batch(), route, cost: 0 }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Open({}, {} bytes)", self.route.msgtype(), self.cost)
    }
}

impl Session {
    /// An attachment has come whole.
    pub(in crate::actors::session) fn received(&mut self, now: Moment, incoming: Incoming) {
        let Incoming { gathering, message } = incoming;
        if let Some((msgtype, line)) = message {
            let mut fields = Fields::default();
            fields.read(&line);
            self.deliver(now, &msgtype, &line, &fields, gathering.into_bytes());
        }
    }

    /// Hands a message over whose attachment has been read with it, or begins to gather that.
    pub(super) fn deliver_with(
        &mut self,
        now: Moment,
        (msgtype, line): (&str, &str),
        fields: &Fields,
        attach: usize,
        rest: &mut &[u8],
    ) -> Option<Box<Incoming>> {
        if !self.open(now, msgtype) {
            return Incoming::skip(attach, rest);
        }
        if let Some(attachment) = take_whole(rest, attach) {
            self.take(now, Arrived { line, fields, attachment });
            return None;
        }
        let mut gathering = Gathering::keep(attach);
        gathering.take(rest);
        let message = Some((msgtype.into(), line.into()));
        Some(Box::new(Incoming { gathering, message }))
    }

    pub(super) fn deliver(
        &mut self,
        now: Moment,
        msgtype: &str,
        line: &str,
        fields: &Fields,
        attachment: Bytes,
    ) {
        if self.open(now, msgtype) {
            self.take(now, Arrived { line, fields, attachment });
        }
    }

    /// Finds the way of a msgtype. Whether there is one.
    fn open(&mut self, now: Moment, msgtype: &str) -> bool {
        if self.open.as_ref().is_some_and(|open| open.route.msgtype() == msgtype) {
            return true;
        }
        self.hand_over(now);
        self.open = self.env.routes.find(msgtype).map(Open::new);
        self.unknown += u64::from(self.open.is_none());
        self.open.is_some()
    }

    /// Takes a message whose way is open.
    fn take(&mut self, now: Moment, arrived: Arrived<'_>) {
        let (Some(from), Some(open)) = (&self.peer, &mut self.open) else { return };
        let len = arrived.line.len() + arrived.attachment.len();
        let taken = if let Some(batch) = &mut open.batch {
            open.cost += len.max(MESSAGE_COST);
            batch.add(arrived)
        } else {
            open.route.deliver(arrived, from, credit(&self.credits, len))
        };
        if let Err(error) = taken {
            let msgtype = open.route.msgtype();
            // Those before it were fine.
            self.hand_over(now);
            self.not_delivered(now, msgtype, error);
        }
    }

    /// Hands over what has been gathered: when the pipe goes on to write, and before anything else is done
    /// that comes after it.
    pub(in crate::actors::session) fn hand_over(&mut self, now: Moment) {
        let Some(Open { route, batch, cost }) = self.open.take() else { return };
        let (Some(from), Some(batch)) = (&self.peer, batch) else { return };
        if let Err(error) = batch.hand_over(from, credit(&self.credits, cost)) {
            self.not_delivered(now, route.msgtype(), error);
        }
    }

    /// What the messages that are being gathered count.
    pub(super) fn gathered(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.cost)
    }

    fn not_delivered(&mut self, now: Moment, msgtype: &'static str, error: DeliverError) {
        match error {
            DeliverError::BadPayload(error) => {
                self.close(now, CloseReason::Protocol, format!("{msgtype}: {error}"));
            }
            DeliverError::Gone => {
                self.env.routes.forget(msgtype);
                let note = Decision::new(now, Kind::Extension, "gone").detail(msgtype.to_owned());
                self.note(note);
            }
        }
    }
}
