//! The shell of the [`Owed`] machine.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;

use super::{
    AskConfig, Carrier,
    asked::{Arriving, Responders},
    audience::Audience,
    messages::{AnsweringStats, Ask, CountAnswering, Settle, Settled, Stop, Words},
};
use crate::{
    NodeHandle,
    actors::pace::Alarm,
    clock::Moment,
    overlay::{Delivery, Published, Undelivered},
    proto::{
        journal::{Decision, Kind},
        owed::{Due, Fate, NotOwed, Owed, Pace},
        survey::MAX_LIMIT,
    },
};

/// Has the questions of others answered.
pub(super) struct Respondent {
    node: NodeHandle,
    carrier: Box<dyn Carrier>,
    responders: Arc<Responders>,
    owed: Owed<Words>,
    due: Vec<Due<Words>>,
    stats: AnsweringStats,
    alarm: Alarm,
}

impl Respondent {
    pub(super) fn new(
        node: NodeHandle,
        carrier: Box<dyn Carrier>,
        responders: Arc<Responders>,
        config: &AskConfig,
    ) -> Self {
        let AskConfig { receipt_after, spread, owed, .. } = *config;
        let owed = Owed::new(owed, Pace { receipt_after, spread }, node.rng());
        let (due, stats) = (Vec::new(), AnsweringStats::default());
        Self { node, carrier, responders, owed, due, stats, alarm: Alarm::default() }
    }

    fn now(&self) -> Moment {
        self.node.clock().now()
    }

    fn asked(&mut self, published: &Published<Ask>, ctx: &Context<Self>) {
        let Published { message: ask, origin: from, proven, .. } = published;
        let (now, audience) = (self.now(), Audience::from(ask.tags.clone()));
        if *from == self.node.id() {
            return;
        }
        // Or anybody could have the whole network answer to somebody who asked nothing.
        if !proven && self.node.key().is_some() {
            self.stats.unproven += 1;
            return;
        }
        if let Err(error) = audience.check() {
            self.stats.malformed += 1;
            let note = Decision::new(now, Kind::Refused, "malformed").peer(*from);
            return self.node.note(note.detail(format!("a question to many: {error}")));
        }
        if !audience.includes(&self.node.tags()) {
            self.stats.not_meant += 1;
            return;
        }
        let (question, limit) = ((*from, ask.id), Duration::from_millis(ask.limit_ms));
        if let Err(why) = self.owed.asked(now, question, limit) {
            self.stats.ignored += 1;
            let note = Decision::new(now, Kind::Refused, why.code()).peer(*from);
            return self.node.note(note.detail("a question to many was ignored"));
        }
        let arriving = Arriving {
            line: published.attachment.clone(),
            from: *from,
            proven: *proven,
            hops: published.hops,
            until: now + limit.min(MAX_LIMIT),
        };
        let respondent = ctx.address();
        let then = move |settled| respondent.do_send(Settle(question, settled));
        match self.responders.hand(&arriving, Box::new(then)) {
            Ok(()) => self.stats.taken += 1,
            Err(why) => {
                self.stats.not_taken += 1;
                self.settle(now, Settle(question, Settled::Refusal(why.into())));
            }
        }
    }

    fn settle(&mut self, now: Moment, Settle(question, settled): Settle) {
        let words = Words::of(question.1, settled);
        let bytes = words.answer.len();
        if let Err(NotOwed::Crowded) = self.owed.settle(now, question, words, bytes) {
            let busy = Words::of(question.1, Settled::Refusal("busy".into()));
            // There is always room for a refusal.
            let _settled = self.owed.settle(now, question, busy, 0);
        }
    }

    /// Says what is due, then sets the timer to what is due next.
    fn apply(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        let mut due = std::mem::take(&mut self.due);
        self.owed.tick(now, &mut due);
        for Due { question, serial, reply } in due.drain(..) {
            let (asker, id) = question;
            let words = reply.unwrap_or_else(|| Words::receipt(id));
            let sending = self.carrier.send(asker, words.line, words.answer);
            ctx.spawn(sending.into_actor(self).map(move |delivery, respondent, ctx| {
                let now = respondent.now();
                respondent.owed.sent(now, question, serial, fate(&delivery));
                respondent.apply(ctx);
            }));
        }
        // The room is kept for the next time.
        self.due = due;
        self.arm(ctx);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let (clock, due) = (self.node.clock(), self.owed.deadline());
        self.alarm.set(clock, due, ctx, |respondent, ctx| {
            respondent.alarm.rang();
            respondent.apply(ctx);
        });
    }
}

/// What the outcome of sending means for trying again. A network in which nodes come and go finds no
/// way now and one a second later; the asker was there when it asked.
fn fate(delivery: &Delivery) -> Fate {
    match delivery {
        Ok(_) => Fate::Done,
        Err(Undelivered::NoRoute | Undelivered::Timeout | Undelivered::Busy) => Fate::Again,
        Err(Undelivered::Refused(why)) if **why == *"busy" => Fate::Again,
        Err(
            Undelivered::Refused(_)
            | Undelivered::TooLarge
            | Undelivered::NotEncodable
            | Undelivered::Stopped,
        ) => Fate::Never,
    }
}

impl Actor for Respondent {
    type Context = Context<Self>;
}

impl Handler<Published<Ask>> for Respondent {
    type Result = ();

    fn handle(&mut self, published: Published<Ask>, ctx: &mut Context<Self>) {
        self.asked(&published, ctx);
        self.apply(ctx);
    }
}

impl Handler<Settle> for Respondent {
    type Result = ();

    fn handle(&mut self, settle: Settle, ctx: &mut Context<Self>) {
        self.settle(self.now(), settle);
        self.apply(ctx);
    }
}

impl Handler<CountAnswering> for Respondent {
    type Result = AnsweringStats;

    fn handle(&mut self, _: CountAnswering, _: &mut Context<Self>) -> AnsweringStats {
        AnsweringStats { said: self.owed.counts(), open: self.owed.len(), ..self.stats }
    }
}

impl Handler<Stop> for Respondent {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
