use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn node(n: u8) -> NodeId {
    NodeId::from_u128(u128::from(n))
}

fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

fn surveys(max_nodes: usize) -> Surveys<Vec<NodeId>> {
    Surveys::new(max_nodes, TokenBucket::new(10, 1, at(0)))
}

const SECOND: Duration = Duration::from_secs(1);

/// A node says how it ended, as the actor would take it.
fn say(
    surveys: &mut Surveys<Vec<NodeId>>,
    now: u64,
    n: u8,
    node: NodeId,
    said: Option<Said>,
) -> Result<(), Ignored> {
    let sink = surveys.got(at(now), &id(n), node)?;
    if let Some(said) = said {
        sink.push(node);
        surveys.settled(&id(n), node, said, true);
    }
    Ok(())
}

#[test]
fn the_account_tells_how_it_ended_with_each_node() {
    let mut surveys = surveys(10);
    assert_eq!(surveys.begin(at(0), id(1), SECOND, vec![]), Ok(()));
    for (n, said) in [
        (1, Some(Said::Answered)),
        (2, Some(Said::Refused)),
        (3, None),
        (4, None),
        (4, Some(Said::Answered)),
        (4, Some(Said::Refused)),
        (5, None),
        (5, None),
    ] {
        let expected =
            if (n, said) == (4, Some(Said::Refused)) { Err(Ignored::Again) } else { Ok(()) };
        assert_eq!(say(&mut surveys, 5, 1, node(n), said), expected);
    }
    assert_eq!((surveys.deadline(), surveys.pop_due(at(999))), (Some(at(1000)), None));
    let (sink, account) = surveys.pop_due(at(1000)).unwrap();
    assert_eq!(sink, [1, 2, 4].map(node));
    let expected = Account {
        asked: 5,
        answered: 2,
        refused: 1,
        timed_out: 2,
        ..Account::empty(Ending::Limit)
    };
    assert_eq!(account, expected);
    assert_eq!((surveys.deadline(), surveys.is_empty()), (None, true));
}

#[test]
fn what_is_late_or_about_another_question_counts_for_nothing() {
    let mut surveys = surveys(10);
    surveys.begin(at(0), id(1), SECOND, vec![]).unwrap();
    surveys.begin(at(0), id(2), SECOND * 2, vec![]).unwrap();
    let answered = Some(Said::Answered);
    assert_eq!(say(&mut surveys, 1, 3, node(1), answered), Err(Ignored::Unknown));
    // The timer may be late; the limit is not.
    assert_eq!(say(&mut surveys, 1000, 1, node(1), answered), Err(Ignored::Unknown));
    assert_eq!(say(&mut surveys, 1000, 2, node(1), answered), Ok(()));
    assert_eq!(surveys.pop_due(at(1000)).unwrap().1.asked, 0);
    assert_eq!(surveys.pop_due(at(1000)), None);
    let (_, account) = surveys.end(&id(2), Ending::Finished).unwrap();
    assert_eq!((account.ending, account.asked, account.answered), (Ending::Finished, 1, 1));
    assert_eq!(surveys.end(&id(2), Ending::Finished), None);
    assert_eq!(say(&mut surveys, 1001, 2, node(2), answered), Err(Ignored::Unknown));
    // What is said of one that has ended meanwhile is nothing either.
    surveys.settled(&id(2), node(1), Said::Answered, false);
}

#[test]
fn beyond_the_bound_nodes_are_only_counted() {
    let mut surveys = surveys(2);
    surveys.begin(at(0), id(1), SECOND, vec![]).unwrap();
    for n in 1..=4 {
        let expected = if n <= 2 { Ok(()) } else { Err(Ignored::Untracked) };
        assert_eq!(say(&mut surveys, 1, 1, node(n), None), expected);
    }
    surveys.got(at(2), &id(1), node(2)).unwrap();
    surveys.settled(&id(1), node(2), Said::Answered, false);
    let (_, account) = surveys.stop().remove(0);
    let counted =
        Account { asked: 2, answered: 1, timed_out: 1, ..Account::empty(Ending::Stopped) };
    assert_eq!(account, Account { dropped: 1, untracked: 2, ..counted });
    assert_eq!(surveys.deadline(), None);
}

