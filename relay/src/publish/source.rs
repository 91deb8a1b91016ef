//! What a person names to be published: opened, looked at, and watched for changes.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sluice_core::{
    chunk::Layout,
    manifest::MAX_FILES,
    media::{MAX_POSTER_LEN, MediaError, MediaType, SNIFF_LEN},
    path::FilePath,
};

use super::PublishError;

/// A source file, open and known to be publishable.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) file: File,
    stamp: Stamp,
    pub(super) name: FilePath,
    pub(super) media: MediaType,
    pub(super) layout: Layout,
}

/// What changes when somebody writes to a file.
#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Source {
    pub(super) fn still_the_same(&self) -> Result<(), PublishError> {
        let metadata = self
            .file
            .metadata()
            .map_err(|source| unreadable(&self.path, source))?;
        if Stamp::of(&metadata) == self.stamp {
            Ok(())
        } else {
            Err(PublishError::Changed(self.path.clone()))
        }
    }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> PublishError {
    PublishError::Unreadable {
        path: path.into(),
        source,
    }
}

/// Opens a regular file; looks before it opens, because opening a pipe would wait for a writer.
fn open_regular(path: &Path) -> Result<(File, fs::Metadata), PublishError> {
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            PublishError::Missing(path.into())
        }
        _ => unreadable(path, source),
    })?;
    if metadata.is_dir() {
        return Err(PublishError::Directory(path.into()));
    }
    if !metadata.is_file() {
        return Err(PublishError::NotAFile(path.into()));
    }
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    Ok((file, metadata))
}

pub(super) fn open_sources(paths: &[PathBuf]) -> Result<Vec<Source>, PublishError> {
    if paths.len() > MAX_FILES {
        return Err(PublishError::TooManyFiles(paths.len()));
    }
    let mut sources: Vec<Source> = Vec::with_capacity(paths.len());
    for path in paths {
        let source = open_source(path)?;
        if sources
            .iter()
            .any(|other| other.name.nests_with(&source.name))
        {
            return Err(PublishError::SameName(source.name));
        }
        sources.push(source);
    }
    Ok(sources)
}

fn open_source(path: &Path) -> Result<Source, PublishError> {
    let (file, metadata) = open_regular(path)?;
    let layout = Layout::new(metadata.len()).map_err(|source| PublishError::Length {
        path: path.into(),
        source,
    })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = FilePath::suggest(&name);
    let mut start = Vec::with_capacity(SNIFF_LEN);
    (&file)
        .take(SNIFF_LEN as u64)
        .read_to_end(&mut start)
        .map_err(|source| unreadable(path, source))?;
    let media = MediaType::of(&name, &start)?;
    Ok(Source {
        path: path.into(),
        file,
        stamp: Stamp::of(&metadata),
        name,
        media,
        layout,
    })
}

pub(super) fn read_poster(path: &Path) -> Result<Vec<u8>, PublishError> {
    let (file, metadata) = open_regular(path)?;
    let refuse = |source| PublishError::Poster {
        path: path.into(),
        source,
    };
    if metadata.len() > MAX_POSTER_LEN {
        return Err(refuse(MediaError::PosterTooLong(metadata.len())));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed: a file that grows under us is still refused.
    file.take(MAX_POSTER_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    MediaType::of_poster(&bytes).map_err(refuse)?;
    Ok(bytes)
}
