//! A live network of three, and the commands that talk to it.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{BOUND, Running, id_of, node_with_a_disk, peerage, refused, start, stdout_of};

/// Three nodes that have sessions with each other, each with a data directory `a`, `b` or `c`.
pub(crate) struct Three {
    pub(crate) dir: TempDir,
    pub(crate) nodes: Vec<Running>,
    pub(crate) ids: Vec<String>,
}

const DIRS: [&str; 3] = ["a", "b", "c"];

impl Three {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut three = Self { dir, nodes: Vec::new(), ids: Vec::new() };
        let mut first = None::<String>;
        for name in DIRS {
            let mut args = vec!["--data-dir", name, "--api", "127.0.0.1:0"];
            if let Some(first) = &first {
                args.extend(["--bootstrap", first]);
            }
            let mut node = node_with_a_disk(&three.dir, &args);
            three.ids.push(id_of(&mut node));
            let listening = node.after("listening on ");
            node.after("control API on ");
            first.get_or_insert(listening);
            three.nodes.push(node);
        }
        for name in DIRS {
            three.until(name, &["peers"], |peers| peers["peers"].as_array().unwrap().len() == 2);
        }
        three
    }

    pub(crate) fn args<'a>(of: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--data-dir", of]].concat()
    }

    /// What a command prints.
    #[track_caller]
    pub(crate) fn text(&self, of: &str, words: &[&str]) -> String {
        stdout_of(peerage(self.dir.path(), &Self::args(of, words)))
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(&self, of: &str, words: &[&str]) -> Value {
        let text = self.text(of, &[words, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The one line of a command that fails.
    #[track_caller]
    pub(crate) fn refused(&self, of: &str, words: &[&str], status: i32) -> String {
        refused(peerage(self.dir.path(), &Self::args(of, words)), status)
    }

    /// Where the API of a node is, and what it asks for in `Authorization`.
    pub(crate) fn api(&self, of: &str) -> (String, String) {
        let read =
            |file: &str| std::fs::read_to_string(self.dir.path().join(of).join(file)).unwrap();
        let place: Value = serde_json::from_str(&read("api.json")).unwrap();
        let token = format!("Bearer {}", read("api.token").trim());
        (format!("http://{}", place["addr"].as_str().unwrap()), token)
    }

    /// Has it do something.
    #[track_caller]
    pub(crate) fn post(&self, of: &str, path: &str, body: &Value) {
        let (base, token) = self.api(of);
        let answer = ureq::post(format!("{base}{path}"))
            .header("Authorization", token)
            .header("Content-Type", "application/json")
            .send(body.to_string().as_bytes());
        assert!(answer.unwrap().status().is_success());
    }

    /// A command that goes on.
    pub(crate) fn start_command(&self, of: &str, words: &[&str]) -> Running {
        start(peerage(self.dir.path(), &Self::args(of, words)))
    }

    /// Asks until the answer is good.
    #[track_caller]
    pub(crate) fn until(
        &self,
        of: &str,
        words: &[&str],
        is_good: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + BOUND;
        loop {
            let answer = self.json(of, words);
            if is_good(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "never good: {answer}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
