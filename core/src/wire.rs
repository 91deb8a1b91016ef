//! The chunk protocol's frames. The normative text is `docs/PROTOCOL.md`; this file obeys it.
//!
//! One long-lived stream per peer and work. A frame is `length (u32 be) ‖ type (u8) ‖ body`, the
//! length counting type and body. Integers are big-endian, digests 32 bytes. The first frame on a
//! stream is [`Frame::Head`]; it names the work every later frame is about.
//!
//! This module reads no socket: [`frame_len`] says how much to read, [`Frame::decode`] what it was.

use crate::{
    chunk::{CHUNK_LEN, ChunkIndex, FileIndex, SEAL_OVERHEAD},
    link::{ContentId, Digest},
};

/// libp2p protocol name. Bump the last component on any incompatible change.
pub const CHUNK_PROTOCOL: &str = "/sluice/chunk/1";

/// libp2p identify protocol name.
pub const IDENTIFY_PROTOCOL: &str = "/sluice/id/1";

/// Bytes of the length before every frame.
pub const LENGTH_LEN: usize = 4;

/// Longest frame a peer may announce. A longer one closes the stream *before* we allocate.
///
/// One sealed chunk, plus 1 KiB for its header.
pub const MAX_FRAME_LEN: u64 = CHUNK_LEN + SEAL_OVERHEAD + 1024;

/// Longest bitmap in a [`Frame::Have`], in bytes: 65,536 chunks, 16 GiB of media.
pub const MAX_BITMAP_LEN: usize = 8 * 1024;

/// Most requests one stream may have outstanding; the server answers [`Frame::Busy`] past it.
///
/// 4 MiB of sealed chunks: enough for 40 MB/s at 100 ms, and what a receiver must have room for.
pub const MAX_OUTSTANDING: usize = 16;

// The frame length travels as a u32.
const _: () = assert!(MAX_FRAME_LEN <= u32::MAX as u64);
const _: () = assert!(crate::manifest::MAX_MANIFEST_LEN as u64 + 64 <= MAX_FRAME_LEN);

/// How soon a chunk is wanted; lower is sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub u8);

impl Priority {
    /// The player waits for it.
    pub const URGENT: Self = Self(0);
    /// Within the playback window.
    pub const SOON: Self = Self(64);
    /// Beyond the window.
    pub const LATER: Self = Self(128);
}

/// Why a peer ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It has nothing more to say.
    Done,
    /// It is shutting down.
    Leaving,
    /// The other side broke the protocol.
    Breach,
    /// A reason this code does not know.
    Other(u8),
}

/// One message of the chunk protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream: what is known of this work? Answered by [`Frame::Heads`].
    Head(ContentId),
    /// The newest card and keybox known, each if any.
    Heads {
        /// Digest of the newest card.
        card: Option<Digest>,
        /// Digest of the newest keybox.
        keybox: Option<Digest>,
    },
    /// Asks for a manifest, card, hash page, keybox or poster.
    Get(Digest),
    /// The block asked for.
    Block(Digest, Vec<u8>),
    /// The peer does not have the block.
    NoBlock(Digest),
    /// Chunks the sender has, from `first` on: bit 7 of byte 0 is `first` itself.
    Have {
        /// The file.
        file: FileIndex,
        /// The chunk of the first bit.
        first: ChunkIndex,
        /// One bit per chunk, most significant first.
        bitmap: Vec<u8>,
    },
    /// Asks for a chunk.
    Request {
        /// The file.
        file: FileIndex,
        /// The chunk.
        index: ChunkIndex,
        /// How soon.
        priority: Priority,
    },
    /// Takes a request back; a chunk already on its way may still come.
    Cancel {
        /// The file.
        file: FileIndex,
        /// The chunk.
        index: ChunkIndex,
    },
    /// A sealed chunk.
    Chunk {
        /// The file.
        file: FileIndex,
        /// The chunk.
        index: ChunkIndex,
        /// The sealed bytes.
        sealed: Vec<u8>,
    },
    /// The peer does not have the chunk.
    NoChunk {
        /// The file.
        file: FileIndex,
        /// The chunk.
        index: ChunkIndex,
    },
    /// The request was dropped for lack of room; ask again after a while or elsewhere.
    Busy {
        /// The file.
        file: FileIndex,
        /// The chunk.
        index: ChunkIndex,
        /// When asking again may help, in milliseconds.
        retry_ms: u32,
    },
    /// Ends the stream.
    Bye(Parting),
}

