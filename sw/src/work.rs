//! An opened work: its manifest, its key set up for opening, and the hash pages read so far.

use std::{cell::RefCell, rc::Rc};

use sluice_core::{
    ChunkIndex, ContentId, Digest, FileIndex,
    bridge::{Failure, Missing},
    chunk::page_of,
    fetch::Urgency,
    manifest::{MAX_MANIFEST_LEN, Manifest},
    page::{HashPage, MAX_PAGE_LEN},
};
use sluice_web::opener::Opener;

use crate::{
    blocks::{Blocks, Kind, Want},
    worker::StreamError,
};

/// Most pages held per work: 16 GiB of media, 3 MB of memory. The oldest read goes first.
const MAX_PAGES: usize = 64;

/// A page's file and number.
type PageKey = (FileIndex, u64);

/// A work whose manifest was verified.
pub(crate) struct Work {
    id: ContentId,
    manifest: Manifest,
    opener: Opener,
    pages: RefCell<Vec<(PageKey, Rc<HashPage>)>>,
    /// Set once a chunk was delivered: later ones may come from the node first.
    playing: std::cell::Cell<bool>,
}

impl Work {
    /// Fetches and verifies a work's manifest and sets up its key.
    pub(crate) async fn open(blocks: &Rc<Blocks>, id: ContentId) -> Result<Self, StreamError> {
        let want = Want {
            content: id,
            digest: id.0,
            kind: Kind::Block {
                link: id.link(),
                max_len: MAX_MANIFEST_LEN as u64,
            },
        };
        let found = blocks.obtain(want, Urgency::First).await;
        let (bytes, _) = found.map_err(|tried| {
            StreamError::Missing(Failure {
                content: id,
                what: Missing::Manifest,
                tried,
            })
        })?;
        let manifest = Manifest::decode_unattributed(&bytes)
            .map_err(|error| StreamError::Invalid(error.to_string()))?;
        let first = manifest.files().first();
        let key = first
            .and_then(|file| manifest.free_key(file))
            .ok_or(StreamError::Locked)?;
        let opener = Opener::new(key).await;
        Ok(Self {
            id,
            opener,
            manifest,
            pages: RefCell::default(),
            playing: std::cell::Cell::new(false),
        })
    }

    pub(crate) fn id(&self) -> ContentId {
        self.id
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// How much hurry a chunk has that stands `ahead` of what the player reads.
    pub(crate) fn urgency(&self, ahead: usize) -> Urgency {
        match (self.playing.get(), ahead) {
            (false, _) => Urgency::First,
            (true, 0) => Urgency::Now,
            (true, _) => Urgency::Ahead,
        }
    }

    pub(crate) fn note_delivery(&self) {
        self.playing.set(true);
    }

    /// What a chunk must hash to, from its hash page.
    pub(crate) async fn digest_of(
        &self,
        blocks: &Rc<Blocks>,
        file: FileIndex,
        chunk: ChunkIndex,
        urgency: Urgency,
    ) -> Result<Digest, StreamError> {
        let (number, position) = page_of(chunk);
        let page = match self.known_page(file, number) {
            Some(page) => page,
            None => self.read_page(blocks, file, number, urgency).await?,
        };
        // The page was checked to have as many links as the file's length asks for.
        page.get(position)
            .ok_or_else(|| self.missing(Missing::Page, Vec::new()))
    }

    /// The same, if its hash page was read already.
    pub(crate) fn known_digest(&self, file: FileIndex, chunk: ChunkIndex) -> Option<Digest> {
        let (number, position) = page_of(chunk);
        self.known_page(file, number)?.get(position)
    }

    fn known_page(&self, file: FileIndex, number: u64) -> Option<Rc<HashPage>> {
        let pages = self.pages.borrow();
        let known = pages.iter().find(|(at, _)| *at == (file, number));
        known.map(|(_, page)| Rc::clone(page))
    }

    async fn read_page(
        &self,
        blocks: &Rc<Blocks>,
        file: FileIndex,
        number: u64,
        urgency: Urgency,
    ) -> Result<Rc<HashPage>, StreamError> {
        let no_page = || self.missing(Missing::Page, Vec::new());
        let entry = self.manifest.file(file).ok_or_else(no_page)?;
        let at = usize::try_from(number).map_err(|_| no_page())?;
        let link = *entry.pages.get(at).ok_or_else(no_page)?;
        let want = Want {
            content: self.id,
            digest: link.digest,
            kind: Kind::Block {
                link,
                max_len: MAX_PAGE_LEN as u64,
            },
        };
        let found = blocks.obtain(want, urgency).await;
        let (bytes, _) = found.map_err(|tried| self.missing(Missing::Page, tried))?;
        let links = usize::try_from(entry.layout().links_on(number)).map_err(|_| no_page())?;
        let page = HashPage::decode(&bytes, links)
            .map_err(|error| StreamError::Invalid(error.to_string()))?;
        let page = Rc::new(page);
        if self.known_page(file, number).is_some() {
            // Others waited for the same page.
            return Ok(page);
        }
        let mut pages = self.pages.borrow_mut();
        if pages.len() == MAX_PAGES {
            pages.remove(0);
        }
        pages.push(((file, number), Rc::clone(&page)));
        Ok(page)
    }

    pub(crate) fn missing(
        &self,
        what: Missing,
        tried: Vec<sluice_core::bridge::Attempt>,
    ) -> StreamError {
        StreamError::Missing(Failure {
            content: self.id,
            what,
            tried,
        })
    }
}
