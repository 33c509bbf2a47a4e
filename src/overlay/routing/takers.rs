//! Which actor takes which messages for this node.

use std::sync::Arc;

use actix::prelude::*;

use super::messages::{Origin, Refusal, Routed};
use crate::{
    extension::{PeerMessage, RegisterError},
    overlay::{
        by_msgtype::{ByMsgtype, Registered, msgtype_of},
        envelope::Letter,
        inbox::{Inbox, InboxLimits},
    },
};

/// One msgtype's way to its actor.
trait Taker: Registered {
    fn take(&self, letter: &Letter, origin: &Origin) -> Result<(), Refusal>;
}

struct Typed<M: Send + 'static> {
    to: Recipient<Routed<M>>,
    inbox: Inbox,
}

impl<M: PeerMessage> Taker for Typed<M> {
    fn take(&self, letter: &Letter, origin: &Origin) -> Result<(), Refusal> {
        if !self.to.connected() {
            return Err(Refusal::Nobody);
        }
        let bytes = letter.line.len() + letter.attachment.len();
        let permit = self.inbox.admit(bytes).ok_or(Refusal::Busy)?;
        let message = serde_json::from_slice(&letter.line).or(Err(Refusal::BadPayload))?;
        self.to.do_send(Routed::new(message, letter.attachment.clone(), origin, permit));
        Ok(())
    }
}

impl<M: PeerMessage> Registered for Typed<M> {
    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Takers(ByMsgtype<dyn Taker>);

impl Takers {
    pub(super) fn register<M: PeerMessage>(
        &self,
        to: Recipient<Routed<M>>,
        limits: InboxLimits,
    ) -> Result<(), RegisterError> {
        self.0.register(M::MSGTYPE, Arc::new(Typed { to, inbox: Inbox::new(limits) }))
    }

    /// Hands a message to its actor.
    pub(super) fn take(&self, letter: &Letter, origin: &Origin) -> Result<(), Refusal> {
        let msgtype = msgtype_of(&letter.line).ok_or(Refusal::BadPayload)?;
        self.0.find(&msgtype).ok_or(Refusal::Nobody)?.take(letter, origin)
    }
}
