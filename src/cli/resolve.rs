//! From layers of raw text to settings: flag over environment over file over default.
//!
//! Owns: which layer wins, what the texts mean, which combinations are refused. Pure: it reads
//! no file, no environment and no clock. Only the winning value of a setting is parsed.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use peerage::{Bootstrap, HostPort, NodeConfig, config::ConfigError};
use tracing_subscriber::EnvFilter;

use super::{
    error::{UsageError, duration},
    layer::{Layer, Layers, Origin, Sourced},
};

/// The longest duration that can be asked for; nothing longer makes sense, and adding it to a
/// clock must not overflow.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// The shortest duration that can be asked for; timers have no finer grain.
const MIN_DURATION: Duration = Duration::from_millis(1);

/// The most threads that can be asked for; a guess at "surely a typing error".
const MAX_WORKERS: usize = 256;

/// How many pings of a devnet's node may stay unanswered before it is dead.
const DEVNET_MISSED_PINGS: u32 = 4;

/// Everything `peerage run` is told, and by whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The configuration file that was read.
    pub(crate) config: Option<Sourced<PathBuf>>,
    /// What the node is started with.
    pub(crate) node: NodeConfig,
    /// Where the fields of `node` come from.
    pub(crate) node_origins: NodeOrigins,
    /// Whether sessions are encrypted.
    pub(crate) security: Sourced<Security>,
    /// Where to keep what outlives a run.
    pub(crate) data_dir: Sourced<Option<PathBuf>>,
    /// Keep nothing.
    pub(crate) ephemeral: Sourced<bool>,
    /// Do not serve the control API.
    pub(crate) no_api: Sourced<bool>,
    /// What to log; it is known to parse.
    pub(crate) log: Sourced<String>,
    /// How to log.
    pub(crate) log_format: Sourced<LogFormat>,
}

/// Where the fields of a [`NodeConfig`] that can be set come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeOrigins {
    /// Of `listen`.
    pub(crate) listen: Origin,
    /// Of `advertise`.
    pub(crate) advertise: Origin,
    /// Of `bootstrap`.
    pub(crate) bootstrap: Origin,
    /// Of `liveness.ping_interval`.
    pub(crate) ping_interval: Origin,
    /// Of `liveness.dead_after`.
    pub(crate) dead_after: Origin,
    /// Of `session.handshake_timeout`.
    pub(crate) handshake_timeout: Origin,
    /// Of `workers`.
    pub(crate) workers: Origin,
}

/// Everything `peerage devnet` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevnetSettings {
    /// How many nodes.
    pub(crate) nodes: usize,
    /// What to log; it is known to parse.
    pub(crate) log: String,
    /// Time from one ping to the next.
    pub(crate) ping_interval: Duration,
}

/// Whether sessions are encrypted. `require` is refused while it cannot be honoured, so it has no
/// value here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// Never.
    Off,
    /// With peers that can; none can yet.
    Prefer,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A part of a value that does not parse, and why.
struct Wrong {
    /// The part.
    part: String,
    /// What was expected.
    why: String,
}

impl Security {
    /// As it is typed.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Prefer => "prefer",
        }
    }
}

impl LogFormat {
    /// As it is typed.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let node = NodeConfig {
            listen: vec![HostPort::from(std::net::SocketAddr::from(([0, 0, 0, 0], 5999)))],
            ..NodeConfig::default()
        };
        Self {
            config: None,
            node,
            node_origins: NodeOrigins::default(),
            security: by_default(Security::Prefer),
            data_dir: by_default(None),
            ephemeral: by_default(false),
            no_api: by_default(false),
            log: by_default("info".to_owned()),
            log_format: by_default(LogFormat::Text),
        }
    }
}

impl Default for NodeOrigins {
    fn default() -> Self {
        let origin = || Origin::Default;
        Self {
            listen: origin(),
            advertise: origin(),
            bootstrap: origin(),
            ping_interval: origin(),
            dead_after: origin(),
            handshake_timeout: origin(),
            workers: origin(),
        }
    }
}

impl Default for DevnetSettings {
    fn default() -> Self {
        Self { nodes: 5, log: "warn".to_owned(), ping_interval: Duration::from_secs(5) }
    }
}

impl DevnetSettings {
    /// Silence after which a node is dead.
    pub(crate) const fn dead_after(&self) -> Duration {
        self.ping_interval.saturating_mul(DEVNET_MISSED_PINGS)
    }
}

