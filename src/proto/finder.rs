//! Extensions that find addresses: what they are called, and what they say.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

use crate::{address::HostPort, ids::NodeId};

/// The longest name, in bytes.
pub const MAX_FINDER: usize = 16;

/// What other sources of addresses are called.
const TAKEN: [&str; 4] = ["bootstrap", "manual", "declared", "told"];

/// Who found an address by other means than a peer's word: the name of an extension, such as `lan`.
/// What is found is hearsay as any other, and is counted by its finder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finder([u8; MAX_FINDER]);

/// What a finder has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// An address at which there may be a node.
    pub addr: HostPort,
    /// Which node, if that is said. It is believed when it has proven itself there.
    pub id: Option<NodeId>,
    /// Who said so, if it came from one place: somebody on the public network can know nothing of
    /// private addresses, and all from one network share a part of the book.
    pub from: Option<IpAddr>,
}

/// A text that cannot be the name of a finder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a finder has 1 to 16 bytes of a-z, 0-9 and -, and none of the book's own names")]
pub struct FinderError;

impl Finder {
    /// The finder of this name.
    ///
    /// # Errors
    /// It does not have 1 to 16 bytes of `a-z`, `0-9` and `-`, or is what another source is called
    /// (`bootstrap`, `manual`, `declared`, `told`).
    pub fn new(name: &str) -> Result<Self, FinderError> {
        let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_fine) || TAKEN.contains(&name) {
            return Err(FinderError);
        }
        let mut bytes = [0; MAX_FINDER];
        let room = bytes.get_mut(..name.len()).ok_or(FinderError)?;
        room.copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        // What it was made of is ASCII, and what is behind it are zeros.
        let name = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

impl FromStr for Finder {
    type Err = FinderError;

    fn from_str(name: &str) -> Result<Self, FinderError> {
        Self::new(name)
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finder({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_finder_is_a_short_plain_name_that_no_other_source_has() {
        for name in ["lan", "a", "dht-2", "0123456789abcdef"] {
            assert_eq!(Finder::new(name).unwrap().to_string(), name);
        }
        for name in ["", "Lan", "a b", "0123456789abcdefg", "told", "manual", "é", "a\0"] {
            assert_eq!(Finder::new(name), Err(FinderError), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_said_again_as_it_was(name in "\\PC{0,20}") {
            if let Ok(finder) = Finder::new(&name) {
                prop_assert_eq!(finder.name(), name);
            }
        }
    }
}
