//! What the runs say, as markdown.

use crate::{
    load::Sample,
    measure::{Spread, ratio, spread},
};

/// Above this share of its core, a process counts as saturated.
const SATURATED: f64 = 0.93;

/// The runs of one load against two servers, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) node: Vec<Sample>,
    pub(crate) yardstick: Vec<Sample>,
}

/// The runs of one load against one server in one setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) title: String,
    pub(crate) samples: Vec<Sample>,
}

/// Prints one line for each load, node against yardstick.
pub(crate) fn print_rows(rows: &[Row]) {
    println!(
        "\n| load | node | yardstick | node / yardstick | server CPU µs/op: node | yardstick | ratio | server busy | load busy |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for Row { title, node, yardstick } in rows {
        let figures = (each(node, figure), each(yardstick, figure));
        let costs = (each(node, cpu_per_op), each(yardstick, cpu_per_op));
        println!(
            "| {title} | {} | {} | {} | {} | {} | {} | {} / {} | {} / {} |",
            wide(&figures.0),
            wide(&figures.1),
            compared(&figures.0, &figures.1),
            short(median(&costs.0)),
            short(median(&costs.1)),
            compared(&costs.0, &costs.1),
            percent(node, server_busy),
            percent(yardstick, server_busy),
            percent(node, load_busy),
            percent(yardstick, load_busy),
        );
    }
    println!(
        "\nEach cell is the median of the runs, with the least and the greatest in parentheses; those of a ratio are"
    );
    println!(
        "of runs made one right after the other. \"Busy\" is CPU time over wall time: node / yardstick."
    );
    for Row { title, node, yardstick } in rows {
        for (side, samples) in [("node", node), ("yardstick", yardstick)] {
            remark(title, side, samples);
        }
    }
}

/// Prints one line for each setting, compared with the first.
pub(crate) fn print_settings(title: &str, settings: &[Setting]) {
    let Some(base) = settings.first() else { return };
    println!(
        "\n| {title} | node | against the first | server CPU µs/op | server busy | load busy |"
    );
    println!("|---|---|---|---|---|---|");
    for Setting { title, samples } in settings {
        println!(
            "| {title} | {} | {} | {} | {} | {} |",
            wide(&each(samples, figure)),
            compared(&each(samples, figure), &each(&base.samples, figure)),
            short(median(&each(samples, cpu_per_op))),
            percent(samples, server_busy),
            percent(samples, load_busy),
        );
    }
    println!();
    for Setting { title, samples } in settings {
        disturbed(title, samples);
    }
}

/// Says of which rows the wall time is not the server's doing.
fn remark(title: &str, side: &str, samples: &[Sample]) {
    let name = title.split(':').next().unwrap_or_default();
    disturbed(&format!("{name}, {side}"), samples);
    let (server, load) = (median(&each(samples, server_busy)), median(&each(samples, load_busy)));
    let verdict = match (load > SATURATED, server > SATURATED) {
        (false, _) => return,
        (true, false) => "is the bottleneck: compare the CPU time per operation instead",
        (true, true) => "is saturated as well: the rate may be a lower bound",
    };
    println!("* {name}, {side}: the load generator {verdict}.");
}

/// Says how many runs were disturbed although they had been made again.
fn disturbed(what: &str, samples: &[Sample]) {
    let n = samples.iter().filter(|sample| sample.is_disturbed()).count();
    if n > 0 {
        println!(
            "* {what}: something else kept the machine busy in {n} of {} runs.",
            samples.len()
        );
    }
}

fn figure(sample: &Sample) -> f64 {
    sample.figure
}

fn cpu_per_op(sample: &Sample) -> f64 {
    sample.server_cpu * 1e6 / sample.ops as f64
}

fn server_busy(sample: &Sample) -> f64 {
    sample.server_cpu / sample.secs
}

fn load_busy(sample: &Sample) -> f64 {
    sample.load_cpu / sample.secs
}

fn each(samples: &[Sample], of: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(of).collect()
}

fn median(values: &[f64]) -> f64 {
    spread(values.iter().copied()).median
}

fn wide(values: &[f64]) -> String {
    let Spread { median, min, max } = spread(values.iter().copied());
    format!("{} ({}..{})", short(median), short(min), short(max))
}

fn compared(left: &[f64], right: &[f64]) -> String {
    let Spread { median, min, max } = ratio(left, right);
    format!("**{median:.2}** ({min:.2}..{max:.2})")
}

fn percent(samples: &[Sample], of: fn(&Sample) -> f64) -> String {
    format!("{:.0}%", median(&each(samples, of)) * 100.0)
}

/// Three digits, with the thousands and millions as a letter.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}
