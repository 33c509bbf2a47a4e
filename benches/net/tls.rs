//! TLS for the yardstick and the load generator, put together by hand: the same provider, version, raw
//! public keys and ALPN as the node has, and nothing of the node's own code for it.

use std::sync::{Arc, LazyLock};

use peerage::{NodeKey, PublicKey};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
        pem::PemObject,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use uuid::Uuid;

use crate::Result;

const ALPN: &[u8] = b"peerage/1";

/// What comes before the 32 bytes of an ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// Handshakes are the load of one row, so all that can be shared is.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

/// A key, and the node id that follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    key: Arc<CertifiedKey>,
    id: Uuid,
}

impl Identity {
    /// A new one.
    pub(crate) fn fresh() -> Result<Self> {
        let key = NodeKey::generate(&mut rand::rng());
        let secret = PrivatePkcs8KeyDer::from_pem_slice(key.to_pem()?.as_bytes())
            .map_err(|e| format!("a key's PEM: {e}"))?;
        let spki = [&SPKI_PREFIX, key.public().as_bytes().as_slice()].concat();
        let signer = ring::sign::any_eddsa_type(&secret)?;
        let key_pair = CertifiedKey::new(vec![CertificateDer::from(spki)], signer);
        Ok(Self { key: Arc::new(key_pair), id: Uuid::from_u128(key.node_id().as_u128()) })
    }

    pub(crate) const fn id(&self) -> Uuid {
        self.id
    }

    /// What the yardstick accepts connections with: no client without a key, no resumption.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(RawKeys { trusting: false }))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// What the load generator connects with. A `trusting` client does not check the server's signature,
    /// which spares it a good part of a handshake's work and the server none of its own.
    pub(crate) fn client(&self, trusting: bool) -> Result<Arc<ClientConfig>> {
        let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(RawKeys { trusting }))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Arc::new(config))
    }
}

/// The id of the key that the other side has shown, if all else is as it should be, too.
pub(crate) fn proven_id(tls: &CommonState) -> Option<Uuid> {
    let shown = tls.peer_certificates()?.first()?;
    let key = PublicKey::from_bytes(key_bytes(shown)?);
    let id = Uuid::from_u128(key.node_id().as_u128());
    (tls.alpn_protocol() == Some(ALPN)).then_some(id)
}

fn key_bytes(spki: &CertificateDer<'_>) -> Option<[u8; 32]> {
    spki.as_ref().strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

/// Takes every ed25519 key.
#[derive(Debug)]
struct RawKeys {
    trusting: bool,
}

impl RawKeys {
    fn verify(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        if self.trusting {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        let schemes = &PROVIDER.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signature, schemes)
    }
}

fn check(spki: &CertificateDer<'_>) -> std::result::Result<(), Error> {
    match key_bytes(spki) {
        Some(_) => Ok(()),
        None => Err(Error::InvalidCertificate(rustls::CertificateError::BadEncoding)),
    }
}

/// TLS 1.2 is not offered, so nobody is asked to verify a signature of it.
const fn no_tls12() -> Error {
    Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)
}

impl ServerCertVerifier for RawKeys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> std::result::Result<ClientCertVerified, Error> {
        check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
