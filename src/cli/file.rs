//! The configuration file: its shape, and errors that say the line.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};

use super::{
    error::{UsageError, one_line},
    layer::{HookLayer, Layer},
};

/// The keys of the file. They are the names of the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FileConfig {
    /// peer or introducer.
    role: Option<String>,
    /// One address or a list.
    listen: Option<OneOrMany>,
    /// An address.
    advertise: Option<String>,
    /// One address or a list.
    bootstrap: Option<OneOrMany>,
    /// A switch.
    lan: Option<bool>,
    /// One tag or a list.
    tag: Option<Tags>,
    /// A duration.
    ping_interval: Option<DurationText>,
    /// A duration.
    dead_after: Option<DurationText>,
    /// A duration.
    handshake_timeout: Option<DurationText>,
    /// off, prefer or require.
    security: Option<String>,
    /// A directory.
    data_dir: Option<PathBuf>,
    /// A switch.
    ephemeral: Option<bool>,
    /// An address.
    api: Option<String>,
    /// A switch.
    api_allow_remote: Option<bool>,
    /// A file.
    api_token_file: Option<PathBuf>,
    /// A switch.
    no_api: Option<bool>,
    /// A log filter.
    log: Option<String>,
    /// text or json.
    log_format: Option<String>,
    /// The name of a network.
    network: Option<String>,
    /// A file.
    network_key: Option<PathBuf>,
    /// A file.
    allow: Option<PathBuf>,
    /// A table.
    trust: Trust,
    /// Another one.
    hooks: HookLayer,
    /// A duration.
    discourage_for: Option<DurationText>,
    /// A number of threads.
    workers: Option<i64>,
    /// The others are numbers too.
    max_inbound: Option<i64>,
    max_per_address: Option<i64>,
    max_per_subnet: Option<i64>,
    max_unfinished: Option<i64>,
    message_burst: Option<i64>,
    messages_per_second: Option<i64>,
    addr_burst: Option<i64>,
    addrs_per_second: Option<i64>,
    outbox_frames: Option<i64>,
    outbox_bytes: Option<i64>,
}

/// What has no flag, because a command line has no room for it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Trust {
    /// Node ids.
    allow: Option<Vec<String>>,
}

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Layer, UsageError> {
    let text = fs::read_to_string(path)
        .map_err(|error| UsageError::file(path, format_args!("cannot read it: {error}")))?;
    parse(path, &text)
}

/// Parses the text of the file at `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Layer, UsageError> {
    toml::from_str::<FileConfig>(text).map(FileConfig::into_layer).map_err(|error| {
        let place = match error.span() {
            Some(span) => {
                let (line, column) = position(text, span.start);
                format!("{}:{line}:{column}", path.display())
            }
            None => path.display().to_string(),
        };
        UsageError::File { place, why: one_line(error.message().trim()) }
    })
}

/// Line and column, from one, of a byte position.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

impl FileConfig {
    /// The same as raw text.
    fn into_layer(self) -> Layer {
        let limits = [
            ("max-inbound", self.max_inbound),
            ("max-per-address", self.max_per_address),
            ("max-per-subnet", self.max_per_subnet),
            ("max-unfinished", self.max_unfinished),
            ("message-burst", self.message_burst),
            ("messages-per-second", self.messages_per_second),
            ("addr-burst", self.addr_burst),
            ("addrs-per-second", self.addrs_per_second),
            ("outbox-frames", self.outbox_frames),
            ("outbox-bytes", self.outbox_bytes),
        ];
        Layer {
            role: self.role,
            listen: self.listen.map(|list| list.0),
            advertise: self.advertise,
            bootstrap: self.bootstrap.map(|list| list.0),
            lan: self.lan.map(|on| on.to_string()),
            tag: self.tag.map(|list| list.0),
            ping_interval: self.ping_interval.map(|text| text.0),
            dead_after: self.dead_after.map(|text| text.0),
            handshake_timeout: self.handshake_timeout.map(|text| text.0),
            security: self.security,
            data_dir: self.data_dir,
            ephemeral: self.ephemeral.map(|on| on.to_string()),
            api: self.api,
            api_allow_remote: self.api_allow_remote.map(|on| on.to_string()),
            api_token_file: self.api_token_file,
            no_api: self.no_api.map(|on| on.to_string()),
            hooks: self.hooks,
            log: self.log,
            log_format: self.log_format,
            network: self.network,
            network_key: self.network_key,
            allow: self.allow,
            allowed: self.trust.allow,
            discourage_for: self.discourage_for.map(|text| text.0),
            workers: self.workers.map(|n| n.to_string()),
            limits: limits.into_iter().filter_map(|(key, n)| Some((key, n?.to_string()))).collect(),
        }
    }
}

/// An address, or a list of addresses.
#[derive(Debug)]
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor("\"HOST:PORT\"")).map(Self)
    }
}

