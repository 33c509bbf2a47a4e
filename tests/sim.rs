//! Scenarios from their start to their report: by the library, and by the program.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod program;

use std::{collections::BTreeSet, fs, path::Path};

use peerage::sim::{self, Report, Scenario, report::Condition};
use program::{peerage, refused, stdout_of};
use tempfile::TempDir;

fn run(text: &str) -> Report {
    let mut told = Vec::new();
    let report = sim::simulate(&Scenario::from_toml(text).unwrap(), |at| told.push(at)).unwrap();
    assert!(
        told.windows(2).all(|two| two[0].now < two[1].now),
        "it says each second how far it is"
    );
    assert!(told.last().unwrap().now >= told[0].end);
    report
}

// ---------------------------------------------------------------- the library

/// A bit of everything.
const EVENTFUL: &str = r#"
    nodes = 24
    seed = 5
    for = "16m"
    join-rate = 4
    nat-share = 0.2
    dial-loss = 0.05
    latency = { lognormal = { median = "30ms", sigma = 0.5 } }
    [[churn]]
    from = "2m"
    for = "1m"
    share-per-minute = 0.3
    leave = "stop"
    [[kill]]
    at = "5m"
    share = 0.3
    probes = 50
    [[kill]]
    at = "6m"
    share = 0.1
    leave = "vanish"
    probes = 50
    [[partition]]
    at = "8m"
    for = "5m"
    [[route]]
    per-minute = 60
    bytes = 100
    [[broadcast]]
    for = "4m"
    per-minute = 12
    origins = "one"
    [[broadcast]]
    from = "4m"
    per-minute = 6
    bytes = 1000
"#;

#[test]
fn the_same_seed_gives_the_same_report_byte_for_byte() {
    let [first, again] = [run(EVENTFUL), run(EVENTFUL)];
    assert_eq!(first.to_json(), again.to_json());
    let other = run(&EVENTFUL.replace("seed = 5", "seed = 6"));
    assert_ne!(first.series, other.series);

    assert_eq!((first.churns.len(), first.kills.len(), first.partitions.len()), (1, 2, 1));
    let row = &first.churns[0];
    // A node may need a moment of the simulated time to start.
    let seconds = [row.from_secs, row.to_secs].map(f64::round);
    assert_eq!((seconds, row.replaced), ([120.0, 180.0], 8));
    let row = &first.kills[0];
    assert_eq!((row.at_secs.round(), row.killed, row.survivors), (300.0, 7, 17));
    assert!(row.connected && row.mended_secs.is_some());
    let row = &first.partitions[0];
    assert_eq!((row.at_secs.round(), row.healed_at_secs.round()), (480.0, 780.0));
    assert_eq!(row.sides.iter().sum::<usize>(), first.nodes);
    assert!(row.connected_secs.is_some(), "{row:?}");
    assert_eq!((first.nodes, first.series.len()), (15, 96));
}

#[test]
fn a_quiet_network_converges_and_is_idle() {
    let report = run("nodes = 12\nfor = \"10m\"\njoin-rate = 10");
    assert!(report.converged_secs.is_some_and(|at| at < 60.0), "{:?}", report.converged_secs);
    assert_eq!((report.nodes, report.lacking), (12, 0));
    // A small network is a full mesh.
    assert_eq!((report.sessions.end.mean, report.sessions.end.max), (11.0, 11));
    assert_eq!(report.sessions.end, report.sessions.undisturbed);
    let idle = report.traffic.idle.unwrap();
    assert!(idle > 0.0 && idle <= report.traffic.total, "{:?}", report.traffic);
    assert!(report.series.iter().filter(|sample| sample.idle).count() > 30);
    assert!(report.routes.is_empty() && report.broadcasts.is_empty());
}

#[test]
fn nodes_behind_a_nat_need_no_sessions_with_each_other() {
    let report = run("nodes = 20\nfor = \"5m\"\njoin-rate = 10\nnat-share = 0.5");
    assert!(report.converged_secs.is_some());
    assert!(report.sessions.end.mean < 19.0, "{:?}", report.sessions);
}

// ---------------------------------------------------------------- the program

#[test]
fn the_report_goes_to_stdout_and_the_same_twice() {
    let dir = TempDir::new().unwrap();
    let args = ["sim", "--nodes", "12", "--for", "2m", "--join-rate", "10", "--quiet"];
    let text = stdout_of(peerage(dir.path(), &args));
    assert_eq!(text, stdout_of(peerage(dir.path(), &args)));
    assert!(text.starts_with("12 nodes, seed 7, 2m after the joining (peerage "), "{text}");
    for needed in ["joining    1.10 s, 10 nodes per second", "converged  ", "11 per node, p99 11"] {
        assert!(text.contains(needed), "{needed}: {text}");
    }
    let json = stdout_of(peerage(dir.path(), &[&args[..], &["--json"]].concat()));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["scenario"]["nodes"], 12);
    assert_eq!(report["scenario"]["for"], "2m");
    assert_eq!(report["sessions"]["end"]["mean"], 11.0);
}

