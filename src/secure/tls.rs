//! What a node speaks TLS with: its key, and how it looks at the keys of others.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
        UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use thiserror::Error as ThisError;

use crate::identity::{KeyError, NodeKey, PublicKey};

/// The protocol's name in ALPN (RFC 7301). Both sides must agree on it.
pub const ALPN: &[u8] = b"peerage/1";

/// How a SubjectPublicKeyInfo of ed25519 begins (RFC 8410, section 4); the 32 bytes of the key
/// follow.
const ED25519_SPKI: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// TLS could not be set up with this key. Nothing was started.
#[derive(Debug, ThisError)]
pub enum TlsError {
    /// The key cannot be put into the form that TLS wants.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The TLS library refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Config(#[from] Error),
}

/// Both roles of TLS for one node.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl Tls {
    /// TLS for the node with this key.
    ///
    /// # Errors
    /// The key or the configuration is refused; neither happens with keys that were made here.
    pub fn new(key: &NodeKey) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_der()?));
        let signer = ring::sign::any_eddsa_type(match &secret {
            PrivateKeyDer::Pkcs8(der) => der,
            _ => return Err(Error::General("not PKCS #8".to_owned()).into()),
        })?;
        let public = CertificateDer::from(key.public_der()?);
        let own = Arc::new(CertifiedKey::new(vec![public], signer));
        let verifier = Arc::new(RawKeys(provider.clone()));

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own.clone())));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would skip the proof of the key, and tickets would cost every session.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own)));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// The key in what TLS calls the other side's certificate; `None` if it is not ed25519.
pub(super) fn key_of(spki: &CertificateDer<'_>) -> Option<PublicKey> {
    let bytes = spki.as_ref().strip_prefix(&ED25519_SPKI)?;
    Some(PublicKey::from_bytes(bytes.try_into().ok()?))
}

/// Takes any ed25519 key whose holder signs the handshake with it. Whether that is somebody we want
/// to talk to is decided when its id is known.
///
/// # Security
/// That nobody vouches for a key is safe only because the id is derived from the key itself.
#[derive(Debug)]
struct RawKeys(Arc<CryptoProvider>);

impl RawKeys {
    fn check(spki: &CertificateDer<'_>) -> Result<(), Error> {
        let known = key_of(spki).map(|_| ());
        known.ok_or(Error::InvalidCertificate(rustls::CertificateError::BadEncoding))
    }

    fn verify(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        let schemes = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, dss, schemes)
    }
}

/// TLS 1.2 is not offered, so that a signature of it is never asked about.
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
    ) -> Result<ServerCertVerified, Error> {
        Self::check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
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
    ) -> Result<ClientCertVerified, Error> {
        Self::check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
