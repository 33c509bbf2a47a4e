//! Sealing for the holder of a key: HPKE (RFC 9180) in base mode, with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and ChaCha20Poly1305.
//!
//! The X25519 key is the ed25519 key in its other form (the birational map of RFC 7748), so that who
//! knows a node's key can seal for it without asking for a second one. That one pair serves for both
//! is safe for these two schemes (Thormarker 2021, <https://eprint.iacr.org/2021/509>).

use std::convert::Infallible;

use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable,
    aead::{AeadTag, ChaCha20Poly1305},
    inout::InOutBuf,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256 as Kem,
    rand_core::{TryCryptoRng, TryRng},
    single_shot_open_inout_detached, single_shot_seal_inout_detached_with_rng,
};
use rand::{CryptoRng, RngCore};

use super::{NodeKey, PublicKey};

type EncappedKey = <Kem as hpke::Kem>::EncappedKey;
type Tag = AeadTag<ChaCha20Poly1305>;

/// The bytes of a key that travel before what is sealed.
const ENC: usize = 32;

/// The bytes of the tag behind it.
const TAG: usize = 16;

/// By how many bytes sealing makes a message longer.
pub const SEAL_OVERHEAD: usize = ENC + TAG;

impl PublicKey {
    /// Seals a message for the holder of this key: whoever opens it must know the same `info` (what
    /// kind of message it is) and `aad` (what it says in the open). Says nothing about who sealed
    /// it.
    ///
    /// None if the key is no key: not a point of the curve, or one of a small order.
    #[must_use]
    pub fn seal(
        &self,
        rng: &mut impl CryptoRng,
        info: &[u8],
        aad: &[u8],
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let key = <Kem as hpke::Kem>::PublicKey::from_bytes(&self.x25519()?).ok()?;
        let mut sealed = Vec::with_capacity(message.len() + SEAL_OVERHEAD);
        sealed.resize(ENC, 0);
        sealed.extend_from_slice(message);
        let (enc, text) = sealed.split_at_mut(ENC);
        let (encapped, tag) =
            single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
                &OpModeS::Base,
                &key,
                info,
                InOutBuf::from(text),
                aad,
                &mut Entropy(rng),
            )
            .ok()?;
        enc.copy_from_slice(&encapped.to_bytes());
        sealed.extend_from_slice(&tag.to_bytes());
        Some(sealed)
    }
}

impl NodeKey {
    /// Opens what was sealed for this key's public half with the same `info` and `aad`. None if it was
    /// not, or a single bit is another.
    #[must_use]
    pub fn open(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (enc, rest) = sealed.split_at_checked(ENC)?;
        let (text, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let key = <Kem as hpke::Kem>::PrivateKey::from_bytes(&self.x25519()).ok()?;
        let mut message = text.to_vec();
        single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &key,
            &EncappedKey::from_bytes(enc).ok()?,
            info,
            InOutBuf::from(&mut message[..]),
            aad,
            &Tag::from_bytes(tag).ok()?,
        )
        .ok()?;
        Some(message)
    }
}

/// A generator of ours as `hpke` wants it, which is one `rand_core` further on.
struct Entropy<'a, R>(&'a mut R);

impl<R: RngCore> TryRng for Entropy<'_, R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: CryptoRng> TryCryptoRng for Entropy<'_, R> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(seed: u64) -> NodeKey {
        NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn seal(to: &NodeKey, aad: &[u8], message: &[u8]) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        to.public().seal(&mut rng, b"test", aad, message).unwrap()
    }

    #[test]
    fn only_the_holder_of_the_key_opens_what_was_sealed_for_it() {
        let (key, other) = (key(1), key(2));
        let sealed = seal(&key, b"to", b"secret");
        assert_eq!(sealed.len(), 6 + SEAL_OVERHEAD);
        assert_eq!(key.open(b"test", b"to", &sealed).unwrap(), b"secret");
        assert_eq!(other.open(b"test", b"to", &sealed), None);
        assert_eq!(key.open(b"test", b"too", &sealed), None);
        assert_eq!(key.open(b"tes", b"to", &sealed), None);
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
    }

    #[test]
    fn every_altered_or_missing_byte_is_found_out() {
        let key = key(1);
        let sealed = seal(&key, b"", b"secret");
        for n in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[n] ^= 0x40;
            assert_eq!(key.open(b"test", b"", &altered), None, "byte {n}");
            assert_eq!(key.open(b"test", b"", &sealed[..n]), None, "{n} bytes");
        }
    }

    #[test]
    fn nothing_is_sealed_for_what_is_no_key() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        // The identity, which has the order one, and an ordinate without a point.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut nowhere = [0; 32];
        nowhere[0] = 2;
        for bytes in [identity, nowhere, [0; 32]] {
            let key = PublicKey::from_bytes(bytes);
            assert_eq!(key.seal(&mut rng, b"test", b"", b"secret"), None, "{bytes:?}");
        }
    }

    #[test]
    fn each_seal_is_another() {
        let key = key(1);
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut seal = || key.public().seal(&mut rng, b"test", b"", b"secret").unwrap();
        assert_ne!(seal()[..ENC], seal()[..ENC]);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_nothing_else_does(
            message in proptest::collection::vec(any::<u8>(), 0..300),
            noise in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let key = key(3);
            let sealed = seal(&key, b"aad", &message);
            prop_assert_eq!(key.open(b"test", b"aad", &sealed), Some(message));
            prop_assert_eq!(key.open(b"test", b"aad", &noise), None);
        }
    }
}
