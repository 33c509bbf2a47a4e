//! What the runs say, as markdown.

use std::time::Duration;

use crate::{
    cases::name_of,
    load::Sample,
    measure::{Run, Spread, ratio, spread},
    swarm::{broadcast, hops},
};

/// Above this share of its core, a process counts as saturated.
const SATURATED: f64 = 0.93;

/// The runs of one load against two servers, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) left: Vec<Sample>,
    pub(crate) right: Vec<Sample>,
}

/// The runs of one load against one server in one setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) title: String,
    pub(crate) samples: Vec<Sample>,
}

/// Sessions that were held, by one server after the other.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) sessions: u32,
    pub(crate) secs: f64,
    pub(crate) every: Duration,
    pub(crate) samples: Vec<(&'static str, Sample)>,
}

/// Prints one line for each load, one server against the other.
pub(crate) fn print_rows(rows: &[Row], names: [&str; 2]) {
    let [one, other] = names;
    println!(
        "\n| load | {one} | {other} | {one} / {other} | server CPU µs/op: {one} | {other} | ratio | server busy | load busy |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for Row { title, left, right } in rows {
        let figures = (each(left, figure), each(right, figure));
        let costs = (each(left, cpu_per_op), each(right, cpu_per_op));
        println!(
            "| {title} | {} | {} | {} | {} | {} | {} | {} / {} | {} / {} |",
            wide(&figures.0),
            wide(&figures.1),
            compared(&figures.0, &figures.1),
            short(median(&costs.0)),
            short(median(&costs.1)),
            compared(&costs.0, &costs.1),
            percent(left, server_busy),
            percent(right, server_busy),
            percent(left, load_busy),
            percent(right, load_busy),
        );
    }
    println!(
        "\nEach cell is the median of the runs, with the least and the greatest in parentheses; those of a ratio are"
    );
    println!(
        "of runs made one right after the other. \"Busy\" is CPU time over wall time: {one} / {other}."
    );
    for Row { title, left, right } in rows {
        if title.contains("KiB") && title.contains("memory") {
            let more = median(&each(left, figure)) - median(&each(right, figure));
            println!("* {}: {one} less {other} is {more:+.2} KiB.", name_of(title));
        }
        remark(title, one, left);
        remark(title, other, right);
    }
}

/// Prints what the sessions cost, with a column for each server.
pub(crate) fn print_held(held: &Held) {
    let Held { sessions, secs, every, samples } = held;
    let every = every.as_secs();
    let cells = |of: &dyn Fn(&Sample) -> String| -> String {
        samples.iter().map(|(_, sample)| format!(" {} |", of(sample))).collect()
    };
    let names: String = samples.iter().map(|(name, _)| format!(" {name} |")).collect();
    println!(
        "\n| {sessions} encrypted sessions for {secs} s, a ping every {every} s from both ends |{names}"
    );
    println!("|---|{}", "---|".repeat(samples.len()));
    println!("| memory of a session (KiB ↓) |{}", cells(&|sample| short(sample.figure)));
    let whole = |sample: &Sample| format!("{:.1}", sample.resident_kib as f64 / 1024.0);
    println!("| memory of the whole process (MiB ↓) |{}", cells(&whole));
    let busy = |sample: &Sample| format!("{:.2}%", server_busy(sample) * 100.0);
    println!("| CPU, of one core (↓) |{}", cells(&busy));
    println!("| pings of the load that were answered |{}", cells(&|sample| sample.ops.to_string()));
    println!();
    for (name, sample) in samples {
        disturbed(&format!("hold, {name}"), std::slice::from_ref(sample));
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

/// Prints what three steps cost against one, with a line for each network.
pub(crate) fn print_hops(rows: &[(&str, Vec<hops::Found>)]) {
    println!(
        "\n| a routed message, delivered and known to be | 1 step (µs ↓) | 3 steps (µs ↓) | 3 / 1 |"
    );
    println!("|---|---|---|---|");
    for (title, found) in rows {
        let one: Vec<_> = found.iter().map(|found| found.one).collect();
        let three: Vec<_> = found.iter().map(|found| found.three).collect();
        println!("| {title} | {} | {} | {} |", wide(&one), wide(&three), compared(&three, &one));
    }
    println!();
    rows.iter().for_each(|(title, found)| disturbed(name_of(title), found));
}

/// Prints what a message to all costs for each delivery, against a frame of its size over one session.
pub(crate) fn print_broadcast(rows: &[(&str, Vec<broadcast::Found>)]) {
    for (title, found) in rows {
        let all = |of: fn(&broadcast::Found) -> f64| found.iter().map(of).collect::<Vec<_>>();
        let (bare, turn, hot) = (all(broadcast::Found::bare), all(|f| f.turn), all(|f| f.hot));
        println!("\n| {title} | CPU µs (↓) | a delivery without signatures over it |");
        println!("|---|---|---|");
        println!("| a delivery | {} | |", wide(&all(|f| f.delivery)));
        println!("| of it: a signature checked | {} | |", wide(&all(|f| f.verify)));
        println!("| of a message: a signature made | {} | |", wide(&all(|f| f.sign)));
        println!("| a delivery without signatures | {} | |", wide(&bare));
        let line = |what, one: &[f64]| {
            println!("| {what} | {} | {} |", wide(one), compared(&bare, one));
        };
        line("the frame once over one session, each session in turn", &turn);
        line("the frame again and again over one session", &hot);
        println!("| idle, all nodes (% of a core) | {} | |", wide(&all(|f| f.idle * 100.0)));
        println!("| delivered (%) | {} | |", wide(&all(|f| f.coverage * 100.0)));
        println!();
        disturbed(name_of(title), found);
    }
}

/// Says of which rows the wall time is not the server's doing.
fn remark(title: &str, side: &str, samples: &[Sample]) {
    let name = name_of(title);
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
fn disturbed(what: &str, samples: &[impl Run]) {
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

/// Three digits, with the thousands, millions and so on as a letter.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
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
