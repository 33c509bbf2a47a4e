//! The only printing: what goes to stdout and stderr besides the log, and how it reads.
//!
//! A closed stdout (`| head`) is not an error: whoever read has read enough. A closed stderr is
//! nobody to tell.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use peerage::HostPort;

use super::{
    error::{Failure, duration, one_line},
    layer::{Origin, Sourced},
    resolve::Settings,
};

/// The longest value of `peerage config` that the comments are aligned behind.
const MAX_ALIGNED: usize = 48;

/// Says why the command failed: one line on stderr.
pub(crate) fn failure(failure: &Failure) {
    if let Failure::Help(text) = failure {
        // There is nobody to tell if stderr is closed.
        text.print().ok();
        return;
    }
    stderr(&format!("peerage: {}\n", one_line(&failure.to_string())));
}

/// Writes to stderr as it is.
pub(crate) fn stderr(text: &str) {
    // There is nobody to tell if stderr is closed.
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Writes to stdout.
pub(crate) fn stdout(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    accept_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())).map(|_| ())
}

/// Writes clap's help or version, coloured if stdout is a terminal.
pub(crate) fn help(text: &clap::Error) -> Result<(), Failure> {
    accept_closed(text.print()).map(|_| ())
}

/// Whether stdout is still open; an error if it broke in another way than by closing.
fn accept_closed(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Failure::System { what: "write to stdout", source }),
    }
}

/// The lines of a devnet, on stdout, until that closes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What stopped the lines.
    end: Option<Result<(), Failure>>,
}

impl Lines {
    /// Writes one or more lines; after the end it does nothing.
    pub(crate) fn write(&mut self, text: &str) {
        if self.end.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        match accept_closed(writeln!(stdout, "{text}").and_then(|()| stdout.flush())) {
            Ok(true) => {}
            Ok(false) => self.end = Some(Ok(())),
            Err(failure) => self.end = Some(Err(failure)),
        }
    }

    /// How the lines ended, once, if they have.
    pub(crate) const fn take_end(&mut self) -> Option<Result<(), Failure>> {
        self.end.take()
    }
}

/// What a node says on start.
#[derive(Debug)]
pub(crate) struct Started {
    /// The node's id.
    pub(crate) id: String,
    /// Where it listens.
    pub(crate) listen: Vec<HostPort>,
    /// The command that joins it, unless it does not listen.
    pub(crate) join: Option<String>,
}

impl Started {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("peerage {}, node {}\n", env!("CARGO_PKG_VERSION"), self.id);
        for addr in &self.listen {
            text.push_str(&format!("listening on {addr}\n"));
        }
        match &self.join {
            Some(join) => {
                text.push_str(&format!("to join it from another terminal: {join}\n"));
            }
            None => text.push_str("not listening: it dials others, nobody can dial it\n"),
        }
        text
    }

    /// For programs: one log event.
    pub(crate) fn log(&self) {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        tracing::info!(
            target: super::logging::START,
            version = env!("CARGO_PKG_VERSION"),
            node = self.id,
            listen = listen.join(","),
            join = self.join,
            "started"
        );
    }
}

/// The command that joins a node which listens on `listen`, from another terminal of the same
/// machine, when `program` is how this process was invoked.
pub(crate) fn join_command(program: &str, listen: &[HostPort]) -> Option<String> {
    let addr = listen.first()?;
    let addr = match addr.ip() {
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => at(Ipv4Addr::LOCALHOST.into(), addr.port()),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => at(Ipv6Addr::LOCALHOST.into(), addr.port()),
        _ => addr.clone(),
    };
    let program = if program.is_empty() { "peerage" } else { program };
    let (program, own) = (shell_word(program), shell_word(&addr.with_port(0).to_string()));
    let addr = shell_word(&addr.to_string());
    Some(format!("{program} run --listen {own} --bootstrap {addr}"))
}

/// An address from its parts.
fn at(ip: IpAddr, port: u16) -> HostPort {
    SocketAddr::new(ip, port).into()
}

/// The text as one word of a shell.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if cfg!(windows) || (!text.is_empty() && text.chars().all(is_plain)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A moment since the start: `+0.012s`.
pub(crate) fn since_start(elapsed: Duration) -> String {
    format!("+{:.3}s", elapsed.as_secs_f64())
}

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
    text
}

/// Each key with the text of its default, for the help.
pub(crate) fn default_values(defaults: &Settings) -> Vec<(&'static str, String)> {
    let texts = rows(defaults).into_iter().map(|row| {
        let text = match row.value {
            Ok(value) if row.key == "workers" => format!("one per core, here {value}"),
            Ok(value) if value != "[]" => value,
            _ => "not set".to_owned(),
        };
        (row.key, text)
    });
    texts.collect()
}

