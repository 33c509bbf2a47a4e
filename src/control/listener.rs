//! One that listens to events, at its own pace.

use std::{collections::BTreeSet, sync::Arc};

use actix::Addr;
use tokio::sync::watch;

use super::{
    hub::{Feed, Held, Hub, Listen, Seat},
    model::{ApiError, Event, Missed},
    ring::Told,
};
use crate::overlay::Topic;

/// The event that can be answered.
const INQUIRY: &str = "inquiry";

/// What a listener wants to hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Events of these names; of all if there are none.
    pub(super) names: BTreeSet<String>,
    /// Of what is published, only these topics; all that are taken if there are none.
    pub(super) topics: BTreeSet<Topic>,
}

impl Wish {
    fn includes(&self, name: &str, topic: Option<&str>) -> bool {
        let is_named = self.names.is_empty() || self.names.contains(name);
        let is_wanted = |topic: &str| self.topics.iter().any(|wanted| wanted.name() == topic);
        is_named && (self.topics.is_empty() || topic.is_some_and(is_wanted))
    }
}

/// What a listener hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// The number to come back with.
    pub(super) number: u64,
    /// The event.
    pub(super) told: Arc<Told>,
}

/// Hears events from some number on.
pub(super) struct Listener {
    feed: Arc<Feed>,
    is_over: watch::Receiver<bool>,
    seen: u64,
    wish: Wish,
    _seat: Seat,
    hub: Addr<Hub>,
    held: Vec<Held>,
}

impl Listener {
    /// Listens to what comes after a number; from now on if there is none.
    pub(super) async fn new(
        feed: &Arc<Feed>,
        hub: &Addr<Hub>,
        wish: Wish,
        seen: Option<u64>,
    ) -> Result<Self, ApiError> {
        let seat = Seat::take(feed, wish.includes(INQUIRY, None))?;
        // Before the topics are taken, so that nothing of them is passed over.
        let (is_over, seen) = (feed.watch(), seen.unwrap_or_else(|| feed.last()));
        let topics = wish.topics.clone();
        let (feed, hub, held) = (feed.clone(), hub.clone(), Vec::new());
        let mut listener = Self { feed, is_over, seen, wish, _seat: seat, hub, held };
        for topic in topics {
            listener.take(topic).await?;
        }
        Ok(listener)
    }

    /// Has a topic taken as long as it listens, and a while longer. It is no wish: what else it hears stays
    /// as it is.
    pub(super) async fn take(&mut self, topic: Topic) -> Result<(), ApiError> {
        let held = self.hub.send(Listen(topic)).await.map_err(super::gone)?;
        self.held.push(held?);
        Ok(())
    }

    /// The number of the last event that it went past.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    /// The next event that it wishes to hear, or a gap; `None` when no more will come.
    pub(super) async fn next(&mut self) -> Option<Next> {
        loop {
            // Before the look, so that what comes in between is not slept through.
            let is_over = *self.is_over.borrow_and_update();
            let after = self.feed.after(self.seen);
            if after.missed > 0 {
                self.seen += after.missed;
                return gap(self.seen, Some(after.missed));
            }
            match after.event {
                Some((number, told)) => {
                    self.seen = number;
                    if self.wish.includes(told.name, told.topic.as_deref()) {
                        return Some(Next { number, told });
                    }
                }
                None if is_over => return None,
                None => self.is_over.changed().await.ok()?,
            }
        }
    }
}

/// The word of a gap before a number.
pub(super) fn gap(number: u64, count: Option<u64>) -> Option<Next> {
    let event = Event::Missed(Missed { count });
    let json = serde_json::to_string(&event).ok()?.into();
    let told = Told { name: event.name(), topic: None, json };
    Some(Next { number, told: Arc::new(told) })
}
