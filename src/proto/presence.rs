//! How often a peer's news of itself are told on.

use std::time::Duration;

use crate::{clock::Moment, wire::tags::Tags};

/// The shortest time between two that are: whoever changes its tags faster is heard to have changed
/// them to the last.
pub const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);

/// The latest that one peer said of itself, if it has not been told yet.
///
/// Every subscriber hears of every change, so a peer must not be able to make many of them.
#[derive(Debug, Default)]
pub struct Presence {
    /// When the next one may be told.
    next: Moment,
    /// Boxed, for it is rare.
    waiting: Option<Box<Tags>>,
}

impl Presence {
    /// The peer has said what its tags are now. They are returned if they can be told at once, and
    /// otherwise by [`tick`](Self::tick) unless newer ones come first.
    pub fn hear(&mut self, now: Moment, tags: Tags) -> Option<Tags> {
        self.waiting = Some(Box::new(tags));
        self.tick(now)
    }

    /// What is to be told now.
    pub fn tick(&mut self, now: Moment) -> Option<Tags> {
        if now < self.next {
            return None;
        }
        let tags = self.waiting.take()?;
        self.next = now + PRESENCE_INTERVAL;
        Some(*tags)
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.waiting.as_ref().map(|_| self.next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::after(Duration::from_millis(millis))
    }

    fn tags(n: u64) -> Tags {
        [("n".to_owned(), n.to_string())].into()
    }

    #[test]
    fn the_first_is_told_at_once_and_of_many_the_last_a_second_later() {
        let mut presence = Presence::default();
        assert_eq!(presence.hear(at(0), tags(1)), Some(tags(1)));
        assert_eq!(presence.deadline(), None);
        assert_eq!(presence.hear(at(10), tags(2)), None);
        assert_eq!(presence.hear(at(20), tags(3)), None);
        assert_eq!(presence.deadline(), Some(at(1000)));
        assert_eq!(presence.tick(at(999)), None);
        assert_eq!(presence.tick(at(1000)), Some(tags(3)));
        assert_eq!((presence.tick(at(5000)), presence.deadline()), (None, None));
    }

    proptest! {
        /// However fast they come, at most one a second is told, and in the end the last.
        #[test]
        fn the_last_is_always_told(pauses in proptest::collection::vec(0u64..1500, 1..50)) {
            let (mut presence, mut now, mut told) = (Presence::default(), 0, vec![]);
            for (n, pause) in (0..).zip(&pauses) {
                let until = now + pause;
                while let Some(due) = presence.deadline().filter(|due| *due <= at(until)) {
                    told.extend(presence.tick(due).map(|tags| (due, tags)));
                }
                now = until;
                told.extend(presence.hear(at(now), tags(n)).map(|tags| (at(now), tags)));
            }
            if let Some(due) = presence.deadline() {
                told.extend(presence.tick(due).map(|tags| (due, tags)));
            }
            let last = u64::try_from(pauses.len()).unwrap() - 1;
            prop_assert_eq!(&told.last().unwrap().1, &tags(last));
            prop_assert!(told.windows(2).all(|w| w[1].0.since(w[0].0) >= PRESENCE_INTERVAL));
        }
    }
}
