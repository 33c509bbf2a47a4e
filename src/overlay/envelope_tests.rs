use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn key(seed: u64) -> NodeKey {
    NodeKey::generate(&mut rng(seed))
}

fn letter() -> Letter {
    let line = Bytes::from_static(b"{\"msgtype\":\"note\",\"text\":\"hello\"}");
    Letter::new(&mut rng(7), 1_700_000_000_000, line, Bytes::from_static(b"attached"))
}

const ID: MessageId = MessageId::from_bytes([5; 16]);

fn routed(to: u64) -> Purpose<'static> {
    Purpose::Routed { to: key(to).node_id(), id: ID }
}

fn verify(blob: &[u8], origin: NodeId, purpose: &Purpose<'_>) -> Result<Letter, Unreadable> {
    Letter::verify(&Bytes::copy_from_slice(blob), origin, purpose)
}

#[test]
fn what_is_signed_is_read_as_it_was_written() {
    let origin = key(1);
    for purpose in [routed(2), Purpose::Gossip { topic: "news" }] {
        let blob = letter().sign(Some(&origin), origin.node_id(), &purpose);
        assert_eq!(blob.len(), SIGNED_OVERHEAD + letter().len());
        assert_eq!(verify(&blob, origin.node_id(), &purpose), Ok(letter()));
    }
}

#[test]
fn what_a_node_without_a_key_says_is_read_but_one_with_a_key_must_sign() {
    let classic = NodeId::random(&mut rng(3));
    let blob = letter().sign(None, classic, &routed(2));
    assert_eq!(verify(&blob, classic, &routed(2)), Ok(letter()));
    assert_eq!(verify(&blob, key(1).node_id(), &routed(2)), Err(Unreadable::NotSigned));
}

#[test]
fn nobody_signs_for_another() {
    let (origin, forger) = (key(1), key(4));
    let forged = letter().sign(Some(&forger), origin.node_id(), &routed(2));
    assert_eq!(verify(&forged, origin.node_id(), &routed(2)), Err(Unreadable::WrongKey));
    // With the right key in it, it is the signature that does not fit.
    let mut patched = forged;
    patched[1..33].copy_from_slice(origin.public().as_bytes());
    assert_eq!(verify(&patched, origin.node_id(), &routed(2)), Err(Unreadable::BadSignature));
    // A random id is nobody's, and a key does not make it one's own.
    let classic = NodeId::random(&mut rng(3));
    let blob = letter().sign(Some(&forger), classic, &routed(2));
    assert_eq!(verify(&blob, classic, &routed(2)), Err(Unreadable::WrongKey));
}

#[test]
fn a_message_is_no_other_message() {
    let origin = key(1);
    let purposes = [
        routed(2),
        routed(3),
        Purpose::Routed { to: key(2).node_id(), id: MessageId::from_bytes([6; 16]) },
        Purpose::Gossip { topic: "news" },
        Purpose::Gossip { topic: "new" },
        Purpose::Gossip { topic: "" },
    ];
    for meant in &purposes {
        let blob = letter().sign(Some(&origin), origin.node_id(), meant);
        for taken in &purposes {
            let read = verify(&blob, origin.node_id(), taken);
            assert_eq!(read.is_ok(), meant == taken, "{meant:?} as {taken:?}");
        }
    }
}

#[test]
fn every_altered_byte_of_a_signed_message_is_found_out() {
    let origin = key(1);
    let blob = letter().sign(Some(&origin), origin.node_id(), &routed(2));
    for n in 0..blob.len() {
        for bit in 0..8 {
            let mut altered = blob.clone();
            altered[n] ^= 1 << bit;
            let read = verify(&altered, origin.node_id(), &routed(2));
            assert!(read.is_err(), "byte {n}, bit {bit}: {read:?}");
        }
        assert!(verify(&blob[..n], origin.node_id(), &routed(2)).is_err(), "{n} bytes");
    }
    let longer = [&blob[..], b"x"].concat();
    assert_eq!(verify(&longer, origin.node_id(), &routed(2)), Err(Unreadable::BadSignature));
}

#[test]
fn a_line_said_to_be_longer_than_all_is_malformed() {
    let classic = NodeId::random(&mut rng(3));
    let mut blob = letter().sign(None, classic, &routed(2));
    blob[25..29].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(verify(&blob, classic, &routed(2)), Err(Unreadable::Malformed));
}

fn sealed() -> Vec<u8> {
    let (from, to) = (key(1), key(2));
    let signed = letter().sign(Some(&from), from.node_id(), &routed(2));
    seal(&mut rng(8), &to.public(), to.node_id(), from.node_id(), ID, &signed).unwrap()
}

