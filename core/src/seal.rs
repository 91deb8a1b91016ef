//! Sealing and opening chunks.
//!
//! ChaCha20-Poly1305 ([RFC 8439]) under a random content key. The nonce is the chunk's place,
//! `file (u32 be) ‖ chunk (7 bytes be) ‖ last flag`, the STREAM construction as age uses it: a
//! chunk opens only where it was sealed, so reordering, truncation and mixing files fail.
//!
//! Sealing the same place twice under one key with different bytes would reveal both. Nothing
//! here can prevent that; the publisher takes a new key for every publish.
//!
//! [RFC 8439]: https://www.rfc-editor.org/rfc/rfc8439

use std::fmt;

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, Key, KeyInit, Nonce};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::chunk::{CHUNK_LEN, ChunkIndex, FileIndex};

/// BLAKE3 key derivation context of [`ContentKey::commitment`].
const COMMITMENT_CONTEXT: &str = "sluice 2026 key commitment v1";

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;

/// The place of a chunk in its work; becomes its nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: FileIndex,
    /// The chunk within the file.
    pub chunk: ChunkIndex,
    /// Whether it is the file's last chunk.
    pub last: bool,
}

impl Place {
    /// The 96-bit nonce of this place.
    ///
    /// # Panics
    ///
    /// If the chunk index needs more than seven bytes; no [`crate::chunk::Layout`] yields one.
    pub fn nonce(&self) -> [u8; NONCE_LEN] {
        assert!(self.chunk.0 < 1 << 56, "a layout bounds the chunk index");
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&self.file.0.to_be_bytes());
        nonce[4..11].copy_from_slice(&self.chunk.0.to_be_bytes()[1..]);
        nonce[11] = u8::from(self.last);
        nonce
    }
}

/// The 256-bit secret that opens a work's chunks.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ContentKey([u8; 32]);

/// What a manifest says of a key without telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

/// A sealed chunk that does not open here: other key, other place, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk {} of file {} does not open with this key", .0.chunk, .0.file)]
pub struct OpenError(pub Place);

impl ContentKey {
    /// Takes 32 bytes from a cryptographic random source, or from a manifest that tells them.
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for handing to a cipher outside this crate (WebCrypto).
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the manifest publishes about this key.
    pub fn commitment(&self) -> Commitment {
        Commitment(blake3::derive_key(COMMITMENT_CONTEXT, &self.0))
    }

    /// A cipher ready for many chunks.
    pub fn cipher(&self) -> Cipher {
        Cipher(ChaCha20Poly1305::new(Key::from_slice(&self.0)))
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(redacted)")
    }
}

impl Commitment {
    /// Takes 32 bytes that are a commitment already.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A [`ContentKey`] set up for sealing and opening.
#[derive(Clone)]
pub struct Cipher(ChaCha20Poly1305);

impl Cipher {
    /// Seals `chunk` in place; it grows by the tag.
    ///
    /// # Panics
    ///
    /// If the chunk is longer than [`CHUNK_LEN`]: a caller that cut it wrong.
    pub fn seal(&self, place: Place, chunk: &mut Vec<u8>) {
        assert!(
            chunk.len() as u64 <= CHUNK_LEN,
            "cut to the chunk length first"
        );
        self.0
            .encrypt_in_place(Nonce::from_slice(&place.nonce()), b"", chunk)
            .expect("a chunk is far below the cipher's limit, and a Vec grows");
    }

    /// Opens `chunk` in place; it shrinks by the tag.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the bytes were not sealed by this key at this place; `chunk` is then
    /// unspecified and must be dropped.
    pub fn open(&self, place: Place, chunk: &mut Vec<u8>) -> Result<(), OpenError> {
        self.0
            .decrypt_in_place(Nonce::from_slice(&place.nonce()), b"", chunk)
            .map_err(|_| OpenError(place))
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: ContentKey = ContentKey::from_random([7; 32]);

    fn place(file: u32, chunk: u64, last: bool) -> Place {
        Place {
            file: FileIndex(file),
            chunk: ChunkIndex(chunk),
            last,
        }
    }

    #[test]
    fn nonce_is_file_then_chunk_then_flag() {
        assert_eq!(
            place(0x01020304, 0x05060708090a0b, true).nonce(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1]
        );
    }

    #[test]
    fn opens_only_where_it_was_sealed() {
        let mut sealed = b"moving pictures".to_vec();
        KEY.cipher().seal(place(1, 2, false), &mut sealed);
        for wrong in [place(0, 2, false), place(1, 3, false), place(1, 2, true)] {
            let copy = &mut sealed.clone();
            assert_eq!(KEY.cipher().open(wrong, copy), Err(OpenError(wrong)));
        }
        let other = ContentKey::from_random([8; 32]);
        assert!(
            other
                .cipher()
                .open(place(1, 2, false), &mut sealed.clone())
                .is_err()
        );
    }

    #[test]
    fn debug_output_hides_the_key() {
        assert_eq!(
            format!("{KEY:?} {:?}", KEY.cipher()),
            "ContentKey(redacted) Cipher(redacted)"
        );
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(bytes in prop::collection::vec(any::<u8>(), 1..5000), chunk in 0u64..1 << 56) {
            let mut work = bytes.clone();
            KEY.cipher().seal(place(0, chunk, false), &mut work);
            prop_assert_eq!(work.len(), bytes.len() + 16);
            KEY.cipher().open(place(0, chunk, false), &mut work).expect("same place");
            prop_assert_eq!(work, bytes);
        }

        #[test]
        fn any_flipped_bit_is_noticed(bytes in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut work = bytes;
            KEY.cipher().seal(place(0, 0, true), &mut work);
            let at = at.index(work.len());
            work[at] ^= 1 << bit;
            prop_assert!(KEY.cipher().open(place(0, 0, true), &mut work).is_err());
        }
    }
}
