//! Who made a work: an Ed25519 key, written as `did:key`.
//!
//! Spec: <https://w3c-ccg.github.io/did-key-spec/>. Signatures cover a domain string and the
//! canonical bytes, so a signature on a manifest never passes for one on a card.

use std::{fmt, str::FromStr};

use crate::link::multibase;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Multicodec of an Ed25519 public key, as a varint.
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// Longest text taken for a `did:key`, in bytes; ours have 56.
const MAX_TEXT_LEN: usize = 128;

/// A creator's public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CreatorId([u8; 32]);

/// A text that is no Ed25519 `did:key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a did:key of an Ed25519 key; it should look like did:key:z6Mk…")]
pub struct CreatorIdError;

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A manifest without its signature.
    Manifest,
    /// A card without its signature.
    Card,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"sluice manifest v1\0",
            Self::Card => b"sluice card v1\0",
        }
    }
}

/// A creator's secret key.
pub struct CreatorKey(SigningKey);

impl CreatorKey {
    /// Takes 32 bytes from a cryptographic random source, or from a key file.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn id(&self) -> CreatorId {
        CreatorId(self.0.verifying_key().to_bytes())
    }

    /// Signs `body` for `domain`.
    pub fn sign(&self, domain: Domain, body: &[u8]) -> [u8; 64] {
        self.0.sign(&[domain.prefix(), body].concat()).to_bytes()
    }
}

impl fmt::Debug for CreatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreatorKey({})", self.id())
    }
}

impl CreatorId {
    /// The 32-byte public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is this creator's on `body` for `domain`. Weak keys and malleable
    /// signatures are refused.
    pub fn signed(&self, domain: Domain, body: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(
                &[domain.prefix(), body].concat(),
                &Signature::from_bytes(signature),
            )
            .is_ok()
        })
    }
}

impl fmt::Display for CreatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [ED25519_PUB.as_slice(), &self.0].concat();
        write!(f, "did:key:{}", multibase::base58(&key))
    }
}

impl fmt::Debug for CreatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CreatorId {
    type Err = CreatorIdError;

    fn from_str(text: &str) -> Result<Self, CreatorIdError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(CreatorIdError);
        }
        let encoded = text.strip_prefix("did:key:").ok_or(CreatorIdError)?;
        if !encoded.starts_with('z') {
            return Err(CreatorIdError);
        }
        let bytes = multibase::decode(encoded).ok_or(CreatorIdError)?;
        let key = bytes.strip_prefix(&ED25519_PUB).ok_or(CreatorIdError)?;
        key.try_into().map(Self).map_err(|_| CreatorIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn did_key_is_read_back() {
        let id = CreatorKey::from_seed(&[1; 32]).id();
        assert!(id.to_string().starts_with("did:key:z6Mk"));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_keys_and_texts_are_refused() {
        // secp256k1, from the did:key specification
        let foreign = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
        for text in ["", "did:key:", "did:web:example.org", foreign, "z6Mk"] {
            assert_eq!(text.parse::<CreatorId>(), Err(CreatorIdError), "{text}");
        }
    }

    #[test]
    fn a_signature_holds_for_its_domain_and_body_only() {
        let key = CreatorKey::from_seed(&[1; 32]);
        let signature = key.sign(Domain::Card, b"body");
        assert!(key.id().signed(Domain::Card, b"body", &signature));
        assert!(!key.id().signed(Domain::Manifest, b"body", &signature));
        assert!(!key.id().signed(Domain::Card, b"bodY", &signature));
    }
}
