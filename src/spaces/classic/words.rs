//! What is said: `get_data` and `data`, `update_data` and `update_ack`, `quit`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    extension::PeerMessage,
    spaces::{
        error::SpaceError,
        lines::{JsonValue, ValueError},
        record::MAX_KEY,
    },
};

/// The longest name of a space that is said back, in bytes: none is longer.
const MAX_NAME: usize = 64;

/// On the wire: asks for records of a space, in the order of their keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetData {
    /// The space's name.
    pub space: String,
    /// Only those whose keys begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only those behind this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl PeerMessage for GetData {
    const MSGTYPE: &'static str = "get_data";
}

/// On the wire: the answer, as many records as have room in one line, or why there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The space that was asked about; left out if it is longer than a name can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The records; left out if there is a reason why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<DataRecord>>,
    /// Whether there are more behind these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// If so: what to ask for next, the last of these keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why there is no answer: a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The same for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl PeerMessage for Data {
    const MSGTYPE: &'static str = "data";
}

/// A record in a [`Data`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(flatten)]
    pub value: JsonValue,
    /// In place of a value that is too long for a line: how many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// By whom.
    pub writer: String,
}

/// On the wire: gives a key a value, or deletes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateData {
    /// The space's name.
    pub space: String,
    /// The key.
    pub key: String,
    /// The new value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The new value in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// True: the key is to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<bool>,
}

impl PeerMessage for UpdateData {
    const MSGTYPE: &'static str = "update_data";
}

/// On the wire: the answer, once it is kept, or why it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAck {
    /// The space; left out if it is longer than a name can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The key; left out if it is longer than one can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The time that the record was given, in milliseconds since the Unix epoch; left out if there was
    /// nothing to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Why it was not kept: a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The same for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl PeerMessage for UpdateAck {
    const MSGTYPE: &'static str = "update_ack";
}

/// On the wire: the speaker is done, and asks for a `bye`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quit {}

impl PeerMessage for Quit {
    const MSGTYPE: &'static str = "quit";
}

/// Why something that was asked for is not done.
#[derive(Debug, Clone, Error)]
pub(super) enum No {
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("say one of `value`, `base64` and `\"delete\":true`")]
    NotOne,
    #[error("a peer with a key signs what it writes: be a node of the space")]
    NotSigned,
}

impl No {
    /// A code, and what a stranger may know of why.
    pub(super) fn told(&self) -> (Option<String>, Option<String>) {
        let code = match self {
            Self::Space(error) => error.code(),
            Self::Value(_) | Self::NotOne => "bad-value",
            Self::NotSigned => "not-signed",
        };
        let detail = match self {
            // What the store says names files of this machine.
            Self::Space(SpaceError::Store(_)) => "this node's store cannot do it now".to_owned(),
            why => why.to_string(),
        };
        (Some(code.to_owned()), Some(detail))
    }
}

impl GetData {
    /// Says back what was asked about.
    pub(super) fn echo(&self) -> Data {
        Data { space: echo(&self.space, MAX_NAME), ..Data::default() }
    }
}

impl UpdateData {
    /// What is to be written: a value, or none to delete it.
    pub(super) fn change(&self) -> Result<Option<Bytes>, No> {
        let value = JsonValue { value: self.value.clone(), base64: self.base64.clone() };
        match (self.delete.unwrap_or(false), &value) {
            (true, JsonValue { value: None, base64: None }) => Ok(None),
            (true, _) | (false, JsonValue { value: None, base64: None }) => Err(No::NotOne),
            (false, value) => Ok(Some(value.bytes()?)),
        }
    }

    /// Says back what was to be written.
    pub(super) fn echo(&self) -> UpdateAck {
        let (space, key) = (echo(&self.space, MAX_NAME), echo(&self.key, MAX_KEY));
        UpdateAck { space, key, ..UpdateAck::default() }
    }
}

/// A text as it was said, if it is one that an answer has room for.
fn echo(text: &str, most: usize) -> Option<String> {
    (text.len() <= most).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(rest: &str) -> UpdateData {
        serde_json::from_str(&format!(r#"{{"space":"s","key":"k"{rest}}}"#)).unwrap()
    }

    #[test]
    fn a_change_is_one_of_text_bytes_and_deletion() {
        let change = |rest| update(rest).change();
        assert_eq!(change(r#","value":"grün""#).unwrap().unwrap()[..], *"grün".as_bytes());
        assert_eq!(change(r#","base64":"/wA=""#).unwrap().unwrap()[..], [0xff, 0]);
        assert_eq!(change(r#","delete":true"#).unwrap(), None);
        assert!(change(r#","value":"","delete":false"#).unwrap().unwrap().is_empty());
        for bad in [
            "",
            r#","value":"a","base64":"YQ==""#,
            r#","value":"a","delete":true"#,
            r#","delete":false"#,
            r#","base64":"%""#,
            r#","value":null"#,
        ] {
            let no = change(bad).unwrap_err();
            assert_eq!(no.told().0.as_deref(), Some("bad-value"), "{bad}: {no}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_said_back() {
        let long = UpdateData { space: "s".repeat(65), key: "k".repeat(1025), ..update("") };
        assert_eq!(long.echo(), UpdateAck::default());
        let ack = update("").echo();
        assert_eq!((ack.space.as_deref(), ack.key.as_deref()), (Some("s"), Some("k")));
    }

    #[test]
    fn strangers_hear_of_no_files() {
        let path = std::path::PathBuf::from("/home/me/spaces.sqlite");
        let no = No::from(SpaceError::from(crate::store::StoreError::Full { path }));
        let (code, detail) = no.told();
        assert_eq!(code.as_deref(), Some("full"));
        assert!(!detail.unwrap().contains("/home"));
    }
}
