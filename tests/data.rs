//! Shared data from outside: `peerage data` and `/v1/spaces`, against real nodes on loopback.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod program;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use program::{BOUND, Running, STOP_BOUND, id_of, node_with_a_disk, peerage, start, three::Api};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two nodes that have a session, with data directories `a` and `b`.
struct Two {
    dir: TempDir,
    nodes: Vec<Running>,
    ids: Vec<String>,
    first: String,
}

impl Two {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut two = Self { dir, nodes: Vec::new(), ids: Vec::new(), first: String::new() };
        let mut a = two.run("a", &[]);
        two.ids.push(id_of(&mut a));
        two.first = a.after("listening on ");
        a.after("to join it");
        let mut b = two.run("b", &["--bootstrap", &two.first]);
        two.ids.push(id_of(&mut b));
        b.after("to join it");
        two.nodes.extend([a, b]);
        two.until(|| two.json("b", &["peers"])["peers"].as_array().unwrap().len() == 1);
        two
    }

    fn run(&self, name: &str, more: &[&str]) -> Running {
        let args = [&["--data-dir", name, "--api", "127.0.0.1:0"], more].concat();
        node_with_a_disk(&self.dir, &args)
    }

    /// A command at a node, with this on its stdin.
    #[track_caller]
    fn fed(&self, of: &str, words: &[&str], stdin: &[u8]) -> Output {
        let args = [&words[..1], &["--data-dir", of], &words[1..]].concat();
        let mut command = peerage(self.dir.path(), &args);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // It may have refused before it has read all of it.
        child.stdin.take().unwrap().write_all(stdin).ok();
        child.wait_with_output().unwrap()
    }

    /// What a command that ends well prints.
    #[track_caller]
    fn bytes(&self, of: &str, words: &[&str]) -> Vec<u8> {
        let output = self.fed(of, words, b"");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[track_caller]
    fn text(&self, of: &str, words: &[&str]) -> String {
        String::from_utf8(self.bytes(of, words)).unwrap()
    }

    #[track_caller]
    fn json(&self, of: &str, words: &[&str]) -> Value {
        serde_json::from_slice(&self.bytes(of, &[words, &["--json"]].concat())).unwrap()
    }

    /// The one line of a command that fails, and nothing on stdout.
    #[track_caller]
    fn refused(&self, of: &str, words: &[&str], stdin: &[u8], status: i32) -> String {
        let output = self.fed(of, words, stdin);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(status), &b""[..]), "{line}");
        assert!(line.starts_with("peerage: ") && line.lines().count() == 1, "{line}");
        line
    }

    /// The value of a key, when there is one.
    #[track_caller]
    fn value(&self, of: &str, space: &str, key: &str) -> Vec<u8> {
        let mut value = None;
        self.until(|| {
            let output = self.fed(of, &["data", "get", space, "--", key], b"");
            value = output.status.success().then_some(output.stdout);
            value.is_some()
        });
        value.unwrap()
    }

    #[track_caller]
    fn until(&self, is_good: impl FnMut() -> bool) {
        until(is_good);
    }

    fn join(&self, space: &str) {
        for of in ["a", "b"] {
            self.text(of, &["data", "join", space]);
        }
    }

    fn api(&self, of: &str) -> Api {
        Api::of(&self.dir.path().join(of))
    }
}

