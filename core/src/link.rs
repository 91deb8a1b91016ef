//! Digests and content identifiers.
//!
//! Everything Sluice stores is named by the BLAKE3-256 of its bytes and written as a CIDv1, so any
//! IPFS tool with a BLAKE3 hasher reads our blocks. A [`Link`] is one such CID; a [`ContentId`] is
//! the link of a manifest. Parsing takes every multibase spelling, because links come from people.

use std::{fmt, str::FromStr};

use ipld_core::cid::{Cid, multihash::Multihash};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Multicodec of BLAKE3 (<https://github.com/multiformats/multicodec>).
const BLAKE3: u64 = 0x1e;
const RAW: u64 = 0x55;
const DAG_CBOR: u64 = 0x71;

/// Longest text taken for a CID, in bytes. The longest spelling of ours (base 2) has 290.
const MAX_TEXT_LEN: usize = 320;

/// The BLAKE3-256 of a block's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "serde_bytes")] [u8; 32]);

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
    fn to_cid(self) -> Cid {
        let codec = match self.codec {
            Codec::Raw => RAW,
            Codec::DagCbor => DAG_CBOR,
        };
        let hash = Multihash::wrap(BLAKE3, self.digest.as_bytes())
            .expect("32 bytes fit a 64-byte multihash");
        Cid::new_v1(codec, hash)
    }

    fn from_cid(cid: &Cid) -> Result<Self, LinkError> {
        let codec = match cid.codec() {
            RAW => Codec::Raw,
            DAG_CBOR => Codec::DagCbor,
            other => return Err(LinkError::Codec(other)),
        };
        match (cid.hash().code(), <[u8; 32]>::try_from(cid.hash().digest())) {
            (BLAKE3, Ok(bytes)) => Ok(Self {
                codec,
                digest: Digest(bytes),
            }),
            (code, _) => Err(LinkError::Hash(code)),
        }
    }
}

impl FromStr for Link {
    type Err = LinkError;

    /// Parses any multibase spelling of the CID.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(LinkError::Malformed);
        }
        // `Cid` also strips "/ipfs/" prefixes; a path is not an id here.
        if text.contains('/') {
            return Err(LinkError::Malformed);
        }
        Cid::try_from(text)
            .map_err(|_| LinkError::Malformed)
            .and_then(|cid| Self::from_cid(&cid))
    }
}

impl fmt::Display for Link {
    /// Base 32, lower case: the one spelling we print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_cid().fmt(f)
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        self.to_cid()
            .serialize(serializer)
            .map_err(ser::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?
                .parse()
                .map_err(de::Error::custom);
        }
        Cid::deserialize(deserializer)
            .and_then(|cid| Self::from_cid(&cid).map_err(de::Error::custom))
    }
}

/// The identity of a work: the digest of its manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(pub Digest);

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
    use ipld_core::cid::multibase::Base;

    fn sample() -> Link {
        Digest::of(b"sluice").dag_cbor()
    }

    #[test]
    fn every_multibase_spelling_is_the_same_link() {
        for base in [
            Base::Base2,
            Base::Base16Lower,
            Base::Base16Upper,
            Base::Base32Lower,
            Base::Base32Upper,
            Base::Base36Lower,
            Base::Base58Btc,
            Base::Base64Url,
        ] {
            let text = sample()
                .to_cid()
                .to_string_of_base(base)
                .expect("v1 takes any base");
            assert_eq!(text.parse(), Ok(sample()), "{text}");
        }
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
