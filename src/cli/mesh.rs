//! Who sees whom in a devnet: decides when the mesh is complete, and draws the table.
//!
//! Pure: nodes are numbers from 0 (shown from 1), events and round trips come in, text goes out.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use peerage::Direction;

/// Up to this many nodes the table has round trips; beyond it only arrows, so that it still fits
/// a screen.
const MAX_WIDE: usize = 12;

/// What every node of the devnet sees of the others.
#[derive(Debug, Clone)]
pub(crate) struct MeshView {
    /// How many nodes there are.
    nodes: usize,
    /// The session by who sees whom.
    views: BTreeMap<(usize, usize), View>,
}

/// One session, as one side sees it.
#[derive(Debug, Clone)]
struct View {
    /// The connection's number at the node that sees; numbers are never used again.
    link: u64,
    /// Who dialled.
    direction: Direction,
    /// The round trip, once measured.
    rtt: Option<Duration>,
}

impl MeshView {
    /// Nobody sees anybody.
    pub(crate) const fn new(nodes: usize) -> Self {
        Self { nodes, views: BTreeMap::new() }
    }

    /// `node` sees `peer`.
    pub(crate) fn up(&mut self, node: usize, peer: usize, link: u64, direction: Direction) {
        self.views.insert((node, peer), View { link, direction, rtt: None });
    }

    /// `node` has lost that session with `peer`. If another has taken its place already, that one
    /// stays.
    pub(crate) fn down(&mut self, node: usize, peer: usize, link: u64) {
        if self.views.get(&(node, peer)).is_some_and(|view| view.link == link) {
            self.views.remove(&(node, peer));
        }
    }

    /// `node` has measured the round trip to `peer` on that session.
    pub(crate) fn measured(&mut self, node: usize, peer: usize, link: u64, rtt: Duration) {
        if let Some(view) = self.views.get_mut(&(node, peer))
            && view.link == link
        {
            view.rtt = Some(rtt);
        }
    }

    /// How many of the views there can be exist.
    pub(crate) fn n_views(&self) -> usize {
        self.views.len()
    }

    /// How many views a complete mesh has.
    pub(crate) const fn n_wanted(&self) -> usize {
        self.nodes * self.nodes.saturating_sub(1)
    }

    /// Whether every node sees every other.
    pub(crate) fn is_complete(&self) -> bool {
        self.n_views() == self.n_wanted()
    }

    /// Whether every view has its round trip.
    pub(crate) fn is_measured(&self) -> bool {
        self.views.values().all(|view| view.rtt.is_some())
    }

    /// The table: a row per node, a column per node it may see.
    pub(crate) fn table(&self) -> String {
        let is_wide = self.nodes <= MAX_WIDE;
        let width = if is_wide { 9 } else { 3 };
        let mut text = String::from("who sees whom: → it dialled, ← it was dialled");
        text.push_str(if is_wide { ", round trip in ms\n" } else { "\n" });
        text.push_str("      ");
        for column in 1..=self.nodes {
            write!(text, "{column:>width$}").ok();
        }
        text.push('\n');
        for row in 0..self.nodes {
            write!(text, "  {:>4}", row + 1).ok();
            for column in 0..self.nodes {
                write!(text, "{:>width$}", self.cell(row, column, is_wide)).ok();
            }
            text.push('\n');
        }
        if !is_wide && let Some(summary) = self.rtt_summary() {
            text.push_str(&summary);
        }
        text
    }

    /// One cell of the table.
    fn cell(&self, row: usize, column: usize, is_wide: bool) -> String {
        if row == column {
            return "·".to_owned();
        }
        let Some(view) = self.views.get(&(row, column)) else {
            return "-".to_owned();
        };
        let arrow = match view.direction {
            Direction::Outbound => "→",
            Direction::Inbound => "←",
        };
        match view.rtt {
            Some(rtt) if is_wide => format!("{arrow} {}", millis(rtt)),
            _ => arrow.to_owned(),
        }
    }

    /// The round trips in one line, for tables without room for them.
    fn rtt_summary(&self) -> Option<String> {
        let mut rtts: Vec<Duration> = self.views.values().filter_map(|view| view.rtt).collect();
        rtts.sort_unstable();
        let (min, max) = (rtts.first()?, rtts.last()?);
        let median = rtts.get(rtts.len() / 2)?;
        let (min, median, max) = (millis(*min), millis(*median), millis(*max));
        Some(format!("round trips: {min} to {max} ms, half of them at most {median} ms\n"))
    }
}

/// Milliseconds with two decimals while that says something.
fn millis(rtt: Duration) -> String {
    let millis = rtt.as_secs_f64() * 1000.0;
    if millis < 100.0 { format!("{millis:.2}") } else { format!("{millis:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Later nodes have dialled earlier ones.
    fn full(nodes: usize) -> MeshView {
        let mut mesh = MeshView::new(nodes);
        for later in 0..nodes {
            for earlier in 0..later {
                mesh.up(later, earlier, 1, Direction::Outbound);
                mesh.up(earlier, later, 2, Direction::Inbound);
            }
        }
        mesh
    }

    #[test]
    fn the_mesh_is_complete_when_each_sees_each_in_both_directions() {
        let mut mesh = MeshView::new(2);
        assert!(!mesh.is_complete());
        mesh.up(0, 1, 1, Direction::Inbound);
        assert!(!mesh.is_complete());
        mesh.up(1, 0, 2, Direction::Outbound);
        assert!(mesh.is_complete());
        mesh.down(0, 1, 1);
        assert!(!mesh.is_complete());
    }

    #[test]
    fn what_is_said_of_an_ended_session_leaves_the_one_in_its_place() {
        let mut mesh = full(2);
        mesh.up(0, 1, 3, Direction::Outbound);
        mesh.measured(0, 1, 2, Duration::from_millis(1));
        mesh.down(0, 1, 2);
        assert!(mesh.is_complete() && !mesh.is_measured());
        assert!(mesh.table().contains("     1        ·        →\n"), "{}", mesh.table());
    }

    #[test]
    fn the_table_shows_directions_and_round_trips() {
        let mut mesh = full(3);
        assert!(!mesh.is_measured());
        for (node, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let link = if node > peer { 1 } else { 2 };
            mesh.measured(node, peer, link, Duration::from_micros(120));
        }
        assert!(mesh.is_measured());
        mesh.measured(2, 0, 1, Duration::from_millis(1500));
        let expected = "\
who sees whom: → it dialled, ← it was dialled, round trip in ms
              1        2        3
     1        ·   ← 0.12   ← 0.12
     2   → 0.12        ·   ← 0.12
     3   → 1500   → 0.12        ·
";
        assert_eq!(mesh.table(), expected);
    }

    #[test]
    fn a_missing_view_is_a_dash() {
        let mut mesh = full(2);
        mesh.down(1, 0, 1);
        assert!(mesh.table().ends_with("     2        -        ·\n"), "{}", mesh.table());
    }

    #[test]
    fn fifty_nodes_fit_a_wide_terminal_and_sum_up_their_round_trips() {
        let mut mesh = full(50);
        mesh.measured(0, 1, 2, Duration::from_micros(100));
        mesh.measured(1, 0, 1, Duration::from_micros(300));
        let table = mesh.table();
        assert!(table.lines().all(|line| line.chars().count() <= 160), "{table}");
        let summary = "round trips: 0.10 to 0.30 ms, half of them at most 0.30 ms\n";
        assert!(table.ends_with(summary), "{table}");
    }
}
