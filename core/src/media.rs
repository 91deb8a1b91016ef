//! The media types a work may hold, and how they are told from each other.
//!
//! A fixed list: what is not on it is refused, so nothing a manifest says can make a browser run
//! code. Types come from the file name; the first bytes may only contradict it.

use std::fmt;

use crate::path::FilePath;

/// Bytes of a file's start that [`MediaType::of`] wants to see.
pub const SNIFF_LEN: usize = 64;

/// Largest poster, in bytes: one unsealed block.
pub const MAX_POSTER_LEN: u64 = 256 * 1024;

macro_rules! media_types {
    ($($variant:ident, $name:literal, [$($extension:literal),*], $doc:literal;)*) => {
        /// A media type of the fixed list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum MediaType {
            $(#[doc = $doc] $variant,)*
        }

        impl MediaType {
            /// Every type of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as HTTP and manifests write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The type of this name, if it is on the list.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|media| media.name() == name)
            }

            /// Whether a file of this type may be called that: its ending is one of the type's.
            pub fn fits(self, path: &FilePath) -> bool {
                path.extension().is_some_and(|ending| self.extensions().contains(&ending.as_str()))
            }

            const fn extensions(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($extension),*]),* }
            }
        }
    };
}

media_types! {
    Mp4, "video/mp4", ["mp4", "m4v"], "MP4 with video.";
    Webm, "video/webm", ["webm"], "WebM with video.";
    AudioMp4, "audio/mp4", ["m4a"], "MP4 with sound only.";
    AudioWebm, "audio/webm", ["weba"], "WebM with sound only.";
    Mp3, "audio/mpeg", ["mp3"], "MPEG layer 3 sound.";
    Ogg, "audio/ogg", ["ogg", "oga", "opus"], "Ogg with sound.";
    Vtt, "text/vtt", ["vtt"], "WebVTT subtitles or chapters.";
    Hls, "application/vnd.apple.mpegurl", ["m3u8"], "An HLS playlist.";
    Jpeg, "image/jpeg", ["jpg", "jpeg"], "A JPEG picture.";
    Png, "image/png", ["png"], "A PNG picture.";
    Webp, "image/webp", ["webp"], "A WebP picture.";
    Avif, "image/avif", ["avif"], "An AVIF picture.";
}

/// A file that cannot be part of a work, or a poster that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// A name whose ending is not on the list.
    #[error(
        "{path} is not a media type Sluice carries; \
         mp4, m4v, webm, m4a, weba, mp3, ogg, opus, vtt, m3u8, jpg, png, webp and avif are"
    )]
    Unsupported {
        /// The file.
        path: FilePath,
    },
    /// The first bytes are plainly something else.
    #[error("{path} is named {named} but holds {found}; rename or convert it")]
    Contradiction {
        /// The file.
        path: FilePath,
        /// What its name says.
        named: MediaType,
        /// What its bytes say.
        found: &'static str,
    },
    /// A poster that is no picture of the list.
    #[error("a poster is a JPEG, PNG, WebP or AVIF picture; this is not")]
    NotAPoster,
    /// A poster past [`MAX_POSTER_LEN`].
    #[error("the poster has {0} bytes; at most 262,144 (256 KiB) are allowed, so scale it down")]
    PosterTooLong(u64),
}

impl MediaType {
    /// The type a file's name and first bytes make it.
    ///
    /// # Errors
    ///
    /// [`MediaError::Unsupported`] for other endings, [`MediaError::Contradiction`] if the bytes
    /// are known to be something else. Bytes that are nothing known pass: a clip of three bytes
    /// is still a file, and the player says what it cannot play.
    pub fn of(path: &FilePath, start: &[u8]) -> Result<Self, MediaError> {
        let extension = path.extension().unwrap_or_default();
        let named = Self::ALL
            .iter()
            .copied()
            .find(|media| media.extensions().contains(&extension.as_str()))
            .ok_or_else(|| MediaError::Unsupported { path: path.clone() })?;
        match sniff(start) {
            Some(family) if family != named.family() => Err(MediaError::Contradiction {
                path: path.clone(),
                named,
                found: family.describe(),
            }),
            _ => Ok(named),
        }
    }

    /// The picture type of a poster, by content alone.
    ///
    /// # Errors
    ///
    /// [`MediaError::PosterTooLong`], or [`MediaError::NotAPoster`] for anything else than the
    /// four picture formats (an SVG or HTML file among them).
    pub fn of_poster(bytes: &[u8]) -> Result<Self, MediaError> {
        let len = bytes.len() as u64;
        if len > MAX_POSTER_LEN {
            return Err(MediaError::PosterTooLong(len));
        }
        match sniff(bytes) {
            Some(Family::Jpeg) => Ok(Self::Jpeg),
            Some(Family::Png) => Ok(Self::Png),
            Some(Family::Webp) => Ok(Self::Webp),
            Some(Family::Avif) => Ok(Self::Avif),
            _ => Err(MediaError::NotAPoster),
        }
    }

