//! Running the real binary, in an empty directory and without any PEERAGE_ variable of the caller.
//! Nothing sleeps for luck: lines are read until a condition holds, within a bound.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

pub(crate) mod three;

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The binary under test.
pub(crate) const PEERAGE: &str = env!("CARGO_BIN_EXE_peerage");

/// The most any step may take, on a machine busy with other tests.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// The promised end of an orderly stop.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(2);

// ---------------------------------------------------------------- running the binary

/// A command without the caller's PEERAGE_ variables, and away from the caller's home: whatever is
/// kept is kept in the test's own directory.
pub(crate) fn clean(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", dir.join("home")).env_remove("XDG_DATA_HOME");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERAGE_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `peerage` with these arguments.
pub(crate) fn peerage(dir: &Path, args: &[&str]) -> Command {
    let mut command = clean(PEERAGE, dir);
    command.args(args);
    command
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Stdout,
    Stderr,
}

/// A running process, killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<(From, String)>,
    pub(crate) seen: Vec<(From, String)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn start(mut command: Command) -> Running {
    let mut child = command.spawn().unwrap();
    let (sender, lines) = channel();
    if let Some(stdout) = child.stdout.take() {
        read_lines(From::Stdout, stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(From::Stderr, stderr, sender);
    }
    Running { child, lines, seen: Vec::new() }
}

pub(crate) fn read_lines(
    from: From,
    stream: impl Read + Send + 'static,
    sender: Sender<(From, String)>,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send((from, line)).is_err() {
                return;
            }
        }
    });
}

impl Running {
    /// The first line, seen already or still to come, that `pick` accepts.
    #[track_caller]
    pub(crate) fn line<T>(&mut self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(|(_, line)| pick(line)) {
            return found;
        }
        let deadline = Instant::now() + BOUND;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((from, line)) => {
                    let found = pick(&line);
                    self.seen.push((from, line));
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(why) => panic!("no line with {what} ({why}); seen: {:#?}", self.seen),
            }
        }
    }

    /// Waits for a line with this text.
    #[track_caller]
    pub(crate) fn contains(&mut self, text: &str) -> String {
        self.line(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// What follows `prefix` on the first line that starts with it.
    #[track_caller]
    pub(crate) fn after(&mut self, prefix: &str) -> String {
        self.line(prefix, |line| line.strip_prefix(prefix).map(str::to_owned))
    }

    /// The next line, if there is one already.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        let (from, line) = self.lines.try_recv().ok()?;
        self.seen.push((from, line.clone()));
        Some(line)
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end, and reads what is left.
    #[track_caller]
    pub(crate) fn exit(&mut self, bound: Duration) -> ExitStatus {
        let deadline = Instant::now() + bound;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "still running after {bound:?}: {:#?}", self.seen);
            thread::sleep(Duration::from_millis(2));
        };
        loop {
            match self.lines.recv_timeout(BOUND) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return status,
                Err(RecvTimeoutError::Timeout) => panic!("the streams are still open"),
            }
        }
    }

    /// All lines of one stream so far.
    pub(crate) fn all(&self, from: From) -> Vec<&str> {
        let lines = self.seen.iter().filter(|(of, _)| *of == from);
        lines.map(|(_, line)| line.as_str()).collect()
    }
}

/// Runs a command that ends by itself: status, stdout, stderr.
#[track_caller]
pub(crate) fn finish(command: Command) -> (i32, String, String) {
    let mut running = start(command);
    let status = running.exit(BOUND);
    let text = |from| running.all(from).join("\n");
    (status.code().unwrap(), text(From::Stdout), text(From::Stderr))
}

/// Runs a command that must end well, and returns its stdout.
#[track_caller]
pub(crate) fn stdout_of(command: Command) -> String {
    let (code, stdout, stderr) = finish(command);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

/// Runs a command that must fail with one line on stderr, and returns the line.
#[track_caller]
pub(crate) fn refused(command: Command, status: i32) -> String {
    let (code, stdout, stderr) = finish(command);
    assert_eq!((code, stdout.as_str()), (status, ""), "{stderr}");
    assert!(stderr.starts_with("peerage: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.len() > "peerage: ".len() + 10, "{stderr}");
    stderr
}

/// Without Python there is nothing to test; everything else is a failure.
#[expect(clippy::print_stdout, reason = "says why a test was skipped")]
pub(crate) fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        println!("skipped: python3 is not installed");
    }
    found
}

// ---------------------------------------------------------------- nodes

/// Starts a node on a free port of loopback with these further arguments.
pub(crate) fn node(dir: &TempDir, more: &[&str]) -> Running {
    let more = [&["--ephemeral"], more].concat();
    node_with_a_disk(dir, &more)
}

/// The same, which may keep things.
pub(crate) fn node_with_a_disk(dir: &TempDir, more: &[&str]) -> Running {
    let args = [&["run", "--listen", "127.0.0.1:0"], more].concat();
    start(peerage(dir.path(), &args))
}

/// The node's id, from its first line.
#[track_caller]
pub(crate) fn id_of(node: &mut Running) -> String {
    let prefix = concat!("peerage ", env!("CARGO_PKG_VERSION"), ", node ");
    node.after(prefix)
}

/// The command that joins it.
#[track_caller]
pub(crate) fn join_of(node: &mut Running) -> String {
    node.after("to join it from another terminal: ")
}

/// Runs a printed command as a shell would, in place of the shell.
pub(crate) fn paste(dir: &TempDir, command: &str) -> Running {
    let mut shell = clean("sh", dir.path());
    shell.arg("-c").arg(format!("exec {command}"));
    start(shell)
}

/// Sets the permissions of a file.
pub(crate) fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
