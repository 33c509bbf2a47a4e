//! The node's figures for Prometheus, in the OpenMetrics text format.
//!
//! Everything is read when it is asked for; nothing is counted here. Labels are the program's own words:
//! no text of another node ever is one.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{Control, MAX_LISTENERS, hub::ListTopics};
use crate::{
    BookEntry, Kind, PeerInfo,
    meters::{NodeStats, RTT_BOUNDS},
    overlay::OverlayStats,
    proto::address_record::Shelf,
    spaces::{SpaceState, SpacesStats},
    traffic::Amount,
};

/// All that is told, read at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    node: NodeStats,
    overlay: OverlayStats,
    latencies: Vec<(&'static str, std::time::Duration)>,
    /// By direction and security.
    sessions: BTreeMap<(&'static str, &'static str), u64>,
    /// By shelf.
    addresses: BTreeMap<&'static str, u64>,
    bans: u64,
    discouraged: u64,
    journal_lost: u64,
    listeners: u64,
    /// By name: there are few, and the operator has named them.
    spaces: Vec<SpaceState>,
    shared: SpacesStats,
    started_secs: f64,
}

/// The format, as it is said.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Control {
    /// The node's figures.
    pub(super) async fn metrics(&self) -> String {
        let node = self.node();
        let (peers, book) = (node.peers().await, node.addresses().await);
        let (overlay, mut latencies) = self.overlay.measured_stats().await;
        let (clock, asked) = (node.clock(), node.clock().now());
        if self.hub.send(ListTopics).await.is_ok() {
            latencies.push(("hub", clock.now().since(asked)));
        }
        let (spaces, shared) = self.space_figures().await;
        let snapshot = Snapshot {
            node: node.stats().await,
            overlay,
            latencies,
            sessions: sessions(&peers),
            addresses: shelves(&book),
            bans: count(node.bans().await.len()),
            discouraged: count(node.discouraged().await.len()),
            journal_lost: node.journal_lost(),
            listeners: count(self.feed.listeners()),
            spaces,
            shared,
            started_secs: self.started.since_epoch().as_secs_f64(),
        };
        snapshot.text()
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// All of a known set are told, also those of which there are none.
fn sessions(peers: &[PeerInfo]) -> BTreeMap<(&'static str, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for direction in ["inbound", "outbound"] {
        for security in ["encrypted", "plaintext"] {
            counts.insert((direction, security), 0);
        }
    }
    for peer in peers {
        *counts.entry((peer.direction.code(), peer.channel.security.code())).or_default() += 1;
    }
    counts
}

fn shelves(book: &[BookEntry]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::from([("new", 0), ("tried", 0), ("cold", 0)]);
    for entry in book.iter().filter(|entry| !entry.own) {
        let shelf = match entry.shelf {
            Shelf::New => "new",
            Shelf::Tried => "tried",
            Shelf::Cold => "cold",
        };
        *counts.entry(shelf).or_default() += 1;
    }
    counts
}

impl Snapshot {
    fn text(self) -> String {
        let mut registry = Registry::with_prefix("peerage");
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // Writing into a String does not fail.
        let _written = text::encode(&mut out, &registry);
        out
    }
}

/// Writes metrics one after the other.
struct Page<'a>(DescriptorEncoder<'a>);

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Page<'_> {
    /// A figure that only grows, by its labels. The name is told with `_total` behind it.
    fn counter<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            if labels.is_empty() {
                metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
            } else {
                let mut family = metric.encode_family(&labels)?;
                family.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    /// A figure that goes up and down, by its labels.
    fn gauge<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            if labels.is_empty() {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    /// A single figure.
    fn one(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauge(name, help, [(Vec::new(), value as f64)])
    }

    fn total(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counter(name, help, [(Vec::new(), value)])
    }
}

fn labels_of<'a>(way: &'static str, amount: &'a Amount) -> Labels<'a> {
    vec![("direction", way), ("msgtype", &amount.msgtype)]
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        self.sessions(&mut page)?;
        self.traffic(&mut page)?;
        self.decisions(&mut page)?;
        self.actors(&mut page)?;
        self.routing(&mut page)?;
        self.broadcast(&mut page)?;
        self.questions(&mut page)?;
        self.shared(&mut page)
    }
}

impl Snapshot {
    fn sessions(&self, page: &mut Page<'_>) -> fmt::Result {
        let info = vec![("version", env!("CARGO_PKG_VERSION"))];
        page.gauge("build_info", "The version that runs; always 1", [(info, 1.0)])?;
        let started = [(Vec::new(), self.started_secs)];
        page.gauge(
            "start_time_seconds",
            "When the node was started, since the Unix epoch",
            started,
        )?;
        let sessions = self.sessions.iter().map(|((direction, security), n)| {
            (vec![("direction", *direction), ("security", *security)], *n as f64)
        });
        page.gauge("sessions", "Sessions now", sessions)?;
        let shelves = self.addresses.iter().map(|(shelf, n)| (vec![("shelf", *shelf)], *n as f64));
        page.gauge(
            "addresses",
            "Known addresses: new (hearsay), tried (proven), cold (silent)",
            shelves,
        )?;
        page.one("bans", "Bans that hold", self.bans)?;
        page.one("discouraged", "Ids and addresses that broke the protocol", self.discouraged)?;
        page.one("event_listeners", "Who listens to events", self.listeners)?;
        page.one("event_listeners_limit", "How many may", count(MAX_LISTENERS))
    }

