//! An actor of your own in a node, and its test with a mock session.
//!
//! `cargo run --example custom_actor` starts two nodes; one asks the other to add up numbers.
//! `cargo test --example custom_actor` tests the actor without any network.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "an example"
)]

use std::error::Error;

use actix::prelude::*;
use peerage::{Node, NodeHandle, PeerMessage, Received, testkit::Probe};
use serde::{Deserialize, Serialize};

/// A question: `{"msgtype":"add","numbers":[1,2,3]}`.
#[derive(Debug, Serialize, Deserialize)]
struct Add {
    numbers: Vec<i64>,
}

impl PeerMessage for Add {
    const MSGTYPE: &'static str = "add";
}

/// Its answer: `{"msgtype":"sum","sum":6}`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    sum: i64,
}

impl PeerMessage for Sum {
    const MSGTYPE: &'static str = "sum";
}

/// Answers whoever asks.
struct Adder;

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Handler<Received<Add>> for Adder {
    type Result = ();

    fn handle(&mut self, question: Received<Add>, _: &mut Context<Self>) {
        let sum = question.message.numbers.iter().fold(0_i64, |sum, n| sum.saturating_add(*n));
        if let Err(refused) = question.reply(&Sum { sum }) {
            eprintln!("{} did not get its answer: {refused}", question.sender());
        }
    }
}

async fn start() -> Result<NodeHandle, Box<dyn Error>> {
    Ok(Node::builder().listen("127.0.0.1:0".parse()?).start().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    actix_rt::System::new().block_on(async {
        let server = start().await?;
        server.register::<Add>(Adder.start().recipient())?;

        let client = start().await?;
        let answers = Probe::<Received<Sum>>::start();
        client.register::<Sum>(answers.recipient())?;
        let id = client.dial(server.listen_addrs()[0].clone()).await?;
        client.send(id, &Add { numbers: vec![1, 2, 3] })?;
        println!("1 + 2 + 3 = {}", answers.expect().await.message.sum);

        client.stop().await;
        server.stop().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use peerage::{
        Direction,
        testkit::{FakeSession, TestRegistry, settle},
    };

    use super::*;

    #[actix_rt::test]
    async fn the_adder_answers_on_the_session_it_was_asked_on() {
        tokio::time::pause();
        let registry = TestRegistry::start(1);
        let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
        let question = Add { numbers: vec![1, 2, 3] };
        Adder.start().do_send(Received::mock(question, session.peer(7)));
        settle().await;
        assert_eq!(session.take_sent(), [r#"{"msgtype":"sum","sum":6}"#]);
    }
}
