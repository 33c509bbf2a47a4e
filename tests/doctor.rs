//! `peerage doctor`, with and without a running node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod program;

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use program::{BOUND, Running, chmod, finish, id_of, node, node_with_a_disk, peerage, stdout_of};
use serde_json::Value;
use tempfile::TempDir;

/// What the doctor says, and its exit status.
#[track_caller]
fn doctor(dir: &TempDir, args: &[&str]) -> (i32, Value) {
    let args = [&["doctor", "--json"], args].concat();
    let (status, stdout, stderr) = finish(peerage(dir.path(), &args));
    assert_eq!(stderr.is_empty(), status == 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"));
    assert_eq!(report["ok"], status == 0, "{report}");
    (status, report)
}

/// The one finding of a check, or the one about something.
#[track_caller]
fn finding<'a>(report: &'a Value, check: &str, about: Option<&str>) -> &'a Value {
    let all = report["findings"].as_array().unwrap().iter();
    let of = all.filter(|f| f["check"] == check && about.is_none_or(|about| f["about"] == about));
    let found: Vec<&Value> = of.collect();
    assert_eq!(found.len(), 1, "{check} {about:?}: {report}");
    found[0]
}

#[track_caller]
fn says(report: &Value, check: &str, about: Option<&str>, verdict: &str, code: &str) {
    let found = finding(report, check, about);
    assert_eq!((&found["verdict"], &found["code"]), (&verdict.into(), &code.into()), "{report}");
    if ["warn", "fail"].contains(&verdict) {
        assert!(found["remedy"].as_str().unwrap().len() > 10, "{found}");
    }
}

/// A port of loopback that is not used by anybody.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A node with the data directory `data`, and where it listens.
fn kept(dir: &TempDir, data: &str, more: &[&str]) -> (Running, String, String) {
    let args = [&["--data-dir", data], more].concat();
    let mut node = node_with_a_disk(dir, &args);
    let id = id_of(&mut node);
    let addr = node.after("listening on ");
    (node, id, addr)
}

const API: [&str; 2] = ["--api", "127.0.0.1:0"];

#[test]
fn without_a_node_it_says_what_one_would_meet_and_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let free = free_port();
    let args = ["--data-dir", "data", "--listen", &free, "--api", "127.0.0.1:0"];
    let (status, report) = doctor(&dir, &args);
    assert_eq!(status, 0, "{report}");
    assert!(report.get("node").is_none(), "{report}");
    says(&report, "node", None, "note", "stopped");
    says(&report, "data-dir", None, "note", "no-key");
    says(&report, "clock", None, "note", "unasked");
    says(&report, "port", Some(&free), "ok", "free");
    says(&report, "api", None, "ok", "free");
    says(&report, "bootstrap", None, "note", "none");
    says(&report, "reachable", None, "note", "loopback");
    assert!(!dir.path().join("data").exists(), "it changes nothing");

    let all = ["doctor", "--ephemeral", "--listen", "0.0.0.0:0", "--no-api"];
    let text = stdout_of(peerage(dir.path(), &all));
    assert!(text.starts_with("note  node       none runs: "), "{text}");
    assert!(text.contains("\nok    port       0.0.0.0:0: it is free\n"), "{text}");
    assert!(text.contains("  → ") && text.ends_with("\n\nnothing is wrong"), "{text}");
    assert!(!text.contains('\x1b'), "no colours where there is no terminal: {text}");
}

#[test]
fn a_port_in_use_fails_and_a_node_that_uses_it_is_named() {
    let dir = TempDir::new().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let mut second = node(&dir, &["--no-api"]);
    let id = id_of(&mut second);
    let used = second.after("listening on ");
    let args = ["--ephemeral", "--no-api", "--listen", &taken, "--listen", &used];
    let (status, report) = doctor(&dir, &args);
    assert_eq!(status, 1);
    says(&report, "port", Some(&taken), "fail", "in-use");
    says(&report, "port", Some(&used), "fail", "in-use");
    let text = finding(&report, "port", Some(&used))["text"].as_str().unwrap();
    assert_eq!(text, format!("node {id} uses it already"));
    // A place that was asked for is not replaced by another.
    let (_, report) =
        doctor(&dir, &["--data-dir", "data", "--listen", "127.0.0.1:0", "--api", &taken]);
    says(&report, "api", None, "fail", "refused");
}

