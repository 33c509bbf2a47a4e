//! The settings as text: a configuration file, and the defaults in the help.

use std::path::{Path, PathBuf};

use peerage::overlay::Topic;

use crate::cli::{
    error::{duration, one_line},
    layer::{Origin, Sourced},
    limits::LIMITS,
    resolve::{Settings, Storage},
};

/// The longest value of `peerage config` that the comments are aligned behind.
const MAX_ALIGNED: usize = 48;

/// The room for a key.
const KEY_WIDTH: usize = 19;

/// One setting, as `peerage config` shows it.
struct Row {
    /// The key.
    key: &'static str,
    /// The value in TOML, or an example if there is none.
    value: Result<String, &'static str>,
    /// Where it comes from.
    origin: Origin,
}

/// The settings as a configuration file, with the origin of each as a comment.
pub(crate) fn settings_toml(settings: &Settings) -> String {
    let mut text = String::from(
        "# What `peerage run` would use, and where each value comes from.\n\
         # This is a configuration file: save it, and name it with --config.\n",
    );
    if let Some(Sourced { value, origin }) = &settings.config {
        let comment = format!("# Read: {} ({})", value.display(), origin.describe("config"));
        text.push_str(&one_line(&comment));
        text.push('\n');
    }
    let lines: Vec<(String, String)> = rows(settings).iter().map(Row::line).collect();
    let width = |text: &String| text.chars().count();
    let widths = lines.iter().map(|(left, _)| width(left));
    let column = widths.filter(|width| *width <= MAX_ALIGNED).max().unwrap_or(0);
    for (left, comment) in lines {
        text.push_str(&format!("{left:column$}  # {}\n", one_line(&comment)));
    }
    text.push_str(&trust_table(settings).unwrap_or_default());
    text.push_str(&hooks_table(settings).unwrap_or_default());
    text
}

/// Each key with the text of its default, for the help.
pub(crate) fn default_values(defaults: &Settings) -> Vec<(&'static str, String)> {
    let texts = rows(defaults).into_iter().map(|row| {
        let text = match row.value {
            Ok(value) if row.key == "workers" => format!("one per core, here {value}"),
            Ok(value) if row.key == "data-dir" => format!("the system's place, here {value}"),
            Ok(value) if value != "[]" => value,
            _ => "not set".to_owned(),
        };
        (row.key, text)
    });
    texts.collect()
}

/// Every setting, in the order of the help.
fn rows(settings: &Settings) -> Vec<Row> {
    let mut rows = node_rows(settings);
    rows.extend(trust_rows(settings));
    rows.extend(program_rows(settings));
    rows.extend(limit_rows(settings));
    rows
}

/// Where the node is, how it finds others, and its timing.
fn node_rows(settings: &Settings) -> Vec<Row> {
    let node = &settings.node;
    let row = |key, value| Row { key, value, origin: settings.node_origins.of(key) };
    let span = |value| Ok(string(&duration(value)));
    let tags: Vec<String> = node.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let advertise = node.advertise.as_ref().map(|addr| string(&addr.to_string()));
    vec![
        row("role", Ok(string(node.role.text()))),
        row("listen", Ok(list(&node.listen))),
        row("advertise", advertise.ok_or("\"HOST:PORT\"")),
        row("bootstrap", Ok(list(&node.bootstrap))),
        Row {
            key: "lan",
            value: Ok(settings.lan.value.to_string()),
            origin: settings.lan.origin.clone(),
        },
        row("tag", Ok(list(&tags))),
        row("ping-interval", span(node.liveness.ping_interval)),
        row("dead-after", span(node.liveness.dead_after)),
        row("handshake-timeout", span(node.session.handshake_timeout)),
    ]
}

/// Who may be a peer. Of secrets only the file is named.
fn trust_rows(settings: &Settings) -> Vec<Row> {
    let (node, files) = (&settings.node, &settings.trust_files);
    let row = |key, value| Row { key, value, origin: settings.node_origins.of(key) };
    let file = |path: &Option<PathBuf>| path.as_deref().map(path_string).ok_or("\"FILE\"");
    let mut rows = vec![
        row("security", Ok(string(node.security.text()))),
        row("network", Ok(string(&node.network))),
        row("network-key", file(&files.network_key)),
    ];
    // Otherwise the ids stand in a table, which comes last.
    if files.allow.is_some() || node.trust.allow.is_none() {
        rows.push(row("allow", file(&files.allow)));
    }
    rows
}

/// What the program does around the node.
fn program_rows(settings: &Settings) -> Vec<Row> {
    let Settings { node, node_origins, api, log, log_format, .. } = settings;
    let Storage { data_dir, ephemeral } = &settings.storage;
    let row = |key, value, origin: &Origin| Row { key, value, origin: origin.clone() };
    let dir = data_dir.value.as_deref().map(path_string);
    let token_file = api.token_file.value.as_deref().map(path_string);
    vec![
        row("data-dir", dir.ok_or("\"DIR\""), &data_dir.origin),
        row("ephemeral", Ok(ephemeral.value.to_string()), &ephemeral.origin),
        row("api", Ok(string(&api.addr.value.to_string())), &api.addr.origin),
        row("api-allow-remote", Ok(api.allow_remote.value.to_string()), &api.allow_remote.origin),
        row("api-token-file", token_file.ok_or("\"FILE\""), &api.token_file.origin),
        row("no-api", Ok(api.is_off.value.to_string()), &api.is_off.origin),
        row("log", Ok(string(&log.value)), &log.origin),
        row("log-format", Ok(string(log_format.value.text())), &log_format.origin),
        row("workers", Ok(node.workers.to_string()), &node_origins.of("workers")),
    ]
}

