//! What the runs say, as markdown.

use crate::{
    drive::Sample,
    measure::{Spread, ratio, spread},
    plan::{Contender, Plan},
};

/// Above this share of its core, latencies are those of a queue.
const SATURATED: f64 = 0.7;

/// The runs of one contender, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) contender: Contender,
    pub(crate) samples: Vec<Sample>,
    /// Networks that did not come together. Others took their places.
    pub(crate) failed: u32,
}

impl Column {
    pub(crate) const fn new(contender: Contender) -> Self {
        Self { contender, samples: Vec::new(), failed: 0 }
    }

    fn each(&self, of: Figure) -> Vec<f64> {
        self.samples.iter().map(of).collect()
    }
}

/// One figure of a run.
type Figure = fn(&Sample) -> f64;

/// The rows: what they are called, what they show, with how many digits, and whether a ratio says something.
const ROWS: [(&str, Figure, usize, bool); 14] = [
    ("delivered (%)", |sample| sample.coverage * 100.0, 3, false),
    ("latency of a delivery, p50 (ms ↓)", |sample| sample.p50_ms, 2, true),
    ("the same, p99 (ms ↓)", |sample| sample.p99_ms, 2, true),
    ("the same, greatest (ms ↓)", |sample| sample.max_ms, 1, true),
    ("CPU of a delivery, idle taken off (µs ↓)", |sample| sample.cpu_us, 1, true),
    ("copies received for a delivery (↓)", |sample| sample.copies, 3, true),
    ("all nodes have joined (s ↓)", |sample| sample.joined, 2, true),
    ("and a message has reached all (s ↓)", |sample| sample.reached, 2, true),
    ("links of a node, mean", |sample| sample.links, 1, false),
    ("the same, fewest", |sample| sample.fewest_links, 0, false),
    ("mesh peers of a node, mean", |sample| sample.mesh.unwrap_or(f64::NAN), 1, false),
    ("CPU of the idle network (% of a core ↓)", |sample| sample.idle_busy * 100.0, 2, true),
    ("CPU under the load (% of a core ↓)", |sample| sample.busy * 100.0, 1, true),
    ("memory of the whole process (MiB ↓)", |sample| sample.resident_kib as f64 / 1024.0, 1, true),
];

/// Prints one column for each contender, then how the first compares with each other.
pub(crate) fn print(columns: &[Column], plan: &Plan) {
    let Plan { nodes, messages, rate, payload, .. } = plan;
    println!("\n{nodes} nodes, {messages} messages of {payload} bytes, {rate} in a second:\n");
    let titles: String = columns.iter().map(|c| format!(" {} |", c.contender.title())).collect();
    println!("| |{titles}\n|---|{}", "---|".repeat(columns.len()));
    for (title, of, digits, _) in ROWS {
        let cells: String =
            columns.iter().map(|c| format!(" {} |", wide(&c.each(of), digits))).collect();
        println!("| {title} |{cells}");
    }
    if let [first, others @ ..] = columns
        && !others.is_empty()
    {
        print_ratios(first, others);
    }
    println!(
        "\nEach cell is the median of the runs, with the least and the greatest in parentheses; those of a ratio are"
    );
    println!("of runs made in the same turn.");
    columns.iter().for_each(remark);
}

fn print_ratios(first: &Column, others: &[Column]) {
    let name = first.contender.title();
    let titles: String = others.iter().map(|c| format!(" {} |", c.contender.title())).collect();
    println!("\n| {name} / the other |{titles}\n|---|{}", "---|".repeat(others.len()));
    for (title, of, ..) in ROWS.into_iter().filter(|(.., is_telling)| *is_telling) {
        let cells: String = others
            .iter()
            .map(|other| {
                let Spread { median, min, max } = ratio(&first.each(of), &other.each(of));
                format!(" **{median:.2}** ({min:.2}..{max:.2}) |")
            })
            .collect();
        println!("| {title} |{cells}");
    }
}

/// Says what makes a column less than it seems.
fn remark(column: &Column) {
    let Column { contender, samples, failed } = column;
    let title = contender.title();
    if *failed > 0 {
        println!("* {title}: {failed} more networks did not come together.");
    }
    let wrong: u64 = samples.iter().map(|sample| sample.wrong).sum();
    if wrong > 0 {
        println!("* {title}: {wrong} deliveries of what had been delivered already.");
    }
    let n = samples.iter().filter(|sample| sample.others > 0.1).count();
    if n > 0 {
        let of = samples.len();
        println!("* {title}: something else kept the machine busy in {n} of {of} runs.");
    }
    let busy = spread(column.each(|sample| sample.busy)).median;
    if busy > SATURATED {
        println!("* {title}: {:.0}% busy, so its latencies are those of a queue.", busy * 100.0);
    }
}

fn wide(values: &[f64], digits: usize) -> String {
    let Spread { median, min, max } = spread(values.iter().copied());
    if median.is_nan() {
        return "none".to_owned();
    }
    format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
}
