//! What nodes send each other as load, and who takes it.

use std::{rc::Rc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::world::{Shared, Way};
use crate::{
    extension::PeerMessage,
    overlay::{Delivery, Overlay, Routed},
    sim::{
        measure::Outcome,
        network::{NodeIndex, SimNetwork},
    },
};

/// The message of all loads. What it weighs goes along with it as an attachment.
#[derive(Debug, Serialize, Deserialize)]
struct Load {
    /// Its number, if it is one to all.
    number: u64,
}

impl PeerMessage for Load {
    const MSGTYPE: &'static str = "load";
}

/// Takes the load at one node.
struct Sink;

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<Routed<Load>> for Sink {
    type Result = ();

    fn handle(&mut self, _: Routed<Load>, _: &mut Context<Self>) {}
}

/// Has a new node take what is sent as load.
pub(super) fn listen(net: &SimNetwork, node: NodeIndex, _world: &Shared) {
    let Some(overlay) = net.overlay(node) else { return };
    let sink = Sink.start();
    if let Err(error) = overlay.register::<Load>(sink.recipient()) {
        tracing::error!(node, %error, "a simulated node takes no load");
    }
}

/// Something that weighs so much.
fn ballast(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}

async fn send(from: Option<Overlay>, to: Option<Overlay>, bytes: Bytes) -> Option<Delivery> {
    Some(from?.send_with(to?.id(), &Load { number: 0 }, bytes).await)
}

/// Sends a message to one node; the world hears what became of it.
pub(super) fn route(net: &SimNetwork, world: &Shared, way: Way, bytes: usize) {
    let [from, to] = [way.from, way.to].map(|node| net.overlay(node).cloned());
    let world = Rc::clone(world);
    actix_rt::spawn(async move {
        let outcome = match send(from, to, ballast(bytes)).await {
            Some(Ok(delivered)) => Outcome::Delivered { hops: delivered.hops, rtt: delivered.rtt },
            Some(Err(why)) => Outcome::Failed(code(&why)),
            None => Outcome::Moot,
        };
        world.borrow_mut().routed(way, outcome);
    });
}

/// The reason, with that of the receiver if it was that.
fn code(why: &crate::overlay::Undelivered) -> String {
    match why {
        crate::overlay::Undelivered::Refused(by) => format!("{} {by}", why.code()),
        _ => why.code().to_owned(),
    }
}

/// Sends messages between these; the world hears if all of them arrive.
pub(super) fn cross(
    net: &SimNetwork,
    world: &Shared,
    now: Duration,
    pairs: &[(NodeIndex, NodeIndex)],
) {
    let sends: Vec<_> = pairs
        .iter()
        .map(|(from, to)| {
            let [from, to] = [*from, *to].map(|node| net.overlay(node).cloned());
            actix_rt::spawn(send(from, to, Bytes::new()))
        })
        .collect();
    if sends.is_empty() {
        return;
    }
    let world = Rc::clone(world);
    actix_rt::spawn(async move {
        let mut all = true;
        for send in sends {
            all &= matches!(send.await, Ok(Some(Ok(_))));
        }
        if all {
            let mut world = world.borrow_mut();
            world.crossed = Some(world.crossed.map_or(now, |before| before.min(now)));
        }
    });
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

/// How many copies of broadcasts these nodes have received so far.
pub(super) async fn copies(_net: &SimNetwork, _nodes: &[NodeIndex]) -> u64 {
    0
}
