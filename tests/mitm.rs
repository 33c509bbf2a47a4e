//! A man in the middle of two nodes on loopback: it sees and touches every byte between them, and
//! yet can neither read, alter, impersonate nor downgrade.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};

use peerage::{
    Bootstrap, ChannelSecurity, CloseReason, HostPort, Kind, NodeConfig, NodeHandle, NodeKey,
    PeerMessage,
    secure::{SecureStream, Tls},
};
use serde::{Deserialize, Serialize};
use support::{BOUND, Taker, hasty, noted, peer_ids, place, start, until, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const SECRET: &str = "the treasure is under the old oak";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Letter {
    text: String,
}

impl PeerMessage for Letter {
    const MSGTYPE: &'static str = "letter";
}

/// What the man in the middle does with a connection.
#[derive(Clone)]
enum Attack {
    /// Passes everything on, and keeps a copy.
    Listen,
    /// Flips one bit of the chunk with this number that the dialler sends.
    Alter(usize),
    /// Breaks every connection that begins with TLS (with this answer), and passes on the others.
    BreakTls(&'static [u8]),
    /// Answers in the other's place, over TLS with a key of its own, and says this hello.
    Pose(Box<NodeKey>, String),
    /// Breaks TLS, and answers in plaintext with this hello.
    PoseInPlaintext(String),
}

/// What it has seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl Seen {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap().push(bytes.to_vec());
    }

    fn all(&self) -> Vec<u8> {
        self.0.lock().unwrap().concat()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn has(&self, text: &str) -> bool {
        self.all().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// A man in the middle: its address, what passed, and the first byte of each connection to it.
struct Mallory {
    addr: HostPort,
    passed: Seen,
    first: Seen,
    attack: Arc<Mutex<Attack>>,
}

impl Mallory {
    async fn before(node: &NodeHandle, attack: Attack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mallory = Self {
            addr: listener.local_addr().unwrap().into(),
            passed: Seen::default(),
            first: Seen::default(),
            attack: Arc::new(Mutex::new(attack)),
        };
        let target = place(node).socket_addr().unwrap();
        let (passed, first) = (mallory.passed.clone(), mallory.first.clone());
        let attack = mallory.attack.clone();
        actix_rt::spawn(async move {
            while let Ok((victim, _)) = listener.accept().await {
                let attack = attack.lock().unwrap().clone();
                let (passed, first) = (passed.clone(), first.clone());
                actix_rt::spawn(async move {
                    // An attack that fails is a test that passes.
                    let _end = act(attack, victim, target, passed, first).await;
                });
            }
        });
        mallory
    }

    fn turn_to(&self, attack: Attack) {
        *self.attack.lock().unwrap() = attack;
    }
}

async fn act(
    attack: Attack,
    mut victim: TcpStream,
    target: std::net::SocketAddr,
    passed: Seen,
    first: Seen,
) -> std::io::Result<()> {
    let mut begin = [0];
    if victim.peek(&mut begin).await? == 0 {
        return Ok(());
    }
    first.add(&begin);
    let is_tls = begin == [0x16];
    match attack {
        Attack::BreakTls(answer) if is_tls => victim.write_all(answer).await,
        Attack::PoseInPlaintext(_) if is_tls => Ok(()),
        Attack::PoseInPlaintext(hello) => converse(victim, &hello, &passed).await,
        Attack::Pose(key, hello) => {
            let mut stream = SecureStream::accept(victim, Some(Tls::new(&key).unwrap()));
            std::future::poll_fn(|cx| stream.poll_established(cx)).await?;
            converse(stream, &hello, &passed).await
        }
        Attack::Alter(nth) => relay(victim, target, &passed, Some(nth)).await,
        Attack::Listen | Attack::BreakTls(_) => relay(victim, target, &passed, None).await,
    }
}

/// Says hello, and keeps what it hears.
async fn converse(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    hello: &str,
    passed: &Seen,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(hello.as_bytes()).await?;
    stream.flush().await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        passed.add(line.as_bytes());
        line.clear();
    }
    Ok(())
}

async fn relay(
    victim: TcpStream,
    target: std::net::SocketAddr,
    passed: &Seen,
    alter: Option<usize>,
) -> std::io::Result<()> {
    let other = TcpStream::connect(target).await?;
    let ((mut from_victim, mut to_victim), (mut from_other, mut to_other)) =
        (victim.into_split(), other.into_split());
    let there = async {
        let (mut buffer, mut n_chunks) = (vec![0; 1 << 16], 0);
        loop {
            let n = from_victim.read(&mut buffer).await?;
            if n == 0 {
                return to_other.shutdown().await;
            }
            n_chunks += 1;
            if Some(n_chunks) == alter {
                buffer[n / 2] ^= 1;
            }
            passed.add(&buffer[..n]);
            to_other.write_all(&buffer[..n]).await?;
        }
    };
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = from_other.read(&mut buffer).await?;
            if n == 0 {
                return to_victim.shutdown().await;
            }
            passed.add(&buffer[..n]);
            to_victim.write_all(&buffer[..n]).await?;
        }
    };
    tokio::try_join!(there, back).map(|_| ())
}

