//! Opens sealed chunks with the fastest cipher the browser has.
//!
//! WebCrypto's ChaCha20-Poly1305 where there is one (a non-extractable key, work off this thread),
//! else the crate that sealed them. Both give the same bytes; only the time differs.

use js_sys::{Object, Reflect, Uint8Array};
use sluice_core::seal::{Cipher, ContentKey, OpenError, Place};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto};

const ALGORITHM: &str = "ChaCha20-Poly1305";

/// A content key set up for opening.
pub struct Opener {
    platform: Option<(SubtleCrypto, CryptoKey)>,
    cipher: Cipher,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener(redacted)")
    }
}

impl Opener {
    /// Sets up `key`.
    pub async fn new(key: &ContentKey) -> Self {
        Self {
            platform: import(key).await,
            cipher: key.cipher(),
        }
    }

    /// Opens a chunk into a fresh buffer of this thread.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the bytes were not sealed by this key at this place.
    pub async fn open(&self, place: Place, mut sealed: Vec<u8>) -> Result<Uint8Array, OpenError> {
        if let Some((subtle, key)) = &self.platform {
            let plain = decrypt(subtle, key, place, &sealed).await;
            return plain.map_err(|_| OpenError(place));
        }
        self.cipher.open(place, &mut sealed)?;
        Ok(Uint8Array::from(sealed.as_slice()))
    }
}

async fn import(key: &ContentKey) -> Option<(SubtleCrypto, CryptoKey)> {
    let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).ok()?;
    let subtle = crypto.dyn_into::<web_sys::Crypto>().ok()?.subtle();
    let bytes = Uint8Array::from(key.expose().as_slice());
    let usages = js_sys::Array::of1(&"decrypt".into());
    // Browsers without the algorithm or the format reject: that is how we ask.
    let promise = subtle
        .import_key_with_str("raw-secret", &bytes, ALGORITHM, false, &usages)
        .ok()?;
    let key = JsFuture::from(promise).await.ok()?.dyn_into().ok()?;
    Some((subtle, key))
}

async fn decrypt(
    subtle: &SubtleCrypto,
    key: &CryptoKey,
    place: Place,
    sealed: &[u8],
) -> Result<Uint8Array, JsValue> {
    let algorithm = Object::new();
    let nonce = Uint8Array::from(place.nonce().as_slice());
    Reflect::set(&algorithm, &"name".into(), &ALGORITHM.into())?;
    Reflect::set(&algorithm, &"iv".into(), &nonce)?;
    // Buffers of WASM memory may move; hand over a copy.
    let copy = Uint8Array::from(sealed);
    let promise = subtle.decrypt_with_object_and_buffer_source(&algorithm, key, &copy)?;
    Ok(Uint8Array::new(&JsFuture::from(promise).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::{ChunkIndex, FileIndex};
    use wasm_bindgen_test::wasm_bindgen_test;

    const PLACE: Place = Place {
        file: FileIndex(1),
        chunk: ChunkIndex(2),
        last: true,
    };

    #[wasm_bindgen_test]
    async fn browser_and_crate_open_the_same() {
        let key = ContentKey::from_random([7; 32]);
        let mut sealed = b"moving pictures".to_vec();
        key.cipher().seal(PLACE, &mut sealed);
        let mut opener = Opener::new(&key).await;
        let by_browser = opener
            .open(PLACE, sealed.clone())
            .await
            .expect("opens")
            .to_vec();
        opener.platform = None;
        let by_crate = opener.open(PLACE, sealed).await.expect("opens").to_vec();
        assert_eq!(
            (by_browser.as_slice(), by_crate),
            (b"moving pictures".as_slice(), by_browser.clone())
        );
    }

    #[wasm_bindgen_test]
    async fn a_flipped_bit_does_not_open() {
        let key = ContentKey::from_random([7; 32]);
        let mut sealed = b"moving pictures".to_vec();
        key.cipher().seal(PLACE, &mut sealed);
        sealed[3] ^= 1;
        let opened = Opener::new(&key).await.open(PLACE, sealed).await;
        assert_eq!(opened.map(|bytes| bytes.to_vec()), Err(OpenError(PLACE)));
    }
}