#[test]
fn what_is_sealed_is_read_by_one_only_and_under_its_own_addressing() {
    let (from, to, other) = (key(1), key(2), key(3));
    let (me, you) = (from.node_id(), to.node_id());
    let sealed = sealed();
    assert_eq!(sealed.len(), SEALED_OVERHEAD + letter().len());
    assert!(!sealed.windows(5).any(|bytes| bytes == b"hello" || bytes == b"attac"));
    let opened = open(&to, you, me, ID, &sealed).unwrap();
    assert_eq!(Letter::verify(&opened, me, &routed(2)), Ok(letter()));
    let no = Err(Unreadable::CannotOpen);
    assert_eq!(open(&other, you, me, ID, &sealed), no);
    assert_eq!(open(&to, other.node_id(), me, ID, &sealed), no);
    assert_eq!(open(&to, you, other.node_id(), ID, &sealed), no);
    assert_eq!(open(&to, you, me, MessageId::from_bytes([6; 16]), &sealed), no);
}

#[test]
fn every_altered_byte_of_a_sealed_message_is_found_out() {
    let (from, to) = (key(1), key(2));
    let (me, you) = (from.node_id(), to.node_id());
    let sealed = sealed();
    for n in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[n] ^= 0x10;
        assert!(open(&to, you, me, ID, &altered).is_err(), "byte {n}");
        assert!(open(&to, you, me, ID, &sealed[..n]).is_err(), "{n} bytes");
    }
}

#[test]
fn who_opens_a_message_cannot_pass_it_on_as_if_it_were_for_another() {
    // What is sealed says for whom it was signed.
    let (from, to, third) = (key(1), key(2), key(3));
    let opened = open(&to, to.node_id(), from.node_id(), ID, &sealed()).unwrap();
    let (me, them) = (from.node_id(), third.node_id());
    let again = seal(&mut rng(8), &third.public(), them, me, ID, &opened).unwrap();
    let opened = open(&third, them, me, ID, &again).unwrap();
    assert_eq!(Letter::verify(&opened, me, &routed(3)), Err(Unreadable::BadSignature));
}

#[test]
fn what_should_be_sealed_and_is_not_is_refused() {
    let (from, to) = (key(1), key(2));
    let (me, you) = (from.node_id(), to.node_id());
    let signed = letter().sign(Some(&from), me, &routed(2));
    assert_eq!(open(&to, you, me, ID, &signed), Err(Unreadable::NotSealed));
    assert_eq!(open(&to, you, me, ID, b"\x07"), Err(Unreadable::Malformed));
    assert_eq!(open(&to, you, me, ID, b""), Err(Unreadable::Malformed));
    let nobody = PublicKey::from_bytes([0; 32]);
    assert_eq!(seal(&mut rng(8), &nobody, you, me, ID, &signed), None);
}

#[test]
fn an_answer_is_proven_by_its_token_alone() {
    let (token, other) = ([1; 16], [2; 16]);
    let proof = prove(&token, "refused", "nobody");
    assert!(is_proven(&token, "refused", "nobody", &proof));
    assert!(!is_proven(&other, "refused", "nobody", &proof));
    assert!(!is_proven(&token, "delivered", "nobody", &proof));
    assert!(!is_proven(&token, "refused", "busy", &proof));
    assert!(!is_proven(&token, "refused", "", &proof));
    assert!(!is_proven(&token, "refused", "nobody", &[0; 16]));
}

#[test]
fn a_gossip_id_is_that_of_its_content() {
    let (a, b) = (key(1).node_id(), key(2).node_id());
    let id = gossip_id(a, "news", b"blob");
    assert_eq!(gossip_id(a, "news", b"blob"), id);
    for other in [
        gossip_id(b, "news", b"blob"),
        gossip_id(a, "new", b"sblob"),
        gossip_id(a, "news", b"blo"),
        gossip_id(a, "newsblob", b""),
    ] {
        assert_ne!(other, id);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        kind in 0_u8..4,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        origin: u128,
        topic in ".{0,80}",
    ) {
        let blob = Bytes::from([&[kind][..], &bytes].concat());
        let origin = NodeId::from_u128(origin);
        for blob in [blob.clone(), blob.slice(1..)] {
            for purpose in [routed(2), Purpose::Gossip { topic: &topic }] {
                let read = Letter::verify(&blob, origin, &purpose);
                prop_assert!(read.is_err() || !origin.is_self_certifying());
            }
            prop_assert!(open(&key(2), origin, origin, ID, &blob).is_err());
        }
    }

    #[test]
    fn whatever_is_written_is_read(
        seed: u64,
        time: u64,
        line in proptest::collection::vec(any::<u8>(), 0..200),
        attachment in proptest::collection::vec(any::<u8>(), 0..200),
        signs: bool,
    ) {
        let letter = Letter::new(&mut rng(seed), time, line.into(), attachment.into());
        let key = signs.then(|| key(seed));
        let random = || NodeId::random(&mut rng(seed));
        let origin = key.as_ref().map_or_else(random, NodeKey::node_id);
        let blob = letter.sign(key.as_ref(), origin, &routed(2));
        prop_assert_eq!(verify(&blob, origin, &routed(2)), Ok(letter));
    }
}