/// Bytes that break the protocol; the stream is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A length of zero or past [`MAX_FRAME_LEN`].
    #[error("frame of {0} bytes announced; 1 to {MAX_FRAME_LEN} are allowed")]
    Length(u32),
    /// A known type with a body of the wrong shape.
    #[error("frame of type 0x{0:02x} is malformed")]
    Malformed(u8),
}

mod kind {
    pub(super) const HEAD: u8 = 0x01;
    pub(super) const HEADS: u8 = 0x02;
    pub(super) const GET: u8 = 0x03;
    pub(super) const BLOCK: u8 = 0x04;
    pub(super) const NO_BLOCK: u8 = 0x05;
    pub(super) const HAVE: u8 = 0x06;
    pub(super) const REQUEST: u8 = 0x07;
    pub(super) const CANCEL: u8 = 0x08;
    pub(super) const CHUNK: u8 = 0x09;
    pub(super) const NO_CHUNK: u8 = 0x0a;
    pub(super) const BUSY: u8 = 0x0b;
    pub(super) const BYE: u8 = 0x0c;
}

/// The number of bytes that follow a frame's length field.
///
/// # Errors
///
/// [`WireError::Length`] before anything was allocated for it.
pub fn frame_len(length: [u8; LENGTH_LEN]) -> Result<usize, WireError> {
    let len = u32::from_be_bytes(length);
    if len == 0 || u64::from(len) > MAX_FRAME_LEN {
        return Err(WireError::Length(len));
    }
    usize::try_from(len).map_err(|_| WireError::Length(len))
}

impl Frame {
    /// Reads a frame's type and body; `Ok(None)` for a type of a later version, which is skipped.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] if a known type's body has the wrong shape.
    pub fn decode(frame: Vec<u8>) -> Result<Option<Self>, WireError> {
        let Some(&kind) = frame.first() else {
            return Err(WireError::Length(0));
        };
        let mut body = Body(&frame[1..]);
        Self::read(kind, &mut body)
            .filter(|frame| frame.is_none() || body.0.is_empty())
            .ok_or(WireError::Malformed(kind))
    }

    /// Outer `None`: malformed. Inner `None`: unknown type.
    fn read(kind: u8, body: &mut Body<'_>) -> Option<Option<Self>> {
        Some(Some(match kind {
            kind::HEAD => Self::Head(ContentId(body.digest()?)),
            kind::HEADS => {
                let flags = body.u8()?;
                if flags > 0b11 {
                    return None;
                }
                let mut read = |bit| {
                    Some(if flags & bit == 0 {
                        None
                    } else {
                        Some(body.digest()?)
                    })
                };
                Self::Heads {
                    card: read(0b01)?,
                    keybox: read(0b10)?,
                }
            }
            kind::GET => Self::Get(body.digest()?),
            kind::BLOCK => Self::Block(body.digest()?, body.rest()),
            kind::NO_BLOCK => Self::NoBlock(body.digest()?),
            kind::HAVE => {
                let (file, first) = body.place()?;
                let bitmap = body.rest();
                if bitmap.len() > MAX_BITMAP_LEN {
                    return None;
                }
                Self::Have {
                    file,
                    first,
                    bitmap,
                }
            }
            kind::REQUEST => {
                let (file, index) = body.place()?;
                Self::Request {
                    file,
                    index,
                    priority: Priority(body.u8()?),
                }
            }
            kind::CANCEL => {
                let (file, index) = body.place()?;
                Self::Cancel { file, index }
            }
            kind::CHUNK => {
                let (file, index) = body.place()?;
                Self::Chunk {
                    file,
                    index,
                    sealed: body.rest(),
                }
            }
            kind::NO_CHUNK => {
                let (file, index) = body.place()?;
                Self::NoChunk { file, index }
            }
            kind::BUSY => {
                let (file, index) = body.place()?;
                Self::Busy {
                    file,
                    index,
                    retry_ms: u32::from_be_bytes(body.array()?),
                }
            }
            kind::BYE => Self::Bye(match body.u8()? {
                0 => Parting::Done,
                1 => Parting::Leaving,
                2 => Parting::Breach,
                other => Parting::Other(other),
            }),
            _ => return Some(None),
        }))
    }

