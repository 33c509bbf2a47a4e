//! Which topics the node takes for those who listen, and for how long.
//!
//! Invariant T1: a topic is taken as long as somebody wants it: whoever subscribed to it and did not take
//! that back, or a listener that named it.

use std::collections::BTreeMap;

use crate::overlay::Topic;

/// The most topics at a time.
pub const MAX_TOPICS: usize = 256;

/// There are as many topics as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    is_kept: bool,
    listeners: usize,
}

/// The topics that are taken.
#[derive(Debug, Default)]
pub struct Topics {
    wanted: BTreeMap<Topic, Wanted>,
}

impl Topics {
    /// Takes a topic until it is taken back. Whether it was not kept before.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn keep(&mut self, topic: Topic) -> Result<bool, TooMany> {
        let wanted = self.place(topic)?;
        Ok(!std::mem::replace(&mut wanted.is_kept, true))
    }

    /// Takes that back. Whether it was kept.
    pub fn release(&mut self, topic: &Topic) -> bool {
        let Some(wanted) = self.wanted.get_mut(topic) else { return false };
        std::mem::replace(&mut wanted.is_kept, false)
    }

    /// One more listener names the topic.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn listen(&mut self, topic: Topic) -> Result<(), TooMany> {
        self.place(topic)?.listeners += 1;
        Ok(())
    }

    /// One of them is gone.
    pub fn leave(&mut self, topic: &Topic) {
        if let Some(wanted) = self.wanted.get_mut(topic) {
            wanted.listeners = wanted.listeners.saturating_sub(1);
        }
    }

    /// Whether somebody wants the topic.
    #[must_use]
    pub fn is_wanted(&self, topic: &Topic) -> bool {
        self.wanted.contains_key(topic)
    }

    /// Forgets a topic that nobody wants any more, and says so.
    pub fn drop_unwanted(&mut self, topic: &Topic) -> bool {
        let is_unwanted =
            self.wanted.get(topic).is_some_and(|wanted| !wanted.is_kept && wanted.listeners == 0);
        if is_unwanted {
            self.wanted.remove(topic);
        }
        is_unwanted
    }

    /// The topics, by name.
    pub fn names(&self) -> impl Iterator<Item = &Topic> {
        self.wanted.keys()
    }

    fn place(&mut self, topic: Topic) -> Result<&mut Wanted, TooMany> {
        if self.wanted.len() >= MAX_TOPICS && !self.wanted.contains_key(&topic) {
            return Err(TooMany);
        }
        Ok(self.wanted.entry(topic).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    #[test]
    fn a_topic_is_taken_as_long_as_somebody_wants_it() {
        let (mut topics, a) = (Topics::default(), topic("a"));
        assert_eq!(topics.keep(a.clone()), Ok(true));
        assert_eq!(topics.keep(a.clone()), Ok(false));
        topics.listen(a.clone()).unwrap();
        assert!(topics.release(&a) && !topics.release(&a));
        assert!(!topics.drop_unwanted(&a) && topics.is_wanted(&a));
        topics.leave(&a);
        assert!(topics.drop_unwanted(&a) && !topics.is_wanted(&a));
        assert!(!topics.drop_unwanted(&a));
    }

    #[test]
    fn there_are_no_more_than_there_is_room_for() {
        let mut topics = Topics::default();
        for n in 0..MAX_TOPICS {
            topics.listen(topic(&n.to_string())).unwrap();
        }
        assert_eq!(topics.keep(topic("one more")), Err(TooMany));
        assert_eq!(topics.keep(topic("7")), Ok(true));
        assert_eq!(topics.names().count(), MAX_TOPICS);
    }
}
