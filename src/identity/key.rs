//! The key pair of a node.

use std::fmt;

use ed25519_dalek::{
    Signature, Signer, SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use rand::Rng;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::ids::NodeId;

/// An ed25519 public key (RFC 8032), in its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes. Whether they are a point of the curve shows when something is
    /// verified with it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of whoever holds the key: a version 8 UUID (RFC 9562, section 5.8) whose 122 free
    /// bits are the first of the SHA-256 of the key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        let hash: [u8; 32] = Sha256::digest(self.0).into();
        let mut bits = [0; 16];
        // The version and the variant take the place of six bits of the hash: the 122 others are
        // kept where they are.
        bits.copy_from_slice(&hash[..16]);
        NodeId::from_custom_bytes(bits)
    }

    /// The key in the form of X25519 (RFC 7748), if it is a point of the curve.
    pub(super) fn x25519(&self) -> Option<[u8; 32]> {
        Some(VerifyingKey::from_bytes(&self.0).ok()?.to_montgomery().to_bytes())
    }

    /// Whether whoever holds the key has signed this message so. Strict: neither keys of a small order
    /// nor second forms of a signature are taken, so that all nodes agree on what is signed.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The text is not a private ed25519 key in PEM (PKCS #8, RFC 8410).
    #[error("it is not an ed25519 key in PEM (PKCS #8): {0}")]
    NotAKey(String),
    /// The key could not be put into the form that TLS wants.
    #[error("the key cannot be encoded: {0}")]
    NotEncodable(String),
}

/// A node's secret key. It shows only its public half, whatever it is printed with.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// A fresh key from this source of randomness.
    pub fn generate(rng: &mut impl Rng) -> Self {
        Self(SigningKey::from_bytes(&rng.random()))
    }

    /// Reads a key from PEM (PKCS #8).
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|e| KeyError::NotAKey(e.to_string()))?;
        Ok(Self(key))
    }

    /// The key in PEM (PKCS #8). It is a secret.
    ///
    /// # Errors
    /// It cannot be encoded; no key that was made here is such.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).map_err(not_encodable)?;
        Ok(pem.to_string())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The id of whoever holds this key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.public().node_id()
    }

    /// Signs a message (ed25519, RFC 8032). Begin it with a label of its own for each purpose, so that
    /// what is signed for one is worth nothing for another.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The secret for X25519 (RFC 7748) that belongs to the public key in that form.
    pub(super) fn x25519(&self) -> [u8; 32] {
        self.0.to_scalar_bytes()
    }

    /// The secret in DER (PKCS #8), as TLS wants it.
    pub(crate) fn to_der(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.0.to_pkcs8_der().map_err(not_encodable)?.as_bytes().to_vec())
    }

    /// The public half as a SubjectPublicKeyInfo (RFC 8410): what a raw public key is in TLS.
    pub(crate) fn public_der(&self) -> Result<Vec<u8>, KeyError> {
        let der = self.0.verifying_key().to_public_key_der().map_err(not_encodable)?;
        Ok(der.as_bytes().to_vec())
    }
}

fn not_encodable(error: impl fmt::Display) -> KeyError {
    KeyError::NotEncodable(error.to_string())
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey(of {})", self.node_id())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_id_is_the_hash_of_the_key_in_a_version_8_uuid() {
        let key = PublicKey::from_bytes([7; 32]);
        let hash: [u8; 32] = Sha256::digest([7; 32]).into();
        let id = key.node_id();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        let free = !(0xf << 76 | 0b11 << 62);
        assert_eq!(id.as_u128() & free, u128::from_be_bytes(first) & free);
        assert_eq!((id.as_u128() >> 76 & 0xf, id.as_u128() >> 62 & 0b11), (8, 0b10));
        assert!(id.is_self_certifying());
    }

    #[test]
    fn a_key_survives_its_file_and_never_shows_its_secret() {
        let key = NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(1));
        let pem = key.to_pem().unwrap();
        let again = NodeKey::from_pem(&pem).unwrap();
        assert_eq!(again.public(), key.public());
        let secret = hex::encode(key.0.to_bytes());
        let shown = format!("{key:?} {:?} {}", key.public(), key.public());
        assert!(!shown.contains(&secret) && !shown.contains(pem.lines().nth(1).unwrap()));
    }

    #[test]
    fn only_the_key_s_holder_signs_and_only_what_it_signed() {
        let [key, other] = [1, 2].map(|n| NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(n)));
        let signature = key.sign(b"label|hello");
        assert!(key.public().verify(b"label|hello", &signature));
        assert!(!key.public().verify(b"label|hellp", &signature));
        assert!(!other.public().verify(b"label|hello", &signature));
        for at in [0, 31, 32, 63] {
            let mut altered = signature;
            altered[at] ^= 1;
            assert!(!key.public().verify(b"label|hello", &altered), "{at}");
        }
    }

    #[test]
    fn no_point_of_a_small_order_verifies_anything() {
        // The neutral element: under the plain equation it signs everything.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!PublicKey::from_bytes(neutral).verify(b"anything", &signature));
        assert!(!PublicKey::from_bytes([2; 32]).verify(b"anything", &signature), "no point");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            assert!(matches!(NodeKey::from_pem(text), Err(KeyError::NotAKey(_))), "{text}");
        }
    }
}
