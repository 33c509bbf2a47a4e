//! The registry, driven by mock sessions alone.

use std::time::Duration;

use super::*;
use crate::{
    config::LimitsConfig,
    ids::NodeId,
    peer::Direction,
    reason::CloseReason,
    testkit::{FakeSession, Probe, TestRegistry, settle},
    wire::Encoded,
};

const ME: u128 = 50;

async fn peers(registry: &TestRegistry) -> Vec<(u128, u64)> {
    let peers = registry.addr.send(PeerList).await.unwrap();
    peers.iter().map(|peer| (peer.id.as_u128(), peer.link.0)).collect()
}

#[actix::test]
async fn a_greeted_session_is_admitted_listed_told_and_reachable() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    assert_eq!(events.take().await.len(), 0, "a connection is no peer yet");
    session.greet(7);
    assert!(session.is_admitted().await);
    assert_eq!(peers(&registry).await, [(7, 1)]);
    assert!(matches!(events.expect().await, PeerEvent::Up(peer) if peer.handle.link().0 == 1));
    let id = NodeId::from_u128(7);
    registry.directory.send(id, &Encoded::PING).unwrap();
    assert_eq!(session.take_sent(), ["{\"msgtype\":\"ping\"}"]);

    session.close(CloseReason::Gone);
    let event = events.expect().await;
    assert!(matches!(event, PeerEvent::Down { reason: CloseReason::Gone, .. }));
    assert_eq!(peers(&registry).await, []);
    assert!(registry.directory.is_empty());
}

#[actix::test]
async fn a_late_subscriber_hears_of_the_peers_that_are_there() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    for n in 1..=3 {
        FakeSession::open(&registry.links(), n, Direction::Inbound).greet(u128::from(n));
    }
    settle().await;
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    assert_eq!(events.take().await.len(), 3);
}

#[actix::test]
async fn pongs_move_last_seen_and_rtt() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let session = FakeSession::open(&registry.links(), 1, Direction::Outbound);
    session.greet(7);
    tokio::time::sleep(Duration::from_secs(60)).await;
    session.pong(Duration::from_millis(20));
    settle().await;
    let peer = &registry.addr.send(PeerList).await.unwrap()[0];
    assert!(peer.last_seen.since(peer.since) >= Duration::from_secs(60));
    assert_eq!(peer.rtt.unwrap().last, Duration::from_millis(20));
}

#[actix::test]
async fn crossing_dials_end_with_the_session_of_the_lower_id() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    let theirs = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    let ours = FakeSession::open(&registry.links(), 2, Direction::Outbound);
    theirs.greet(99);
    ours.greet(99);
    assert_eq!(theirs.told_to_close().await.as_deref(), Some("duplicate"));
    assert!(ours.is_admitted().await);
    assert_eq!(peers(&registry).await, [(99, 2)]);
    let events = events.take().await;
    assert!(matches!(&events[..], [PeerEvent::Up(_), PeerEvent::Down { .. }, PeerEvent::Up(_)]));
    // The end of the loser changes nothing.
    theirs.close(CloseReason::Duplicate);
    assert_eq!(peers(&registry).await, [(99, 2)]);
}

#[actix::test]
async fn a_second_outbound_session_waits_and_is_closed_if_nobody_chooses_it() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let first = FakeSession::open(&registry.links(), 1, Direction::Outbound);
    let second = FakeSession::open(&registry.links(), 2, Direction::Outbound);
    first.greet(7);
    second.greet(7);
    assert_eq!(second.control.take().await.len(), 0);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(second.told_to_close().await.as_deref(), Some("duplicate"));
    assert!(first.is_admitted().await);
}

#[actix::test]
async fn our_own_id_and_one_too_many_are_told_to_close() {
    tokio::time::pause();
    let limits = LimitsConfig { max_inbound: 1, max_unfinished: 1, ..LimitsConfig::default() };
    let registry = TestRegistry::with_limits(ME, limits);
    let me = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    me.greet(ME);
    assert_eq!(me.told_to_close().await.as_deref(), Some("self"));
    FakeSession::open(&registry.links(), 2, Direction::Inbound).greet(2);
    let late = FakeSession::open(&registry.links(), 3, Direction::Inbound);
    late.greet(3);
    assert_eq!(late.told_to_close().await.as_deref(), Some("full"));
    let silent = FakeSession::open(&registry.links(), 4, Direction::Inbound);
    let _newer = FakeSession::open(&registry.links(), 5, Direction::Inbound);
    assert_eq!(silent.told_to_close().await.as_deref(), Some("full"));
}

#[actix::test]
async fn disconnecting_ends_the_session_with_the_given_reason() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    session.greet(7);
    let disconnect = |id| Disconnect { id: NodeId::from_u128(id), reason: CloseReason::Requested };
    assert!(!registry.addr.send(disconnect(8)).await.unwrap());
    assert!(registry.addr.send(disconnect(7)).await.unwrap());
    assert_eq!(session.told_to_close().await.as_deref(), Some("requested"));
    assert_eq!(peers(&registry).await, []);
}

#[actix::test]
async fn shutting_down_waits_for_the_last_link() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    session.greet(7);
    let unfinished = FakeSession::open(&registry.links(), 2, Direction::Inbound);
    let down = tokio::task::spawn_local(registry.addr.send(ShutDown));
    assert_eq!(session.told_to_close().await.as_deref(), Some("shutdown"));
    assert_eq!(unfinished.told_to_close().await.as_deref(), Some("shutdown"));
    assert!(!down.is_finished());
    session.close(CloseReason::Shutdown);
    unfinished.close(CloseReason::Shutdown);
    assert!(down.await.unwrap().is_ok());
}
