//! Which actor takes what, by the msgtype of the message.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use parking_lot::RwLock;
use serde::Deserialize;

use crate::extension::{RegisterError, check_msgtype};

/// The way to an actor.
pub(super) trait Registered: Send + Sync {
    /// Whether the actor is there.
    fn is_alive(&self) -> bool;
}

/// The ways of one kind of message. Written when an actor is registered, read by whoever hands
/// messages over.
pub(super) struct ByMsgtype<T: ?Sized> {
    ways: RwLock<BTreeMap<&'static str, Arc<T>>>,
}

impl<T: ?Sized> Default for ByMsgtype<T> {
    fn default() -> Self {
        Self { ways: RwLock::default() }
    }
}

impl<T: Registered + ?Sized> ByMsgtype<T> {
    /// Has messages of this msgtype go this way, unless they have an actor that is alive.
    pub(super) fn register(&self, msgtype: &'static str, way: Arc<T>) -> Result<(), RegisterError> {
        check_msgtype(msgtype)?;
        let mut ways = self.ways.write();
        if ways.get(msgtype).is_some_and(|way| way.is_alive()) {
            return Err(RegisterError::Taken);
        }
        ways.insert(msgtype, way);
        drop(ways);
        Ok(())
    }

    /// The way of this msgtype.
    pub(super) fn find(&self, msgtype: &str) -> Option<Arc<T>> {
        self.ways.read().get(msgtype).cloned()
    }
}

impl<T: ?Sized> fmt::Debug for ByMsgtype<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ways.read().keys()).finish()
    }
}

/// The msgtype of a line that came inside another message; none if it is no message.
pub(super) fn msgtype_of(line: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        msgtype: Cow<'a, str>,
    }
    serde_json::from_slice(line).ok().map(|Named { msgtype }| msgtype)
}
