//! The program from outside: what it prints, how it fails, how it ends.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod program;

use std::{net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use program::{
    BOUND, From, PEERAGE, STOP_BOUND, chmod, finish, id_of, join_of, node, node_with_a_disk, paste,
    peerage, refused, start, stdout_of,
};
use tempfile::TempDir;

// ---------------------------------------------------------------- help

#[test]
fn the_help_teaches() {
    let dir = TempDir::new().unwrap();
    let help = stdout_of(peerage(dir.path(), &["--help"]));
    for needed in
        ["run", "config", "devnet", "id", "Examples:", "peerage devnet", "Exit status:", "70"]
    {
        assert!(help.contains(needed), "{needed}: {help}");
    }
    let help = stdout_of(peerage(dir.path(), &["devnet", "--help"]));
    for needed in ["--nodes", "2 to 50", "[default: 5]", "PEERAGE_LOG", "Examples:", "Ctrl-C"] {
        assert!(help.contains(needed), "{needed}: {help}");
    }
    let help = stdout_of(peerage(dir.path(), &["id", "--help"]));
    for needed in ["new", "--json", "PEERAGE_DATA_DIR", "Examples:", "never overwritten"] {
        assert!(help.contains(needed), "{needed}: {help}");
    }
    let version = stdout_of(peerage(dir.path(), &["--version"]));
    assert_eq!(version, concat!("peerage ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_of_run_explains_every_setting() {
    let dir = TempDir::new().unwrap();
    for command in ["run", "config"] {
        let help = stdout_of(peerage(dir.path(), &[command, "--help"]));
        for (key, ..) in KEYS {
            let env = format!("PEERAGE_{}", key.to_uppercase().replace('-', "_"));
            for needed in [format!("--{key}"), format!("[env: {env}]"), format!("[key: {key}]")] {
                assert!(help.contains(&needed), "{needed}: {help}");
            }
        }
        for needed in [
            "[default: [\"0.0.0.0:5999\"]]",
            "[env: PEERAGE_CONFIG]",
            "Limits:",
            "[default: \"127.0.0.1:7999\"]",
            "Examples:",
            "Exit status:",
        ] {
            assert!(help.contains(needed), "{needed}: {help}");
        }
    }
}

#[test]
fn without_a_command_the_help_goes_to_stderr() {
    let dir = TempDir::new().unwrap();
    let (code, stdout, stderr) = finish(peerage(dir.path(), &[]));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("Usage: peerage"), "{stderr}");
}

// ---------------------------------------------------------------- layers

/// A key, with a value for the file in TOML, for the environment, and for the flag; the last two
/// also as `peerage config` shows them.
type Key = (&'static str, &'static str, (&'static str, &'static str), (&'static str, &'static str));

/// Every key there is.
const KEYS: [Key; 32] = [
    (
        "listen",
        "[\"127.0.0.1:1\"]",
        ("127.0.0.1:2,[::1]:2", "[\"127.0.0.1:2\", \"[::1]:2\"]"),
        ("127.0.0.1:3", "[\"127.0.0.1:3\"]"),
    ),
    ("advertise", "\"a:1\"", ("a:2", "\"a:2\""), ("a:3", "\"a:3\"")),
    ("bootstrap", "[\"b:1\"]", ("b:2, c:2", "[\"b:2\", \"c:2\"]"), ("b:3", "[\"b:3\"]")),
    ("tag", "[\"k=1\"]", ("k=2,l=x", "[\"k=2\", \"l=x\"]"), ("k=3", "[\"k=3\"]")),
    ("lan", "true", ("false", "false"), ("true", "true")),
    ("ping-interval", "\"1s\"", ("200ms", "\"200ms\""), ("2m", "\"2m\"")),
    ("dead-after", "\"5m\"", ("6m", "\"6m\""), ("7m", "\"7m\"")),
    ("handshake-timeout", "\"1s\"", ("2s", "\"2s\""), ("3s", "\"3s\"")),
    ("security", "\"off\"", ("prefer", "\"prefer\""), ("require", "\"require\"")),
    ("network", "\"n1\"", ("n2", "\"n2\""), ("my net", "\"my net\"")),
    ("network-key", "\"k1\"", ("k2", "\"k2\""), ("k3", "\"k3\"")),
    ("allow", "\"a1\"", ("a2", "\"a2\""), ("a3", "\"a3\"")),
    ("data-dir", "\"d1\"", ("d2", "\"d2\""), ("d3", "\"d3\"")),
    ("ephemeral", "true", ("false", "false"), ("true", "true")),
    ("api", "\"127.0.0.1:1\"", ("[::1]:2", "\"[::1]:2\""), ("localhost:3", "\"127.0.0.1:3\"")),
    ("api-allow-remote", "true", ("0", "false"), ("true", "true")),
    ("api-token-file", "\"t1\"", ("t2", "\"t2\""), ("t3", "\"t3\"")),
    ("no-api", "true", ("0", "false"), ("true", "true")),
    ("log", "\"warn\"", ("debug", "\"debug\""), ("off,peerage=trace", "\"off,peerage=trace\"")),
    ("log-format", "\"json\"", ("text", "\"text\""), ("json", "\"json\"")),
    ("workers", "3", ("4", "4"), ("5", "5")),
    ("discourage-for", "\"1m\"", ("2m", "\"2m\""), ("3m", "\"3m\"")),
    ("max-inbound", "0", ("1", "1"), ("2", "2")),
    ("max-per-address", "1", ("2", "2"), ("3", "3")),
    ("max-per-subnet", "1", ("2", "2"), ("3", "3")),
    ("max-unfinished", "1", ("2", "2"), ("3", "3")),
    ("message-burst", "1", ("2", "2"), ("3", "3")),
    ("messages-per-second", "1", ("2", "2"), ("3", "3")),
    ("addr-burst", "0", ("1", "1"), ("2", "2")),
    ("addrs-per-second", "1", ("2", "2"), ("3", "3")),
    ("outbox-frames", "1", ("2", "2"), ("3", "3")),
    ("outbox-bytes", "65536", ("70000", "70000"), ("80000", "80000")),
];

/// An id that a key gives.
const SOME_ID: &str = "d64f1de8-058e-8ae1-9fa8-428ea5c9a1d1";

/// A directory with the files that [`KEYS`] name.
fn dir_with_files() -> TempDir {
    let dir = TempDir::new().unwrap();
    for n in 1..=3 {
        std::fs::write(dir.path().join(format!("k{n}")), "0123456789abcdef\n").unwrap();
        std::fs::write(dir.path().join(format!("a{n}")), SOME_ID).unwrap();
    }
    dir
}

/// Value and origin of a key in the output of `peerage config`.
#[track_caller]
fn setting(output: &str, key: &str) -> (String, String) {
    let line = output.lines().find(|line| line.split_whitespace().next() == Some(key));
    let line = line.unwrap_or_else(|| panic!("no {key} in {output}"));
    let (value, origin) = line.split_once(" = ").unwrap().1.rsplit_once("  # ").unwrap();
    (value.trim().to_owned(), origin.to_owned())
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let dir = dir_with_files();
    let default = stdout_of(peerage(dir.path(), &["config"]));
    let mut values = default.lines().filter(|line| !line.starts_with('#')).peekable();
    assert!(values.peek().is_some() && values.all(|line| line.ends_with("default")), "{default}");

    for (key, in_file, (env_value, in_env), (flag_value, in_flag)) in KEYS {
        std::fs::write(dir.path().join("n.toml"), format!("{key} = {in_file}\n")).unwrap();
        let env = format!("PEERAGE_{}", key.to_uppercase().replace('-', "_"));
        let flag = format!("--{key}={flag_value}");

        let file = stdout_of(peerage(dir.path(), &["config", "--config", "n.toml"]));
        assert_eq!(setting(&file, key), (in_file.to_owned(), "file n.toml".to_owned()));

        let mut command = peerage(dir.path(), &["config"]);
        command.env("PEERAGE_CONFIG", "n.toml").env(&env, env_value);
        let env_over_file = stdout_of(command);
        assert_eq!(setting(&env_over_file, key), (in_env.to_owned(), format!("env {env}")));

        let mut command = peerage(dir.path(), &["config", "--config", "n.toml", &flag]);
        command.env(&env, env_value);
        let flag_over_env = stdout_of(command);
        assert_eq!(setting(&flag_over_env, key), (in_flag.to_owned(), format!("flag --{key}")));
    }
}

#[test]
fn what_config_prints_is_a_configuration_file_that_means_the_same() {
    let dir = dir_with_files();
    let pinned = format!("[::1]:2/{SOME_ID}");
    let flags = KEYS.iter().filter(|(key, ..)| !["ephemeral", "bootstrap"].contains(key));
    let flags: Vec<String> = flags.map(|(key, .., (flag, _))| format!("--{key}={flag}")).collect();
    let all =
        flags.iter().map(String::as_str).chain(["--bootstrap", "a:1", "--bootstrap", &pinned]);
    for (args, unset) in [
        (
            vec!["--data-dir", "my dir"],
            &["advertise", "network-key", "allow", "api-token-file"][..],
        ),
        (all.collect(), &[]),
    ] {
        let first = stdout_of(peerage(dir.path(), &[&["config"], &args[..]].concat()));
        std::fs::write(dir.path().join("n.toml"), &first).unwrap();
        let second = stdout_of(peerage(dir.path(), &["config", "--config", "n.toml"]));
        for (key, ..) in KEYS.iter().filter(|(key, ..)| !unset.contains(key)) {
            let (value, origin) = setting(&second, key);
            assert_eq!((value, origin.as_str()), (setting(&first, key).0, "file n.toml"), "{key}");
        }
        for key in unset {
            assert!(first.contains(&format!("\n# {key} ")), "{key}: {first}");
        }
        assert!(!first.contains("0123456789abcdef"), "no secret is shown: {first}");
    }
}

#[test]
fn ids_in_the_file_are_shown_as_a_table_that_means_the_same() {
    let dir = dir_with_files();
    let text = format!("network = \"n\"\n[trust]\nallow = [\"{SOME_ID}\"]\n");
    std::fs::write(dir.path().join("n.toml"), text).unwrap();
    let first = stdout_of(peerage(dir.path(), &["config", "--config", "n.toml"]));
    assert!(first.contains("[trust]\nallow = [  # file n.toml\n"), "{first}");
    std::fs::write(dir.path().join("n.toml"), &first).unwrap();
    let second = stdout_of(peerage(dir.path(), &["config", "--config", "n.toml"]));
    let values = |text: &str| text.split_once("[trust]").unwrap().1.to_owned();
    assert_eq!(values(&first), values(&second));
    let third = stdout_of(peerage(dir.path(), &["config", "--config", "n.toml", "--allow", "a1"]));
    assert_eq!(setting(&third, "allow"), ("\"a1\"".to_owned(), "flag --allow".to_owned()));
    assert!(!third.contains("[trust]"), "{third}");
}

#[test]
fn a_stronger_layer_decides_between_a_directory_and_none() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("n.toml"), "ephemeral = true\n").unwrap();
    let mut command = peerage(dir.path(), &["config", "--config", "n.toml"]);
    command.env("PEERAGE_DATA_DIR", "d");
    let output = stdout_of(command);
    assert_eq!(setting(&output, "data-dir").0, "\"d\"");
    assert_eq!(setting(&output, "ephemeral").0, "false");

    let mut command = peerage(dir.path(), &["config", "--ephemeral"]);
    command.env("PEERAGE_DATA_DIR", "d");
    let output = stdout_of(command);
    assert!(output.contains("# data-dir "), "{output}");
    assert_eq!(setting(&output, "ephemeral").0, "true");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let dir = TempDir::new().unwrap();
    let mut command = peerage(dir.path(), &["config"]);
    for (key, ..) in KEYS {
        command.env(format!("PEERAGE_{}", key.to_uppercase().replace('-', "_")), "");
    }
    command.env("PEERAGE_CONFIG", "");
    assert_eq!(stdout_of(command), stdout_of(peerage(dir.path(), &["config"])));
}

