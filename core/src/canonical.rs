//! Canonical DAG-CBOR: one value, one encoding.
//!
//! A block's hash must name exactly one value, so a decoder here reads fields in the one order
//! there is and then encodes what it read: bytes that differ were not canonical, whatever made
//! them so. Spec: <https://ipld.io/specs/codecs/dag-cbor/spec/>.
//!
//! Why not serde? Its generated visitors for these few maps were a fifth of the service worker,
//! which must be loaded before the first frame; `minicbor` reads and writes the items, and the
//! maps are spelled out beside the types. Vectors hold them to other implementations.

use minicbor::{
    Decoder, Encoder,
    data::{Tag, Type},
};

use crate::link::Link;

/// CBOR tag of a CID.
const CID_TAG: Tag = Tag::new(42);

/// Bytes that are not the canonical encoding of what they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than the format allows; nothing was parsed.
    #[error("{len} bytes, more than the {max} allowed")]
    TooLong {
        /// What came.
        len: usize,
        /// What may come.
        max: usize,
    },
    /// Not DAG-CBOR, or not the expected shape; the field where reading stopped.
    #[error("malformed at {0}")]
    Malformed(&'static str),
    /// A version of the format this code does not know.
    #[error("version {0}; this program reads version 1, so update it")]
    Version(u64),
    /// The value is fine, but another encoding of it is the canonical one.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Reads at most `max` bytes with `read` and checks that `write` makes the same bytes again.
pub(crate) fn decode<T>(
    bytes: &[u8],
    max: usize,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, CodecError>,
    write: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong {
            len: bytes.len(),
            max,
        });
    }
    let value = read(&mut Reader(Decoder::new(bytes)))?;
    if write(&value) == bytes {
        Ok(value)
    } else {
        Err(CodecError::NotCanonical)
    }
}

/// Writes items one after the other. The caller keeps DAG-CBOR's key order: shorter keys first,
/// then bytewise.
pub(crate) struct Writer(Encoder<Vec<u8>>);

/// Why a write cannot fail.
const TO_MEMORY: &str = "writing to memory cannot fail";

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_writer()
    }

    pub(crate) fn map(&mut self, fields: u64) -> &mut Self {
        self.0.map(fields).expect(TO_MEMORY);
        self
    }

    pub(crate) fn list(&mut self, len: usize) -> &mut Self {
        self.0.array(len as u64).expect(TO_MEMORY);
        self
    }

    pub(crate) fn key(&mut self, key: &'static str) -> &mut Self {
        self.text(key)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.0.str(text).expect(TO_MEMORY);
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.bytes(bytes).expect(TO_MEMORY);
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.u64(number).expect(TO_MEMORY);
        self
    }

    pub(crate) fn flag(&mut self, flag: bool) -> &mut Self {
        self.0.bool(flag).expect(TO_MEMORY);
        self
    }

    pub(crate) fn link(&mut self, link: Link) -> &mut Self {
        // The zero byte is multibase's "no base": https://github.com/ipld/cid-cbor
        let bytes = [&[0], link.to_bytes().as_slice()].concat();
        self.0.tag(CID_TAG).expect(TO_MEMORY);
        self.bytes(&bytes)
    }
}

/// Reads items one after the other. Counts and lengths need no trust: [`decode`] compares the
/// whole encoding in the end, and nothing is allocated by an announced length.
pub(crate) struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    pub(crate) fn map(&mut self) -> Result<(), CodecError> {
        self.0
            .map()
            .map(|_| ())
            .map_err(|_| CodecError::Malformed("a map"))
    }

    /// The number of items of a list.
    pub(crate) fn list(&mut self) -> Result<u64, CodecError> {
        let len = self.0.array().ok().flatten();
        len.ok_or(CodecError::Malformed("a list"))
    }

    /// The next key, which must be this one.
    pub(crate) fn key(&mut self, key: &'static str) -> Result<&mut Self, CodecError> {
        if self.optional(key) {
            Ok(self)
        } else {
            Err(CodecError::Malformed(key))
        }
    }

    /// Takes the next key if it is this one.
    pub(crate) fn optional(&mut self, key: &'static str) -> bool {
        let mut ahead = self.0.probe();
        let found = ahead.datatype().is_ok_and(|kind| kind == Type::String)
            && ahead.str().is_ok_and(|text| text == key);
        // What was probed is a string, so skipping it cannot fail.
        found && self.0.skip().is_ok()
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, CodecError> {
        self.0.str().map_err(|_| CodecError::Malformed("a text"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        self.0.bytes().map_err(|_| CodecError::Malformed("bytes"))
    }

    /// Exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let bytes = self.bytes()?;
        bytes
            .try_into()
            .map_err(|_| CodecError::Malformed("bytes of a fixed length"))
    }

    pub(crate) fn number(&mut self) -> Result<u64, CodecError> {
        self.0.u64().map_err(|_| CodecError::Malformed("a number"))
    }

    /// The version number every block of ours begins with.
    pub(crate) fn version(&mut self, known: u32) -> Result<(), CodecError> {
        match self.key("v")?.number()? {
            version if version == u64::from(known) => Ok(()),
            other => Err(CodecError::Version(other)),
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, CodecError> {
        self.0.bool().map_err(|_| CodecError::Malformed("a flag"))
    }

    pub(crate) fn link(&mut self) -> Result<Link, CodecError> {
        let malformed = || CodecError::Malformed("a link");
        if self.0.tag().map_err(|_| malformed())? != CID_TAG {
            return Err(malformed());
        }
        let cid = self.bytes()?.strip_prefix(&[0]).ok_or_else(malformed)?;
        Link::from_bytes(cid).map_err(|_| malformed())
    }
}