#[test]
fn what_it_cost_goes_to_stderr_without_a_bar_where_there_is_no_terminal() {
    let dir = TempDir::new().unwrap();
    let args = ["sim", "--nodes", "3", "--for", "10s"];
    let (code, stdout, stderr) = program::finish(peerage(dir.path(), &args));
    assert_eq!(code, 0);
    assert!(stdout.contains("3 nodes, seed 7"), "{stdout}");
    assert!(stderr.starts_with("simulated 10 s in "), "{stderr}");
    assert!(stderr.contains("peak memory") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_flag_beats_the_scenario() {
    let dir = TempDir::new().unwrap();
    let scenario = "nodes = 500\nseed = 3\nfor = \"1m\"\njoin-rate = 10\n";
    fs::write(dir.path().join("s.toml"), scenario).unwrap();
    let args = ["sim", "s.toml", "--nodes", "4", "--quiet", "--json"];
    let json = stdout_of(peerage(dir.path(), &args));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let scenario = &report["scenario"];
    assert_eq!((&scenario["nodes"], &scenario["seed"]), (&4.into(), &3.into()));
}

#[test]
fn plots_are_drawn_into_a_directory_that_is_made() {
    let dir = TempDir::new().unwrap();
    let args = ["sim", "--nodes", "4", "--for", "1m", "--quiet", "--plot", "a/b"];
    stdout_of(peerage(dir.path(), &args));
    let drawn: BTreeSet<String> = fs::read_dir(dir.path().join("a/b"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(drawn, ["bytes.svg", "nodes.svg", "sessions.svg"].map(str::to_owned).into());
    let svg = fs::read_to_string(dir.path().join("a/b/sessions.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("Nodes by their sessions"), "{svg}");

    fs::write(dir.path().join("file"), "").unwrap();
    let told = refused(peerage(dir.path(), &["sim", "--nodes", "4", "--plot", "file"]), 1);
    assert!(told.starts_with("peerage: cannot write file: "), "{told}");
}

#[test]
fn what_cannot_be_simulated_is_refused_on_one_line() {
    let dir = TempDir::new().unwrap();
    let write = |text: &str| fs::write(dir.path().join("s.toml"), text).unwrap();
    for (args, why) in [
        (&["--nodes", "1"][..], "bad value \"1\" for --nodes: expected a number from 2 to 100000"),
        (&["--seed=-1"], "bad value \"-1\" for --seed: expected a whole number"),
        (&["--for", "60"], "bad value \"60\" for --for: expected a duration such as"),
        (&["--for", "1ms"], "bad value \"1ms\" for --for: expected at least 1s and at most 30days"),
        (&["--join-rate", "0"], "bad value \"0\" for --join-rate: expected a number from 0.001"),
        (&["--log", "x=y=z"], "bad value \"x=y=z\" for --log: "),
        (&["none.toml"], "none.toml: cannot read it: "),
    ] {
        let args = [&["sim"], args].concat();
        let told = refused(peerage(dir.path(), &args), 2);
        assert!(told.starts_with(&format!("peerage: {why}")), "{told}");
    }
    for (text, why) in [
        ("nodes = 10\nchurn = 3", "s.toml:2:9: invalid type: integer `3`"),
        ("node = 10", "s.toml:1:1: unknown field `node`"),
        (
            "[[kill]]\nat = \"2h\"\nshare = 0.5",
            "s.toml: [[kill]] 1 goes on until 2h 1s, but the run",
        ),
    ] {
        write(text);
        let told = refused(peerage(dir.path(), &["sim", "s.toml"]), 2);
        assert!(told.starts_with(&format!("peerage: {why}")), "{told}");
    }
}

#[test]
fn the_help_of_sim_teaches() {
    let dir = TempDir::new().unwrap();
    let help = stdout_of(peerage(dir.path(), &["sim", "--help"]));
    for needed in [
        "[SCENARIO]",
        "--nodes <N>",
        "[key: nodes] [default: 1000]",
        "[key: for] [default: 1h]",
        "PEERAGE_LOG",
        "Examples:",
        "Exit status:",
        "share-per-minute = 0.1",
    ] {
        assert!(help.contains(needed), "{needed}: {help}");
    }
}

// ---------------------------------------------------------------- the examples

#[test]
fn every_example_is_a_scenario_that_fits_together() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios");
    let mut n = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::from_toml(&fs::read_to_string(&path).unwrap());
        let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        scenario.check().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        n += 1;
    }
    assert_eq!(n, 8);
}

#[test]
fn the_scenario_in_the_help_fits_together() {
    let dir = TempDir::new().unwrap();
    let help = stdout_of(peerage(dir.path(), &["sim", "--help"]));
    let start = help.find("      nodes = 1000").unwrap();
    let text = &help[start..help.find("Examples:").unwrap()];
    let scenario = Scenario::from_toml(text).unwrap();
    assert_eq!(scenario.check(), Ok(()));
    assert_eq!(scenario.churn.len() + scenario.kill.len() + scenario.partition.len(), 3);
}

#[test]
fn conditions_have_the_names_that_reports_use() {
    let json = serde_json::to_string(&Condition::JustKilled).unwrap();
    assert_eq!(json, format!("\"{}\"", Condition::JustKilled.text()));
}
