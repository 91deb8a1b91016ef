//! The card: what people read about a work. Its creator may replace it; the highest sequence wins.
//!
//! A separate block, so that mending a typo never changes a work's identity. A [`Card`] value is
//! always within limits and signed by somebody; whether by the work's creator is what
//! [`Card::decode`] is told to check.

use crate::{
    canonical::{self, Reader, Writer},
    creator::{CreatorId, CreatorKey, Domain},
    link::{Codec, ContentId, Digest},
};

pub use crate::canonical::CodecError;

/// Format version this code reads and writes.
pub const VERSION: u32 = 1;

/// Longest card, in bytes.
pub const MAX_CARD_LEN: usize = 32 * 1024;

/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 200;

/// Longest description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 5_000;

/// Most tags.
pub const MAX_TAGS: usize = 16;

/// Longest tag, in characters.
pub const MAX_TAG_CHARS: usize = 40;

/// Longest licence, in characters: an SPDX expression or a URL.
pub const MAX_LICENCE_CHARS: usize = 200;

// Four UTF-8 bytes a character at worst, and 512 for what frames the texts.
const _: () = assert!(
    4 * (MAX_TITLE_CHARS + MAX_DESCRIPTION_CHARS + MAX_TAGS * MAX_TAG_CHARS + MAX_LICENCE_CHARS)
        + 512
        <= MAX_CARD_LEN
);

/// What a card says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// The title; never empty.
    pub title: String,
    /// Several lines about the work; may be empty.
    pub description: String,
    /// BCP 47 tag of the spoken language; may be empty.
    pub language: String,
    /// Words to find it by, without duplicates.
    pub tags: Vec<String>,
    /// SPDX expression or URL; may be empty.
    pub licence: String,
    /// The poster: an unsealed raw block.
    pub poster: Option<Digest>,
    /// Whether it stays out of lists; whoever has the link can still watch.
    pub unlisted: bool,
}

/// The map as it stands in the block; `sig` is absent from what is signed.
struct Encoded {
    work: ContentId,
    seq: u64,
    text: Text,
    sig: Option<[u8; 64]>,
}

/// A checked, signed card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    work: ContentId,
    seq: u64,
    text: Text,
    bytes: Vec<u8>,
}

/// Bytes or texts that are no valid card.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// Not canonical DAG-CBOR of the card's shape.
    #[error("card is not well-formed: {0}")]
    Codec(#[from] CodecError),
    /// No title.
    #[error("a work needs a title")]
    NoTitle,
    /// A text past its limit.
    #[error("the {field} may have at most {max} characters")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its limit, in characters.
        max: usize,
    },
    /// A control character (a line break in a title, say).
    #[error("the {0} contains a control character; remove it")]
    Control(&'static str),
    /// Not a BCP 47 language tag.
    #[error("{0:?} is not a language tag such as en, de or pt-BR")]
    Language(String),
    /// More than [`MAX_TAGS`].
    #[error("a work has at most 16 tags")]
    TooManyTags,
    /// An empty or repeated tag.
    #[error("tags are words, each given once")]
    BadTag,
    /// A card of another work.
    #[error("the card belongs to another work")]
    OtherWork,
    /// Not signed by the work's creator.
    #[error("the card is not signed by the work's creator")]
    Signature,
}

impl Card {
    /// Signs a card for `work` as `key`'s owner. `seq` must be above that of every earlier card.
    ///
    /// # Errors
    ///
    /// [`CardError`] naming the text that is out of bounds.
    pub fn sign(
        work: ContentId,
        seq: u64,
        text: Text,
        key: &CreatorKey,
    ) -> Result<Self, CardError> {
        check(&text)?;
        let mut encoded = Encoded {
            work,
            seq,
            text,
            sig: None,
        };
        encoded.sig = Some(key.sign(Domain::Card, &encoded.write()));
        Ok(Self {
            work,
            seq,
            bytes: encoded.write(),
            text: encoded.text,
        })
    }