/// A value nobody asked for.
const fn by_default<T>(value: T) -> Sourced<T> {
    Sourced { value, origin: Origin::Default }
}

/// Merges the layers.
pub(crate) fn resolve(
    layers: &Layers,
    config: Option<Sourced<PathBuf>>,
) -> Result<Settings, UsageError> {
    let Settings { mut node, mut node_origins, security, log, log_format, no_api, .. } =
        Settings::default();
    resolve_node(layers, &mut node, &mut node_origins)?;
    let (data_dir, ephemeral) = resolve_storage(layers)?;
    Ok(Settings {
        config,
        node,
        node_origins,
        security: resolve_security(layers)?.unwrap_or(security),
        data_dir,
        ephemeral,
        no_api: pick(layers, "no-api", |layer| layer.no_api.as_deref(), parse_switch)?
            .unwrap_or(no_api),
        log: pick(layers, "log", |layer| layer.log.as_deref(), parse_filter)?.unwrap_or(log),
        log_format: pick(layers, "log-format", |layer| layer.log_format.as_deref(), parse_format)?
            .unwrap_or(log_format),
    })
}

/// Merges the layers of a devnet; the number of nodes is checked already.
pub(crate) fn resolve_devnet(nodes: usize, layers: &Layers) -> Result<DevnetSettings, UsageError> {
    let default = DevnetSettings::default();
    let log = pick(layers, "log", |layer| layer.log.as_deref(), parse_filter)?;
    let ping = pick(layers, "ping-interval", |l| l.ping_interval.as_deref(), parse_duration)?;
    Ok(DevnetSettings {
        nodes,
        log: log.map_or(default.log, |log| log.value),
        ping_interval: ping.map_or(default.ping_interval, |ping| ping.value),
    })
}

/// The part of the settings that the library knows.
fn resolve_node(
    layers: &Layers,
    node: &mut NodeConfig,
    origins: &mut NodeOrigins,
) -> Result<(), UsageError> {
    let listen =
        pick(layers, "listen", |l| l.listen.as_deref(), |list| parse_list(list, parse_addr));
    put(listen?, &mut node.listen, &mut origins.listen);
    let advertise = pick(
        layers,
        "advertise",
        |l| l.advertise.as_deref(),
        |text| parse_dialable(text).map(Some),
    );
    put(advertise?, &mut node.advertise, &mut origins.advertise);
    let bootstrap = pick(
        layers,
        "bootstrap",
        |l| l.bootstrap.as_ref(),
        |list| parse_list(list, |text| parse_dialable(text).map(Bootstrap::from)),
    );
    put(bootstrap?, &mut node.bootstrap, &mut origins.bootstrap);
    let ping = pick(layers, "ping-interval", |l| l.ping_interval.as_deref(), parse_duration);
    put(ping?, &mut node.liveness.ping_interval, &mut origins.ping_interval);
    let dead = pick(layers, "dead-after", |l| l.dead_after.as_deref(), parse_duration);
    put(dead?, &mut node.liveness.dead_after, &mut origins.dead_after);
    let hello =
        pick(layers, "handshake-timeout", |l| l.handshake_timeout.as_deref(), parse_duration);
    put(hello?, &mut node.session.handshake_timeout, &mut origins.handshake_timeout);
    let workers = pick(layers, "workers", |l| l.workers.as_deref(), parse_workers);
    put(workers?, &mut node.workers, &mut origins.workers);
    node.validate().map_err(|error| {
        let origins = match error {
            ConfigError::PingAboveDeadAfter { .. } => vec![
                ("ping-interval", origins.ping_interval.clone()),
                ("dead-after", origins.dead_after.clone()),
            ],
            _ => Vec::new(),
        };
        UsageError::Together { error, origins }
    })
}

