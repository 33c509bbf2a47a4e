//! What a running node says, for people. Texts of other nodes are shown with their control characters
//! escaped: what comes over the network does not write into a terminal.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use peerage::control::model::{
    Address, Addresses, AskEnd, AskLine, BanEntry, Bans, Delivered, Entry, Event, NodeInfo,
    PeerEntry, Peers,
};

use super::{paint::Paint, table::Table};
use crate::cli::error::one_line;

/// How many digits of an id a person needs.
const SHORT: usize = 8;

/// The connected peers, as a table.
pub(crate) fn peers(peers: &Peers, paint: Paint) -> String {
    let count = peers.peers.len();
    if count == 0 {
        return "no peers\n".to_owned();
    }
    let mut table =
        Table::new(&["id", "address", "direction", "security", "agent"], &["age", "rtt", "silent"]);
    for peer in &peers.peers {
        table.row([
            shorten(&peer.id),
            one_line(peer.listen.as_ref().unwrap_or(&peer.remote)),
            peer.direction.clone(),
            security(peer),
            peer.agent.as_deref().map_or_else(|| "-".to_owned(), one_line),
            age(peer.age_ms),
            peer.rtt.map_or_else(|| "-".to_owned(), |rtt| micros(rtt.smoothed_us)),
            age(peer.silent_ms),
        ]);
    }
    let noun = if count == 1 { "peer" } else { "peers" };
    headed(&table, paint) + &format!("  {count} {noun}\n")
}

/// A table whose heads are painted.
pub(super) fn headed(table: &Table, paint: Paint) -> String {
    let text = table.text();
    let (head, rows) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{rows}", paint.bold(head))
}

fn security(peer: &PeerEntry) -> String {
    if peer.proven { peer.security.clone() } else { format!("{}, unproven", peer.security) }
}

/// The node itself.
pub(crate) fn info(node: &NodeInfo, paint: Paint) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing into a String does not fail.
        let _written = writeln!(text, "{}{value}", paint.bold(&format!("{name:12}")));
    };
    line("node", &node.id);
    if let Some(key) = &node.public_key {
        line("public key", key);
    }
    line("role", &one_line(&node.role));
    line("agent", &one_line(&node.agent));
    line("network", &one_line(&node.network));
    line("security", &node.security);
    match &node.listen[..] {
        [] => line("listening", "no: it dials others, nobody can dial it"),
        listen => line("listening", &listen.join(", ")),
    }
    if let Some(addr) = &node.advertise {
        line("advertises", addr);
    }
    if !node.tags.is_empty() {
        let tags: Vec<String> = node.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        line("tags", &one_line(&tags.join(", ")));
    }
    line("process", &format!("{}, for {}", node.pid, age(node.uptime_ms)));
    line("peers", &node.peers.to_string());
    line("addresses", &node.addresses.to_string());
    line("bans", &node.bans.to_string());
    if !node.topics.is_empty() {
        line("topics", &one_line(&node.topics.join(", ")));
    }
    if node.journal_lost > 0 {
        line(
            "lost",
            &format!("{} decisions that the journal was too busy to keep", node.journal_lost),
        );
    }
    text
}

/// The known addresses, as a table.
pub(crate) fn addresses(book: &Addresses, paint: Paint) -> String {
    if book.addresses.is_empty() {
        return "no addresses\n".to_owned();
    }
    let mut table = Table::new(&["address", "id", "kind", "told by", "last dial"], &["failures"]);
    for addr in &book.addresses {
        table.row([
            addr.addr.clone(),
            addr.id.as_deref().map_or_else(|| "-".to_owned(), shorten),
            if addr.own { "own".to_owned() } else { addr.shelf.clone() },
            if addr.own { "-".to_owned() } else { source(addr) },
            addr.outcome.as_deref().map_or_else(|| "-".to_owned(), one_line),
            addr.failures.to_string(),
        ]);
    }
    headed(&table, paint)
}

/// Who told an address.
pub(super) fn source(addr: &Address) -> String {
    match (addr.source.as_str(), &addr.told_by) {
        ("bootstrap", _) => "you (bootstrap)".to_owned(),
        ("manual", _) => "you (dial)".to_owned(),
        ("declared", _) => "itself".to_owned(),
        (_, Some(id)) => shorten(id),
        (other, None) => other.to_owned(),
    }
}

/// Who is not wanted.
pub(crate) fn bans(bans: &Bans, paint: Paint) -> String {
    if bans.bans.is_empty() && bans.discouraged.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let mut table = Table::new(&["target", "why", "until", "note"], &[]);
    for ban in &bans.bans {
        table.row([
            ban.target.clone(),
            "banned".to_owned(),
            moment(ban.until_ms),
            one_line(&ban.note),
        ]);
    }
    for held in &bans.discouraged {
        let why = "broke the protocol".to_owned();
        table.row([held.target.clone(), why, moment(held.until_ms), String::new()]);
    }
    headed(&table, paint)
}

/// A ban that was made.
pub(crate) fn banned(ban: &BanEntry, _: Paint) -> String {
    format!("banned {} until {}\n", ban.target, moment(ban.until_ms))
}

/// What became of a message.
pub(crate) fn delivered(delivered: &Delivered, _: Paint) -> String {
    let Delivered { to, rtt_us, hops, sealed } = delivered;
    let steps = if *hops == 1 { "step" } else { "steps" };
    let secret = if *sealed { "sealed" } else { "readable on the way" };
    format!("delivered to {to} in {} ({hops} {steps}, {secret})\n", micros(*rtt_us))
}

