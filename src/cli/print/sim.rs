//! The report of a simulation, for people.

use std::{fmt::Write as _, time::Duration};

use peerage::sim::{
    Report,
    report::{BroadcastRow, ChurnRow, KillRow, PartitionRow, RouteRow, Summary},
};

use super::table::Table;
use crate::cli::error::{duration, one_line};

/// What stands where there is no figure.
const NONE: &str = "-";

/// The whole report.
pub(crate) fn sim_report(report: &Report) -> String {
    let mut text = head(report);
    let parts = [
        ("Messages to one node", routes(&report.routes)),
        ("Messages to all nodes", broadcasts(&report.broadcasts)),
        ("Copies of them", copies(&report.broadcasts)),
        ("Churn", churns(&report.churns)),
        ("Kills", kills(&report.kills)),
        ("Partitions", partitions(&report.partitions)),
    ];
    for (title, table) in parts {
        if let Some(table) = table {
            // Nothing fails to be written to a string.
            let _ok = write!(text, "\n{title}\n{}", table.text());
        }
    }
    text
}

/// What it cost: real time and memory, which are not part of the report.
pub(crate) fn sim_cost(simulated: Duration, cost: Duration, memory: Option<&str>) -> String {
    let (simulated, cost) = (simulated.as_secs_f64(), cost.as_secs_f64().max(0.001));
    let memory = memory.unwrap_or("unknown");
    let times = simulated / cost;
    format!(
        "simulated {simulated:.0} s in {cost:.1} s, {times:.0} times as fast; peak memory {memory}\n"
    )
}

fn head(report: &Report) -> String {
    let scenario = &report.scenario;
    let signed = if scenario.signatures { "" } else { ", without signatures" };
    let title = format!(
        "{} nodes, seed {}, {} after the joining{signed} (peerage {})\n\n",
        scenario.nodes,
        scenario.seed,
        duration(scenario.lasts),
        report.version,
    );
    let converged = match report.converged_secs {
        Some(at) => format!("{} s after the last join", figure(at)),
        None => "not within this time".to_owned(),
    };
    let sessions = |summary: &Summary| {
        let Summary { mean, p99, max, .. } = summary;
        format!("{} per node, p99 {p99}, most {max}", figure(*mean))
    };
    let idle = report.traffic.idle.map_or_else(|| NONE.to_owned(), whole);
    let each = &report.traffic.per_node;
    let rows = [
        (
            "joining",
            format!("{} s, {} nodes per second", figure(report.joining_secs), scenario.join_rate),
        ),
        ("converged", converged),
        ("sessions", format!("{} (undisturbed)", sessions(&report.sessions.undisturbed))),
        ("", format!("{} (at the end)", sessions(&report.sessions.end))),
        (
            "bytes sent",
            format!("{idle} per node and minute when idle, {} in all", whole(report.traffic.total)),
        ),
        (
            "",
            format!(
                "{} per node that lived all the time, p99 {}, most {}",
                whole(each.mean),
                each.p99,
                each.max
            ),
        ),
        (
            "at the end",
            format!("{} nodes, {} of them lacking a session", report.nodes, report.lacking),
        ),
    ];
    rows.iter().fold(title, |text, (name, value)| format!("{text}{name:11}{value}\n"))
}

fn routes(rows: &[RouteRow]) -> Option<Table> {
    let text = ["load", "condition"];
    let numbers = ["sent", "moot", "delivered", "hops", "p99", "most", "ms", "p99", "most"];
    let mut table = Table::new(&text, &[&numbers[..], &["  failed"]].concat());
    for row in rows {
        let [hops, hops_99, hops_most] = mean_p99_max(&row.hops);
        let [rtt, rtt_99, rtt_most] = mean_p99_max(&row.rtt_ms);
        let failed: Vec<String> =
            row.failed.iter().map(|(code, n)| format!("{code} {n}")).collect();
        let failed = if failed.is_empty() { NONE.to_owned() } else { failed.join(", ") };
        table.row([
            one_line(&row.load),
            row.condition.text().to_owned(),
            row.sent.to_string(),
            row.moot.to_string(),
            percent(row.share),
            hops,
            hops_99,
            hops_most,
            rtt,
            rtt_99,
            rtt_most,
            failed,
        ]);
    }
    some(rows, table)
}