/// What others can make the node do at most.
fn limit_rows(settings: &Settings) -> Vec<Row> {
    let row = |key, value| Row { key, value: Ok(value), origin: settings.node_origins.of(key) };
    let discourage = settings.node.trust.discourage_for;
    let limits = LIMITS.iter().map(|limit| row(limit.key, (limit.get)(&settings.node).to_string()));
    [row("discourage-for", string(&duration(discourage)))].into_iter().chain(limits).collect()
}

/// `[trust]`, if the allowed ids stand in the configuration file itself.
fn trust_table(settings: &Settings) -> Option<String> {
    let ids =
        settings.node.trust.allow.as_ref().filter(|_| settings.trust_files.allow.is_none())?;
    let origin = settings.node_origins.of("allow").describe("allow");
    let ids: String = ids.iter().map(|id| format!("    \"{id}\",\n")).collect();
    Some(format!("\n[trust]\nallow = [  # {}\n{ids}]\n", one_line(&origin)))
}

/// `[hooks]`, if there is one.
fn hooks_table(settings: &Settings) -> Option<String> {
    let Sourced { value: hook, origin } = settings.hook.as_ref()?;
    let program: Vec<&str> =
        [&hook.program].into_iter().chain(&hook.args).map(|w| w.as_str()).collect();
    let names: Vec<&str> = hook.only.iter().map(String::as_str).collect();
    let topics: Vec<&str> = hook.topics.iter().map(Topic::name).collect();
    let comment = one_line(&origin.describe("hooks"));
    let rows = [("program", program), ("only", names), ("topics", topics)];
    let rows = rows.iter().map(|(key, items)| format!("{key} = {}  # {comment}\n", list(items)));
    Some(format!("\n[hooks]\n{}", rows.collect::<String>()))
}

impl Row {
    /// Assignment and comment; what is not set is commented out.
    fn line(&self) -> (String, String) {
        let comment = self.origin.describe(self.key);
        match &self.value {
            Ok(value) => (format!("{:KEY_WIDTH$} = {value}", self.key), comment),
            Err(example) => {
                let key = format!("# {}", self.key);
                (format!("{key:KEY_WIDTH$} = {example}"), format!("{comment}: not set"))
            }
        }
    }
}

/// A path as a TOML string.
fn path_string(path: &Path) -> String {
    string(&path.to_string_lossy())
}

/// A TOML string.
fn string(text: &str) -> String {
    // Every JSON string is a TOML basic string, once DEL is escaped too.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A TOML list of strings.
fn list(items: &[impl ToString]) -> String {
    let items: Vec<String> = items.iter().map(|item| string(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_print_as_toml_with_aligned_origins() {
        let value = Some("a\n\"b\"\u{7f}".into());
        let data_dir = Sourced { value, origin: Origin::File("odd\nname".into()) };
        let mut settings = Settings::by_default(None);
        settings.storage.data_dir = data_dir;
        settings.node.bootstrap = vec!["a.example:1".parse().unwrap(); 9];
        let text = settings_toml(&settings);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table.get("data-dir").unwrap().as_str(), Some("a\n\"b\"\u{7f}"));
        assert_eq!(table.get("bootstrap").unwrap().as_array().unwrap().len(), 9);
        assert!(!table.contains_key("advertise"));
        let columns: std::collections::BTreeSet<usize> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with("bootstrap"))
            .map(|line| line.rfind("  # ").unwrap())
            .collect();
        assert_eq!(columns.len(), 1, "{text}");
    }

    #[test]
    fn the_keys_fit_their_room() {
        for (key, _) in default_values(&Settings::by_default(None)) {
            assert!(key.len() <= KEY_WIDTH, "{key}");
        }
    }

    #[test]
    fn allowed_ids_of_the_file_are_a_table_at_the_end() {
        let mut settings = Settings::by_default(None);
        assert!(settings_toml(&settings).contains("# allow "));
        let ids = [1, 2].map(|n| peerage::PublicKey::from_bytes([n; 32]).node_id());
        settings.node.trust.allow = Some(ids.into());
        let text = settings_toml(&settings);
        let table: toml::Table = text.parse().unwrap();
        assert!(!text.contains("# allow ") && !table.contains_key("allow"), "{text}");
        let allow = table.get("trust").unwrap().get("allow").unwrap().as_array().unwrap();
        assert_eq!(allow.len(), 2);
    }

    #[test]
    fn a_hook_is_a_table_that_can_be_read_again() {
        let mut settings = Settings::by_default(None);
        assert!(!settings_toml(&settings).contains("[hooks]"));
        let hook = peerage::control::hooks::Hook {
            args: vec!["a \"b\"\n".to_owned()],
            only: ["message".to_owned()].into(),
            topics: vec![Topic::new("t").unwrap()],
            ..peerage::control::hooks::Hook::new("p")
        };
        settings.hook = Some(Sourced { value: hook, origin: Origin::File("f".into()) });
        let text = settings_toml(&settings);
        let table: toml::Table = text.parse().unwrap();
        let expected =
            "program = [\"p\", \"a \\\"b\\\"\\n\"]\nonly = [\"message\"]\ntopics = [\"t\"]";
        assert_eq!(table["hooks"], toml::Value::Table(expected.parse().unwrap()), "{text}");
    }
}
