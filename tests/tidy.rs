//! Holds the source to the rules of ARCHITECTURE.md that the compiler does not know.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {dir}");
    found
}

/// What stands in code, not in comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn assert_absent(dir: &str, words: &[&str], except: &[&str], why: &str) {
    for (path, text) in sources(dir) {
        if except.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        for (n, line) in code(&text) {
            for word in words {
                assert!(!line.contains(word), "{}:{n}: {word}: {why}", path.display());
            }
        }
    }
}

const IMPURE: [&str; 16] = [
    "actix",
    "tokio::",
    "std::net::Tcp",
    "std::fs",
    "std::thread",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "rand::rng",
    "rand::random",
    "thread_rng",
    "crate::actors",
    "crate::transport",
    "crate::node",
    "crate::sim",
];

#[test]
fn the_machines_know_no_actors_no_sockets_no_clock_and_no_entropy() {
    assert_absent("src/proto", &IMPURE, &[], "machines are pure (src/proto/mod.rs)");
    let shells = [
        "spaces/mod.rs",
        "classic/mod.rs",
        "classic/tests.rs",
        "spaces/keeper.rs",
        "spaces/link.rs",
        "spaces/put.rs",
        "spaces/space.rs",
        "spaces/sync.rs",
        "spaces/watch.rs",
        "replicator/mod.rs",
        "replicator/answering.rs",
        "replicator/commits.rs",
        "replicator/network.rs",
        "replicator/publishing.rs",
        "store/tests.rs",
    ];
    assert_absent("src/lan", &IMPURE, &["lan/mod.rs", "lan/daemon.rs"], "what decides is pure");
    assert_absent("src/spaces", &IMPURE, &shells, "what decides is pure (src/spaces/mod.rs)");
}

#[test]
fn the_wire_knows_no_actors_and_no_sockets() {
    let words = ["actix", "tokio::", "std::net::Tcp", "crate::actors", "crate::proto"];
    assert_absent("src/wire", &words, &[], "the wire is only bytes and their meaning");
}

#[test]
fn the_core_does_not_know_who_extends_or_simulates_it() {
    let words = [
        "crate::sim",
        "crate::testkit",
        "crate::cli",
        "crate::overlay",
        "crate::spaces",
        "crate::lan",
    ];
    let tests = ["session/tests.rs", "registry/tests.rs", "discovery/tests.rs"];
    assert_absent("src/actors", &words, &tests, "the core imports no extension");
}

#[test]
fn nothing_below_the_overlay_knows_it() {
    for dir in ["src/proto", "src/wire", "src/identity", "src/secure", "src/node", "src/store"] {
        assert_absent(
            dir,
            &["crate::overlay", "crate::spaces", "crate::lan"],
            &[],
            "they are extensions",
        );
    }
}

#[test]
fn only_the_clock_reads_a_clock() {
    let words = ["Instant::now", "SystemTime::now"];
    let except = [
        "clock.rs",
        "sim/post.rs",
        "sim/network.rs",
        "cli/devnet.rs",
        "cli/sim.rs",
        "cli/top/mod.rs",
        "session/tests.rs",
        "session/tests/security.rs",
        "hooks/tests.rs",
    ];
    assert_absent("src", &words, &except, "time comes from crate::clock");
}

#[test]
fn ordering_never_depends_on_a_hash() {
    assert_absent("src", &["HashMap", "HashSet"], &[], "iteration order breaks replay");
}
