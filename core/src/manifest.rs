//! The manifest: what a work is made of. It never changes, and its hash is the work's identity.
//!
//! A [`Manifest`] value is always canonical and within every limit. It is signed by its creator
//! too, unless it came from [`Manifest::decode_unattributed`], whose callers name no creator.

mod codec;

use self::codec::Encoded;
use crate::{
    UnixMillis, canonical,
    chunk::{FileIndex, Layout, LengthError},
    creator::{CreatorId, CreatorKey, Domain},
    link::{Codec, ContentId, Link},
    media::MediaType,
    path::FilePath,
    seal::{Commitment, ContentKey},
};

pub use crate::canonical::CodecError;

/// Format version this code reads and writes.
pub const VERSION: u32 = 1;

/// Most files in a work.
pub const MAX_FILES: usize = 256;

/// Longest manifest, in bytes: it must fit one frame of the chunk protocol.
pub const MAX_MANIFEST_LEN: usize = 256 * 1024;

/// One file of a work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path within the work.
    pub path: FilePath,
    /// Its media type.
    pub media: MediaType,
    /// Plaintext length in bytes, at least 1.
    pub len: u64,
    /// Which of the manifest's keys seals it.
    pub key: u32,
    /// Its hash pages, in order.
    pub pages: Vec<Link>,
}

impl FileEntry {
    /// The file's chunks and pages.
    pub fn layout(&self) -> Layout {
        Layout::new(self.len).expect("a manifest's lengths were checked")
    }
}

/// Who may watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Everybody: the keys stand here, one for each commitment.
    Free(Vec<ContentKey>),
    /// Holders of a right on a chain.
    Right(Right),
}

/// Where a right is looked up: `rightOf(workId, account)` of a resolver contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// EIP-155 chain id.
    pub chain: u64,
    /// The resolver contract's address.
    pub resolver: [u8; 20],
}

/// What a manifest says, before its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// When the work was made, by its creator's clock.
    pub created: UnixMillis,
    /// The files, at least one.
    pub files: Vec<FileEntry>,
    /// Commitments to the content keys; version 1 has exactly one.
    pub keys: Vec<Commitment>,
    /// Who may watch.
    pub policy: Policy,
    /// The creator's account on the chain; present exactly for paid works.
    pub account: Option<[u8; 20]>,
}

/// A checked, signed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    contents: Contents,
    creator: CreatorId,
    bytes: Vec<u8>,
}

/// Bytes or contents that are no valid manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not canonical DAG-CBOR of the manifest's shape; unknown media types and paths among it.
    #[error("manifest is not well-formed: {0}")]
    Codec(#[from] CodecError),
    /// No file, or more than [`MAX_FILES`].
    #[error("a work has 1 to 256 files, not {0}")]
    FileCount(usize),
    /// Two files with one path, or one path inside another.
    #[error("{0} stands in the way of another file of the work")]
    PathClash(FilePath),
    /// A name whose ending is not the media type's: what a manifest calls a film must not be a
    /// script on somebody's disk.
    #[error("{0} is not called what its media type is called")]
    Ending(FilePath),
    /// A length the format does not allow.
    #[error("{path}: {cause}")]
    Length {
        /// The file.
        path: FilePath,
        /// Why.
        cause: LengthError,
    },
    /// Page links that do not fit the file's length, or are no DAG-CBOR blocks.
    #[error("{0} has the wrong hash pages for its length")]
    Pages(FilePath),
    /// Key numbers, commitments, keys or account that do not fit together.
    #[error("the manifest's keys do not fit together")]
    Keys,
    /// The creator did not sign this.
    #[error("the manifest is not signed by its creator")]
    Signature,
}

impl Manifest {
    /// Signs `contents` as `key`'s owner.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] for contents the format does not allow, or that encode to more than
    /// [`MAX_MANIFEST_LEN`].
    pub fn sign(contents: Contents, key: &CreatorKey) -> Result<Self, ManifestError> {
        check(&contents)?;
        let creator = key.id();
        let mut encoded = Encoded {
            contents,
            creator,
            sig: None,
        };
        encoded.sig = Some(key.sign(Domain::Manifest, &encoded.write()));
        let bytes = encoded.write();
        if bytes.len() > MAX_MANIFEST_LEN {
            return Err(ManifestError::Codec(CodecError::TooLong {
                len: bytes.len(),
                max: MAX_MANIFEST_LEN,
            }));
        }
        Ok(Self {
            contents: encoded.contents,
            creator,
            bytes,
        })
    }

