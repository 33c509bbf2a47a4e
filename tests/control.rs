//! The control API through the real binary: who is heard, what survives, and what it costs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod program;

use std::{
    io::{BufRead, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use program::{
    BOUND, Running, STOP_BOUND, chmod, node, node_with_a_disk, refused, start, stdout_of,
    three::{Api, Three},
};
use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node alone, with these further arguments.
fn alone(dir: &TempDir, more: &[&str]) -> (Running, Api) {
    let args = [&["--data-dir", "d", "--api", "127.0.0.1:0"], more].concat();
    let mut node = node_with_a_disk(dir, &args);
    node.after("to join it");
    let api = Api::of(&dir.path().join("d"));
    (node, api)
}

/// All requests of the description: method, path, whether it needs the token.
fn described() -> Vec<(String, String, bool)> {
    let api: Value = serde_json::from_str(&peerage::control::server::openapi_json()).unwrap();
    let mut all = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "post"].contains(&method.as_str()) {
                let is_open = operation["security"].as_array().is_some();
                all.push((method.to_uppercase(), path.clone(), !is_open));
            }
        }
    }
    assert!(all.len() > 20);
    all
}

#[test]
fn everything_but_health_needs_the_token() {
    let dir = TempDir::new().unwrap();
    let (_node, api) = alone(&dir, &[]);
    for (method, path, needs_token) in described() {
        let path = path.replace("{id}", "7").replace("{name}", "nothing");
        for token in [None, Some("Bearer"), Some("Bearer 0123"), Some("Basic dTpw")] {
            let headers: Vec<(&str, &str)> =
                token.map(|token| ("Authorization", token)).into_iter().collect();
            let answer = api.raw(&method, &path, &headers, "{}");
            if needs_token {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (401, "unauthorized"),
                    "{path}"
                );
            } else {
                assert_eq!(answer.status, 200, "{path}");
            }
        }
        if needs_token {
            let answer = api.raw(&method, &path, &[("Authorization", &api.authorization)], "{}");
            assert_ne!(answer.status, 401, "{path}");
        }
    }
    // Ways around it that some servers have.
    for path in ["//v1/node", "/v1/./node", "/healthz/../v1/node", "/healthz/", "/%2e/v1/node"] {
        let answer = api.raw("GET", path, &[], "");
        assert_eq!(answer.status, 401, "{path}");
    }
}