// ---------------------------------------------------------------- refusals

#[test]
fn each_usage_error_is_one_line_that_names_the_culprit() {
    let dir = dir_with_files();
    std::fs::write(dir.path().join("short"), "0123\n").unwrap();
    let v4 = "0e8bd4d8-9c5d-4a1d-a4ee-16f1ab2c7d0a";
    std::fs::write(dir.path().join("v4"), format!("# one\n{SOME_ID}\n{v4}\n")).unwrap();
    for (args, culprit) in [
        (&["run", "--lisen", "a:1"][..], "--lisen"),
        (&["run", "--listen"], "--listen"),
        (&["run", "--listen", "127.0.0.1"], "\"127.0.0.1\" for --listen"),
        (&["run", "--listen", "127.0.0.1:70000"], "--listen"),
        (&["run", "--bootstrap", "a:1,:5999"], "\":5999\" for --bootstrap"),
        (&["run", "--bootstrap", "a:0"], "--bootstrap"),
        (&["run", "--advertise", "0.0.0.0:5999"], "--advertise"),
        (&["run", "--ping-interval", "60"], "--ping-interval"),
        (&["run", "--ping-interval", "5m", "--dead-after", "1m"], "ping-interval (5m)"),
        (&["run", "--handshake-timeout", "0s"], "--handshake-timeout"),
        (&["run", "--security", "maybe"], "--security"),
        (&["run", "--network", ""], "network is from flag --network"),
        (&["run", "--network-key", "absent"], "\"absent\" for --network-key: cannot read it"),
        (&["run", "--network-key", "short"], "openssl rand -hex 32"),
        (&["run", "--network-key", "k1", "--security", "off"], "security is from flag --security"),
        (&["run", "--allow", "absent"], "\"absent\" for --allow: cannot read it"),
        (&["run", "--allow", "k1"], "k1:1: bad value \"0123456789abcdef\": expected a node id"),
        (&["run", "--allow", "v4"], "v4:3: "),
        (&["run", "--allow", "a1", "--security", "off"], "allow is from flag --allow"),
        (&["run", "--bootstrap", "a:1/b"], "\"a:1/b\" for --bootstrap"),
        (&["run", "--max-inbound", "many"], "--max-inbound: expected a number from 0 to 1000000"),
        (&["run", "--outbox-bytes", "100"], "--outbox-bytes"),
        (&["run", "--discourage-for", "60"], "--discourage-for"),
        (&["id", "old"], "old"),
        (&["id", "--config", "absent.toml"], "absent.toml"),
        (&["run", "--data-dir", "d", "--ephemeral"], "--data-dir and --ephemeral"),
        (&["run", "--log", "peerage=loud"], "--log"),
        (&["run", "--log-format", "xml"], "--log-format"),
        (&["run", "--workers", "0"], "--workers"),
        (&["run", "--config", "absent.toml"], "absent.toml"),
        (&["run", "word"], "word"),
        (&["devnet", "--nodes", "1"], "--nodes"),
        (&["devnet", "--nodes", "51"], "--nodes"),
        (&["devnet", "--ping-interval", "never"], "--ping-interval"),
        (&["dance"], "dance"),
    ] {
        let line = refused(peerage(dir.path(), args), 2);
        assert!(line.contains(culprit), "{args:?}: {line}");
        if let Some(rest) = args.strip_prefix(&["run"]) {
            let as_config = [&["config"], rest].concat();
            assert_eq!(refused(peerage(dir.path(), &as_config), 2), line);
        }
    }
}

