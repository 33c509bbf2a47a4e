//! The key of a private network, and the proof of knowing it.

use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::peer::Direction;

/// The shortest secret that is taken: 128 bits, if they are random.
const MIN_BYTES: usize = 16;

/// What keeps this proof from being taken for anything else made with the same key.
const LABEL: &[u8] = b"peerage/1 network membership";

/// What keeps a pseudonym from being taken for anything else made with the same key.
const PSEUDONYM: &[u8] = b"peerage/1 pseudonym of a network";

/// A text that cannot be the key of a private network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NetworkKeyError {
    /// It is too short to be a secret.
    #[error(
        "it has {0} bytes; a network key needs at least {MIN_BYTES} (try: openssl rand -hex 32)"
    )]
    TooShort(usize),
}

/// The secret that all nodes of a private network share. It never travels, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkKey(Arc<[u8]>);

impl NetworkKey {
    /// The key of these bytes, without white space at their ends: a file's last newline is not
    /// part of it.
    ///
    /// # Errors
    /// There are fewer than 16.
    pub fn new(secret: &[u8]) -> Result<Self, NetworkKeyError> {
        let secret = secret.trim_ascii();
        if secret.len() < MIN_BYTES {
            return Err(NetworkKeyError::TooShort(secret.len()));
        }
        Ok(Self(secret.into()))
    }

    /// What the side that dialled (`Outbound`) or accepted (`Inbound`) says to prove that it knows
    /// the key: an HMAC over what only the two ends of this TLS channel know (RFC 9266 calls it
    /// `tls-exporter`), so that it is worth nothing on any other.
    #[must_use]
    pub fn proof(&self, binding: &[u8; 32], by: Direction) -> String {
        hex::encode(self.mac(binding, by).finalize().into_bytes())
    }

    /// Whether this is what the side that dialled or accepted would say. Takes the same time
    /// wherever it differs.
    #[must_use]
    pub fn verify(&self, binding: &[u8; 32], by: Direction, proof: &str) -> bool {
        let Ok(proof) = hex::decode(proof) else { return false };
        self.mac(binding, by).verify_slice(&proof).is_ok()
    }

    /// What this network can be called where others listen: those who have the key know it again, and to
    /// all others it says neither the network's name nor anything of the key. 32 digits, always the same.
    #[must_use]
    pub fn pseudonym(&self, network: &str) -> String {
        let mac = self.keyed().chain_update(PSEUDONYM).chain_update(network);
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        hex::encode(bytes.iter().take(16).copied().collect::<Vec<u8>>())
    }

    fn mac(&self, binding: &[u8; 32], by: Direction) -> Hmac<Sha256> {
        let role: &[u8] = match by {
            Direction::Outbound => b"dialler",
            Direction::Inbound => b"listener",
        };
        self.keyed().chain_update(LABEL).chain_update(role).chain_update(binding)
    }

    fn keyed(&self) -> Hmac<Sha256> {
        // A key of any length will do for HMAC, so nothing can fail here; were it otherwise, the
        // empty key would prove nothing to anybody who has the right one.
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        mac.unwrap_or_else(|_| Hmac::new(&Default::default()))
    }
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_channel_and_role_prove_membership() {
        let key = NetworkKey::new(b"0123456789abcdef\n").unwrap();
        let other = NetworkKey::new(b"0123456789abcdeg").unwrap();
        let proof = key.proof(&[1; 32], Direction::Outbound);
        assert!(key.verify(&[1; 32], Direction::Outbound, &proof));
        assert!(!key.verify(&[2; 32], Direction::Outbound, &proof));
        assert!(!key.verify(&[1; 32], Direction::Inbound, &proof));
        assert!(!other.verify(&[1; 32], Direction::Outbound, &proof));
        for nonsense in ["", "zz", &proof[2..], "é"] {
            assert!(!key.verify(&[1; 32], Direction::Outbound, nonsense));
        }
    }

    #[test]
    fn a_pseudonym_follows_from_the_key_and_the_name() {
        let key = NetworkKey::new(b"0123456789abcdef").unwrap();
        let other = NetworkKey::new(b"0123456789abcdeg").unwrap();
        let names = [key.pseudonym("a"), key.pseudonym("b"), other.pseudonym("a")];
        assert_eq!(names[0], key.pseudonym("a"));
        assert_eq!(names.each_ref().map(String::len), [32; 3]);
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        assert_eq!(NetworkKey::new(b" 0123456789abcde\n"), Err(NetworkKeyError::TooShort(15)));
        let key = NetworkKey::new(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{key:?}"), "NetworkKey(..)");
    }
}
