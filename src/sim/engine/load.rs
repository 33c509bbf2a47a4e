//! What nodes send each other as load, and who takes it.

use std::time::Duration;

use super::world::{Shared, Way};
use crate::sim::{
    measure::Outcome,
    network::{NodeIndex, SimNetwork},
};

/// Has a new node take what is sent as load.
pub(super) fn listen(_net: &SimNetwork, _node: NodeIndex, _world: &Shared) {}

/// Sends a message to one node; the world hears what became of it.
pub(super) fn route(_net: &SimNetwork, world: &Shared, way: Way, _bytes: usize) {
    world.borrow_mut().routed(way, Outcome::Failed("no-overlay".to_owned()));
}

/// Publishes the message of this number; the world hears who gets it.
pub(super) fn publish(
    _net: &SimNetwork,
    world: &Shared,
    _origin: NodeIndex,
    number: u64,
    _bytes: usize,
) {
    world.borrow_mut().refused(number);
}

/// Sends messages between these; the world hears if all of them arrive.
pub(super) fn cross(
    _net: &SimNetwork,
    _world: &Shared,
    _now: Duration,
    _pairs: &[(NodeIndex, NodeIndex)],
) {
}

/// How many copies of broadcasts these nodes have received so far.
pub(super) async fn copies(_net: &SimNetwork, _nodes: &[NodeIndex]) -> u64 {
    0
}
