//! The two keys of a data folder: who the node is, and who its creator is.
//!
//! Each is the 32-byte seed of an Ed25519 key, as 64 hex digits in a file of mode 0600, apart from
//! the database. A key others can read is refused, not silently repaired: it may be known already.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{Store, StoreError};

/// Folder of the keys, mode 0700.
const FOLDER: &str = "keys";

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The libp2p identity of the relay.
    Node,
    /// What signs manifests and cards.
    Creator,
}

impl Key {
    const fn file(self) -> &'static str {
        match self {
            Self::Node => "node.key",
            Self::Creator => "creator.key",
        }
    }

    /// Where the key is.
    pub fn path(self, store: &Store) -> PathBuf {
        store.root().join(FOLDER).join(self.file())
    }
}

/// An Ed25519 seed; wiped when dropped.
pub type Seed = Zeroizing<[u8; 32]>;

/// Reads a key, making it first if there is none. True if it was made.
///
/// # Errors
///
/// [`StoreError::LooseKey`] if others can read it, [`StoreError::BadKey`] if it is none.
pub fn load_or_create(store: &Store, key: Key) -> Result<(Seed, bool), StoreError> {
    let path = key.path(store);
    match load(&path) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(|seed| (seed, false)),
    }
    let folder = store.root().join(FOLDER);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| StoreError::at(&folder, error))?;
    let mut seed = Seed::default();
    getrandom::fill(&mut *seed).map_err(|error| StoreError::at(&path, io::Error::other(error)))?;
    let temporary = folder.join(format!("{}.{}", key.file(), std::process::id()));
    let made = write(&temporary, &seed)
        // Unlike a rename, a link never replaces a key that another process made meanwhile.
        .and_then(|()| fs::hard_link(&temporary, &path))
        .and_then(|()| fs::File::open(&folder)?.sync_all());
    fs::remove_file(&temporary).ok();
    match made {
        Ok(()) => Ok((seed, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(&path).map(|seed| (seed, false))
        }
        Err(error) => Err(StoreError::at(&path, error)),
    }
}

fn write(path: &Path, seed: &Seed) -> io::Result<()> {
    // A left-over of a process that died with our number.
    fs::remove_file(path).ok();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in seed.iter() {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn load(path: &Path) -> Result<Seed, StoreError> {
    let metadata = fs::metadata(path).map_err(|error| StoreError::at(path, error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(StoreError::LooseKey(path.into()));
    }
    let bad = || StoreError::BadKey(path.into());
    // A key has 65 bytes; do not read a film that somebody moved here.
    if metadata.len() > 128 {
        return Err(bad());
    }
    let text = fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| StoreError::at(path, error))?;
    let digits = text.trim_ascii();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad());
    }
    let mut seed = Seed::default();
    for (byte, pair) in seed.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    Ok(seed)
}
