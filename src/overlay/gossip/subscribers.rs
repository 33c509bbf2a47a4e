//! Which actors take which topics.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use actix::prelude::*;
use parking_lot::RwLock;

use super::messages::{Published, Source, SubscribeError, Topic};
use crate::{
    extension::{PeerMessage, check_msgtype},
    overlay::{
        by_msgtype::msgtype_of,
        envelope::Letter,
        inbox::{Inbox, InboxLimits},
    },
};

/// The most subscriptions of one node.
const MAX_SUBSCRIPTIONS: usize = 4096;

/// What became of a message at one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Taken,
    /// Its inbox was full; it was not before.
    MissedFirst,
    Missed,
    /// It is not what the msgtype stands for.
    BadPayload,
}

/// One actor's subscription.
trait Subscriber: Any + Send + Sync {
    fn msgtype(&self) -> &'static str;

    fn is_alive(&self) -> bool;

    fn take(&self, letter: &Letter, source: &Source<'_>) -> Taking;
}

struct Typed<M: Send + 'static> {
    to: Recipient<Published<M>>,
    inbox: Inbox,
    is_missing: AtomicBool,
}

impl<M: PeerMessage> Subscriber for Typed<M> {
    fn msgtype(&self) -> &'static str {
        M::MSGTYPE
    }

    fn is_alive(&self) -> bool {
        self.to.connected()
    }

    fn take(&self, letter: &Letter, source: &Source<'_>) -> Taking {
        let Ok(message) = serde_json::from_slice(&letter.line) else { return Taking::BadPayload };
        let bytes = letter.line.len() + letter.attachment.len();
        let Some(permit) = self.inbox.admit(bytes) else {
            let was_missing = self.is_missing.swap(true, Ordering::Relaxed);
            return if was_missing { Taking::Missed } else { Taking::MissedFirst };
        };
        self.is_missing.store(false, Ordering::Relaxed);
        self.to.do_send(Published::new(message, letter.attachment.clone(), source, permit));
        Taking::Taken
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Handed {
    pub(super) delivered: u64,
    pub(super) missed: u64,
    /// Subscribers that have begun to miss messages.
    pub(super) newly_slow: u64,
    /// Subscribers to which it makes no sense.
    pub(super) bad: u64,
}

/// All of them. Written when an actor subscribes, read by the gossiper.
#[derive(Default)]
pub(super) struct Subscribers {
    by_topic: RwLock<BTreeMap<Topic, Vec<Box<dyn Subscriber>>>>,
}

impl Subscribers {
    pub(super) fn add<M: PeerMessage>(
        &self,
        topic: &Topic,
        to: Recipient<Published<M>>,
        limits: InboxLimits,
    ) -> Result<(), SubscribeError> {
        check_msgtype(M::MSGTYPE).or(Err(SubscribeError::BadName))?;
        let mut by_topic = self.by_topic.write();
        by_topic.retain(|_, subscribers| {
            subscribers.retain(|subscriber| subscriber.is_alive());
            !subscribers.is_empty()
        });
        if by_topic.values().map(Vec::len).sum::<usize>() >= MAX_SUBSCRIPTIONS {
            return Err(SubscribeError::TooMany);
        }
        let typed = Typed { to, inbox: Inbox::new(limits), is_missing: AtomicBool::new(false) };
        by_topic.entry(topic.clone()).or_default().push(Box::new(typed));
        drop(by_topic);
        Ok(())
    }

    pub(super) fn remove(&self, topic: &Topic) {
        self.by_topic.write().remove(topic);
    }

    pub(super) fn remove_one<M: PeerMessage>(&self, topic: &Topic, to: &Recipient<Published<M>>) {
        let mut by_topic = self.by_topic.write();
        let Some(subscribers) = by_topic.get_mut(topic) else { return };
        subscribers.retain(|subscriber| {
            let typed = (&**subscriber as &dyn Any).downcast_ref::<Typed<M>>();
            typed.is_none_or(|typed| typed.to != *to)
        });
        if subscribers.is_empty() {
            by_topic.remove(topic);
        }
    }

    /// Hands a message to everybody who takes it.
    pub(super) fn hand(&self, letter: &Letter, source: &Source<'_>) -> Handed {
        let mut handed = Handed::default();
        let by_topic = self.by_topic.read();
        let Some(subscribers) = by_topic.get(source.topic) else { return handed };
        let Some(msgtype) = msgtype_of(&letter.line) else { return handed };
        let wanted =
            |subscriber: &dyn Subscriber| subscriber.msgtype() == msgtype && subscriber.is_alive();
        for subscriber in subscribers.iter().filter(|subscriber| wanted(&***subscriber)) {
            match subscriber.take(letter, source) {
                Taking::Taken => handed.delivered += 1,
                Taking::Missed => handed.missed += 1,
                Taking::MissedFirst => {
                    handed.missed += 1;
                    handed.newly_slow += 1;
                }
                Taking::BadPayload => handed.bad += 1,
            }
        }
        handed
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_topic.read().keys()).finish()
    }
}
