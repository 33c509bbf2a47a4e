//! Sums over the records of a space, by which two nodes find out where they differ without telling each
//! other all they have.
//!
//! A record stands where the hash of its key puts it. The hashes are cut into 16 ranges, each of these
//! into 16, and so on ([`Node`]); a range's sum is that of the digests of its records, as numbers of 256
//! bits, and how many those are. So a record that comes or goes changes one number on each level, and the
//! order of changes does not matter. This is range-based set reconciliation (Aljoscha Meyer, "Range-Based
//! Set Reconciliation", 2023) over ranges of key hashes.
//!
//! # Security
//! Who may write can find records whose digests add up to those of others (Wagner's generalised birthday,
//! 2002), and so have two sides take different sets *of its own records* for the same until one of them
//! changes. What travels of a sum is its hash with a number that the asking side has just drawn, so that
//! no hash can be prepared.

use sha2::{Digest as _, Sha256};

use super::record::{Digest, KeyHash};

/// On this level each range has one of 65,536 parts of the hashes, and is divided no further.
pub const DEEPEST: u8 = 4;

/// The parts of a range.
pub const PARTS: usize = 16;

/// A range of key hashes: those that begin with the first `level` hexadecimal digits of the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// How many digits are given: 0 (all hashes) to [`DEEPEST`].
    level: u8,
    /// The digits, as a number.
    prefix: u16,
}

impl Node {
    /// All hashes.
    pub const ROOT: Self = Self { level: 0, prefix: 0 };

    /// The range of this level with these digits, if there is one.
    #[must_use]
    pub fn new(level: u8, prefix: u16) -> Option<Self> {
        let is_one = level <= DEEPEST && u32::from(prefix) < 1 << (4 * u32::from(level));
        is_one.then_some(Self { level, prefix })
    }

    /// Its level.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its digits.
    #[must_use]
    pub const fn prefix(self) -> u16 {
        self.prefix
    }

    /// Its 16 parts; none on the deepest level.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        let Self { level, prefix } = self;
        let n = if level < DEEPEST { 16 } else { 0 };
        (0..n).map(move |digit| Self { level: level + 1, prefix: (prefix << 4) | digit })
    }

    /// The range of the deepest level that a hash stands in.
    #[must_use]
    pub const fn of(hash: KeyHash) -> Self {
        let [first, second, ..] = hash.0;
        Self { level: DEEPEST, prefix: u16::from_be_bytes([first, second]) }
    }

    /// Its first and its last hash.
    #[must_use]
    pub fn bounds(self) -> (KeyHash, KeyHash) {
        let bits = 4 * u32::from(DEEPEST - self.level);
        let first = u32::from(self.prefix) << bits;
        let last = first + (1 << bits) - 1;
        let bound = |head: u32, fill: u8| {
            let mut hash = [fill; 16];
            let [.., high, low] = head.to_be_bytes();
            if let Some(head) = hash.first_chunk_mut() {
                *head = [high, low];
            }
            KeyHash(hash)
        };
        (bound(first, 0), bound(last, 0xff))
    }

    /// Whether a hash stands in it.
    #[must_use]
    pub fn holds(self, hash: KeyHash) -> bool {
        let (first, last) = self.bounds();
        first <= hash && hash <= last
    }
}

/// The sum of some records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    high: u128,
    low: u128,
    count: u32,
}

impl Sum {
    /// How many records there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    const fn add(&mut self, digest: Digest) {
        let (high, low) = halves(digest);
        let (low, carry) = self.low.overflowing_add(low);
        self.low = low;
        self.high = self.high.wrapping_add(high).wrapping_add(carry as u128);
        self.count = self.count.wrapping_add(1);
    }

    const fn subtract(&mut self, digest: Digest) {
        let (high, low) = halves(digest);
        let (low, borrow) = self.low.overflowing_sub(low);
        self.low = low;
        self.high = self.high.wrapping_sub(high).wrapping_sub(borrow as u128);
        self.count = self.count.wrapping_sub(1);
    }

    /// What is told of it: 8 bytes that say the same only of the same sum, whatever number was drawn.
    #[must_use]
    pub fn hash(&self, drawn: u64) -> [u8; 8] {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(drawn.to_be_bytes())
            .chain_update(self.high.to_be_bytes())
            .chain_update(self.low.to_be_bytes())
            .chain_update(self.count.to_be_bytes())
            .finalize()
            .into();
        let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
        *first
    }
}

const fn halves(Digest(bytes): Digest) -> (u128, u128) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, tail @ ..] = bytes;
    let high = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
    (high, u128::from_be_bytes(tail))
}

/// The sums of all ranges of one space. A space of few records has few of them; at most they take some
/// 3 MiB, whatever the space holds.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The sums of each level, from the root on; those of a level that is not there are found in the
    /// records.
    levels: Vec<Vec<Sum>>,
}

/// So many records in each range of the deepest level are good; with more it is divided, if it can be.
const CROWD: u32 = 4;

impl Default for Summary {
    fn default() -> Self {
        Self::for_count(0)
    }
}

impl Summary {
    /// That of no records, with as many levels as are good for so many.
    #[must_use]
    pub fn for_count(count: u32) -> Self {
        let mut summary = Self { levels: vec![vec![Sum::default()]] };
        while summary.is_crowded(count) {
            let len = PARTS.pow(u32::try_from(summary.levels.len()).unwrap_or(0));
            summary.levels.push(vec![Sum::default(); len]);
        }
        summary
    }

