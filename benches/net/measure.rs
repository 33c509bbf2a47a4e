//! Numbers: what the kernel says about a process, and what a handful of runs says together.

use std::{
    fs, io, process,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// `USER_HZ`, which Linux fixes at 100 on all but a few platforms of the past.
const TICK_MS: u64 = 10;

/// The only place in the bench that reads a clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// CPU time that all threads of a process have used so far.
///
/// Taken from `schedstat`, which counts nanoseconds; `stat` counts ticks of 10 ms, which is a whole
/// percent of a window of one second, so it is only the fallback for a kernel built without the former.
fn cpu_time(pid: u32) -> io::Result<Duration> {
    match schedstat(pid) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => stat(pid),
        other => other,
    }
}

fn schedstat(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += number(text.split_whitespace().next(), "schedstat")?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn stat(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command name, in parentheses, may contain spaces: count fields after its end.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut times = fields.split_whitespace().skip(11);
    let ticks = number(times.next(), "utime")? + number(times.next(), "stime")?;
    Ok(Duration::from_millis(ticks * TICK_MS))
}

/// CPU time that the whole machine has spent on anything but waiting.
fn machine_time() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let all = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let mut ticks = 0;
    for (i, field) in all.take(8).enumerate() {
        // The fourth and fifth are idle and waiting for a disk; those after the eighth are counted twice.
        if i != 3 && i != 4 {
            ticks += number(Some(field), "CPU time")?;
        }
    }
    Ok(Duration::from_millis(ticks * TICK_MS))
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    number(field.and_then(|rest| rest.split_whitespace().next()), "VmRSS")
}

/// CPU time over an interval: of the server, of this process, and of everything else on the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    start: Instant,
    /// The server, if it is another process.
    pid: Option<u32>,
    server: Duration,
    own: Duration,
    machine: Duration,
}

/// What a [`Meter`] has seen, all in seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) wall: f64,
    pub(crate) server: f64,
    pub(crate) own: f64,
    pub(crate) others: f64,
}

impl Meter {
    pub(crate) fn start(pid: u32) -> io::Result<Self> {
        Self::of(Some(pid))
    }

    /// Of this process alone.
    pub(crate) fn start_alone() -> io::Result<Self> {
        Self::of(None)
    }

    fn of(pid: Option<u32>) -> io::Result<Self> {
        let server = pid.map_or(Ok(Duration::ZERO), cpu_time)?;
        let (own, machine) = (cpu_time(process::id())?, machine_time()?);
        Ok(Self { start: now(), pid, server, own, machine })
    }

    pub(crate) fn read(&self) -> io::Result<Usage> {
        let wall = self.start.elapsed().as_secs_f64();
        let server = self.pid.map_or(Ok(Duration::ZERO), cpu_time)?;
        let server = server.saturating_sub(self.server).as_secs_f64();
        let own = cpu_time(process::id())?.saturating_sub(self.own).as_secs_f64();
        let machine = machine_time()?.saturating_sub(self.machine).as_secs_f64();
        Ok(Usage { wall, server, own, others: (machine - server - own).max(0.0) })
    }
}

/// A run that says how busy everything else on the machine was meanwhile.
pub(crate) trait Run {
    /// In cores.
    fn others_busy(&self) -> f64;

    /// Whether so much else was running that wall time says little.
    fn is_disturbed(&self) -> bool {
        self.others_busy() > 0.1
    }
}

impl Usage {
    /// How busy everything else was, in cores.
    pub(crate) fn others_busy(&self) -> f64 {
        self.others / self.wall
    }
}

fn number(field: Option<&str>, what: &str) -> io::Result<u64> {
    field.and_then(|text| text.parse().ok()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("no {what} in what /proc says"))
    })
}

/// The middle and the ends of a few runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The spread of `values`; not-a-number everywhere when there are none, which a table shows as such.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
    let last = sorted.len().saturating_sub(1);
    // With an even count this is the mean of the two in the middle, with an odd one the same one twice.
    let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
    Spread { median, min: at(0), max: at(last) }
}

/// How one side compares with the other: the ratio of the medians, and the ends of the ratios of runs
/// that were made one right after the other, which a slow drift of the machine does not widen.
pub(crate) fn ratio(left: &[f64], right: &[f64]) -> Spread {
    let paired = spread(left.iter().zip(right).map(|(l, r)| l / r));
    let median = spread(left.iter().copied()).median / spread(right.iter().copied()).median;
    Spread { median, ..paired }
}
