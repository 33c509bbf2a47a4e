//! Messages with bytes behind their line.

use bytes::Bytes;

use super::*;
use crate::{SendError, wire::MAX_ATTACHMENT};

const ABLE: &str = r#"{"msgtype":"hello","nodeid":"00000000-0000-0000-0000-000000000007","features":["x","attach"]}"#;

/// A note and what is attached to it, as a peer sends it.
fn note(n: u32, attachment: &[u8]) -> Vec<u8> {
    let line = format!("{{\"msgtype\":\"note\",\"n\":{n},\"attach\":{}}}\n", attachment.len());
    [line.as_bytes(), attachment].concat()
}

fn brief(notes: &[Received<Note>]) -> Vec<(u32, Bytes)> {
    notes.iter().map(|note| (note.message.n, note.attachment.clone())).collect()
}

#[actix::test]
async fn a_node_says_that_it_takes_attachments_and_what_its_extensions_can_do() {
    tokio::time::pause();
    let mut h = Harness::inbound();
    h.say(HELLO).await;
    let hello = h.hear().await.unwrap();
    assert!(hello.contains(r#""features":["attach","zebra"]"#), "{hello}");
}

#[actix::test]
async fn attachments_arrive_whole_in_whatever_pieces_they_come() {
    tokio::time::pause();
    let said = [
        &note(1, b"{\"msgtype\":\"bye\"}\n")[..],
        b"{\"msgtype\":\"note\",\"n\":2}\n",
        b"{\"msgtype\":\"unknown\",\"attach\":6}\r\n\n{no\n}",
        &note(3, &[b'\n'; 40]),
        b"\n{\"msgtype\":\"ping\"}\n",
    ]
    .concat();
    for step in [1, 2, 3, 7, 50, 1000] {
        let mut h = Harness::up().await;
        let notes = Probe::<Received<Note>>::start();
        h.routes.register(notes.recipient()).unwrap();
        let mut heard = vec![];
        for piece in said.chunks(step) {
            h.send(piece).await;
            heard.extend(brief(&notes.take().await));
        }
        let expected = [
            (1, Bytes::from_static(b"{\"msgtype\":\"bye\"}\n")),
            (2, Bytes::new()),
            (3, Bytes::from_static(&[b'\n'; 40])),
        ];
        assert_eq!(heard, expected, "{step} at a time");
        assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"pong"}"#);
    }
}

#[actix::test]
async fn the_longest_attachment_passes_and_a_longer_one_or_one_of_the_core_does_not() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    h.send(&note(1, &vec![7; MAX_ATTACHMENT])).await;
    assert_eq!(notes.expect().await.attachment.len(), MAX_ATTACHMENT);
    for (line, reason) in [
        (r#"{"msgtype":"note","n":1,"attach":1048577}"#, "too-large"),
        (r#"{"msgtype":"unknown","attach":1048577}"#, "too-large"),
        (r#"{"msgtype":"ping","attach":1}"#, "protocol"),
        (r#"{"msgtype":"unknown","attach":"1"}"#, "protocol"),
    ] {
        let mut h = Harness::up().await;
        h.say(line).await;
        let bye = h.rest().await.pop().unwrap();
        assert!(bye.contains(&format!("\"reason\":\"{reason}\"")), "{line}: {bye}");
    }
}

#[actix::test]
async fn a_message_costs_its_attachment_too_and_at_most_all_there_is() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    let large = vec![7; 100_000];
    h.send(&[note(1, &large), note(2, &[1; 10]), note(3, &[])].concat()).await;
    let first = notes.take().await;
    assert_eq!(brief(&first), [(1, large.into())], "the session is not read while it is in work");
    drop(first);
    let rest = notes.take().await;
    assert_eq!(brief(&rest), [(2, Bytes::from_static(&[1; 10])), (3, Bytes::new())]);
}

#[actix::test]
async fn what_is_attached_to_a_message_that_makes_no_sense_is_not_read_as_lines() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    h.say(r#"{"msgtype":"note","n":"five","attach":20}"#).await;
    assert_eq!(h.registry.take().await.len(), 0, "it is looked at when all of it is there");
    h.send(br#"{"msgtype":"zebra"}:{"msgtype":"note","n":1}"#).await;
    let lines = h.rest().await;
    assert!(lines.len() == 1 && lines[0].contains("note: invalid type"), "{lines:?}");
    assert_eq!(notes.take().await.len(), 0);
}

#[actix::test]
async fn half_an_attachment_is_none() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Received<Note>>::start();
    h.routes.register(notes.recipient()).unwrap();
    let whole = note(1, &[7; 1000]);
    h.send(&whole[..whole.len() - 1]).await;
    h.peer.shutdown().await.unwrap();
    assert!(h.rest().await[0].contains("requested"));
    assert_eq!(notes.take().await.len(), 0);
}

#[actix::test]
async fn pings_are_answered_when_the_attachment_before_them_has_come() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    h.send(b"{\"msgtype\":\"unknown\",\"attach\":3}\nab").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    h.send(b"c{\"msgtype\":\"ping\"}\n").await;
    assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"pong"}"#);
}

#[actix::test]
async fn only_who_says_so_is_sent_attachments() {
    tokio::time::pause();
    for (hello, able) in [(HELLO, false), (ABLE, true)] {
        let mut h = Harness::up_with(hello).await;
        let notes = Probe::<Received<Note>>::start();
        h.routes.register(notes.recipient()).unwrap();
        h.say(r#"{"msgtype":"note","n":5}"#).await;
        let peer = notes.expect().await.from;
        assert_eq!(peer.takes_attachments(), able);
        let sent = peer.send_with(&Note { n: 6 }, Bytes::from_static(b"{\n}\n"));
        assert_eq!(sent, if able { Ok(()) } else { Err(SendError::NoAttachments) });
        peer.send_with(&Note { n: 7 }, Bytes::new()).unwrap();
        if able {
            assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"note","attach":4,"n":6}"#);
            assert_eq!(
                (h.hear().await.unwrap(), h.hear().await.unwrap()),
                ("{".into(), "}".into())
            );
        }
        assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"note","n":7}"#);
    }
}
