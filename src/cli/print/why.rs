//! What a node knows and did about another, as it would be told.

use peerage::control::model::{Address, PeerEntry, Why};

use super::{
    node::{about, age, clock, micros, moment, shorten, source},
    paint::Paint,
};
use crate::cli::error::one_line;

/// The explanation.
pub(crate) fn why(why: &Why, paint: Paint) -> String {
    let subject = why.id.as_deref().or(why.addr.as_deref()).unwrap_or("it");
    let mut text = format!("{}\n", paint.bold(&one_line(subject)));
    if why.is_self {
        text.push_str("This is the node itself.\n");
        return text;
    }
    text.push_str(&format!("{}\n", standing(why)));
    for ban in &why.bans {
        let note = if ban.note.is_empty() {
            String::new()
        } else {
            format!(" (\"{}\")", one_line(&ban.note))
        };
        let (since, until) = (moment(ban.since_ms), moment(ban.until_ms));
        text.push_str(&format!("You banned {} at {since}, until {until}{note}.\n", ban.target));
    }
    for held in &why.discouraged {
        let until = moment(held.until_ms);
        text.push_str(&format!(
            "{} broke the protocol, and is not wanted until {until}.\n",
            held.target
        ));
    }
    if !why.addresses.is_empty() {
        text.push_str(&format!("\n{}\n", paint.bold("What is known of its addresses")));
        for addr in &why.addresses {
            text.push_str(&format!("  {}\n", address(addr, why.now_ms)));
        }
    }
    if !why.entries.is_empty() {
        text.push_str(&format!("\n{}\n", paint.bold("What was decided")));
        for entry in &why.entries {
            let (time, kind) = (clock(entry.at_ms), entry.kind.replace('-', " "));
            text.push_str(&format!("  {time}  {kind}: {}\n", about(entry)));
        }
    }
    text.push_str(&format!("\n{}\n  {}\n", paint.bold("What happens next"), next(why)));
    text
}

/// Whether it is connected, and how.
fn standing(why: &Why) -> String {
    let Some(peer) = &why.peer else {
        let is_known = !why.addresses.is_empty() || !why.entries.is_empty();
        return if is_known { "It is not connected." } else { "Nothing is known about it." }
            .to_owned();
    };
    let PeerEntry { direction, remote, age_ms, silent_ms, security, proven, .. } = peer;
    let who = if direction == "inbound" { "it dialled this node" } else { "this node dialled it" };
    let proof = if *proven { "its id is proven" } else { "nothing proves its id" };
    let rtt =
        peer.rtt.map_or_else(String::new, |rtt| format!(", {} away", micros(rtt.smoothed_us)));
    format!(
        "It is connected: {who} {} ago, at {}. The session is {security}, {proof}. It last answered {} ago{rtt}.",
        age(*age_ms),
        one_line(remote),
        age(*silent_ms),
    )
}

/// One address: who told it, and what came of dialling it.
fn address(addr: &Address, now_ms: u64) -> String {
    let since = |ms: u64| age(now_ms.saturating_sub(ms));
    let mut text = format!("{}: ", addr.addr);
    let by = match addr.source.as_str() {
        "bootstrap" | "manual" => format!("named by {}", source(addr)),
        "declared" => "it said so itself".to_owned(),
        _ => format!("told by {}", source(addr)),
    };
    text.push_str(&format!("{by}, {} ago", since(addr.heard_ms)));
    if let Some(from) = &addr.told_from {
        text.push_str(&format!(" (from {from})"));
    }
    match (addr.tried_ms, addr.outcome.as_deref()) {
        // A feeler is a dial that only asks whether somebody is there.
        (Some(tried), Some("hello" | "feeler")) => {
            text.push_str(&format!("; dialled {} ago, and it answered", since(tried)))
        }
        (Some(tried), Some(outcome)) => {
            text.push_str(&format!("; dialled {} ago: {}", since(tried), one_line(outcome)));
        }
        (Some(tried), None) => text.push_str(&format!("; dialled {} ago", since(tried))),
        (None, _) => text.push_str("; never dialled"),
    }
    if addr.failures > 0 {
        let times = if addr.failures == 1 { "time" } else { "times" };
        text.push_str(&format!("; failed {} {times} in a row", addr.failures));
    }
    match addr.proven_ms {
        Some(proven) if addr.failures > 0 => {
            text.push_str(&format!("; proven {} ago", since(proven)))
        }
        _ => {}
    }
    text.push('.');
    text
}

/// What the node is going to do about it.
fn next(why: &Why) -> String {
    if let Some(until) = why.bans.iter().map(|ban| ban.until_ms).max() {
        return format!("It is refused until {}, or until `peerage unban`.", moment(until));
    }
    if why.peer.is_some() {
        return "The session stays as long as it answers pings and there is room for it."
            .to_owned();
    }
    if let Some(until) = why.discouraged.iter().map(|held| held.until_ms).max() {
        return format!(
            "It is not dialled before {}; if it dials, its session is the first to give way.",
            moment(until)
        );
    }
    let Some(addr) = why.addresses.iter().min_by_key(|addr| addr.next_try_ms) else {
        return match &why.addr {
            Some(addr) => format!(
                "Nothing: nobody told this address. `peerage dial {}` tries it.",
                one_line(addr)
            ),
            None => {
                "Nothing: no address of it is known. If it dials this node, it is heard.".to_owned()
            }
        };
    };
    let wait = addr.next_try_ms.saturating_sub(why.now_ms);
    let when = if wait == 0 { "now".to_owned() } else { format!("in {}", age(wait)) };
    let is_retried = addr.given || addr.shelf == "tried";
    match addr.shelf.as_str() {
        "cold" => format!("{} is retried slowly, {when} at the earliest.", addr.addr),
        _ if is_retried => {
            format!("{} is dialled again {when}, if there is need of a session.", addr.addr)
        }
        _ => {
            let teller = addr.told_by.as_deref().map_or_else(|| "somebody".to_owned(), shorten);
            format!(
                "{} is only what {teller} says; it may be dialled {when}, to prove it or if there is need of a session.",
                addr.addr
            )
        }
    }
}
