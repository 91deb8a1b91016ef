//! Messages between the page, the node and the service worker.
//!
//! All three are one origin's code of possibly different versions (a page outlives a service
//! worker's update), so a message that does not decode is ignored, never fatal. A message travels
//! as DAG-CBOR bytes; a chunk travels beside it as a transferred buffer, uncopied.
//!
//! Who talks to whom: the page posts [`ToWorker`] and hears [`FromWorker`]; the service worker and
//! the page each hold a `MessagePort` to the node, post [`ToNode`] and hear [`FromNode`].

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    canonical,
    chunk::{ChunkIndex, FileIndex},
    link::{ContentId, Digest},
};

/// Longest message, in bytes; buffers beside it do not count.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024;

/// From a page to the service worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Take control of this page: it was hard-reloaded.
    Claim,
    /// A newer service worker may take over: nothing is playing.
    Activate,
    /// The transferred port leads to the node.
    NodePort,
    /// The first frame is shown: cache the shell for offline use now.
    KeepShell,
    /// Drop what was read of this work's manifest and pages; its blocks were cleared.
    Forget(ContentId),
}

/// From the service worker to a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// Please post a [`ToWorker::NodePort`]: the one there was is gone.
    NeedNode,
    /// Bytes of a work were read for this page.
    Served(Served),
    /// A chunk or block could not be had; the response was ended.
    Failed(Failure),
}

/// Sealed bytes delivered, by where they came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The work.
    pub content: ContentId,
    /// Where they came from.
    pub origin: Origin,
    /// How many sealed bytes.
    pub bytes: u64,
}

/// Where a block came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This browser's own store.
    Store,
    /// Another tab.
    Peer,
    /// A relay, over libp2p.
    Relay,
    /// A relay, over HTTP.
    Gateway,
}

/// Why the player got no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The work.
    pub content: ContentId,
    /// What was missing.
    pub what: Missing,
    /// What each source said, in the order asked.
    pub tried: Vec<Attempt>,
}

/// What could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The manifest.
    Manifest,
    /// A hash page.
    Page,
    /// A chunk of a file.
    Chunk(FileIndex, ChunkIndex),
    /// The key: it does not open a chunk whose hash was right.
    Key,
    /// The page asked for a file the work does not have.
    File,
}

/// One source's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Who was asked.
    pub origin: Origin,
    /// What went wrong.
    pub trouble: Trouble,
}

/// What a source can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// It does not have the block.
    Absent,
    /// It did not answer in time.
    Silent,
    /// It could not be reached.
    Unreachable,
    /// It sent bytes that do not hash to what was asked.
    Wrong,
    /// It has no room now.
    Busy,
}

/// Names one question, unique per port.
pub type Ticket = u32;

/// From a page or the service worker to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// The transferred port is one more asker.
    Attach,
    /// Fetch a manifest, card or page of a work.
    Block {
        /// Names the answer.
        ticket: Ticket,
        /// The work.
        content: ContentId,
        /// The block.
        digest: Digest,
    },
    /// Fetch a chunk.
    Chunk {
        /// Names the answer.
        ticket: Ticket,
        /// The work.
        content: ContentId,
        /// The file.
        file: FileIndex,
        /// The chunk.
        index: ChunkIndex,
        /// What it must hash to.
        digest: Digest,
        /// How soon it is wanted; see [`crate::wire::Priority`].
        priority: u8,
    },
    /// The answer is no longer wanted.
    Cancel(Ticket),
    /// Report [`FromNode::Status`] now and on every change.
    Watch,
}

/// From the node to a page or the service worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromNode {
    /// The verified block travels beside this message.
    Found {
        /// Which question.
        ticket: Ticket,
        /// Where it came from.
        origin: Origin,
    },
    /// It could not be had.
    Failed {
        /// Which question.
        ticket: Ticket,
        /// Why.
        attempt: Attempt,
    },
    /// How the node is.
    Status(NodeStatus),
}

/// What `/node` and the peers chip show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Where it stands.
    pub state: NodeState,
    /// How it reaches its relay.
    pub transport: Option<Transport>,
    /// This session's peer id.
    pub peer_id: String,
    /// The relay's address, when connected.
    pub relay: Option<String>,
    /// Other tabs connected.
    pub peers: u32,
    /// Bytes received over libp2p.
    pub received: u64,
    /// Bytes sent over libp2p.
    pub sent: u64,
    /// Why it is not online, in words for a person.
    pub trouble: Option<String>,
}

/// The node's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Not loaded, or switched off.
    #[default]
    Off,
    /// Dialling its relay.
    Connecting,
    /// Connected to a relay.
    Online,
    /// No relay answers; it keeps trying.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP/3 WebTransport with a certificate hash.
    WebTransport,
    /// WebSocket.
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
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    canonical::encode(message)
}

/// Reads a message; `None` for one of another version, which is ignored.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Option<M> {
    if bytes.len() > MAX_MESSAGE_LEN {
        return None;
    }
    serde_ipld_dagcbor::from_slice(bytes).ok()
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
        assert_eq!(decode::<ToWorker>(&encode(&"Later")), None);
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
