//! Hooks that are small shell scripts, at a node of their own.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::{
    JournalQuery, Node, NodeConfig,
    control::{About, hub::ListTopics},
    overlay::{Overlay, OverlayConfig},
};

/// The most any step may take, on a machine busy with other tests.
const BOUND: Duration = Duration::from_secs(20);

const LONG: Duration = Duration::from_secs(3600);

struct Site {
    dir: TempDir,
    overlay: Overlay,
    control: Control,
}

impl Site {
    async fn new() -> Self {
        let config = NodeConfig { listen: Vec::new(), workers: 1, ..NodeConfig::default() };
        let builder = Node::builder().config(config);
        let overlay = Overlay::start(builder, OverlayConfig::default()).await.unwrap();
        let control = Control::start(&overlay, About::default()).await;
        Self { dir: TempDir::new().unwrap(), overlay, control }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A script that finds a directory of its own in `$1`, and is told messages alone.
    fn script(&self, text: &str) -> Hook {
        let dir = self.dir.path().to_str().unwrap();
        let args = ["-c", text, "sh", dir].map(str::to_owned).into();
        let patience = Patience { first_pause: LONG, longest_pause: LONG, ..Patience::default() };
        Hook { args, only: ["message".to_owned()].into(), patience, ..Hook::new("/bin/sh") }
    }

    /// Waits for entries of hooks in the journal.
    async fn noted(&self, count: usize) -> Vec<Decision> {
        let query = JournalQuery { kind: Some(Kind::Extension), ..JournalQuery::default() };
        let deadline = Instant::now() + BOUND;
        loop {
            let noted = self.control.node().journal(query.clone()).await;
            if noted.len() >= count {
                return noted;
            }
            assert!(Instant::now() < deadline, "not noted: {noted:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for so many lines of a file that a script writes.
    async fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + BOUND;
        loop {
            let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if text.ends_with('\n') && lines.len() >= count {
                return lines;
            }
            assert!(Instant::now() < deadline, "only {lines:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn topics(&self) -> Vec<String> {
        self.control.hub.send(ListTopics).await.unwrap()
    }

    async fn end(self) {
        self.control.stop().await;
        self.overlay.stop().await;
    }
}

/// Waits until there is no such process.
async fn gone(pid: &str) {
    let deadline = Instant::now() + BOUND;
    loop {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        // One that has ended and that nobody has asked about yet is gone, too.
        if stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")) {
            return;
        }
        assert!(Instant::now() < deadline, "{pid} still runs");
        sleep(Duration::from_millis(10)).await;
    }
}

fn reason(decision: &Decision) -> &str {
    &decision.reason
}

#[actix_rt::test]
async fn a_command_is_done_and_answered_under_its_tag() {
    let site = Site::new().await;
    let hook = site.script(
        r#"echo '{"command":"subscribe","topic":"x","tag":["a"]}'
        read -r reply; echo "$reply" >> "$1/replies"
        echo 'no command'
        read -r reply; echo "$reply" >> "$1/replies"
        head -c 200000 /dev/zero | tr '\0' ' '; echo
        read -r reply; echo "$reply" >> "$1/replies"
        printf '\n  \n{"command":"subscribe","topic":"x","tag":4}\n'
        read -r reply; echo "$reply" >> "$1/replies"
        cat"#,
    );
    let running = site.control.hook(hook);
    let replies = site.lines("replies", 4).await;
    assert_eq!(replies[0], r#"{"reply":["a"],"ok":{"changed":true}}"#);
    let start = r#"{"reply":null,"error":{"code":"bad-request","message":"a line is no command: "#;
    assert!(replies[1].starts_with(start), "{replies:?}");
    let long = r#"{"reply":null,"error":{"code":"too-large","message":"a command is longer than 128 KiB"}}"#;
    assert_eq!(replies[2], long);
    assert_eq!(replies[3], r#"{"reply":4,"ok":{"changed":false}}"#);
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn it_is_told_what_happened_since_the_start_and_goes_on_where_it_was() {
    let site = Site::new().await;
    let node = site.control.node().clone();
    let note = |reason| node.note(Decision::new(node.clock().now(), Kind::NotResolved, reason));
    note("before");
    let mut hook = site.script(r#"read -r event; echo "$event" >> "$1/events""#);
    hook.only = ["decision".to_owned()].into();
    hook.patience = Patience { first_pause: Duration::from_millis(1), ..Patience::default() };
    let running = site.control.hook(hook);
    let first = site.lines("events", 1).await;
    assert!(first[0].contains(r#""event":"decision""#) && first[0].contains("before"), "{first:?}");
    // What it hears next is how it has ended itself.
    let second = site.lines("events", 2).await;
    assert!(second[1].contains("hook-ended") && second[1].contains("exit status: 0"), "{second:?}");
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn what_it_has_missed_is_told_as_a_number() {
    let site = Site::new().await;
    let node = site.control.node().clone();
    for _ in 0..super::super::ring::MAX_EVENTS + 10 {
        node.note(Decision::new(node.clock().now(), Kind::NotResolved, "x"));
        // The journal's mailbox has its bound, too.
        tokio::task::yield_now().await;
    }
    let lost = node.journal_lost();
    node.journal(JournalQuery::default()).await;
    while site.control.feed.last()
        < u64::try_from(super::super::ring::MAX_EVENTS).unwrap() + 10 - lost
    {
        tokio::task::yield_now().await;
    }
    let running =
        site.control.hook(site.script(r#"read -r event; echo "$event" > "$1/events"; cat"#));
    let events = site.lines("events", 1).await;
    assert!(events[0].starts_with(r#"{"event":"missed","count":"#), "{events:?}");
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn one_that_ends_at_once_is_started_again_after_pauses_that_grow() {
    let site = Site::new().await;
    let mut hook = site.script(r#"echo "last words" >&2; exit 3"#);
    hook.patience.first_pause = Duration::from_millis(20);
    let running = site.control.hook(hook);
    let noted = site.noted(4).await;
    for (n, decision) in noted.iter().enumerate() {
        assert_eq!(reason(decision), "hook-ended");
        assert!(decision.detail.contains("exit status: 3"), "{decision:?}");
        assert_eq!(decision.numbers.get("runs"), Some(u64::try_from(n).unwrap() + 1));
        assert_eq!(decision.numbers.get("again_in_ms"), Some(20 << n));
    }
    for pair in noted.windows(2) {
        let pause = pair[0].numbers.get("again_in_ms").unwrap();
        assert!(pair[1].at.since(pair[0].at) >= Duration::from_millis(pause));
    }
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn one_that_is_not_there_is_looked_for_again() {
    let site = Site::new().await;
    let mut hook = Hook::new("/no/such/program");
    hook.patience.first_pause = Duration::from_millis(1);
    let running = site.control.hook(hook);
    let noted = site.noted(2).await;
    assert_eq!(reason(&noted[1]), "hook-not-started");
    assert!(noted[1].detail.contains("/no/such/program"), "{noted:?}");
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn one_that_never_reads_is_killed_with_all_that_it_has_started() {
    let site = Site::new().await;
    let mut hook = site.script(r#"sleep 1000 & echo $! $$ > "$1/pids"; wait"#);
    hook.only.clear();
    hook.patience.unread = Duration::from_millis(100);
    hook.patience.grace = Duration::from_millis(100);
    let running = site.control.hook(hook);
    let pids = site.lines("pids", 1).await;
    let node = site.control.node().clone();
    let deadline = Instant::now() + BOUND;
    let query = JournalQuery { kind: Some(Kind::Extension), ..JournalQuery::default() };
    // More than its pipe has room for.
    while node.journal(query.clone()).await.is_empty() {
        assert!(Instant::now() < deadline);
        let note = Decision::new(node.clock().now(), Kind::NotResolved, "x");
        node.note(note.detail("y".repeat(256)));
    }
    assert_eq!(reason(&site.noted(1).await[0]), "hook-unread");
    for pid in pids[0].split(' ') {
        gone(pid).await;
    }
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn one_that_says_much_and_reads_nothing_waits() {
    let site = Site::new().await;
    let running = site.control.hook(site.script(
        r#"n=0
        while :; do
            echo '{"command":"subscribe","topic":"'$n'"}'
            n=$((n+1)); echo $n > "$1/count"
        done"#,
    ));
    // Its answers are read by nobody, but they fit into its pipe: not so many that all would.
    let topics = async || site.topics().await.len();
    let deadline = Instant::now() + BOUND;
    while topics().await < super::super::topics::MAX_TOPICS {
        assert!(Instant::now() < deadline, "{}", topics().await);
        sleep(Duration::from_millis(10)).await;
    }
    // The pipes get full, and then it gets no further.
    let (mut last, mut same) = (0, 0);
    while same < 20 {
        assert!(Instant::now() < deadline, "it goes on");
        let text = std::fs::read_to_string(site.path("count")).unwrap_or_default();
        let count: usize = text.trim().parse().unwrap_or(last);
        same = if count == last { same + 1 } else { 0 };
        last = count;
        sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn it_ends_when_its_stdin_is_closed_or_is_killed_after_a_grace() {
    let site = Site::new().await;
    let began = Instant::now();
    let mut hook = site.script(r#"echo $$ > "$1/good"; cat > "$1/rest"; echo end >> "$1/good""#);
    hook.patience.grace = BOUND;
    let running = site.control.hook(hook);
    site.lines("good", 1).await;
    running.stop().await;
    assert!(began.elapsed() < BOUND, "it was not waited for to the end of its grace");
    assert_eq!(site.lines("good", 2).await[1], "end");

    let running = site.control.hook(
        site.script(r#"trap "" TERM HUP INT; echo $$ > "$1/bad"; while :; do sleep 1; done"#),
    );
    let pids = site.lines("bad", 1).await;
    let began = Instant::now();
    running.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    gone(&pids[0]).await;
    assert_eq!(site.noted(0).await, [], "what the node wanted is no failure");
    site.end().await;
}

#[actix_rt::test]
async fn what_it_says_before_its_end_is_done() {
    let site = Site::new().await;
    let running =
        site.control.hook(site.script(r#"echo '{"command":"subscribe","topic":"last"}'"#));
    assert_eq!(reason(&site.noted(1).await[0]), "hook-ended");
    assert_eq!(site.topics().await, ["last"]);
    running.stop().await;
    site.end().await;
}

#[actix_rt::test]
async fn a_hook_that_is_dropped_ends() {
    let site = Site::new().await;
    let running = site.control.hook(site.script(r#"echo $$ > "$1/pid"; exec cat"#));
    let pids = site.lines("pid", 1).await;
    drop(running);
    gone(&pids[0]).await;
    site.end().await;
}
