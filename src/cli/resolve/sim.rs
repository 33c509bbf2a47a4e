//! What `peerage sim` is told: the scenario's file, and the flags that beat it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use peerage::sim::{
    Scenario, ScenarioError,
    scenario::{MAX_NODES, MAX_TIME},
};

use super::{
    parse::{Wrong, parse_duration, parse_filter, parse_number, wrong},
    pick::{parsed, pick},
};
use crate::cli::{
    args::SimTyped,
    error::{UsageError, duration, one_line},
    layer::{Layers, Origin},
};

/// What the nodes of a simulation log by default.
pub(crate) const SIM_LOG: &str = "error";

/// The shortest run.
const MIN_TIME: Duration = Duration::from_secs(1);

/// Everything `peerage sim` is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SimSettings {
    /// What to simulate; it is known to fit together.
    pub(crate) scenario: Scenario,
    /// Print JSON.
    pub(crate) is_json: bool,
    /// Where the plots go.
    pub(crate) plot: Option<PathBuf>,
    /// Nothing on stderr but the log.
    pub(crate) is_quiet: bool,
    /// What to log; it is known to parse.
    pub(crate) log: String,
}

/// Reads the scenario, and has the flags beat it.
pub(crate) fn resolve_sim(typed: &SimTyped) -> Result<SimSettings, UsageError> {
    let mut scenario = match &typed.scenario {
        Some(path) => read(path)?,
        None => Scenario::default(),
    };
    let nodes = |text: &str| parse_number(text, &(2..=MAX_NODES));
    put("nodes", typed.nodes.as_deref(), nodes, &mut scenario.nodes)?;
    put("seed", typed.seed.as_deref(), parse_seed, &mut scenario.seed)?;
    put("for", typed.lasts.as_deref(), parse_time, &mut scenario.lasts)?;
    put("join-rate", typed.join_rate.as_deref(), parse_rate, &mut scenario.join_rate)?;
    scenario.check().map_err(|error| match &typed.scenario {
        Some(path) => UsageError::file(path, error),
        None => UsageError::Arguments(error.to_string()),
    })?;
    let layers = Layers { flags: typed.flags.clone(), env: typed.env.clone(), file: None };
    let log = pick(&layers, "log", |layer| layer.log.as_deref(), parse_filter)?;
    Ok(SimSettings {
        scenario,
        is_json: typed.is_json,
        plot: typed.plot.clone(),
        is_quiet: typed.is_quiet,
        log: log.map_or_else(|| SIM_LOG.to_owned(), |log| log.value),
    })
}

/// The scenario in the file at `path`.
fn read(path: &Path) -> Result<Scenario, UsageError> {
    let text = fs::read_to_string(path)
        .map_err(|error| UsageError::file(path, format_args!("cannot read it: {error}")))?;
    Scenario::from_toml(&text).map_err(|error| match error {
        ScenarioError::Text { line, column, why } => {
            let place = format!("{}:{line}:{column}", path.display());
            UsageError::File { place, why: one_line(&why) }
        }
        ScenarioError::Together(why) => UsageError::file(path, why),
    })
}

/// Has a flag beat what the scenario says.
fn put<T>(
    key: &'static str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, Wrong>,
    value: &mut T,
) -> Result<(), UsageError> {
    if let Some(text) = text {
        *value = parsed(&Origin::Flag, key, text, parse)?;
    }
    Ok(())
}

fn parse_seed(text: &str) -> Result<u64, Wrong> {
    text.trim().parse().or_else(|_| wrong(text, "expected a whole number that is not negative"))
}

fn parse_rate(text: &str) -> Result<f64, Wrong> {
    match text.trim().parse() {
        Ok(rate @ 0.001..=1_000_000.0) => Ok(rate),
        _ => wrong(text, "expected a number from 0.001 to 1000000"),
    }
}

fn parse_time(text: &str) -> Result<Duration, Wrong> {
    let time = parse_duration(text)?;
    if (MIN_TIME..=MAX_TIME).contains(&time) {
        return Ok(time);
    }
    let (min, max) = (duration(MIN_TIME), duration(MAX_TIME));
    wrong(text, format_args!("expected at least {min} and at most {max}"))
}
