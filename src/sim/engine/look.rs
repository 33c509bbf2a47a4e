//! Looks at the network each second: whether it is what it should be, and how it stands.

use std::{collections::BTreeMap, time::Duration};

use super::{Run, ledger::secs, load, world::World};
use crate::sim::{
    measure::{Condition, Distribution, SETTLE, ratio},
    network::NodeIndex,
    report::Sample,
};

/// How often the state of the network is written down.
const SAMPLE: Duration = Duration::from_secs(10);

/// Messages across a former border that are to arrive before a network counts as one again.
const CROSSINGS: usize = 20;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Look {
    lacking: usize,
    pub(super) converged: Option<Duration>,
    /// Sessions before anything was done to the network.
    pub(super) undisturbed: Option<Distribution>,
    pub(super) samples: Vec<Sample>,
    last: Last,
    /// What was sent before the last node had joined: by all, and by each.
    at_zero: Option<(u64, BTreeMap<NodeIndex, u64>)>,
    /// Seconds that nodes lived since then, all together.
    node_secs: u64,
    pub(super) end: Option<End>,
}

/// The sample before.
#[derive(Debug, Default)]
struct Last {
    at: Duration,
    bytes: u64,
    is_steady: bool,
    /// Something was done to the network since.
    disturbed: bool,
}

/// How it stood at the end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) sessions: Distribution,
    /// Bytes that a node sent per minute, in the mean.
    pub(super) bytes: f64,
    /// The same of each that lived all the time.
    pub(super) bytes_each: Distribution,
}

impl Look {
    /// Nodes without a session that they should have, when last looked at.
    pub(super) const fn lacking(&self) -> usize {
        self.lacking
    }

    /// Something is about to be done to the network.
    pub(super) fn disturbed(&mut self, world: &World) {
        self.undisturbed.get_or_insert_with(|| world.census.sessions());
        self.last.disturbed = true;
    }
}

impl Run<'_> {
    pub(super) async fn look(&mut self) {
        let now = self.now();
        self.world.borrow_mut().coverage.settle(now);
        if now >= self.zero {
            self.look_back();
        }
        self.look_at_sessions(now);
        self.look_at_healing(now);
        self.weather_changed().await;
        self.settle_copies().await;
        if now >= self.look.last.at + SAMPLE {
            self.sample(now);
        }
    }

    /// Counts what is counted from the last join on.
    fn look_back(&mut self) {
        if self.look.at_zero.is_none() {
            let each = self.net.alive().map(|(node, _)| (node, self.net.sent(node))).collect();
            self.look.at_zero = Some((self.net.sent_by_all(), each));
        } else {
            let living = self.world.borrow().living.len();
            self.look.node_secs += u64::try_from(living).unwrap_or_default();
        }
    }

    fn look_at_sessions(&mut self, now: Duration) {
        let mut world = self.world.borrow_mut();
        if world.weather.splits() {
            // Nobody can have what is on the other side.
            return;
        }
        self.look.lacking = world.census.n_lacking();
        self.ledger.looked(self.look.lacking, world.living.len());
        if self.look.lacking == 0 && now >= self.zero {
            world.weather.is_complete();
            self.ledger.mended(now);
            self.look.converged.get_or_insert(now);
        }
    }

    fn look_at_healing(&mut self, now: Duration) {
        let Some(healing) = self.ledger.healing() else { return };
        let mut world = self.world.borrow_mut();
        if !healing.connected && world.census.is_connected() {
            self.ledger.connected(now);
        }
        match world.crossed.take() {
            Some(sent) if sent >= healing.healed => self.ledger.routed(sent),
            Some(_) | None if healing.routed => {}
            Some(_) | None => {
                let pairs = world.across(CROSSINGS, &mut self.rng);
                drop(world);
                load::cross(self.net, &self.world, now, &pairs);
                world = self.world.borrow_mut();
            }
        }
        if self.ledger.healing().is_none() {
            world.weather.is_one();
            world.cut_off = Default::default();
        }
    }

    fn sample(&mut self, now: Duration) {
        let bytes = self.net.sent_by_all();
        let world = self.world.borrow();
        let nodes = world.living.len();
        let is_steady = now >= self.zero && world.weather.of(now, false) == Condition::Steady;
        let Last { at, bytes: before, is_steady: was_steady, disturbed } = self.look.last;
        let is_quiet = world.last_sent.is_none_or(|sent| sent + SETTLE <= at);
        let minutes = (now - at).as_secs_f64() / 60.0;
        self.look.samples.push(Sample {
            secs: secs(now, self.zero),
            nodes,
            lacking: self.look.lacking,
            sessions: world.census.sessions().summary().mean,
            bytes: ratio(bytes.saturating_sub(before) as f64, nodes as f64 * minutes),
            idle: is_steady && was_steady && is_quiet && !disturbed,
        });
        self.look.last = Last { at: now, bytes, is_steady, disturbed: false };
    }

    /// The run is over, but for the settling.
    pub(super) fn end(&mut self) {
        let world = self.world.borrow();
        let sessions = world.census.sessions();
        self.look.undisturbed.get_or_insert_with(|| sessions.clone());
        let (before, each) = self.look.at_zero.take().unwrap_or_default();
        let minutes = self.scenario.lasts.as_secs_f64() / 60.0;
        let of_each = each.iter().filter(|(node, _)| world.living.contains(**node));
        let bytes_each = of_each
            .map(|(node, before)| {
                let sent = self.net.sent(*node).saturating_sub(*before);
                (sent as f64 / minutes).round() as u64
            })
            .collect();
        let sent = self.net.sent_by_all().saturating_sub(before);
        let node_minutes = self.look.node_secs as f64 / 60.0;
        let bytes = ratio(sent as f64, node_minutes);
        self.look.end = Some(End { sessions, bytes, bytes_each });
    }
}
