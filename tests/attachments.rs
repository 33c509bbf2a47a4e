//! Messages with attachments between real nodes: over TLS on loopback, and in a simulated network.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy allows them in test functions, but not in the helpers of an integration test"
)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use peerage::{
    ChannelSecurity, NodeHandle, NodeId, PeerMessage, Received, SendError,
    sim::{self, SimConfig},
    testkit::Probe,
    wire::MAX_ATTACHMENT,
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use support::{place, quiet, start, until};

#[derive(Debug, Serialize, Deserialize)]
struct Piece {
    n: usize,
}

impl PeerMessage for Piece {
    const MSGTYPE: &'static str = "piece";
}

/// Bytes that are all their own, newlines and braces among them.
fn bytes(n: usize, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(n as u64).fill_bytes(&mut bytes);
    bytes.into()
}

/// None, one, around what is copied, around what one read brings, and the longest.
const LENGTHS: [usize; 10] =
    [0, 1, 1000, 16_384, 16_385, 65_500, 65_536, 300_000, MAX_ATTACHMENT - 1, MAX_ATTACHMENT];

/// Sends pieces of all lengths, some at once and the rest as there is room for them.
async fn send_all(node: &NodeHandle, to: NodeId) {
    for (n, len) in LENGTHS.into_iter().cycle().take(40).enumerate() {
        let piece = Piece { n }.encode_with(bytes(n, len)).unwrap();
        let peer = node.peer(to).unwrap();
        until("there is room", async || match peer.send_encoded(&piece) {
            Ok(()) => true,
            Err(SendError::OutboxFull) => false,
            Err(other) => panic!("{other}"),
        })
        .await;
    }
}

async fn check_all(pieces: &Probe<Received<Piece>>) {
    for (n, len) in LENGTHS.into_iter().cycle().take(40).enumerate() {
        let piece = pieces.expect().await;
        assert_eq!(piece.message.n, n);
        assert!(piece.attachment == bytes(n, len), "piece {n} of {len} bytes");
    }
}

#[actix_rt::test]
async fn attachments_of_every_length_arrive_whole_both_ways_and_in_order() {
    let (a, b) = (start(quiet()).await, start(quiet()).await);
    let (at_a, at_b) = (Probe::start(), Probe::start());
    a.register::<Piece>(at_a.recipient()).unwrap();
    b.register::<Piece>(at_b.recipient()).unwrap();
    assert_eq!(a.dial(place(&b)).await, Ok(b.id()));
    until("both have a session", async || b.peer(a.id()).is_some()).await;
    assert_eq!(a.peers().await[0].channel.security, ChannelSecurity::Encrypted);
    tokio::join!(send_all(&a, b.id()), send_all(&b, a.id()), check_all(&at_a), check_all(&at_b),);
    a.stop().await;
    b.stop().await;
}

#[test]
fn nodes_of_a_simulation_send_attachments_and_agree_on_the_time() {
    sim::run(SimConfig::seeded(1), async |net| {
        let first = net.add(&[]).await;
        net.advance(Duration::from_secs(10)).await;
        let second = net.add(&[first]).await;
        let met = net.until(Duration::from_secs(10), async |net| net.is_full_mesh().await).await;
        assert!(met, "no mesh in 10 s");
        let (first, second) = (net.node(first).unwrap(), net.node(second).unwrap());
        let pieces = Probe::start();
        second.register::<Piece>(pieces.recipient()).unwrap();
        tokio::join!(send_all(first, second.id()), check_all(&pieces));
        assert_eq!(first.clock().now(), second.clock().now());
        assert_eq!(first.clock().now(), net.now());
    });
}
