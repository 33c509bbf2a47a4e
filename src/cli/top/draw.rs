//! How `top` looks.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Row, Sparkline, Table, TableState},
};

use super::board::{Board, Over};
use crate::cli::{
    error::one_line,
    print::node::{about, age, clock, micros, shorten},
};

const HELP: [(&str, &str); 8] = [
    ("↑ ↓  j k", "choose a peer"),
    ("g G", "the first, the last"),
    ("Enter", "all about the chosen one"),
    ("s", "sort by the next column"),
    ("p Space", "pause, and go on"),
    ("? h", "this"),
    ("Esc", "back; then quit"),
    ("q Ctrl-C", "quit"),
];

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board) {
    let [head, peers, curves, decisions, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(4),
        Constraint::Length(5),
        Constraint::Percentage(25),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, board, head);
    draw_peers(frame, board, peers);
    draw_curves(frame, board, curves);
    draw_decisions(frame, board, decisions);
    draw_foot(frame, board, foot);
    match board.over {
        Over::Nothing => {}
        Over::Help => draw_help(frame),
        Over::Details => draw_details(frame, board),
    }
}

/// A colour, unless none are wanted.
fn colour(board: &Board, colour: Color) -> Style {
    if board.is_colourful { Style::new().fg(colour) } else { Style::new() }
}

fn draw_head(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let (info, rates) = (&board.look.info, &board.rates);
    let listen = if info.listen.is_empty() { "nowhere".to_owned() } else { info.listen.join(", ") };
    let first = Line::from(vec![
        Span::from(one_line(&info.agent)).bold(),
        Span::from(format!("  {}  up {}  on {listen}", info.id, age(info.uptime_ms))),
    ]);
    let noun = if info.peers == 1 { "peer" } else { "peers" };
    let second = format!(
        "{} {noun}  {} addresses  {} bans  network {}",
        info.peers,
        info.addresses,
        info.bans,
        one_line(&info.network)
    );
    let third = format!(
        "in {}/s, {} frames/s   out {}/s, {} frames/s",
        bytes(rates.bytes_in),
        rates.frames_in,
        bytes(rates.bytes_out),
        rates.frames_out
    );
    frame.render_widget(Paragraph::new(vec![first, second.into(), third.into()]), area);
}