/// One piece of what comes back to a question.
pub(crate) fn answer(line: &AskLine, paint: Paint) -> String {
    match line {
        AskLine::Answer(answer) => {
            format!("{}: {}\n", paint.bold(&shorten(&answer.from)), one_line(&answer.text))
        }
        AskLine::Refusal(refusal) => {
            let text =
                format!("{}: no answer ({})", shorten(&refusal.from), one_line(&refusal.why));
            format!("{}\n", paint.dim(&text))
        }
        AskLine::End(end) => {
            let AskEnd { asked, answered, refused, timed_out, dropped } = end;
            let mut text = format!(
                "asked {asked}: {answered} answered, {refused} refused, {timed_out} timed out"
            );
            if *dropped > 0 {
                let _written = write!(text, "; {dropped} came too fast to be shown");
            }
            format!("{}\n", paint.dim(&text))
        }
        AskLine::Error(error) => format!("{}\n", paint.red(&one_line(&error.message))),
    }
}

/// Something that happened, on one line.
pub(crate) fn event(event: &Event, paint: Paint) -> String {
    let (at_ms, what, rest) = match event {
        Event::PeerUp { at_ms, peer } => (Some(*at_ms), paint.green("peer up"), whom(peer)),
        Event::PeerChanged { at_ms, peer } => {
            let tags: Vec<String> = peer.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let tags = one_line(&tags.join(", "));
            (
                Some(*at_ms),
                paint.bold("peer changed"),
                format!("{} now says {tags}", shorten(&peer.id)),
            )
        }
        Event::PeerDown { at_ms, peer, reason } => {
            let rest = format!("{}: {}", whom(peer), one_line(reason));
            (Some(*at_ms), paint.yellow("peer down"), rest)
        }
        Event::Decision { entry } => (Some(entry.at_ms), paint.dim(&entry.kind), about(entry)),
        Event::Message(heard) => {
            let from = shorten(&heard.from);
            let from = if heard.proven { from } else { format!("{from} (unproven)") };
            let to = heard
                .topic
                .as_ref()
                .map_or_else(|| "to this node".to_owned(), |topic| one_line(topic));
            (
                Some(heard.at_ms),
                paint.bold("message"),
                format!("{to}, {from}: {}", one_line(&heard.text)),
            )
        }
        Event::Inquiry(asked) => {
            let rest = format!(
                "{} from {}: {}",
                asked.inquiry,
                shorten(&asked.from),
                one_line(&asked.text)
            );
            (None, paint.bold("question"), rest)
        }
        Event::Missed(missed) => {
            let count = missed.count.map_or_else(|| "some".to_owned(), |count| count.to_string());
            let rest = format!("{count} events are not held any more");
            (None, paint.red("missed"), rest)
        }
    };
    let time = at_ms.map_or_else(|| "        ".to_owned(), clock);
    format!("{time}  {what}  {rest}\n")
}

/// What is published on a topic: who, and what.
pub(crate) fn message(event: &Event, paint: Paint) -> String {
    match event {
        Event::Message(heard) => {
            let from = paint.bold(&shorten(&heard.from));
            let doubt = if heard.proven { "" } else { " (unproven)" };
            format!("{from}{doubt}: {}\n", one_line(&heard.text))
        }
        other => self::event(other, paint),
    }
}

fn whom(peer: &PeerEntry) -> String {
    format!(
        "{} {} {} ({})",
        shorten(&peer.id),
        peer.direction,
        one_line(&peer.remote),
        security(peer)
    )
}

/// A decision, without its time and kind.
pub(crate) fn about(entry: &Entry) -> String {
    let mut parts = Vec::new();
    parts.extend(entry.peer.as_deref().map(shorten));
    parts.extend(entry.addr.as_deref().map(one_line));
    if !entry.reason.is_empty() {
        parts.push(one_line(&entry.reason));
    }
    if !entry.detail.is_empty() {
        parts.push(format!("({})", one_line(&entry.detail)));
    }
    parts.extend(entry.numbers.iter().map(|(name, n)| format!("{name}={n}")));
    if entry.more > 0 {
        parts.push(format!("and {} more like it", entry.more));
    }
    parts.join(" ")
}

/// The beginning of an id.
pub(crate) fn shorten(id: &str) -> String {
    one_line(id).chars().take(SHORT).collect()
}

/// A length of time in the two units that matter: `3m 12s`.
pub(crate) fn age(ms: u64) -> String {
    let secs = ms / 1000;
    let (d, h, m, s) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m {s}s"),
        (0, ..) => format!("{h}h {m}m"),
        _ => format!("{d}d {h}h"),
    }
}

/// A short time, in milliseconds with three digits that count.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{:02} ms", us / 1000, us / 10 % 100),
        10_000..100_000 => format!("{}.{} ms", us / 1000, us / 100 % 10),
        _ => format!("{} ms", us / 1000),
    }
}

/// A moment, in UTC.
pub(crate) fn moment(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    time.map_or_else(
        || "for ever".to_owned(),
        |time| {
            let text = humantime::format_rfc3339_seconds(time).to_string();
            text.replace('T', " ").replace('Z', " UTC")
        },
    )
}

/// The time of a moment's day, in UTC.
pub(crate) fn clock(ms: u64) -> String {
    moment(ms).split(' ').nth(1).unwrap_or_default().to_owned()
}
