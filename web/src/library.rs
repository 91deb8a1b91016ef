//! What a page reads of works: manifests and cards, from the store, else from the gateway.
//!
//! Everything returned was checked: the hash against the id asked for, the signature against the
//! creator. While a service worker controls the page, `/ipfs/` goes through it and so through every
//! source it knows; before that, straight to the relay.

use futures::future::{self, Either, FutureExt, LocalBoxFuture, Shared};
use sluice_core::{
    ContentId, Digest, Link, UnixMillis,
    bridge::Trouble,
    card::{Card, CardError, MAX_CARD_LEN},
    manifest::{MAX_MANIFEST_LEN, Manifest, ManifestError},
    media::MAX_POSTER_LEN,
};

use crate::{
    gateway,
    idb_store::{self, IndexedDbStore},
    store::{Store, StoreError, WorkRecord},
};

/// Most works listed from the store.
const MAX_LISTED: usize = 500;

/// A manifest or card that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// No source delivered it.
    #[error("could not be fetched: {0:?}")]
    Fetch(Trouble),
    /// The manifest is not valid, whoever sent it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The card is not valid, whoever sent it.
    #[error(transparent)]
    Card(#[from] CardError),
}

/// A work this browser keeps something of.
#[derive(Debug, Clone)]
pub struct StoredWork {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its newest known card.
    pub card: Option<Card>,
    /// When it was last opened here.
    pub touched: UnixMillis,
}

/// The page's access to works. Clones share the database.
#[derive(Clone)]
pub struct Library {
    /// Opened by the first who needs it; `None` where the browser has no IndexedDB: everything
    /// then comes from the network.
    store: Shared<LocalBoxFuture<'static, Option<IndexedDbStore>>>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Library")
    }
}

impl Library {
    /// The library of this origin. Nothing is opened yet: the first manifest should not wait for it.
    pub fn open() -> Self {
        let opening = async { IndexedDbStore::open().await.ok() };
        Self {
            store: opening.boxed_local().shared(),
        }
    }

    async fn store(&self) -> Option<IndexedDbStore> {
        self.store.clone().await
    }

    /// The manifest of a work.
    ///
    /// # Errors
    ///
    /// [`LibraryError`] if no source has it, or it is not valid.
    pub async fn manifest(&self, id: ContentId) -> Result<Manifest, LibraryError> {
        let bytes = self.block(id, id.link(), MAX_MANIFEST_LEN as u64).await?;
        Ok(Manifest::decode(&bytes)?)
    }

    /// A card of a work.
    ///
    /// # Errors
    ///
    /// [`LibraryError`] if no source has it, or it is not valid or another work's.
    pub async fn card(&self, manifest: &Manifest, digest: Digest) -> Result<Card, LibraryError> {
        let id = manifest.id();
        let bytes = self
            .block(id, digest.dag_cbor(), MAX_CARD_LEN as u64)
            .await?;
        Ok(Card::decode(&bytes, &id, manifest.creator())?)
    }

    /// Notes that a work was opened at `now`, and keeps its card and poster for offline use.
    ///
    /// A browser that cannot store loses only the offline copy, so nothing is reported.
    pub async fn remember(&self, id: ContentId, card: Option<&Card>, now: UnixMillis) {
        let Some(store) = self.store().await else {
            return;
        };
        let record = WorkRecord {
            content: id,
            touched: now,
            card: card.map(Card::digest),
        };
        let _ = store.touch(record).await;
        if let Some(poster) = card.and_then(|card| card.text().poster) {
            let _ = self.block(id, poster.raw(), MAX_POSTER_LEN).await;
        }
    }

    /// The newest card digest noted for a work.
    pub async fn known_card(&self, id: ContentId) -> Option<Digest> {
        let works = self.store().await?.works().await.ok()?;
        works.into_iter().find(|work| work.content == id)?.card
    }

    /// Works this browser keeps, most recently opened first; at most 500.
    pub async fn stored(&self) -> Vec<StoredWork> {
        let Some(store) = self.store().await else {
            return Vec::new();
        };
        let mut listed = Vec::new();
        for record in store
            .works()
            .await
            .unwrap_or_default()
            .into_iter()
            .take(MAX_LISTED)
        {
            let Ok(Some(bytes)) = store.block(record.content, record.content.0).await else {
                continue;
            };
            let Ok(manifest) = Manifest::decode(&bytes) else {
                continue;
            };
            let card = match record.card {
                Some(digest) => self.card(&manifest, digest).await.ok(),
                None => None,
            };
            listed.push(StoredWork {
                manifest,
                card,
                touched: record.touched,
            });
        }
        listed
    }

    /// Number of sealed chunks stored, of all works together.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn stored_chunks(&self) -> Result<u64, StoreError> {
        match self.store().await {
            Some(store) => store.chunk_count().await,
            None => Ok(0),
        }
    }

    /// The most bytes of chunks the owner lets this site keep; `None` when they set no limit.
    pub async fn budget(&self) -> Option<u64> {
        self.store().await?.budget().await.ok().flatten()
    }

    /// Sets [`Library::budget`]; works not opened for longest go first when it is passed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn set_budget(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        match self.store().await {
            Some(store) => store.set_budget(bytes).await,
            None => Ok(()),
        }
    }

    /// Removes one work from this browser.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn forget(&self, id: ContentId) -> Result<(), StoreError> {
        match self.store().await {
            Some(store) => store.forget(id).await,
            None => Ok(()),
        }
    }

    /// Removes every work from this browser.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn clear(&self) -> Result<(), StoreError> {
        match self.store().await {
            Some(store) => idb_store::clear(&store).await,
            None => Ok(()),
        }
    }

    /// From the store and over HTTP at once: an empty store costs nothing, a full one works offline.
    async fn block(&self, work: ContentId, link: Link, max: u64) -> Result<Vec<u8>, LibraryError> {
        let kept = Box::pin(self.kept(work, link.digest));
        let fetched = Box::pin(gateway::get_for(work, link, max));
        let fetched = match future::select(kept, fetched).await {
            Either::Left((Some(bytes), _)) => return Ok(bytes),
            Either::Left((None, fetched)) => fetched.await,
            Either::Right((Ok(bytes), _)) => Ok(bytes),
            Either::Right((Err(trouble), kept)) => match kept.await {
                Some(bytes) => return Ok(bytes),
                None => Err(trouble),
            },
        };
        let bytes = fetched.map_err(LibraryError::Fetch)?;
        let (library, copy) = (self.clone(), bytes.clone());
        wasm_bindgen_futures::spawn_local(async move {
            if let Some(store) = library.store().await {
                // Without room the block is fetched again next time.
                let _ = store.put_block(work, link.digest, &copy).await;
            }
        });
        Ok(bytes)
    }

    async fn kept(&self, work: ContentId, digest: Digest) -> Option<Vec<u8>> {
        let bytes = self.store().await?.block(work, digest).await.ok()??;
        digest.matches(&bytes).then_some(bytes)
    }
}
