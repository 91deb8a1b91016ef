//! What people may know of a work: the JSON of `GET /api/v1/works`, kept beside the work.
//!
//! It is written once per card and read as it is, so a page of works costs one query. Manifest and
//! card stay the truth; this is what they said.

use serde::{Deserialize, Serialize};
use sluice_core::{
    ContentId, Link,
    card::Card,
    manifest::{Manifest, Policy},
};

/// A work as the HTTP interface and `sluice list` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The content id.
    #[serde(with = "id_text")]
    pub id: ContentId,
    /// From the card.
    pub title: String,
    /// From the card; may be empty.
    pub description: String,
    /// From the card, a BCP 47 tag; may be empty.
    pub language: String,
    /// From the card.
    pub tags: Vec<String>,
    /// From the card; may be empty.
    pub licence: String,
    /// From the card: the poster's raw block.
    pub poster: Option<Link>,
    /// Whether it stays off lists.
    #[serde(default)]
    pub unlisted: bool,
    /// The card these words come from.
    pub card: Link,
    /// That card's sequence number.
    pub card_seq: u64,
    /// When the manifest says it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Plaintext bytes of all files.
    pub bytes: u64,
    /// The creator's `did:key`.
    pub creator: String,
    /// Who may watch.
    pub policy: String,
    /// Its files, in the manifest's order.
    pub files: Vec<FileEntry>,
}

impl Work {
    /// What `manifest` and `card` say.
    pub fn new(manifest: &Manifest, card: &Card) -> Self {
        let text = card.text().clone();
        Self {
            id: manifest.id(),
            title: text.title,
            description: text.description,
            language: text.language,
            tags: text.tags,
            licence: text.licence,
            poster: text.poster.map(|digest| digest.raw()),
            unlisted: text.unlisted,
            card: card.digest().dag_cbor(),
            card_seq: card.seq(),
            created_ms: manifest.created().0,
            bytes: manifest.total_len(),
            creator: manifest.creator().to_string(),
            policy: match manifest.policy() {
                Policy::Free(_) => "free".into(),
                Policy::Right(_) => "right".into(),
            },
            files: manifest
                .files()
                .iter()
                .map(|file| FileEntry {
                    path: file.path.to_string(),
                    media_type: file.media.to_string(),
                    len: file.len,
                })
                .collect(),
        }
    }
}

/// One file of a [`Work`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative path within the work.
    pub path: String,
    /// Media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Plaintext bytes.
    pub len: u64,
}

/// A page of works, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorksPage {
    /// The works.
    pub works: Vec<Work>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<u64>,
}

/// A [`ContentId`] in JSON is its CID.
mod id_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use sluice_core::ContentId;

    pub(super) fn serialize<S: Serializer>(id: &ContentId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ContentId, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}
