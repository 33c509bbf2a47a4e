//! The shell of the [`Surveys`] machine.

use actix::prelude::*;

use super::{
    AskConfig, Carrier,
    answers::Sink,
    messages::{Ask, AskingStats, Begin, CountAsking, End, Outcome, Stop, Told},
};
use crate::{
    NodeHandle,
    actors::pace::Alarm,
    clock::Moment,
    ids::NodeId,
    overlay::Routed,
    proto::{
        journal::{Decision, Kind},
        survey::{Account, Ending, Ignored, Said, Surveys},
        token_bucket::TokenBucket,
    },
};

/// Asks this node's questions.
pub(super) struct Pollster {
    node: NodeHandle,
    carrier: Box<dyn Carrier>,
    surveys: Surveys<Box<dyn Sink>>,
    stats: AskingStats,
    alarm: Alarm,
}

impl Pollster {
    pub(super) fn new(node: NodeHandle, carrier: Box<dyn Carrier>, config: &AskConfig) -> Self {
        let rate = TokenBucket::new(config.burst, config.per_second, node.clock().now());
        Self {
            node,
            carrier,
            surveys: Surveys::new(config.nodes, rate),
            stats: AskingStats::default(),
            alarm: Alarm::default(),
        }
    }

    fn now(&self) -> Moment {
        self.node.clock().now()
    }

    fn told(&mut self, from: NodeId, proven: bool, told: &Told, answer: &[u8]) {
        if !proven && self.node.key().is_some() {
            self.stats.unproven += 1;
            return;
        }
        let now = self.now();
        let sink = match self.surveys.got(now, &told.id, from) {
            Ok(sink) => sink,
            Err(ignored) => {
                let count = match ignored {
                    Ignored::Unknown => &mut self.stats.unknown,
                    Ignored::Again => &mut self.stats.repeated,
                    Ignored::Untracked => &mut self.stats.untracked,
                };
                *count += 1;
                return;
            }
        };
        let pushed = match told.outcome {
            Outcome::Received | Outcome::Other => {
                self.stats.receipts += 1;
                return;
            }
            Outcome::Answered => sink.answer(answer, from, proven),
            Outcome::Refused => sink.refusal(told.why.as_deref().unwrap_or_default(), from, proven),
        };
        match pushed.said {
            Said::Answered => self.stats.answers += 1,
            Said::Refused => self.stats.refusals += 1,
        }
        self.stats.dropped += u64::from(!pushed.is_handed_over);
        self.surveys.settled(&told.id, from, pushed.said, pushed.is_handed_over);
    }

    fn end(&self, sink: Box<dyn Sink>, account: Account) {
        if account.dropped > 0 || account.untracked > 0 {
            let note = Decision::new(self.now(), Kind::Dropped, "answers");
            let note = note.count("asked", account.asked).count("dropped", account.dropped);
            self.node.note(note.count("untracked", account.untracked));
        }
        sink.end(account);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let (clock, due) = (self.node.clock(), self.surveys.deadline());
        self.alarm.set(clock, due, ctx, |pollster, ctx| {
            pollster.alarm.rang();
            let now = pollster.now();
            while let Some((sink, account)) = pollster.surveys.pop_due(now) {
                pollster.end(sink, account);
            }
            pollster.arm(ctx);
        });
    }
}

impl Actor for Pollster {
    type Context = Context<Self>;
}

impl Handler<Begin> for Pollster {
    type Result = ();

    fn handle(&mut self, begin: Begin, ctx: &mut Context<Self>) {
        let Begin { id, tags, limit, question, sink } = begin;
        if let Err((why, sink)) = self.surveys.begin(self.now(), id, limit, sink) {
            self.stats.not_asked += 1;
            return sink.end(Account::empty(Ending::NotAsked(why)));
        }
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let asking = self.carrier.publish(Ask { id, limit_ms, tags }, question);
        ctx.spawn(asking.into_actor(self).map(move |result, pollster, _| match result {
            Ok(()) => pollster.stats.asked += 1,
            Err(why) => {
                pollster.stats.not_asked += 1;
                if let Some((sink, account)) = pollster.surveys.end(&id, Ending::NotAsked(why)) {
                    pollster.end(sink, account);
                }
            }
        }));
        self.arm(ctx);
    }
}

impl Handler<End> for Pollster {
    type Result = ();

    fn handle(&mut self, End(id, ending): End, _: &mut Context<Self>) {
        // Unless its time was up meanwhile.
        if let Some((sink, account)) = self.surveys.end(&id, ending) {
            self.end(sink, account);
        }
    }
}

impl Handler<Routed<Told>> for Pollster {
    type Result = ();

    fn handle(&mut self, routed: Routed<Told>, _: &mut Context<Self>) {
        let Routed { message: told, attachment: answer, from, proven, .. } = &routed;
        self.told(*from, *proven, told, answer);
    }
}

impl Handler<CountAsking> for Pollster {
    type Result = AskingStats;

    fn handle(&mut self, _: CountAsking, _: &mut Context<Self>) -> AskingStats {
        AskingStats { open: self.surveys.len(), ..self.stats }
    }
}

impl Handler<Stop> for Pollster {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        for (sink, account) in self.surveys.stop() {
            self.end(sink, account);
        }
        ctx.stop();
    }
}
