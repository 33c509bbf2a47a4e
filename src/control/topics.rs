//! Which topics the node takes for those who listen, and for how long.
//!
//! Invariants:
//! * T1: a topic is taken as long as somebody wants it: whoever subscribed to it and did not take that back,
//!   or a listener that named it; after its last listener a while longer.
//! * T2: there are no more than [`MAX_TOPICS`], however often listeners come and go.

use std::{collections::BTreeMap, time::Duration};

use crate::{clock::Moment, overlay::Topic};

/// The most topics at a time.
pub const MAX_TOPICS: usize = 256;

/// How long a topic is taken after its last listener has gone: it may come back.
pub const LINGER: Duration = Duration::from_secs(60);

/// There are as many topics as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    is_kept: bool,
    listeners: usize,
    /// Until when it is taken for listeners that are gone.
    lingers_until: Moment,
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
    pub fn leave(&mut self, now: Moment, topic: &Topic) {
        if let Some(wanted) = self.wanted.get_mut(topic) {
            wanted.listeners = wanted.listeners.saturating_sub(1);
            wanted.lingers_until = now + LINGER;
        }
    }

    /// Whether the topic is taken.
    #[must_use]
    pub fn is_taken(&self, topic: &Topic) -> bool {
        self.wanted.contains_key(topic)
    }

    /// Forgets a topic that the node could not take.
    pub fn forget(&mut self, topic: &Topic) {
        self.wanted.remove(topic);
    }

    /// Forgets the topics that nobody wants any more.
    #[must_use = "the node still takes them"]
    pub fn drop_unwanted(&mut self, now: Moment) -> Vec<Topic> {
        let is_unwanted = |_: &Topic, wanted: &mut Wanted| {
            !wanted.is_kept && wanted.listeners == 0 && wanted.lingers_until <= now
        };
        self.wanted.extract_if(.., is_unwanted).map(|(topic, _)| topic).collect()
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

    const NOW: Moment = Moment::ZERO;

    #[test]
    fn a_topic_is_taken_until_that_is_taken_back() {
        let (mut topics, a) = (Topics::default(), topic("a"));
        assert_eq!(topics.keep(a.clone()), Ok(true));
        assert_eq!(topics.keep(a.clone()), Ok(false));
        assert!(topics.drop_unwanted(NOW).is_empty());
        assert!(topics.release(&a) && !topics.release(&a));
        assert_eq!(topics.drop_unwanted(NOW), std::slice::from_ref(&a));
        assert!(!topics.is_taken(&a) && topics.drop_unwanted(NOW).is_empty());
    }

    #[test]
    fn a_topic_is_taken_as_long_as_somebody_listens_and_a_while_longer() {
        let (mut topics, a) = (Topics::default(), topic("a"));
        topics.listen(a.clone()).unwrap();
        topics.listen(a.clone()).unwrap();
        assert_eq!(topics.keep(a.clone()), Ok(true));
        topics.leave(NOW, &a);
        assert!(topics.release(&a));
        assert!(topics.drop_unwanted(NOW + 2 * LINGER).is_empty(), "one still listens");
        topics.leave(NOW + LINGER, &a);
        let almost = NOW + (2 * LINGER - Duration::from_nanos(1));
        assert!(topics.drop_unwanted(almost).is_empty());
        // One that comes back takes it on.
        topics.listen(a.clone()).unwrap();
        assert!(topics.drop_unwanted(NOW + 3 * LINGER).is_empty());
        topics.leave(NOW + 3 * LINGER, &a);
        assert_eq!(topics.drop_unwanted(NOW + 4 * LINGER), [a]);
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