    /// Reads a manifest. The caller has checked the bytes against the [`ContentId`] it asked for.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] for anything the format does not allow.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (manifest, body, signature) = Self::read(bytes)?;
        if !manifest.creator.signed(Domain::Manifest, &body, &signature) {
            return Err(ManifestError::Signature);
        }
        Ok(manifest)
    }

    /// The same for a reader that tells nobody who the creator is: everything is checked but the
    /// signature.
    ///
    /// The service worker plays what a link names, and the link is the manifest's hash; leaving
    /// the signature to the page keeps curve arithmetic out of what is loaded before the first
    /// frame.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] for anything the format does not allow but a wrong signature.
    pub fn decode_unattributed(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::read(bytes).map(|(manifest, _, _)| manifest)
    }

    fn read(bytes: &[u8]) -> Result<(Self, Vec<u8>, [u8; 64]), ManifestError> {
        let mut encoded =
            canonical::decode(bytes, MAX_MANIFEST_LEN, Encoded::read, Encoded::write)?;
        let signature = encoded.sig.take().ok_or(ManifestError::Signature)?;
        let body = encoded.write();
        let Encoded {
            contents, creator, ..
        } = encoded;
        check(&contents)?;
        let manifest = Self {
            contents,
            creator,
            bytes: bytes.to_vec(),
        };
        Ok((manifest, body, signature))
    }

    /// The block's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The work's identity.
    pub fn id(&self) -> ContentId {
        ContentId::of_manifest(&self.bytes)
    }

    /// Who signed it.
    pub const fn creator(&self) -> &CreatorId {
        &self.creator
    }

    /// When the work was made, by its creator's clock.
    pub const fn created(&self) -> UnixMillis {
        self.contents.created
    }

    /// Who may watch.
    pub const fn policy(&self) -> &Policy {
        &self.contents.policy
    }

    /// The commitments to the content keys.
    pub fn keys(&self) -> &[Commitment] {
        &self.contents.keys
    }

    /// All files, in order.
    pub fn files(&self) -> &[FileEntry] {
        &self.contents.files
    }

    /// The files with their indexes.
    pub fn indexed_files(&self) -> impl Iterator<Item = (FileIndex, &FileEntry)> {
        (0u32..).map(FileIndex).zip(self.files())
    }

    /// The file at an index.
    pub fn file(&self, index: FileIndex) -> Option<&FileEntry> {
        self.files().get(usize::try_from(index.0).ok()?)
    }

    /// The file at a path.
    pub fn find(&self, path: &str) -> Option<(FileIndex, &FileEntry)> {
        self.indexed_files()
            .find(|(_, file)| file.path.as_str() == path)
    }

    /// What pressing play plays: the first moving picture, else the first sound.
    pub fn main_file(&self) -> Option<(FileIndex, &FileEntry)> {
        self.indexed_files()
            .find(|(_, file)| file.media.is_video())
            .or_else(|| {
                self.indexed_files()
                    .find(|(_, file)| file.media.is_playable())
            })
    }

    /// Plaintext bytes of all files together.
    pub fn total_len(&self) -> u64 {
        self.files().iter().map(|file| file.len).sum()
    }

    /// The key that opens a file, when the policy tells it.
    pub fn free_key(&self, file: &FileEntry) -> Option<&ContentKey> {
        match &self.contents.policy {
            Policy::Free(keys) => keys.get(usize::try_from(file.key).ok()?),
            Policy::Right(_) => None,
        }
    }
}

