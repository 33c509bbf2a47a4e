//! A whole node whose core actors are ended by force.

use super::*;

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