    /// Reads the card of `work`, which `creator` made.
    ///
    /// # Errors
    ///
    /// [`CardError`] for anything the format does not allow, another work's card, or another
    /// hand's signature.
    pub fn decode(bytes: &[u8], work: &ContentId, creator: &CreatorId) -> Result<Self, CardError> {
        let mut encoded = canonical::decode(bytes, MAX_CARD_LEN, Encoded::read, Encoded::write)?;
        if encoded.work != *work {
            return Err(CardError::OtherWork);
        }
        let signature = encoded.sig.take().ok_or(CardError::Signature)?;
        if !creator.signed(Domain::Card, &encoded.write(), &signature) {
            return Err(CardError::Signature);
        }
        let Encoded { seq, text, .. } = encoded;
        check(&text)?;
        Ok(Self {
            work: *work,
            seq,
            text,
            bytes: bytes.to_vec(),
        })
    }

    /// The block's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The block's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The work it belongs to.
    pub const fn work(&self) -> ContentId {
        self.work
    }

    /// Its sequence number; the highest is the current card.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// What it says.
    pub const fn text(&self) -> &Text {
        &self.text
    }
}

impl Encoded {
    fn write(&self) -> Vec<u8> {
        let text = &self.text;
        let optional = u64::from(self.sig.is_some()) + u64::from(text.poster.is_some());
        let mut writer = Writer::new();
        writer.map(9 + optional).key("v").number(VERSION.into());
        writer.key("seq").number(self.seq);
        if let Some(sig) = &self.sig {
            writer.key("sig").bytes(sig);
        }
        writer.key("tags").list(text.tags.len());
        for tag in &text.tags {
            writer.text(tag);
        }
        writer.key("work").link(self.work.link());
        writer.key("title").text(&text.title);
        if let Some(poster) = text.poster {
            writer.key("poster").link(poster.raw());
        }
        writer.key("licence").text(&text.licence);
        writer.key("language").text(&text.language);
        writer.key("unlisted").flag(text.unlisted);
        writer.key("description").text(&text.description);
        writer.into_bytes()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.map()?;
        reader.version(VERSION)?;
        let seq = reader.key("seq")?.number()?;
        let sig = if reader.optional("sig") {
            Some(reader.array()?)
        } else {
            None
        };
        let count = reader.key("tags")?.list()?;
        let tags = (0..count)
            .map(|_| reader.text().map(str::to_owned))
            .collect::<Result<_, _>>()?;
        let work = linked(reader.key("work")?, Codec::DagCbor)?;
        let title = reader.key("title")?.text()?.to_owned();
        let poster = if reader.optional("poster") {
            Some(linked(reader, Codec::Raw)?)
        } else {
            None
        };
        let licence = reader.key("licence")?.text()?.to_owned();
        let language = reader.key("language")?.text()?.to_owned();
        let unlisted = reader.key("unlisted")?.flag()?;
        let description = reader.key("description")?.text()?.to_owned();
        let text = Text {
            title,
            description,
            language,
            tags,
            licence,
            poster,
            unlisted,
        };
        Ok(Self {
            work: ContentId(work),
            seq,
            text,
            sig,
        })
    }
}

/// The digest of a link that must be of this codec.
fn linked(reader: &mut Reader<'_>, codec: Codec) -> Result<Digest, CodecError> {
    match reader.link()? {
        link if link.codec == codec => Ok(link.digest),
        _ => Err(CodecError::Malformed("a link of the right codec")),
    }
}

fn check(text: &Text) -> Result<(), CardError> {
    if text.title.trim().is_empty() {
        return Err(CardError::NoTitle);
    }
    line("title", &text.title, MAX_TITLE_CHARS)?;
    line("licence", &text.licence, MAX_LICENCE_CHARS)?;
    bounded("description", &text.description, MAX_DESCRIPTION_CHARS)?;
    if text
        .description
        .chars()
        .any(|c| c.is_control() && c != '\n')
    {
        return Err(CardError::Control("description"));
    }
    if !text.language.is_empty() && !is_language(&text.language) {
        return Err(CardError::Language(
            text.language.chars().take(40).collect(),
        ));
    }
    if text.tags.len() > MAX_TAGS {
        return Err(CardError::TooManyTags);
    }
    for (at, tag) in text.tags.iter().enumerate() {
        line("tag", tag, MAX_TAG_CHARS)?;
        if tag.trim() != tag || tag.is_empty() || text.tags[..at].contains(tag) {
            return Err(CardError::BadTag);
        }
    }
    Ok(())
}

