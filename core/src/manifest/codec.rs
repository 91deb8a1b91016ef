//! The manifest's maps, field by field in canonical order (shorter keys first, then bytewise).
//!
//! Shape only; what a manifest may say is checked beside its type.

use super::{Contents, FileEntry, Policy, Right, VERSION};
use crate::{
    UnixMillis,
    canonical::{CodecError, Reader, Writer},
    creator::CreatorId,
    media::MediaType,
    path::FilePath,
    seal::{Commitment, ContentKey},
};

/// The map as it stands in the block; `sig` is absent from what is signed.
pub(super) struct Encoded {
    pub(super) contents: Contents,
    pub(super) creator: CreatorId,
    pub(super) sig: Option<[u8; 64]>,
}

impl Encoded {
    pub(super) fn write(&self) -> Vec<u8> {
        let Contents {
            created,
            files,
            keys,
            policy,
            account,
        } = &self.contents;
        let optional = u64::from(self.sig.is_some()) + u64::from(account.is_some());
        let mut writer = Writer::new();
        writer.map(6 + optional).key("v").number(VERSION.into());
        if let Some(sig) = &self.sig {
            writer.key("sig").bytes(sig);
        }
        writer.key("keys").list(keys.len());
        for commitment in keys {
            writer.bytes(commitment.as_bytes());
        }
        writer.key("files").list(files.len());
        for file in files {
            file.write(&mut writer);
        }
        writer.key("policy");
        policy.write(&mut writer);
        if let Some(account) = account {
            writer.key("account").bytes(account);
        }
        writer.key("created").number(created.0);
        writer.key("creator").text(&self.creator.to_string());
        writer.into_bytes()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.map()?;
        reader.version(VERSION)?;
        let sig = if reader.optional("sig") {
            Some(reader.array()?)
        } else {
            None
        };
        let count = reader.key("keys")?.list()?;
        let keys = (0..count)
            .map(|_| reader.array().map(Commitment::new))
            .collect::<Result<_, _>>()?;
        let count = reader.key("files")?.list()?;
        let files = (0..count)
            .map(|_| FileEntry::read(reader))
            .collect::<Result<_, _>>()?;
        let policy = Policy::read(reader.key("policy")?)?;
        let account = if reader.optional("account") {
            Some(reader.array()?)
        } else {
            None
        };
        let created = UnixMillis(reader.key("created")?.number()?);
        let creator = reader.key("creator")?.text()?;
        let creator = creator
            .parse()
            .map_err(|_| CodecError::Malformed("creator"))?;
        Ok(Self {
            contents: Contents {
                created,
                files,
                keys,
                policy,
                account,
            },
            creator,
            sig,
        })
    }
}

impl FileEntry {
    fn write(&self, writer: &mut Writer) {
        writer.map(5).key("key").number(self.key.into());
        writer.key("len").number(self.len);
        writer.key("path").text(self.path.as_str());
        writer.key("type").text(self.media.name());
        writer.key("pages").list(self.pages.len());
        for page in &self.pages {
            writer.link(*page);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.map()?;
        let key = reader.key("key")?.number()?;
        let len = reader.key("len")?.number()?;
        let path = reader.key("path")?.text()?;
        let media = reader.key("type")?.text()?;
        let count = reader.key("pages")?.list()?;
        Ok(Self {
            path: FilePath::try_from(path).map_err(|_| CodecError::Malformed("path"))?,
            media: MediaType::named(media).ok_or(CodecError::Malformed("type"))?,
            len,
            key: u32::try_from(key).map_err(|_| CodecError::Malformed("key"))?,
            pages: (0..count)
                .map(|_| reader.link())
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Policy {
    fn write(&self, writer: &mut Writer) {
        writer.map(1);
        match self {
            Self::Free(keys) => {
                writer.key("free").list(keys.len());
                for key in keys {
                    writer.bytes(key.expose());
                }
            }
            Self::Right(right) => {
                writer.key("right").map(2);
                writer.key("chain").number(right.chain);
                writer.key("resolver").bytes(&right.resolver);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.map()?;
        if reader.optional("free") {
            let count = reader.list()?;
            let keys = (0..count).map(|_| reader.array().map(ContentKey::from_random));
            return keys.collect::<Result<_, _>>().map(Self::Free);
        }
        reader.key("right")?.map()?;
        Ok(Self::Right(Right {
            chain: reader.key("chain")?.number()?,
            resolver: reader.key("resolver")?.array()?,
        }))
    }
}
