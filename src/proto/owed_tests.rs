use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn question(asker: u8, n: u8) -> Question {
    (NodeId::from_u128(u128::from(asker)), MessageId::from_bytes([n; 16]))
}

fn owed(limits: OwedLimits) -> Owed<&'static str> {
    let pace = Pace { receipt_after: ms(1000), spread: ms(250) };
    Owed::new(limits, pace, ChaCha8Rng::seed_from_u64(1))
}

/// Lets time pass up to the next thing to be sent.
fn next(owed: &mut Owed<&'static str>) -> (Moment, Due<&'static str>) {
    let mut out = vec![];
    loop {
        let now = owed.deadline().expect("nothing is due");
        owed.tick(now, &mut out);
        assert!(out.len() <= 1);
        if let Some(due) = out.pop() {
            return (now, due);
        }
    }
}

#[test]
fn an_answer_goes_soon_and_is_then_no_longer_owed() {
    let mut owed = owed(OwedLimits::default());
    let q = question(1, 1);
    assert_eq!(owed.asked(at(0), q, ms(5000)), Ok(()));
    assert_eq!(owed.asked(at(0), q, ms(5000)), Err(NotTaken::Known));
    assert_eq!(owed.settle(at(100), q, "yes", 3), Ok(()));
    assert_eq!(owed.settle(at(100), q, "no", 2), Err(NotOwed::Late));
    let (now, due) = next(&mut owed);
    assert!(now >= at(100) && now <= at(350), "{now:?}");
    assert_eq!(due, Due { question: q, serial: 1, reply: Some("yes") });
    owed.sent(now, q, due.serial, Fate::Done);
    assert_eq!((owed.len(), owed.bytes, owed.deadline()), (0, 0, None));
    assert_eq!(owed.counts(), OwedCounts { replies: 1, late: 1, ..OwedCounts::default() });
}

#[test]
fn who_takes_long_says_so_once_and_may_answer_all_the_same() {
    let mut owed = owed(OwedLimits::default());
    let q = question(1, 1);
    owed.asked(at(0), q, ms(10_000)).unwrap();
    let (now, receipt) = next(&mut owed);
    assert!(now >= at(1000) && now <= at(1250), "{now:?}");
    assert_eq!(receipt, Due { question: q, serial: 0, reply: None });
    owed.sent(at(1300), q, 0, Fate::Done);
    assert_eq!(owed.deadline(), Some(at(10_000)), "no second one");
    owed.settle(at(4000), q, "yes", 3).unwrap();
    let (now, answer) = next(&mut owed);
    assert!(now >= at(4000) && now <= at(4250));
    assert_eq!((answer.serial, answer.reply), (1, Some("yes")));
    owed.sent(now, q, 1, Fate::Done);
    assert_eq!(owed.counts(), OwedCounts { receipts: 1, replies: 1, ..OwedCounts::default() });
}

#[test]
fn an_answer_does_not_wait_for_the_receipt() {
    let mut owed = owed(OwedLimits::default());
    let q = question(1, 1);
    owed.asked(at(0), q, ms(10_000)).unwrap();
    let _receipt = next(&mut owed);
    owed.settle(at(1300), q, "yes", 3).unwrap();
    owed.sent(at(1310), q, 0, Fate::Again);
    let (now, due) = next(&mut owed);
    assert!(due.reply.is_some() && now <= at(1550));
    // What becomes of the receipt is nothing to the answer.
    owed.sent(now, q, 0, Fate::Done);
    assert_eq!(owed.len(), 1);
}

#[test]
fn what_does_not_get_through_is_sent_again_after_longer_pauses_until_the_end() {
    let mut owed = owed(OwedLimits::default());
    let q = question(1, 1);
    owed.asked(at(0), q, ms(60_000)).unwrap();
    owed.settle(at(0), q, "yes", 3).unwrap();
    let (mut now, mut due) = next(&mut owed);
    let mut pauses = vec![];
    while !owed.is_empty() {
        owed.sent(now, q, due.serial, Fate::Again);
        if owed.is_empty() {
            break;
        }
        let sent = next(&mut owed);
        pauses.push(sent.0.since(now).as_millis());
        (now, due) = sent;
    }
    for (n, pause) in pauses.iter().enumerate() {
        let longest = (250 << n.min(10)).min(4000);
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
    }
    assert!(pauses.len() > 14 && now < at(60_000));
    assert_eq!((owed.counts().given_up, owed.counts().retries), (1, pauses.len() as u64));
    assert_eq!(owed.bytes, 0);
}

#[test]
fn what_can_never_get_through_is_given_up_but_a_lost_receipt_is_no_reason() {
    let mut owed = owed(OwedLimits::default());
    let q = question(1, 1);
    owed.asked(at(0), q, ms(5000)).unwrap();
    let (now, due) = next(&mut owed);
    owed.sent(now, q, due.serial, Fate::Never);
    owed.settle(at(1500), q, "yes", 3).unwrap();
    let (now, due) = next(&mut owed);
    owed.sent(now, q, due.serial, Fate::Never);
    assert!(owed.is_empty());
    assert_eq!(owed.counts(), OwedCounts { given_up: 1, ..OwedCounts::default() });
}

