//! The program from outside, where not everybody is let in: restarts, files in trouble, private
//! networks, and peers of other kinds.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod program;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
};

use program::{
    BOUND, From, Running, STOP_BOUND, chmod, id_of, join_of, node, node_with_a_disk, peerage,
    refused, stdout_of,
};
use tempfile::TempDir;

const STORE: &str = "peerage.sqlite3";

/// A node that logs what it decides about others.
fn talkative(dir: &TempDir, more: &[&str]) -> Running {
    node(dir, &[&["--log", "info,peerage::journal=debug"], more].concat())
}

fn addr_of(node: &mut Running) -> String {
    node.after("listening on ")
}

/// Waits until the node has a session with another.
#[track_caller]
fn meets(node: &mut Running, id: &str) {
    node.line(&format!("session-up with {id}"), |line| {
        (line.contains("session-up") && line.contains(&format!("peer={id}"))).then_some(())
    });
}

/// Whether it has had one so far.
fn has_met(node: &Running, id: &str) -> bool {
    node.seen.iter().any(|(_, line)| line.contains("session-up") && line.contains(id))
}

#[track_caller]
fn stop(mut node: Running) -> Running {
    node.signal("TERM");
    assert_eq!(node.exit(STOP_BOUND).code(), Some(0), "{:?}", node.seen);
    node
}

/// Says this in plaintext, and hears the first line that comes back.
fn ask(addr: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

const HELLO: &str = "{\"msgtype\":\"hello\",\"nodeid\":\"6f1c2a3b-0000-4000-8000-000000000001\"}\n";

// ---------------------------------------------------------------- what is kept

#[test]
fn a_node_that_restarts_finds_its_network_again_without_a_bootstrap() {
    let dir = TempDir::new().unwrap();
    let mut b = node(&dir, &[]);
    let (b_id, b_addr) = (id_of(&mut b), addr_of(&mut b));
    let mut c = node(&dir, &["--bootstrap", &b_addr]);
    let c_id = id_of(&mut c);
    let mut a = node_with_a_disk(&dir, &["--data-dir", "a", "--bootstrap", &b_addr]);
    let id = id_of(&mut a);
    for other in [&b_id, &c_id] {
        meets(&mut a, other);
    }
    stop(a);
    let mut a = node_with_a_disk(&dir, &["--data-dir", "a"]);
    assert_eq!(id_of(&mut a), id);
    for other in [&b_id, &c_id] {
        meets(&mut a, other);
    }
}

/// Starts and stops a node on a directory, and what it said on stderr.
#[track_caller]
fn run_on(dir: &TempDir, data: &str) -> Vec<String> {
    let mut node = node_with_a_disk(dir, &["--data-dir", data]);
    join_of(&mut node);
    let node = stop(node);
    node.all(From::Stderr).into_iter().map(str::to_owned).collect()
}

/// The one file there that was set aside with this word in its name.
#[track_caller]
fn set_aside(dir: &Path, word: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&format!("{STORE}.{word}")) && !name.ends_with("-wal")
    };
    let found: Vec<_> = files.filter(named).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_store_that_is_garbage_is_set_aside_and_the_operator_told() {
    let dir = TempDir::new().unwrap();
    for (data, garbage) in [("short", b"hm".to_vec()), ("long", vec![0xa5; 20_000])] {
        let data_dir = dir.path().join(data);
        std::fs::create_dir(&data_dir).unwrap();
        chmod(&data_dir, 0o700);
        std::fs::write(data_dir.join(STORE), &garbage).unwrap();
        let said = run_on(&dir, data);
        let old = set_aside(&data_dir, "corrupt-");
        assert_eq!(std::fs::read(&old).unwrap(), garbage);
        let warning = said.iter().find(|line| line.contains("WARN")).unwrap();
        let name = old.file_name().unwrap().to_string_lossy();
        for needed in [STORE, "could not be used", "renamed to", &name] {
            assert!(warning.contains(needed), "{warning}");
        }
        // Once is enough.
        let said = run_on(&dir, data);
        assert!(!said.iter().any(|line| line.contains("WARN")), "{said:?}");
    }
}

#[test]
fn a_store_of_a_newer_version_is_set_aside_unchanged() {
    let dir = TempDir::new().unwrap();
    run_on(&dir, "d");
    let store = dir.path().join("d").join(STORE);
    let newer = rusqlite::Connection::open(&store).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.execute_batch("CREATE TABLE of_the_future (it TEXT)").unwrap();
    newer.close().unwrap();
    let said = run_on(&dir, "d");
    let old = set_aside(&dir.path().join("d"), "newer-99-");
    let warning = said.iter().find(|line| line.contains("WARN")).unwrap();
    assert!(warning.contains("a newer peerage wrote it (version 99;"), "{warning}");
    let old = rusqlite::Connection::open(old).unwrap();
    old.query_row("SELECT count(*) FROM of_the_future", [], |_| Ok(())).unwrap();
}

#[test]
fn what_is_no_file_in_the_stores_place_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("d").join(STORE);
    std::fs::create_dir_all(&store).unwrap();
    chmod(&dir.path().join("d"), 0o700);
    let args = ["run", "--listen", "127.0.0.1:0", "--data-dir", "d"];
    let line = refused(peerage(dir.path(), &args), 1);
    assert!(line.contains("peerage.sqlite3 is not a file"), "{line}");
    assert!(store.is_dir());
}