/// Every setting, in the order of the help.
fn rows(settings: &Settings) -> Vec<Row> {
    let (node, origins) = (&settings.node, &settings.node_origins);
    let quoted = |text: &str| Ok(string(text));
    let span = |value| Ok(string(&duration(value)));
    let row = |key, value, origin: &Origin| Row { key, value, origin: origin.clone() };
    let advertise = node.advertise.as_ref().map(|addr| string(&addr.to_string()));
    let dir = settings.data_dir.value.as_ref().map(|dir: &PathBuf| string(&dir.to_string_lossy()));
    let format = &settings.log_format;
    let security = &settings.security;
    let hello = node.session.handshake_timeout;
    vec![
        row("listen", Ok(list(&node.listen)), &origins.listen),
        row("advertise", advertise.ok_or("\"HOST:PORT\""), &origins.advertise),
        row("bootstrap", Ok(list(&node.bootstrap)), &origins.bootstrap),
        row("ping-interval", span(node.liveness.ping_interval), &origins.ping_interval),
        row("dead-after", span(node.liveness.dead_after), &origins.dead_after),
        row("handshake-timeout", span(hello), &origins.handshake_timeout),
        row("security", quoted(security.value.text()), &security.origin),
        row("data-dir", dir.ok_or("\"DIR\""), &settings.data_dir.origin),
        row("ephemeral", Ok(settings.ephemeral.value.to_string()), &settings.ephemeral.origin),
        row("no-api", Ok(settings.no_api.value.to_string()), &settings.no_api.origin),
        row("log", quoted(&settings.log.value), &settings.log.origin),
        row("log-format", quoted(format.value.text()), &format.origin),
        row("workers", Ok(node.workers.to_string()), &origins.workers),
    ]
}

impl Row {
    /// Assignment and comment; what is not set is commented out.
    fn line(&self) -> (String, String) {
        let comment = self.origin.describe(self.key);
        match &self.value {
            Ok(value) => (format!("{:17} = {value}", self.key), comment),
            Err(example) => {
                let key = format!("# {}", self.key);
                (format!("{key:17} = {example}"), format!("{comment}: not set"))
            }
        }
    }
}

/// A TOML string.
fn string(text: &str) -> String {
    // Every JSON string is a TOML basic string, once DEL is escaped too.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A TOML list.
fn list(addrs: &[impl ToString]) -> String {
    let items: Vec<String> = addrs.iter().map(|addr| string(&addr.to_string())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(addrs: &[&str]) -> Vec<HostPort> {
        addrs.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    #[test]
    fn the_join_command_can_be_dialled_and_pasted() {
        for (program, listen, command) in [
            (
                "peerage",
                "0.0.0.0:5999",
                "peerage run --listen 127.0.0.1:0 --bootstrap 127.0.0.1:5999",
            ),
            ("", "127.0.0.1:1", "peerage run --listen 127.0.0.1:0 --bootstrap 127.0.0.1:1"),
            ("/a/b", "10.0.0.7:1", "/a/b run --listen 10.0.0.7:0 --bootstrap 10.0.0.7:1"),
            ("/a b/it's", "[::]:1", r"'/a b/it'\''s' run --listen '[::1]:0' --bootstrap '[::1]:1'"),
        ] {
            assert_eq!(join_command(program, &listening(&[listen])).unwrap(), command);
        }
        assert_eq!(join_command("peerage", &[]), None);
    }

    #[test]
    fn the_start_lines_say_id_addresses_and_join_command() {
        let listen = listening(&["0.0.0.0:5999", "[::]:5999"]);
        let join = join_command("peerage", &listen);
        let started = Started { id: "an-id".to_owned(), listen, join };
        let expected = format!(
            "peerage {}, node an-id\nlistening on 0.0.0.0:5999\nlistening on [::]:5999\n\
             to join it from another terminal: \
             peerage run --listen 127.0.0.1:0 --bootstrap 127.0.0.1:5999\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(started.text(), expected);
    }

    #[test]
    fn the_settings_print_as_toml_with_aligned_origins() {
        let value = Some("a\n\"b\"\u{7f}".into());
        let data_dir = Sourced { value, origin: Origin::File("odd\nname".into()) };
        let mut settings = Settings { data_dir, ..Settings::default() };
        settings.node.bootstrap =
            listening(&["a.example:1"; 9]).into_iter().map(Into::into).collect();
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
}
