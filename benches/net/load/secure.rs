//! Loads that only encryption makes interesting: whole handshakes, and bytes in bulk.

use std::{cell::Cell, rc::Rc};

use super::{
    MAX_CONNECTS, Ops, Plan, Sample, Tasks,
    client::{Caller, Client, Wanted},
    window,
};
use crate::{
    Result,
    wire::{MAX_LINE, PING},
};

/// Handshakes under way at the same time.
const ABREAST: usize = 32;

/// Keys that take turns. So many that a server has long forgotten a key's connection when the next of the
/// same key comes, and need not close one for the other.
const CALLERS: usize = 2048;

/// Lines between two pings.
const BATCH: usize = 8;

/// Batches that a connection is ahead of the server.
const AHEAD: usize = 4;

/// 32 at a time: connect, the mutual TLS handshake, both hellos, close.
pub(super) async fn handshakes(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    let callers: Result<Vec<_>> = (0..CALLERS).map(|_| Caller::fresh(true)).collect();
    let (callers, turn) = (Rc::new(callers?), Rc::new(Cell::new(0)));
    for i in 0..ABREAST {
        let (ops, server) = (ops.clone(), plan.server);
        let (callers, turn) = (Rc::clone(&callers), Rc::clone(&turn));
        tasks.spawn_local(async move {
            while ops.get() < MAX_CONNECTS {
                let caller = callers.get(turn.get() % CALLERS).ok_or("no caller")?;
                turn.set(turn.get() + 1);
                Client::connect_encrypted(server, i, caller).await?.reset()?;
                ops.add(1);
            }
            Ok(())
        });
    }
    window(plan, &ops, &mut tasks).await
}

/// Four connections that send the longest lines there are, of a kind that the server does not know. A ping
/// closes each batch, and its pong says that the batch was taken. The figure is bytes per second, an
/// operation is a line.
pub(super) async fn lines(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    let line = longest_line();
    let batch = Rc::new([line.repeat(BATCH), PING.to_vec()].concat());
    for i in 0..4 {
        let mut client = plan.connect(i).await?;
        let (ops, batch) = (ops.clone(), Rc::clone(&batch));
        tasks.spawn_local(async move {
            client.send(&batch.repeat(AHEAD)).await?;
            loop {
                for _ in 0..client.recv(&Wanted::PONG).await? {
                    ops.add(BATCH);
                    client.send(&batch).await?;
                }
                client.send(&[]).await?;
            }
        });
    }
    let sample = window(plan, &ops, &mut tasks).await?;
    Ok(Sample { figure: sample.figure * line.len() as f64, ..sample })
}

/// 64 KiB with its line end.
fn longest_line() -> Vec<u8> {
    let (head, tail) = ("{\"msgtype\":\"x-unknown\",\"payload\":\"", "\"}\n");
    let payload = "x".repeat(MAX_LINE.saturating_sub(head.len() + tail.len()));
    [head, &payload, tail].concat().into_bytes()
}
