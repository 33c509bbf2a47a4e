//! Whether an actor is at its work, and how long a message waits for it.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::timeout;

use super::{
    dialer::Dialer, discovery::Discovery, journal::Journal, listener::Listener, registry::Registry,
};
use crate::{clock::Clock, store::Keeper, transport::Transport};

/// After this long it is waited no more.
const PATIENCE: Duration = Duration::from_secs(1);

/// A message that asks for nothing but to be handled. One at a time for each actor and whoever asks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Knock;

macro_rules! answers {
    ($actor:ty, $context:ty $(, $generic:ident: $bound:path)?) => {
        impl$(<$generic: $bound + Unpin>)? Handler<Knock> for $actor {
            type Result = ();

            fn handle(&mut self, _: Knock, _: &mut $context) {}
        }
    };
}

answers!(Registry, Context<Self>);
answers!(Discovery, Context<Self>);
answers!(Journal, Context<Self>);
answers!(Listener, Context<Self>);
answers!(Keeper, SyncContext<Self>);
answers!(Dialer<T>, Context<Self>, T: Transport);

/// How long it takes until an actor has handled something that is sent to it now.
pub(crate) async fn wait<F: Future>(clock: Clock, answer: F) -> Duration {
    let sent = clock.now();
    match timeout(PATIENCE, answer).await {
        Ok(_) => clock.now().since(sent),
        Err(_) => PATIENCE,
    }
}