    /// Whether a `<video>` element plays it as a moving picture.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::Mp4 | Self::Webm)
    }

    /// Whether a `<video>` element plays it at all.
    pub const fn is_playable(self) -> bool {
        self.is_video()
            || matches!(
                self,
                Self::AudioMp4 | Self::AudioWebm | Self::Mp3 | Self::Ogg
            )
    }

    const fn family(self) -> Family {
        match self {
            Self::Mp4 | Self::AudioMp4 => Family::Mp4,
            Self::Webm | Self::AudioWebm => Family::Matroska,
            Self::Mp3 => Family::Mp3,
            Self::Ogg => Family::Ogg,
            Self::Vtt => Family::Vtt,
            Self::Hls => Family::Hls,
            Self::Jpeg => Family::Jpeg,
            Self::Png => Family::Png,
            Self::Webp => Family::Webp,
            Self::Avif => Family::Avif,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Mp4,
    Matroska,
    Mp3,
    Ogg,
    Vtt,
    Hls,
    Jpeg,
    Png,
    Webp,
    Avif,
    Markup,
    Archive,
    Program,
    Pdf,
}

impl Family {
    const fn describe(self) -> &'static str {
        match self {
            Self::Mp4 => "MP4",
            Self::Matroska => "WebM or Matroska",
            Self::Mp3 => "MP3",
            Self::Ogg => "Ogg",
            Self::Vtt => "WebVTT",
            Self::Hls => "an HLS playlist",
            Self::Jpeg => "a JPEG picture",
            Self::Png => "a PNG picture",
            Self::Webp => "a WebP picture",
            Self::Avif => "an AVIF picture",
            Self::Markup => "HTML, XML or SVG",
            Self::Archive => "an archive",
            Self::Program => "a program",
            Self::Pdf => "a PDF document",
        }
    }
}

/// What the first bytes plainly are; `None` when they are nothing known.
fn sniff(bytes: &[u8]) -> Option<Family> {
    let brand = bytes
        .get(4..8)
        .filter(|tag| *tag == b"ftyp")
        .and(bytes.get(8..12));
    if let Some(brand) = brand {
        return Some(match brand {
            b"avif" | b"avis" => Family::Avif,
            _ => Family::Mp4,
        });
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some(Family::Webp);
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let markers: &[(&[u8], Family)] = &[
        (b"\x1a\x45\xdf\xa3", Family::Matroska),
        (b"OggS", Family::Ogg),
        (b"ID3", Family::Mp3),
        (b"\xff\xd8\xff", Family::Jpeg),
        (b"\x89PNG\r\n\x1a\n", Family::Png),
        (b"WEBVTT", Family::Vtt),
        (b"#EXTM3U", Family::Hls),
        (b"PK\x03\x04", Family::Archive),
        (b"\x1f\x8b\x08", Family::Archive),
        (b"7z\xbc\xaf\x27\x1c", Family::Archive),
        (b"\x7fELF", Family::Program),
        (b"%PDF-", Family::Pdf),
    ];
    markers
        .iter()
        .find(|(marker, _)| text.starts_with(marker))
        .map(|(_, family)| *family)
        .or_else(|| is_markup(text).then_some(Family::Markup))
}

fn is_markup(text: &[u8]) -> bool {
    let start = text.trim_ascii_start().to_ascii_lowercase();
    [
        b"<!doctype".as_slice(),
        b"<html",
        b"<svg",
        b"<?xml",
        b"<script",
        b"<!--",
    ]
    .iter()
    .any(|marker| start.starts_with(marker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str, start: &[u8]) -> Result<MediaType, MediaError> {
        MediaType::of(&FilePath::try_from(name).expect("allowed"), start)
    }

    #[test]
    fn name_decides_and_unknown_bytes_pass() {
        assert_eq!(of("a.MP4", b"abc"), Ok(MediaType::Mp4));
        assert_eq!(of("a.webm", b""), Ok(MediaType::Webm));
        assert_eq!(of("a.m4v", b"\0\0\0\x20ftypisom"), Ok(MediaType::Mp4));
    }

    #[test]
    fn names_off_the_list_are_unsupported() {
        for name in ["a.html", "a.svg", "a.js", "a", "a.mkv", "mp4"] {
            assert!(
                matches!(of(name, b""), Err(MediaError::Unsupported { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn disguises_are_contradictions() {
        for start in [
            b"<!DOCTYPE html>".as_slice(),
            b"\xef\xbb\xbf <svg",
            b"%PDF-1.7",
            b"\x89PNG\r\n\x1a\n",
            b"\x1a\x45\xdf\xa3",
        ] {
            assert!(matches!(
                of("a.mp4", start),
                Err(MediaError::Contradiction { .. })
            ));
        }
    }

    #[test]
    fn posters_are_told_by_content() {
        assert_eq!(
            MediaType::of_poster(b"\xff\xd8\xff\xe0"),
            Ok(MediaType::Jpeg)
        );
        assert_eq!(
            MediaType::of_poster(b"RIFF\0\0\0\0WEBPVP8 "),
            Ok(MediaType::Webp)
        );
        assert_eq!(
            MediaType::of_poster(b"\0\0\0\x20ftypavif"),
            Ok(MediaType::Avif)
        );
        assert_eq!(MediaType::of_poster(b"<svg"), Err(MediaError::NotAPoster));
        let long = vec![0xff; 262_145];
        assert_eq!(
            MediaType::of_poster(&long),
            Err(MediaError::PosterTooLong(262_145))
        );
    }

    #[test]
    fn no_extension_means_two_types() {
        let mut seen = std::collections::HashSet::new();
        for media in MediaType::ALL {
            for extension in media.extensions() {
                assert!(seen.insert(extension), "{extension}");
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = of("a.mp4", &bytes);
            let _ = MediaType::of_poster(&bytes);
        }
    }
}