#[test]
fn no_more_is_asked_than_the_rate_allows_nor_longer_than_others_wait() {
    let mut surveys = surveys(2);
    for n in 0..10 {
        surveys.begin(at(0), id(n), MAX_LIMIT * 2, vec![]).unwrap();
    }
    assert_eq!(surveys.deadline(), Some(Moment::ZERO + MAX_LIMIT));
    let refused = surveys.begin(at(0), id(11), SECOND, vec![node(9)]);
    assert_eq!(refused, Err((Unasked::Rate, vec![node(9)])));
    let refused = surveys.begin(at(1000), id(3), SECOND, vec![]);
    assert_eq!(refused, Err((Unasked::Busy, vec![])), "the id is taken");
    surveys.begin(at(2000), id(11), SECOND, vec![]).unwrap();
    assert_eq!((surveys.len(), surveys.stop().len(), surveys.is_empty()), (11, 11, true));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(u8),
    Say(u8, u8, Option<Said>),
    End(u8),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![Just(None), Just(Some(Said::Answered)), Just(Some(Said::Refused))];
    prop_oneof![
        1 => (0_u8..3).prop_map(Step::Begin),
        // Of four questions only three are ever asked: answers to the last are made up.
        20 => (0_u8..4, 0_u8..12, said).prop_map(|(q, n, said)| Step::Say(q, n, said)),
        1 => (0_u8..3).prop_map(Step::End),
        2 => Just(Step::Tick),
    ]
}

/// What is to come of one question.
#[derive(Debug, Default)]
struct Model {
    end: u64,
    nodes: BTreeMap<NodeId, Option<Said>>,
    untracked: usize,
}

const BOUND: usize = 8;

fn check(model: Model, (sink, account): &(Vec<NodeId>, Account)) {
    let count = |said| model.nodes.values().filter(|state| **state == said).count();
    let expected = Account {
        asked: model.nodes.len(),
        answered: count(Some(Said::Answered)),
        refused: count(Some(Said::Refused)),
        timed_out: count(None),
        untracked: model.untracked,
        ..Account::empty(account.ending)
    };
    assert_eq!(*account, expected);
    assert_eq!(account.asked, account.answered + account.refused + account.timed_out);
    assert_eq!(sink.len(), account.answered + account.refused);
    assert_eq!(sink.iter().collect::<BTreeSet<_>>().len(), sink.len(), "each node once");
}

proptest! {
    /// In any order, with duplicates, late ones and such as nobody asked for.
    #[test]
    fn accounts_add_up_and_each_node_counts_once(
        steps in proptest::collection::vec((step(), 0_u64..200), 1..200),
    ) {
        let mut surveys = Surveys::new(BOUND, TokenBucket::new(1000, 1, at(0)));
        let (mut models, mut now) = (BTreeMap::<u8, Model>::new(), 0);
        for (step, pause) in steps {
            now += pause;
            match step {
                Step::Begin(q) => {
                    let is_open = models.contains_key(&q);
                    let begun = surveys.begin(at(now), id(q), SECOND, vec![]);
                    prop_assert_eq!(begun.is_err(), is_open);
                    models.entry(q).or_insert(Model { end: now + 1000, ..Model::default() });
                }
                Step::Say(q, n, said) => {
                    let result = say(&mut surveys, now, q, node(n), said);
                    let Some(model) = models.get_mut(&q).filter(|model| now < model.end) else {
                        prop_assert_eq!(result, Err(Ignored::Unknown));
                        continue;
                    };
                    let is_full = model.nodes.len() >= BOUND;
                    match model.nodes.get(&node(n)).copied() {
                        None if is_full => {
                            model.untracked += 1;
                            prop_assert_eq!(result, Err(Ignored::Untracked));
                        }
                        Some(Some(_)) => prop_assert_eq!(result, Err(Ignored::Again)),
                        None | Some(None) => {
                            model.nodes.insert(node(n), said);
                            prop_assert_eq!(result, Ok(()));
                        }
                    }
                }
                Step::End(q) => {
                    let ended = surveys.end(&id(q), Ending::Finished);
                    prop_assert_eq!(ended.is_some(), models.contains_key(&q));
                    if let (Some(ended), Some(model)) = (ended, models.remove(&q)) {
                        check(model, &ended);
                    }
                }
                Step::Tick => {
                    let mut due: Vec<_> = models.iter().map(|(q, m)| (m.end, *q)).collect();
                    due.sort_unstable();
                    for (_, q) in due.into_iter().filter(|(end, _)| *end <= now) {
                        let ended = surveys.pop_due(at(now)).unwrap();
                        check(models.remove(&q).unwrap(), &ended);
                    }
                    prop_assert!(surveys.pop_due(at(now)).is_none());
                }
            }
            let next = models.values().map(|model| at(model.end)).min();
            prop_assert_eq!(surveys.deadline(), next);
        }
        prop_assert_eq!(surveys.stop().len(), models.len());
    }
}