    /// The frame with its length in front, ready to write.
    ///
    /// # Panics
    ///
    /// If a block, chunk or bitmap is longer than the format allows; those were checked when they
    /// were made.
    pub fn encode(&self) -> Vec<u8> {
        let payload = match self {
            Self::Block(_, bytes) | Self::Chunk { sealed: bytes, .. } => bytes.as_slice(),
            _ => &[],
        };
        let mut out = self.header(payload.len());
        out.extend_from_slice(payload);
        out
    }

    /// The header of a [`Frame::Chunk`] whose `sealed_len` bytes the caller writes next, so that
    /// serving a chunk copies nothing.
    ///
    /// # Panics
    ///
    /// As [`Frame::encode`].
    pub fn chunk_header(file: FileIndex, index: ChunkIndex, sealed_len: usize) -> Vec<u8> {
        let sealed = Vec::new();
        Self::Chunk {
            file,
            index,
            sealed,
        }
        .header(sealed_len)
    }

    /// Everything but the payload of a block or chunk.
    fn header(&self, payload_len: usize) -> Vec<u8> {
        let mut out = vec![0; LENGTH_LEN];
        match self {
            Self::Head(content) => digest(&mut out, kind::HEAD, &content.0),
            Self::Heads { card, keybox } => {
                let flags = u8::from(card.is_some()) | u8::from(keybox.is_some()) << 1;
                out.extend([kind::HEADS, flags]);
                for known in [card, keybox].into_iter().flatten() {
                    out.extend_from_slice(known.as_bytes());
                }
            }
            Self::Get(wanted) => digest(&mut out, kind::GET, wanted),
            Self::Block(name, _) => digest(&mut out, kind::BLOCK, name),
            Self::NoBlock(name) => digest(&mut out, kind::NO_BLOCK, name),
            Self::Have {
                file,
                first,
                bitmap,
            } => {
                place(&mut out, kind::HAVE, *file, *first);
                assert!(bitmap.len() <= MAX_BITMAP_LEN, "a sender splits its bitmap");
                out.extend_from_slice(bitmap);
            }
            Self::Request {
                file,
                index,
                priority,
            } => {
                place(&mut out, kind::REQUEST, *file, *index);
                out.push(priority.0);
            }
            Self::Cancel { file, index } => place(&mut out, kind::CANCEL, *file, *index),
            Self::Chunk { file, index, .. } => place(&mut out, kind::CHUNK, *file, *index),
            Self::NoChunk { file, index } => place(&mut out, kind::NO_CHUNK, *file, *index),
            Self::Busy {
                file,
                index,
                retry_ms,
            } => {
                place(&mut out, kind::BUSY, *file, *index);
                out.extend_from_slice(&retry_ms.to_be_bytes());
            }
            Self::Bye(parting) => out.extend([
                kind::BYE,
                match parting {
                    Parting::Done => 0,
                    Parting::Leaving => 1,
                    Parting::Breach => 2,
                    Parting::Other(code) => *code,
                },
            ]),
        }
        let len = (out.len() - LENGTH_LEN + payload_len) as u64;
        assert!(
            len <= MAX_FRAME_LEN,
            "blocks and chunks are checked when they are made"
        );
        let len = u32::try_from(len).expect("below the frame limit");
        out[..LENGTH_LEN].copy_from_slice(&len.to_be_bytes());
        out
    }
}

fn digest(out: &mut Vec<u8>, kind: u8, digest: &Digest) {
    out.push(kind);
    out.extend_from_slice(digest.as_bytes());
}

fn place(out: &mut Vec<u8>, kind: u8, file: FileIndex, index: ChunkIndex) {
    out.push(kind);
    out.extend_from_slice(&file.0.to_be_bytes());
    out.extend_from_slice(&index.0.to_be_bytes());
}

