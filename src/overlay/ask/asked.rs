//! What comes to the actors that answer.

use std::{fmt, sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::messages::{Settled, code};
use crate::{
    clock::Moment,
    extension::{PeerMessage, RegisterError},
    ids::NodeId,
    overlay::{
        by_msgtype::{ByMsgtype, Registered, msgtype_of},
        inbox::{Inbox, InboxLimits, Permit},
    },
    wire::EncodeError,
};

/// What a question was answered with, or the reason why it was not.
pub type Said<Q> = Result<<Q as Question>::Answer, Box<str>>;

/// A message that asks for an answer, to be asked by [`Overlay::ask`](crate::overlay::Overlay::ask).
pub trait Question: PeerMessage {
    /// What answers it.
    type Answer: PeerMessage;
}

/// A question that another node asks, as its actor gets it: to be answered or refused once. One that
/// is dropped is refused as `dropped`.
///
/// While it is alive it takes a place in its actor's inbox; when that is full, askers are told
/// `busy`.
#[derive(Debug)]
pub struct Asked<Q> {
    /// The question.
    pub question: Q,
    /// Who asks.
    pub from: NodeId,
    /// Whether that is proven. It always is, unless this node has no key itself.
    pub proven: bool,
    /// In how many steps it came.
    pub hops: u8,
    /// When it ends: an answer after that is in vain.
    pub until: Moment,
    replier: Replier,
}

impl<Q: Question> Asked<Q> {
    /// Answers.
    ///
    /// # Errors
    /// The answer cannot be put on the wire; the asker is told that it is refused, as `too-large` or
    /// `not-encodable`.
    pub fn answer(mut self, answer: &Q::Answer) -> Result<(), EncodeError> {
        match answer.encode() {
            Ok(encoded) => {
                self.replier.settle(Settled::Answer(encoded.inner_line()));
                Ok(())
            }
            Err(error) => {
                let why = match error {
                    EncodeError::TooLarge(_) | EncodeError::AttachmentTooLarge(_) => "too-large",
                    EncodeError::NotAnObject(_) => "not-encodable",
                };
                self.replier.settle(Settled::Refusal(why.into()));
                Err(error)
            }
        }
    }

    /// Says that there is no answer and why: a code, of which at most 64 bytes are told.
    pub fn refuse(mut self, why: &str) {
        self.replier.settle(Settled::Refusal(code(why)));
    }

    /// A question that nobody asked, for tests that play the overlay: proven, from one step away and
    /// without an end. What it is answered with, or the reason why not, is received behind it.
    #[must_use]
    pub fn mock(question: Q, from: NodeId) -> (Self, oneshot::Receiver<Said<Q>>) {
        let (sender, receiver) = oneshot::channel();
        let replier = Replier::new(Permit::free(), move |settled| {
            let said = match settled {
                Settled::Answer(line) => match serde_json::from_slice(&line) {
                    Ok(answer) => Ok(answer),
                    Err(error) => Err(code(&error.to_string())),
                },
                Settled::Refusal(why) => Err(why),
            };
            // The test may not care.
            let _received = sender.send(said);
        });
        let until = Moment::after(Duration::MAX);
        (Self { question, from, proven: true, hops: 1, until, replier }, receiver)
    }
}

impl<Q: 'static> Message for Asked<Q> {
    type Result = ();
}

/// The one answer to a question.
pub(super) struct Replier {
    then: Option<Box<dyn FnOnce(Settled) + Send>>,
    #[expect(dead_code, reason = "held for its drop")]
    permit: Permit,
}

impl Replier {
    fn new(permit: Permit, then: impl FnOnce(Settled) + Send + 'static) -> Self {
        Self { then: Some(Box::new(then)), permit }
    }

    fn settle(&mut self, settled: Settled) {
        if let Some(then) = self.then.take() {
            then(settled);
        }
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.settle(Settled::Refusal("dropped".into()));
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replier(open: {})", self.then.is_some())
    }
}

/// Why a question is not handed to an actor: a code for its asker.
pub(super) type NotHanded = &'static str;

/// A question on its way to its actor.
pub(super) struct Arriving {
    /// Its type's line.
    pub(super) line: Bytes,
    pub(super) from: NodeId,
    pub(super) proven: bool,
    pub(super) hops: u8,
    pub(super) until: Moment,
}

/// One msgtype's way to its actor.
trait Responder: Registered {
    fn hand(
        &self,
        arriving: &Arriving,
        then: Box<dyn FnOnce(Settled) + Send>,
    ) -> Result<(), NotHanded>;
}

struct Typed<Q: Send + 'static> {
    to: Recipient<Asked<Q>>,
    inbox: Inbox,
}

impl<Q: Question> Responder for Typed<Q> {
    fn hand(
        &self,
        arriving: &Arriving,
        then: Box<dyn FnOnce(Settled) + Send>,
    ) -> Result<(), NotHanded> {
        if !self.to.connected() {
            return Err("nobody");
        }
        let permit = self.inbox.admit(arriving.line.len()).ok_or("busy")?;
        let question = serde_json::from_slice(&arriving.line).or(Err("bad-payload"))?;
        let Arriving { from, proven, hops, until, .. } = *arriving;
        let replier = Replier::new(permit, then);
        self.to.do_send(Asked { question, from, proven, hops, until, replier });
        Ok(())
    }
}

impl<Q: Question> Registered for Typed<Q> {
    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}

/// Which actor answers what.
#[derive(Debug, Default)]
pub(super) struct Responders(ByMsgtype<dyn Responder>);

impl Responders {
    pub(super) fn register<Q: Question>(
        &self,
        to: Recipient<Asked<Q>>,
        limits: InboxLimits,
    ) -> Result<(), RegisterError> {
        self.0.register(Q::MSGTYPE, Arc::new(Typed { to, inbox: Inbox::new(limits) }))
    }

    /// Hands a question to its actor. Unless that fails, `then` is called exactly once, with what the
    /// actor makes of it.
    pub(super) fn hand(
        &self,
        arriving: &Arriving,
        then: Box<dyn FnOnce(Settled) + Send>,
    ) -> Result<(), NotHanded> {
        let msgtype = msgtype_of(&arriving.line).ok_or("bad-payload")?;
        self.0.find(&msgtype).ok_or("nobody")?.hand(arriving, then)
    }
}
