// SPDX-License-Identifier: Apache-2.0
//! The key that all members share: AES-256 in Galois/Counter Mode (NIST SP 800-38D). How the octets of MetalLB's secret become the
//! key is in the contract, section 3.4. Where nonces come from is the caller's business: none may ever be used twice.

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};

/// An AES-256 key, expanded. Its octets are never shown.
#[derive(Clone)]
pub struct Key(Arc<LessSafeKey>);

impl Key {
    /// Octets of a nonce.
    pub const NONCE: usize = 12;
    /// Octets that [`Key::seal`] adds.
    pub const TAG: usize = 16;

    /// The key that MetalLB makes of its secret: the first 32 octets of the content, followed by the SHA-256 of nothing.
    /// A content of 32 octets or more is cut, an empty one gives a key that everybody knows.
    #[must_use]
    pub fn from_secret(content: &[u8]) -> Self {
        let filling = digest(&SHA256, &[]);
        let mut octets = [0_u8; 32];
        for (to, from) in octets.iter_mut().zip(content.iter().chain(filling.as_ref())) {
            *to = *from;
        }
        Self::new(&octets)
    }

    /// The key of these octets.
    #[must_use]
    pub fn new(octets: &[u8; 32]) -> Self {
        match UnboundKey::new(&AES_256_GCM, octets) {
            Ok(key) => Self(Arc::new(LessSafeKey::new(key))),
            // The only error is a wrong length.
            Err(_) => unreachable!("AES-256 has keys of 32 octets"),
        }
    }

    /// Encrypts the buffer in place and appends the tag.
    pub fn seal(&self, nonce: [u8; Self::NONCE], associated: &[u8], buffer: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        if self.0.seal_in_place_append_tag(nonce, Aad::from(associated), buffer).is_err() {
            // Only for 64 GiB and more; nothing may leave in the clear.
            buffer.clear();
        }
    }

    /// Decrypts the buffer, which ends with the tag, in place. The length of the plaintext, which stands at the front, or `None`
    /// if the key, the nonce, the associated data or an octet is not as it was sealed; the buffer is spoilt then.
    pub fn open(
        &self,
        nonce: [u8; Self::NONCE],
        associated: &[u8],
        buffer: &mut [u8],
    ) -> Option<usize> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plaintext = self.0.open_in_place(nonce, Aad::from(associated), buffer).ok()?;
        Some(plaintext.len())
    }
}

/// The keys of a ring: one by which everything is sealed, and others by which what arrives may be sealed as well, while the key is being
/// changed.
#[derive(Clone, Debug)]
pub struct Keyring {
    sealing: Key,
    opening: Vec<Key>,
}

impl Keyring {
    /// Keys that are accepted besides that which seals, at most: each costs another trial for what no key opens.
    pub const OTHERS: usize = 2;

    /// Seals by the first key, and opens by any; of the others the first [`Keyring::OTHERS`] are taken.
    #[must_use]
    pub fn new(sealing: Key, others: impl IntoIterator<Item = Key>) -> Self {
        Self { sealing, opening: others.into_iter().take(Self::OTHERS).collect() }
    }

    /// As [`Key::seal`].
    pub fn seal(&self, nonce: [u8; Key::NONCE], associated: &[u8], buffer: &mut Vec<u8>) {
        self.sealing.seal(nonce, associated, buffer);
    }

    /// As [`Key::open`], by whichever key does.
    pub fn open(
        &self,
        nonce: [u8; Key::NONCE],
        associated: &[u8],
        buffer: &mut [u8],
    ) -> Option<usize> {
        let Some((last, others)) = self.opening.split_last() else {
            return self.sealing.open(nonce, associated, buffer);
        };
        // A trial in vain spoils what it is given.
        for key in std::iter::once(&self.sealing).chain(others) {
            let mut copy = buffer.to_vec();
            if let Some(length) = key.open(nonce, associated, &mut copy) {
                buffer.copy_from_slice(&copy);
                return Some(length);
            }
        }
        last.open(nonce, associated, buffer)
    }
}

impl From<Key> for Keyring {
    fn from(key: Key) -> Self {
        Self::new(key, [])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    const EMPTY_SHA256: [u8; 32] =
        hex!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

    fn sealed(key: &Key) -> Vec<u8> {
        let mut buffer = b"a message".to_vec();
        key.seal([7; 12], b"label", &mut buffer);
        buffer
    }

    #[test]
    fn the_secret_is_filled_up_with_the_digest_of_nothing() {
        let secret = b"abcdefghijklmnopqrstuv";
        let mut octets = [0; 32];
        octets[..22].copy_from_slice(secret);
        octets[22..].copy_from_slice(&EMPTY_SHA256[..10]);
        assert_eq!(sealed(&Key::from_secret(secret)), sealed(&Key::new(&octets)));
        assert_eq!(sealed(&Key::from_secret(b"")), sealed(&Key::new(&EMPTY_SHA256)));
        assert_eq!(sealed(&Key::from_secret(&[9; 40])), sealed(&Key::new(&[9; 32])));
        assert_ne!(sealed(&Key::from_secret(secret)), sealed(&Key::from_secret(&secret[1..])));
    }

    #[test]
    fn only_what_was_sealed_is_opened() {
        let key = Key::from_secret(b"a secret");
        let whole = sealed(&key);
        assert_eq!(whole.len(), 9 + Key::TAG);
        let mut buffer = whole.clone();
        assert_eq!(key.open([7; 12], b"label", &mut buffer), Some(9));
        assert_eq!(&buffer[..9], b"a message");
        assert_eq!(key.open([8; 12], b"label", &mut whole.clone()), None);
        assert_eq!(key.open([7; 12], b"", &mut whole.clone()), None);
        assert_eq!(Key::new(&[0; 32]).open([7; 12], b"label", &mut whole.clone()), None);
        assert_eq!(key.open([7; 12], b"label", &mut whole[..15].to_vec()), None);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(key.open([7; 12], b"label", &mut changed), None);
        }
    }

    #[test]
    fn a_ring_of_keys_seals_by_the_first_and_opens_by_each() {
        let [old, new, other] = [b"old", b"new", b"oth"].map(|secret| Key::from_secret(secret));
        let both = Keyring::new(new.clone(), [old.clone()]);
        for keys in [&both, &Keyring::new(old.clone(), [new.clone()]), &Keyring::from(new.clone())]
        {
            let mut buffer = sealed(&new);
            assert_eq!(keys.open([7; 12], b"label", &mut buffer), Some(9));
            assert_eq!(&buffer[..9], b"a message");
            assert_eq!(keys.open([7; 12], b"label", &mut sealed(&other)), None);
        }
        assert_eq!(both.open([7; 12], b"label", &mut sealed(&old)), Some(9));
        let mut buffer = b"a message".to_vec();
        both.seal([7; 12], b"label", &mut buffer);
        assert_eq!(buffer, sealed(&new));
        let many = Keyring::new(new, [other.clone(), other, old.clone()]);
        assert_eq!(many.open([7; 12], b"label", &mut sealed(&old)), None, "there is a bound");
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", Key::new(&[1; 32])), "Key(..)");
    }
}