fn hello_of(id: impl std::fmt::Display) -> String {
    format!("{{\"msgtype\":\"hello\",\"nodeid\":\"{id}\"}}\n")
}

/// A node that only dials, and only the man in the middle.
async fn alice(contact: Bootstrap) -> NodeHandle {
    start(NodeConfig { listen: vec![], bootstrap: vec![contact], ..hasty() }).await
}

fn pinned(mallory: &Mallory, bob: &NodeHandle) -> Bootstrap {
    Bootstrap { addr: mallory.addr.clone(), id: Some(bob.id()) }
}

/// A node that keeps the letters it gets.
async fn bob() -> (NodeHandle, Arc<Mutex<Vec<String>>>) {
    let bob = start(hasty()).await;
    let letters = Arc::new(Mutex::new(Vec::new()));
    let kept = letters.clone();
    let taker =
        Taker::<Letter>::start(move |letter| kept.lock().unwrap().push(letter.message.text));
    bob.register::<Letter>(taker.recipient()).unwrap();
    (bob, letters)
}

#[actix_rt::test]
async fn it_cannot_read() {
    let (bob, letters) = bob().await;
    let mallory = Mallory::before(&bob, Attack::Listen).await;
    let alice = alice(mallory.addr.clone().into()).await;
    until("they meet", async || peer_ids(&alice).await == [bob.id()]).await;
    alice.send(bob.id(), &Letter { text: SECRET.to_owned() }).unwrap();
    until("the letter is there", async || *letters.lock().unwrap() == [SECRET]).await;
    let peers = alice.peers().await;
    assert_eq!(peers[0].channel.security, ChannelSecurity::Encrypted);
    assert_eq!(peers[0].channel.key.unwrap().node_id(), bob.id());
    assert!(mallory.passed.count() > 2);
    for text in [SECRET, "msgtype", "hello", "peerage/0", &alice.id().to_string()] {
        assert!(!mallory.passed.has(text), "{text} was there to read");
    }
}

#[actix_rt::test]
async fn it_cannot_alter() {
    for nth in 1..8 {
        let (bob, letters) = bob().await;
        let mallory = Mallory::before(&bob, Attack::Alter(nth)).await;
        let alice = alice(pinned(&mallory, &bob)).await;
        // Letter after letter, until the altered chunk has ended a session or a handshake.
        until("it was noticed", async || {
            let _refused = alice.send(bob.id(), &Letter { text: SECRET.to_owned() });
            !noted(&alice, Kind::SessionDown).await.is_empty()
                || !noted(&alice, Kind::DialFailed).await.is_empty()
        })
        .await;
        mallory.turn_to(Attack::Listen);
        until("they meet again", async || peer_ids(&alice).await == [bob.id()]).await;
        assert!(letters.lock().unwrap().iter().all(|text| text == SECRET), "chunk {nth}");
        alice.stop().await;
        bob.stop().await;
    }
}

