//! Which actor takes which messages for this node.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use actix::prelude::*;
use parking_lot::RwLock;
use serde::Deserialize;

use super::messages::{Origin, Refusal, Routed};
use crate::{
    extension::{PeerMessage, RegisterError, check_msgtype},
    overlay::{
        envelope::Letter,
        inbox::{Inbox, InboxLimits},
    },
};

/// One msgtype's way to its actor.
trait Taker: Send + Sync {
    fn take(&self, letter: &Letter, origin: &Origin) -> Result<(), Refusal>;

    fn is_alive(&self) -> bool;
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

    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    msgtype: Cow<'a, str>,
}

/// All of them. Written when an actor is registered, read by the router.
#[derive(Default)]
pub(super) struct Takers {
    by_msgtype: RwLock<BTreeMap<&'static str, Arc<dyn Taker>>>,
}

impl Takers {
    pub(super) fn register<M: PeerMessage>(
        &self,
        to: Recipient<Routed<M>>,
        limits: InboxLimits,
    ) -> Result<(), RegisterError> {
        check_msgtype(M::MSGTYPE)?;
        let mut takers = self.by_msgtype.write();
        if takers.get(M::MSGTYPE).is_some_and(|taker| taker.is_alive()) {
            return Err(RegisterError::Taken);
        }
        takers.insert(M::MSGTYPE, Arc::new(Typed { to, inbox: Inbox::new(limits) }));
        drop(takers);
        Ok(())
    }

    /// Hands a message to its actor.
    pub(super) fn take(&self, letter: &Letter, origin: &Origin) -> Result<(), Refusal> {
        let named = serde_json::from_slice(&letter.line);
        let Named { msgtype } = named.or(Err(Refusal::BadPayload))?;
        let taker = self.by_msgtype.read().get(&*msgtype).cloned();
        taker.ok_or(Refusal::Nobody)?.take(letter, origin)
    }
}

impl fmt::Debug for Takers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_msgtype.read().keys()).finish()
    }
}
