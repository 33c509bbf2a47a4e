//! The bench binary as its own children: servers and load generators, each on the core it is given.

use std::{
    env,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::{
    Result,
    load::{Plan, Sample},
};

/// How long a server may take to listen, and to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A `taskset` list of cores, or none for a child that runs wherever the kernel puts it.
pub(crate) type Cores = Option<&'static str>;

/// Whether children can be pinned to both core 0 and core 1 here.
pub(crate) fn can_pin() -> bool {
    let works = |cores| {
        let mut probe = Command::new("taskset");
        probe.args(["-c", cores, "true"]).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    works("0") && works("1")
}

/// How many descriptors a child can have, at most.
pub(crate) fn descriptor_limit() -> Result<u64> {
    let output = Command::new("sh").args(["-c", "ulimit -Hn"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // What is no number is `unlimited`.
    Ok(said.trim().parse().unwrap_or(u64::MAX))
}

/// What a server child is: a build of this bench, and the command line of the part that it plays.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<String>,
}

impl Program {
    /// Another build of this bench.
    pub(crate) fn other(path: PathBuf, args: &[&str]) -> Self {
        Self { path, args: args.iter().map(|&arg| arg.to_owned()).collect() }
    }

    /// This build.
    pub(crate) fn own(args: &[&str]) -> Result<Self> {
        Ok(Self::other(env::current_exe()?, args))
    }
}

/// A build of this bench with a descriptor limit that 5,000 sessions fit in. Both helpers replace
/// themselves with what they start, so the process that is measured is the very child that the handle names.
fn command(cores: Cores, program: &Program) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 20000 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec \"$@\"",
        "sh",
    ]);
    if let Some(cores) = cores {
        command.args(["taskset", "-c", cores]);
    }
    command.arg(&program.path).args(&program.args).stdout(Stdio::piped());
    command
}

/// Runs a child to its end, and returns what it says in JSON.
pub(crate) fn said<T: DeserializeOwned>(cores: Cores, program: &Program) -> Result<T> {
    let mut command = command(cores, program);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed: {}", program.args.join(" "), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A running server child; it ends with this handle.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    listen: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(cores: Cores, program: &Program) -> Result<Self> {
        let mut child = command(cores, program).stdin(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let listen = SocketAddr::from(([0; 4], 0));
        // From here on, leaving early ends the child.
        let mut server = Self { child, stdin, listen };
        let first = first_line(stdout.ok_or("no stdout of the server")?).recv_timeout(PATIENCE);
        let said = first.as_deref().unwrap_or("nothing");
        let Some(addr) = said.strip_prefix("listening ") else {
            let status = server.stop()?;
            let what = format!("{} {}", program.path.display(), program.args.join(" "));
            return Err(format!("`{what}` does not listen: it said {said}; {status}").into());
        };
        server.listen = addr.trim().parse()?;
        Ok(server)
    }

    /// Runs one load against this server, from a child of its own.
    pub(crate) fn measure(&self, cores: Cores, plan: &Plan) -> Result<Sample> {
        let (server, server_pid) = (self.listen, self.child.id());
        let args = Plan { server, server_pid, ..plan.clone() }.to_args();
        said(cores, &Program { path: env::current_exe()?, args })
    }

    /// Closes the server's stdin, which is what it ends on; one that does not is killed.
    fn stop(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        for _ in 0..PATIENCE.as_millis() / 5 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("a server did not end when its stdin was closed, and is killed");
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("a server that cannot be ended: {error}");
        }
    }
}

/// The first line of a child's output arrives in the channel; the others go to stderr, for a server that
/// talks on must neither block nor disturb the table.
fn first_line(stdout: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(|line| line.ok());
        if let Some(first) = lines.next() {
            // Nobody waits any more when the start was given up.
            drop(tell.send(first));
        }
        lines.for_each(|line| eprintln!("server: {line}"));
    });
    told
}
