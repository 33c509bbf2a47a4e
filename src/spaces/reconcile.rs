//! Brings two nodes' records of one space together: what the asking side does.
//!
//! It asks for the sums of ranges, goes on where they differ from its own, lists what is in ranges of few
//! records, gets what the other has and it lacks, and offers what it has and the other lacks. The other
//! side only answers, and keeps nothing between two questions; what it is offered it gets itself.
//! So each record goes over once, in the direction in which it is missing.
//!
//! Invariants:
//! * R1: what is held is bounded: a path of ranges from the root down, and one page of listings.
//! * R2: each answer takes it further; one that would not is a [`Fault`].
//! * R3: of a key, only the record that the other side has the older one of is asked for or offered.

use super::{
    admission::{Rules, Standing},
    hlc::Hlc,
    record::KeyHash,
    summary::{DEEPEST, Node, PARTS, Sum},
};
use crate::clock::Moment;

/// The most ranges whose sums are asked for at once.
pub const MAX_NODES: usize = 512;

/// The most ranges whose listings are asked for at once.
pub const MAX_RANGES: usize = 1024;

/// The most records that are listed in one answer, and that are asked for or offered at once.
pub const MAX_ITEMS: usize = 2048;

/// The most records that may be asked for in vain, before the other side is not believed any more.
const MAX_IN_VAIN: usize = 16 * 1024;

/// Ranges with at most so many records on either side are listed, not divided.
const FEW: u32 = 8;

/// A record as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Where its key stands.
    pub hash: KeyHash,
    /// When it was made.
    pub time: Hlc,
    /// The first bytes of a hash of its digest and the number that was drawn: tells apart what was made at
    /// one time.
    pub tie: [u8; 4],
    /// Whether it is a deletion.
    pub is_deletion: bool,
}

/// A record of this node's as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnItem {
    /// The record.
    pub item: Item,
    /// Whether this node wrote it.
    pub is_own: bool,
}

/// What is told of the sum of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldSum {
    /// The first bytes of its [hash](Sum::hash): few, since what two sums that differ have in common by
    /// chance they have not the next time, when another number is drawn.
    pub hash: [u8; 4],
    /// How many records; [`u8::MAX`] for so many or more.
    pub count: u8,
}

impl ToldSum {
    /// What is told of a sum to whoever has drawn this number.
    #[must_use]
    pub fn of(sum: &Sum, drawn: u32) -> Self {
        let [a, b, c, d, ..] = sum.hash(u64::from(drawn));
        Self { hash: [a, b, c, d], count: u8::try_from(sum.count()).unwrap_or(u8::MAX) }
    }
}

/// What is left to list of a range: from a hash on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The range.
    pub node: Node,
    /// The first hash that is meant.
    pub from: KeyHash,
}

impl Range {
    /// All of it.
    #[must_use]
    pub fn whole(node: Node) -> Self {
        Self { node, from: node.bounds().0 }
    }

    /// Its last hash.
    #[must_use]
    pub fn last(&self) -> KeyHash {
        self.node.bounds().1
    }
}

/// What is in a range, in the order of the hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<I> {
    /// The records.
    pub items: Vec<I>,
    /// Whether these are all; if not, there are more behind the last.
    pub is_whole: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for the sums of the parts of these ranges, and hand them to [`Reconciler::sums`] with this
    /// node's own.
    Sums(Vec<Node>),
    /// Ask what is in these ranges, and hand it to [`Reconciler::items`] with this node's own.
    Items(Vec<Range>),
    /// Get these, take them, and tell [`Reconciler::got`].
    Get(Vec<Item>),
    /// Offer these.
    Offer(Vec<Item>),
    /// Forget these: they were deleted while this node was away.
    Forget(Vec<Item>),
    /// All is done.
    Done,
}

/// What the other side cannot have meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An answer is not to what was asked.
    #[error("the answer is not to the question")]
    Unasked,
    /// A listing is out of order, out of its range, or ends nowhere.
    #[error("the listing is out of order")]
    Disorder,
    /// It lists records that it does not hand out.
    #[error("it lists records that it does not have")]
    InVain,
}