/// A tag, or a list of tags.
#[derive(Debug)]
struct Tags(Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor("\"KEY=VALUE\"")).map(Self)
    }
}

/// Accepts a string of this form and a list of such, and says so when it gets something else.
struct OneOrManyVisitor(&'static str);

impl<'de> de::Visitor<'de> for OneOrManyVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or a list of such strings", self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut list = Vec::new();
        while let Some(text) = seq.next_element()? {
            list.push(text);
        }
        Ok(list)
    }
}

/// A duration as text; a bare number is refused with an example of what to write.
#[derive(Debug)]
struct DurationText(String);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }
}

/// Accepts a string.
struct DurationVisitor;

impl de::Visitor<'_> for DurationVisitor {
    type Value = DurationText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"60s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
        Ok(DurationText(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::limits::LIMITS, *};

    fn refused(text: &str) -> String {
        parse(Path::new("n.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            role = "r"
            listen = ["0.0.0.0:5999", "[::]:5999"]
            advertise = "a:1"
            bootstrap = "b:2"
            lan = true
            tag = ["k=v", "l=w"]
            ping-interval = "1s"
            dead-after = "2s"
            handshake-timeout = "3s"
            security = "off"
            data-dir = "d"
            ephemeral = false
            api = "127.0.0.1:0"
            api-allow-remote = true
            api-token-file = "t"
            no-api = true
            log = "warn"
            log-format = "json"
            workers = 3
            network = "n"
            network-key = "k"
            allow = "a"
            discourage-for = "4s"
            [trust]
            allow = ["i"]
        "#;
        let some = |text: &str| Some(text.to_owned());
        let expected = Layer {
            role: some("r"),
            listen: Some(vec!["0.0.0.0:5999".to_owned(), "[::]:5999".to_owned()]),
            advertise: some("a:1"),
            bootstrap: Some(vec!["b:2".to_owned()]),
            lan: some("true"),
            tag: Some(vec!["k=v".to_owned(), "l=w".to_owned()]),
            ping_interval: some("1s"),
            dead_after: some("2s"),
            handshake_timeout: some("3s"),
            security: some("off"),
            data_dir: Some("d".into()),
            ephemeral: some("false"),
            api: some("127.0.0.1:0"),
            api_allow_remote: some("true"),
            api_token_file: Some("t".into()),
            no_api: some("true"),
            hooks: HookLayer::default(),
            log: some("warn"),
            log_format: some("json"),
            workers: some("3"),
            network: some("n"),
            network_key: Some("k".into()),
            allow: Some("a".into()),
            allowed: Some(vec!["i".to_owned()]),
            discourage_for: some("4s"),
            limits: Default::default(),
        };
        assert_eq!(parse(Path::new("n.toml"), text), Ok(expected));
        assert_eq!(parse(Path::new("n.toml"), ""), Ok(Layer::default()));
    }

    #[test]
    fn a_hook_is_read() {
        let text = "[hooks]\nprogram = [\"p\", \"q\"]\nonly = [\"e\"]\ntopics = [\"t\"]";
        let hooks = HookLayer {
            program: Some(vec!["p".to_owned(), "q".to_owned()]),
            only: Some(vec!["e".to_owned()]),
            topics: Some(vec!["t".to_owned()]),
        };
        let expected = Layer { hooks, ..Layer::default() };
        assert_eq!(parse(Path::new("n.toml"), text), Ok(expected));
    }

    #[test]
    fn every_limit_is_read() {
        for limit in LIMITS {
            let layer = parse(Path::new("n.toml"), &format!("{} = 7", limit.key)).unwrap();
            assert_eq!(layer.limits, [(limit.key, "7".to_owned())].into());
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let text = refused("listen = []\n  lisen = \"x\"\n");
        assert!(text.starts_with("n.toml:2:3: unknown field `lisen`, expected "), "{text}");
        let text = refused("[hooks]\nprograms = []\n");
        assert!(text.starts_with("n.toml:2:1: unknown field `programs`, expected "), "{text}");
        let text = refused("[trust]\nallowed = []\n");
        assert!(text.starts_with("n.toml:2:1: unknown field `allowed`, expected "), "{text}");
    }

    #[test]
    fn a_wrong_shape_says_what_was_expected() {
        let text = refused("ping-interval = 60\n");
        assert!(text.starts_with("n.toml:1:17: invalid type: integer `60`"), "{text}");
        assert!(text.ends_with("expected a duration in quotes, such as \"60s\""), "{text}");
        let text = refused("listen = 5999\n");
        assert!(text.ends_with("expected \"HOST:PORT\" or a list of such strings"), "{text}");
        let text = refused("[tag]\nk = \"v\"\n");
        assert!(text.ends_with("expected \"KEY=VALUE\" or a list of such strings"), "{text}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_on_one_line() {
        let text = refused("listen = [\n\nbootstrap");
        assert!(text.starts_with("n.toml:") && !text.contains('\n'), "{text}");
    }
}
