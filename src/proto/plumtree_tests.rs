use super::*;

const ME: u128 = 1 << 127;

/// The ids of neighbours, by the first bits of them; this node's begins with 1.
const fn id(first_byte: u8) -> NodeId {
    NodeId::from_u128((first_byte as u128) << 120)
}

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(1_000_000 + ms))
}

fn message(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

/// Message `n` of a node that is no neighbour, made at the beginning.
fn head(n: u8, duty: Duty) -> Head {
    Head { id: message(n), origin: id(0x77), made: 1_000_000, hops: 3, duty }
}

type Out = Vec<Output<char>>;

fn call(act: impl FnOnce(&mut Out)) -> Out {
    let mut out = Vec::new();
    act(&mut out);
    out
}

fn machine(config: GossipConfig, neighbours: &[u8]) -> Plumtree<char> {
    let mut machine = Plumtree::new(NodeId::from_u128(ME), config, 7, at(0));
    for neighbour in neighbours {
        assert_eq!(call(|out| machine.up(at(0), id(*neighbour), out)), []);
    }
    machine
}

fn node(neighbours: &[u8]) -> Plumtree<char> {
    machine(GossipConfig::default(), neighbours)
}

/// A message comes from a neighbour, and is accepted if it is new.
fn arrive(node: &mut Plumtree<char>, ms: u64, from: u8, head: Head) -> (Verdict, Out) {
    let mut out = Vec::new();
    let verdict = node.check(at(ms), id(from), &head, &mut out);
    if verdict == Verdict::New {
        assert!(node.accept(at(ms), id(from), &head, (1000, 'm'), &mut out));
    }
    (verdict, out)
}

fn publish(node: &mut Plumtree<char>, ms: u64, n: u8) -> Out {
    let made = millis(at(ms));
    call(|out| node.publish(at(ms), message(n), made, (1000, 'm'), out).unwrap())
}

fn tick(node: &mut Plumtree<char>, ms: u64) -> Out {
    call(|out| node.tick(at(ms), out))
}

fn push(n: u8, hops: u8, to: &[(u8, Duty)]) -> Output<char> {
    let to = to.iter().map(|(to, duty)| (id(*to), *duty)).collect();
    Output::Push { id: message(n), hops, body: 'm', to }
}

fn depth(depth: u8) -> Duty {
    Duty::from_depth(depth)
}

/// Who is told of anything.
fn told(out: &Out) -> Vec<NodeId> {
    let told = out.iter().filter_map(|output| match output {
        Output::Announce(to, _) => Some(*to),
        _ => None,
    });
    told.collect()
}

fn n_ids(output: &Output<char>) -> usize {
    if let Output::Announce(_, ids) = output { ids.len() } else { 0 }
}

#[test]
fn where_all_know_each_other_the_origin_sends_it_to_all_itself() {
    let all = [0x00, 0x01, 0x02, 0x40, 0x7f, 0x81, 0x90, 0xa0, 0xa1, 0xff];
    let out = publish(&mut node(&all), 0, 1);
    let [Output::Push { to, hops: 1, .. }] = &out[..] else { panic!("{out:?}") };
    let mut sent: Vec<_> = to.iter().map(|(to, _)| *to).collect();
    sent.sort_unstable();
    assert_eq!(sent, all.map(id));
}

#[test]
fn a_message_is_handed_on_only_to_those_it_falls_to_this_node_to_see_to() {
    let mut node = node(&[0x00, 0x40, 0xc0, 0xe0, 0xa0]);
    // 0xc0 and 0xe0 share one bit with this node, 0xa0 two.
    let (verdict, out) = arrive(&mut node, 0, 0x00, head(1, depth(1)));
    assert_eq!(verdict, Verdict::New);
    assert_eq!(out, [push(1, 4, &[(0xa0, depth(3)), (0xc0, depth(3)), (0xe0, depth(3))])]);
    let (_, out) = arrive(&mut node, 0, 0x00, head(2, depth(2)));
    assert_eq!(out, [push(2, 4, &[(0xa0, depth(3))])]);
    let (_, out) = arrive(&mut node, 0, 0x00, head(3, depth(3)));
    assert_eq!(out, []);
    assert_eq!((node.stats().accepted, node.stats().pushed), (3, 4));
}

#[test]
fn a_sender_cannot_have_this_node_see_to_more_than_its_own_subtree() {
    let mut node = node(&[0x00, 0x40, 0xc0, 0xe0, 0xa0]);
    let (_, out) = arrive(&mut node, 0, 0xc0, head(1, Duty::ALL));
    assert_eq!(out, [push(1, 4, &[(0xa0, depth(3))])]);
}

#[test]
fn a_copy_is_told_so_and_what_else_it_asks_for_is_done_once() {
    let mut node = node(&[0x00, 0x40, 0xc0, 0xe0, 0xa0]);
    arrive(&mut node, 0, 0x00, head(1, depth(3)));
    let (verdict, out) = arrive(&mut node, 1, 0x40, head(1, depth(2)));
    assert_eq!(verdict, Verdict::Known);
    assert_eq!(out, [push(1, 4, &[(0xa0, depth(3))]), Output::Prune(id(0x40))]);
    let (_, out) = arrive(&mut node, 2, 0x40, head(1, depth(2)));
    assert_eq!(out, [Output::Prune(id(0x40))]);
    // The answer to a question, and a copy from one that is no neighbour any more.
    assert_eq!(arrive(&mut node, 3, 0x40, head(1, Duty::NONE)).1, []);
    assert_eq!(arrive(&mut node, 3, 0x30, head(1, depth(3))).1, []);
    assert_eq!((node.stats().accepted, node.stats().duplicates), (1, 4));
}

#[test]
fn nothing_is_accepted_twice_even_if_it_was_not_checked_again() {
    let mut node = node(&[0x00]);
    let head = head(1, depth(9));
    arrive(&mut node, 0, 0x00, head);
    let mut out = Vec::new();
    assert!(!node.accept(at(0), id(0x00), &head, (1, 'x'), &mut out));
    assert_eq!(out, []);
}

#[test]
fn what_is_too_old_or_too_far_ahead_is_stale() {
    let mut node = node(&[0x00]);
    for made in [699_999, 1_300_001] {
        let head = Head { made, ..head(1, depth(9)) };
        assert_eq!(arrive(&mut node, 0, 0x00, head), (Verdict::Stale, vec![]));
    }
    assert_eq!(node.stats().stale, 2);
}

#[test]
fn an_origin_over_its_rate_is_noted_once_and_not_handed_on() {
    let config = GossipConfig { publish_burst: 4, ..GossipConfig::default() };
    let mut node = machine(config, &[0x00, 0xc0]);
    let verdicts: Vec<_> = (0..7).map(|n| arrive(&mut node, 0, 0x00, head(n, depth(1)))).collect();
    // A quarter more than it may itself.
    assert!(verdicts[..5].iter().all(|(verdict, _)| *verdict == Verdict::New));
    let [Output::Note(note)] = &verdicts[5].1[..] else { panic!("{verdicts:?}") };
    assert_eq!((&*note.reason, note.peer), ("broadcast-rate", Some(id(0x77))));
    assert_eq!(verdicts[6], (Verdict::OverRate, vec![]));
    let other = Head { origin: id(0x78), ..head(9, depth(1)) };
    assert_eq!(arrive(&mut node, 0, 0x00, other).0, Verdict::New);
}

#[test]
fn this_node_keeps_to_its_rate_itself() {
    let config =
        GossipConfig { publish_burst: 2, publish_per_second: 10, ..GossipConfig::default() };
    let mut node = machine(config, &[0x00]);
    publish(&mut node, 0, 1);
    publish(&mut node, 0, 2);
    let mut out = Vec::new();
    let refused = node.publish(at(99), message(3), 1_000_099, (1, 'm'), &mut out);
    assert_eq!((refused, &out[..]), (Err(OverRate), &[][..]));
    publish(&mut node, 100, 3);
    assert_eq!(node.stats().published, 3);
}

#[test]
fn ids_gather_and_are_announced_to_a_few_that_were_not_handed_the_message() {
    let all: Vec<u8> = (0..40).map(|n| n * 3).chain([0x81, 0xc0]).collect();
    let mut node = node(&all);
    arrive(&mut node, 0, 0x03, head(1, depth(1)));
    arrive(&mut node, 100, 0x06, head(2, depth(1)));
    assert_eq!(node.deadline(), Some(at(1000)));
    assert_eq!(tick(&mut node, 999), []);
    let out = tick(&mut node, 1000);
    let told = told(&out);
    // The nearest of the other half are the same for both, but for one that was the sender.
    assert!((4..=6).contains(&told.len()), "{out:?}");
    assert!(!told.contains(&id(0x81)) && !told.contains(&id(0xc0)), "they were handed it");
    let both = out.iter().filter(|output| n_ids(output) == 2);
    assert_eq!(both.count(), 3, "the nearest one, and two by lot: {out:?}");
    let n: usize = out.iter().map(n_ids).sum();
    assert_eq!((n, node.stats().announced), (8, 8));
    // Nothing is announced twice.
    assert_eq!(tick(&mut node, 2000), []);
}

#[test]
fn an_announcement_has_so_many_ids_at_most() {
    let config = GossipConfig { publish_burst: 600, announce_to: 1, ..GossipConfig::default() };
    let mut node = machine(config, &[0x00]);
    let mut out = Vec::new();
    for n in 0..600_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let head = Head { id: MessageId::from_bytes(bytes), ..head(0, depth(1)) };
        assert_eq!(node.check(at(0), id(0x10), &head, &mut out), Verdict::New);
        node.accept(at(0), id(0x10), &head, (10, 'm'), &mut out);
    }
    assert!(matches!(&out[..], [Output::Announce(_, ids)] if ids.len() == MAX_IDS));
    // Nor does one to a newcomer, which is told of the newest.
    let out = call(|out| node.up(at(1), id(0x20), out));
    let [Output::Announce(_, ids)] = &out[..] else { panic!("{out:?}") };
    assert_eq!((ids.len(), &ids[0].as_bytes()[..4]), (MAX_IDS, &599_u32.to_be_bytes()[..]));
}