// ---------------------------------------------------------------- private networks

#[test]
fn only_those_with_the_network_key_meet() {
    let dir = TempDir::new().unwrap();
    for (name, key) in [("ours", "0123456789abcdef"), ("theirs", "fedcba9876543210")] {
        std::fs::write(dir.path().join(name), key).unwrap();
        chmod(&dir.path().join(name), 0o600);
    }
    let ours = ["--network-key", "ours"];
    let mut first = talkative(&dir, &ours);
    let addr = addr_of(&mut first);
    let to_first = ["--bootstrap", addr.as_str()];
    let mut second = talkative(&dir, &[ours, to_first].concat());
    let mut third = talkative(&dir, &[ours, to_first].concat());
    let mut other = talkative(&dir, &[["--network-key", "theirs"], to_first].concat());
    let mut none = talkative(&dir, &to_first);
    let ids: Vec<String> = [&mut first, &mut second, &mut third].into_iter().map(id_of).collect();
    for (n, node) in [&mut first, &mut second, &mut third].into_iter().enumerate() {
        for (_, id) in ids.iter().enumerate().filter(|(m, _)| *m != n) {
            meets(node, id);
        }
    }
    for stranger in [&mut other, &mut none] {
        let id = id_of(stranger);
        stranger.contains("not-member");
        first.line("the stranger's refusal", |line| {
            (line.contains("not-member") && line.contains(&id)).then_some(())
        });
        for (node, member) in [&first, &second, &third].into_iter().zip(&ids) {
            assert!(!has_met(node, &id) && !has_met(stranger, member));
        }
    }
    assert!(ask(&addr, HELLO).contains("\"tls-required\""));
}

#[test]
fn only_those_on_the_list_meet() {
    let dir = TempDir::new().unwrap();
    let new = |name| {
        let made = stdout_of(peerage(dir.path(), &["id", "new", "--data-dir", name]));
        made.lines().next().unwrap().split_whitespace().last().unwrap().to_owned()
    };
    let ids = ["a", "b"].map(new);
    let list = format!("# friends\n{}\n\n{} # and B\n", ids[0], ids[1]);
    std::fs::write(dir.path().join("friends"), list).unwrap();
    let log = ["--log", "info,peerage::journal=debug", "--allow", "friends"];
    let mut a = node_with_a_disk(&dir, &[&log[..], &["--data-dir", "a"]].concat());
    let addr = addr_of(&mut a);
    let to_a = ["--data-dir", "b", "--bootstrap", addr.as_str()];
    let mut b = node_with_a_disk(&dir, &[&log[..], &to_a].concat());
    meets(&mut a, &ids[1]);
    meets(&mut b, &ids[0]);
    let mut stranger = talkative(&dir, &["--bootstrap", &addr]);
    let id = id_of(&mut stranger);
    stranger.contains("not-allowed");
    a.line("the stranger's refusal", |line| {
        (line.contains("not-allowed") && line.contains("refused")).then_some(())
    });
    assert!(!has_met(&a, &id) && !has_met(&stranger, &ids[0]));
    assert!(ask(&addr, HELLO).contains("\"tls-required\""));
}

#[test]
fn a_bootstrap_with_an_id_is_that_node_or_nobody() {
    let dir = TempDir::new().unwrap();
    let mut first = talkative(&dir, &[]);
    let (id, addr) = (id_of(&mut first), addr_of(&mut first));
    let right = format!("{addr}/{id}");
    let mut second = talkative(&dir, &["--bootstrap", &right]);
    meets(&mut second, &id);
    let wrong = format!("{addr}/{}", id_of(&mut second));
    let mut third = talkative(&dir, &["--bootstrap", &wrong]);
    third.contains("wrong-node");
    assert!(!has_met(&third, &id));
}

// ---------------------------------------------------------------- with and without encryption

#[test]
fn who_requires_encryption_says_so_to_a_plain_peer() {
    let dir = TempDir::new().unwrap();
    let mut strict = talkative(&dir, &["--security", "require"]);
    let addr = addr_of(&mut strict);
    assert!(ask(&addr, HELLO).contains("\"reason\":\"tls-required\""));
    let mut default = talkative(&dir, &["--bootstrap", &addr]);
    meets(&mut default, &id_of(&mut strict));
    let mut off = talkative(&dir, &["--security", "off", "--bootstrap", &addr]);
    off.contains("tls-required");
}

#[test]
fn who_has_encryption_off_and_a_default_node_meet_whoever_dials() {
    let dir = TempDir::new().unwrap();
    let mut default = talkative(&dir, &[]);
    let addr = addr_of(&mut default);
    let mut off = talkative(&dir, &["--security", "off", "--bootstrap", &addr]);
    let (default_id, off_id) = (id_of(&mut default), id_of(&mut off));
    meets(&mut off, &default_id);
    meets(&mut default, &off_id);
    let addr = addr_of(&mut off);
    let mut another = talkative(&dir, &["--bootstrap", &addr]);
    meets(&mut another, &off_id);
    let id = id_of(&mut another);
    meets(&mut off, &id);
}
