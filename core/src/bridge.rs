//! Messages between the page, the node and the service worker.
//!
//! All three are one origin's code of possibly different versions (a page outlives a service
//! worker's update), so a message that does not decode is ignored, never fatal. A message travels
//! as CBOR bytes (fields and variants by number); a chunk travels beside it as a transferred buffer, uncopied.
//!
//! Who talks to whom: the page posts [`ToWorker`] and hears [`FromWorker`]; the service worker and
//! the page each hold a `MessagePort` to the node, post [`ToNode`] and hear [`FromNode`].

use minicbor::{Decode, Encode};

use crate::{
    chunk::{ChunkIndex, FileIndex},
    link::{ContentId, Digest},
};

/// Name of the Web Lock held by the page that runs the node; the service worker finds it by that.
pub const NODE_LOCK: &str = "sluice-node";

/// Longest message, in bytes; buffers beside it do not count.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024;

/// From a page to the service worker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToWorker {
    /// Take control of this page: it was hard-reloaded.
    #[n(0)]
    Claim,
    /// A newer service worker may take over: nothing is playing.
    #[n(1)]
    Activate,
    /// The transferred port leads to the node.
    #[n(2)]
    NodePort,
    /// The first frame is shown: cache the shell for offline use now.
    #[n(3)]
    KeepShell,
    /// Drop whatever was read of any work; the store was cleared.
    #[n(5)]
    ForgetAll,
}

/// From the service worker to a page.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromWorker {
    /// Please post a [`ToWorker::NodePort`]: the one there was is gone.
    #[n(0)]
    NeedNode,
    /// Bytes of a work were read for this page.
    #[n(1)]
    Served(#[n(0)] Served),
    /// A chunk or block could not be had; the response was ended.
    #[n(2)]
    Failed(#[n(0)] Failure),
}

/// Sealed bytes delivered, by where they came from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Served {
    /// The work.
    #[n(0)]
    pub content: ContentId,
    /// Where they came from.
    #[n(1)]
    pub origin: Origin,
    /// How many sealed bytes.
    #[n(2)]
    pub bytes: u64,
}

/// Where a block came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Origin {
    /// This browser's own store.
    #[n(0)]
    Store,
    /// Another tab.
    #[n(1)]
    Peer,
    /// A relay, over libp2p.
    #[n(2)]
    Relay,
    /// A relay, over HTTP.
    #[n(3)]
    Gateway,
}

/// Why the player got no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// The work.
    #[n(0)]
    pub content: ContentId,
    /// What was missing.
    #[n(1)]
    pub what: Missing,
    /// What each source said, in the order asked.
    #[n(2)]
    pub tried: Vec<Attempt>,
}

/// What could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Missing {
    /// The manifest.
    #[n(0)]
    Manifest,
    /// A hash page.
    #[n(1)]
    Page,
    /// A chunk of a file.
    #[n(2)]
    Chunk(#[n(0)] FileIndex, #[n(1)] ChunkIndex),
    /// The key: it does not open a chunk whose hash was right.
    #[n(3)]
    Key,
    /// The page asked for a file the work does not have.
    #[n(4)]
    File,
    /// A card or a poster.
    #[n(5)]
    Block,
}

/// One source's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Attempt {
    /// Who was asked.
    #[n(0)]
    pub origin: Origin,
    /// What went wrong.
    #[n(1)]
    pub trouble: Trouble,
}

/// What a source can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Trouble {
    /// It does not have the block.
    #[n(0)]
    Absent,
    /// It did not answer in time.
    #[n(1)]
    Silent,
    /// It could not be reached.
    #[n(2)]
    Unreachable,
    /// It sent bytes that do not hash to what was asked.
    #[n(3)]
    Wrong,
    /// It has no room now.
    #[n(4)]
    Busy,
}

/// Names one question, unique per port.
pub type Ticket = u32;

/// From a page or the service worker to the node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToNode {
    /// The transferred port is one more asker.
    #[n(0)]
    Attach,
    /// Fetch a manifest, card or page of a work.
    #[n(1)]
    Block {
        /// Names the answer.
        #[n(0)]
        ticket: Ticket,
        /// The work.
        #[n(1)]
        content: ContentId,
        /// The block.
        #[n(2)]
        digest: Digest,
    },
    /// Fetch a chunk.
    #[n(2)]
    Chunk {
        /// Names the answer.
        #[n(0)]
        ticket: Ticket,
        /// The work.
        #[n(1)]
        content: ContentId,
        /// The file.
        #[n(2)]
        file: FileIndex,
        /// The chunk.
        #[n(3)]
        index: ChunkIndex,
        /// What it must hash to.
        #[n(4)]
        digest: Digest,
        /// How soon it is wanted; see [`crate::wire::Priority`].
        #[n(5)]
        priority: u8,
    },
    /// The answer is no longer wanted.
    #[n(3)]
    Cancel(#[n(0)] Ticket),
    /// Report [`FromNode::Status`] now and on every change.
    #[n(4)]
    Watch,
}

