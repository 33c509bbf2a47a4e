//! One connection's machine, driven by whatever a stranger, a clock and a careless shell can do.

use std::{sync::Arc, time::Duration};

use arbitrary::{Result, Unstructured};
use peerage::{
    Channel, ChannelSecurity, Direction, NodeConfig, NodeId, PublicKey, Security,
    clock::Moment,
    config::LivenessConfig,
    proto::{
        credentials::{Credentials, Established},
        link::{Action, Link, LinkConfig, LinkDue, Purpose},
    },
    wire::{MAX_ATTACHMENT, MAX_HELLO_LINE, MAX_LINE},
};

/// The input is a list of events.
pub(crate) fn run(data: &[u8]) {
    // The end of the input is the end of the list.
    let _end = drive(&mut Unstructured::new(data));
}

fn key(n: u8) -> PublicKey {
    PublicKey::from_bytes([n % 4; 32])
}

fn link(u: &mut Unstructured<'_>) -> Result<(Link, Security)> {
    let security = *u.choose(&[Security::Prefer, Security::Require, Security::Off])?;
    let config = NodeConfig { security, ..NodeConfig::default() };
    let config = LinkConfig {
        credentials: Arc::new(Credentials::new(key(0).node_id(), &config)),
        direction: *u.choose(&[Direction::Inbound, Direction::Outbound])?,
        expect: *u.choose(&[None, Some(key(1).node_id())])?,
        purpose: *u.choose(&[Purpose::Session, Purpose::Feeler])?,
        hello_due: Moment::after(Duration::from_secs(5)),
        close_grace: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(5),
        liveness: LivenessConfig::default(),
        message_burst: 50,
        messages_per_second: 10,
    };
    Ok((Link::new(config, Moment::ZERO), security))
}

fn established(u: &mut Unstructured<'_>) -> Result<Established> {
    let channel = match u.int_in_range(0..=2)? {
        0 => Channel::PLAINTEXT,
        1 => Channel { security: ChannelSecurity::Encrypted, key: Some(key(u.arbitrary()?)) },
        _ => Channel { security: ChannelSecurity::Vouched, key: None },
    };
    Ok(Established { tls_refused: u.ratio(1, 8)?, ..Established::of(channel) })
}

fn line(u: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
    const WORDS: [&str; 7] = [
        r#"{"msgtype":"ping"}"#,
        r#"{"msgtype":"pong"}"#,
        r#"{"msgtype":"presence","tags":{"k":"v"}}"#,
        r#"{"msgtype":"addr","peers":["1.2.3.4:5"]}"#,
        r#"{"msgtype":"weather","attach":9}"#,
        r#"{"msgtype":"bye","reason":"full","peers":["1.2.3.4:5"]}"#,
        "",
    ];
    Ok(match u.int_in_range(0..=9)? {
        n @ 0..=6 => WORDS.get(n).map(|word| word.as_bytes().to_vec()),
        7 => None,
        8 => {
            let id =
                if u.arbitrary()? { key(u.arbitrary()?).node_id() } else { NodeId::from_u128(7) };
            let feeler = if u.ratio(1, 4)? { r#","feeler":true"# } else { "" };
            Some(format!(r#"{{"msgtype":"hello","nodeid":"{id}"{feeler}}}"#).into_bytes())
        }
        _ => Some(u.arbitrary::<Vec<u8>>()?),
    })
}

/// What has happened, as far as the rules depend on it.
#[derive(Default)]
struct Told {
    established: Option<Established>,
    greeted: bool,
    admitted: bool,
}

fn drive(u: &mut Unstructured<'_>) -> Result<()> {
    let (mut link, security) = link(u)?;
    let (mut now, mut told) = (Moment::ZERO, Told::default());
    while !u.is_empty() {
        match u.int_in_range(0..=6)? {
            0 if told.established.is_none() => {
                let what = established(u)?;
                told.established = Some(what);
                if link.established(&what).is_some() {
                    link.close(now);
                }
            }
            1 | 2 => {
                let line = line(u)?;
                // The shell hands nothing over while the link does not read.
                if link.is_reading() && link.turns(now) > 0 {
                    link.took_turns(1);
                    hear(&mut link, now, line.as_deref(), &mut told, security);
                }
            }
            3 => {
                now = now + Duration::from_millis(u.int_in_range(0..=100_000)?);
                due(&mut link, now, u.arbitrary()?);
            }
            4 if told.greeted => {
                link.admit(now);
                told.admitted = true;
            }
            5 => link.observe_outbox(now, u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
            6 if u.ratio(1, 16)? => link.close(now),
            _ => {}
        }
        assert_eq!(link.line_limit() == MAX_LINE, told.admitted && !link.is_closing());
        assert!([MAX_LINE, MAX_HELLO_LINE].contains(&link.line_limit()));
    }
    Ok(())
}

fn hear(link: &mut Link, now: Moment, line: Option<&[u8]>, told: &mut Told, security: Security) {
    match link.line(now, line) {
        Action::Nothing => {}
        Action::Greeted(hello) => {
            assert!(!told.admitted, "a second hello is no hello");
            believed(told.established, hello.nodeid, security);
            told.greeted = true;
            if link.objection(&hello).is_some() {
                link.close(now);
            }
        }
        Action::Proven(hello) => {
            believed(told.established, hello.nodeid, security);
            link.close(now);
        }
        Action::Probed => assert!(!told.admitted),
        Action::Skip(n) => assert!(!told.admitted && n <= MAX_ATTACHMENT),
        Action::Refused(..) => {
            assert!(!told.admitted);
            link.close(now);
        }
        Action::Close(reason, _) => {
            assert!(peerage::CloseReason::SENT.contains(&reason));
            link.close(now);
        }
        Action::PeerBye(..) => link.close(now),
        Action::Pong
        | Action::Spare
        | Action::Rtt(_)
        | Action::Addr(_)
        | Action::GetAddr { .. }
        | Action::Presence(_)
        | Action::Deliver { .. } => assert!(told.admitted, "nothing is served before the verdict"),
    }
}

/// Whoever is believed has proven what can be proven.
fn believed(established: Option<Established>, id: NodeId, security: Security) {
    let channel = established.expect("nothing is heard before it is known on what").channel;
    match channel.security {
        ChannelSecurity::Encrypted => assert!(channel.proves(id)),
        ChannelSecurity::Plaintext => {
            assert!(!id.is_self_certifying() || security == Security::Off);
        }
        ChannelSecurity::Vouched => {}
    }
}

/// Does what is due until nothing is, which must come to an end.
fn due(link: &mut Link, now: Moment, paused: bool) {
    for _ in 0..4 {
        match link.tick(now, paused) {
            LinkDue::Nothing | LinkDue::Drop => break,
            LinkDue::Ping | LinkDue::Presence(_) => {}
            LinkDue::Close(..) => link.close(now),
        }
    }
    if !link.is_closing() {
        let next = link.deadline();
        assert!(next.is_none_or(|next| next > now), "nothing is due for ever: {next:?} at {now:?}");
    }
}
