//! Which records are taken, and why others are not.

use std::{collections::BTreeSet, time::Duration};

use thiserror::Error;

use super::{
    hlc::Hlc,
    name::SpaceSpec,
    record::{Rank, RecordError},
};
use crate::{clock::Moment, ids::NodeId};

/// How much there may be of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Records, deletions that are still kept included.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Amount {
    /// One record of so many bytes.
    #[must_use]
    pub const fn one(bytes: u64) -> Self {
        Self { records: 1, bytes }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What is left without the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_sub(other.records),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    const fn is_within(self, quota: Self) -> bool {
        self.records <= quota.records && self.bytes <= quota.bytes
    }

    /// A quarter more.
    const fn stretched(self) -> Self {
        let Self { records, bytes } = self;
        Self {
            records: records.saturating_add(records / 4),
            bytes: bytes.saturating_add(bytes / 4),
        }
    }
}

/// What a space may hold, and for how long it keeps deletions. All nodes of a space should have the same.
///
/// What others have written is taken up to a quarter beyond the quotas: writers who each saw room for
/// theirs at the same time would otherwise leave nodes with different records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What a space may hold.
    pub per_space: Amount,
    /// What one writer may have in it.
    pub per_writer: Amount,
    /// For how long a deletion is kept, so that those who were away hear of it.
    pub keep_deletions: Duration,
}

impl Default for Rules {
    /// 1,000,000 records and 1 GiB a space, half of that a writer; deletions are kept for 30 days.
    fn default() -> Self {
        Self {
            per_space: Amount { records: 1_000_000, bytes: 1 << 30 },
            per_writer: Amount { records: 500_000, bytes: 1 << 29 },
            keep_deletions: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is none.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It was made further ahead of this node's clock than two clocks may be apart.
    #[error(
        "the record was made more than five minutes ahead of this node's clock: one of the clocks is wrong"
    )]
    Future,
    /// The space names who may write to it, and this is somebody else.
    #[error("the space names who may write to it, and this writer is not among them")]
    NotAWriter,
    /// The space has no room.
    #[error("the space is full")]
    SpaceFull,
    /// The writer has used up its share.
    #[error("the writer has as much in the space as one may have")]
    WriterFull,
    /// It is a deletion that is older than deletions are kept.
    #[error("the deletion is older than deletions are kept")]
    Expired,
}

impl Refusal {
    /// Whether no node that keeps to the rules has such a record.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Record(_) | Self::NotAWriter)
    }

    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Record(error) => error.code(),
            Self::Future => "future",
            Self::NotAWriter => "not-a-writer",
            Self::SpaceFull => "space-full",
            Self::WriterFull => "writer-full",
            Self::Expired => "expired",
        }
    }
}

/// Whether a record is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It replaces what there is.
    Take,
    /// What there is, is the same or later.
    Old,
    /// It is not taken.
    Refuse(Refusal),
}

/// A record that has come, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its place among the records of its key.
    pub rank: Rank,
    /// Whether it is a deletion.
    pub is_deletion: bool,
    /// What it counts for.
    pub bytes: u64,
    /// Whether this node has just written it itself.
    pub is_own: bool,
}

/// What there is already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Present {
    /// The record of that key, and the bytes that it counts for.
    pub record: Option<(Rank, u64)>,
    /// What the space holds.
    pub space: Amount,
    /// What the candidate's writer has in it.
    pub writer: Amount,
}

