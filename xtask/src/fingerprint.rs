//! Whether anything changed since the last time.
//!
//! A fingerprint is BLAKE3 over names and contents, never over times: a fresh clone, a touched file and a restored
//! cache all compare equal when their bytes do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Hex digits we keep of a digest in a file name: 64 bits, plenty against chance among a handful of files.
const SHORT_LEN: usize = 16;

/// Collects what a result depends on.
#[derive(Default)]
pub(crate) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    /// Adds a named value.
    pub(crate) fn value(&mut self, name: &str, value: &[u8]) -> &mut Self {
        for part in [name.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a file, or every file below a directory, by its path relative to `base`. A missing path adds its absence.
    pub(crate) fn path(&mut self, base: &Path, path: &str, skip: &[&str]) -> Result<&mut Self> {
        for file in files(&base.join(path), skip)? {
            let bytes =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file
                .strip_prefix(base)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            self.value(&name, &bytes);
        }
        Ok(self)
    }

    /// The digest, in hex.
    pub(crate) fn hex(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }

    /// The digest as it stands in a file name.
    pub(crate) fn short(&self) -> String {
        self.hex()[..SHORT_LEN].to_owned()
    }
}

/// Every file at or below `path`, sorted; directories named in `skip` are left out, a missing path is no file.
pub(crate) fn files(path: &Path, skip: &[&str]) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut entries = fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot list {}", path.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        if !skip.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&entry.path(), skip)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_between_name_and_value_changes_the_digest() {
        let mut left = Fingerprint::default();
        let mut right = Fingerprint::default();
        assert_ne!(left.value("ab", b"c").hex(), right.value("a", b"bc").hex());
    }

    #[test]
    fn same_values_give_the_same_digest() {
        let mut left = Fingerprint::default();
        let mut right = Fingerprint::default();
        assert_eq!(left.value("a", b"b").hex(), right.value("a", b"b").hex());
    }
}
