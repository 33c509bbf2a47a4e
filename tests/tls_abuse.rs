//! TLS as a node would rather not see it: from strangers of other kinds, broken off, half-closed, in
//! large records and with new keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use peerage::{HostPort, Kind, NodeConfig, NodeHandle, NodeKey, secure::ALPN};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring::{default_provider, sign::any_eddsa_type},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use support::{
    BOUND, PING, Raw, Sealed, hasty, hello_of, new_key, noted, peer_ids, place, start, until,
    until_noted, within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

// ---------------------------------------------------------------- a TLS of our own

/// Believes everybody.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A key as TLS wants it: what is shown, with this key to sign by.
fn certified(shown: &NodeKey, signing: &NodeKey) -> Arc<CertifiedKey> {
    let der = |pem: &str| {
        let base64: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        from_base64(&base64)
    };
    let secret = PrivatePkcs8KeyDer::from(der(&signing.to_pem().unwrap()));
    // RFC 8410, section 4.
    let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];
    spki.extend(shown.public().as_bytes());
    Arc::new(CertifiedKey::new(vec![spki.into()], any_eddsa_type(&secret).unwrap()))
}

fn from_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut n_bits) = (Vec::new(), 0_u32, 0);
    for letter in text.chars().filter(|letter| *letter != '=') {
        bits = bits << 6 | u32::try_from(alphabet.find(letter).unwrap()).unwrap();
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(u8::try_from(bits >> n_bits & 0xff).unwrap());
        }
    }
    bytes
}

/// A client that shows a key or none, and says these protocols.
fn client(shown: Option<Arc<CertifiedKey>>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match shown {
        Some(key) => {
            builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.enable_sni = false;
    Arc::new(config)
}

/// Any browser or tool: certificates, a name, HTTP.
fn ordinary_client() -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn server(key: &NodeKey, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let own = Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(key, key)));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous))
        .with_cert_resolver(own);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

async fn tcp(node: &NodeHandle) -> TcpStream {
    let to = place(node).socket_addr().unwrap();
    within(BOUND, "connect", TcpStream::connect(to)).await.unwrap()
}

async fn shake(
    node: &NodeHandle,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let shaking = TlsConnector::from(config).connect(name, tcp(node).await);
    within(BOUND, "a handshake", shaking).await
}

/// A session within TLS of our own.
async fn enter(node: &NodeHandle, key: &NodeKey) -> Raw<TlsStream<TcpStream>> {
    let config = client(Some(certified(key, key)), &[ALPN]);
    let mut raw = Raw::on(shake(node, config).await.unwrap());
    raw.send(hello_of(key.node_id(), "")).await;
    raw.expect("ping").await;
    raw
}

/// The node is none the worse for it.
async fn is_well(node: &NodeHandle) {
    Raw::join(node, 99).await.ping().await;
    Sealed::enter(node, &new_key()).await.ping().await;
    assert_eq!(node.discouraged().await, []);
}

// ---------------------------------------------------------------- strangers

