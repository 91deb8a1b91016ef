//! Gets the verified manifest and card of a work, and says in the page's words why it could not.

use futures::{
    FutureExt,
    future::{Either, select},
};
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
    ui::{api, dom, node::Node, storage, worker::Worker},
};

/// Milliseconds the gateway has for a manifest before the node is asked as well. A manifest is a few kilobytes.
const GATEWAY_PATIENCE_MS: u64 = 3_000;

/// Milliseconds the service worker, and then the node, have to be there when the gateway alone did not deliver.
pub(super) const NODE_PATIENCE_MS: u64 = 6_000;

/// Milliseconds after which nobody who was asked is waited for any longer.
const GIVE_UP_MS: u64 = 30_000;

/// The manifest: all that playback needs. `asks_node` is called when the gateway alone does not deliver.
pub(super) async fn manifest(
    content: ContentId,
    worker: Worker,
    node: Node,
    asks_node: impl FnOnce(),
) -> Result<Manifest, Failure> {
    let library = storage::library();
    let soon = clock::now().plus(GATEWAY_PATIENCE_MS);
    let late = clock::now().plus(GIVE_UP_MS);
    let direct = Box::pin(library.manifest(content));
    let (direct, refusal) = match select(direct, Box::pin(clock::until(soon))).await {
        Either::Left((Ok(manifest), _)) => return Ok(manifest),
        // The hash is right and the content is not: every source has the same bytes.
        Either::Left((Err(error @ LibraryError::Manifest(_)), _)) => {
            return Err(explain(content, &error));
        }
        Either::Left((Err(error), _)) => (None, Some(error)),
        Either::Right(((), direct)) => (Some(direct), None),
    };
    asks_node();
    // Through the service worker, which asks the node and the gateway again.
    let through_node = async {
        let there = worker.controls.opens_within(NODE_PATIENCE_MS).await
            && node.online_within(NODE_PATIENCE_MS).await;
        if there {
            Some(library.manifest(content).await)
        } else {
            None
        }
    };
    let all = async {
        let Some(direct) = direct else {
            return through_node.await.unwrap_or_else(|| {
                Err(refusal.unwrap_or(LibraryError::Fetch(Trouble::Unreachable)))
            });
        };
        match select(direct, Box::pin(through_node)).await {
            Either::Left((Ok(manifest), _)) | Either::Right((Some(Ok(manifest)), _)) => {
                Ok(manifest)
            }
            Either::Left((Err(error), other)) => other.await.unwrap_or(Err(error)),
            Either::Right((None | Some(Err(_)), direct)) => direct.await,
        }
    };
    let in_time = select(Box::pin(all), Box::pin(clock::until(late)))
        .map(|first| match first {
            Either::Left((found, _)) => found,
            Either::Right(((), _)) => Err(LibraryError::Fetch(Trouble::Silent)),
        })
        .await;
    in_time.map_err(|error| explain(content, &error))
}

/// The newest card to be had: the relay's, else the one known here. A work plays without.
pub(super) async fn card(manifest: &Manifest) -> Option<Card> {
    let library = storage::library();
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
