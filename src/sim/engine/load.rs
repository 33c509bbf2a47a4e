//! What nodes send each other as load, and who takes it.

use std::{rc::Rc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::world::{Shared, Way};
use crate::{
    clock::Clock,
    extension::PeerMessage,
    overlay::{Delivery, Overlay, Published, Routed, Topic},
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
struct Sink {
    node: NodeIndex,
    clock: Clock,
    world: Shared,
}

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<Routed<Load>> for Sink {
    type Result = ();

    fn handle(&mut self, _: Routed<Load>, _: &mut Context<Self>) {}
}

impl Handler<Published<Load>> for Sink {
    type Result = ();

    fn handle(&mut self, load: Published<Load>, _: &mut Context<Self>) {
        let now = self.clock.now().since_epoch();
        self.world.borrow_mut().delivered(now, load.message.number, self.node, load.hops);
    }
}

/// Has a new node take what is sent as load.
pub(super) fn listen(net: &SimNetwork, node: NodeIndex, world: &Shared) {
    let Some(overlay) = net.overlay(node) else { return };
    let sink = Sink { node, clock: overlay.node().clock(), world: Rc::clone(world) }.start();
    if let Err(error) = overlay.register::<Load>(sink.clone().recipient()) {
        tracing::error!(node, %error, "a simulated node takes no load");
    }
    let subscribed = topic().map(|topic| overlay.subscribe::<Load>(&topic, sink.recipient()));
    if !matches!(subscribed, Some(Ok(()))) {
        tracing::error!(node, "a simulated node hears no broadcasts");
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
    net: &SimNetwork,
    world: &Shared,
    origin: NodeIndex,
    number: u64,
    bytes: usize,
) {
    let overlay = net.overlay(origin).cloned();
    let (world, topic) = (Rc::clone(world), topic());
    actix_rt::spawn(async move {
        let published = match (overlay, topic) {
            (Some(overlay), Some(topic)) => {
                overlay.publish_with(&topic, &Load { number }, ballast(bytes)).await.is_ok()
            }
            _ => false,
        };
        if !published {
            world.borrow_mut().refused(number);
        }
    });
}

/// How many copies of broadcasts these nodes have received so far.
pub(super) async fn copies(net: &SimNetwork, nodes: &[NodeIndex]) -> u64 {
    let mut copies = 0;
    for node in nodes {
        if let Some(overlay) = net.overlay(*node) {
            copies += overlay.stats().await.broadcast.gossip.received;
        }
    }
    copies
}

/// What all messages to everybody are about.
fn topic() -> Option<Topic> {
    Topic::new("load").ok()
}