/// From the node to a page or the service worker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromNode {
    /// The verified block travels beside this message.
    #[n(0)]
    Found {
        /// Which question.
        #[n(0)]
        ticket: Ticket,
        /// Where it came from.
        #[n(1)]
        origin: Origin,
    },
    /// It could not be had.
    #[n(1)]
    Failed {
        /// Which question.
        #[n(0)]
        ticket: Ticket,
        /// Why.
        #[n(1)]
        attempt: Attempt,
    },
    /// How the node is.
    #[n(2)]
    Status(#[n(0)] NodeStatus),
}

/// What `/node` and the peers chip show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct NodeStatus {
    /// Where it stands.
    #[n(0)]
    pub state: NodeState,
    /// How it reaches its relay.
    #[n(1)]
    pub transport: Option<Transport>,
    /// This session's peer id.
    #[n(2)]
    pub peer_id: String,
    /// The relay's address, when connected.
    #[n(3)]
    pub relay: Option<String>,
    /// Other tabs connected.
    #[n(4)]
    pub peers: u32,
    /// Bytes received over libp2p.
    #[n(5)]
    pub received: u64,
    /// Bytes sent over libp2p.
    #[n(6)]
    pub sent: u64,
    /// Why it is not online, in words for a person.
    #[n(7)]
    pub trouble: Option<String>,
}

/// The node's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum NodeState {
    /// Not loaded, or switched off.
    #[default]
    #[n(0)]
    Off,
    /// Dialling its relay.
    #[n(1)]
    Connecting,
    /// Connected to a relay.
    #[n(2)]
    Online,
    /// No relay answers; it keeps trying.
    #[n(3)]
    Waiting,
}

impl NodeState {
    /// One lower-case word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Waiting => "waiting",
        }
    }
}

/// A transport between tab and relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Transport {
    /// HTTP/3 WebTransport with a certificate hash.
    #[n(0)]
    WebTransport,
    /// WebSocket.
    #[n(1)]
    WebSocket,
}

impl Transport {
    /// One lower-case word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebTransport => "webtransport",
            Self::WebSocket => "websocket",
        }
    }
}

/// Encodes a message.
pub fn encode<M: Encode<()>>(message: &M) -> Vec<u8> {
    minicbor::to_vec(message).expect("writing to memory cannot fail")
}

/// Reads a message; `None` for one of another version, which is ignored.
pub fn decode<M: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Option<M> {
    if bytes.len() > MAX_MESSAGE_LEN {
        return None;
    }
    minicbor::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_read_back() {
        let content = ContentId(Digest::of(b"work"));
        let ask = ToNode::Chunk {
            ticket: 7,
            content,
            file: FileIndex(1),
            index: ChunkIndex(1 << 50),
            digest: Digest::of(b"chunk"),
            priority: 0,
        };
        assert_eq!(decode(&encode(&ask)), Some(ask));
        let status = FromNode::Status(NodeStatus {
            transport: Some(Transport::WebTransport),
            relay: Some("/ip4/127.0.0.1".into()),
            ..NodeStatus::default()
        });
        assert_eq!(decode(&encode(&status)), Some(status));
        let failed = FromWorker::Failed(Failure {
            content,
            what: Missing::Chunk(FileIndex(0), ChunkIndex(3)),
            tried: vec![Attempt {
                origin: Origin::Gateway,
                trouble: Trouble::Wrong,
            }],
        });
        assert_eq!(decode(&encode(&failed)), Some(failed));
        assert_eq!(decode(&encode(&ToWorker::Claim)), Some(ToWorker::Claim));
    }

    #[test]
    fn a_message_of_another_version_is_ignored() {
        assert_eq!(decode::<ToWorker>(&[0x82, 0x18, 0x63, 0x80]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode::<ToNode>(&bytes);
            let _ = decode::<FromNode>(&bytes);
            let _ = decode::<ToWorker>(&bytes);
            let _ = decode::<FromWorker>(&bytes);
        }
    }
}
