//! What a node says of itself for others to choose by: names with values, such as `region` = `eu`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserializer, de};
use thiserror::Error;

use super::frame::check_text;

/// A node's tags: at most [`MAX_TAGS`], their names and values of 1 to 64 printable bytes.
pub type Tags = BTreeMap<String, String>;

/// The most tags of a node.
pub const MAX_TAGS: usize = 16;

/// Tags that a node cannot have. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TagsError {
    /// There are more than [`MAX_TAGS`].
    #[error("a node has at most {MAX_TAGS} tags")]
    TooMany,
    /// A name or a value is empty, longer than 64 bytes, or has control characters.
    #[error("the name and the value of a tag have 1 to 64 printable bytes each")]
    BadText,
    /// With everything else that the node says of itself they would not fit in a hello.
    #[error("the tags do not fit in a hello beside the node's {0} bytes of other texts")]
    TooLong(usize),
}

/// Whether a node can have these tags.
///
/// # Errors
/// It cannot, and why.
pub fn check_tags(tags: &Tags) -> Result<(), TagsError> {
    if tags.len() > MAX_TAGS {
        return Err(TagsError::TooMany);
    }
    tags.iter().try_for_each(|(name, value)| check_tag(name, value))
}

fn check_tag(name: &str, value: &str) -> Result<(), TagsError> {
    let is_bad = |text: &str| text.is_empty() || check_text(text).is_err();
    if is_bad(name) || is_bad(value) { Err(TagsError::BadText) } else { Ok(()) }
}

/// An object of texts, or null for none.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tags, D::Error> {
    deserializer.deserialize_any(TagsVisitor)
}

struct TagsVisitor;

impl<'de> de::Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tags, E> {
        Ok(Tags::new())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
        let mut tags = Tags::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            check_tag(&name, &value).map_err(de::Error::custom)?;
            if tags.insert(name, value).is_some() {
                return Err(de::Error::custom("a tag is there twice"));
            }
            // Here and not at the end, so that a stranger cannot have more of them built.
            if tags.len() > MAX_TAGS {
                return Err(de::Error::custom(TagsError::TooMany));
            }
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: usize) -> Tags {
        (0..n).map(|n| (format!("k{n}"), "v".to_owned())).collect()
    }

    fn one(name: &str, value: &str) -> Tags {
        [(name.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn tags_are_few_short_and_printable() {
        let long = "x".repeat(64);
        for fine in [numbered(0), numbered(16), one(&long, &long), one("Ort", "Zürich =,\"")] {
            assert_eq!(check_tags(&fine), Ok(()), "{fine:?}");
        }
        assert_eq!(check_tags(&numbered(17)), Err(TagsError::TooMany));
        let longer = "x".repeat(65);
        for bad in
            [one("", "v"), one("k", ""), one(&longer, "v"), one("k", &longer), one("k", "\n")]
        {
            assert_eq!(check_tags(&bad), Err(TagsError::BadText), "{bad:?}");
        }
    }

    #[test]
    fn they_are_read_as_strictly() {
        let read = |text: &str| deserialize(&mut serde_json::Deserializer::from_str(text));
        assert_eq!(read("null").unwrap(), Tags::new());
        assert_eq!(read(r#"{"k":"v"}"#).unwrap(), one("k", "v"));
        let many = serde_json::to_string(&numbered(17)).unwrap();
        for bad in [
            &many,
            "[]",
            r#""k=v""#,
            "7",
            r#"{"k":null}"#,
            r#"{"k":1}"#,
            r#"{"k":""}"#,
            r#"{"":"v"}"#,
            r#"{"k":"\u001b"}"#,
            r#"{"k":"v","k":"v"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
