//! Hooks of the real binary: the example does what it says, and hooks that behave badly harm nobody.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod program;

use std::{
    io::Write as _,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use program::{
    BOUND, Running, STOP_BOUND, clean, has_python, id_of, node_with_a_disk, peerage, start,
    stdout_of,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hook.py");

/// A node whose data directory is `name`; with a hook, if there is one.
struct Host {
    running: Running,
    id: String,
    listening: String,
}

impl Host {
    fn start(dir: &TempDir, name: &str, hooks: &str, more: &[&str]) -> Self {
        let file = format!("{name}.toml");
        let text = if hooks.is_empty() { String::new() } else { format!("[hooks]\n{hooks}\n") };
        std::fs::write(dir.path().join(&file), text).unwrap();
        let args = [&["--data-dir", name, "--config", &file], more].concat();
        let mut running = node_with_a_disk(dir, &args);
        let id = id_of(&mut running);
        let listening = running.after("listening on ");
        Self { running, id, listening }
    }

    /// The same with an API on a free port.
    fn with_api(dir: &TempDir, name: &str, hooks: &str, more: &[&str]) -> Self {
        let mut host = Self::start(dir, name, hooks, &[&["--api", "127.0.0.1:0"], more].concat());
        host.running.after("control API on ");
        host
    }
}

/// `[hooks]` for a script that finds the directory in `$1`.
fn script(dir: &TempDir, text: &str) -> String {
    format!("program = {}", json!(["/bin/sh", "-c", text, "sh", dir.path().to_str().unwrap()]))
}

/// What a command prints as JSON.
#[track_caller]
fn asked(dir: &TempDir, of: &str, words: &[&str]) -> Value {
    let args = [words, &["--json", "--data-dir", of]].concat();
    let text = stdout_of(peerage(dir.path(), &args));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asks until the answer is good.
#[track_caller]
fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, is_good: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        let answer = ask();
        if is_good(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "never good: {answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What hooks left in the journal of a node.
#[track_caller]
fn journal(dir: &TempDir, of: &str) -> Vec<Value> {
    let read = |file: &str| std::fs::read_to_string(dir.path().join(of).join(file)).unwrap();
    let place: Value = serde_json::from_str(&read("api.json")).unwrap();
    let url = format!("http://{}/v1/journal?kind=extension", place["addr"].as_str().unwrap());
    let token = format!("Bearer {}", read("api.token").trim());
    let mut answer = ureq::get(url).header("Authorization", token).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let journal: Value = serde_json::from_str(&text).unwrap();
    journal["entries"].as_array().unwrap().clone()
}

#[test]
fn the_example_answers_welcomes_and_publishes_without_an_api() {
    if !has_python() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let b = Host::with_api(&dir, "b", "", &[]);
    let listen =
        |words: &[&str]| start(peerage(dir.path(), &[words, &["--data-dir", "b"]].concat()));
    let mut events = listen(&["events", "--only", "message", "--json"]);
    let mut status = listen(&["listen", "status"]);
    // Only then are both sure to hear all.
    until(
        || asked(&dir, "b", &["info"]),
        |info| info["topics"].as_array().is_some_and(|topics| topics.contains(&json!("status"))),
    );
    let program = json!(["python3", EXAMPLE, "--publish", "status", "--every", "0.2"]);
    let hooks = format!("program = {program}\ntopics = [\"status\"]");
    let mut a = Host::start(&dir, "a", &hooks, &["--no-api", "--bootstrap", &b.listening]);

    let welcome = events.contains("Welcome!");
    assert!(welcome.contains(&a.id), "{welcome}");
    status.contains("1 peers, load ");
    let ask = |question: &str| {
        // Until the nodes know each other's keys and the hook is there.
        until(
            || {
                let words = ["ask", question, "--for", "1s", "--json", "--data-dir", "b"];
                let text = stdout_of(peerage(dir.path(), &words));
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
            },
            |lines| lines.iter().any(|line| line["from"] == json!(a.id)),
        )
    };
    let answers = ask("uptime");
    let text = answers[0]["text"].as_str().unwrap_or_else(|| panic!("{answers:?}"));
    assert!(text.ends_with(" s"), "{text}");
    let refusals = ask("what is love?");
    assert_eq!(refusals[0]["why"], "unknown-question", "{refusals:?}");

    a.running.signal("TERM");
    assert!(a.running.exit(STOP_BOUND).success());
}

#[test]
fn the_example_bans_whoever_breaks_the_protocol_again_and_again() {
    if !has_python() {
        return;
    }
    let mut command = clean("python3", Path::new("."));
    command.args([EXAMPLE, "--strikes", "2"]).stdin(Stdio::piped());
    let mut hook = start(command);
    let mut stdin = hook.child.stdin.take().unwrap();
    for (kind, detail) in [
        ("discouraged", "192.0.2.1"),
        ("refused", "192.0.2.1"),
        ("discouraged", "192.0.2.2"),
        ("discouraged", "192.0.2.1"),
    ] {
        let entry = json!({"at_ms": 1, "kind": kind, "reason": "garbage", "detail": detail});
        writeln!(stdin, "{}", json!({"event": "decision", "entry": entry})).unwrap();
    }
    writeln!(stdin, r#"{{"event":"of a later version"}}"#).unwrap();
    writeln!(stdin, r#"{{"reply":"ban","error":{{"code":"full","message":"no room"}}}}"#).unwrap();
    hook.contains("ban: no room (full)");
    drop(stdin);
    assert!(hook.exit(BOUND).success());
    let said = hook.all(program::From::Stdout);
    assert_eq!(said.len(), 1, "{said:?}");
    let ban: Value = serde_json::from_str(said[0]).unwrap();
    assert_eq!((&ban["command"], &ban["target"]), (&json!("ban"), &json!("192.0.2.1")));
    assert_eq!((&ban["seconds"], &ban["note"]), (&json!(86400), &json!("hook: garbage")));
}

#[test]
fn hooks_that_behave_badly_do_not_harm_the_node() {
    let dir = TempDir::new().unwrap();
    let b = Host::with_api(&dir, "b", "", &[]);
    for (n, text) in [
        "yes '{\"command\":\"sing\"}'",
        // A job of a shell has no stdin unless it is given one.
        "exec 3<&0; cat <&3 > /dev/null & yes '{\"command\":\"sing\"}'",
        "exec 3<&0; cat <&3 > /dev/null & yes '{\"command\":\"publish\",\"topic\":\"t\",\"text\":\"x\"}'",
        "yes garbage",
        "yes garbage >&2",
        "cat /dev/zero",
        "cat /dev/zero >&2",
        "exec < /dev/null > /dev/null 2> /dev/null; sleep 1000",
        "sleep 1000",
        "kill -9 $$",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("a{n}");
        let text = format!("echo $$ >> \"$1/{name}.pid\"; {text}");
        let hooks = script(&dir, &text);
        let mut a = Host::with_api(&dir, &name, &hooks, &["--bootstrap", &b.listening]);
        let pids = until(
            || std::fs::read_to_string(dir.path().join(format!("{name}.pid"))).unwrap_or_default(),
            |pids| pids.ends_with('\n'),
        );
        // It answers its API, and the pings and messages of others.
        until(
            || asked(&dir, &name, &["peers"]),
            |peers| peers["peers"].as_array().is_some_and(|peers| peers.len() == 1),
        );
        until(
            || asked(&dir, "b", &["peers"]),
            |peers| {
                let peers = peers["peers"].as_array().unwrap();
                peers.iter().any(|peer| peer["id"] == json!(a.id) && peer["rtt"].is_object())
            },
        );
        for _ in 0..3 {
            let delivered = asked(&dir, "b", &["send", &a.id, "hello"]);
            // It takes a millisecond or so; other tests may be under way.
            assert!(delivered["rtt_us"].as_u64().unwrap() < 1_000_000, "{text}: {delivered}");
        }
        a.running.signal("TERM");
        let status = a.running.exit(STOP_BOUND);
        assert!(status.success(), "{text}: {status}: {:#?}", a.running.seen);
        for pid in pids.lines() {
            assert!(!Path::new("/proc").join(pid).exists(), "{text}: {pid} still runs");
        }
    }
}

#[test]
fn a_hook_that_ends_is_started_again_and_the_journal_and_the_log_say_why() {
    let dir = TempDir::new().unwrap();
    let hooks = script(&dir, r"printf 'my last\033[2J words\n' >&2; exit 3");
    let mut a = Host::with_api(&dir, "a", &hooks, &[]);
    let entries = until(|| journal(&dir, "a"), |entries| entries.len() >= 3);
    for (n, entry) in entries.iter().take(3).enumerate() {
        assert_eq!(entry["reason"], "hook-ended", "{entry}");
        assert!(entry["detail"].as_str().unwrap().contains("exit status: 3"), "{entry}");
        let numbers = &entry["numbers"];
        assert_eq!((&numbers["runs"], &numbers["again_in_ms"]), (&json!(n + 1), &json!(1000 << n)));
    }
    a.running.contains(r"my last\u{1b}[2J words");
    let down = a.running.contains("the hook is down: it has ended: exit status: 3");
    assert!(down.contains("WARN"), "{down}");
    a.running.signal("TERM");
    assert!(a.running.exit(STOP_BOUND).success(), "in the midst of a pause, too");
}

#[test]
fn a_hook_that_is_not_there_is_said_loudly_and_the_node_runs() {
    let dir = TempDir::new().unwrap();
    let mut a = Host::with_api(&dir, "a", r#"program = ["no-such-program"]"#, &[]);
    let down = a.running.contains("the hook is down: it cannot be started");
    assert!(down.contains("no-such-program"), "{down}");
    let entries = until(|| journal(&dir, "a"), |entries| !entries.is_empty());
    assert_eq!(entries[0]["reason"], "hook-not-started");
    assert_eq!(asked(&dir, "a", &["info"])["id"], json!(a.id));
}

#[test]
fn a_hook_that_is_told_no_questions_is_nobody_to_ask() {
    let dir = TempDir::new().unwrap();
    let b = Host::with_api(&dir, "b", "", &[]);
    let hooks = "program = [\"cat\"]\nonly = [\"peer-up\"]";
    let a = Host::start(&dir, "a", hooks, &["--no-api", "--bootstrap", &b.listening]);
    let lines = until(
        || {
            let words = ["ask", "load", "--for", "1s", "--json", "--data-dir", "b"];
            let text = stdout_of(peerage(dir.path(), &words));
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        },
        |lines| lines.iter().any(|line| line["from"] == json!(a.id)),
    );
    assert_eq!(lines[0]["why"], "nobody", "{lines:?}");
}