#[test]
fn pages_of_other_sites_are_not_heard_token_or_not() {
    let dir = TempDir::new().unwrap();
    let (_node, api) = alone(&dir, &[]);
    let host = api.host();
    let own = "http://localhost".to_owned();
    let port = host.rsplit(':').next().unwrap();
    for (headers, is_heard) in [
        (vec![("Host", format!("localhost:{port}"))], true),
        (vec![("Host", "rebound.example".to_owned())], false),
        (vec![("Host", format!("rebound.example:{port}"))], false),
        (vec![("Origin", own)], true),
        (vec![("Origin", "http://evil.example".to_owned())], false),
        (vec![("Origin", "null".to_owned())], false),
        (vec![("Sec-Fetch-Site", "same-origin".to_owned())], true),
        (vec![("Sec-Fetch-Site", "cross-site".to_owned())], false),
    ] {
        let mut all = vec![("Authorization", api.authorization.as_str())];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        for path in ["/v1/node", "/healthz"] {
            let answer = api.raw("GET", path, &all, "");
            let expected = if is_heard { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{path} {headers:?}");
            assert!(is_heard || answer.code() == "forbidden", "{path} {headers:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said_as_json() {
    let dir = TempDir::new().unwrap();
    let (_node, api) = alone(&dir, &[]);
    let long = format!("{{\"topic\": \"x\", \"text\": \"{}\"}}", "x".repeat(200 * 1024));
    for (method, path, body, status, code) in [
        ("GET", "/v1/nothing", "", 404, "not-found"),
        ("GET", "/", "", 404, "not-found"),
        ("POST", "/v1/node", "{}", 405, "method-not-allowed"),
        ("GET", "/v1/dial", "", 405, "method-not-allowed"),
        ("POST", "/v1/dial", "{", 400, "bad-request"),
        ("POST", "/v1/dial", "{}", 400, "bad-request"),
        ("POST", "/v1/dial", "{\"addr\": 5}", 400, "bad-request"),
        ("POST", "/v1/dial", "{\"addr\": \"x:1\", \"more\": 1}", 400, "bad-request"),
        ("POST", "/v1/publish", &long, 413, "too-large"),
        ("GET", "/v1/journal?limit=x", "", 400, "bad-request"),
        ("GET", "/v1/journal?unknown=1", "", 400, "bad-request"),
        ("GET", "/v1/journal?kind=unknown", "", 400, "bad-request"),
        ("GET", "/v1/events?only=unknown", "", 400, "bad-request"),
        ("GET", "/v1/peers/zz", "", 400, "bad-request"),
        ("POST", "/v1/answer", "{\"inquiry\": 7, \"text\": \"x\"}", 404, "not-found"),
        ("POST", "/v1/answer", "{\"inquiry\": 7}", 400, "bad-request"),
        ("POST", "/v1/ask", "{\"text\": \"x\", \"limit_ms\": 0}", 400, "bad-request"),
    ] {
        let answer = api.raw(method, path, &[("Authorization", &api.authorization)], body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    assert_eq!(api.get("/v1/node")["peers"], 0, "and the node goes on");
}

#[test]
fn a_slow_request_is_given_up() {
    let dir = TempDir::new().unwrap();
    let (_node, api) = alone(&dir, &[]);
    let mut slow = TcpStream::connect(api.host()).unwrap();
    slow.write_all(b"GET /v1/node HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    slow.set_read_timeout(Some(BOUND)).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// Sends a request and then its body, bit by bit, until the server wants no more. What it answered.
fn trickle(api: &Api, head: &str, bit: &[u8]) -> String {
    let mut stream = TcpStream::connect(api.host()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let head = format!("{head}\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut answer, deadline) = (Vec::new(), Instant::now() + BOUND);
    loop {
        assert!(Instant::now() < deadline, "it is still read: {}", answer.escape_ascii());
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stream.write_all(bit).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_body_that_does_not_end_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let (_node, api) = alone(&dir, &[]);
    let (long, chunked) = ("Content-Length: 100000", "Transfer-Encoding: chunked");
    for (length, bit) in [(long, "x"), (chunked, "1\r\nx\r\n")] {
        for (request, status) in [("POST /v1/dial", "401"), ("GET /healthz", "200")] {
            let head = format!("{request} HTTP/1.1\r\n{length}");
            let answer = trickle(&api, &head, bit.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
        }
    }
    let head = format!("POST /v1/dial HTTP/1.1\r\n{long}\r\nAuthorization: {}", api.authorization);
    for bit in ["x", ""] {
        let answer = trickle(&api, &head, bit.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("did not come"), "{answer}");
    }
}

#[test]
fn the_token_is_for_this_user_only() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("d/api.token");
    let first = {
        let (mut node, api) = alone(&dir, &[]);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        node.signal("TERM");
        assert!(node.exit(STOP_BOUND).success());
        api.authorization
    };
    let (mut node, api) = alone(&dir, &[]);
    assert_eq!(api.authorization, first, "it is the same on every start");
    node.signal("TERM");
    assert!(node.exit(STOP_BOUND).success());
    chmod(&file, 0o644);
    let (_node, api) = alone(&dir, &[]);
    assert_ne!(api.authorization, first, "others may have read it");
}

#[test]
fn it_is_served_where_it_was_asked_for_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let run = |more: &[&str]| {
        let args = [&["run", "--listen", "127.0.0.1:0"], more].concat();
        program::peerage(dir.path(), &args)
    };
    let line = refused(run(&["--data-dir", "r", "--api", "0.0.0.0:0"]), 2);
    assert!(line.contains("--api-allow-remote"), "{line}");
    let line = refused(run(&["--ephemeral", "--api", "127.0.0.1:0"]), 2);
    assert!(line.contains("--api-token-file"), "{line}");
    let line = refused(run(&["--data-dir", "r", "--api", "a.example:1"]), 2);
    assert!(line.contains("expected an IP address"), "{line}");

    let (_first, api) = alone(&dir, &[]);
    let line = refused(run(&["--data-dir", "r", "--api", &api.host()]), 1);
    assert!(line.contains("cannot serve the control API"), "{line}");

    // The port of nobody's choice gives way, whoever has it.
    let _taken = std::net::TcpListener::bind("127.0.0.1:7999");
    let mut second = start(run(&["--data-dir", "e"]));
    let said = second.after("control API on ");
    assert!(said.starts_with("127.0.0.1:") && !said.starts_with("127.0.0.1:7999"), "{said}");
    assert_eq!(Api::of(&dir.path().join("e")).get("/healthz")["ok"], true);

    let mut none = start(run(&["--data-dir", "n", "--no-api"]));
    none.after("to join it");
    assert!(!dir.path().join("n/api.json").exists() && !dir.path().join("n/api.token").exists());
    let mut ephemeral = node(&dir, &[]);
    ephemeral.after("to join it");
    assert!(!ephemeral.seen.iter().any(|(_, line)| line.contains("control API")));

    let mut elsewhere =
        start(run(&["--ephemeral", "--api", "127.0.0.1:0", "--api-token-file", "t"]));
    let addr = elsewhere.after("control API on ");
    let addr = addr.split(',').next().unwrap();
    let args = ["info", "--api", addr, "--api-token-file", "t", "--json"];
    assert!(stdout_of(program::peerage(dir.path(), &args)).contains(addr) || addr.len() > 10);

    let mut remote = start(run(&["--data-dir", "w", "--api", "0.0.0.0:0", "--api-allow-remote"]));
    remote.after("control API on 0.0.0.0:");
    let args = ["info", "--data-dir", "w"];
    assert!(stdout_of(program::peerage(dir.path(), &args)).contains("public key"));
}

#[test]
fn it_is_ready_with_a_peer_or_with_nobody_to_join_through() {
    let dir = TempDir::new().unwrap();
    let (_first, first) = alone(&dir, &[]);
    let ready = first.raw("GET", "/readyz", &[], "");
    assert_eq!((ready.status, &ready.json()["is_first"]), (200, &json!(true)));
    let listen = first.get("/v1/node")["listen"][0].as_str().unwrap().to_owned();

    let args = ["--data-dir", "o", "--api", "127.0.0.1:0", "--bootstrap", "127.0.0.1:1"];
    let mut other = node_with_a_disk(&dir, &args);
    other.after("to join it");
    let other = Api::of(&dir.path().join("o"));
    let ready = other.raw("GET", "/readyz", &[], "");
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    other.post("/v1/dial", &json!({ "addr": listen }));
    assert_eq!(other.raw("GET", "/readyz", &[], "").status, 200);
}

/// A stream of events that is being read.
struct Events {
    reader: Box<dyn BufRead>,
}

impl Events {
    fn open(api: &Api, query: &str, last: Option<&str>) -> Self {
        let request = ureq::get(format!("{}/v1/events{query}", api.base));
        let mut request = request.header("Authorization", &api.authorization);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.call().unwrap();
        let mut events =
            Self { reader: Box::new(BufReader::new(answer.into_body().into_reader())) };
        while events.line() != ": hello" {}
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next event: its id and its data. A comment comes every 15 s at least, so this has an end.
    #[track_caller]
    fn next(&mut self) -> (String, Value) {
        let (mut id, deadline) = (String::new(), Instant::now() + BOUND);
        loop {
            let line = self.line();
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(data).unwrap());
            }
            assert!(Instant::now() < deadline, "nothing comes");
        }
    }
}

#[test]
fn the_stream_survives_a_reconnect_without_a_gap_and_without_a_repetition() {
    let three = Three::start();
    let (a, b) = (three.api("a"), three.api("b"));
    let query = "?only=message,missed&topics=news";
    let mut events = Events::open(&b, query, None);
    let publish = |text: &str| {
        a.post("/v1/publish", &json!({"topic": "news", "text": text}));
    };
    publish("1");
    let (id, event) = events.next();
    assert_eq!(event["text"], "1");
    drop(events);
    for text in ["2", "3", "4"] {
        publish(text);
    }
    let mut events = Events::open(&b, query, Some(&id));
    let mut last = String::new();
    let mut texts = Vec::new();
    while texts.len() < 3 {
        let (id, event) = events.next();
        assert_eq!(event["event"], "message");
        texts.push(event["text"].as_str().unwrap().to_owned());
        last = id;
    }
    texts.sort();
    assert_eq!(texts, ["2", "3", "4"], "each once, in whatever order the network brought them");
    publish("5");
    let mut again = Events::open(&b, query, Some(&last));
    assert_eq!(again.next().1["text"], "5");

    // The id of another run: all that is held is told, after the word that something is missing.
    let mut stranger = Events::open(&b, "?only=message,missed", Some("1-7"));
    let (_, event) = stranger.next();
    assert_eq!((&event["event"], &event["count"]), (&json!("missed"), &Value::Null));
    assert_eq!(stranger.next().1["event"], "message");
    let bad = b.raw(
        "GET",
        "/v1/events",
        &[("Authorization", &b.authorization), ("Last-Event-ID", "never")],
        "",
    );
    assert_eq!(bad.code(), "bad-request");
}

#[test]
fn what_is_not_held_any_more_is_told_as_missed_with_its_count() {
    let three = Three::start();
    let (a, b) = (three.api("a"), three.api("b"));
    let mut events = Events::open(&b, "?only=message,missed", None);
    let send = |n: usize| a.post("/v1/send", &json!({"to": three.ids[1], "text": n.to_string()}));
    send(0);
    let (id, _) = events.next();
    drop(events);
    for n in 1..=1100 {
        send(n);
    }
    let mut events = Events::open(&b, "?only=message,missed", Some(&id));
    let (_, missed) = events.next();
    assert_eq!(missed["event"], "missed");
    let missed = missed["count"].as_u64().unwrap();
    let (_, first) = events.next();
    let first: u64 = first["text"].as_str().unwrap().parse().unwrap();
    // Other events may have come between: they took numbers too.
    assert!(first > 1 && missed >= first - 1, "missed {missed}, first {first}");
    for n in first + 1..=1100 {
        assert_eq!(events.next().1["text"], n.to_string());
    }
}

#[test]
fn a_topic_is_taken_for_a_listener_and_until_it_is_taken_back() {
    let dir = TempDir::new().unwrap();
    let (_node, api) = alone(&dir, &[]);
    let topics = || api.get("/v1/node")["topics"].clone();
    assert_eq!(api.post("/v1/subscribe", &json!({"topic": "kept"}))["changed"], true);
    assert_eq!(api.post("/v1/subscribe", &json!({"topic": "kept"}))["changed"], false);
    let _events = Events::open(&api, "?topics=news", None);
    assert_eq!(topics(), json!(["kept", "news"]));
    assert_eq!(api.post("/v1/unsubscribe", &json!({"topic": "news"}))["changed"], false);
    assert_eq!(api.post("/v1/unsubscribe", &json!({"topic": "kept"}))["changed"], true);
    assert_eq!(topics(), json!(["news"]), "somebody listens to it");
    for n in 0..255 {
        api.post("/v1/subscribe", &json!({"topic": n.to_string()}));
    }
    let full = api.raw(
        "POST",
        "/v1/subscribe",
        &[("Authorization", &api.authorization)],
        "{\"topic\": \"one more\"}",
    );
    assert_eq!((full.status, full.code().as_str()), (429, "full"));
}

#[test]
fn a_question_comes_as_an_event_and_its_answer_goes_back() {
    let three = Three::start();
    let (a, b) = (three.api("a"), three.api("b"));
    let mut events = Events::open(&b, "?only=inquiry", None);
    let asking =
        thread::spawn(move || a.post("/v1/ask", &json!({"text": "why?", "limit_ms": 4000})));
    let (_, inquiry) = events.next();
    assert_eq!((&inquiry["text"], &inquiry["proven"]), (&json!("why?"), &json!(true)));
    let answer = json!({"inquiry": inquiry["inquiry"], "text": "because"});
    assert_eq!(b.post("/v1/answer", &answer)["changed"], true);
    let gathered = asking.join().unwrap();
    assert_eq!(gathered["answers"][0]["text"], "because", "{gathered}");
    assert_eq!((&gathered["end"]["answered"], &gathered["end"]["asked"]), (&json!(1), &json!(2)));
    assert_eq!(gathered["refusals"][0]["why"], "nobody", "nobody listens to c");
    let late =
        b.raw("POST", "/v1/answer", &[("Authorization", &b.authorization)], &answer.to_string());
    assert_eq!(late.code(), "not-found", "it was answered");
}

/// The memory of a process that is not shared or swapped, in bytes.
fn memory(node: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Streams of events, asked for and not read.
fn unread(api: &Api, count: usize) -> Vec<TcpStream> {
    // This process has the other end of each.
    let files = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: files.maximum.map(|most| most.min(65_536)), ..files };
    rustix::process::setrlimit(Resource::Nofile, raised).ok();
    let open = |_| {
        let mut stream = TcpStream::connect(api.host()).unwrap();
        let auth = &api.authorization;
        let request =
            format!("GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {auth}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let streams = (0..count).map(open).collect();
    api.until_listeners(count);
    streams
}

#[test]
fn listeners_do_not_use_up_what_sessions_need() {
    const SOFT_LIMIT: usize = 64;
    let dir = TempDir::new().unwrap();
    let mut other = node(&dir, &[]);
    let listen = other.after("listening on ");
    // As a shell has it by default, only less.
    let script = format!("ulimit -S -n {SOFT_LIMIT} && exec \"$@\"");
    let mut command = program::clean("/bin/sh", dir.path());
    command.args(["-c", &script, "sh", program::PEERAGE, "run", "--data-dir", "d"]);
    command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
    let mut limited = start(command);
    limited.after("to join it");
    let api = Api::of(&dir.path().join("d"));
    let _streams = unread(&api, 2 * SOFT_LIMIT);
    api.post("/v1/dial", &json!({ "addr": listen }));
    assert_eq!(api.get("/v1/node")["peers"], 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_listeners_that_never_read_cost_the_node_nothing() {
    const LISTENERS: usize = 1000;
    let three = Three::start();
    let (a, b) = (three.api("a"), three.api("b"));
    let before = memory(&three.nodes[1]);
    let streams = unread(&b, LISTENERS);
    // Some ten megabytes of events, many times what the ring holds, and far more for all listeners.
    let text = "x".repeat(30_000);
    for _ in 0..400 {
        a.post("/v1/send", &json!({"to": three.ids[1], "text": text}));
    }
    // The ring holds 8 MiB; what a connection takes in the node is less than 40 KiB.
    let grown = memory(&three.nodes[1]).saturating_sub(before);
    let bound = (16 << 20) + LISTENERS as u64 * 40 * 1024;
    assert!(grown < bound, "it has grown by {grown} bytes");
    assert_eq!(b.get("/v1/node")["peers"], 2, "its sessions are up");
    assert_eq!(b.listeners(), LISTENERS, "nobody was cut off for this");
    drop(streams);
    let deadline = Instant::now() + BOUND;
    while b.listeners() > 0 {
        // Whoever is gone is noticed when something is written to it.
        a.post("/v1/send", &json!({"to": three.ids[1], "text": "who is there?"}));
        assert!(Instant::now() < deadline, "{} seats are still taken", b.listeners());
    }
}