impl Rules {
    /// Whether a record is taken. That its signature fits is seen to before.
    #[must_use]
    pub fn judge(&self, spec: &SpaceSpec, it: Candidate, there: &Present, now: Moment) -> Verdict {
        if !spec.may_write(it.rank.writer) {
            return Verdict::Refuse(Refusal::NotAWriter);
        }
        // What this node has just written it has written now, whatever its clock is taken to say.
        if !it.is_own && it.rank.time.is_ahead(now) {
            return Verdict::Refuse(Refusal::Future);
        }
        if there.record.is_some_and(|(rank, _)| rank >= it.rank) {
            return Verdict::Old;
        }
        if it.is_deletion && self.is_expired(it.rank.time, now) {
            return Verdict::Refuse(Refusal::Expired);
        }
        let (space, writer) = there.without(it.rank.writer);
        let more = Amount::one(it.bytes);
        let stretch = |quota: Amount| if it.is_own { quota } else { quota.stretched() };
        // A deletion makes room, so that a full space can be emptied.
        let makes_room = it.is_deletion && there.record.is_some();
        if !makes_room && !writer.plus(more).is_within(stretch(self.per_writer)) {
            return Verdict::Refuse(Refusal::WriterFull);
        }
        if !makes_room && !space.plus(more).is_within(stretch(self.per_space)) {
            return Verdict::Refuse(Refusal::SpaceFull);
        }
        Verdict::Take
    }

    /// Whether a deletion, or a word of somebody who was away, is older than deletions are kept.
    #[must_use]
    pub fn is_expired(&self, time: Hlc, now: Moment) -> bool {
        now.since(time.moment()) > self.keep_deletions
    }
}

impl Present {
    /// What there would be without the record that is to be replaced: in all, and of a writer.
    fn without(&self, writer: NodeId) -> (Amount, Amount) {
        match self.record {
            None => (self.space, self.writer),
            Some((rank, bytes)) => {
                let gone = Amount::one(bytes);
                let of_writer =
                    if rank.writer == writer { self.writer.minus(gone) } else { self.writer };
                (self.space.minus(gone), of_writer)
            }
        }
    }
}

/// How a node stands to the others of a space: when it last had all that another had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It never had. What it has, nobody can have deleted.
    New,
    /// Within the time that deletions are kept: what others lack of it they have not seen yet.
    InStep,
    /// Longer ago than that: what others lack of it may have been deleted meanwhile.
    Away(Moment),
}

impl Standing {
    /// The standing of a node that was in step then.
    #[must_use]
    pub fn of(in_step: Option<Moment>, rules: &Rules, now: Moment) -> Self {
        match in_step {
            None => Self::New,
            Some(then) if now.since(then) > rules.keep_deletions => Self::Away(then),
            Some(_) => Self::InStep,
        }
    }
}

/// The writers of a space as bytes, and back.
pub(super) fn pack_ids(ids: &BTreeSet<NodeId>) -> Vec<u8> {
    ids.iter().flat_map(|id| id.as_u128().to_be_bytes()).collect()
}

