//! What `top` shows, and what keys do to it.

use std::{cmp::Reverse, collections::VecDeque};

use peerage::control::model::{Entry, NodeInfo, PeerEntry};

/// How many looks back the curves go.
pub(super) const HISTORY: usize = 240;

/// What the node said at one moment.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) info: NodeInfo,
    pub(super) peers: Vec<PeerEntry>,
    pub(super) entries: Vec<Entry>,
    pub(super) totals: Totals,
}

impl Look {
    /// For programs: what the screen would show.
    pub(super) fn json(&self) -> serde_json::Value {
        let Totals { bytes_in, bytes_out, frames_in, frames_out } = self.totals;
        serde_json::json!({
            "node": self.info,
            "peers": self.peers,
            "decisions": self.entries,
            "bytes": { "in": bytes_in, "out": bytes_out },
            "frames": { "in": frames_in, "out": frames_out },
        })
    }
}

/// What came and went since the node's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) frames_in: u64,
    pub(super) frames_out: u64,
}

impl Totals {
    /// From the node's metrics.
    pub(super) fn of(metrics: &str) -> Self {
        let sum = |name: &str, way: &str| {
            let begin = format!("{name}{{direction=\"{way}\"");
            let lines = metrics.lines().filter(|line| line.starts_with(&begin));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        Self {
            bytes_in: sum("peerage_bytes_total", "in"),
            bytes_out: sum("peerage_bytes_total", "out"),
            frames_in: sum("peerage_frames_total", "in"),
            frames_out: sum("peerage_frames_total", "out"),
        }
    }
}

/// What came and went within a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) frames_in: u64,
    pub(super) frames_out: u64,
}

/// A key, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Back,
    Up,
    Down,
    First,
    Last,
    Sort,
    Pause,
    Help,
    Details,
}

/// By what the peers are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    #[default]
    Id,
    Age,
    Rtt,
    Silent,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Id => Self::Age,
            Self::Age => Self::Rtt,
            Self::Rtt => Self::Silent,
            Self::Silent => Self::Id,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Age => "age",
            Self::Rtt => "rtt",
            Self::Silent => "silent",
        }
    }
}

/// What lies over the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    Help,
    Details,
}

/// The whole screen.
#[derive(Debug, Clone)]
pub(super) struct Board {
    pub(super) look: Look,
    pub(super) rates: Rates,
    /// The middle one of the peers' round trips at each look, in microseconds.
    pub(super) rtts: VecDeque<u64>,
    /// Bytes a second, in and out together.
    pub(super) bytes: VecDeque<u64>,
    pub(super) sort: Sort,
    pub(super) over: Over,
    pub(super) is_colourful: bool,
    /// Why the node was not heard of at the last try.
    pub(super) lost: Option<String>,
    paused: bool,
    /// Which peer is chosen: it stays so when the order changes.
    chosen: Option<String>,
}

impl Board {
    pub(super) fn new(look: Look, is_colourful: bool) -> Self {
        let mut board = Self {
            look,
            rates: Rates::default(),
            rtts: VecDeque::new(),
            bytes: VecDeque::new(),
            sort: Sort::default(),
            over: Over::Nothing,
            is_colourful,
            lost: None,
            paused: false,
            chosen: None,
        };
        board.note();
        board
    }

    /// The node said this.
    pub(super) fn take(&mut self, look: Look) {
        self.lost = None;
        let before = self.look.totals;
        let passed = look.info.uptime_ms.saturating_sub(self.look.info.uptime_ms).max(1);
        let now = look.totals;
        let rate = |now: u64, before: u64| now.saturating_sub(before) * 1000 / passed;
        self.rates = Rates {
            bytes_in: rate(now.bytes_in, before.bytes_in),
            bytes_out: rate(now.bytes_out, before.bytes_out),
            frames_in: rate(now.frames_in, before.frames_in),
            frames_out: rate(now.frames_out, before.frames_out),
        };
        self.look = look;
        self.note();
    }

