//! Actors that take what came at once as one message.

use bytes::Bytes;

use super::*;
use crate::{
    extension::{Batch, Parcel},
    wire::{Flat, Value},
};

#[derive(Debug, Serialize, Deserialize)]
struct Other {}

impl PeerMessage for Other {
    const MSGTYPE: &'static str = "other";
}

fn numbers(batch: &Batch<Note>) -> Vec<u32> {
    batch.parcels.iter().map(|parcel| parcel.message.n).collect()
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    let lines: Vec<_> = numbers.map(|n| format!("{{\"msgtype\":\"note\",\"n\":{n}}}")).collect();
    lines.join("\n")
}

#[actix::test]
async fn what_comes_at_once_is_one_batch() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Batch<Note>>::start();
    h.routes.register_batches(notes.recipient()).unwrap();
    let said = [
        r#"{"msgtype":"note","n":1}"#,
        r#"{"msgtype":"ping"}"#,
        r#"{"n": 2, "msgtype": "note", "more": [1]}"#,
        "{\"msgtype\":\"note\",\"n\":3,\"attach\":3}\n{}",
    ];
    h.say(&said.join("\n")).await;
    let [batch] = &notes.take().await[..] else { panic!("more than one batch") };
    assert_eq!((numbers(batch), batch.sender().as_u128()), (vec![1, 2, 3], 7));
    let Parcel { attachment, .. } = &batch.parcels[2];
    assert_eq!(attachment, &Bytes::from_static(b"{}\n"));
}

#[actix::test]
async fn what_comes_between_two_messages_comes_between_two_batches() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Batch<Note>>::start();
    let others = Probe::<Received<Other>>::start();
    h.routes.register_batches(notes.recipient()).unwrap();
    h.routes.register(others.recipient()).unwrap();
    let other = r#"{"msgtype":"other"}"#;
    h.say(&[&lines(0..1), other, &lines(1..3)].join("\n")).await;
    let seen: Vec<_> = notes.take().await.iter().map(numbers).collect();
    assert_eq!(seen, [vec![0], vec![1, 2]]);
    assert_eq!(others.take().await.len(), 1);
}

#[actix::test]
async fn a_slow_actor_slows_its_sender_by_what_all_messages_of_its_batches_count() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let notes = Probe::<Batch<Note>>::start();
    h.routes.register_batches(notes.recipient()).unwrap();
    h.say(&lines(0..100)).await;
    let mut seen = vec![];
    while seen.len() < 100 {
        let batches = notes.take().await;
        let new: Vec<_> = batches.iter().flat_map(numbers).collect();
        assert!(!new.is_empty() && new.len() <= 4, "{} at once", new.len());
        seen.extend(new);
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[actix::test]
async fn what_came_before_a_bad_line_or_a_farewell_is_handed_over() {
    tokio::time::pause();
    for last in [r#"{"msgtype":"note","n":"five"}"#, "nonsense", r#"{"msgtype":"bye"}"#] {
        let mut h = Harness::up().await;
        let notes = Probe::<Batch<Note>>::start();
        h.routes.register_batches(notes.recipient()).unwrap();
        h.say(&[&lines(0..2), last, &lines(2..3)].join("\n")).await;
        let seen: Vec<_> = notes.take().await.iter().map(numbers).collect();
        assert_eq!(seen, [[0, 1]], "{last}");
    }
}

#[actix::test]
async fn an_actor_that_is_gone_only_loses_its_msgtype() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let gone = Probe::<Batch<Note>>::start().recipient();
    h.routes.register_batches(gone.clone()).unwrap();
    assert_eq!(
        h.routes.register(Probe::<Received<Note>>::start().recipient()),
        Err(crate::RegisterError::Taken)
    );
    drop(gone);
    h.say(&lines(0..2)).await;
    h.say(r#"{"msgtype":"ping"}"#).await;
    assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"pong"}"#);
}

/// Read and written by hand, and it can be seen.
#[derive(Debug, Serialize, Deserialize)]
struct Quick {
    n: u64,
    #[serde(default)]
    by_hand: bool,
}

impl PeerMessage for Quick {
    const MSGTYPE: &'static str = "quick";

    fn write(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        json.extend_from_slice(format!("{{\"n\":{},\"hand\":1}}", self.n).as_bytes());
        Ok(())
    }

    fn read(line: Flat<'_, '_>) -> Option<Self> {
        let n = line.fields().find_map(|field| match field {
            (b"n", Value::Number(n)) => Some(n),
            _ => None,
        });
        Some(Self { n: n?, by_hand: true })
    }
}

#[actix::test]
async fn a_message_may_be_read_and_written_by_hand_and_what_is_not_flat_is_not() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    let messages = Probe::<Received<Quick>>::start();
    h.routes.register(messages.recipient()).unwrap();
    let mut seen = vec![];
    for line in [
        r#"{"msgtype":"quick","n":1}"#,
        r#"{"msgtype":"quick", "n":2}"#,
        r#"{"msgtype":"quick","n":3,"more":"\n"}"#,
        "{\"msgtype\":\"quick\",\"attach\":1,\"n\":4}\n",
        r#"{"msgtype":"quick","n":5}"#,
    ] {
        h.say(line).await;
        let message = messages.expect().await;
        seen.push((message.message.n, message.message.by_hand));
        if message.message.n == 5 {
            message.reply(&message.message).unwrap();
        }
    }
    assert_eq!(seen, [(1, true), (2, false), (3, false), (4, true), (5, true)]);
    assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"quick","n":5,"hand":1}"#);
    let encoded = Quick { n: 6, by_hand: false }.encode().unwrap();
    assert_eq!(&encoded.bytes()[..], b"{\"msgtype\":\"quick\",\"n\":6,\"hand\":1}\n");
}