#[test]
fn each_error_in_the_file_names_the_file() {
    let dir = TempDir::new().unwrap();
    for (text, culprit) in [
        ("lisen = \"a:1\"", "n.toml:1:1: unknown field `lisen`"),
        ("\nping-interval = 60", "n.toml:2:17: "),
        ("listen = [", "n.toml:1:"),
        ("listen = \"a\"", "\"listen\" in n.toml"),
        ("security = \"on\"", "\"security\" in n.toml: expected require, prefer or off"),
        ("[trust]\nallow = [\"x\"]", "\"trust.allow\" in n.toml: expected a node id"),
        ("allow = \"a\"\n[trust]\nallow = []", "\"allow\" in n.toml and \"trust.allow\" in n.toml"),
        ("max-inbound = -1", "\"-1\" for \"max-inbound\" in n.toml"),
        ("data-dir = \"d\"\nephemeral = true", "in n.toml and \"ephemeral\" in n.toml"),
        ("dead-after = \"1s\"", "dead-after is from file n.toml"),
        ("workers = -1", "\"-1\" for \"workers\" in n.toml"),
    ] {
        std::fs::write(dir.path().join("n.toml"), text).unwrap();
        let line = refused(peerage(dir.path(), &["run", "--config", "n.toml"]), 2);
        assert!(line.contains(culprit), "{text}: {line}");
    }
}