    /// The node did not answer.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// A key was pressed. Whether it goes on.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::Back if self.over == Over::Nothing => return false,
            Key::Back => self.over = Over::Nothing,
            Key::Up => self.step(|at, _| at.saturating_sub(1)),
            Key::Down => self.step(|at, last| (at + 1).min(last)),
            Key::First => self.step(|_, _| 0),
            Key::Last => self.step(|_, last| last),
            Key::Sort => {
                self.sort = self.sort.next();
                self.arrange();
            }
            Key::Pause => self.paused = !self.paused,
            Key::Help => self.toggle(Over::Help),
            Key::Details => self.toggle(Over::Details),
        }
        true
    }

    /// The place of the chosen peer among those shown.
    pub(super) fn chosen(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.look.peers.iter().position(|peer| peer.id == *chosen)
    }

    /// The chosen peer.
    pub(super) fn chosen_peer(&self) -> Option<&PeerEntry> {
        self.look.peers.get(self.chosen()?)
    }

    fn toggle(&mut self, over: Over) {
        self.over = if self.over == over { Over::Nothing } else { over };
    }

    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        let last = self.look.peers.len().saturating_sub(1);
        let at = self.chosen().map_or(0, |at| to(at, last));
        self.chosen = self.look.peers.get(at).map(|peer| peer.id.clone());
    }

    fn note(&mut self) {
        let push = |curve: &mut VecDeque<u64>, value| {
            curve.push_back(value);
            while curve.len() > HISTORY {
                curve.pop_front();
            }
        };
        let mut rtts: Vec<u64> =
            self.look.peers.iter().filter_map(|peer| peer.rtt.map(|rtt| rtt.last_us)).collect();
        rtts.sort_unstable();
        push(&mut self.rtts, rtts.get(rtts.len() / 2).copied().unwrap_or(0));
        push(&mut self.bytes, self.rates.bytes_in + self.rates.bytes_out);
        self.arrange();
    }

    fn arrange(&mut self) {
        let rtt = |peer: &PeerEntry| peer.rtt.map_or(u64::MAX, |rtt| rtt.smoothed_us);
        let peers = &mut self.look.peers;
        peers.sort_by(|a, b| a.id.cmp(&b.id));
        match self.sort {
            Sort::Id => {}
            Sort::Age => peers.sort_by_key(|peer| Reverse(peer.age_ms)),
            Sort::Rtt => peers.sort_by_key(rtt),
            Sort::Silent => peers.sort_by_key(|peer| Reverse(peer.silent_ms)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A look at a node with peers of these ids and round trips.
    pub(in crate::cli::top) fn look(uptime_ms: u64, bytes_in: u64, peers: &[(&str, u64)]) -> Look {
        let info = serde_json::json!({
            "id": "c60148b1-a516-8314-8961-8751ed893ce1", "agent": "peerage/0.1.0",
            "network": "main", "security": "prefer", "listen": ["0.0.0.0:5999"], "tags": {},
            "pid": 7, "started_ms": 0, "uptime_ms": uptime_ms, "peers": peers.len(),
            "addresses": 3, "bans": 0, "topics": [], "journal_lost": 0,
        });
        let peer = |(n, (id, rtt)): (usize, &(&str, u64))| {
            serde_json::from_value(serde_json::json!({
                "id": id, "proven": true, "security": "encrypted", "direction": "inbound",
                "remote": "10.0.0.1:5999", "features": [], "tags": {}, "since_ms": 0,
                "age_ms": (n + 1) * 1000, "silent_ms": 10,
                "rtt": { "last_us": rtt, "smoothed_us": rtt, "min_us": rtt },
            }))
            .unwrap()
        };
        let entry = serde_json::json!({"at_ms": 0, "kind": "session-up", "reason": "inbound"});
        Look {
            info: serde_json::from_value(info).unwrap(),
            peers: peers.iter().enumerate().map(peer).collect(),
            entries: vec![serde_json::from_value(entry).unwrap()],
            totals: Totals { bytes_in, ..Totals::default() },
        }
    }

    fn ids(board: &Board) -> Vec<&str> {
        board.look.peers.iter().map(|peer| peer.id.as_str()).collect()
    }

    #[test]
    fn the_chosen_peer_stays_chosen_when_the_order_changes() {
        let mut board = Board::new(look(0, 0, &[("b", 1), ("a", 9), ("c", 5)]), true);
        assert_eq!((ids(&board), board.chosen()), (vec!["a", "b", "c"], None));
        assert!(board.press(Key::Down) && board.press(Key::Down));
        assert_eq!(board.chosen(), Some(1));
        for (sort, order) in [(Sort::Age, ["c", "a", "b"]), (Sort::Rtt, ["b", "c", "a"])] {
            assert!(board.press(Key::Sort));
            assert_eq!((board.sort, ids(&board)), (sort, order.to_vec()));
            assert_eq!(board.chosen_peer().unwrap().id, "b");
        }
        board.press(Key::Last);
        assert_eq!(board.chosen_peer().unwrap().id, "a");
        board.press(Key::Down);
        assert_eq!(board.chosen(), Some(2), "there is no further one");
        board.take(look(1, 0, &[("b", 1)]));
        assert_eq!(board.chosen(), None, "it is gone");
        board.press(Key::Up);
        assert_eq!(board.chosen(), Some(0));
    }

    #[test]
    fn rates_follow_from_the_nodes_own_time() {
        let mut board = Board::new(look(1000, 500, &[]), true);
        board.take(look(3000, 2500, &[]));
        assert_eq!(board.rates.bytes_in, 1000);
        board.take(look(4000, 100, &[]));
        assert_eq!(board.rates.bytes_in, 0, "another node has taken its place");
        for n in 0..HISTORY as u64 {
            board.take(look(5000 + n, 0, &[("a", n)]));
        }
        assert_eq!((board.rtts.len(), board.bytes.len()), (HISTORY, HISTORY));
    }

    #[test]
    fn escape_closes_what_lies_on_top_and_then_the_rest() {
        let mut board = Board::new(look(0, 0, &[]), true);
        assert!(board.press(Key::Help) && board.over == Over::Help);
        assert!(board.press(Key::Back) && board.over == Over::Nothing);
        assert!(
            board.press(Key::Details) && board.press(Key::Details) && board.over == Over::Nothing
        );
        assert!(board.press(Key::Pause) && board.is_paused());
        assert!(!board.press(Key::Back));
        assert!(!board.press(Key::Quit));
    }

    #[test]
    fn totals_are_read_from_the_metrics() {
        let text = "# TYPE peerage_bytes counter\n\
                    peerage_bytes_total{direction=\"in\",msgtype=\"ping\"} 19\n\
                    peerage_bytes_total{direction=\"in\",msgtype=\"route\"} 100\n\
                    peerage_bytes_total{direction=\"out\",msgtype=\"ping\"} 7\n\
                    peerage_frames_total{direction=\"out\",msgtype=\"ping\"} 1\n";
        let expected = Totals { bytes_in: 119, bytes_out: 7, frames_in: 0, frames_out: 1 };
        assert_eq!(Totals::of(text), expected);
    }
}