#[test]
fn what_was_announced_and_does_not_come_is_asked_for() {
    let mut node = node(&[0x00, 0x40]);
    node.announced(at(0), id(0x00), &[message(1), message(2)]);
    node.announced(at(500), id(0x40), &[message(1)]);
    arrive(&mut node, 600, 0x40, head(2, depth(3)));
    assert_eq!(tick(&mut node, 1000), [Output::Graft(id(0x40), vec![message(1)])]);
    assert_eq!(tick(&mut node, 1500), [Output::Graft(id(0x00), vec![message(1)])]);
    assert_eq!(tick(&mut node, 1600), [Output::Announce(id(0x00), vec![message(2)])]);
    node.down(id(0x00));
    assert_eq!(tick(&mut node, 2000), [Output::Graft(id(0x40), vec![message(1)])]);
    let (verdict, out) = arrive(&mut node, 2100, 0x40, head(1, Duty::NONE));
    assert_eq!((verdict, out), (Verdict::New, vec![]));
    assert_eq!((node.stats().asked, node.stats().grafted), (3, 1));
    assert_eq!(tick(&mut node, 3099), []);
}

#[test]
fn what_was_lost_on_its_way_here_is_announced_to_all_who_may_have_lost_it_too() {
    let far: Vec<u8> = (0..30).collect();
    let near: Vec<u8> = (0xc0..0xd0).collect();
    for (made, n_told) in [(1_000_000, 16), (980_000, 4)] {
        let mut node = node(&[&far[..], &near].concat());
        node.announced(at(0), id(3), &[message(1)]);
        assert_eq!(tick(&mut node, 1000), [Output::Graft(id(3), vec![message(1)])]);
        arrive(&mut node, 1000, 3, Head { made, ..head(1, Duty::NONE) });
        let told = told(&tick(&mut node, 2000));
        let n_near = told.iter().filter(|told| **told >= id(0xc0)).count();
        assert!(if n_told == 16 { n_near == 16 } else { told.len() == 4 }, "{told:?}");
    }
}

