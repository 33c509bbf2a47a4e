//! Who is worked for: of each session one thing after another, whatever others want meanwhile.

use std::collections::{BTreeMap, VecDeque};

/// What waits, by session.
///
/// Invariants: of one session only one piece of work is under way; its things come in the order in which
/// they were added, each once. A session of which nothing waits and for which nobody works takes no room.
///
/// How much waits is bounded by what the sessions may have in work ([`SessionConfig::undelivered_bytes`]).
///
/// [`SessionConfig::undelivered_bytes`]: crate::config::SessionConfig::undelivered_bytes
#[derive(Debug)]
pub(super) struct Turns<S, J> {
    /// Of each session that is worked for.
    waiting: BTreeMap<S, VecDeque<J>>,
}

impl<S: Ord + Copy, J> Turns<S, J> {
    /// Nobody wants anything.
    pub(super) const fn new() -> Self {
        Self { waiting: BTreeMap::new() }
    }

    /// A session wants something. Whether nobody works for it yet: then [`next`](Self::next) says what is
    /// to be done.
    pub(super) fn add(&mut self, session: S, job: J) -> bool {
        let is_first = !self.waiting.contains_key(&session);
        self.waiting.entry(session).or_default().push_back(job);
        is_first
    }

    /// What is to be done next for a session, now that what was to be done before is done: the first
    /// thing, with those right behind it that go with it, so many at most. Nothing if all is done.
    pub(super) fn next(
        &mut self,
        session: S,
        most: usize,
        goes_with: impl Fn(&J, &J) -> bool,
    ) -> Vec<J> {
        let mut work = Vec::new();
        let Some(waiting) = self.waiting.get_mut(&session) else { return work };
        while let Some(job) = waiting.pop_front() {
            if work.first().is_some_and(|first| work.len() >= most || !goes_with(first, &job)) {
                waiting.push_front(job);
                break;
            }
            work.push(job);
        }
        if work.is_empty() {
            self.waiting.remove(&session);
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn things_that_go_together_are_done_together() {
        let mut turns = Turns::new();
        assert!(turns.add(1, 'a'));
        for job in ['a', 'b', 'b', 'b', 'a'] {
            assert!(!turns.add(1, job));
        }
        assert!(turns.add(2, 'c'));
        let mut next =
            |session| turns.next(session, 2, |a, b| a == b).into_iter().collect::<String>();
        assert_eq!([next(1), next(1), next(2), next(1), next(1)], ["aa", "bb", "c", "b", "a"]);
        assert_eq!([next(1), next(2), next(3)], ["", "", ""]);
        assert!(turns.waiting.is_empty());
        assert!(turns.add(1, 'd'));
    }

    proptest! {
        #[test]
        fn each_is_done_once_in_order_and_one_at_a_time(
            steps in proptest::collection::vec((0u8..3, any::<bool>()), 1..200),
            most in 1usize..5,
        ) {
            let (mut turns, mut under_way) = (Turns::new(), [false; 3]);
            let (mut added, mut done) = ([0; 3], [0; 3]);
            let mut work = |turns: &mut Turns<u8, i32>, session: u8| {
                let jobs = turns.next(session, most, |a, b| a / 3 == b / 3);
                assert!(jobs.len() <= most);
                for job in &jobs {
                    assert_eq!(*job, done[usize::from(session)]);
                    done[usize::from(session)] += 1;
                }
                !jobs.is_empty()
            };
            for (session, is_add) in steps {
                let at = usize::from(session);
                if is_add {
                    let begins = turns.add(session, added[at]);
                    added[at] += 1;
                    prop_assert_eq!(begins, !under_way[at]);
                    if begins {
                        under_way[at] = work(&mut turns, session);
                        prop_assert!(under_way[at]);
                    }
                } else if under_way[at] {
                    under_way[at] = work(&mut turns, session);
                }
            }
            for session in 0..3 {
                while work(&mut turns, session) {}
            }
            prop_assert_eq!(added, done);
            prop_assert!(turns.waiting.is_empty());
        }
    }
}
