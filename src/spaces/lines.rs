//! Entries as JSON lines: what `export` gives and `import` takes, and what people see of values.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::store::Entry;

/// A value as JSON: text as it is, and what is no text in base64 (RFC 4648).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct JsonValue {
    /// The value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// There is none, or there are two.
    #[error("there has to be a value, either as `value` or as `base64`")]
    NotOne,
    /// It is no base64.
    #[error("`base64` is not base64")]
    NotBase64,
}

impl JsonValue {
    /// A value's JSON.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) => Self { value: Some(text.to_owned()), base64: None },
            Err(_) => Self { value: None, base64: Some(STANDARD.encode(value)) },
        }
    }

    /// The value.
    ///
    /// # Errors
    /// There is none.
    pub fn bytes(&self) -> Result<Bytes, ValueError> {
        match (&self.value, &self.base64) {
            (Some(text), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(text)) => {
                STANDARD.decode(text).map(Bytes::from).or(Err(ValueError::NotBase64))
            }
            _ => Err(ValueError::NotOne),
        }
    }
}

/// An entry as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(flatten)]
    pub value: JsonValue,
    /// When it was written, in milliseconds since the Unix epoch. Not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// By whom. Not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
}

impl From<&Entry> for Line {
    fn from(entry: &Entry) -> Self {
        Self {
            key: entry.key.to_string(),
            value: JsonValue::of(entry.value.as_deref().unwrap_or_default()),
            time_ms: Some(entry.time.millis()),
            writer: Some(entry.writer.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_bytes_are_base64() {
        let text = JsonValue::of("grün".as_bytes());
        assert_eq!(serde_json::to_string(&text).unwrap(), r#"{"value":"grün"}"#);
        let bytes = JsonValue::of(&[0xff, 0]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), r#"{"base64":"/wA="}"#);
        assert_eq!(bytes.bytes().unwrap()[..], [0xff, 0]);
        assert_eq!(text.bytes().unwrap()[..], *"grün".as_bytes());
        assert_eq!(JsonValue::default().bytes(), Err(ValueError::NotOne));
        let both = JsonValue { value: Some(String::new()), base64: Some(String::new()) };
        assert_eq!(both.bytes(), Err(ValueError::NotOne));
        let bad = JsonValue { value: None, base64: Some("%".to_owned()) };
        assert_eq!(bad.bytes(), Err(ValueError::NotBase64));
    }
}