/// `--data-dir` and `--ephemeral`: the strongest layer that says either decides; one layer that
/// says both is an error; `--ephemeral=false` only takes back what weaker layers say.
fn resolve_storage(
    layers: &Layers,
) -> Result<(Sourced<Option<PathBuf>>, Sourced<bool>), UsageError> {
    let mut data_dir = None;
    let mut ephemeral: Option<Sourced<bool>> = None;
    for (origin, layer) in layers.strongest_first() {
        let dir = layer.data_dir.as_deref().map(|dir| parsed(&origin, "data-dir", dir, parse_dir));
        let is_ephemeral = layer.ephemeral.as_deref();
        let is_ephemeral = is_ephemeral.map(|on| parsed(&origin, "ephemeral", on, parse_switch));
        let (dir, is_ephemeral) = (dir.transpose()?, is_ephemeral.transpose()?);
        if dir.is_some() && is_ephemeral == Some(true) {
            return Err(UsageError::DirAndEphemeral(origin));
        }
        let is_decided = data_dir.is_some() || ephemeral.as_ref().is_some_and(|on| on.value);
        if is_decided {
            continue;
        }
        if let Some(value) = is_ephemeral.or(dir.is_some().then_some(false))
            && ephemeral.is_none()
        {
            ephemeral = Some(Sourced { value, origin: origin.clone() });
        }
        if let Some(dir) = dir {
            data_dir = Some(Sourced { value: Some(dir), origin });
        }
    }
    Ok((data_dir.unwrap_or(by_default(None)), ephemeral.unwrap_or(by_default(false))))
}

/// `--security`, of which `require` cannot be honoured yet.
fn resolve_security(layers: &Layers) -> Result<Option<Sourced<Security>>, UsageError> {
    let picked = pick(
        layers,
        "security",
        |l| l.security.as_ref(),
        |text| match text.trim() {
            "off" => Ok(Some(Security::Off)),
            "prefer" => Ok(Some(Security::Prefer)),
            "require" => Ok(None),
            _ => wrong(text, "expected off, prefer or require"),
        },
    )?;
    match picked {
        Some(Sourced { value: Some(value), origin }) => Ok(Some(Sourced { value, origin })),
        Some(Sourced { value: None, origin }) => Err(UsageError::CannotRequire(origin)),
        None => Ok(None),
    }
}

/// The value of a setting in the strongest layer that has one.
fn pick<'a, T: 'a + ?Sized, R>(
    layers: &'a Layers,
    key: &'static str,
    get: impl Fn(&'a Layer) -> Option<&'a T>,
    parse: impl Fn(&'a T) -> Result<R, Wrong>,
) -> Result<Option<Sourced<R>>, UsageError> {
    let found = layers.strongest_first().find_map(|(origin, layer)| Some((origin, get(layer)?)));
    let Some((origin, raw)) = found else { return Ok(None) };
    let value = parsed(&origin, key, raw, parse)?;
    Ok(Some(Sourced { value, origin }))
}

/// One raw value, parsed; the error says where it stands.
fn parsed<'a, T: ?Sized, R>(
    origin: &Origin,
    key: &'static str,
    raw: &'a T,
    parse: impl Fn(&'a T) -> Result<R, Wrong>,
) -> Result<R, UsageError> {
    parse(raw).map_err(|Wrong { part, why }| UsageError::BadValue {
        key,
        origin: origin.clone(),
        value: part,
        why,
    })
}

/// Stores what was picked, if anything was.
fn put<T>(picked: Option<Sourced<T>>, value: &mut T, origin: &mut Origin) {
    if let Some(picked) = picked {
        *value = picked.value;
        *origin = picked.origin;
    }
}

/// A refusal of `part`.
fn wrong<T>(part: &str, why: impl ToString) -> Result<T, Wrong> {
    Err(Wrong { part: part.to_owned(), why: why.to_string() })
}

/// Every item of a list.
fn parse_list<R>(
    list: &[String],
    parse: impl Fn(&str) -> Result<R, Wrong>,
) -> Result<Vec<R>, Wrong> {
    list.iter().map(|text| parse(text)).collect()
}

/// An address.
fn parse_addr(text: &str) -> Result<HostPort, Wrong> {
    HostPort::from_str(text.trim()).or_else(|error| wrong(text, error))
}

/// An address that somebody could dial.
fn parse_dialable(text: &str) -> Result<HostPort, Wrong> {
    let addr = parse_addr(text)?;
    match addr.check_dialable() {
        Ok(()) => Ok(addr),
        Err(error) => wrong(text, error),
    }
}

/// A duration within reason.
fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    match humantime::parse_duration(text.trim()) {
        Ok(value) if value < MIN_DURATION || value > MAX_DURATION => {
            let (min, max) = (duration(MIN_DURATION), MAX_DURATION.as_secs() / 86400);
            wrong(text, format_args!("expected at least {min} and at most {max}days"))
        }
        Ok(value) => Ok(value),
        Err(error) => {
            wrong(text, format_args!("expected a duration such as 200ms, 60s or 5m ({error})"))
        }
    }
}

/// A switch.
fn parse_switch(text: &str) -> Result<bool, Wrong> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => wrong(text, "expected true or false"),
    }
}