#[test]
fn first_contacts_are_looked_up_dialled_and_asked_for_the_time() {
    let dir = TempDir::new().unwrap();
    let mut there = node(&dir, &[]);
    let id = id_of(&mut there);
    let addr = there.after("listening on ");
    let mut other = node(&dir, &["--network", "other"]);
    let foreign = other.after("listening on ");
    let nobody = free_port();
    let base = ["--ephemeral", "--no-api", "--listen", "127.0.0.1:0", "--bootstrap"];
    let with = |contacts: &str| doctor(&dir, &[&base[..], &[contacts]].concat());

    let (status, report) = with(&format!("{addr},{foreign},{nobody},nowhere.invalid:5999"));
    assert_eq!(status, 0, "one that answers is enough: {report}");
    says(&report, "bootstrap", Some(&addr), "ok", "answers");
    says(&report, "bootstrap", Some(&foreign), "warn", "wrong-network");
    says(&report, "bootstrap", Some(&nobody), "warn", "unreachable");
    says(&report, "bootstrap", Some("nowhere.invalid:5999"), "warn", "not-resolved");
    says(&report, "clock", None, "ok", "agreed");

    let (status, report) = with(&format!("{foreign},{nobody}"));
    assert_eq!(status, 1, "{report}");
    says(&report, "bootstrap", Some(&foreign), "fail", "wrong-network");
    says(&report, "bootstrap", Some(&nobody), "fail", "unreachable");
    let wrong = if id.ends_with('0') { '1' } else { '0' };
    let pin = format!("{}{wrong}", &id[..id.len() - 1]);
    let (_, report) = with(&format!("{addr}/{pin}"));
    says(&report, "bootstrap", Some(&addr), "fail", "wrong-node");
    let (_, report) = with(&format!("{addr}/{id}"));
    says(&report, "bootstrap", Some(&addr), "ok", "answers");
}

#[test]
fn a_running_node_is_asked_and_judged_by_what_it_was_told() {
    let dir = TempDir::new().unwrap();
    let (_first, first, at) = kept(&dir, "a", &API);
    let (_second, second, place) = kept(&dir, "b", &[&API[..], &["--bootstrap", &at]].concat());
    let deadline = Instant::now() + BOUND;
    let report = loop {
        // Neither the contact nor the port is said again.
        let (status, report) = doctor(&dir, &["--data-dir", "b"]);
        if finding(&report, "node", None)["code"] == "running" {
            assert_eq!(status, 0, "{report}");
            break report;
        }
        assert!(Instant::now() < deadline, "{report}");
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(report["node"], second.as_str());
    says(&report, "data-dir", Some("b"), "ok", "key");
    says(&report, "port", Some(&place), "ok", "answers");
    says(&report, "api", None, "ok", "answers");
    says(&report, "bootstrap", Some(&at), "ok", "answers");
    says(&report, "clock", None, "ok", "agreed");
    // The first has no contact: its peer tells the time.
    let (status, report) = doctor(&dir, &["--data-dir", "a"]);
    assert_eq!((status, &report["node"]), (0, &first.as_str().into()), "{report}");
    says(&report, "clock", None, "ok", "agreed");
    // Its sessions are as they were: who dialled was nobody's peer.
    let peers: Value = serde_json::from_str(&stdout_of(peerage(
        dir.path(),
        &["peers", "--data-dir", "a", "--json"],
    )))
    .unwrap();
    assert!(peers["peers"].as_array().unwrap().iter().any(|peer| peer["id"] == second.as_str()));
}

#[test]
fn a_node_without_an_api_and_a_key_that_others_may_read_are_told() {
    let dir = TempDir::new().unwrap();
    let (mut hidden, ..) = kept(&dir, "data", &["--no-api"]);
    let (status, report) = doctor(&dir, &["--data-dir", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(status, 0, "{report}");
    says(&report, "node", None, "warn", "not-asked");
    hidden.signal("TERM");
    hidden.exit(BOUND);

    chmod(&dir.path().join("data/node.key"), 0o644);
    let (status, report) = doctor(&dir, &["--data-dir", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(status, 1, "{report}");
    says(&report, "node", None, "note", "stopped");
    says(&report, "data-dir", Some("data"), "fail", "key-unusable");
    let remedy = finding(&report, "data-dir", None)["remedy"].as_str().unwrap();
    assert!(remedy.contains("chmod 600 data/node.key"), "{remedy}");
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line_and_status_2() {
    let dir = TempDir::new().unwrap();
    let (status, stdout, stderr) = finish(peerage(dir.path(), &["doctor", "--listen", "nonsense"]));
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(stderr.contains("--listen") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_private_node_is_recognised_though_it_refuses_strangers() {
    let dir = TempDir::new().unwrap();
    let list = "7f16ad79-c3e6-893b-bb25-2fd9ea819a52\n";
    std::fs::write(dir.path().join("friends.txt"), list).unwrap();
    let (_node, _, place) = kept(&dir, "data", &[&API[..], &["--allow", "friends.txt"]].concat());
    let (status, report) = doctor(&dir, &["--data-dir", "data"]);
    assert_eq!(status, 0, "{report}");
    says(&report, "port", Some(&place), "ok", "not-allowed");
    let joining = ["--ephemeral", "--no-api", "--listen", "127.0.0.1:0", "--bootstrap", &place];
    let (status, report) = doctor(&dir, &joining);
    assert_eq!(status, 0, "whether it is listed cannot be told: {report}");
    says(&report, "bootstrap", Some(&place), "note", "not-allowed");
}