    /// How many levels there are below the root.
    #[must_use]
    pub fn depth(&self) -> u8 {
        u8::try_from(self.levels.len().saturating_sub(1)).unwrap_or(DEEPEST)
    }

    /// Whether there are so many records by now that it should be made anew, with more levels.
    #[must_use]
    pub fn is_outgrown(&self) -> bool {
        // Not at each record around the limit.
        self.is_crowded(self.root().count() / 2)
    }

    fn is_crowded(&self, count: u32) -> bool {
        let depth = self.depth();
        depth < DEEPEST && count > CROWD << (4 * u32::from(depth))
    }

    /// A record has come.
    pub fn add(&mut self, hash: KeyHash, digest: Digest) {
        self.each(hash, |sum| sum.add(digest));
    }

    /// A record has gone.
    pub fn remove(&mut self, hash: KeyHash, digest: Digest) {
        self.each(hash, |sum| sum.subtract(digest));
    }

    fn each(&mut self, hash: KeyHash, change: impl Fn(&mut Sum)) {
        let leaf = usize::from(Node::of(hash).prefix);
        for (level, sums) in self.levels.iter_mut().enumerate() {
            let at = leaf >> (4 * (usize::from(DEEPEST) - level));
            if let Some(sum) = sums.get_mut(at) {
                change(sum);
            }
        }
    }

    /// The sum of everything.
    #[must_use]
    pub fn root(&self) -> Sum {
        self.get(Node::ROOT).unwrap_or_default()
    }

    /// The sum of a range, unless it is on a level that is not there.
    #[must_use]
    pub fn get(&self, node: Node) -> Option<Sum> {
        self.levels.get(usize::from(node.level))?.get(usize::from(node.prefix)).copied()
    }
}

/// The sums of a range's parts, from the records in it.
pub fn sums_of_parts(node: Node, records: impl Iterator<Item = (KeyHash, Digest)>) -> Vec<Sum> {
    let parts: Vec<Node> = node.parts().collect();
    let mut sums = vec![Sum::default(); parts.len()];
    for (hash, digest) in records {
        let at = parts.iter().position(|part| part.holds(hash));
        if let Some(sum) = at.and_then(|at| sums.get_mut(at)) {
            sum.add(digest);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(n: u8) -> Digest {
        Digest(Sha256::digest([n]).into())
    }

    #[test]
    fn ranges_are_parts_of_each_other() {
        assert_eq!(Node::ROOT.bounds(), (KeyHash([0; 16]), KeyHash([0xff; 16])));
        let part = Node::ROOT.parts().nth(0xa).unwrap().parts().nth(0x3).unwrap();
        assert_eq!(Some(part), Node::new(2, 0xa3));
        let (first, last) = part.bounds();
        assert_eq!(
            (first.0[..2].to_vec(), last.0[..2].to_vec()),
            (vec![0xa3, 0], vec![0xa3, 0xff])
        );
        assert_eq!(Node::new(4, 0xa3f7).unwrap().parts().count(), 0);
        assert!(
            Node::new(5, 0).is_none() && Node::new(2, 256).is_none() && Node::new(0, 1).is_none()
        );
        assert!(Node::new(4, u16::MAX).is_some());
    }

    #[test]
    fn it_has_as_many_levels_as_are_good() {
        let depth = |count| Summary::for_count(count).depth();
        assert_eq!(
            [0, 4, 5, 64, 65, 1025, 16_385, 10_000_000].map(depth),
            [0, 0, 1, 1, 2, 3, 4, 4]
        );
        let mut summary = Summary::for_count(0);
        for n in 0..20 {
            assert_eq!(summary.is_outgrown(), n >= 10, "{n}");
            summary.add(KeyHash([n; 16]), digest(n));
        }
    }

    #[test]
    fn a_hash_says_nothing_without_the_number_that_was_drawn() {
        let mut sum = Sum::default();
        sum.add(digest(1));
        assert_eq!(sum.hash(7), sum.hash(7));
        assert_ne!(sum.hash(7), sum.hash(8));
        assert_ne!(sum.hash(7), Sum::default().hash(7));
    }

    proptest! {
        #[test]
        fn the_order_of_changes_does_not_matter_and_what_goes_leaves_nothing(
            records in proptest::collection::vec((any::<[u8; 16]>(), any::<u8>()), 1..60),
            gone in 0usize..60,
        ) {
            let records: Vec<_> =
                records.into_iter().map(|(hash, n)| (KeyHash(hash), digest(n))).collect();
            let (gone, left) = records.split_at(gone.min(records.len()));
            let mut one = Summary::for_count(100);
            records.iter().for_each(|(hash, digest)| one.add(*hash, *digest));
            gone.iter().for_each(|(hash, digest)| one.remove(*hash, *digest));
            let mut other = Summary::for_count(100);
            left.iter().rev().for_each(|(hash, digest)| other.add(*hash, *digest));
            prop_assert_eq!(&one.levels, &other.levels);
            prop_assert_eq!(one.root().count(), u32::try_from(left.len()).unwrap());
            let node = Node::new(1, 3).unwrap();
            let parts: Vec<_> = node.parts().map(|part| one.get(part).unwrap()).collect();
            let inside = left.iter().copied().filter(|(hash, _)| node.holds(*hash));
            prop_assert_eq!(parts, sums_of_parts(node, inside));
        }
    }
}