#[track_caller]
fn until(mut is_good: impl FnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !is_good() {
        assert!(Instant::now() < deadline, "it never came to be");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_set_on_one_node_is_read_on_the_other() {
    let two = Two::start();
    let joined = two.text("a", &["data", "join", "notes"]);
    assert!(joined.starts_with("joined notes (everybody may write"), "{joined}");
    two.text("b", &["data", "join", "notes"]);
    assert_eq!(two.text("a", &["data", "set", "notes", "greeting", "hello"]), "");
    assert_eq!(two.value("b", "notes", "greeting"), b"hello", "to the byte");

    let entry = two.json("b", &["data", "get", "notes", "greeting"]);
    assert_eq!((&entry["value"], &entry["writer"]), (&json!("hello"), &json!(two.ids[0])));
    assert_eq!(entry["proven"], true);

    // Any bytes, of any length up to 1 MiB, from stdin.
    let long: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for (key, value) in [("bin ary/ü?&#\n", &b"\xff\0\n"[..]), ("empty", b""), ("long", &long)] {
        let set = two.fed("b", &["data", "set", "notes", key, "-"], value);
        assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
        assert!(two.value("a", "notes", key) == value, "{key:?}");
    }
    let more = [long, vec![0]].concat();
    let line = two.refused("a", &["data", "set", "notes", "longer", "-"], &more, 2);
    assert!(line.contains("longer than 1 MiB"), "{line}");

    assert_eq!(two.text("b", &["data", "rm", "notes", "greeting", "nothing"]).lines().count(), 2);
    two.until(|| !two.fed("a", &["data", "get", "notes", "greeting"], b"").status.success());
    let line = two.refused("a", &["data", "get", "notes", "greeting"], b"", 1);
    assert!(line.contains("not-found"), "{line}");

    let spaces = two.json("a", &["data", "spaces"])["spaces"].clone();
    let space = &spaces[0];
    assert_eq!(
        (&space["name"], &space["joined"], &space["peers"]),
        (&json!("notes"), &json!(true), &json!(1))
    );
    assert_eq!(space["records"], 4, "one of them is deleted");
    let metrics = two.api("a").text("/metrics");
    assert!(metrics.contains("peerage_space_records{space=\"notes\"} 4"), "{metrics}");
    let table = two.text("a", &["data", "spaces"]);
    assert!(table.contains("everybody") && table.contains("notes"), "{table}");
}

#[test]
fn keys_are_listed_in_order_by_prefix_and_by_page() {
    let two = Two::start();
    two.text("a", &["data", "join", "keys"]);
    let lines: String =
        (0..2500).map(|n| format!("{{\"key\":\"k/{n:04}\",\"value\":\"x\"}}\n")).collect();
    let import = two.fed("a", &["data", "import", "keys"], lines.as_bytes());
    assert_eq!(String::from_utf8_lossy(&import.stdout), "2500 written, 0 were there already\n");
    two.text("a", &["data", "set", "keys", "other", "value"]);

    let all = two.text("a", &["data", "ls", "keys", "k/"]);
    let expected: String = (0..2500).map(|n| format!("k/{n:04}\n")).collect();
    assert!(all == expected, "all pages, in order");
    let output = two.fed("a", &["data", "ls", "keys", "--limit", "2", "--after", "k/1998"], b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "k/1999\nk/2000\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "there are more: --after 'k/2000'\n");
    let last = two.json("a", &["data", "ls", "keys", "--after", "k/2499"]);
    assert_eq!((&last["key"], &last["bytes"]), (&json!("other"), &json!(5)));
    let long = two.text("a", &["data", "ls", "keys", "o", "--long"]);
    assert!(long.contains(&two.ids[0][..8]) && long.ends_with("  other\n"), "{long}");
    assert_eq!(two.text("a", &["data", "ls", "keys", "nothing"]), "");

    let api = two.api("a");
    let page = api.get("/v1/spaces/keys/keys?prefix=k%2F&limit=3&after=k%2F0001");
    let keys: Vec<&str> =
        page["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect();
    assert_eq!((keys, &page["more"]), (vec!["k/0002", "k/0003", "k/0004"], &json!(true)));
    let page = api.get("/v1/spaces/keys/keys");
    assert_eq!((page["keys"].as_array().unwrap().len(), &page["more"]), (1000, &json!(true)));
}

#[test]
fn an_export_is_an_import_of_the_same() {
    let two = Two::start();
    two.join("old");
    two.join("new");
    for (key, value) in [("a", &b"text \"\n"[..]), ("b", b"\xff\xfe"), ("c", b"")] {
        assert!(two.fed("a", &["data", "set", "old", key, "-"], value).status.success());
    }
    two.text("a", &["data", "set", "old", "x/1", "1"]);
    let export = two.bytes("a", &["data", "export", "old"]);
    assert_eq!(export.iter().filter(|byte| **byte == b'\n').count(), 4);
    let import = |stdin: &[u8]| {
        let output = two.fed("a", &["data", "import", "new", "--json"], stdin);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(import(&export), json!({"written": 4, "unchanged": 0}));
    assert_eq!(import(&export), json!({"written": 0, "unchanged": 4}));
    let twice = b"{\"key\":\"a\",\"value\":\"2\"}\n{\"key\":\"a\",\"value\":\"text \\\"\\n\"}\n";
    assert_eq!(import(twice), json!({"written": 2, "unchanged": 0}), "one after the other");
    assert_eq!(two.value("a", "new", "a"), b"text \"\n");
    assert_eq!(import(b""), json!({"written": 0, "unchanged": 0}));
    assert_eq!(two.value("b", "new", "b"), b"\xff\xfe");
    let without_times = |bytes: &[u8]| -> Vec<Value> {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut values: Vec<Value> =
            lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        values.iter_mut().for_each(|value| {
            value.as_object_mut().unwrap().remove("time_ms");
        });
        values
    };
    let copy = two.bytes("a", &["data", "export", "new"]);
    assert_eq!(without_times(&copy), without_times(&export));
    assert_eq!(two.text("a", &["data", "export", "new", "x/"]).lines().count(), 1);

    let file = two.dir.path().join("f.jsonl");
    std::fs::write(&file, "{\"key\":\"f\",\"value\":\"1\"}\n\n{\"key\":\"g\"}\n{\"key\":\"h\"}")
        .unwrap();
    let line = two.refused("a", &["data", "import", "new", "f.jsonl"], b"", 1);
    assert!(line.contains("line 3: ") && line.contains("bad-request"), "{line}");
    assert_eq!(two.value("a", "new", "f"), b"1", "what stood before it was written");
    let line = two.refused("a", &["data", "import", "new", "missing.jsonl"], b"", 2);
    assert!(line.contains("missing.jsonl"), "{line}");
}

#[test]
fn a_watch_goes_on_where_it_was_also_over_a_restart() {
    let mut two = Two::start();
    two.join("w");
    let port = two.api("b").host();
    let words = ["data", "watch", "w", "--since", "0", "--json", "--data-dir", "b"];
    let mut watch = start(peerage(two.dir.path(), &words));
    let next = |watch: &mut Running, what: &str| -> Value {
        serde_json::from_str(&watch.contains(what)).unwrap()
    };
    two.text("a", &["data", "set", "w", "k1", "v1"]);
    let first = next(&mut watch, "k1");
    assert_eq!((&first["event"], &first["value"]), (&json!("set"), &json!("v1")));
    two.text("a", &["data", "rm", "w", "k1"]);
    assert_eq!(next(&mut watch, "\"delete\"")["key"], "k1");

    // The same node anew, at the same place: the command asks again, and misses nothing.
    two.nodes[1].signal("TERM");
    assert!(two.nodes[1].exit(STOP_BOUND).success());
    two.text("a", &["data", "set", "w", "k2", "v2"]);
    let args = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "b",
        "--api",
        &port,
        "--bootstrap",
        &two.first,
    ];
    let mut b = start(peerage(two.dir.path(), &args));
    b.after("to join it");
    two.nodes[1] = b;
    assert_eq!(next(&mut watch, "k2")["value"], "v2");
    two.text("b", &["data", "set", "w", "k3", "v3"]);
    next(&mut watch, "k3");
    let told: Vec<_> = watch.seen.iter().map(|(_, line)| line.clone()).collect();
    assert_eq!(told.len(), 4, "each once: {told:#?}");

    // Whoever begins behind a change is told those after it, of one prefix alone.
    let since = first["seq"].to_string();
    let words = ["data", "watch", "w", "k3", "--since", &since, "--data-dir", "b"];
    let mut late = start(peerage(two.dir.path(), &words));
    assert!(late.contains(" = ").ends_with("set k3 = v3"), "{:?}", late.seen);
    assert_eq!(late.seen.len(), 1);
}

#[test]
fn the_stream_of_a_watch_has_the_numbers_of_its_changes() {
    let two = Two::start();
    two.join("w");
    let api = two.api("a");
    let open = |query: &str, last: Option<&str>| {
        let request = ureq::get(format!("{}/v1/spaces/w/watch{query}", api.base));
        let mut request = request.header("Authorization", &api.authorization);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        BufReader::new(request.call().unwrap().into_body().into_reader()).lines()
    };
    let set = |key: &str| {
        api.post("/v1/spaces/w/value", &json!({"key": key, "value": "line\nline"}))["seq"].clone()
    };
    let read = |lines: &mut dyn Iterator<Item = std::io::Result<String>>,
                n: usize|
     -> Vec<String> { lines.take(n).map(Result::unwrap).collect() };
    let mut lines = open("", None);
    let begin = read(&mut lines, 3);
    assert!(begin[0] == ": hello" && begin[1].starts_with("id: ") && begin[2].is_empty());
    let (one, two_, three) = (set("1"), set("2"), set("3"));
    let event = read(&mut lines, 4);
    assert_eq!(event[..2], [format!("id: {one}"), "event: set".to_owned()]);
    let data: Value = serde_json::from_str(event[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["event"], &data["value"]), (&json!("set"), &json!("line\nline")));
    drop(lines);

    let mut lines = open("", Some(&one.to_string()));
    assert_eq!(read(&mut lines, 4)[3], format!("id: {two_}"));
    let mut lines = open(&format!("?since={two_}"), None);
    assert_eq!(read(&mut lines, 4)[3], format!("id: {three}"));
    // The header is later than the address that the client began with.
    let mut lines = open("?since=0", Some(&two_.to_string()));
    assert_eq!(read(&mut lines, 4)[3], format!("id: {three}"));
    for bad in ["?since=x", "?since=-1", "?sinse=1"] {
        let answer = api.raw(
            "GET",
            &format!("/v1/spaces/w/watch{bad}"),
            &[("Authorization", &api.authorization)],
            "",
        );
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{bad}");
    }

    // It ends when the space is left.
    api.post("/v1/spaces/leave", &json!({"name": "w"}));
    assert!(lines.all(|line| line.is_ok()));
}

#[test]
fn what_was_set_is_there_after_a_restart_and_what_was_left_after_joining_again() {
    let mut two = Two::start();
    two.join("kept");
    two.text("a", &["data", "set", "kept", "key", "value"]);
    assert_eq!(two.value("b", "kept", "key"), b"value");
    two.nodes[0].signal("TERM");
    assert!(two.nodes[0].exit(STOP_BOUND).success());
    assert!(two.dir.path().join("a/spaces.sqlite3").exists());
    let mut a = two.run("a", &[]);
    a.after("to join it");
    two.nodes[0] = a;
    assert_eq!(two.text("a", &["data", "get", "kept", "key"]), "value");

    assert_eq!(two.text("b", &["data", "leave", "kept"]), "left\n");
    assert_eq!(two.text("b", &["data", "leave", "kept"]), "the node was not in it\n");
    let line = two.refused("b", &["data", "get", "kept", "key"], b"", 1);
    assert!(line.contains("no-such-space"), "{line}");
    assert!(two.text("b", &["data", "spaces"]).contains("left"));
    let again = two.text("b", &["data", "join", "kept"]);
    assert!(again.contains("1 records here"), "{again}");
    assert_eq!(two.text("b", &["data", "get", "kept", "key"]), "value");
    assert_eq!(two.text("b", &["data", "leave", "kept", "--forget"]), "left\n");
    assert_eq!(two.json("b", &["data", "spaces"])["spaces"], json!([]));
}

#[test]
fn only_the_named_writers_write() {
    let two = Two::start();
    let [a, b] = [&two.ids[0], &two.ids[1]];
    let joined = two.json("a", &["data", "join", "own", "--writer", &a[..8]]);
    assert_eq!(joined["writers"], json!([a]));
    two.text("b", &["data", "join", "own", "--writer", a]);
    two.text("a", &["data", "set", "own", "key", "value"]);
    assert_eq!(two.value("b", "own", "key"), b"value");
    let line = two.refused("b", &["data", "set", "own", "key", "other"], b"", 1);
    assert!(line.contains("not-a-writer"), "{line}");
    let line = two.refused("b", &["data", "rm", "own", "key"], b"", 1);
    assert!(line.contains("not-a-writer"), "{line}");
    let stdin = b"{\"key\":\"key\",\"value\":\"value\"}\n{\"key\":\"new\",\"value\":\"x\"}\n";
    let line = two.refused("b", &["data", "import", "own"], stdin, 1);
    assert!(line.contains("line 2: ") && line.contains("not-a-writer"), "{line}");
    let line = two.refused("b", &["data", "join", "own", "--writer", b], b"", 1);
    assert!(line.contains("other-writers"), "{line}");
    let line = two.refused("b", &["data", "join", "own2", "--writer", "zz"], b"", 1);
    assert!(line.contains("bad-request"), "{line}");
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let dir = TempDir::new().unwrap();
    let args = ["--data-dir", "d", "--api", "127.0.0.1:0"];
    let mut node = node_with_a_disk(&dir, &args);
    node.after("to join it");
    let api = Api::of(&dir.path().join("d"));
    api.post("/v1/spaces/join", &json!({"name": "s"}));
    api.post("/v1/spaces/s/value", &json!({"key": "k", "base64": "/wA="}));
    assert_eq!(api.get("/v1/spaces/s/value?key=k")["base64"], "/wA=");
    let long = "x".repeat((1 << 20) + 1);
    let json_long = json!({"key": "k", "value": "x".repeat(200 * 1024)}).to_string();
    let key = format!("/v1/spaces/s/bytes?key={}", "k".repeat(1025));
    for (method, path, body, status, code) in [
        ("GET", "/v1/spaces/none/keys", "", 404, "no-such-space"),
        ("GET", "/v1/spaces/none/watch", "", 404, "no-such-space"),
        ("GET", "/v1/spaces/none/export", "", 404, "no-such-space"),
        ("POST", "/v1/spaces/none/import", "{}", 404, "no-such-space"),
        ("POST", "/v1/spaces/none/bytes?key=k", "x", 404, "no-such-space"),
        ("GET", "/v1/spaces/s/value?key=none", "", 404, "not-found"),
        ("GET", "/v1/spaces/s/bytes?key=none", "", 404, "not-found"),
        ("GET", "/v1/spaces/s/value", "", 400, "bad-request"),
        ("GET", "/v1/spaces/s/keys?limit=x", "", 400, "bad-request"),
        ("GET", "/v1/spaces/s", "", 404, "not-found"),
        ("POST", "/v1/spaces", "{}", 405, "method-not-allowed"),
        ("POST", "/v1/spaces/s/keys", "{}", 405, "method-not-allowed"),
        ("POST", "/v1/spaces/join", "{\"name\": \"a/b\"}", 400, "bad-request"),
        ("POST", "/v1/spaces/join", "{\"name\": \"\"}", 400, "bad-request"),
        ("POST", "/v1/spaces/s/value", "{\"key\": \"k\"}", 400, "bad-request"),
        ("POST", "/v1/spaces/s/value", "{\"key\": \"\", \"value\": \"x\"}", 400, "bad-request"),
        ("POST", "/v1/spaces/s/value", "{\"key\": \"k\", \"base64\": \"%\"}", 400, "bad-request"),
        ("POST", "/v1/spaces/s/value", &json_long, 413, "too-large"),
        ("POST", "/v1/spaces/s/bytes?key=k", &long, 413, "too-large"),
        ("POST", "/v1/spaces/s/bytes?key=", "x", 400, "bad-request"),
        ("POST", &key, "x", 400, "bad-request"),
        ("POST", "/v1/spaces/s/import", "{\"key\": \"k\"}", 400, "bad-request"),
        ("POST", "/v1/spaces/s/import", "no json", 400, "bad-request"),
    ] {
        let answer = api.raw(method, path, &[("Authorization", &api.authorization)], body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    assert_eq!(api.raw("GET", "/v1/spaces/s/bytes?key=k", &[], "").status, 401);
    // The most that fits, and what others wrote is no page.
    let whole = "x".repeat(1 << 20);
    let headers = [("Authorization", api.authorization.as_str())];
    assert_eq!(api.raw("POST", "/v1/spaces/s/bytes?key=k", &headers, &whole).status, 200);
    assert!(api.text("/v1/spaces/s/bytes?key=k") == whole);
}

#[test]
fn watches_and_exports_are_bounded() {
    let dir = TempDir::new().unwrap();
    let args = ["--data-dir", "d", "--api", "127.0.0.1:0"];
    let mut node = node_with_a_disk(&dir, &args);
    node.after("to join it");
    let api = Api::of(&dir.path().join("d"));
    api.post("/v1/spaces/join", &json!({"name": "s"}));
    let open = || {
        let request = ureq::get(format!("{}/v1/spaces/s/watch", api.base));
        let request = request.header("Authorization", &api.authorization);
        let mut body = request.call().unwrap().into_body().into_reader();
        body.read_exact(&mut [0; 7]).unwrap();
        body
    };
    let mut all: Vec<_> = (0..peerage::control::MAX_DATA_STREAMS).map(|_| open()).collect();
    let ask =
        || api.raw("GET", "/v1/spaces/s/export", &[("Authorization", &api.authorization)], "");
    let answer = ask();
    assert_eq!((answer.status, answer.code().as_str()), (429, "full"));
    all.pop();
    // That somebody has gone is noticed when there is something to tell.
    until(|| {
        api.post("/v1/spaces/s/value", &json!({"key": "k", "value": "v"}));
        ask().status == 200
    });
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("d/spaces.sqlite3")).unwrap();
    let run = peerage(dir.path(), &["run", "--listen", "127.0.0.1:0", "--data-dir", "d"]);
    let mut node = start(run);
    assert_eq!(node.exit(BOUND).code(), Some(1));
    let said = node.seen.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
    assert!(said.contains("spaces.sqlite3 is not a file"), "{said}");
}

#[test]
fn an_ephemeral_node_shares_from_memory() {
    let dir = TempDir::new().unwrap();
    let args = ["--api", "127.0.0.1:0", "--api-token-file", "t"];
    let mut node = program::node(&dir, &args);
    let addr = node.after("control API on ");
    let addr = addr.split(',').next().unwrap().to_owned();
    node.after("to join it");
    let run = |words: &[&str]| {
        let args = [words, &["--api", &addr, "--api-token-file", "t"]].concat();
        program::stdout_of(peerage(dir.path(), &args))
    };
    run(&["data", "join", "m"]);
    run(&["data", "set", "m", "k", "v"]);
    assert_eq!(run(&["data", "get", "m", "k"]), "v");
    // Flags may stand on both sides of the verb.
    let before = ["data", "--json", "get", "m", "k"];
    assert!(run(&before).contains("\"value\":\"v\""));
}

#[test]
fn a_plain_peer_reads_and_writes_and_leaves_by_the_classic_verbs() {
    let two = Two::start();
    two.join("notes");
    let mut peer = std::net::TcpStream::connect(&two.first).unwrap();
    peer.set_read_timeout(Some(BOUND)).unwrap();
    let said = concat!(
        r#"{"msgtype":"hello","nodeid":"6f1c2a3b-0000-4000-8000-000000000001"}"#,
        "\n",
        r#"{"msgtype":"update_data","space":"notes","key":"colour","value":"green"}"#,
        "\n",
        r#"{"msgtype":"get_data","space":"notes"}"#,
        "\n",
        r#"{"msgtype":"quit"}"#,
        "\n",
    );
    peer.write_all(said.as_bytes()).unwrap();
    let mut answers = String::new();
    peer.read_to_string(&mut answers).unwrap();
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |msgtype: &str| answers.iter().find(|said| said["msgtype"] == msgtype).unwrap();
    assert!(of("update_ack")["time_ms"].is_u64(), "{answers:?}");
    assert_eq!(of("data")["records"][0]["value"], "green");
    assert_eq!(of("bye")["reason"], "requested");
    // It is everybody's now.
    assert_eq!(two.value("b", "notes", "colour"), b"green");
}
