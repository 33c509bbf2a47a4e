//! The actor against mock sessions.

use super::*;
use crate::{
    Direction, Node,
    identity::NodeKey,
    overlay::{Overlay, OverlayConfig},
    spaces::{Keep, Space, SpaceSpec, SpacesConfig},
    testkit::{FakeSession, TestRegistry},
};

struct Harness {
    overlay: Overlay,
    spaces: Spaces,
    notes: Space,
    registry: TestRegistry,
}

impl Harness {
    async fn start() -> Self {
        let node = Node::builder().listen("127.0.0.1:0".parse().unwrap());
        let overlay = Overlay::start(node, OverlayConfig::default()).await.unwrap();
        let config = SpacesConfig::default();
        let spaces = Spaces::start(&overlay, config, Keep::Memory).await.unwrap();
        let notes = spaces.join(&SpaceSpec::open("notes").unwrap()).await.unwrap();
        Self { overlay, spaces, notes, registry: TestRegistry::start(50) }
    }

    fn session(&self, link: u64) -> FakeSession {
        FakeSession::open(&self.registry.links(), link, Direction::Inbound)
    }

    /// As if the peer of a session had said this.
    fn say<M: PeerMessage>(&self, peer: PeerHandle, json: &str)
    where
        Classic: Handler<Received<M>>,
    {
        let message = serde_json::from_str::<M>(json).unwrap();
        self.spaces.inner.classic.get().unwrap().do_send(Received::mock(message, peer));
    }

    async fn stop(self) {
        self.spaces.stop().await;
        self.overlay.stop().await;
    }
}

/// What a session was sent, once it is so much.
async fn sent(session: &FakeSession, n: usize) -> Vec<String> {
    let mut sent = Vec::new();
    for _ in 0..1000 {
        sent.extend(session.take_sent());
        if sent.len() >= n {
            return sent;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not {n} lines, but {sent:?}");
}

#[actix::test]
async fn one_thing_is_done_after_another_and_quit_comes_last() {
    let harness = Harness::start().await;
    let session = harness.session(1);
    let peer = session.peer(7);
    harness.say::<UpdateData>(peer.clone(), r#"{"space":"notes","key":"a","value":"1"}"#);
    harness.say::<UpdateData>(peer.clone(), r#"{"space":"notes","key":"a","value":"2"}"#);
    harness.say::<GetData>(peer.clone(), r#"{"space":"notes"}"#);
    harness.say::<UpdateData>(peer.clone(), r#"{"space":"notes","key":"a","delete":true}"#);
    harness.say::<GetData>(peer.clone(), r#"{"space":"notes"}"#);
    harness.say::<Quit>(peer, "{}");
    let lines = sent(&session, 5).await;
    let begins = [
        r#"{"msgtype":"update_ack","space":"notes","key":"a","time_ms":"#,
        r#"{"msgtype":"update_ack","space":"notes","key":"a","time_ms":"#,
        r#"{"msgtype":"data","space":"notes","records":[{"key":"a","value":"2","time_ms":"#,
        r#"{"msgtype":"update_ack","space":"notes","key":"a","time_ms":"#,
        r#"{"msgtype":"data","space":"notes","records":[]}"#,
    ];
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert!(
        lines[2].contains(r#""writer":"00000000-0000-0000-0000-000000000007"}"#),
        "{}",
        lines[2]
    );
    assert_eq!(session.told_to_close().await.as_deref(), Some("requested"));
    harness.stop().await;
}

#[actix::test]
async fn who_does_not_take_its_answers_waits_and_others_do_not() {
    let harness = Harness::start().await;
    let (lazy, brisk) = (harness.session(1), harness.session(2));
    for _ in 0..40 {
        harness.say::<GetData>(lazy.peer(7), r#"{"space":"notes"}"#);
    }
    // Half of what its outbox takes, and one that makes it more.
    let mut before = 0;
    for _ in 0..1000 {
        before = lazy.peer(7).outbox().depth().0;
        if before == 9 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(before, 9);
    harness.say::<GetData>(brisk.peer(8), r#"{"space":"notes"}"#);
    assert_eq!(sent(&brisk, 1).await.len(), 1);
    assert_eq!(lazy.peer(7).outbox().depth().0, before);
    assert_eq!(sent(&lazy, 40).await.len(), 40);
    harness.stop().await;
}

#[actix::test]
async fn a_peer_with_a_key_reads_and_is_told_to_sign() {
    let harness = Harness::start().await;
    harness.notes.set("mine", "1").await.unwrap();
    let session = harness.session(1);
    let id = NodeKey::generate(&mut rand::rng()).node_id().as_u128();
    harness.say::<GetData>(session.peer(id), r#"{"space":"notes","prefix":"mi"}"#);
    harness.say::<UpdateData>(session.peer(id), r#"{"space":"notes","key":"a","value":"1"}"#);
    // Not even what would change nothing.
    harness.say::<UpdateData>(session.peer(id), r#"{"space":"notes","key":"b","delete":true}"#);
    let lines = sent(&session, 3).await;
    assert!(lines[0].contains(r#""key":"mine","value":"1""#), "{}", lines[0]);
    for line in &lines[1..] {
        assert!(line.contains(r#""refused":"not-signed","detail":""#), "{line}");
    }
    assert_eq!(harness.notes.list("", None, 9).await.unwrap().entries.len(), 1);
    harness.stop().await;
}

#[actix::test]
async fn each_write_has_its_own_outcome_though_they_are_written_together() {
    let harness = Harness::start().await;
    let session = harness.session(1);
    let long = "k".repeat(1025);
    for update in [
        r#"{"space":"notes","key":"a","value":"1"}"#.to_owned(),
        format!(r#"{{"space":"notes","key":"{long}","value":"1"}}"#),
        r#"{"space":"notes","key":"b"}"#.to_owned(),
        r#"{"space":"notes","key":"nothing","delete":true}"#.to_owned(),
        r#"{"space":"notes","key":"c","base64":"/w=="}"#.to_owned(),
        r#"{"space":"none","key":"a","value":"1"}"#.to_owned(),
    ] {
        harness.say::<UpdateData>(session.peer(7), &update);
    }
    let lines = sent(&session, 6).await;
    let told: Vec<UpdateAck> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<_> = told.iter().map(|ack| ack.refused.as_deref().unwrap_or("")).collect();
    assert_eq!(refused, ["", "bad-key", "bad-value", "", "", "no-such-space"]);
    let has_time: Vec<_> = told.iter().map(|ack| ack.time_ms.is_some()).collect();
    assert_eq!(has_time, [true, false, false, false, true, false]);
    assert_eq!((told[1].key.as_deref(), told[3].key.as_deref()), (None, Some("nothing")));
    assert_eq!(harness.notes.list("", None, 9).await.unwrap().entries.len(), 2);
    harness.stop().await;
}

#[actix::test]
async fn after_the_end_nothing_is_kept_and_it_is_said() {
    let harness = Harness::start().await;
    let session = harness.session(1);
    let classic = harness.spaces.inner.classic.get().unwrap().clone();
    harness.spaces.inner.keeper.close().await.unwrap().unwrap();
    harness.say::<UpdateData>(session.peer(7), r#"{"space":"notes","key":"a","value":"1"}"#);
    harness.say::<GetData>(session.peer(7), r#"{"space":"notes"}"#);
    for line in sent(&session, 2).await {
        assert!(line.contains(r#""refused":"stopped""#), "{line}");
    }
    harness.stop().await;
    assert!(!classic.connected());
}
