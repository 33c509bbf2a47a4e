//! What a space is called, and who may write to it.

use std::{collections::BTreeSet, fmt, str::FromStr};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::record::half;
use crate::ids::NodeId;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// The most writers that a space can name.
pub const MAX_WRITERS: usize = 256;

const LABEL: &[u8] = b"peerage/1 space\0";

/// A space's name: 1 to 64 bytes without control characters or a slash, so that it can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceName(Box<str>);

/// What cannot name a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpecError {
    /// It is empty, longer than 64 bytes, or has control characters or a slash.
    #[error("a space's name has 1 to 64 bytes, no control characters and no slash")]
    Name,
    /// It names more writers than there may be.
    #[error("a space names at most {MAX_WRITERS} writers")]
    TooManyWriters,
    /// A writer's id does not follow from a key, so that nobody could tell what it wrote.
    #[error("a writer needs an id that follows from a key (of version 8): {0} does not")]
    UnprovenWriter(NodeId),
}

impl SpaceName {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpaceName {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        let is_bad = |c: char| c.is_control() || c == '/';
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(is_bad) {
            return Err(SpecError::Name);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A space: its name, and who may write to it.
///
/// The writers are a part of what the space is: a space of the same name with other writers is another
/// space ([`SpaceId`]), so that no node can be talked into taking other writers' records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceSpec {
    name: SpaceName,
    writers: BTreeSet<NodeId>,
}

impl SpaceSpec {
    /// A space that everybody may write to.
    ///
    /// # Errors
    /// This cannot be a name.
    pub fn open(name: &str) -> Result<Self, SpecError> {
        Ok(Self { name: name.parse()?, writers: BTreeSet::new() })
    }

    /// A space that only these may write to; with none it is open.
    ///
    /// # Errors
    /// This cannot be a name, or these cannot be its writers.
    pub fn with_writers(
        name: &str,
        writers: impl IntoIterator<Item = NodeId>,
    ) -> Result<Self, SpecError> {
        let writers: BTreeSet<NodeId> = writers.into_iter().collect();
        if writers.len() > MAX_WRITERS {
            return Err(SpecError::TooManyWriters);
        }
        if let Some(id) = writers.iter().find(|id| !id.is_self_certifying()) {
            return Err(SpecError::UnprovenWriter(*id));
        }
        Ok(Self { name: name.parse()?, writers })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &SpaceName {
        &self.name
    }

    /// Who may write to it; empty if everybody may.
    #[must_use]
    pub const fn writers(&self) -> &BTreeSet<NodeId> {
        &self.writers
    }

    /// Whether this node may write to it.
    #[must_use]
    pub fn may_write(&self, id: NodeId) -> bool {
        self.writers.is_empty() || self.writers.contains(&id)
    }

    /// Its id: the first half of a SHA-256 over its name and its writers.
    #[must_use]
    pub fn id(&self) -> SpaceId {
        let mut hash = Sha256::new();
        hash.update(LABEL);
        // A name has at most 64 bytes.
        hash.update([u8::try_from(self.name.0.len()).unwrap_or(u8::MAX)]);
        hash.update(self.name.0.as_bytes());
        for writer in &self.writers {
            hash.update(writer.as_u128().to_be_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        SpaceId(half(&hash))
    }
}

/// Which space it is, on all nodes: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId([u8; 16]);

impl SpaceId {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpaceId({self})")
    }
}

impl FromStr for SpaceId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl serde::Serialize for SpaceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SpaceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::identity::NodeKey;

    fn proven(seed: u64) -> NodeId {
        NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(seed)).node_id()
    }

    #[test]
    fn the_writers_are_a_part_of_what_a_space_is() {
        let open = SpaceSpec::open("notes").unwrap();
        let [a, b] = [proven(1), proven(2)];
        let one = SpaceSpec::with_writers("notes", [a]).unwrap();
        let both = SpaceSpec::with_writers("notes", [a, b]).unwrap();
        assert_eq!(both.id(), SpaceSpec::with_writers("notes", [b, a, b]).unwrap().id());
        assert_eq!(open.id(), SpaceSpec::with_writers("notes", []).unwrap().id());
        let ids: BTreeSet<_> = [open.id(), one.id(), both.id()].into();
        assert_eq!(ids.len(), 3);
        assert!(open.may_write(b) && one.may_write(a) && !one.may_write(b));
        assert_eq!(open.id().to_string().parse::<SpaceId>(), Ok(open.id()));
    }

    #[test]
    fn what_cannot_be_a_space_is_refused() {
        for name in ["", "a/b", "line\n", &"x".repeat(65)] {
            assert_eq!(SpaceSpec::open(name), Err(SpecError::Name), "{name:?}");
        }
        let unproven = NodeId::random(&mut ChaCha8Rng::seed_from_u64(3));
        let refused = SpaceSpec::with_writers("a", [unproven]);
        assert_eq!(refused, Err(SpecError::UnprovenWriter(unproven)));
        let many = (0..257).map(proven);
        assert_eq!(SpaceSpec::with_writers("a", many), Err(SpecError::TooManyWriters));
    }
}