/// A directory's path.
fn parse_dir(path: &Path) -> Result<PathBuf, Wrong> {
    if path.as_os_str().is_empty() {
        wrong("", "the path is empty")
    } else {
        Ok(path.to_path_buf())
    }
}

/// A number of threads within reason.
fn parse_workers(text: &str) -> Result<usize, Wrong> {
    match text.trim().parse() {
        Ok(n) if (1..=MAX_WORKERS).contains(&n) => Ok(n),
        _ => wrong(text, format_args!("expected a number from 1 to {MAX_WORKERS}")),
    }
}

/// A log filter, which stays text.
fn parse_filter(text: &str) -> Result<String, Wrong> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => wrong(
            text,
            format_args!("expected a level (info) or target=level (warn,peerage=debug): {error}"),
        ),
    }
}

/// A log format.
fn parse_format(text: &str) -> Result<LogFormat, Wrong> {
    match text.trim() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => wrong(text, "expected text or json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn with_file(flags: Layer, env: Layer, file: Layer) -> Layers {
        Layers { flags, env, file: Some(("n.toml".into(), file)) }
    }

    fn flags(flags: Layer) -> Layers {
        Layers { flags, ..Layers::default() }
    }

    #[track_caller]
    fn refused(layers: &Layers) -> String {
        resolve(layers, None).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(resolve(&Layers::default(), None), Ok(Settings::default()));
        assert_eq!(Settings::default().node.validate(), Ok(()));
        assert_eq!(Settings::default().node.listen, ["0.0.0.0:5999".parse().unwrap()]);
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let log = |text| Layer { log: some(text), ..Layer::default() };
        let empty = Layer::default;
        for (flag, env, file, value, origin) in [
            (log("trace"), log("debug"), log("warn"), "trace", Origin::Flag),
            (empty(), log("debug"), log("warn"), "debug", Origin::Env),
            (empty(), empty(), log("warn"), "warn", Origin::File("n.toml".into())),
            (empty(), empty(), empty(), "info", Origin::Default),
        ] {
            let settings = resolve(&with_file(flag, env, file), None).unwrap();
            assert_eq!(settings.log, Sourced { value: value.to_owned(), origin });
        }
    }

    #[test]
    fn a_stronger_list_replaces_a_weaker_one() {
        let list = |addr: &str| Some(vec![addr.to_owned()]);
        let layers = with_file(
            Layer { bootstrap: list("a:1"), ..Layer::default() },
            Layer { bootstrap: list("b:2"), listen: list("0.0.0.0:7"), ..Layer::default() },
            Layer::default(),
        );
        let settings = resolve(&layers, None).unwrap();
        assert_eq!(settings.node.bootstrap, ["a:1".parse().unwrap()]);
        assert_eq!(settings.node.listen, ["0.0.0.0:7".parse().unwrap()]);
        assert_eq!(settings.node_origins.bootstrap, Origin::Flag);
        assert_eq!(settings.node_origins.listen, Origin::Env);
    }

    fn storage(dir: Option<&str>, ephemeral: Option<&str>) -> Layer {
        let ephemeral = ephemeral.map(str::to_owned);
        Layer { data_dir: dir.map(PathBuf::from), ephemeral, ..Layer::default() }
    }

    #[test]
    fn the_strongest_layer_decides_between_a_directory_and_none() {
        let nothing = || storage(None, None);
        let dir = || storage(Some("d"), None);
        let ephemeral = || storage(None, Some("true"));
        let undo = || storage(None, Some("false"));
        let both_ways = || storage(Some("d"), Some("false"));
        for (flags, env, file, dir, is_ephemeral) in [
            (nothing(), nothing(), nothing(), None, false),
            (ephemeral(), dir(), nothing(), None, true),
            (dir(), ephemeral(), nothing(), Some("d"), false),
            (nothing(), dir(), ephemeral(), Some("d"), false),
            (nothing(), ephemeral(), dir(), None, true),
            (undo(), ephemeral(), nothing(), None, false),
            (undo(), ephemeral(), dir(), Some("d"), false),
            (undo(), nothing(), dir(), Some("d"), false),
            (nothing(), nothing(), both_ways(), Some("d"), false),
        ] {
            let settings = resolve(&with_file(flags, env, file), None).unwrap();
            assert_eq!(settings.data_dir.value, dir.map(PathBuf::from));
            assert_eq!(settings.ephemeral.value, is_ephemeral);
        }
    }

    #[test]
    fn a_directory_and_none_on_one_layer_are_refused_by_their_names_there() {
        let both = || storage(Some("d"), Some("yes"));
        assert_eq!(
            refused(&flags(both())),
            "--data-dir and --ephemeral exclude each other: give one of them"
        );
        let env = Layers { env: both(), ..Layers::default() };
        assert!(refused(&env).starts_with("PEERAGE_DATA_DIR and PEERAGE_EPHEMERAL exclude"));
        let file = with_file(storage(None, Some("true")), Layer::default(), both());
        assert!(refused(&file).starts_with("\"data-dir\" in n.toml and \"ephemeral\" in n.toml"));
    }

    #[test]
    fn a_bad_value_is_named_with_its_layer() {
        let list = |addr: &str| Some(vec!["127.0.0.1:1".to_owned(), addr.to_owned()]);
        let layer = |addr| Layer { listen: list(addr), ..Layer::default() };
        assert_eq!(
            refused(&flags(layer("127.0.0.1"))),
            "bad value \"127.0.0.1\" for --listen: expected HOST:PORT, but there is no port"
        );
        let env = Layers { env: layer("a:70000"), ..Layers::default() };
        assert_eq!(
            refused(&env),
            "bad value \"a:70000\" for PEERAGE_LISTEN: the port must be a number from 0 to 65535"
        );
        let file = with_file(Layer::default(), Layer::default(), layer(":1"));
        assert_eq!(refused(&file), "bad value \":1\" for \"listen\" in n.toml: the host is empty");
    }

    #[test]
    fn addresses_nobody_can_dial_are_refused_where_they_would_be_dialled() {
        for addr in ["1.2.3.4:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1"] {
            let bootstrap = Some(vec![addr.to_owned()]);
            refused(&flags(Layer { bootstrap, ..Layer::default() }));
            refused(&flags(Layer { advertise: some(addr), ..Layer::default() }));
        }
    }

    #[test]
    fn durations_need_a_unit_and_reason() {
        let ping = |text: &str| flags(Layer { ping_interval: some(text), ..Layer::default() });
        for (text, millis) in [("200ms", 200), ("60s", 60_000), (" 1m 30s ", 90_000)] {
            let settings = resolve(&ping(text), None).unwrap();
            assert_eq!(settings.node.liveness.ping_interval, Duration::from_millis(millis));
        }
        for text in ["60", "", "-1s", "soon", "0s", "1ns", "1000000years", "99999999999999999999s"]
        {
            let error = refused(&ping(text));
            assert!(error.starts_with("bad value ") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn an_interval_above_dead_after_is_refused_with_both_origins() {
        let layers = with_file(
            Layer { ping_interval: some("10m"), ..Layer::default() },
            Layer::default(),
            Layer { dead_after: some("5m"), ..Layer::default() },
        );
        assert_eq!(
            refused(&layers),
            "ping-interval (10m) must not be longer than dead-after (5m); \
             ping-interval is from flag --ping-interval, dead-after is from file n.toml"
        );
    }

    #[test]
    fn encryption_cannot_be_required_and_the_error_says_what_to_do() {
        let security = |text| flags(Layer { security: some(text), ..Layer::default() });
        let error = refused(&security("require"));
        assert!(error.starts_with("--security cannot be \"require\": "), "{error}");
        assert!(error.contains("does not encrypt yet"), "{error}");
        refused(&security("on"));
        let settings = resolve(&security("off"), None).unwrap();
        assert_eq!(settings.security.value, Security::Off);
    }

    #[test]
    fn the_other_values_are_checked_too() {
        let layer = Layer::default;
        for bad in [
            Layer { log: some("peerage=loud"), ..layer() },
            Layer { log_format: some("xml"), ..layer() },
            Layer { workers: some("0"), ..layer() },
            Layer { workers: some("-1"), ..layer() },
            Layer { workers: some("100000"), ..layer() },
            Layer { no_api: some("maybe"), ..layer() },
            Layer { data_dir: Some(PathBuf::new()), ..layer() },
        ] {
            let error = refused(&flags(bad));
            assert!(error.starts_with("bad value ") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_devnet_lets_four_pings_go_unanswered() {
        let layers = flags(Layer { ping_interval: some("300ms"), ..Layer::default() });
        let settings = resolve_devnet(3, &layers).unwrap();
        assert_eq!((settings.nodes, settings.dead_after()), (3, Duration::from_millis(1200)));
    }
}
