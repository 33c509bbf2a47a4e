//! A live network of three, and the commands that talk to it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
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

    /// The way to the API of a node.
    pub(crate) fn api(&self, of: &str) -> Api {
        Api::of(&self.dir.path().join(of))
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

/// The way to the API of one node.
pub(crate) struct Api {
    pub(crate) base: String,
    pub(crate) authorization: String,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body))
    }

    /// The code of an error.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Api {
    /// That of the node which runs with a data directory.
    pub(crate) fn of(data_dir: &Path) -> Self {
        let read = |file: &str| std::fs::read_to_string(data_dir.join(file)).unwrap();
        let place: Value = serde_json::from_str(&read("api.json")).unwrap();
        let authorization = format!("Bearer {}", read("api.token").trim());
        Self { base: format!("http://{}", place["addr"].as_str().unwrap()), authorization }
    }

    pub(crate) fn host(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }

    /// A request just as it is given, which no library puts right. Of an answer without an end the
    /// beginning is read.
    #[track_caller]
    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let stream = TcpStream::connect(self.host()).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut request = format!("{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        // It may be refused before all of it was read.
        (&stream).write_all(request.as_bytes()).ok();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let mut len = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let header = header.trim_end().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length: ") {
                len = Some(value.parse().unwrap());
            }
            if header.is_empty() {
                break;
            }
        }
        let mut body = vec![0; len.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        Answer { status, body: String::from_utf8(body).unwrap() }
    }

    /// What is asked for.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        let answer = self.raw("GET", path, &[("Authorization", &self.authorization)], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    /// How many listen to the node's events.
    #[track_caller]
    pub(crate) fn listeners(&self) -> usize {
        let metrics = self.text("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("peerage_event_listeners "));
        line.and_then(|value| value.trim_end_matches(".0").parse().ok()).unwrap()
    }

    /// Waits until so many do.
    #[track_caller]
    pub(crate) fn until_listeners(&self, n: usize) {
        let deadline = Instant::now() + BOUND;
        while self.listeners() != n {
            assert!(Instant::now() < deadline, "{} listen", self.listeners());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What comes of something that is told.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let headers = [("Authorization", self.authorization.as_str())];
        let answer = self.raw("POST", path, &headers, &body.to_string());
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }
}