/// Undoes [`pack_ids`].
pub(super) fn unpack_ids(bytes: &[u8]) -> Option<BTreeSet<NodeId>> {
    let (ids, rest) = bytes.as_chunks::<16>();
    rest.is_empty()
        .then(|| ids.iter().map(|id| NodeId::from_u128(u128::from_be_bytes(*id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spaces::record::Digest;

    const MINUTE: Duration = Duration::from_secs(60);

    fn now() -> Moment {
        Moment::after(Duration::from_secs(100 * 24 * 3600))
    }

    fn rank(time: Moment, writer: u128) -> Rank {
        Rank { time: Hlc::at(time), writer: NodeId::from_u128(writer), digest: Digest([1; 32]) }
    }

    fn value(time: Moment, writer: u128) -> Candidate {
        Candidate { rank: rank(time, writer), is_deletion: false, bytes: 10, is_own: false }
    }

    fn judge(it: Candidate, there: Present) -> Verdict {
        let quota = |records| Amount { records, bytes: 1000 };
        let rules = Rules { per_space: quota(8), per_writer: quota(4), ..Rules::default() };
        rules.judge(&SpaceSpec::open("a").unwrap(), it, &there, now())
    }

    fn there(time: Moment, writer: u128) -> Present {
        Present { record: Some((rank(time, writer), 10)), ..Present::default() }
    }

    #[test]
    fn the_later_wins_and_ties_go_to_the_higher_id_and_then_the_higher_digest() {
        let (old, new) = (now(), now() + MINUTE);
        assert_eq!(judge(value(new, 1), there(old, 2)), Verdict::Take);
        assert_eq!(judge(value(old, 2), there(new, 1)), Verdict::Old);
        assert_eq!(judge(value(old, 2), there(old, 1)), Verdict::Take);
        assert_eq!(judge(value(old, 1), there(old, 2)), Verdict::Old);
        assert_eq!(judge(value(old, 1), there(old, 1)), Verdict::Old);
        let mut other = value(old, 1);
        other.rank.digest = Digest([2; 32]);
        assert_eq!(judge(other, there(old, 1)), Verdict::Take);
    }

    #[test]
    fn what_is_ahead_of_the_clock_is_refused() {
        assert_eq!(judge(value(now() + 5 * MINUTE, 1), Present::default()), Verdict::Take);
        let ahead = value(now() + 6 * MINUTE, 1);
        assert_eq!(judge(ahead, Present::default()), Verdict::Refuse(Refusal::Future));
    }

    #[test]
    fn quotas_hold_with_a_quarter_more_for_what_others_wrote() {
        let mut it = value(now(), 1);
        let amount = |records| Amount { records, bytes: 0 };
        let full = Present { writer: amount(4), ..Present::default() };
        assert_eq!(judge(it, full), Verdict::Take);
        it.is_own = true;
        assert_eq!(judge(it, full), Verdict::Refuse(Refusal::WriterFull));
        let full = Present { space: amount(8), ..Present::default() };
        assert_eq!(judge(it, full), Verdict::Refuse(Refusal::SpaceFull));
        it.is_own = false;
        assert_eq!(judge(it, full), Verdict::Take);
        let full = Present { space: amount(10), ..Present::default() };
        assert_eq!(judge(it, full), Verdict::Refuse(Refusal::SpaceFull));
        // What it replaces makes room for it, and a deletion is always welcome.
        let replaced = Present { space: amount(10), ..there(Moment::ZERO, 1) };
        assert_eq!(judge(it, replaced), Verdict::Take);
        let full = Present { space: amount(99), ..there(Moment::ZERO, 1) };
        it.is_deletion = true;
        assert_eq!(judge(it, full), Verdict::Take);
        assert_eq!(judge(Candidate { bytes: 1 << 20, ..it }, full), Verdict::Take);
    }

    #[test]
    fn others_than_the_named_write_nothing_and_old_deletions_are_over() {
        let key = crate::identity::PublicKey::from_bytes([7; 32]);
        let spec = SpaceSpec::with_writers("a", [key.node_id()]).unwrap();
        let verdict = Rules::default().judge(&spec, value(now(), 1), &Present::default(), now());
        assert_eq!(verdict, Verdict::Refuse(Refusal::NotAWriter));
        let mut gone = value(Moment::ZERO, 1);
        assert_eq!(judge(gone, Present::default()), Verdict::Take);
        gone.is_deletion = true;
        assert_eq!(judge(gone, Present::default()), Verdict::Refuse(Refusal::Expired));
    }

    #[test]
    fn who_was_away_for_longer_than_deletions_are_kept_knows_it() {
        let rules = Rules::default();
        let of = |then| Standing::of(then, &rules, now());
        let long_ago = now().as_nanos() - rules.keep_deletions.as_nanos() as u64;
        let long_ago = Moment::from_nanos(long_ago);
        assert_eq!(of(None), Standing::New);
        assert_eq!(of(Some(long_ago)), Standing::InStep);
        let longer = Moment::from_nanos(long_ago.as_nanos() - 1);
        assert_eq!(of(Some(longer)), Standing::Away(longer));
    }

    #[test]
    fn ids_are_read_as_they_were_packed() {
        let ids: BTreeSet<_> = [3, 1, 2].map(NodeId::from_u128).into();
        assert_eq!(unpack_ids(&pack_ids(&ids)), Some(ids));
        assert_eq!(unpack_ids(&[0; 15]), None);
    }
}