/// Both sides' standings, and what follows from them.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// This node's.
    pub mine: Standing,
    /// The other's.
    pub theirs: Standing,
    /// The space's rules.
    pub rules: Rules,
    /// When it began.
    pub now: Moment,
}

/// One side's work to bring two nodes' records together.
#[derive(Debug)]
pub struct Reconciler {
    terms: Terms,
    /// Ranges that are to be divided, the deepest last.
    divide: Vec<Node>,
    /// Ranges that are to be listed.
    list: Vec<Range>,
    get: Vec<Item>,
    offer: Vec<Item>,
    forget: Vec<Item>,
    in_vain: usize,
}

impl Reconciler {
    /// Begins at the root.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            divide: vec![Node::ROOT],
            list: Vec::new(),
            get: Vec::new(),
            offer: Vec::new(),
            forget: Vec::new(),
            in_vain: 0,
        }
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        if !self.get.is_empty() {
            return Step::Get(front(&mut self.get, MAX_ITEMS));
        }
        if !self.forget.is_empty() {
            return Step::Forget(front(&mut self.forget, MAX_ITEMS));
        }
        if !self.offer.is_empty() {
            return Step::Offer(front(&mut self.offer, MAX_ITEMS));
        }
        // Listing first: so no more is held than what one path of ranges leads to.
        if self.list.len() >= MAX_RANGES || (self.divide.is_empty() && !self.list.is_empty()) {
            return Step::Items(back(&mut self.list, MAX_RANGES));
        }
        if !self.divide.is_empty() {
            // In order, so that the other side sees at once that none is asked for twice.
            let mut nodes = back(&mut self.divide, MAX_NODES);
            nodes.sort_unstable();
            return Step::Sums(nodes);
        }
        Step::Done
    }

    /// The sums of the parts of ranges, for each range in the order in which they were asked for.
    ///
    /// # Errors
    /// There are more or fewer than were asked for.
    pub fn sums(
        &mut self,
        asked: &[Node],
        mine: &[Vec<ToldSum>],
        theirs: &[Vec<ToldSum>],
    ) -> Result<(), Fault> {
        let is_each = |sums: &[Vec<ToldSum>]| {
            sums.len() == asked.len() && sums.iter().all(|parts| parts.len() == PARTS)
        };
        if !is_each(mine) || !is_each(theirs) {
            return Err(Fault::Unasked);
        }
        for (node, (mine, theirs)) in asked.iter().zip(mine.iter().zip(theirs)) {
            for (part, (mine, theirs)) in node.parts().zip(mine.iter().zip(theirs)) {
                if mine == theirs {
                    continue;
                }
                let fewer = u32::from(mine.count.min(theirs.count));
                if part.level() == DEEPEST || fewer <= FEW {
                    self.list.push(Range::whole(part));
                } else {
                    self.divide.push(part);
                }
            }
        }
        Ok(())
    }

    /// What is in ranges, for as many of those asked for as there was room for, in their order.
    ///
    /// # Errors
    /// The other side's listing cannot be one.
    pub fn items(
        &mut self,
        asked: &[Range],
        mine: &[Listing<OwnItem>],
        theirs: &[Listing<Item>],
    ) -> Result<(), Fault> {
        if theirs.is_empty() || mine.is_empty() || theirs.len() > asked.len() {
            return Err(Fault::Unasked);
        }
        // One is cut only where there was no more room: else it could go on for ever.
        let listed: usize = theirs.iter().map(|listing| listing.items.len()).sum();
        if listed < MAX_ITEMS && theirs.iter().any(|listing| !listing.is_whole) {
            return Err(Fault::Disorder);
        }
        let mut done = 0;
        for (range, (mine, theirs)) in asked.iter().zip(mine.iter().zip(theirs)) {
            self.compare(range, mine, theirs)?;
            done += 1;
        }
        // What there was no room for is asked for again.
        self.list.extend(asked.iter().skip(done));
        Ok(())
    }

    /// So many of the records that were to be got did not come.
    ///
    /// # Errors
    /// They are too many in all.
    pub fn got(&mut self, missing: usize) -> Result<(), Fault> {
        self.in_vain += missing;
        if self.in_vain > MAX_IN_VAIN { Err(Fault::InVain) } else { Ok(()) }
    }

    /// Compares what both have in a range, as far as both listings go.
    fn compare(
        &mut self,
        range: &Range,
        mine: &Listing<OwnItem>,
        theirs: &Listing<Item>,
    ) -> Result<(), Fault> {
        let end = |last: Option<KeyHash>, is_whole: bool| {
            if is_whole { Some(range.last()) } else { last }
        };
        let hashes: Vec<KeyHash> = theirs.items.iter().map(|item| item.hash).collect();
        let is_inside = hashes.iter().all(|hash| *hash >= range.from && *hash <= range.last());
        let is_sorted = hashes.is_sorted_by(|a, b| a < b);
        let Some(their_end) = end(hashes.last().copied(), theirs.is_whole) else {
            return Err(Fault::Disorder);
        };
        if !is_inside || !is_sorted {
            return Err(Fault::Disorder);
        }
        let my_end = end(mine.items.last().map(|own| own.item.hash), mine.is_whole);
        let end = my_end.map_or(their_end, |my_end| my_end.min(their_end));
        let mut theirs = theirs.items.iter().take_while(|item| item.hash <= end).peekable();
        for own in mine.items.iter().take_while(|own| own.item.hash <= end) {
            while let Some(other) = theirs.next_if(|other| other.hash < own.item.hash) {
                self.only_theirs(other);
            }
            match theirs.next_if(|other| other.hash == own.item.hash) {
                Some(other) => self.both(&own.item, other),
                None => self.only_mine(own),
            }
        }
        theirs.for_each(|other| self.only_theirs(other));
        if end < range.last() {
            let next = u128::from_be_bytes(end.0).saturating_add(1);
            self.list.push(Range { node: range.node, from: KeyHash(next.to_be_bytes()) });
        }
        Ok(())
    }

    fn both(&mut self, mine: &Item, theirs: &Item) {
        if theirs.time > mine.time {
            self.get_unless_over(theirs);
        } else if theirs.time < mine.time {
            self.offer_unless_over(mine);
        } else if theirs.tie != mine.tie {
            // Which one wins the ranks say, and those are not listed.
            self.get_unless_over(theirs);
            self.offer_unless_over(mine);
        }
    }

    fn only_theirs(&mut self, item: &Item) {
        let Terms { mine, theirs, .. } = self.terms;
        // Who was away too long may have what others have deleted, and is about to forget it.
        let is_dubious = matches!(theirs, Standing::Away(_)) && mine == Standing::InStep;
        if !(is_dubious && self.is_old(item.time)) {
            self.get_unless_over(item);
        }
    }

    fn only_mine(&mut self, own: &OwnItem) {
        let Terms { mine, theirs, .. } = self.terms;
        if let (Standing::Away(since), Standing::InStep) = (mine, theirs)
            && self.is_old(own.item.time)
        {
            // What this node itself has written since, nobody else can have had, nor deleted.
            if !(own.is_own && own.item.time > Hlc::at(since)) {
                self.forget.push(own.item);
                return;
            }
        }
        self.offer_unless_over(&own.item);
    }

    /// Whether a deletion of it could be forgotten by now.
    fn is_old(&self, time: Hlc) -> bool {
        self.terms.rules.is_expired(time, self.terms.now)
    }

    fn get_unless_over(&mut self, item: &Item) {
        if !self.is_over(item) {
            self.get.push(*item);
        }
    }

    fn offer_unless_over(&mut self, item: &Item) {
        if !self.is_over(item) {
            self.offer.push(*item);
        }
    }

    /// Whether it is a deletion that is to be forgotten on both sides.
    fn is_over(&self, item: &Item) -> bool {
        item.is_deletion && self.is_old(item.time)
    }
}

/// Takes up to so many off the front.
fn front<T>(from: &mut Vec<T>, most: usize) -> Vec<T> {
    let rest = from.split_off(most.min(from.len()));
    std::mem::replace(from, rest)
}

/// Takes up to so many off the back.
fn back<T>(from: &mut Vec<T>, most: usize) -> Vec<T> {
    from.split_off(from.len().saturating_sub(most))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