fn check(contents: &Contents) -> Result<(), ManifestError> {
    let files = &contents.files;
    if files.is_empty() || files.len() > MAX_FILES {
        return Err(ManifestError::FileCount(files.len()));
    }
    for (at, file) in files.iter().enumerate() {
        if files[..at]
            .iter()
            .any(|other| other.path.nests_with(&file.path))
        {
            return Err(ManifestError::PathClash(file.path.clone()));
        }
        if !file.media.fits(&file.path) {
            return Err(ManifestError::Ending(file.path.clone()));
        }
        let layout = Layout::new(file.len).map_err(|cause| ManifestError::Length {
            path: file.path.clone(),
            cause,
        })?;
        if file.pages.len() as u64 != layout.pages()
            || file.pages.iter().any(|page| page.codec != Codec::DagCbor)
        {
            return Err(ManifestError::Pages(file.path.clone()));
        }
        if file.key != 0 {
            return Err(ManifestError::Keys);
        }
    }
    let [commitment] = contents.keys.as_slice() else {
        return Err(ManifestError::Keys);
    };
    let fits = match (&contents.policy, contents.account) {
        (Policy::Free(keys), None) => {
            matches!(keys.as_slice(), [key] if key.commitment() == *commitment)
        }
        (Policy::Right(_), Some(_)) => true,
        (Policy::Free(_), Some(_)) | (Policy::Right(_), None) => false,
    };
    if fits {
        Ok(())
    } else {
        Err(ManifestError::Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Digest;
    use proptest::prelude::*;

    fn key() -> CreatorKey {
        CreatorKey::from_seed(&[3; 32])
    }

    fn file(path: &str, len: u64) -> FileEntry {
        let pages = Layout::new(len).map_or(0, |layout| layout.pages());
        FileEntry {
            path: FilePath::try_from(path).expect("allowed"),
            media: MediaType::Mp4,
            len,
            key: 0,
            pages: (0..pages)
                .map(|n| Digest::of(&n.to_be_bytes()).dag_cbor())
                .collect(),
        }
    }

    fn contents(files: Vec<FileEntry>) -> Contents {
        let content_key = ContentKey::from_random([9; 32]);
        Contents {
            created: UnixMillis(1_790_000_000_000),
            files,
            keys: vec![content_key.commitment()],
            policy: Policy::Free(vec![content_key]),
            account: None,
        }
    }

    #[track_caller]
    fn refused(contents: Contents) -> ManifestError {
        Manifest::sign(contents, &key()).expect_err("not allowed")
    }

    fn signed() -> Manifest {
        Manifest::sign(
            contents(vec![file("a.mp4", 5), file("b/c.mp4", 600_000)]),
            &key(),
        )
        .expect("allowed")
    }

    #[test]
    fn what_was_signed_is_read_back() {
        let manifest = signed();
        assert_eq!(
            Manifest::decode(manifest.bytes()).expect("own encoding"),
            manifest
        );
        assert_eq!(
            manifest.find("b/c.mp4").map(|(index, _)| index),
            Some(FileIndex(1))
        );
        assert_eq!(manifest.total_len(), 600_005);
    }

    #[test]
    fn limits_hold_when_signing() {
        assert!(matches!(
            refused(contents(vec![])),
            ManifestError::FileCount(0)
        ));
        let many = (0..257).map(|n| file(&format!("{n}.mp4"), 1)).collect();
        assert!(matches!(
            refused(contents(many)),
            ManifestError::FileCount(257)
        ));
        assert!(matches!(
            refused(contents(vec![file("a.mp4", 0)])),
            ManifestError::Length {
                cause: LengthError::Empty,
                ..
            }
        ));
        assert!(matches!(
            refused(contents(vec![file("a.mp4", 1), file("a.mp4/b.mp4", 1)])),
            ManifestError::PathClash(_)
        ));
        assert!(matches!(
            refused(contents(vec![file("play.sh", 1)])),
            ManifestError::Ending(_)
        ));
        let mut lacking = file("a.mp4", 5);
        lacking.pages.clear();
        assert!(matches!(
            refused(contents(vec![lacking])),
            ManifestError::Pages(_)
        ));
    }

    #[test]
    fn keys_must_open_their_commitments() {
        let mut wrong = contents(vec![file("a.mp4", 5)]);
        wrong.keys = vec![ContentKey::from_random([1; 32]).commitment()];
        assert!(matches!(refused(wrong), ManifestError::Keys));
        let mut none = contents(vec![file("a.mp4", 5)]);
        none.keys.clear();
        assert!(matches!(refused(none), ManifestError::Keys));
        let mut owned = contents(vec![file("a.mp4", 5)]);
        owned.account = Some([1; 20]);
        assert!(matches!(refused(owned), ManifestError::Keys));
    }

    #[test]
    fn a_paid_manifest_tells_no_key() {
        let mut paid = contents(vec![file("a.mp4", 5)]);
        paid.policy = Policy::Right(Right {
            chain: 1,
            resolver: [2; 20],
        });
        paid.account = Some([1; 20]);
        let manifest = Manifest::sign(paid, &key()).expect("allowed");
        let read = Manifest::decode(manifest.bytes()).expect("own encoding");
        assert_eq!(read.free_key(&read.files()[0]), None);
    }

    #[test]
    fn a_hostile_type_or_path_is_malformed() {
        for (from, to) in [
            ("video/mp4", "text/html"),
            ("b/c.mp4", "../.mp4"),
            ("b/c.mp4", "b//.mp4"),
        ] {
            let bytes = replaced(signed().bytes(), from, to);
            assert!(
                matches!(
                    Manifest::decode(&bytes),
                    Err(ManifestError::Codec(CodecError::Malformed(_)))
                ),
                "{to}"
            );
        }
    }

    #[test]
    fn a_later_version_is_told_from_a_foreign_map() {
        let mut later = signed().bytes().to_vec();
        // a7 61 76 01: a map, its first key "v", version 1.
        later[3] = 2;
        assert!(matches!(
            Manifest::decode(&later),
            Err(ManifestError::Codec(CodecError::Version(2)))
        ));
        let foreign = [0xa1, 0x61, b'x', 0x01];
        assert!(matches!(
            Manifest::decode(&foreign),
            Err(ManifestError::Codec(CodecError::Malformed("v")))
        ));
    }

    #[test]
    fn another_hand_is_noticed() {
        let bytes = replaced(signed().bytes(), "a.mp4", "z.mp4");
        assert!(matches!(
            Manifest::decode(&bytes),
            Err(ManifestError::Signature)
        ));
    }

    /// Replaces text by text of the same length.
    fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut bytes = bytes.to_vec();
        let at = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .expect("stands there");
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Manifest::decode(&bytes);
        }

        #[test]
        fn any_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = signed().bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Manifest::decode(&bytes).is_err());
        }
    }
}
