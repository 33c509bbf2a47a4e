//! What a hook says and is answered, as lines.

use serde::Serialize;
use serde_json::{Map, Value};

use super::lines::Line;
use crate::control::model::{ApiError, Code, Command, Outcome};

/// The longest line that is taken from a hook, in bytes.
pub const MAX_COMMAND: usize = 128 * 1024;

/// The member of a command that comes back with the answer to it.
const TAG: &str = "tag";

/// The answer to a line: `{"reply": TAG, "ok": …}` or `{"reply": TAG, "error": …}`.
#[derive(Serialize)]
struct Reply<'a> {
    reply: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<&'a Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ApiError>,
}

/// The command in a line, with the tag that the hook gave it (null if it gave none).
pub(super) fn command(line: &Line) -> (Value, Result<Command, ApiError>) {
    if line.is_cut {
        let message = format!("a command is longer than {} KiB", MAX_COMMAND >> 10);
        return (Value::Null, Err(ApiError::new(Code::TooLarge, message)));
    }
    let mut members: Map<String, Value> = match serde_json::from_slice(&line.bytes) {
        Ok(members) => members,
        Err(error) => return (Value::Null, Err(not_understood(&error))),
    };
    let tag = members.remove(TAG).unwrap_or_default();
    let command = serde_json::from_value(Value::Object(members));
    (tag, command.map_err(|error| not_understood(&error)))
}

fn not_understood(error: &serde_json::Error) -> ApiError {
    ApiError::new(Code::BadRequest, format!("a line is no command: {error}"))
}

/// The line that answers a command.
pub(super) fn reply(tag: &Value, result: &Result<Outcome, ApiError>) -> Vec<u8> {
    let reply = Reply { reply: tag, ok: result.as_ref().ok(), error: result.as_ref().err() };
    let mut line = serde_json::to_vec(&reply).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer to the hook cannot be written");
        br#"{"reply":null,"error":{"code":"internal","message":"no answer"}}"#.to_vec()
    });
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::model::{Changed, Published};

    fn said(text: &str) -> (Value, Result<Command, ApiError>) {
        command(&Line { bytes: text.as_bytes().to_vec(), is_cut: false })
    }

    #[track_caller]
    fn refused(text: &str, tag: Value) -> String {
        let (held, command) = said(text);
        let error = command.unwrap_err();
        assert_eq!((held, error.code), (tag, Code::BadRequest), "{text}");
        error.message
    }

    #[test]
    fn a_command_may_have_a_tag_of_any_shape() {
        for tag in [json!(null), json!(7), json!("x"), json!({"a": [1]})] {
            let line = json!({"command": "answer", "inquiry": 3, "text": "yes", "tag": tag});
            let (held, command) = said(&line.to_string());
            assert_eq!(held, tag);
            let Ok(Command::Answer(answer)) = command else { panic!("{command:?}") };
            assert_eq!((answer.inquiry, answer.text.as_deref()), (3, Some("yes")));
        }
        let (tag, command) = said(r#"{"command":"dial","addr":"a:1"}"#);
        assert!(tag.is_null() && command.is_ok());
    }

    #[test]
    fn what_is_no_command_is_refused_under_its_tag() {
        for text in ["", "x", "[]", "7", "{", "\u{fffd}", "{\"command\": \"dial\""] {
            refused(text, Value::Null);
        }
        assert!(refused(r#"{"tag": 1, "command": "sing"}"#, json!(1)).contains("sing"));
        assert!(refused(r#"{"tag": 1}"#, json!(1)).contains("command"));
        let more = r#"{"tag": 1, "command": "dial", "addr": "a:1", "port": 2}"#;
        assert!(refused(more, json!(1)).contains("port"));
        let (_, command) = command(&Line { bytes: b"{}".to_vec(), is_cut: true });
        assert_eq!(command.unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        refused(&"[".repeat(MAX_COMMAND), Value::Null);
        refused(&format!("{{\"tag\":{}", "[".repeat(MAX_COMMAND / 2)), Value::Null);
    }

    #[test]
    fn an_answer_is_one_line_with_the_tag() {
        let text = |tag, result| String::from_utf8(reply(&tag, &result)).unwrap();
        let published = Outcome::Published(Published { id: "i".to_owned() });
        assert_eq!(
            text(json!("a\nb"), Ok(published)),
            "{\"reply\":\"a\\nb\",\"ok\":{\"id\":\"i\"}}\n"
        );
        let changed = Outcome::Changed(Changed { changed: true });
        assert_eq!(text(json!(null), Ok(changed)), "{\"reply\":null,\"ok\":{\"changed\":true}}\n");
        assert_eq!(
            text(json!(1), Err(ApiError::new(Code::NoRoute, "no way"))),
            "{\"reply\":1,\"error\":{\"code\":\"no-route\",\"message\":\"no way\"}}\n"
        );
    }
}