#[test]
fn whoever_asks_is_answered_as_far_as_its_allowance_and_the_cache_reach() {
    let mut node = node(&[0x00, 0x40]);
    publish(&mut node, 0, 1);
    let ask = |node: &mut Plumtree<char>, from: u8, n: u8| {
        call(|out| node.asked(at(1), id(from), &[message(n)], out))
    };
    assert_eq!(ask(&mut node, 0x40, 1), [push(1, 1, &[(0x40, Duty::NONE)])]);
    assert_eq!(ask(&mut node, 0x40, 2), []);
    assert_eq!(ask(&mut node, 0x41, 1), [], "it is no neighbour");
    let answered = (0..9000).filter(|_| !ask(&mut node, 0x00, 1).is_empty()).count();
    assert_eq!((answered, node.stats().ignored), (8192, 808));
}

#[test]
fn a_pruned_link_is_not_preferred_until_it_asks_or_a_minute_has_passed() {
    let mut node = node(&[0x00, 0x40, 0x60]);
    let all = push(1, 1, &[(0x00, depth(2)), (0x40, depth(3)), (0x60, depth(3))]);
    assert_eq!(publish(&mut node, 0, 1), [all]);
    node.pruned(at(0), id(0x40));
    assert_eq!(publish(&mut node, 1, 2), [push(2, 1, &[(0x00, depth(2)), (0x60, depth(2))])]);
    call(|out| node.asked(at(2), id(0x40), &[], out));
    assert!(matches!(&publish(&mut node, 3, 3)[..], [Output::Push { to, .. }] if to.len() == 3));
    for pruned in [0x00, 0x40, 0x60] {
        node.pruned(at(4), id(pruned));
    }
    assert!(matches!(&publish(&mut node, 5, 4)[..], [Output::Push { to, .. }] if to.len() == 3));
    call(|out| node.asked(at(6), id(0x00), &[], out));
    assert_eq!(publish(&mut node, 60_003, 5), [push(5, 1, &[(0x00, depth(1))])]);
    assert!(
        matches!(&publish(&mut node, 60_004, 6)[..], [Output::Push { to, .. }] if to.len() == 3)
    );
}

