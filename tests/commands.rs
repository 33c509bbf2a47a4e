//! Every command that talks to a running node, against a live network of three.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod program;

use std::{
    io::Write as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use program::{
    BOUND, STOP_BOUND, clean, finish, node_with_a_disk, peerage, refused, start, stdout_of,
    three::Three,
};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_node_shows_itself_its_peers_and_its_addresses() {
    let three = Three::start();
    let info = three.json("a", &["info"]);
    assert_eq!((&info["id"], &info["peers"]), (&three.ids[0].as_str().into(), &2.into()));
    let text = three.text("a", &["info"]);
    assert!(text.contains(&three.ids[0]) && text.contains("\npeers       2\n"), "{text}");

    let text = three.text("a", &["peers"]);
    for id in &three.ids[1..] {
        let line = text.lines().find(|line| line.contains(&id[..8])).unwrap();
        assert!(line.contains("127.0.0.1:") && line.contains("encrypted"), "{line}");
    }
    assert!(text.contains("direction") && text.ends_with("  2 peers"), "{text}");
    assert!(!text.contains('\x1b'), "no colours where there is no terminal: {text}");

    let addrs = three.until("a", &["addrs"], |addrs| {
        let known = addrs["addresses"].as_array().unwrap();
        known.iter().filter(|addr| addr["shelf"] == "tried").count() == 2
    });
    assert!(addrs["addresses"].as_array().unwrap().iter().any(|addr| addr["own"] == true));
    assert!(three.text("a", &["addrs"]).contains("itself"), "who told it");
}

#[test]
fn peers_are_watched_until_nobody_reads() {
    let three = Three::start();
    let mut watch = three.start_command("a", &["peers", "--watch"]);
    for _ in 0..2 {
        watch.seen.clear();
        watch.contains("2 peers");
    }
}

#[test]
fn a_session_is_ended_explained_and_made_again() {
    let three = Three::start();
    let b = three.ids[1].as_str();
    let why = three.text("a", &["why", &b[..8]]);
    assert!(why.starts_with(b) && why.contains("It is connected: "), "{why}");
    assert!(why.contains("What was decided") && why.contains("session up"), "{why}");
    let listen = three.json("b", &["info"])["listen"][0].as_str().unwrap().to_owned();

    assert_eq!(three.text("a", &["disconnect", &b[..8]]), "disconnected");
    three.until("a", &["why", b], |why| {
        let entries = why["entries"].as_array().unwrap();
        entries
            .iter()
            .any(|entry| entry["kind"] == "session-down" && entry["reason"] == "requested")
    });
    let text = three.text("a", &["dial", &listen]);
    assert_eq!(text, format!("connected to {b}"));
    let by_addr = three.json("a", &["why", &listen]);
    assert_eq!((&by_addr["id"], &by_addr["addr"]), (&b.into(), &listen.as_str().into()));

    let nobody = three.refused("a", &["dial", "127.0.0.1:1"], 1);
    assert!(nobody.contains("dial-failed"), "{nobody}");
    let nothing = three.text("a", &["why", "127.0.0.1:1"]);
    assert!(nothing.contains("What happens next"), "{nothing}");
    assert!(three.refused("a", &["disconnect", "zz"], 1).contains("bad-request"));
    assert!(three.refused("a", &["disconnect", &three.ids[0]], 1).contains("not-found"));
    let begins_none = |digit: &char| three.ids.iter().all(|id| !id.starts_with(*digit));
    let digit = "0123456789abcdef".chars().find(begins_none).unwrap().to_string();
    assert!(three.refused("a", &["disconnect", &digit], 1).contains("not-found"));
}

#[test]
fn whoever_is_banned_is_gone_until_that_is_taken_back() {
    let three = Three::start();
    let b = three.ids[1].as_str();
    let ban = three.json("a", &["ban", &b[..8], "--for", "1h", "--note", "too loud"]);
    assert_eq!((&ban["target"], &ban["note"]), (&b.into(), &"too loud".into()));
    three.until("a", &["peers"], |peers| peers["peers"].as_array().unwrap().len() == 1);
    assert!(three.text("a", &["bans"]).contains("too loud"));
    let why = three.text("a", &["why", b]);
    assert!(why.contains("You banned ") && why.contains("It is refused until"), "{why}");

    assert_eq!(three.text("a", &["unban", b]), "unbanned");
    assert_eq!(three.text("a", &["unban", b]), "it was not banned");
    assert_eq!(three.text("a", &["bans"]), "nobody is banned");
    three.text("a", &["ban", "10.9.0.0/16"]);
    assert_eq!(three.json("a", &["bans"])["bans"][0]["target"], "10.9.0.0/16");
    assert!(three.refused("a", &["ban", "0.0.0.0/0"], 1).contains("bad-request"));
    let own = three.ids[0].as_str();
    assert!(three.refused("a", &["ban", own], 1).contains("own id"));
    three.refused("a", &["ban", b, "--for", "soon"], 2);
}

#[test]
fn texts_reach_one_node_or_all_that_listen() {
    let three = Three::start();
    let b = three.ids[1].as_str();
    let mut events = three.start_command("b", &["events", "--only", "message", "--json"]);
    let mut listen = three.start_command("c", &["listen", "news"]);
    three.until("c", &["info"], |info| info["topics"][0] == "news");

    // What comes before the stream is there is not told, so it is sent until it is heard.
    let deadline = Instant::now() + BOUND;
    let told = loop {
        let delivered = three.json("a", &["send", &b[..8], "hello, b"]);
        assert_eq!((&delivered["to"], &delivered["sealed"]), (&b.into(), &true.into()));
        thread::sleep(Duration::from_millis(50));
        if let Some(line) = events.try_line() {
            break serde_json::from_str::<Value>(&line).unwrap();
        }
        assert!(Instant::now() < deadline, "never heard");
    };
    assert_eq!((&told["event"], &told["text"]), (&"message".into(), &"hello, b".into()));
    assert_eq!((&told["from"], &told["proven"]), (&three.ids[0].as_str().into(), &true.into()));

    let mut publish = clean(program::PEERAGE, three.dir.path());
    publish.args(["publish", "news", "-", "--data-dir", "a"]).stdin(Stdio::piped());
    let mut publish = publish.spawn().unwrap();
    publish.stdin.take().unwrap().write_all("good \x1b[31mmorning\n".as_bytes()).unwrap();
    assert!(publish.wait().unwrap().success());
    let line = listen.contains("morning");
    assert_eq!(line, format!("{}: good \\u{{1b}}[31mmorning", &three.ids[0][..8]));

    let far = three.refused("a", &["send", "d64f1de8-058e-8ae1-9fa8-428ea5c9a1d1", "x"], 1);
    assert!(far.contains("no-route") || far.contains("timeout"), "{far}");
    assert!(three.refused("a", &["publish", "", "x"], 1).contains("bad-request"));
}

#[test]
fn a_question_gets_answers_and_an_account() {
    let three = Three::start();
    // Whoever listens to events can answer: here the test does, through the API.
    let mut events = three.start_command("b", &["events", "--only", "inquiry", "--json"]);
    // A question to whom nobody listens is refused.
    three.api("b").until_listeners(1);
    let mut ask = three.start_command("a", &["ask", "what time is it?", "--for", "8s"]);
    let line = events.contains("what time is it?");
    let inquiry: Value = serde_json::from_str(&line).unwrap();
    let body = serde_json::json!({"inquiry": inquiry["inquiry"], "text": "noon"});
    three.api("b").post("/v1/answer", &body);
    let answer = ask.contains("noon");
    assert_eq!(answer, format!("{}: noon", &three.ids[1][..8]));
    ask.contains("1 answered");
    assert!(three.refused("a", &["ask", "x", "--tag", "nothing"], 2).contains("KEY=VALUE"));
    let (code, out, _) =
        finish(peerage(three.dir.path(), &["ask", "x", "--for", "11m", "--data-dir", "a"]));
    assert_eq!((code, out.as_str()), (1, ""), "no question is open for longer than ten minutes");
}

#[test]
fn without_a_node_every_command_says_so() {
    let dir = TempDir::new().unwrap();
    for words in [
        &["peers"][..],
        &["info"],
        &["addrs"],
        &["why", "x"],
        &["dial", "a:1"],
        &["disconnect", "x"],
        &["ban", "x"],
        &["unban", "x"],
        &["bans"],
        &["send", "x", "y"],
        &["publish", "x", "y"],
        &["listen", "x"],
        &["ask", "x"],
        &["events"],
        &["top"],
    ] {
        let line = refused(peerage(dir.path(), &[words, &["--data-dir", "d"]].concat()), 69);
        assert!(line.contains("start one with `peerage run`"), "{words:?}: {line}");
    }
}

#[test]
fn a_node_that_has_stopped_leaves_no_trace_of_its_api() {
    let dir = TempDir::new().unwrap();
    let mut node = node_with_a_disk(&dir, &["--data-dir", "d", "--api", "127.0.0.1:0"]);
    node.after("to join it");
    assert!(dir.path().join("d/api.json").exists());
    let mut events =
        start(peerage(dir.path(), &["events", "--data-dir", "d", "--only", "peer-up"]));
    node.signal("TERM");
    assert!(node.exit(STOP_BOUND).success());
    assert!(!dir.path().join("d/api.json").exists());
    assert_eq!(events.exit(BOUND).code(), Some(69), "whoever listened learns that it is gone");
}

#[test]
fn top_shows_the_node_until_a_key_ends_it() {
    let three = Three::start();
    let json = three.json("a", &["top"]);
    assert_eq!(
        (&json["node"]["id"], json["peers"].as_array().unwrap().len()),
        (&three.ids[0].as_str().into(), 2)
    );
    let no_terminal = three.refused("a", &["top"], 1);
    assert!(no_terminal.contains("cannot take the terminal"), "{no_terminal}");

    // A terminal, of util-linux; the key waits in it until it is read.
    let line = format!("stty cols 110 rows 30; {} top --data-dir a", program::PEERAGE);
    let mut script = clean("script", three.dir.path());
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped());
    let mut script = match script.spawn() {
        Ok(script) => script,
        Err(error) => {
            eprintln!("skipped, since there is no `script`: {error}");
            return;
        }
    };
    script.stdin.take().unwrap().write_all(b"q").unwrap();
    let output = script.wait_with_output().unwrap();
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{screen}");
    for needed in [&three.ids[0], &three.ids[1][..8], "Decisions", "session-up"] {
        assert!(screen.contains(needed), "{needed}: {screen}");
    }
    assert!(
        screen.trim_end().ends_with("\x1b[?25h") || screen.contains("\x1b[?1049l"),
        "it gives the terminal back"
    );
}

#[test]
fn completions_and_manual_pages_are_made() {
    let dir = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let text = stdout_of(peerage(dir.path(), &["completions", shell]));
        assert!(text.contains("disconnect"), "{shell}");
    }
    assert!(stdout_of(peerage(dir.path(), &["man"])).contains(".TH peerage 1"));
    stdout_of(peerage(dir.path(), &["man", "--dir", "m"]));
    let page = std::fs::read_to_string(dir.path().join("m/peerage-why.1")).unwrap();
    assert!(page.contains("What was tried"), "{page}");
}