fn bounded(field: &'static str, text: &str, max: usize) -> Result<(), CardError> {
    if text.chars().nth(max).is_some() {
        return Err(CardError::TooLong { field, max });
    }
    Ok(())
}

fn line(field: &'static str, text: &str, max: usize) -> Result<(), CardError> {
    bounded(field, text, max)?;
    if text.chars().any(char::is_control) {
        return Err(CardError::Control(field));
    }
    Ok(())
}

/// The shape of BCP 47: subtags of one to eight letters or digits, the first of letters only.
fn is_language(tag: &str) -> bool {
    let first_is_letters = tag
        .split('-')
        .next()
        .is_some_and(|first| first.len() >= 2 && first.bytes().all(|b| b.is_ascii_alphabetic()));
    tag.len() <= 35
        && first_is_letters
        && tag.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn work() -> ContentId {
        ContentId(Digest::of(b"work"))
    }

    fn key() -> CreatorKey {
        CreatorKey::from_seed(&[3; 32])
    }

    fn text() -> Text {
        Text {
            title: "Nächtliche Flüsse 🌊".into(),
            description: "Two lines.\nThe second.".into(),
            language: "pt-BR".into(),
            tags: vec!["water".into(), "night".into()],
            licence: "CC-BY-4.0".into(),
            poster: Some(Digest::of(b"poster")),
            unlisted: false,
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Text)) -> String {
        let mut text = text();
        change(&mut text);
        Card::sign(work(), 1, text, &key())
            .expect_err("not allowed")
            .to_string()
    }

    #[test]
    fn what_was_signed_is_read_back() {
        let card = Card::sign(work(), 7, text(), &key()).expect("allowed");
        let read = Card::decode(card.bytes(), &work(), &key().id()).expect("own encoding");
        assert_eq!((read.text(), read.seq()), (&text(), 7));
    }

    #[test]
    fn another_work_or_hand_is_refused() {
        let card = Card::sign(work(), 7, text(), &key()).expect("allowed");
        let other = ContentId(Digest::of(b"other"));
        assert!(matches!(
            Card::decode(card.bytes(), &other, &key().id()),
            Err(CardError::OtherWork)
        ));
        let stranger = CreatorKey::from_seed(&[4; 32]).id();
        assert!(matches!(
            Card::decode(card.bytes(), &work(), &stranger),
            Err(CardError::Signature)
        ));
    }

    #[test]
    fn each_limit_is_named() {
        assert_eq!(refused(|t| t.title = " ".into()), "a work needs a title");
        assert_eq!(
            refused(|t| t.title = "x".repeat(201)),
            "the title may have at most 200 characters"
        );
        assert_eq!(
            refused(|t| t.title = "a\nb".into()),
            "the title contains a control character; remove it"
        );
        assert_eq!(
            refused(|t| t.language = "english please".into()),
            "\"english please\" is not a language tag such as en, de or pt-BR"
        );
        assert_eq!(
            refused(|t| t.tags = vec!["a".into(); 2]),
            "tags are words, each given once"
        );
        assert_eq!(
            refused(|t| t.tags = (0..17).map(|n| n.to_string()).collect()),
            "a work has at most 16 tags"
        );
    }

    #[test]
    fn longest_texts_fit_the_longest_card() {
        let fullest = Text {
            title: "𝕏".repeat(MAX_TITLE_CHARS),
            description: "𝕏".repeat(MAX_DESCRIPTION_CHARS),
            language: "en".into(),
            tags: (0..MAX_TAGS)
                .map(|n| format!("{n:02}{}", "𝕏".repeat(MAX_TAG_CHARS - 2)))
                .collect(),
            licence: "𝕏".repeat(MAX_LICENCE_CHARS),
            poster: Some(Digest::of(b"poster")),
            unlisted: true,
        };
        let card = Card::sign(work(), u64::MAX, fullest, &key()).expect("within limits");
        assert!(Card::decode(card.bytes(), &work(), &key().id()).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Card::decode(&bytes, &work(), &key().id());
        }

        #[test]
        fn any_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let card = Card::sign(work(), 7, text(), &key()).expect("allowed");
            let mut bytes = card.bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Card::decode(&bytes, &work(), &key().id()).is_err());
        }
    }
}
