//! From what was counted to the report.

use super::{Run, ledger::secs};
use crate::sim::{
    measure::{Distribution, ratio, share},
    report::{BroadcastRow, Histograms, Report, RouteRow, Sessions, Traffic},
    scenario::{BroadcastLoad, Origins, RouteLoad},
};

impl Run<'_> {
    /// What was found out.
    pub(super) fn report(&self) -> Report {
        let world = self.world.borrow();
        let (zero, end) = (self.zero, self.zero + self.scenario.lasts);
        let undisturbed = self.look.undisturbed.clone().unwrap_or_default();
        let at_end = self.look.end.as_ref();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            scenario: self.scenario.clone(),
            joining_secs: secs(zero, Default::default()),
            converged_secs: self.look.converged.map(|at| secs(at, zero)),
            nodes: world.living.len(),
            lacking: self.look.lacking(),
            sessions: Sessions {
                undisturbed: undisturbed.summary(),
                end: at_end.map(|end| end.sessions.summary()).unwrap_or_default(),
            },
            traffic: Traffic {
                idle: self.idle_bytes(),
                total: at_end.map(|end| end.bytes).unwrap_or_default(),
                per_node: at_end.map(|end| end.bytes_each.summary()).unwrap_or_default(),
            },
            routes: self.route_rows(),
            broadcasts: self.broadcast_rows(),
            churns: self.ledger.churn_rows(zero, end),
            kills: self.ledger.kill_rows(zero),
            partitions: self.ledger.partition_rows(zero, end),
            series: self.look.samples.clone(),
            histograms: self.histograms(undisturbed),
        }
    }

    fn idle_bytes(&self) -> Option<f64> {
        let idle = || self.look.samples.iter().filter(|sample| sample.idle);
        let n = idle().count();
        let sum: f64 = idle().map(|sample| sample.bytes).sum();
        (n > 0).then(|| ratio(sum, n as f64))
    }

    fn histograms(&self, sessions: Distribution) -> Histograms {
        let world = self.world.borrow();
        let mut all = Histograms { sessions, ..Histograms::default() };
        for (_, _, row) in world.deliveries.rows() {
            all.route_hops.merge(&row.hops);
        }
        for (_, _, row) in world.coverage.rows() {
            all.broadcast_hops.merge(&row.hops);
            all.broadcast_latency_ms.merge(&row.latency);
        }
        all
    }

    fn route_rows(&self) -> Vec<RouteRow> {
        let world = self.world.borrow();
        let row =
            |(load, condition, row): (usize, _, &crate::sim::measure::DeliveryRow)| RouteRow {
                load: self.route_name(load),
                condition,
                sent: row.sent,
                moot: row.moot,
                delivered: row.delivered,
                share: row.share(),
                failed: row.failed.clone(),
                hops: row.hops.summary(),
                rtt_ms: row.rtt.summary(),
            };
        world.deliveries.rows().map(row).collect()
    }

    /// Behind the loads come the probes of the kills.
    fn route_name(&self, load: usize) -> String {
        let n = self.scenario.route.len();
        let name =
            |route: &RouteLoad| route.name.clone().unwrap_or_else(|| format!("route {}", load + 1));
        let probes = || format!("probes of kill {}", (load + 1).saturating_sub(n));
        self.scenario.route.get(load).map_or_else(probes, name)
    }

    fn broadcast_rows(&self) -> Vec<BroadcastRow> {
        let world = self.world.borrow();
        let row = |(load, condition, row): (usize, _, &crate::sim::measure::CoverageRow)| {
            let tally = self.copies.tally(load, condition);
            BroadcastRow {
                load: self.broadcast_name(load),
                condition,
                messages: row.messages,
                complete: row.complete,
                owed: row.owed,
                made: row.made,
                coverage: share(row.made, row.owed),
                again: row.again,
                copies: tally.copies,
                deliveries: tally.deliveries,
                redundancy: (tally.deliveries > 0)
                    .then(|| ratio(tally.copies as f64, tally.deliveries as f64)),
                hops: row.hops.summary(),
                last_hops: row.last_hops.summary(),
                latency_ms: row.latency.summary(),
                last_latency_ms: row.last_latency.summary(),
            }
        };
        world.coverage.rows().map(row).collect()
    }

    fn broadcast_name(&self, load: usize) -> String {
        let name = |broadcast: &BroadcastLoad| {
            let origins = match broadcast.origins {
                Origins::One => "one origin",
                Origins::Random => "random origins",
            };
            let by_default = || format!("broadcast {}, {origins}", load + 1);
            broadcast.name.clone().unwrap_or_else(by_default)
        };
        self.scenario.broadcast.get(load).map(name).unwrap_or_default()
    }
}
