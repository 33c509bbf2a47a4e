use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> Moment {
    Moment::after(Duration::from_secs(secs))
}

fn id(n: u128) -> NodeId {
    NodeId::from_u128(n)
}

fn addr(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn introducer() -> Introducer {
    Introducer::new(IntroductionConfig::default())
}

#[test]
fn a_guest_goes_when_it_was_told_enough_and_its_address_was_tried() {
    let mut introducer = introducer();
    introducer.came(at(0), id(1));
    introducer.awaits(at(0), id(1), &addr("192.0.2.1:1"));
    introducer.answered(at(1), id(1), 16);
    assert_eq!(introducer.deadline(), Some(at(20)), "its address is being tried");
    introducer.settled(at(3), &addr("192.0.2.2:1"));
    assert_eq!(introducer.deadline(), Some(at(20)), "that was another's");
    introducer.settled(at(3), &addr("192.0.2.1:1"));
    assert_eq!(introducer.deadline(), Some(at(4)));
    assert!(introducer.leaving(at(3)).is_empty());
    assert_eq!(introducer.leaving(at(4)), [id(1)]);
    assert!(introducer.leaving(at(100)).is_empty() && introducer.deadline().is_none());
}

#[test]
fn a_guest_that_was_told_of_few_stays_for_the_news() {
    let mut introducer = introducer();
    introducer.came(at(0), id(1));
    assert_eq!(introducer.hungry().count(), 0, "it has not asked");
    introducer.answered(at(0), id(1), 3);
    for n in 0..13 {
        assert_eq!(introducer.hungry().collect::<Vec<_>>(), [id(1)], "{n}");
        introducer.told_news(at(5), id(1));
    }
    assert_eq!(introducer.hungry().count(), 0);
    assert_eq!(introducer.leaving(at(6)), [id(1)]);
}

#[test]
fn a_guest_that_asks_on_is_answered_eight_times() {
    let mut introducer = introducer();
    assert!(!introducer.may_ask(id(1)), "it is no guest");
    introducer.came(at(0), id(1));
    let answered = (0..100).filter(|_| {
        let may = introducer.may_ask(id(1));
        introducer.answered(at(0), id(1), 0);
        may
    });
    assert_eq!(answered.count(), 8);
}

#[test]
fn an_asker_is_a_group_whatever_its_id_and_port_and_an_id_wherever_it_asks_from() {
    let mut introducer = introducer();
    let mut group = |now, n, from| introducer.asker(at(now), id(n), &addr(from)).group;
    let first = group(0, 1, "203.0.113.1:1000");
    assert_eq!(group(0, 2, "203.0.200.9:2000"), first, "the same network");
    assert_eq!(group(0, 1, "198.51.100.1:3000"), first, "the same id");
    let other = group(0, 3, "198.51.100.1:3000");
    assert_ne!(other, first);
    // Addresses that are not public are counted one by one.
    assert_eq!(group(0, 4, "127.0.0.1:1"), group(0, 5, "127.0.0.1:2"));
    assert_ne!(group(0, 6, "127.0.0.1:1"), group(0, 7, "127.0.0.2:1"));
    assert_eq!(group(86_399, 1, "198.51.100.1:3000"), first);
    assert_eq!(group(86_400, 1, "198.51.100.1:3000"), other, "another day");
}

#[test]
fn a_share_is_an_eighth_but_not_less_than_sixty_four() {
    let introducer = introducer();
    let shares = [0, 100, 512, 513, 10_000].map(|book| introducer.share(book));
    assert_eq!(shares, [64, 64, 64, 65, 1250]);
}

#[derive(Debug, Clone)]
enum Step {
    Came(u128),
    Went(u128),
    Awaits(u128, u16),
    Settled(u16),
    Answered(u128, usize),
    News(u128),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let guest = 0..4u128;
    prop_oneof![
        guest.clone().prop_map(Step::Came),
        guest.clone().prop_map(Step::Went),
        (guest.clone(), 1..4u16).prop_map(|(n, port)| Step::Awaits(n, port)),
        (1..4u16).prop_map(Step::Settled),
        (guest.clone(), 0..40usize).prop_map(|(n, told)| Step::Answered(n, told)),
        guest.prop_map(Step::News),
        (0..12u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// N1, whatever guests do.
    #[test]
    fn every_guest_is_told_to_go_once_and_in_time(steps in proptest::collection::vec(step(), 0..200)) {
        let mut introducer = introducer();
        let mut here: BTreeMap<NodeId, (u64, bool)> = BTreeMap::new();
        let mut now = 0;
        for step in steps {
            let at_port = |port| addr(&format!("192.0.2.1:{port}"));
            match step {
                Step::Came(n) => {
                    introducer.came(at(now), id(n));
                    here.insert(id(n), (now, false));
                }
                Step::Went(n) => {
                    introducer.went(id(n));
                    here.remove(&id(n));
                }
                Step::Awaits(n, port) => introducer.awaits(at(now), id(n), &at_port(port)),
                Step::Settled(port) => introducer.settled(at(now), &at_port(port)),
                Step::Answered(n, told) => introducer.answered(at(now), id(n), told),
                Step::News(n) => introducer.told_news(at(now), id(n)),
                Step::Wait(secs) => now += secs,
            }
            for gone in introducer.leaving(at(now)) {
                let (_, was_told) = here.get_mut(&gone).expect("only guests are told to go");
                prop_assert!(!std::mem::replace(was_told, true), "told twice");
            }
            for (since, was_told) in here.values() {
                prop_assert!(*was_told || now - since < 20);
            }
            prop_assert!(introducer.deadline().is_none_or(|due| due > at(now)));
        }
    }
}