/// The first byte of TLS, and then nothing of the kind; and TLS 1.2 (RFC 5246, section 7.4.1.2) from
/// a client that has never heard of 1.3.
fn not_our_tls() -> Vec<Vec<u8>> {
    let mut garbage: Vec<Vec<u8>> = (0..20_u8)
        .map(|seed| {
            let noise =
                (0..300_u32).map(|n| ((n * 167 + 31 * u32::from(seed)) >> 3).to_le_bytes()[0]);
            std::iter::once(0x16).chain(noise).collect()
        })
        .collect();
    garbage.push([&[0x16, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat());
    garbage.push(b"\x16{\"msgtype\":\"hello\"}\n".to_vec());
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    let handshake = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let record = [&[0x16, 3, 1, 0, u8::try_from(handshake.len()).unwrap()][..], &handshake];
    garbage.push(record.concat());
    garbage
}

#[actix_rt::test]
async fn what_only_begins_like_tls_is_closed_and_the_node_is_well() {
    let node = start(hasty()).await;
    for garbage in not_our_tls() {
        let mut stream = tcp(&node).await;
        // It may close before all is written.
        let _written = stream.write_all(&garbage).await;
        let mut answer = Vec::new();
        let _end = within(BOUND, "the end", stream.read_to_end(&mut answer)).await;
        // An alert or nothing: no hello, no line.
        assert!(!answer.contains(&b'{'), "{answer:?}");
        assert!(answer.first().is_none_or(|kind| *kind == 21), "{answer:?}");
    }
    until_noted(&node, Kind::Refused, "tls-failed").await;
    is_well(&node).await;
}

#[actix_rt::test]
async fn a_client_of_another_kind_gets_no_session_and_hears_no_hello() {
    let node = start(hasty()).await;
    let (key, other) = (new_key(), new_key());
    let strangers = [
        ("a browser", ordinary_client()),
        ("another protocol", client(Some(certified(&key, &key)), &[b"h2"])),
        ("no protocol", client(Some(certified(&key, &key)), &[])),
        ("no key", client(None, &[ALPN])),
        ("a key that is not its own", client(Some(certified(&other, &key)), &[ALPN])),
    ];
    for (who, config) in strangers {
        let Ok(mut stream) = shake(&node, config).await else { continue };
        // In TLS 1.3 a client is through before the server has looked at its key.
        let _written = stream.write_all(hello_of(other.node_id(), "").as_bytes()).await;
        let mut answer = Vec::new();
        let _end = within(BOUND, "the end", stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{who}: {}", String::from_utf8_lossy(&answer));
    }
    assert!(noted(&node, Kind::SessionUp).await.is_empty());
    is_well(&node).await;
}

#[actix_rt::test]
async fn a_server_of_another_protocol_is_not_taken_for_a_node() {
    for alpn in [&[][..], &[&b"h2"[..]]] {
        let (listener, key) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), new_key());
        let addr: HostPort = listener.local_addr().unwrap().into();
        let config = NodeConfig { listen: vec![], bootstrap: vec![addr.into()], ..hasty() };
        let node = start(config).await;
        let mut first = Vec::new();
        // With TLS; in plaintext, since nobody knows who is there; and with TLS again.
        while first.len() < 3 {
            let (stream, _) = within(BOUND, "a dial", listener.accept()).await.unwrap();
            let mut byte = [0];
            if stream.peek(&mut byte).await.unwrap_or(0) == 1 {
                first.push(byte[0]);
            }
            if byte == [0x16]
                && let Ok(mut stream) = TlsAcceptor::from(server(&key, alpn)).accept(stream).await
            {
                let _written = stream.write_all(hello_of(key.node_id(), "").as_bytes()).await;
                let mut heard = Vec::new();
                let _end = within(BOUND, "the end", stream.read_to_end(&mut heard)).await;
                assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
            }
        }
        assert_eq!(first, [0x16, b'{', 0x16]);
        assert!(peer_ids(&node).await.is_empty());
    }
}

// ---------------------------------------------------------------- peers

#[actix_rt::test]
async fn a_close_notify_is_a_half_close() {
    let node = start(hasty()).await;
    // At once.
    let key = new_key();
    let config = client(Some(certified(&key, &key)), &[ALPN]);
    let mut stream = shake(&node, config).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(BOUND, "the end", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    // In a session: what was asked is answered.
    let mut raw = enter(&node, &key).await;
    raw.send(PING.repeat(1000)).await;
    raw.send("{\"msgtype\":\"getaddr\"}\n").await;
    raw.get_mut().shutdown().await.unwrap();
    let rest = raw.rest().await;
    assert_eq!(rest.iter().filter(|msgtype| *msgtype == "pong").count(), 1000);
    assert!(rest.iter().any(|msgtype| msgtype == "addr"), "{rest:?}");
    assert_eq!(rest.last().unwrap(), "bye");
    is_well(&node).await;
}

#[actix_rt::test]
async fn an_end_without_close_notify_is_an_ordinary_end() {
    let node = start(hasty()).await;
    let key = new_key();
    let mut raw = enter(&node, &key).await;
    raw.get_mut().get_mut().0.shutdown().await.unwrap();
    until("the session is over", async || peer_ids(&node).await.is_empty()).await;
    let raw = enter(&node, &key).await;
    drop(raw);
    until("the session is over", async || peer_ids(&node).await.is_empty()).await;
    is_well(&node).await;
}

#[actix_rt::test]
async fn lines_may_lie_in_records_however_they_like() {
    let node = start(hasty()).await;
    let key = new_key();
    let mut raw = enter(&node, &key).await;
    // Full records of many lines, with lines across their ends.
    let n = 10_000;
    raw.send(PING.repeat(n)).await;
    for _ in 0..n {
        raw.expect("pong").await;
    }
    // One record a byte.
    for byte in PING.bytes() {
        raw.send([byte]).await;
    }
    raw.expect("pong").await;
    // The longest line, and one byte more.
    let line = |len: usize| format!("{{\"msgtype\":\"weather\",\"y\":\"{}\"}}\n", "y".repeat(len));
    raw.send(line(65_508)).await;
    raw.ping().await;
    raw.send(line(65_509)).await;
    assert_eq!(raw.bye().await, "too-large");
}

#[actix_rt::test]
async fn a_line_without_end_within_tls_is_answered_before_its_end() {
    let node = start(hasty()).await;
    for greeted in [false, true] {
        let key = new_key();
        let mut raw = Sealed::dial(&node, &key).await;
        if greeted {
            raw.send(hello_of(key.node_id(), "")).await;
            raw.expect("ping").await;
        }
        // The node may have closed before all of it is written.
        let _written = raw.try_send("y".repeat(70_000)).await;
        let bye = raw.expect("bye").await;
        assert_eq!(bye["reason"], "too-large", "greeted: {greeted}");
    }
}

#[actix_rt::test]
async fn keys_may_be_renewed_at_any_time() {
    let node = start(hasty()).await;
    let key = new_key();
    let mut raw = enter(&node, &key).await;
    for _ in 0..20 {
        raw.get_mut().get_mut().1.refresh_traffic_keys().unwrap();
        raw.ping().await;
    }
    // Many in a row, as fast as they can be said, and without a word.
    for _ in 0..200 {
        let Ok(()) = raw.get_mut().get_mut().1.refresh_traffic_keys() else { break };
        if raw.get_mut().flush().await.is_err() {
            break;
        }
    }
    drop(raw);
    is_well(&node).await;
}

#[actix_rt::test]
async fn a_handshake_byte_by_byte_is_a_handshake_but_not_for_ever() {
    let mut config = hasty();
    config.session.handshake_timeout = Duration::from_millis(500);
    let node = start(config).await;
    let key = new_key();
    // What a client would send, a byte at a time.
    let (mut inner, outer) = tokio::io::duplex(1 << 16);
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let connector = TlsConnector::from(client(Some(certified(&key, &key)), &[ALPN]));
    let shaking = actix_rt::spawn(connector.connect(name, outer));
    let mut stream = tcp(&node).await;
    stream.set_nodelay(true).unwrap();
    let pump = async {
        let (mut up, mut down) = ([0; 1], [0; 4096]);
        loop {
            tokio::select! {
                read = inner.read(&mut up) => {
                    if read? == 0 { return Ok::<(), std::io::Error>(()) }
                    stream.write_all(&up).await?;
                }
                read = stream.read(&mut down) => {
                    let n = read?;
                    if n == 0 { return Ok(()) }
                    inner.write_all(&down[..n]).await?;
                }
            }
        }
    };
    let talk = async {
        let tls = shaking.await.unwrap().unwrap();
        let mut raw = Raw::on(tls);
        raw.send(hello_of(key.node_id(), "")).await;
        raw.expect("ping").await;
        raw.ping().await;
    };
    tokio::select! {
        end = pump => panic!("the connection ended: {end:?}"),
        () = talk => {}
    }

    // A byte now and then is no progress: the whole handshake has its time.
    let mut slow = tcp(&node).await;
    let begun = tokio::time::Instant::now();
    let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 190]].concat();
    for byte in hello {
        if slow.write_all(&[byte]).await.is_err() || slow.try_read(&mut [0; 64]).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() < Duration::from_millis(3000), "{:?}", begun.elapsed());
}