fn broadcasts(rows: &[BroadcastRow]) -> Option<Table> {
    let text = ["load", "condition"];
    let numbers = [
        "sent", "complete", "coverage", "hops", "last hop", "most", "ms", "p99", "last ms", "most",
        "twice",
    ];
    let mut table = Table::new(&text, &numbers);
    for row in rows {
        let [last, _, last_most] = mean_p99_max(&row.last_hops);
        let [latency, latency_99, _] = mean_p99_max(&row.latency_ms);
        let [last_ms, _, last_ms_most] = mean_p99_max(&row.last_latency_ms);
        table.row([
            one_line(&row.load),
            row.condition.text().to_owned(),
            row.messages.to_string(),
            row.complete.to_string(),
            percent(row.coverage),
            figure(row.hops.mean),
            last,
            last_most,
            latency,
            latency_99,
            last_ms,
            last_ms_most,
            row.again.to_string(),
        ]);
    }
    some(rows, table)
}

fn copies(rows: &[BroadcastRow]) -> Option<Table> {
    let numbers = ["copies", "deliveries", "copies per delivery"];
    let mut table = Table::new(&["load", "condition"], &numbers);
    for row in rows {
        table.row([
            one_line(&row.load),
            row.condition.text().to_owned(),
            row.copies.to_string(),
            row.deliveries.to_string(),
            or_none(row.redundancy),
        ]);
    }
    some(rows, table)
}

fn churns(rows: &[ChurnRow]) -> Option<Table> {
    let mut table = Table::new(&[], &["from s", "to s", "replaced", "lacking", "mended after s"]);
    for row in rows {
        table.row([
            figure(row.from_secs),
            figure(row.to_secs),
            row.replaced.to_string(),
            percent(Some(row.lacking)),
            or_none(row.mended_secs),
        ]);
    }
    some(rows, table)
}

fn kills(rows: &[KillRow]) -> Option<Table> {
    let mut table =
        Table::new(&[], &["at s", "killed", "survivors", "still one", "mended after s"]);
    for row in rows {
        table.row([
            figure(row.at_secs),
            row.killed.to_string(),
            row.survivors.to_string(),
            if row.connected { "yes" } else { "no" }.to_owned(),
            or_none(row.mended_secs),
        ]);
    }
    some(rows, table)
}

fn partitions(rows: &[PartitionRow]) -> Option<Table> {
    let heads = [
        "at s",
        "healed at s",
        "cut off",
        "from",
        "connected after s",
        "routed after s",
        "one after s",
        "mended after s",
    ];
    let mut table = Table::new(&[], &heads);
    for row in rows {
        let [cut_off, others] = row.sides;
        table.row([
            figure(row.at_secs),
            figure(row.healed_at_secs),
            cut_off.to_string(),
            others.to_string(),
            or_none(row.connected_secs),
            or_none(row.routed_secs),
            or_none(row.one_secs),
            or_none(row.mended_secs),
        ]);
    }
    some(rows, table)
}

fn some<T>(rows: &[T], table: Table) -> Option<Table> {
    (!rows.is_empty()).then_some(table)
}

fn mean_p99_max(summary: &Summary) -> [String; 3] {
    if summary.n == 0 {
        return [NONE; 3].map(str::to_owned);
    }
    [figure(summary.mean), summary.p99.to_string(), summary.max.to_string()]
}

/// A share in percent, rounded down: only all is 100 %.
fn percent(share: Option<f64>) -> String {
    let Some(share) = share else { return NONE.to_owned() };
    let hundredths = (share * 10_000.0 + 1e-6).floor();
    if hundredths >= 10_000.0 { "100 %".to_owned() } else { format!("{:.2} %", hundredths / 100.0) }
}

fn or_none(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), figure)
}

/// A number, with two decimals if it has any.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_a_hundred_percent() {
        let cases = [
            (Some(1.0), "100 %"),
            (Some(0.999_999), "99.99 %"),
            (Some(0.9999), "99.99 %"),
            (Some(0.0), "0.00 %"),
            (None, "-"),
        ];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn the_cost_is_one_line() {
        let text =
            sim_cost(Duration::from_secs(3650), Duration::from_millis(36_500), Some("9 MiB"));
        assert_eq!(text, "simulated 3650 s in 36.5 s, 100 times as fast; peak memory 9 MiB\n");
        let text = sim_cost(Duration::from_secs(1), Duration::ZERO, None);
        assert!(text.ends_with("peak memory unknown\n"), "{text}");
    }
}
