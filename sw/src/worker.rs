//! The worker's state: opened works, the store, the way to the node. All of it can be rebuilt.

use std::{cell::RefCell, rc::Rc};

use futures::future::{FutureExt, LocalBoxFuture, Shared};
use sluice_core::{
    ChunkIndex, ContentId,
    bridge::{Attempt, Failure, Missing, Origin, Served, Trouble},
    fetch::Urgency,
    stream::Target,
};
use sluice_web::idb_store::IndexedDbStore;

use crate::{
    blocks::{Blocks, Kind, Want},
    body::Reader,
    node::NodeLink,
    report,
    work::Work,
};

/// Most works held open; the one used longest ago is dropped.
const MAX_WORKS: usize = 8;

/// Why a request gets no bytes.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StreamError {
    /// Nobody delivered a block.
    #[error("{}", describe(.0))]
    Missing(Failure),
    /// The manifest is well hashed but not valid.
    #[error("{0}")]
    Invalid(String),
    /// The work has no such file.
    #[error("the work has no file {0}; its page lists what it has")]
    NoFile(String),
    /// A paid work, and this program cannot unlock yet.
    #[error("this work needs a right to watch it, which this version cannot check yet")]
    Locked,
}

impl StreamError {
    /// The HTTP status that says so.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Missing(failure) => {
                let absent = |attempt: &Attempt| attempt.trouble == Trouble::Absent;
                if failure.tried.iter().all(absent) {
                    404
                } else {
                    502
                }
            }
            Self::Invalid(_) => 502,
            Self::NoFile(_) => 404,
            Self::Locked => 403,
        }
    }
}

fn describe(failure: &Failure) -> String {
    let what = match failure.what {
        Missing::Manifest => "the manifest".to_owned(),
        Missing::Page => "a hash page".to_owned(),
        Missing::Chunk(file, index) => format!("chunk {index} of file {file}"),
        Missing::Key => "a chunk that this work's key opens".to_owned(),
        Missing::File => "the file".to_owned(),
        Missing::Block => "a card or picture".to_owned(),
    };
    let said: Vec<_> = failure.tried.iter().map(attempt).collect();
    format!(
        "nobody delivered {what}: {}; try again later",
        said.join(", ")
    )
}

fn attempt(attempt: &Attempt) -> String {
    let who = match attempt.origin {
        Origin::Store => "this browser",
        Origin::Peer => "a peer",
        Origin::Relay => "the relay (libp2p)",
        Origin::Gateway => "the relay (HTTP)",
    };
    let what = match attempt.trouble {
        Trouble::Absent => "does not have it",
        Trouble::Silent => "did not answer in time",
        Trouble::Unreachable => "could not be reached",
        Trouble::Wrong => "sent wrong bytes, which were refused",
        Trouble::Busy => "is busy",
    };
    format!("{who} {what}")
}

type OpenWork = Shared<LocalBoxFuture<'static, Result<Rc<Work>, StreamError>>>;

/// One per life of the service worker.
pub(crate) struct Worker {
    blocks: Rc<Blocks>,
    node: Rc<NodeLink>,
    /// Most recently used last.
    works: RefCell<Vec<(ContentId, OpenWork)>>,
}

thread_local! {
    static WORKER: Rc<Worker> = Rc::new(Worker::new());
}

impl Worker {
    /// This thread's worker.
    pub(crate) fn get() -> Rc<Self> {
        WORKER.with(Rc::clone)
    }

    fn new() -> Self {
        let store = async { IndexedDbStore::open().await.ok() }
            .boxed_local()
            .shared();
        let node = Rc::new(NodeLink::default());
        Self {
            blocks: Rc::new(Blocks::new(store, Rc::clone(&node))),
            node,
            works: RefCell::default(),
        }
    }

    pub(crate) fn node(&self) -> &Rc<NodeLink> {
        &self.node
    }

    /// Drops what was read of a work that did not open, so that the next request tries again.
    fn forget(&self, content: &ContentId) {
        self.works.borrow_mut().retain(|(id, _)| id != content);
    }

    /// Drops whatever was read of any work; the store was cleared.
    pub(crate) fn forget_all(&self) {
        self.works.borrow_mut().clear();
        self.blocks.forget_recent();
    }

    /// Finds the file a stream URL names.
    pub(crate) async fn open(
        &self,
        target: &Target,
        client: String,
    ) -> Result<Reader, StreamError> {
        let opened = self.work(target.content).await;
        let work = opened.inspect_err(|error| {
            if let StreamError::Missing(failure) = error {
                report::failed(&client, failure.clone());
            }
        })?;
        Reader::new(work, Rc::clone(&self.blocks), &target.path, client)
    }

    /// Reads what a page will want first of a work: manifest, first hash page, first chunk.
    pub(crate) async fn prepare(&self, content: ContentId) {
        // Whatever fails here is met again, and told, when the player asks.
        let Ok(work) = self.work(content).await else {
            return;
        };
        let Some((file, _)) = work.manifest().main_file() else {
            return;
        };
        let first = ChunkIndex(0);
        let digest = work
            .digest_of(&self.blocks, file, first, Urgency::First)
            .await;
        if let Ok(digest) = digest {
            let kind = Kind::Chunk { file, index: first };
            let want = Want {
                content,
                digest,
                kind,
            };
            self.blocks.prepare(want).await;
        }
    }

    /// One block for a page.
    pub(crate) async fn block(
        &self,
        want: Want,
        client: String,
    ) -> Result<Rc<Vec<u8>>, StreamError> {
        let found = self
            .blocks
            .obtain(want, sluice_core::fetch::Urgency::First)
            .await;
        let (bytes, origin) = found.map_err(|tried| {
            StreamError::Missing(Failure {
                content: want.content,
                what: if want.digest == want.content.0 {
                    Missing::Manifest
                } else {
                    Missing::Block
                },
                tried,
            })
        })?;
        report::served(
            &client,
            Served {
                content: want.content,
                origin,
                bytes: bytes.len() as u64,
            },
        );
        Ok(bytes)
    }

    async fn work(&self, content: ContentId) -> Result<Rc<Work>, StreamError> {
        let opening = {
            let mut works = self.works.borrow_mut();
            let known = works.iter().position(|(id, _)| *id == content);
            let opening = match known {
                Some(at) => works.remove(at).1,
                None => {
                    let blocks = Rc::clone(&self.blocks);
                    async move { Work::open(&blocks, content).await.map(Rc::new) }
                        .boxed_local()
                        .shared()
                }
            };
            works.push((content, opening.clone()));
            if works.len() > MAX_WORKS {
                drop(works.remove(0));
            }
            opening
        };
        let work = opening.await;
        if work.is_err() {
            // The next request tries again.
            self.forget(&content);
        }
        work
    }
}

/// The store, opened once; `None` where the browser has none.
pub(crate) type SharedStore = Shared<LocalBoxFuture<'static, Option<IndexedDbStore>>>;
