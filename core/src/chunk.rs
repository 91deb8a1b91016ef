//! How a file is cut into chunks, and how chunks are grouped into hash pages.
//!
//! Pure arithmetic on a plaintext length. A [`Layout`] exists only for lengths the format allows,
//! so none of its answers can overflow.

use minicbor::{Decode, Encode};

use crate::range::ByteSpan;

/// Plaintext bytes per chunk: 256 KiB. Part of the format; the last chunk may be shorter.
pub const CHUNK_LEN: u64 = 256 * 1024;

/// Bytes sealing adds to a chunk: one Poly1305 tag.
pub const SEAL_OVERHEAD: u64 = 16;

/// Most chunk links one hash page holds: 256 MiB of media per page.
pub const PAGE_LINKS: u64 = 1024;

/// Longest file, in plaintext bytes: 1 TiB. Keeps the page list of a manifest within one block.
pub const MAX_FILE_LEN: u64 = 1 << 40;

// The nonce has seven bytes for the chunk index.
const _: () = assert!(MAX_FILE_LEN / CHUNK_LEN < 1 << 56);

/// The position of a file in its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct FileIndex(#[n(0)] pub u32);

/// The position of a chunk in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ChunkIndex(#[n(0)] pub u64);

impl std::fmt::Display for FileIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A file length the format does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    /// Nothing to watch and nothing to seal.
    #[error("the file is empty")]
    Empty,
    /// Past [`MAX_FILE_LEN`].
    #[error("the file has {0} bytes, more than the 1 TiB a work's file may have")]
    TooLong(u64),
}

/// A part of one chunk's plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The chunk.
    pub chunk: ChunkIndex,
    /// First byte within the chunk's plaintext.
    pub start: usize,
    /// First byte past the part; never more than the chunk's length.
    pub end: usize,
}

/// The chunks and pages of a file of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    len: u64,
}

impl Layout {
    /// The layout of a file of `len` plaintext bytes.
    ///
    /// # Errors
    ///
    /// [`LengthError`] for an empty file or one past [`MAX_FILE_LEN`].
    pub const fn new(len: u64) -> Result<Self, LengthError> {
        match len {
            0 => Err(LengthError::Empty),
            len if len > MAX_FILE_LEN => Err(LengthError::TooLong(len)),
            len => Ok(Self { len }),
        }
    }

    /// Plaintext bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Always false: an empty file has no layout.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Number of chunks, at least one.
    pub const fn chunks(&self) -> u64 {
        self.len.div_ceil(CHUNK_LEN)
    }

    /// Number of hash pages, at least one.
    pub const fn pages(&self) -> u64 {
        self.chunks().div_ceil(PAGE_LINKS)
    }

    /// Whether the file has such a chunk.
    pub const fn contains(&self, chunk: ChunkIndex) -> bool {
        chunk.0 < self.chunks()
    }

    /// Whether this is the file's last chunk.
    pub const fn is_last(&self, chunk: ChunkIndex) -> bool {
        chunk.0 + 1 == self.chunks()
    }

    /// Plaintext bytes of a chunk; 0 past the end.
    pub const fn plain_len(&self, chunk: ChunkIndex) -> u64 {
        if self.is_last(chunk) {
            self.len - chunk.0 * CHUNK_LEN
        } else if self.contains(chunk) {
            CHUNK_LEN
        } else {
            0
        }
    }

    /// Bytes of the sealed chunk; 0 past the end.
    pub const fn sealed_len(&self, chunk: ChunkIndex) -> u64 {
        match self.plain_len(chunk) {
            0 => 0,
            plain => plain + SEAL_OVERHEAD,
        }
    }

    /// Number of links on page `page`; 0 past the end.
    pub const fn links_on(&self, page: u64) -> u64 {
        let first = page.saturating_mul(PAGE_LINKS);
        let left = self.chunks().saturating_sub(first);
        if left < PAGE_LINKS { left } else { PAGE_LINKS }
    }

    /// The pieces of chunks that make up `span`, in order.
    ///
    /// A span past the end of this file yields only what exists.
    pub fn pieces(&self, span: ByteSpan) -> impl Iterator<Item = Piece> + use<> {
        let last_byte = span.last.min(self.len - 1);
        let first_chunk = span.first / CHUNK_LEN;
        let end_chunk = if span.first > last_byte {
            first_chunk
        } else {
            last_byte / CHUNK_LEN + 1
        };
        (first_chunk..end_chunk).map(move |index| {
            let base = index * CHUNK_LEN;
            Piece {
                chunk: ChunkIndex(index),
                start: offset_in_chunk(span.first.saturating_sub(base)),
                end: offset_in_chunk((last_byte + 1 - base).min(CHUNK_LEN)),
            }
        })
    }
}

fn offset_in_chunk(offset: u64) -> usize {
    usize::try_from(offset).expect("a chunk's length fits 32 bits")
}

/// Where a chunk's link stands: (page, position on the page).
pub fn page_of(chunk: ChunkIndex) -> (u64, usize) {
    let position = usize::try_from(chunk.0 % PAGE_LINKS).expect("less than 1,024");
    (chunk.0 / PAGE_LINKS, position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn layout(len: u64) -> Layout {
        Layout::new(len).expect("allowed length")
    }

    #[test]
    fn chunk_counts_turn_at_the_boundary() {
        #[track_caller]
        fn check(len: u64, chunks: u64, last_len: u64) {
            let layout = layout(len);
            assert_eq!(layout.chunks(), chunks, "{len}");
            assert_eq!(layout.plain_len(ChunkIndex(chunks - 1)), last_len, "{len}");
            assert_eq!(layout.plain_len(ChunkIndex(chunks)), 0, "{len}");
        }
        check(1, 1, 1);
        check(3, 1, 3);
        check(CHUNK_LEN - 1, 1, CHUNK_LEN - 1);
        check(CHUNK_LEN, 1, CHUNK_LEN);
        check(CHUNK_LEN + 1, 2, 1);
    }

    #[test]
    fn pages_turn_at_1024_chunks() {
        assert_eq!(layout(CHUNK_LEN * PAGE_LINKS).pages(), 1);
        let longer = layout(CHUNK_LEN * PAGE_LINKS + 1);
        assert_eq!(
            (longer.pages(), longer.links_on(0), longer.links_on(1)),
            (2, 1024, 1)
        );
        assert_eq!(longer.links_on(2), 0);
        assert_eq!(page_of(ChunkIndex(1024)), (1, 0));
    }

    #[test]
    fn empty_and_endless_files_have_no_layout() {
        assert_eq!(Layout::new(0), Err(LengthError::Empty));
        assert_eq!(
            Layout::new(MAX_FILE_LEN + 1),
            Err(LengthError::TooLong(MAX_FILE_LEN + 1))
        );
    }

    proptest! {
        #[test]
        fn pieces_cover_the_span_without_gap_or_overlap(
            len in 1u64..2_000_000, a in 0u64..2_000_000, b in 0u64..2_000_000,
        ) {
            let span = ByteSpan { first: a.min(b).min(len - 1), last: a.max(b).min(len - 1) };
            let mut at = span.first;
            for piece in layout(len).pieces(span) {
                prop_assert_eq!(piece.chunk.0 * CHUNK_LEN + piece.start as u64, at);
                prop_assert!(piece.start < piece.end);
                prop_assert!(piece.end as u64 <= layout(len).plain_len(piece.chunk));
                at += (piece.end - piece.start) as u64;
            }
            prop_assert_eq!(at, span.last + 1);
        }
    }
}
