//! This node's own tags, which may change while it runs.

use parking_lot::RwLock;

use crate::{
    outbox::Outbox,
    wire::{
        Encoded,
        tags::{Tags, TagsError, check_tags},
    },
};

/// The node's tags, as its sessions say them. Changes are counted, so that a session whose hello said
/// older ones knows that it has to say the new ones.
///
/// What is said is queued while the lock is held: whatever the order of threads, no peer hears older
/// tags after newer ones.
#[derive(Debug)]
pub struct OwnTags {
    state: RwLock<State>,
    /// What of a hello's line they may fill.
    room: usize,
    /// What of it is filled with other texts at most.
    others: usize,
}

#[derive(Debug)]
struct State {
    tags: Tags,
    changes: u64,
}

impl OwnTags {
    /// No tags yet, of which so many bytes of JSON fit in a hello beside so many others.
    #[must_use]
    pub(super) const fn new(room: usize, others: usize) -> Self {
        Self { state: RwLock::new(State { tags: Tags::new(), changes: 0 }), room, others }
    }

    /// What they are.
    #[must_use]
    pub fn get(&self) -> Tags {
        self.state.read().tags.clone()
    }

    /// Changes them, and has the news told to all peers. The same as before are no change.
    ///
    /// # Errors
    /// They cannot be the node's, and why.
    pub fn set(&self, tags: Tags, tell_all: impl FnOnce(&Encoded)) -> Result<(), TagsError> {
        check_tags(&tags)?;
        if serde_json::to_vec(&tags).map_or(usize::MAX, |json| json.len()) > self.room {
            return Err(TagsError::TooLong(self.others));
        }
        let mut state = self.state.write();
        if state.tags != tags {
            state.tags = tags;
            state.changes += 1;
            tell_all(&Encoded::presence(&state.tags));
        }
        Ok(())
    }

    /// What they are, and after how many changes.
    pub(super) fn current(&self) -> (Tags, u64) {
        let state = self.state.read();
        (state.tags.clone(), state.changes)
    }

    /// Has a peer that was told the tags of an earlier change told the latest.
    pub(super) fn catch_up(&self, told: u64, outbox: &Outbox) {
        let state = self.state.read();
        if state.changes != told {
            outbox.push_latest(&Encoded::presence(&state.tags));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(value: &str) -> Tags {
        [("k".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn a_change_is_told_once_and_what_cannot_be_changes_nothing() {
        let own = OwnTags::new(20, 4000);
        let mut told = vec![];
        let mut set = |tags| own.set(tags, |news| told.push(news.bytes().clone()));
        assert_eq!(set(tags("v")), Ok(()));
        assert_eq!(set(tags("v")), Ok(()));
        assert_eq!(set(tags("")), Err(TagsError::BadText));
        assert_eq!(set(tags("this does not fit")), Err(TagsError::TooLong(4000)));
        assert_eq!(told, ["{\"msgtype\":\"presence\",\"tags\":{\"k\":\"v\"}}\n"]);
        assert_eq!(own.current(), (tags("v"), 1));
    }

    #[test]
    fn who_was_told_older_ones_is_told_the_latest() {
        let own = OwnTags::new(100, 0);
        let outbox = Outbox::new(4, 1000);
        let (_, told) = own.current();
        own.catch_up(told, &outbox);
        assert!(outbox.take(std::task::Waker::noop()).is_none());
        own.set(tags("v"), |_| {}).unwrap();
        own.catch_up(told, &outbox);
        assert!(outbox.take(std::task::Waker::noop()).is_some());
    }
}
