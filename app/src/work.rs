//! What the watch page shows of a verified manifest and its card.

use sluice_core::{card::Card, manifest::Manifest, media::MediaType};

use crate::route;

/// A work, in the words of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The content id in its one printed spelling.
    pub id: String,
    /// Title; the main file's name where there is no card.
    pub title: String,
    /// Several lines; may be empty.
    pub description: String,
    /// BCP 47 tag; may be empty.
    pub language: String,
    /// SPDX expression or URL; may be empty.
    pub licence: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Address of the poster.
    pub poster: Option<String>,
    /// Milliseconds since 1970, by the creator's clock.
    pub created_ms: u64,
    /// Who made it, `did:key:…`.
    pub creator: String,
    /// Plaintext bytes of all files.
    pub bytes: u64,
    /// What a player can play, in the manifest's order.
    pub playable: Vec<File>,
    /// Index into `playable` of what plays first.
    pub main: usize,
    /// Subtitles.
    pub subtitles: Vec<File>,
    /// How many files there are in all.
    pub files: usize,
}

/// A file of a work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the work.
    pub path: String,
    /// Its media type.
    pub media: &'static str,
    /// Plaintext bytes.
    pub len: u64,
    /// Address at which the service worker answers with its plaintext.
    pub address: String,
}

impl Work {
    /// Puts together what the page shows. A missing card costs the work its words, not its playback.
    #[must_use]
    pub fn new(manifest: &Manifest, card: Option<&Card>) -> Self {
        let id = manifest.id().to_string();
        let files = |wanted: fn(MediaType) -> bool| -> Vec<File> {
            manifest
                .files()
                .iter()
                .filter(|file| wanted(file.media))
                .map(|file| File {
                    path: file.path.as_str().to_owned(),
                    media: file.media.name(),
                    len: file.len,
                    address: route::stream(&id, file.path.as_str()),
                })
                .collect()
        };
        let playable = files(MediaType::is_playable);
        let main_path = manifest
            .main_file()
            .map(|(_, file)| file.path.as_str().to_owned());
        let main = playable
            .iter()
            .position(|file| Some(&file.path) == main_path.as_ref())
            .unwrap_or(0);
        let text = card.map(|card| card.text().clone()).unwrap_or_default();
        let title = if text.title.is_empty() {
            main_path.unwrap_or_else(|| "A work without a title".to_owned())
        } else {
            text.title
        };
        Self {
            subtitles: files(|media| media == MediaType::Vtt),
            playable,
            main,
            files: manifest.files().len(),
            bytes: manifest.total_len(),
            created_ms: manifest.created().0,
            creator: manifest.creator().to_string(),
            poster: text
                .poster
                .map(|digest| route::kept_poster(&digest.raw().to_string(), &id)),
            title,
            description: text.description,
            language: text.language,
            licence: text.licence,
            tags: text.tags,
            id,
        }
    }
}

/// A file's name without its folders, dashes and ending: a label for subtitles.
#[must_use]
pub fn label(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.replace(['-', '_'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_the_bare_name() {
        assert_eq!(label("subs/pt-BR.vtt"), "pt BR");
        assert_eq!(label("film"), "film");
    }
}
