//! Canonical DAG-CBOR: one value, one encoding.
//!
//! The codec crate already refuses indefinite lengths, unsorted keys and long integers. Encoding
//! again and comparing catches whatever its strictness may ever miss (an absent field written as
//! null, say), so a block's hash names exactly one value.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes that are not the canonical encoding of a `T`.
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
    /// Not DAG-CBOR, or not the expected shape.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value is fine, but another encoding of it is the canonical one.
    #[error("not the canonical encoding")]
    NotCanonical,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value)
        .expect("our types hold only integers, strings, bytes, lists and string-keyed maps")
}

pub(crate) fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    max: usize,
) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong {
            len: bytes.len(),
            max,
        });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}
