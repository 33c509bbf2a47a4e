//! What a node tells Prometheus, from a live network of three.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod program;

use std::{collections::BTreeSet, thread, time::Instant};

use program::{BOUND, three::Three};

fn scrape(three: &Three, of: &str) -> String {
    three.api(of).text("/metrics")
}

/// The value on the line that begins so; zero if there is none.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn the_figures_move_with_what_happens() {
    let three = Three::start();
    let before = scrape(&three, "a");
    let sessions = |direction: &str| {
        let name = format!("peerage_sessions{{direction=\"{direction}\",security=\"encrypted\"}}");
        value(&before, &name)
    };
    assert!((sessions("inbound") + sessions("outbound") - 2.0).abs() < 0.1, "{before}");
    for name in [
        "peerage_handshakes_total{direction=\"inbound\"}",
        "peerage_frames_total{direction=\"in\",msgtype=\"hello\"}",
        "peerage_frames_total{direction=\"out\",msgtype=\"hello\"}",
        "peerage_bytes_total{direction=\"in\",msgtype=\"addr\"}",
        "peerage_start_time_seconds",
    ] {
        assert!(value(&before, name) > 0.0, "{name}: {before}");
    }
    for actor in [
        "registry",
        "discovery",
        "dialer",
        "journal",
        "keeper",
        "listener",
        "session",
        "router",
        "gossiper",
        "pollster",
        "respondent",
        "hub",
    ] {
        let name = format!("peerage_mailbox_latency_seconds{{actor=\"{actor}\"}}");
        assert!(before.contains(&name), "{name}: {before}");
    }

    three.text("a", &["send", &three.ids[1], "hello"]);
    three.text("a", &["publish", "news", "hello"]);
    let deadline = Instant::now() + BOUND;
    loop {
        let (a, b) = (scrape(&three, "a"), scrape(&three, "b"));
        let moved = value(&a, "peerage_routed_total{outcome=\"delivered\"}") >= 1.0
            && value(&a, "peerage_frames_total{direction=\"out\",msgtype=\"route\"}") >= 1.0
            && value(&b, "peerage_frames_total{direction=\"in\",msgtype=\"route\"}") >= 1.0
            && value(&a, "peerage_broadcast_total{what=\"published\"}") >= 1.0
            && value(&b, "peerage_broadcast_total{what=\"accepted\"}") >= 1.0
            && value(&b, "peerage_rtt_seconds_count") >= 1.0;
        if moved {
            break;
        }
        assert!(Instant::now() < deadline, "{a}\n{b}");
        thread::yield_now();
    }
}

/// The words in a text that are names of metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.starts_with("peerage_")).collect()
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_exist() {
    let three = Three::start();
    let text = scrape(&three, "a");
    let told = names(&text);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let dashboard = read("grafana/peerage.json");
    let json: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(json["panels"].as_array().unwrap().len() >= 10);
    for (file, text) in
        [("dashboard", dashboard.as_str()), ("alerts", &read("prometheus/alerts.yml"))]
    {
        let used = names(text);
        assert!(used.len() > 4, "{file} names metrics");
        for name in used {
            // A counter of which there is nothing yet has only its description.
            let family = name.trim_end_matches("_total").trim_end_matches("_bucket");
            assert!(told.contains(family) || told.contains(name), "{file}: there is no {name}");
        }
    }
}
