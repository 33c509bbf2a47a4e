//! `peerage top`: a running node, live, on the whole screen.
//!
//! `board` is what is shown and what keys do to it, `draw` how it looks; both are pure. Here is only what
//! asks the node, reads keys and owns the terminal.

mod board;
mod draw;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use peerage::control::model::{Journal, NodeInfo, Peers};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};

use self::board::{Board, Key, Look, Totals};
use super::{args::TopArgs, client::Client, error::Failure, print::paint, run::on_system, signals};

/// How often the node is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Decisions that are shown at most.
const DECISIONS: &str = "100";

/// Shows the node of a data directory until a key or a signal says that it is enough.
pub(crate) fn run(args: &TopArgs, data_dir: PathBuf) -> Result<(), Failure> {
    let client =
        Client::to(&data_dir, args.node.api.as_deref(), args.node.api_token_file.as_deref())?;
    // Whatever is wrong with the way to the node is said before the screen is taken.
    let first = look(&client)?;
    if args.node.json {
        return super::print::stdout(&format!("{}\n", first.json()));
    }
    let mut stop = signals::watch()?;
    let failed = |source| Failure::System { what: "take the terminal", source };
    let terminal = ratatui::try_init().map_err(failed)?;
    let board = Board::new(first, !paint::is_unwanted());
    let result = on_system(async move {
        let shown = tokio::task::spawn_blocking(move || show(terminal, board, &client));
        tokio::select! {
            shown = shown => shown.unwrap_or(Ok(())),
            // The thread that shows it ends with the process.
            () = stop.received() => Ok(()),
        }
    });
    ratatui::restore();
    result
}

fn show(mut terminal: DefaultTerminal, mut board: Board, client: &Client) -> Result<(), Failure> {
    let failed = |source| Failure::System { what: "use the terminal", source };
    let mut due = Instant::now() + EVERY;
    loop {
        terminal.draw(|frame| draw::draw(frame, &board)).map_err(failed)?;
        if event::poll(due.saturating_duration_since(Instant::now())).map_err(failed)?
            && let Event::Key(key) = event::read().map_err(failed)?
            && key.kind == KeyEventKind::Press
            && let Some(key) = key_of(key.code, key.modifiers)
            && !board.press(key)
        {
            return Ok(());
        }
        if Instant::now() >= due {
            due = Instant::now() + EVERY;
            if !board.is_paused() {
                match look(client) {
                    Ok(look) => board.take(look),
                    Err(failure) => board.lost(failure.to_string()),
                }
            }
        }
    }
}

/// What a key means here.
fn key_of(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Esc => Key::Back,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Enter => Key::Details,
        _ => return None,
    })
}

/// Asks the node for all that is shown.
fn look(client: &Client) -> Result<Look, Failure> {
    let info: NodeInfo = client.get("/v1/node", &[])?;
    let peers: Peers = client.get("/v1/peers", &[])?;
    let journal: Journal = client.get("/v1/journal", &[("limit", DECISIONS)])?;
    let totals = Totals::of(&client.text("/metrics")?);
    Ok(Look { info, peers: peers.peers, entries: journal.entries, totals })
}
