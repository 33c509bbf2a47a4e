//! Messages from one client to another, which are connected to the server and not to each other. Each is
//! answered, and the answer passed back.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Ops, Plan, Sample, Tasks,
    client::{Caller, Client, Wanted},
    window,
};
use crate::{Result, wire::ROUTE_HEAD};

/// Bytes of a message's body.
const BODY: usize = 1024;

/// Messages under way at the same time.
const WINDOW: usize = 256;

/// Messages sent before one must have been delivered, and how long each is waited for.
const MAX_PROBES: usize = 100;
const PATIENCE: Duration = Duration::from_millis(50);

/// An odd number whose multiples are spread over all that an id can be.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// Hex digits of a message's id, and what stands before them.
const DIGITS: usize = 32;
const BEFORE_ID: &[u8] = b"\"id\":\"";

/// The figure is messages per second; a message counts when its answer is back.
pub(super) async fn run(plan: &Plan) -> Result<Sample> {
    let (ops, mut tasks) = (Ops::default(), Tasks::new());
    let (from, to) = (Caller::routing()?, Caller::routing()?);
    let receiver = Client::connect_encrypted(plan.server, 1, &to).await?;
    let sender = Client::connect_encrypted(plan.server, 0, &from).await?;
    tasks.spawn_local(answer(receiver));
    tasks.spawn_local(send(sender, Messages::new(from.id(), to.id()), ops.clone()));
    window(plan, &ops, &mut tasks).await
}

async fn send(mut client: Client, mut messages: Messages, ops: Ops) -> Result<()> {
    probe(&mut client, &mut messages).await?;
    client.send(messages.next(WINDOW)).await?;
    loop {
        let n = client.recv(&Wanted::DELIVERED).await?;
        ops.add(n);
        client.send(messages.next(n)).await?;
    }
}

/// One message at a time until the first is there: a server may take a moment after the hello to let a
/// session have its share, and a message lost to that would make the window smaller for good.
async fn probe(client: &mut Client, messages: &mut Messages) -> Result<()> {
    for _ in 0..MAX_PROBES {
        client.send(messages.next(1)).await?;
        if let Ok(found) = timeout(PATIENCE, client.recv(&Wanted::DELIVERED)).await
            && found? > 0
        {
            return Ok(());
        }
    }
    Err("no message reached the other client".into())
}

async fn answer(mut client: Client) -> Result<()> {
    let mut answers = Vec::new();
    loop {
        client.recv_routes(|line| append_answer(line, &mut answers)).await?;
        client.send(&answers).await?;
        answers.clear();
    }
}

/// What the receiver says to a message whose line is this.
fn append_answer(line: &[u8], answers: &mut Vec<u8>) -> Result<()> {
    let at = memchr::memmem::find(line, BEFORE_ID).map(|at| at + BEFORE_ID.len());
    let id = at.and_then(|at| line.get(at..at + DIGITS)).ok_or("a message without an id")?;
    answers.extend_from_slice(b"{\"msgtype\":\"routed\",\"id\":\"");
    answers.extend_from_slice(id);
    answers.extend_from_slice(b"\",\"outcome\":\"delivered\",\"hops\":2,\"proof\":\"");
    // Only the sender could tell whether it is one.
    answers.extend_from_slice(id);
    answers.extend_from_slice(b"\"}\n");
    Ok(())
}

/// Messages that differ in nothing but their ids.
#[derive(Debug)]
struct Messages {
    head: Vec<u8>,
    tail: Vec<u8>,
    sent: u128,
    /// Those to be sent, encoded.
    batch: Vec<u8>,
}

impl Messages {
    fn new(from: Uuid, to: Uuid) -> Self {
        let begin = format!("{BODY},\"to\":\"{to}\",\"from\":\"{from}\",");
        let head = [ROUTE_HEAD, begin.as_bytes(), BEFORE_ID].concat();
        let tail = [b"\",\"hops\":1}\n".as_slice(), &[0xff; BODY]].concat();
        Self { head, tail, sent: 0, batch: Vec::new() }
    }

    /// The next so many.
    fn next(&mut self, n: usize) -> &[u8] {
        self.batch.clear();
        for _ in 0..n {
            self.sent += 1;
            let id = hex::encode(self.sent.wrapping_mul(SPREAD).to_be_bytes());
            self.batch.extend_from_slice(&self.head);
            self.batch.extend_from_slice(id.as_bytes());
            self.batch.extend_from_slice(&self.tail);
        }
        &self.batch
    }
}