#[test]
fn a_neighbour_is_told_what_it_missed_when_it_comes_and_nothing_when_it_was_there() {
    let mut node = node(&[]);
    publish(&mut node, 0, 1);
    publish(&mut node, 60_000, 2);
    let told = |ids: &[u8]| [Output::Announce(id(0), ids.iter().map(|n| message(*n)).collect())];
    assert_eq!(call(|out| node.up(at(120_000), id(0), out)), told(&[2, 1]));
    assert_eq!(call(|out| node.up(at(120_000), id(0), out)), []);
    node.down(id(0));
    assert_eq!(call(|out| node.up(at(120_001), id(0), out)), told(&[2]));
    let me = NodeId::from_u128(ME);
    assert_eq!(call(|out| node.up(at(0), me, out)), []);
    assert_eq!(node.neighbours().collect::<Vec<_>>(), [id(0)]);
}

#[test]
fn two_neighbours_compare_what_they_have_now_and_then() {
    let mut node = node(&[0x00]);
    publish(&mut node, 0, 1);
    publish(&mut node, 10_000, 2);
    tick(&mut node, 11_000);
    let due = millis(node.compare_due.unwrap()) - 999_999;
    assert!((22_500..=37_501).contains(&due), "{due}");
    let asks = Output::Compare(id(0x00), vec![message(2), message(1)]);
    assert!(tick(&mut node, due).contains(&asks));
    let compare = |node: &mut Plumtree<char>, ms: u64, ids: &[MessageId]| {
        call(|out| node.compared(at(ms), id(0x00), ids, out))
    };
    let more = Output::Announce(id(0x00), vec![message(1)]);
    assert_eq!(compare(&mut node, 50_000, &[message(3), message(2)]), [more]);
    assert!(node.missing.contains(&message(3)));
    assert_eq!(compare(&mut node, 65_000, &[message(2)]), [], "it is too long ago");
    let answered = (0..9000).filter(|_| !compare(&mut node, 65_000, &[]).is_empty()).count();
    assert_eq!(answered, 2047);
}

#[test]
fn an_idle_node_forgets_everything_and_then_sets_no_timer() {
    let mut node = node(&[0x00]);
    publish(&mut node, 0, 1);
    node.down(id(0x00));
    let mut now = at(0);
    while let Some(due) = node.deadline() {
        assert!(due > now);
        now = due;
        call(|out| node.tick(now, out));
    }
    assert!((300_000..=330_000).contains(&now.since(at(0)).as_millis()), "{now:?}");
    assert_eq!((node.kept(), node.taken.len(), node.n_missing()), ((0, 0), 0, 0));
}

#[test]
fn one_neighbour_cannot_make_this_node_look_for_everything() {
    let mut node = node(&[0x00]);
    let ids: Vec<_> = (0..600_u128).map(|n| MessageId::from_bytes(n.to_be_bytes())).collect();
    node.announced(at(0), id(0x00), &ids);
    assert_eq!((node.n_missing(), node.stats().ignored), (512, 88));
    node.announced(at(0), id(0x40), &ids);
    assert_eq!(node.n_missing(), 512, "it is no neighbour");
    for round in 1..20_u128 {
        let ids = (0..512).map(|n| MessageId::from_bytes((round << 64 | n).to_be_bytes()));
        node.announced(at(0), id(0x00), &ids.collect::<Vec<_>>());
    }
    assert_eq!(node.n_missing(), 1024);
}
