//! Hash pages: the links to a file's chunks, at most 1,024 to a page.
//!
//! A page is a DAG-CBOR array of CIDs of raw blocks. The manifest links each page, so starting to
//! play costs one manifest and one page, whatever the length of the film.

use crate::{
    canonical::{self, Writer},
    chunk::PAGE_LINKS,
    link::{Codec, Digest, Link},
};

pub use crate::canonical::CodecError;

/// Bytes of one link within a page: tag, byte string header and CID.
const LINK_LEN: usize = 41;

/// [`PAGE_LINKS`], as a length in memory.
const MAX_LINKS: usize = 1024;

const _: () = assert!(MAX_LINKS as u64 == PAGE_LINKS);

/// Longest encoded page, in bytes.
pub const MAX_PAGE_LEN: usize = 3 + MAX_LINKS * LINK_LEN;

/// The digests of consecutive chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPage(Vec<Digest>);

/// Bytes that are not the hash page they should be.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Not canonical DAG-CBOR of links.
    #[error("hash page is not well-formed")]
    Codec(#[from] CodecError),
    /// A link to something else than a raw block.
    #[error("hash page links something else than a raw block")]
    NotRaw,
    /// More or fewer links than the file's length asks for.
    #[error("hash page has {got} links, not {want}")]
    Count {
        /// Links found.
        got: usize,
        /// Links the file's length asks for.
        want: usize,
    },
}

impl HashPage {
    /// A page of these chunk digests.
    ///
    /// # Panics
    ///
    /// If there are none, or more than [`PAGE_LINKS`].
    pub fn new(chunks: Vec<Digest>) -> Self {
        assert!(
            (1..=MAX_LINKS).contains(&chunks.len()),
            "a page holds 1 to 1,024 links"
        );
        Self(chunks)
    }

    /// Reads a page that must hold exactly `want` links.
    ///
    /// # Errors
    ///
    /// [`PageError`] if it is malformed, not canonical, or of another length.
    pub fn decode(bytes: &[u8], want: usize) -> Result<Self, PageError> {
        let links = canonical::decode(
            bytes,
            MAX_PAGE_LEN,
            |reader| {
                (0..reader.list()?)
                    .map(|_| reader.link())
                    .collect::<Result<Vec<_>, _>>()
            },
            |links| write(links),
        )?;
        if links.len() != want || want == 0 {
            return Err(PageError::Count {
                got: links.len(),
                want,
            });
        }
        links
            .into_iter()
            .map(|link| match link.codec {
                Codec::Raw => Ok(link.digest),
                Codec::DagCbor => Err(PageError::NotRaw),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The block's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let links: Vec<Link> = self.0.iter().map(|digest| digest.raw()).collect();
        write(&links)
    }

    /// The digest at a position on the page.
    pub fn get(&self, position: usize) -> Option<Digest> {
        self.0.get(position).copied()
    }

    /// All digests, in order.
    pub fn digests(&self) -> &[Digest] {
        &self.0
    }
}

fn write(links: &[Link]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.list(links.len());
    for link in links {
        writer.link(*link);
    }
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(count: u64) -> HashPage {
        HashPage::new((0..count).map(|n| Digest::of(&n.to_be_bytes())).collect())
    }

    #[test]
    fn a_full_page_has_the_longest_encoding() {
        assert_eq!(page(PAGE_LINKS).encode().len(), MAX_PAGE_LEN);
    }

    #[test]
    fn a_page_of_another_length_is_refused() {
        let bytes = page(3).encode();
        assert!(matches!(
            HashPage::decode(&bytes, 2),
            Err(PageError::Count { got: 3, want: 2 })
        ));
        assert!(matches!(
            HashPage::decode(&[0x80], 0),
            Err(PageError::Count { .. })
        ));
    }

    #[test]
    fn links_to_structured_blocks_are_refused() {
        let bytes = write(&[Digest::of(b"x").dag_cbor()]);
        assert!(matches!(
            HashPage::decode(&bytes, 1),
            Err(PageError::NotRaw)
        ));
    }

    proptest! {
        #[test]
        fn a_page_is_read_back(count in 1u16..=64) {
            let page = page(count.into());
            let read = HashPage::decode(&page.encode(), count.into());
            prop_assert_eq!(read.expect("own encoding"), page);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), want in 0usize..10) {
            let _ = HashPage::decode(&bytes, want);
        }

        #[test]
        fn changed_bytes_never_read_as_the_same_page(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = page(5).encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(HashPage::decode(&bytes, 5).map_or(true, |read| read != page(5)));
        }
    }
}
