//! Digests and content identifiers.
//!
//! Everything Sluice stores is named by the BLAKE3-256 of its bytes and written as a CIDv1, so any
//! IPFS tool with a BLAKE3 hasher reads our blocks. A [`Link`] is one such CID; a [`ContentId`] is
//! the link of a manifest. Parsing takes the spellings people paste (base 16, 32, 36, 58, 64), because
//! links come from people.

pub(crate) mod multibase;

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Multicodec of BLAKE3 (<https://github.com/multiformats/multicodec>).
const BLAKE3: u64 = 0x1e;
const BLAKE3_BYTE: u8 = 0x1e;

/// Longest text taken for a CID, in bytes. The longest spelling of ours (base 16) has 73.
const MAX_TEXT_LEN: usize = 128;

/// Bytes of our CIDs: version, codec, hash, hash length, and the hash.
const CID_LEN: usize = 4 + 32;

/// The BLAKE3-256 of a block's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Digest(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Takes 32 bytes that are a digest already.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `bytes` are the block this digest names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        // `blake3::Hash` compares in constant time; a public digest does not need that.
        Self::of(bytes) == *self
    }

    /// The CID of a raw block with this digest.
    pub const fn raw(self) -> Link {
        Link {
            codec: Codec::Raw,
            digest: self,
        }
    }

    /// The CID of a DAG-CBOR block with this digest.
    pub const fn dag_cbor(self) -> Link {
        Link {
            codec: Codec::DagCbor,
            digest: self,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// How a block's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Bytes without structure: sealed chunks and posters.
    Raw,
    /// Canonical DAG-CBOR: manifests, cards, hash pages, keyboxes.
    DagCbor,
}

impl Codec {
    const fn byte(self) -> u8 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }

    fn code(self) -> u64 {
        self.byte().into()
    }
}

/// A CIDv1 with a BLAKE3-256 multihash and one of our two codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// How the block is to be read.
    pub codec: Codec,
    /// What its bytes hash to.
    pub digest: Digest,
}

/// A text or CID that names no block of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not a CID in any spelling.
    #[error("not a content identifier; it should look like bafyr4i…")]
    Malformed,
    /// A CID of another codec than raw or DAG-CBOR.
    #[error("codec 0x{0:x} is not one Sluice uses (raw or dag-cbor)")]
    Codec(u64),
    /// A CID of another hash than BLAKE3-256.
    #[error("hash 0x{0:x} is not BLAKE3-256")]
    Hash(u64),
    /// A raw block where a work was expected.
    #[error("this names a raw block, not a work; a work's id starts with bafyr4i")]
    NotAWork,
}

impl Link {
    /// The CID's bytes. Our codecs and hash all fit one varint byte.
    pub(crate) fn to_bytes(self) -> [u8; CID_LEN] {
        let mut bytes = [0; CID_LEN];
        bytes[..4].copy_from_slice(&[1, self.codec.byte(), BLAKE3_BYTE, 32]);
        bytes[4..].copy_from_slice(self.digest.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, LinkError> {
        let mut varint = || read_varint(&mut bytes).ok_or(LinkError::Malformed);
        let (version, codec, hash, len) = (varint()?, varint()?, varint()?, varint()?);
        if version != 1 {
            return Err(LinkError::Malformed);
        }
        let known = [Codec::Raw, Codec::DagCbor]
            .into_iter()
            .find(|known| known.code() == codec);
        let codec = known.ok_or(LinkError::Codec(codec))?;
        match (hash, len, <[u8; 32]>::try_from(bytes)) {
            (BLAKE3, 32, Ok(bytes)) => Ok(Self {
                codec,
                digest: Digest(bytes),
            }),
            (BLAKE3, ..) => Err(LinkError::Malformed),
            (other, ..) => Err(LinkError::Hash(other)),
        }
    }
}

/// Reads an unsigned varint of at most 64 bits in its shortest form.
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (shift == 0 || *byte != 0).then_some(value);
        }
    }
    None
}

impl FromStr for Link {
    type Err = LinkError;

    /// Parses the CID in base 16, 32, 36, 58 or 64.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(LinkError::Malformed);
        }
        // A version 0 CID has no prefix; it is always dag-pb with SHA-256.
        if text.starts_with("Qm") && text.len() == 46 {
            return Err(LinkError::Codec(0x70));
        }
        Self::from_bytes(&multibase::decode(text).ok_or(LinkError::Malformed)?)
    }
}

impl fmt::Display for Link {
    /// Base 32, lower case: the one spelling we print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&multibase::base32(&self.to_bytes()))
    }
}

/// As text; blocks write links as CBOR tags instead.
impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The identity of a work: the digest of its manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ContentId(#[n(0)] pub Digest);

impl ContentId {
    /// The identity of the work with this manifest.
    pub fn of_manifest(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// The manifest's CID.
    pub const fn link(self) -> Link {
        self.0.dag_cbor()
    }
}

impl FromStr for ContentId {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let link: Link = text.parse()?;
        match link.codec {
            Codec::DagCbor => Ok(Self(link.digest)),
            Codec::Raw => Err(LinkError::NotAWork),
        }
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link().fmt(f)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipld_core::cid::{Cid, multibase::Base};

    fn sample() -> Link {
        Digest::of(b"sluice").dag_cbor()
    }

    #[test]
    fn every_spelling_people_paste_is_the_same_link() {
        for base in [
            Base::Base16Lower,
            Base::Base16Upper,
            Base::Base32Lower,
            Base::Base32Upper,
            Base::Base36Lower,
            Base::Base58Btc,
            Base::Base64Url,
        ] {
            let text = ipld_core::cid::multibase::encode(base, sample().to_bytes());
            assert_eq!(text.parse(), Ok(sample()), "{text}");
        }
    }

    #[test]
    fn the_cid_crate_prints_the_same() {
        let cid = Cid::try_from(sample().to_bytes().as_slice()).expect("a CID");
        assert_eq!(cid.to_string(), sample().to_string());
    }

    #[test]
    fn printed_in_lower_case_base_32() {
        assert!(sample().to_string().starts_with("bafyr4i"));
        assert!(sample().digest.raw().to_string().starts_with("bafkr4i"));
    }

    #[test]
    fn foreign_hashes_codecs_paths_and_noise_are_refused() {
        #[track_caller]
        fn check(text: &str, want: LinkError) {
            assert_eq!(text.parse::<Link>(), Err(want), "{text}");
        }
        check("", LinkError::Malformed);
        check("hello", LinkError::Malformed);
        check(&"b".repeat(100_000), LinkError::Malformed);
        check(&format!("/ipfs/{}", sample()), LinkError::Malformed);
        // CIDv0 is dag-pb with SHA-256.
        check(
            "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
            LinkError::Codec(0x70),
        );
        // raw, SHA-256, of an empty block
        check(
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            LinkError::Hash(0x12),
        );
    }

    #[test]
    fn a_raw_block_is_not_a_work() {
        let raw = sample().digest.raw().to_string();
        assert_eq!(raw.parse::<ContentId>(), Err(LinkError::NotAWork));
    }
}