/// What is left to read of a body; each read is `None` when it is too short.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::new)
    }

    fn place(&mut self) -> Option<(FileIndex, ChunkIndex)> {
        let file = u32::from_be_bytes(self.array()?);
        let index = u64::from_be_bytes(self.array()?);
        Some((FileIndex(file), ChunkIndex(index)))
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let digest = || any::<[u8; 32]>().prop_map(Digest::new);
        let at = (any::<u32>(), any::<u64>()).prop_map(|(f, c)| (FileIndex(f), ChunkIndex(c)));
        let bytes = prop::collection::vec(any::<u8>(), 0..600);
        prop_oneof![
            digest().prop_map(|d| Frame::Head(ContentId(d))),
            (prop::option::of(digest()), prop::option::of(digest()))
                .prop_map(|(card, keybox)| Frame::Heads { card, keybox }),
            digest().prop_map(Frame::Get),
            (digest(), bytes.clone()).prop_map(|(d, b)| Frame::Block(d, b)),
            digest().prop_map(Frame::NoBlock),
            (at.clone(), bytes.clone()).prop_map(|((file, first), bitmap)| Frame::Have {
                file,
                first,
                bitmap
            }),
            (at.clone(), any::<u8>()).prop_map(|((file, index), p)| Frame::Request {
                file,
                index,
                priority: Priority(p)
            }),
            at.clone()
                .prop_map(|(file, index)| Frame::Cancel { file, index }),
            (at.clone(), bytes).prop_map(|((file, index), sealed)| Frame::Chunk {
                file,
                index,
                sealed
            }),
            at.clone()
                .prop_map(|(file, index)| Frame::NoChunk { file, index }),
            (at, any::<u32>()).prop_map(|((file, index), retry_ms)| Frame::Busy {
                file,
                index,
                retry_ms
            }),
            (3u8..).prop_map(|code| Frame::Bye(Parting::Other(code))),
            Just(Frame::Bye(Parting::Leaving)),
        ]
    }

    fn split(encoded: Vec<u8>) -> ([u8; 4], Vec<u8>) {
        let (length, frame) = encoded.split_first_chunk().expect("has a length");
        (*length, frame.to_vec())
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_reading() {
        assert_eq!(frame_len([0; 4]), Err(WireError::Length(0)));
        assert_eq!(frame_len([0xff; 4]), Err(WireError::Length(u32::MAX)));
        let longest = u32::try_from(MAX_FRAME_LEN).expect("asserted");
        assert_eq!(frame_len(longest.to_be_bytes()), Ok(longest as usize));
        assert_eq!(
            frame_len((longest + 1).to_be_bytes()),
            Err(WireError::Length(longest + 1))
        );
    }

    #[test]
    fn the_longest_chunk_and_manifest_fit() {
        let sealed = vec![0; 256 * 1024 + 16];
        assert_eq!(sealed.len() as u64, CHUNK_LEN + SEAL_OVERHEAD);
        let (file, index) = (FileIndex(0), ChunkIndex(0));
        let (length, _) = split(
            Frame::Chunk {
                file,
                index,
                sealed,
            }
            .encode(),
        );
        assert!(frame_len(length).is_ok());
        let block = Frame::Block(Digest::of(b""), vec![0; crate::manifest::MAX_MANIFEST_LEN]);
        assert!(frame_len(split(block.encode()).0).is_ok());
    }

    #[test]
    fn types_of_later_versions_are_skipped() {
        assert_eq!(Frame::decode(vec![0x7f, 1, 2, 3]), Ok(None));
    }

    #[test]
    fn short_and_long_bodies_are_malformed() {
        assert_eq!(
            Frame::decode(vec![kind::GET, 1]),
            Err(WireError::Malformed(kind::GET))
        );
        assert_eq!(
            Frame::decode([&[kind::GET][..], &[0; 33]].concat()),
            Err(WireError::Malformed(kind::GET))
        );
        assert_eq!(
            Frame::decode(vec![kind::HEADS, 4]),
            Err(WireError::Malformed(kind::HEADS))
        );
    }

    #[test]
    fn a_chunk_header_and_its_bytes_are_the_chunk() {
        let (file, index) = (FileIndex(1), ChunkIndex(2));
        let mut sent = Frame::chunk_header(file, index, 3);
        sent.extend([7, 8, 9]);
        let sealed = vec![7, 8, 9];
        assert_eq!(
            sent,
            Frame::Chunk {
                file,
                index,
                sealed
            }
            .encode()
        );
    }

    proptest! {
        #[test]
        fn a_frame_is_read_back(frame in frames()) {
            let (length, body) = split(frame.encode());
            prop_assert_eq!(frame_len(length), Ok(body.len()));
            prop_assert_eq!(Frame::decode(body), Ok(Some(frame)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Frame::decode(bytes);
        }
    }
}