fn draw_peers(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let heads = ["id", "address", "direction", "security", "agent", "age", "rtt", "silent"];
    let head = heads
        .map(|head| if head == board.sort.name() { format!("{head} ▾") } else { head.to_owned() });
    let rows = board.look.peers.iter().map(|peer| {
        let style = if peer.proven { Style::new() } else { colour(board, Color::Yellow) };
        Row::new([
            shorten(&peer.id),
            one_line(peer.listen.as_ref().unwrap_or(&peer.remote)),
            peer.direction.clone(),
            peer.security.clone(),
            peer.agent.as_deref().map_or_else(|| "-".to_owned(), one_line),
            age(peer.age_ms),
            peer.rtt.map_or_else(|| "-".to_owned(), |rtt| micros(rtt.smoothed_us)),
            age(peer.silent_ms),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Min(21),
        Constraint::Length(11),
        Constraint::Length(10),
        Constraint::Min(14),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(8),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title("Peers"));
    let mut state = TableState::new().with_selected(board.chosen());
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_curves(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let rtt = board.rtts.back().copied().unwrap_or(0);
    let rate = board.bytes.back().copied().unwrap_or(0);
    for (area, title, curve, line) in [
        (left, format!("Round trip, the middle one: {}", micros(rtt)), &board.rtts, Color::Cyan),
        (right, format!("In and out: {}/s", bytes(rate)), &board.bytes, Color::Green),
    ] {
        // The latest stands at the right edge.
        let room = usize::from(area.width.saturating_sub(2));
        let shown: Vec<u64> = curve.iter().rev().take(room).rev().copied().collect();
        let sparkline = Sparkline::default()
            .data(&shown)
            .style(colour(board, line))
            .block(Block::bordered().title(title));
        frame.render_widget(sparkline, area);
    }
}

fn draw_decisions(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let room = usize::from(area.height.saturating_sub(2));
    let lines: Vec<Line<'_>> = board
        .look
        .entries
        .iter()
        .rev()
        .take(room)
        .map(|entry| {
            let kind =
                Span::from(format!("{:<16}", entry.kind)).style(kind_style(board, &entry.kind));
            Line::from(vec![
                Span::from(format!("{}  ", clock(entry.at_ms))),
                kind,
                Span::from(about(entry)),
            ])
        })
        .collect();
    let block = Block::bordered().title("Decisions, the latest first");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn kind_style(board: &Board, kind: &str) -> Style {
    match kind {
        "session-up" | "proven" => colour(board, Color::Green),
        "session-down" | "back-off" | "went-cold" => colour(board, Color::Yellow),
        "refused" | "banned" | "discouraged" | "store-failed" | "dial-failed" => {
            colour(board, Color::Red)
        }
        _ => Style::new(),
    }
}

fn draw_foot(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let text = match (&board.lost, board.is_paused()) {
        (Some(why), _) => Line::from(one_line(why)).style(colour(board, Color::Red)),
        (None, true) => Line::from("paused: p goes on").style(colour(board, Color::Yellow)),
        (None, false) => Line::from("q quit  ? help  ↑↓ choose  Enter details  s sort  p pause"),
    };
    frame.render_widget(Paragraph::new(text), area);
}

fn draw_help(frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> =
        HELP.iter().map(|(keys, what)| Line::from(format!(" {keys:<10} {what}"))).collect();
    over(frame, "Keys", lines);
}

fn draw_details(frame: &mut Frame<'_>, board: &Board) {
    let Some(peer) = board.chosen_peer() else {
        return over(frame, "Nobody is chosen", vec![Line::from(" ↑ and ↓ choose a peer")]);
    };
    let mut lines = vec![
        format!("id         {}", peer.id),
        format!("proven     {}", if peer.proven { "yes" } else { "no" }),
        format!("session    {}, {}, for {}", peer.direction, peer.security, age(peer.age_ms)),
        format!("remote     {}", one_line(&peer.remote)),
    ];
    let known = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name:<11}{}", one_line(value)))
    };
    lines.extend(known("listens", &peer.listen));
    lines.extend(known("sees us at", &peer.observed));
    lines.extend(known("agent", &peer.agent));
    if let Some(rtt) = peer.rtt {
        let [last, smoothed, min] = [rtt.last_us, rtt.smoothed_us, rtt.min_us].map(micros);
        lines.push(format!("round trip {last}, on average {smoothed}, at best {min}"));
    }
    let tags: Vec<String> = peer.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !tags.is_empty() {
        lines.push(format!("tags       {}", one_line(&tags.join(", "))));
    }
    let lines = lines.into_iter().map(|line| Line::from(format!(" {line}"))).collect();
    over(frame, "Peer", lines);
}

/// Lays something over the middle of the screen.
fn over(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'_>>) {
    let area = frame.area();
    let width = area.width.saturating_sub(4).min(72);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height);
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    let area = Rect { x, y, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

/// A number of bytes in the unit that suits it.
fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::board::{Key, tests::look},
        *,
    };

    fn screen(board: &Board, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn it_shows_the_node_its_peers_and_what_it_decided() {
        let peers = [("7a5f0000-a516-8314-8961-8751ed893ce1", 1500), ("b0c20000", 900)];
        let mut board = Board::new(look(61_000, 0, &peers), true);
        board.take(look(62_000, 4096, &peers));
        let text = screen(&board, 120, 30);
        for needed in [
            "c60148b1-a516",
            "up 1m 2s",
            "in 4.0 KiB/s",
            "7a5f0000",
            "1.50 ms",
            "session-up",
            "id ▾",
            "q quit",
        ] {
            assert!(text.contains(needed), "{needed}: {text}");
        }
    }

    #[test]
    fn help_and_details_lie_over_it() {
        let mut board = Board::new(look(0, 0, &[("7a5f0000-a516", 1500)]), false);
        board.press(Key::Help);
        assert!(screen(&board, 100, 30).contains("choose a peer"));
        board.press(Key::Details);
        assert!(screen(&board, 100, 30).contains("Nobody is chosen"));
        board.press(Key::Down);
        let text = screen(&board, 100, 30);
        assert!(
            text.contains("id         7a5f0000-a516") && text.contains("at best 1.50 ms"),
            "{text}"
        );
    }

    #[test]
    fn a_lost_node_is_said_and_no_size_of_a_terminal_is_too_small() {
        let mut board = Board::new(look(0, 0, &[("7a5f0000", 1)]), true);
        board.lost("no node answers\u{1b}[31m".to_owned());
        let text = screen(&board, 100, 24);
        assert!(text.contains("no node answers\\u{1b}[31m"), "{text}");
        for over in [Key::Help, Key::Details] {
            board.press(over);
            for (width, height) in [(1, 1), (2, 3), (10, 5), (40, 10), (300, 100)] {
                screen(&board, width, height);
            }
        }
    }
}
