//! Layers against settings, on a machine of their own.

use std::{collections::BTreeMap, str::FromStr as _};

use peerage::{Bootstrap, PublicKey, Security, Tags};

use super::*;
use crate::cli::layer::{Layer, Origin};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn with_file(flags: Layer, env: Layer, file: Layer) -> Layers {
    Layers { flags, env, file: Some(("n.toml".into(), file)) }
}

fn flags(flags: Layer) -> Layers {
    Layers { flags, ..Layers::default() }
}

/// Resolves on a machine with a home, and with these files.
fn resolved_with(layers: &Layers, files: &[(&str, &str)]) -> Result<Settings, UsageError> {
    let files: BTreeMap<&Path, &str> =
        files.iter().map(|(p, text)| (Path::new(p), *text)).collect();
    let read = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    resolve(layers, None, &Machine { data_dir: Some("home".into()), read: &read })
}

fn resolved(layers: &Layers) -> Result<Settings, UsageError> {
    resolved_with(layers, &[])
}

#[track_caller]
fn refused(layers: &Layers) -> String {
    resolved(layers).unwrap_err().to_string()
}

fn defaults() -> Settings {
    Settings::by_default(Some("home".into()))
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(resolved(&Layers::default()), Ok(defaults()));
    assert_eq!(defaults().node.validate(), Ok(()));
    assert_eq!(defaults().node.listen, ["0.0.0.0:5999".parse().unwrap()]);
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
        let settings = resolved(&with_file(flag, env, file)).unwrap();
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
    let settings = resolved(&layers).unwrap();
    assert_eq!(settings.node.bootstrap, ["a:1".parse().unwrap()]);
    assert_eq!(settings.node.listen, ["0.0.0.0:7".parse().unwrap()]);
    assert_eq!(settings.node_origins.of("bootstrap"), Origin::Flag);
    assert_eq!(settings.node_origins.of("listen"), Origin::Env);
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
        (nothing(), nothing(), nothing(), Some("home"), false),
        (ephemeral(), dir(), nothing(), None, true),
        (dir(), ephemeral(), nothing(), Some("d"), false),
        (nothing(), dir(), ephemeral(), Some("d"), false),
        (nothing(), ephemeral(), dir(), None, true),
        (undo(), ephemeral(), nothing(), Some("home"), false),
        (undo(), ephemeral(), dir(), Some("d"), false),
        (undo(), nothing(), dir(), Some("d"), false),
        (nothing(), nothing(), both_ways(), Some("d"), false),
    ] {
        let settings = resolved(&with_file(flags, env, file)).unwrap();
        assert_eq!(settings.storage.data_dir.value, dir.map(PathBuf::from));
        assert_eq!(settings.storage.ephemeral.value, is_ephemeral);
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
fn tags_are_pairs_and_each_name_is_there_once() {
    let tagged = |tags: &[&str]| {
        let tag = Some(tags.iter().map(|tag| (*tag).to_owned()).collect());
        flags(Layer { tag, ..Layer::default() })
    };
    let settings = resolved(&tagged(&["region=eu", " a=b=c", "gpu= 2"])).unwrap();
    let expected = [("a", "b=c"), ("gpu", " 2"), ("region", "eu")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(settings.node.tags, Tags::from(expected));
    for (tags, why) in [
        (&["region"][..], "bad value \"region\" for --tag: expected KEY=VALUE"),
        (&["=eu"], "bad value \"=eu\" for --tag: the name and the value of a tag have 1 to 64"),
        (&["a=1", "a=1"], "bad value \"a=1\" for --tag: there is another value for a"),
    ] {
        let text = refused(&tagged(tags));
        assert!(text.starts_with(why), "{text}");
    }
    let many: Vec<String> = (0..17).map(|n| format!("k{n}=v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = refused(&tagged(&many));
    assert_eq!(text, "a node has at most 16 tags; tag is from flag --tag");
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
        let settings = resolved(&ping(text)).unwrap();
        assert_eq!(settings.node.liveness.ping_interval, Duration::from_millis(millis));
    }
    for text in ["60", "", "-1s", "soon", "0s", "1ns", "1000000years", "99999999999999999999s"] {
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
fn without_a_home_a_directory_must_be_named_or_none_wanted() {
    let machine = Machine { data_dir: None, read: &|_| Err(io::ErrorKind::NotFound.into()) };
    let resolve = |layer| resolve(&flags(layer), None, &machine);
    let text = resolve(Layer::default()).unwrap_err().to_string();
    assert!(text.contains("--data-dir DIR") && text.contains("--ephemeral"), "{text}");
    assert!(resolve(storage(Some("d"), None)).is_ok());
    assert!(resolve(storage(None, Some("true"))).is_ok());
    let layers = flags(storage(None, Some("true")));
    assert_eq!(resolve_data_dir(&layers, &machine), Err(UsageError::NoHome));
    let layers = flags(storage(Some("d"), None));
    assert_eq!(resolve_data_dir(&layers, &machine), Ok("d".into()));
}

#[test]
fn security_is_one_of_three() {
    let security = |text| flags(Layer { security: some(text), ..Layer::default() });
    for (text, value) in
        [("off", Security::Off), ("prefer", Security::Prefer), (" require", Security::Require)]
    {
        assert_eq!(resolved(&security(text)).unwrap().node.security, value);
    }
    refused(&security("on"));
}

#[test]
fn a_bootstrap_may_be_pinned_to_an_id_that_proves_itself() {
    let bootstrap =
        |text: &str| flags(Layer { bootstrap: Some(vec![text.to_owned()]), ..Layer::default() });
    let text = format!("seed.example:1/{}", id(1));
    let settings = resolved(&bootstrap(&text)).unwrap();
    assert_eq!(settings.node.bootstrap, [Bootstrap::from_str(&text).unwrap()]);
    for text in ["a:1/", "a:1/x", "a:0", "a:1/0e8bd4d8-9c5d-4a1d-a4ee-16f1ab2c7d0a"] {
        let error = refused(&bootstrap(text));
        assert!(error.starts_with("bad value ") && error.contains("--bootstrap"), "{error}");
    }
}

/// An id that follows from a key.
fn id(n: u8) -> peerage::NodeId {
    PublicKey::from_bytes([n; 32]).node_id()
}

/// A layer that names these files.
fn files(network_key: Option<&str>, allow: Option<&str>) -> Layer {
    let (network_key, allow) = (network_key.map(PathBuf::from), allow.map(PathBuf::from));
    Layer { network_key, allow, ..Layer::default() }
}

#[test]
fn a_network_key_is_read_from_its_file_and_its_errors_say_which() {
    let contents = [("k", "0123456789abcdef\n"), ("short", "0123\n")];
    let layers = flags(files(Some("k"), None));
    let settings = resolved_with(&layers, &contents).unwrap();
    let expected = peerage::NetworkKey::new(b"0123456789abcdef").unwrap();
    assert_eq!(settings.node.trust.network_key, Some(expected));
    assert_eq!(settings.trust_files.network_key, Some("k".into()));
    assert_eq!(settings.node_origins.of("network-key"), Origin::Flag);
    for (path, why) in
        [("short", "(try: openssl rand -hex 32)"), ("absent", "cannot read it: "), ("", "is empty")]
    {
        let layers = flags(files(Some(path), None));
        let error = resolved_with(&layers, &contents).unwrap_err().to_string();
        assert!(error.contains(&format!("\"{path}\" for --network-key: ")), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn allowed_ids_are_read_one_a_line_with_comments() {
    let text = format!("# friends\n\n{} # the seed\n  {}\r\n", id(1), id(2));
    let settings = resolved_with(&flags(files(None, Some("a"))), &[("a", &text)]).unwrap();
    assert_eq!(settings.node.trust.allow, Some([id(1), id(2)].into()));
    assert_eq!(settings.trust_files.allow, Some("a".into()));
    for (text, why) in [
        ("\nfriend # of mine\n", "a:2: bad value \"friend\": expected a node id"),
        ("0e8bd4d8-9c5d-4a1d-a4ee-16f1ab2c7d0a", "expected an id of version 8"),
        ("\u{1b}", "a:1: bad value \"\\u{1b}\": expected a node id"),
        ("# nobody yet\n", "a lists no node id, so nobody could connect"),
    ] {
        let error = resolved_with(&flags(files(None, Some("a"))), &[("a", text)]).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn allowed_ids_may_stand_in_the_configuration_file_and_a_stronger_layer_replaces_them() {
    let table = |ids: &[String]| Layer { allowed: Some(ids.to_vec()), ..Layer::default() };
    let one = table(&[id(1).to_string()]);
    let settings = resolved(&with_file(Layer::default(), Layer::default(), one.clone())).unwrap();
    assert_eq!(settings.node.trust.allow, Some([id(1)].into()));
    assert_eq!(settings.trust_files.allow, None);
    assert_eq!(settings.node_origins.of("allow"), Origin::File("n.toml".into()));

    let layers = with_file(files(None, Some("a")), Layer::default(), one.clone());
    let settings = resolved_with(&layers, &[("a", &id(2).to_string())]).unwrap();
    assert_eq!(settings.node.trust.allow, Some([id(2)].into()));

    let in_file = |layer| with_file(Layer::default(), Layer::default(), layer);
    let both = Layer { allow: Some("a".into()), ..one };
    assert_eq!(
        refused(&in_file(both)),
        "\"allow\" in n.toml and \"trust.allow\" in n.toml exclude each other: give one of them"
    );
    let error = refused(&in_file(table(&["x".to_owned()])));
    assert!(error.starts_with("bad value \"x\" for \"trust.allow\" in n.toml: "), "{error}");
    let error = refused(&in_file(table(&[])));
    assert!(error.starts_with("\"trust.allow\" in n.toml lists no node id"), "{error}");
}

#[test]
fn what_needs_encryption_is_refused_without_with_both_origins() {
    let contents = [("k", "0123456789abcdef"), ("a", &*id(1).to_string())];
    for (layer, key) in [(files(Some("k"), None), "network-key"), (files(None, Some("a")), "allow")]
    {
        let off = Layer { security: some("off"), ..Layer::default() };
        let error = resolved_with(&with_file(layer, off, Layer::default()), &contents);
        assert_eq!(
            error.unwrap_err().to_string(),
            format!(
                "what {key} asks for needs encryption, so security must not be off; \
                 {key} is from flag --{key}, security is from env PEERAGE_SECURITY"
            )
        );
    }
}

#[test]
fn a_network_name_is_short_and_printable() {
    let network = |text: &str| flags(Layer { network: some(text), ..Layer::default() });
    assert_eq!(resolved(&network("my net")).unwrap().node.network, "my net");
    for text in ["", "a\tb", &"x".repeat(65)] {
        let error = refused(&network(text));
        assert!(error.ends_with("; network is from flag --network"), "{error}");
    }
}

#[test]
fn limits_are_numbers_within_their_ranges() {
    for limit in &LIMITS {
        let layer =
            |text: String| flags(Layer { limits: [(limit.key, text)].into(), ..Layer::default() });
        let (start, end) = (*limit.range.start(), *limit.range.end());
        for n in [start, end] {
            let settings = resolved(&layer(n.to_string())).unwrap();
            assert_eq!((limit.get)(&settings.node), n);
            assert_eq!(settings.node_origins.of(limit.key), Origin::Flag);
        }
        for text in [(end + 1).to_string(), (start as i64 - 1).to_string(), "many".to_owned()] {
            let error = refused(&layer(text));
            let expected = format!("--{}: expected a number from {start} to {end}", limit.key);
            assert!(error.ends_with(&expected), "{error}");
        }
    }
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
        Layer { discourage_for: some("long"), ..layer() },
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
