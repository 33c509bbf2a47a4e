//! Whom a question is for.

use crate::wire::{Tags, TagsError, tags::check_tags};

/// Whom a question is for: everybody, or the nodes that have certain tags. The node that asks is not
/// asked itself.
///
/// ```
/// use peerage::overlay::Audience;
///
/// let gpus_in_europe = Audience::tagged([("region", "eu"), ("gpu", "yes")]);
/// let tags = |pairs: &[(&str, &str)]| {
///     pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
/// };
/// assert!(gpus_in_europe.includes(&tags(&[("gpu", "yes"), ("region", "eu"), ("disk", "2T")])));
/// assert!(!gpus_in_europe.includes(&tags(&[("region", "eu")])));
/// assert!(Audience::everybody().includes(&tags(&[])));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience(Tags);

impl Audience {
    /// All nodes.
    #[must_use]
    pub const fn everybody() -> Self {
        Self(Tags::new())
    }

    /// The nodes that have all of these tags with these values; at most 16, as a node has no more.
    /// Nothing proves what tags a node says that it has: it is the node itself that decides whether
    /// it is asked.
    pub fn tagged<K: Into<String>, V: Into<String>>(
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Whether a node with these tags is asked.
    #[must_use]
    pub fn includes(&self, tags: &Tags) -> bool {
        self.0.iter().all(|(name, value)| tags.get(name) == Some(value))
    }

    /// Whether it could include anybody.
    ///
    /// # Errors
    /// There are more than sixteen, or some that no node can have.
    pub fn check(&self) -> Result<(), TagsError> {
        check_tags(&self.0)
    }

    /// The tags; none for everybody.
    #[must_use]
    pub const fn tags(&self) -> &Tags {
        &self.0
    }
}

impl From<Tags> for Audience {
    fn from(tags: Tags) -> Self {
        Self(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_includes_those_with_all_of_its_tags() {
        let tags: Tags =
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into();
        for (audience, is_in) in [
            (Audience::everybody(), true),
            (Audience::tagged([("a", "1")]), true),
            (Audience::tagged([("a", "1"), ("b", "2")]), true),
            (Audience::tagged([("a", "2")]), false),
            (Audience::tagged([("a", "1"), ("c", "2")]), false),
        ] {
            assert_eq!(audience.includes(&tags), is_in, "{audience:?}");
            assert_eq!(audience.check(), Ok(()));
        }
        let many = (0..17).map(|n| (n.to_string(), "x"));
        assert_eq!(Audience::tagged(many).check(), Err(TagsError::TooMany));
        assert_eq!(Audience::tagged([("", "x")]).check(), Err(TagsError::BadText));
    }
}
