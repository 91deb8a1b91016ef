//! Gets the verified manifest and card of a work, and says in the page's words why it could not.

use sluice_core::{
    bridge::Trouble,
    card::Card,
    link::{ContentId, Digest},
    manifest::Manifest,
};
use sluice_web::{
    clock,
    library::{Library, LibraryError},
};

use crate::{
    failure::Failure,
    ui::{api, dom, storage},
};

/// The manifest: all that playback needs.
pub(super) async fn manifest(content: ContentId) -> Result<Manifest, Failure> {
    storage::library()
        .await
        .manifest(content)
        .await
        .map_err(|error| explain(content, &error))
}

/// The newest card to be had: the relay's, else the one known here. A work plays without.
pub(super) async fn card(manifest: &Manifest) -> Option<Card> {
    let library = storage::library().await;
    let listed = api::card_of(&manifest.id().to_string()).await;
    let known = library.known_card(manifest.id()).await;
    let listed = read(&library, manifest, listed).await;
    match (&listed, known) {
        // The relay may be behind what was seen elsewhere; the higher sequence wins.
        (Some(card), Some(known)) if card.digest() != known => {
            let known = read(&library, manifest, Some(known)).await;
            known.filter(|known| known.seq() > card.seq()).or(listed)
        }
        (Some(_), _) => listed,
        (None, known) => read(&library, manifest, known).await,
    }
}

/// Keeps what offline playback needs besides chunks. Called once the first frame is there.
pub(super) async fn remember(content: ContentId, card: Option<&Card>) {
    storage::library()
        .await
        .remember(content, card, clock::now())
        .await;
}

async fn read(library: &Library, manifest: &Manifest, digest: Option<Digest>) -> Option<Card> {
    library.card(manifest, digest?).await.ok()
}

fn explain(content: ContentId, error: &LibraryError) -> Failure {
    let relay = dom::relay_host();
    match error {
        LibraryError::Fetch(Trouble::Absent) => Failure::UnknownWork {
            id: content.to_string(),
            relay,
        },
        LibraryError::Fetch(Trouble::Unreachable | Trouble::Silent) => Failure::Unreachable {
            relay,
            offline: !dom::online(),
        },
        LibraryError::Fetch(Trouble::Busy) => Failure::RelayError {
            relay,
            detail: "It is busy right now.".to_owned(),
        },
        LibraryError::Fetch(Trouble::Wrong) => Failure::Refused {
            why: format!("{relay} sent a manifest that does not match its hash"),
        },
        LibraryError::Manifest(cause) => Failure::Refused {
            why: cause.to_string(),
        },
        LibraryError::Card(cause) => Failure::Refused {
            why: cause.to_string(),
        },
    }
}
