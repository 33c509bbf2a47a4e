//! How much may wait for one actor.

use std::sync::Arc;

use parking_lot::Mutex;

/// The bounds of an [`Inbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// The most messages.
    pub messages: usize,
    /// The most bytes of lines and attachments. A single message may have more.
    pub bytes: usize,
}

impl Default for InboxLimits {
    /// 1,024 messages, 4 MiB.
    fn default() -> Self {
        Self { messages: 1024, bytes: 4 << 20 }
    }
}

/// Counts what waits somewhere, and says when it is enough. Clones count together.
#[derive(Debug, Clone)]
pub struct Inbox {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    limits: InboxLimits,
    now: Mutex<(usize, usize)>,
}

/// One message's place in an inbox. Dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    held: Option<Arc<Held>>,
    bytes: usize,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new(limits: InboxLimits) -> Self {
        Self { held: Arc::new(Held { limits, now: Mutex::default() }) }
    }

    /// A place for a message of so many bytes; `None` if there is no room. An empty inbox has room for
    /// any.
    #[must_use]
    pub fn admit(&self, bytes: usize) -> Option<Permit> {
        let mut now = self.held.now.lock();
        let (messages, held) = &mut *now;
        let is_too_much = *messages > 0 && *held + bytes > self.held.limits.bytes;
        if *messages >= self.held.limits.messages || is_too_much {
            return None;
        }
        *messages += 1;
        *held += bytes;
        drop(now);
        Some(Permit { held: Some(self.held.clone()), bytes })
    }
}

impl Permit {
    /// A place in no inbox, for tests that play one.
    #[must_use]
    pub const fn free() -> Self {
        Self { held: None, bytes: 0 }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            let mut now = held.now.lock();
            now.0 -= 1;
            now.1 -= self.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_there_is_room_for_and_more_when_something_has_gone() {
        let inbox = Inbox::new(InboxLimits { messages: 2, bytes: 10 });
        let first = inbox.admit(4).unwrap();
        assert!(inbox.admit(7).is_none());
        let second = inbox.clone().admit(6).unwrap();
        assert!(inbox.admit(0).is_none());
        drop(first);
        let third = inbox.admit(4).unwrap();
        drop((second, third));
        let large = inbox.admit(11).unwrap();
        assert!(inbox.admit(0).is_none());
        drop(large);
        assert_eq!(*inbox.held.now.lock(), (0, 0));
    }
}