#[test]
fn at_its_end_a_question_is_over_whatever_was_owed() {
    let mut owed = owed(OwedLimits::default());
    let mut out = vec![];
    for n in [1, 2] {
        owed.asked(at(0), question(1, n), ms(1000)).unwrap();
    }
    owed.settle(at(999), question(1, 2), "yes", 3).unwrap();
    assert_eq!(owed.deadline(), Some(at(999)), "it does not wait longer than there is time");
    owed.tick(at(999), &mut out);
    owed.tick(at(1000), &mut out);
    assert_eq!((out.len(), owed.len(), owed.bytes), (1, 0, 0));
    owed.sent(at(1001), question(1, 2), 1, Fate::Done);
    assert_eq!(owed.settle(at(1001), question(1, 1), "yes", 3), Err(NotOwed::Late));
    let counts = OwedCounts { given_up: 1, unanswered: 1, late: 1, ..OwedCounts::default() };
    assert_eq!(owed.counts(), counts);
}

#[test]
fn what_is_owed_is_bounded() {
    let limits = OwedLimits { max: 3, max_per_asker: 2, bytes: 10, burst: 4, per_second: 1 };
    let mut owed = owed(limits);
    let mut ask = |ms: u64, asker, n| owed.asked(at(ms), question(asker, n), Duration::MAX);
    assert_eq!([ask(0, 1, 1), ask(0, 1, 2)], [Ok(()); 2]);
    assert_eq!(ask(0, 1, 3), Err(NotTaken::Crowded), "it has two");
    assert_eq!(ask(0, 2, 1), Ok(()));
    assert_eq!(ask(0, 3, 1), Err(NotTaken::Crowded));
    assert_eq!(ask(0, 1, 3), Err(NotTaken::Crowded));
    assert_eq!(ask(0, 1, 3), Err(NotTaken::Rate));
    assert_eq!(ask(1000, 1, 3), Err(NotTaken::Crowded));
    assert_eq!(owed.settle(at(1000), question(1, 1), "long", 20), Ok(()), "one may be longer");
    assert_eq!(owed.settle(at(1000), question(1, 2), "short", 1), Err(NotOwed::Crowded));
    assert_eq!(owed.settle(at(1000), question(1, 2), "busy", 0), Ok(()));
    let last = Moment::ZERO + MAX_LIMIT;
    owed.tick(last, &mut vec![]);
    assert!(owed.is_empty(), "no question is open for longer");
}

proptest! {
    /// Whatever happens: nothing is sent after the end, of each question at most one reply, never
    /// two messages with the same serial at a time, and nothing is kept for ever.
    #[test]
    fn debts_end(
        steps in proptest::collection::vec((0_u8..4, 0_u8..3, 0_u8..4, 0_u64..900), 1..150),
        seed in any::<u64>(),
    ) {
        let limits = OwedLimits { max: 6, max_per_asker: 3, bytes: 12, burst: 30, per_second: 5 };
        let pace = Pace { receipt_after: ms(1000), spread: ms(250) };
        let mut owed = Owed::new(limits, pace, ChaCha8Rng::seed_from_u64(seed));
        let (mut now, mut under_way) = (0, BTreeMap::<Question, Vec<u32>>::new());
        let mut ends = BTreeMap::<Question, (u64, bool)>::new();
        for (what, asker, n, number) in steps {
            let q = question(asker, n);
            match what {
                0 => {
                    if owed.asked(at(now), q, ms(number * 3)).is_ok() {
                        ends.insert(q, (now + number * 3, false));
                        under_way.remove(&q);
                    }
                }
                1 => {
                    if owed.settle(at(now), q, "yes", 3).is_ok() {
                        let (end, is_settled) = ends.get_mut(&q).unwrap();
                        prop_assert!(!*is_settled && now < *end);
                        *is_settled = true;
                    }
                }
                2 => {
                    if let Some(serial) = under_way.get_mut(&q).and_then(Vec::pop) {
                        let fates = [Fate::Done, Fate::Again, Fate::Never];
                        owed.sent(at(now), q, serial, fates[usize::try_from(number % 3).unwrap()]);
                    }
                }
                _ => {
                    now += number;
                    let mut out = vec![];
                    owed.tick(at(now), &mut out);
                    for due in out {
                        let (end, is_settled) = ends[&due.question];
                        prop_assert!(now < end);
                        prop_assert!(due.reply.is_none() || is_settled);
                        let serials = under_way.entry(due.question).or_default();
                        prop_assert!(!serials.contains(&due.serial));
                        serials.push(due.serial);
                    }
                }
            }
            prop_assert!(owed.len() <= limits.max && owed.due.len() == owed.len());
            let held: usize = owed.debts.values().flat_map(|d| &d.reply).map(|(_, n)| n).sum();
            prop_assert!(owed.bytes == held && held <= limits.bytes);
        }
        owed.tick(at(now) + MAX_LIMIT, &mut vec![]);
        prop_assert!(owed.is_empty() && owed.due.is_empty() && owed.bytes == 0);
    }
}