    fn traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let NodeStats { received, sent, round_trips, outboxes, .. } = &self.node;
        let of_way = |way: &'static str, amounts: &'_ [Amount]| -> Vec<_> {
            amounts.iter().map(|amount| (way, amount.clone())).collect()
        };
        let amounts = [of_way("in", received), of_way("out", sent)].concat();
        let all = || amounts.iter().map(|(way, amount)| (labels_of(way, amount), amount));
        let frames = all().map(|(labels, amount)| (labels, amount.frames));
        page.counter("frames", "Frames that came and went", frames)?;
        let bytes = all().map(|(labels, amount)| (labels, amount.bytes));
        page.counter("bytes", "Their bytes, without those of TLS", bytes)?;
        page.one("outbox_frames", "Frames that wait to be written", count(outboxes.frames))?;
        page.one("outbox_bytes", "Their bytes", count(outboxes.bytes))?;
        page.one(
            "outbox_frames_most",
            "Frames in the fullest outbox",
            count(outboxes.most_frames),
        )?;
        page.one("outbox_bytes_most", "Bytes in the fullest outbox", count(outboxes.most_bytes))?;
        let bounds = RTT_BOUNDS.iter().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(round_trips.counts).collect();
        let all = round_trips.counts.iter().sum();
        let help = "Round trips that pings measured";
        self.histogram(page, "rtt_seconds", help, (round_trips.sum.as_secs_f64(), all), &buckets)
    }

    fn histogram(
        &self,
        page: &mut Page<'_>,
        name: &str,
        help: &str,
        (sum, all): (f64, u64),
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let mut metric = page.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, all, buckets, None)
    }

    fn decisions(&self, page: &mut Page<'_>) -> fmt::Result {
        let decisions = &self.node.decisions;
        let of =
            |kinds: &'static [Kind]| decisions.iter().filter(|(kind, ..)| kinds.contains(kind));
        let made = of(&[Kind::SessionUp]).map(|(_, way, n)| (vec![("direction", *way)], *n));
        page.counter("handshakes", "Handshakes that became sessions", made)?;
        let failed = of(&[Kind::Refused, Kind::DialFailed, Kind::Duplicate])
            .map(|(kind, why, n)| (vec![("kind", kind.code()), ("reason", *why)], *n));
        let help =
            "Connections that did not: refused here, dials that failed, one of two with a node";
        page.counter("handshake_failures", help, failed)?;
        let all = decisions
            .iter()
            .map(|(kind, why, n)| (vec![("kind", kind.code()), ("reason", *why)], *n));
        page.counter(
            "decisions",
            "What the node decided; reasons in others' words are `other`",
            all,
        )?;
        page.total(
            "journal_lost",
            "Decisions that the journal was too busy to keep",
            self.journal_lost,
        )
    }

    fn actors(&self, page: &mut Page<'_>) -> fmt::Result {
        let all = self.node.latencies.iter().chain(&self.latencies);
        let latencies = all.map(|(actor, wait)| (vec![("actor", *actor)], wait.as_secs_f64()));
        let help = "How long a message waits for an actor: one of now, a second at most";
        page.gauge("mailbox_latency_seconds", help, latencies)
    }

    fn routing(&self, page: &mut Page<'_>) -> fmt::Result {
        let routing = &self.overlay.routing;
        let own = [
            ("delivered", routing.delivered),
            ("undelivered", routing.undelivered),
            ("taken", routing.taken),
            ("refused", routing.refused),
            ("repeated", routing.repeated),
            ("forged", routing.forged),
            ("lost", routing.lost),
        ];
        let own = own.map(|(outcome, n)| (vec![("outcome", outcome)], n));
        let help =
            "Messages to one node: this node's own (un)delivered, those for it taken or refused";
        page.counter("routed", help, own)?;
        page.total("routed_sent", "Messages to one node that were sent off", routing.sent)?;
        let relayed = &routing.relayed;
        let relayed = [
            ("forwarded", relayed.forwarded),
            ("answered", relayed.answered),
            ("dead-end", relayed.dead_ends),
            ("duplicate", relayed.duplicates),
            ("crowded", relayed.crowded),
            ("stray", relayed.strays),
            ("expired", relayed.expired),
        ];
        let relayed = relayed.map(|(what, n)| (vec![("what", what)], n));
        page.counter("relayed", "What was done for messages of others", relayed)?;
        page.one(
            "routed_waiting",
            "Own messages that wait for their outcome",
            count(routing.waiting),
        )?;
        page.one("relay_trails", "Messages of others whose way back is kept", count(routing.trails))
    }

    fn broadcast(&self, page: &mut Page<'_>) -> fmt::Result {
        let broadcast = &self.overlay.broadcast;
        let gossip = &broadcast.gossip;
        let what = [
            ("published", gossip.published),
            ("received", gossip.received),
            ("accepted", gossip.accepted),
            ("duplicate", gossip.duplicates),
            ("stale", gossip.stale),
            ("over-rate", gossip.over_rate),
            ("pushed", gossip.pushed),
            ("announced", gossip.announced),
            ("asked", gossip.asked),
            ("grafted", gossip.grafted),
            ("ignored", gossip.ignored),
            ("delivered", broadcast.delivered),
            ("missed", broadcast.missed),
            ("refused", broadcast.refused),
            ("forged", broadcast.forged),
        ];
        let what = what.map(|(what, n)| (vec![("what", what)], n));
        page.counter("broadcast", "Messages to all; redundancy is received over accepted", what)?;
        page.one(
            "broadcast_missing",
            "Messages that others have and this node has not",
            count(broadcast.missing),
        )?;
        page.one(
            "broadcast_kept",
            "Messages kept for those who missed them",
            count(broadcast.kept),
        )?;
        page.one("broadcast_kept_bytes", "Their bytes", count(broadcast.kept_bytes))
    }

    fn questions(&self, page: &mut Page<'_>) -> fmt::Result {
        let (asking, answering) = (&self.overlay.ask.asking, &self.overlay.ask.answering);
        let what = [
            ("asked", asking.asked),
            ("not-asked", asking.not_asked),
            ("answers", asking.answers),
            ("refusals", asking.refusals),
            ("taken", answering.taken),
            ("not-taken", answering.not_taken),
            ("ignored", answering.ignored),
        ];
        let what = what.map(|(what, n)| (vec![("what", what)], n));
        page.counter("questions", "Questions to many: this node's own, and those of others", what)?;
        page.one("questions_open", "Questions that are open", count(asking.open + answering.open))
    }

    fn shared(&self, page: &mut Page<'_>) -> fmt::Result {
        let of = |figure: fn(&SpaceState) -> f64| {
            self.spaces
                .iter()
                .map(move |state| (vec![("space", state.info.spec.name().as_str())], figure(state)))
        };
        let records = of(|state| state.info.holds.records as f64);
        page.gauge("space_records", "Records of a space, deletions included", records)?;
        let bytes = of(|state| state.info.holds.bytes as f64);
        page.gauge("space_bytes", "Their bytes", bytes)?;
        page.gauge("space_peers", "Peers that are in it", of(|state| state.peers as f64))?;
        let SpacesStats { commits, writes, syncs, failed_syncs, received } = self.shared;
        page.total("spaces_commits", "Transactions of the spaces' file", commits)?;
        page.total("spaces_writes", "Records that were to be written in them", writes)?;
        let syncs = [("done", syncs), ("failed", failed_syncs)];
        let syncs = syncs.map(|(outcome, n)| (vec![("outcome", outcome)], n));
        let help = "Times that this node and another have been brought together";
        page.counter("spaces_syncs", help, syncs)?;
        page.total("spaces_received", "Records that were taken from others in doing so", received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of all metrics, as they are told.
    fn names(text: &str) -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines.filter_map(|line| line.split(' ').next()).collect()
    }

    #[test]
    fn every_metric_is_told_once_and_described_in_the_documentation() {
        let text = Snapshot::default().text();
        let names = names(&text);
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let docs = include_str!("../../docs/OPERATIONS.md");
        for name in names {
            assert!(docs.contains(&format!("`{name}")), "{name} is not in docs/OPERATIONS.md");
        }
    }

    #[test]
    fn figures_have_their_labels() {
        let amount =
            |msgtype: &str, frames, bytes| Amount { msgtype: msgtype.to_owned(), frames, bytes };
        let node = NodeStats {
            received: vec![amount("ping", 2, 38)],
            sent: vec![amount("chat", 1, 100)],
            decisions: vec![(Kind::SessionUp, "inbound", 3), (Kind::Refused, "full", 4)],
            latencies: vec![("registry", std::time::Duration::from_millis(1))],
            ..NodeStats::default()
        };
        let text = Snapshot { node, ..Snapshot::default() }.text();
        for line in [
            "peerage_frames_total{direction=\"in\",msgtype=\"ping\"} 2",
            "peerage_bytes_total{direction=\"out\",msgtype=\"chat\"} 100",
            "peerage_handshakes_total{direction=\"inbound\"} 3",
            "peerage_handshake_failures_total{kind=\"refused\",reason=\"full\"} 4",
            "peerage_decisions_total{kind=\"session-up\",reason=\"inbound\"} 3",
            "peerage_mailbox_latency_seconds{actor=\"registry\"} 0.001",
            "peerage_rtt_seconds_bucket{le=\"+Inf\"} 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
        }
    }
}
