//! `peerage sim`: a scenario from its start to its report.

use std::{
    fs,
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peerage::sim::{self, Progress, Report};

use super::{
    error::{Failure, UsageError},
    logging, plot, print,
    resolve::{LogFormat, SimSettings},
};

/// How the bar looks: a line that says what the network is doing, how far it is, and how long it
/// still takes.
const BAR: &str = "{msg:24} {bar:32} {percent:>3} %, {eta} left";

/// Runs the scenario, and prints and draws what it found out.
pub(crate) fn run(settings: &SimSettings) -> Result<(), Failure> {
    logging::start(&settings.log, LogFormat::Text).release();
    if let Some(dir) = &settings.plot {
        // Rather now than after an hour.
        fs::create_dir_all(dir).map_err(|source| Failure::Write { path: dir.clone(), source })?;
    }
    let bar = Bar::new(settings);
    let (report, cost) = measured(|| sim::simulate(&settings.scenario, |at| bar.show(at)));
    bar.end();
    let report = report.map_err(|error| UsageError::Arguments(error.to_string()))?;
    if let Some(dir) = &settings.plot {
        plot::all(&report, dir)?;
    }
    if !settings.is_quiet {
        let simulated = settings.scenario.joining() + settings.scenario.lasts;
        print::stderr(&print::sim_cost(simulated, cost, peak_memory().as_deref()));
    }
    print::stdout(&text(&report, settings.is_json))
}

/// The report as it is printed.
fn text(report: &Report, is_json: bool) -> String {
    if is_json { format!("{}\n", report.to_json()) } else { print::sim_report(report) }
}

/// Does the work. How much real time that took.
fn measured<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// The most memory that this process has had so far, where the system tells.
fn peak_memory() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(format!("{} MiB", kib.div_ceil(1024)))
}

/// The progress bar.
struct Bar(ProgressBar);

impl Bar {
    /// A bar on stderr, if somebody can see it.
    fn new(settings: &SimSettings) -> Self {
        let is_shown = !settings.is_quiet && io::stderr().is_terminal();
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, at: Progress) {
        let doing = if at.now < at.joined { "joining" } else { "running" };
        let lacking = match at.lacking {
            0 => String::new(),
            lacking => format!(", {lacking} lacking"),
        };
        self.0.set_message(format!("{doing}: {} nodes{lacking}", at.nodes));
        self.0.set_length(at.end.as_secs());
        self.0.set_position(at.now.min(at.end).as_secs());
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
