//! A whole node whose core actors are ended by force.

use std::time::Duration;

use super::*;
use crate::{
    Decision, JournalQuery, Kind, NodeConfig, PeerEvent, Security, Tags, TagsError,
    clock::{Clock, Moment},
    proto::bans::Target,
    reason::CloseReason,
    testkit::Probe,
};

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

#[actix::test]
async fn a_seed_gives_every_call_its_own_randomness_and_always_the_same() {
    use rand::Rng;

    let draws = async |seed| {
        let node = Node::builder().seed(seed).start().await.unwrap();
        let draws = [0; 3].map(|_| node.rng().random::<u64>());
        node.stop().await;
        draws
    };
    let first = draws(1).await;
    assert_eq!(draws(1).await, first);
    assert_ne!(draws(2).await, first);
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
}

#[actix::test]
async fn a_node_signs_with_the_key_of_its_id_unless_it_has_none() {
    let node = Node::builder().start().await.unwrap();
    let key = node.key().unwrap();
    assert_eq!(key.node_id(), node.id());
    assert!(key.public().verify(b"x", &key.sign(b"x")));
    node.stop().await;
    let config = NodeConfig { security: Security::Off, ..NodeConfig::default() };
    let node = Node::builder().config(config).start().await.unwrap();
    assert!(node.key().is_none());
    node.stop().await;
}

#[actix::test]
async fn what_an_extension_notes_is_in_the_journal_under_the_node_s_own_clock() {
    let clock = Clock::start_at_zero();
    let node = Node::builder().clock(clock).start().await.unwrap();
    assert!(node.clock().now().since(clock.now()) < Duration::from_secs(1));
    node.note(Decision::new(node.clock().now(), Kind::Extension, "full"));
    let kind = Some(Kind::Extension);
    let noted = node.journal(JournalQuery { kind, ..JournalQuery::default() }).await;
    assert_eq!(noted[0].reason, "full");
    assert!(noted[0].at < Moment::after(Duration::from_secs(3600)));
    node.stop().await;
}

#[actix::test]
async fn features_are_told_once_each_and_none_that_do_not_fit_a_hello() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let node = Node::builder().listen(listen).feature("zebra").feature("attach").feature("zebra");
    let node = node.start().await.unwrap();
    let other = Node::builder().start().await.unwrap();
    other.dial(node.listen_addrs()[0].clone()).await.unwrap();
    assert_eq!(other.peers().await[0].features, ["attach", "zebra"]);
    assert!(other.peer(node.id()).unwrap().takes_attachments());
    other.stop().await;
    node.stop().await;

    for bad in
        ["", "red \u{1b}[31m", "a text that is longer than the sixty-four bytes that a feature has"]
    {
        let error = Node::builder().feature(bad).start().await.unwrap_err();
        assert!(matches!(error, StartError::BadFeature(_)), "{error}");
    }
    let names: [&str; 32] = std::array::from_fn(|n| &*format!("f{n}").leak());
    let with = |n: usize| names[..n].iter().fold(Node::builder(), |b, name| b.feature(name));
    with(31).start().await.unwrap().stop().await;
    let error = with(32).start().await.unwrap_err();
    assert!(matches!(error, StartError::TooManyFeatures));
}

#[actix::test]
async fn tags_are_in_the_hello_change_for_every_peer_and_are_heard_by_later_ones() {
    let tags = |value: &str| Tags::from([("region".to_owned(), value.to_owned())]);
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let config = NodeConfig { listen, tags: tags("eu"), ..NodeConfig::default() };
    let node = Node::builder().config(config).start().await.unwrap();
    let place = node.listen_addrs()[0].clone();
    let early = Node::builder().start().await.unwrap();
    let events = Probe::<PeerEvent>::start();
    early.subscribe(events.recipient()).await;
    early.dial(place.clone()).await.unwrap();
    assert!(matches!(events.expect().await, PeerEvent::Up(peer) if peer.info.tags == tags("eu")));

    node.set_tags(tags("us")).unwrap();
    assert!(
        matches!(events.expect().await, PeerEvent::Changed(peer) if peer.info.tags == tags("us"))
    );
    assert_eq!((node.tags(), &early.peers().await[0].tags), (tags("us"), &tags("us")));
    let late = Node::builder().start().await.unwrap();
    late.dial(place).await.unwrap();
    assert_eq!(late.peers().await[0].tags, tags("us"));

    assert_eq!(node.set_tags(tags("")), Err(TagsError::BadText));
    assert_eq!(node.tags(), tags("us"));
    for node in [node, early, late] {
        node.stop().await;
    }
}