#[test]
fn an_error_in_the_environment_names_the_variable() {
    let dir = TempDir::new().unwrap();
    for (name, value) in [
        ("PEERAGE_LISTEN", "127.0.0.1:1,nonsense"),
        ("PEERAGE_DEAD_AFTER", "soon"),
        ("PEERAGE_EPHEMERAL", "perhaps"),
        ("PEERAGE_SECURITY", "on"),
        ("PEERAGE_NETWORK_KEY", "absent"),
        ("PEERAGE_OUTBOX_FRAMES", "0"),
        ("PEERAGE_WORKERS", "many"),
    ] {
        let mut command = peerage(dir.path(), &["run"]);
        command.env(name, value);
        let line = refused(command, 2);
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn a_port_in_use_is_one_line_and_status_1() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let line = refused(peerage(dir.path(), &["run", "--ephemeral", "--listen", &addr]), 1);
    assert!(line.contains(&addr), "{line}");
}

// ---------------------------------------------------------------- a running node

#[test]
fn the_first_lines_say_the_id_the_address_and_how_to_join() {
    let dir = TempDir::new().unwrap();
    let mut node = node(&dir, &[]);
    let join = join_of(&mut node);
    let id = id_of(&mut node);
    let addr = node.after("listening on ");
    assert_eq!(node.all(From::Stderr).len(), 3, "these are the first lines: {:?}", node.seen);
    assert!(id.len() == 36 && id.matches('-').count() == 4, "{id}");
    assert!(addr.starts_with("127.0.0.1:") && !addr.ends_with(":0"), "{addr}");
    assert_eq!(join, format!("{PEERAGE} run --ephemeral --listen 127.0.0.1:0 --bootstrap {addr}"));
    node.signal("TERM");
    node.exit(STOP_BOUND);
    assert!(node.all(From::Stdout).is_empty(), "{:?}", node.seen);
    assert!(node.seen.iter().all(|(_, line)| !line.contains('\u{1b}')), "{:?}", node.seen);
}

#[test]
fn every_address_is_announced_and_an_unspecified_one_is_joined_on_loopback() {
    let dir = TempDir::new().unwrap();
    let mut args = vec!["run", "--ephemeral", "--listen", "0.0.0.0:0"];
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    if has_ipv6 {
        args.extend(["--listen", "[::1]:0"]);
    }
    let mut node = start(peerage(dir.path(), &args));
    let port = node.after("listening on 0.0.0.0:");
    assert_ne!(port, "0");
    if has_ipv6 {
        assert_ne!(node.after("listening on [::1]:"), "0");
    }
    assert!(join_of(&mut node).ends_with(&format!(" --bootstrap 127.0.0.1:{port}")));
}

#[test]
fn as_json_the_start_is_one_event_that_no_filter_hides() {
    let dir = TempDir::new().unwrap();
    for filter in ["info", "off"] {
        let mut node = node(&dir, &["--log-format", "json", "--log", filter]);
        let event = node.contains("\"started\"");
        assert_eq!(node.seen.len(), 1, "{:?}", node.seen);
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        let text = |key: &str| event.get(key).unwrap().as_str().unwrap().to_owned();
        assert_eq!(text("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(text("node").len(), 36);
        assert!(text("listen").starts_with("127.0.0.1:"));
        assert!(text("join").ends_with(&text("listen")));
        node.signal("TERM");
        assert_eq!(node.exit(STOP_BOUND).code(), Some(0));
        for (_, line) in &node.seen {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(event.is_object(), "{line}");
        }
    }
}

#[test]
fn the_printed_command_joins_the_node() {
    let dir = TempDir::new().unwrap();
    let mut first = node(&dir, &[]);
    let join = join_of(&mut first);
    let mut second = paste(&dir, &join);
    let (first_id, second_id) = (id_of(&mut first), id_of(&mut second));
    first.contains(&second_id);
    second.contains(&first_id);

    second.signal("INT");
    assert_eq!(second.exit(STOP_BOUND).code(), Some(0));
    first.line("the farewell", |line| {
        (line.contains(&second_id) && line.contains("shutdown")).then_some(())
    });
    first.signal("TERM");
    assert_eq!(first.exit(STOP_BOUND).code(), Some(0));
}

#[test]
fn a_signal_stops_the_node_in_order_within_two_seconds() {
    let dir = TempDir::new().unwrap();
    for signal in ["INT", "TERM"] {
        let mut node = node(&dir, &[]);
        join_of(&mut node);
        node.signal(signal);
        assert_eq!(node.exit(STOP_BOUND).code(), Some(0), "{signal}: {:?}", node.seen);
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let dir = TempDir::new().unwrap();
    for (signals, codes) in [(["INT", "TERM"], [130, 143]), (["TERM", "INT"], [130, 143])] {
        // Both signals are made to wait while the process is stopped, so that they arrive
        // together; even so the orderly stop can be quicker than the second, so try again.
        let is_cut_short = (0..20).any(|_| {
            let mut node = node(&dir, &[]);
            join_of(&mut node);
            node.signal("STOP");
            node.signal(signals[0]);
            node.signal(signals[1]);
            node.signal("CONT");
            let code = node.exit(STOP_BOUND).code().unwrap();
            assert!(code == 0 || codes.contains(&code), "{code}");
            code != 0
        });
        assert!(is_cut_short);
    }
}

// ---------------------------------------------------------------- identity

/// The version of a UUID.
fn version(id: &str) -> Option<char> {
    id.chars().nth(14)
}

/// Starts and stops a node, and returns its id and whether it said that its key is new.
#[track_caller]
fn run_once(dir: &TempDir, more: &[&str]) -> (String, bool) {
    let mut node = node_with_a_disk(dir, more);
    let id = id_of(&mut node);
    join_of(&mut node);
    node.signal("TERM");
    assert_eq!(node.exit(STOP_BOUND).code(), Some(0), "{:?}", node.seen);
    (id, node.seen.iter().any(|(_, line)| line.starts_with("its key is new, and kept in ")))
}

/// What `peerage id --json` says with these arguments.
#[track_caller]
fn identity(dir: &TempDir, args: &[&str]) -> serde_json::Value {
    let args = [&["id", "--json"], args].concat();
    serde_json::from_str(&stdout_of(peerage(dir.path(), &args))).unwrap()
}

#[test]
fn a_node_has_the_same_id_on_each_start() {
    let dir = TempDir::new().unwrap();
    let (id, is_new) = run_once(&dir, &["--data-dir", "a/b"]);
    assert!(is_new && version(&id) == Some('8'), "{id}");
    assert_eq!(run_once(&dir, &["--data-dir", "a/b"]), (id.clone(), false));
    assert_ne!(run_once(&dir, &["--data-dir", "c"]).0, id);
    let key = dir.path().join("a/b/node.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let shown = identity(&dir, &["--data-dir", "a/b"]);
    assert_eq!((&shown["node"], &shown["key_file"]), (&id.into(), &"a/b/node.key".into()));
    assert_eq!(shown["public_key"].as_str().unwrap().len(), 64);
}

#[test]
fn without_a_word_the_key_is_kept_where_the_system_keeps_such_things() {
    let dir = TempDir::new().unwrap();
    let config = stdout_of(peerage(dir.path(), &["config"]));
    let (place, _) = setting(&config, "data-dir");
    let place = place.trim_matches('"');
    assert!(Path::new(place).starts_with(dir.path().join("home")), "{place}");
    assert!(!Path::new(place).exists(), "config makes nothing");
    let (id, is_new) = run_once(&dir, &[]);
    assert!(is_new && Path::new(place).join("node.key").exists());
    assert_eq!(identity(&dir, &[])["node"], id);
}

#[test]
fn an_ephemeral_node_has_another_id_each_time_and_leaves_no_trace() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (run_once(&dir, &["--ephemeral"]).0, run_once(&dir, &["--ephemeral"]).0);
    assert_ne!(first, second);
    assert_eq!((version(&first), version(&second)), (Some('8'), Some('8')));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn without_encryption_the_id_is_random_and_no_key_is_made() {
    let dir = TempDir::new().unwrap();
    let run = || run_once(&dir, &["--data-dir", "d", "--security", "off"]);
    let ((first, is_new), (second, _)) = (run(), run());
    assert_ne!(first, second);
    assert_eq!((version(&first), version(&second), is_new), (Some('4'), Some('4'), false));
    assert!(!dir.path().join("d/node.key").exists());
}

#[test]
fn two_nodes_cannot_share_a_directory_but_its_id_can_be_seen() {
    let dir = TempDir::new().unwrap();
    let mut first = node_with_a_disk(&dir, &["--data-dir", "d"]);
    let id = id_of(&mut first);
    let second = ["run", "--listen", "127.0.0.1:0", "--data-dir", "d"];
    let line = refused(peerage(dir.path(), &second), 1);
    for needed in ["d is in use by another node", "--data-dir DIR", "--ephemeral"] {
        assert!(line.contains(needed), "{line}");
    }
    assert_eq!(identity(&dir, &["--data-dir", "d"])["node"], id);
    // As after a crash: the system lets go of the lock.
    first.signal("KILL");
    first.exit(BOUND);
    assert_eq!(run_once(&dir, &["--data-dir", "d"]), (id, false));
}

#[test]
fn id_shows_the_key_and_id_new_makes_one_but_never_overwrites() {
    let dir = TempDir::new().unwrap();
    let line = refused(peerage(dir.path(), &["id"]), 1);
    assert!(line.contains("there is no key in ") && line.contains("`peerage id new`"), "{line}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking makes nothing");

    std::fs::write(dir.path().join("n.toml"), "data-dir = \"d\"").unwrap();
    let args = ["id", "new", "--config", "n.toml"];
    let made = stdout_of(peerage(dir.path(), &args));
    let [id, public, file] = made.lines().collect::<Vec<_>>()[..] else { panic!("{made}") };
    assert!(id.starts_with("node        ") && public.starts_with("public key  "), "{made}");
    assert_eq!(file, "key file    d/node.key");
    assert_eq!(stdout_of(peerage(dir.path(), &["id", "--config", "n.toml"])), made);
    let secret = std::fs::read(dir.path().join("d/node.key")).unwrap();
    let line = refused(peerage(dir.path(), &args), 1);
    assert!(line.contains("there is a key already, d/node.key"), "{line}");
    assert_eq!(std::fs::read(dir.path().join("d/node.key")).unwrap(), secret);
    let (run, is_new) = run_once(&dir, &["--config", "n.toml"]);
    assert!(!is_new && id.ends_with(&run), "{id} {run}");
}

#[test]
fn a_key_that_is_broken_or_open_to_others_is_refused_and_kept() {
    let dir = TempDir::new().unwrap();
    stdout_of(peerage(dir.path(), &["id", "new", "--data-dir", "d"]));
    let key = dir.path().join("d/node.key");
    for (mode, text, culprit) in [
        (0o644, None, "`chmod 600 d/node.key`"),
        (0o600, Some("hm"), "cannot use the key d/node.key"),
    ] {
        chmod(&key, mode);
        if let Some(text) = text {
            std::fs::write(&key, text).unwrap();
        }
        let before = std::fs::read(&key).unwrap();
        for args in [&["run", "--data-dir", "d"][..], &["id", "--data-dir", "d"]] {
            let line = refused(peerage(dir.path(), args), 1);
            assert!(line.contains(culprit), "{line}");
        }
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }
}

// ---------------------------------------------------------------- private networks

#[test]
fn nodes_of_two_networks_do_not_talk_and_say_why() {
    let dir = TempDir::new().unwrap();
    let mut first = node(&dir, &["--network", "a", "--log", "debug"]);
    let join = join_of(&mut first);
    assert!(join.ends_with(" --network a"), "{join}");
    let addr = first.after("listening on ");
    let mut second = node(&dir, &["--network", "b", "--bootstrap", &addr, "--log", "debug"]);
    second.contains("wrong-network");
    drop(second);

    let mut third = paste(&dir, &join);
    let id = id_of(&mut third);
    first.contains(&id);
    third.contains(&id_of(&mut first));
}

#[test]
fn a_network_key_is_passed_on_by_its_file_and_never_shown() {
    let dir = dir_with_files();
    let key = dir.path().join("k1");
    for (mode, is_open) in [(0o644, true), (0o600, false)] {
        chmod(&key, mode);
        let mut node = node(&dir, &["--network-key", "k1", "--log", "trace"]);
        let join = join_of(&mut node);
        assert!(join.ends_with(" --network-key k1"), "{join}");
        node.signal("TERM");
        node.exit(STOP_BOUND);
        let text = node.all(From::Stderr).join("\n");
        assert_eq!(text.contains("everybody on this machine may read the network key"), is_open);
        assert!(!text.contains("0123456789abcdef"), "{text}");
    }
}

#[test]
fn a_node_with_a_list_offers_no_command_to_join_it() {
    let dir = dir_with_files();
    let mut node = node(&dir, &["--allow", "a1"]);
    node.contains("only the nodes on its list can join it");
}

// ---------------------------------------------------------------- devnet

#[test]
fn a_devnet_shows_its_mesh_and_welcomes_an_outside_node() {
    let dir = TempDir::new().unwrap();
    let mut devnet = start(peerage(dir.path(), &["devnet", "--nodes", "3"]));
    devnet.contains("the mesh is complete: 6 of 6 views");
    let join = join_of(&mut devnet);
    let table: Vec<&str> = devnet
        .all(From::Stdout)
        .into_iter()
        .skip_while(|line| !line.starts_with("who sees whom"))
        .skip(2)
        .take(3)
        .collect();
    for row in &table {
        // Its own place, and two arrows with a round trip each.
        assert_eq!(row.matches('·').count(), 1, "{table:?}");
        assert_eq!(row.matches(['→', '←']).count(), 2, "{table:?}");
        assert_eq!(row.matches('.').count(), 2, "{table:?}");
    }
    let events = devnet.all(From::Stdout).join("\n");
    for number in 1..=3 {
        assert!(events.contains(&format!("  node {number} (")), "{events}");
    }
    assert!(events.contains(" sees node 1 ("), "{events}");
    assert!(!events.contains("outside"), "{events}");

    let mut outside = paste(&dir, &join);
    let id = id_of(&mut outside);
    let (short, _) = id.split_once('-').unwrap();
    devnet.contains(&format!(" sees outside node ({short})"));
    outside.signal("TERM");
    outside.exit(STOP_BOUND);
    devnet.contains(&format!(" lost outside node ({short}), "));

    devnet.signal("INT");
    assert_eq!(devnet.exit(STOP_BOUND).code(), Some(0));
    assert!(devnet.all(From::Stderr).is_empty(), "{:?}", devnet.seen);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a devnet keeps nothing");
}

#[test]
fn a_closed_stdout_ends_the_output_without_a_panic() {
    let dir = TempDir::new().unwrap();
    for args in [&["devnet", "--nodes", "2"][..], &["config"], &["run", "--help"]] {
        let mut command = peerage(dir.path(), args);
        // A pipe whose reading end is closed before the first write.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer);
        let (code, _, stderr) = finish(command);
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
    }
}
