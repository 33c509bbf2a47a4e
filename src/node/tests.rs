//! A whole node whose core actors are ended by force.

use std::time::Duration;

use super::*;
use crate::{PeerEvent, proto::bans::Target, reason::CloseReason, testkit::Probe};

#[actix::test]
async fn a_node_whose_core_actor_ends_says_which_and_can_still_be_stopped() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let node = Node::builder().listen(listen).start().await.unwrap();
    node.end_registry();
    assert_eq!(node.failed().await.to_string(), "the registry actor has died");
    assert_eq!(node.peers().await, []);
    node.stop().await;
}

#[actix::test]
async fn stopping_twice_is_stopping_once() {
    let node = Node::builder().start().await.unwrap();
    node.stop().await;
    node.clone().stop().await;
    assert!(node.dial("127.0.0.1:1".parse().unwrap()).await.is_err());
}

#[actix::test]
async fn a_banned_peer_is_closed_at_once_and_may_come_back_when_the_ban_is_lifted() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let node = Node::builder().listen(listen).start().await.unwrap();
    let events = Probe::<PeerEvent>::start();
    node.subscribe(events.recipient()).await;
    let other = Node::builder().start().await.unwrap();
    let place = node.listen_addrs()[0].clone();
    assert_eq!(other.dial(place.clone()).await, Ok(node.id()));
    assert!(matches!(events.expect().await, PeerEvent::Up(_)));

    let target = Target::Node(other.id());
    let ban = node.ban(target, Duration::from_secs(60), "a test".to_owned()).await.unwrap();
    let event = events.expect().await;
    assert!(matches!(event, PeerEvent::Down { reason: CloseReason::Banned, .. }));
    assert_eq!((node.bans().await, node.discouraged().await), (vec![ban], vec![]));

    assert!(node.unban(target).await);
    assert!(!node.unban(target).await);
    assert_eq!(other.dial(place).await, Ok(node.id()));
    other.stop().await;
    node.stop().await;
}
