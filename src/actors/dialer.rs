//! Resolves names and dials addresses as discovery says, and starts a session on each connection.
//!
//! Holds no schedule: how many dials there are at once, and when one is tried again, is decided by
//! the explorer.

use std::{io, time::Duration};

use actix::prelude::*;

use super::{
    discovery::{Dialled, Resolved},
    listener::is_out_of_files,
    registry::Stop,
    session::{DialTicket, Launcher},
    vital::Vital,
};
use crate::{
    address::{Class, HostPort},
    clock::{Clock, Moment},
    proto::explorer::DialPlan,
    reason::CloseReason,
    transport::{Connection, Transport},
};

/// From discovery: dial an address; a name is resolved and its addresses tried in turn. Answered by
/// one [`Dialled`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Dial(pub DialPlan);

/// From discovery: resolve this bootstrap name. Answered by one [`Resolved`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resolve(pub HostPort);

/// The dialer.
#[derive(Debug)]
pub struct Dialer<T> {
    transport: T,
    launcher: Launcher,
    /// For all of one dial: resolving, connecting, and the hello.
    timeout: Duration,
    dialled: Recipient<Dialled>,
    resolved: Recipient<Resolved>,
    _vital: Option<Vital>,
}

impl<T: Transport> Dialer<T> {
    /// A dialer over this transport that answers to discovery.
    #[must_use]
    pub const fn new(
        transport: T,
        launcher: Launcher,
        timeout: Duration,
        dialled: Recipient<Dialled>,
        resolved: Recipient<Resolved>,
        vital: Option<Vital>,
    ) -> Self {
        Self { transport, launcher, timeout, dialled, resolved, _vital: vital }
    }
}

impl<T: Transport + Unpin> Actor for Dialer<T> {
    type Context = Context<Self>;
}

impl<T: Transport + Unpin> Handler<Dial> for Dialer<T> {
    type Result = ();

    fn handle(&mut self, Dial(plan): Dial, ctx: &mut Context<Self>) {
        let ticket = DialTicket::new(plan.addr.clone(), self.dialled.clone());
        let (transport, launcher) = (self.transport.clone(), self.launcher.clone());
        let clock = launcher.env().clock;
        let due = clock.now() + self.timeout;
        let dial = async move {
            let connecting = connect(&transport, &plan, clock, due);
            match tokio::time::timeout_at(clock.instant(due), connecting).await {
                Ok(Ok(connection)) => launcher.outbound::<T>(connection, &plan, ticket, due),
                Ok(Err(error)) => {
                    let out_of_files = is_out_of_files(&error);
                    let reason =
                        if out_of_files { CloseReason::Internal } else { CloseReason::Unreachable };
                    ticket.settle(None, Some((reason, error.to_string())));
                }
                Err(_elapsed) => {
                    let detail = "no connection in time".to_owned();
                    ticket.settle(None, Some((CloseReason::Timeout, detail)));
                }
            }
        };
        ctx.spawn(dial.into_actor(self));
    }
}

/// The first of the address's connections that can be made; each gets its share of the time, so that
/// one that swallows everything does not keep the others from being tried.
async fn connect<T: Transport>(
    transport: &T,
    plan: &DialPlan,
    clock: Clock,
    due: Moment,
) -> io::Result<Connection<T::Stream>> {
    let mut last =
        io::Error::new(io::ErrorKind::NotFound, "the name has no address that it may lead to");
    let addrs = match plan.addr.socket_addr() {
        Some(addr) => vec![addr],
        None => {
            let mut addrs = transport.resolve(&plan.addr).await?;
            addrs.retain(|addr| Class::of(addr.ip()) >= plan.nearest);
            addrs
        }
    };
    for (left, addr) in (1..=addrs.len()).rev().zip(addrs) {
        let now = clock.now();
        let share = due.since(now) / u32::try_from(left).unwrap_or(u32::MAX);
        match tokio::time::timeout_at(clock.instant(now + share), transport.dial(addr)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

impl<T: Transport + Unpin> Handler<Resolve> for Dialer<T> {
    type Result = ();

    fn handle(&mut self, Resolve(name): Resolve, ctx: &mut Context<Self>) {
        let transport = self.transport.clone();
        let due: Moment = self.launcher.env().clock.now() + self.timeout;
        let deadline = self.launcher.env().clock.instant(due);
        let answer = self.resolved.clone();
        let resolve = async move {
            let addrs = match tokio::time::timeout_at(deadline, transport.resolve(&name)).await {
                Ok(Ok(addrs)) => Ok(addrs.into_iter().map(HostPort::from).collect()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_elapsed) => Err("no answer from the resolver in time".to_owned()),
            };
            answer.do_send(Resolved { name, addrs });
        };
        ctx.spawn(resolve.into_actor(self));
    }
}

impl<T: Transport + Unpin> Handler<Stop> for Dialer<T> {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