#[actix_rt::test]
async fn it_cannot_impersonate() {
    let (bob, _) = bob().await;
    let own = NodeKey::generate(&mut rand::rng());
    // Dialled as Bob, with a key that is not his.
    let attack = Attack::Pose(Box::new(own.clone()), hello_of(bob.id()));
    let mallory = Mallory::before(&bob, attack.clone()).await;
    let knows_bob = alice(pinned(&mallory, &bob)).await;
    until("it is refused", async || refused(&knows_bob, &CloseReason::WrongNode).await).await;
    // Dialled as nobody in particular, it says that it is Bob.
    let asks_anybody = alice(mallory.addr.clone().into()).await;
    until("it is refused", async || refused(&asks_anybody, &CloseReason::IdMismatch).await).await;
    // In plaintext, to whom nothing is known yet.
    mallory.turn_to(Attack::PoseInPlaintext(hello_of(bob.id())));
    let naive = alice(mallory.addr.clone().into()).await;
    until("it is refused", async || refused(&naive, &CloseReason::Unproven).await).await;
    // And towards Bob, as a node that it is not.
    let mut stream = SecureStream::connect(dial(&bob).await, &Tls::new(&own).unwrap());
    std::future::poll_fn(|cx| stream.poll_established(cx)).await.unwrap();
    let heard = Seen::default();
    converse(stream, &hello_of(naive.id()), &heard).await.unwrap();
    assert!(heard.has("id-mismatch") && !heard.has("\"hello\""), "{heard:?}", heard = heard.all());
    for victim in [&knows_bob, &asks_anybody, &naive, &bob] {
        assert!(peer_ids(victim).await.is_empty());
    }
}

#[actix_rt::test]
async fn it_cannot_downgrade() {
    let (bob, letters) = bob().await;
    let by_hand = b"{\"msgtype\":\"bye\",\"reason\":\"plaintext-only\"}\n";
    for answer in [&b""[..], &by_hand[..]] {
        let mallory = Mallory::before(&bob, Attack::BreakTls(answer)).await;
        // Whoever knows that Bob can prove himself never speaks plaintext.
        let knows_bob = alice(pinned(&mallory, &bob)).await;
        until("it was tried some times", async || mallory.first.count() >= 4).await;
        assert!(mallory.first.all().iter().all(|first| *first == 0x16));
        // Whoever does not may try, and is not believed, since Bob has nothing else to show.
        let naive = alice(mallory.addr.clone().into()).await;
        until("it was tried", async || mallory.first.all().contains(&b'{')).await;
        until("Bob refuses it", async || {
            noted(&bob, Kind::Refused).await.iter().any(|note| note.reason == "unproven")
        })
        .await;
        assert!(peer_ids(&bob).await.is_empty());
        for victim in [&knows_bob, &naive] {
            assert!(peer_ids(victim).await.is_empty());
        }
        // As soon as the way is clear, both meet him, encrypted.
        mallory.turn_to(Attack::Listen);
        for victim in [knows_bob, naive] {
            until("they meet", async || peer_ids(&victim).await.contains(&bob.id())).await;
            victim.send(bob.id(), &Letter { text: SECRET.to_owned() }).unwrap();
            victim.stop().await;
        }
        until("the letters are there", async || letters.lock().unwrap().len() == 2).await;
        assert!(!mallory.passed.has(SECRET));
        letters.lock().unwrap().clear();
    }
}

async fn refused(node: &NodeHandle, reason: &CloseReason) -> bool {
    let dials = noted(node, Kind::DialFailed).await;
    dials.iter().any(|note| note.reason == reason.code())
}

async fn dial(node: &NodeHandle) -> TcpStream {
    let addr = place(node).socket_addr().unwrap();
    within(BOUND, "a connection", TcpStream::connect(addr)).await.unwrap()
}
