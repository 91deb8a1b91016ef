//! What can go wrong with a data folder, in sentences that name the thing and the remedy.

use std::{
    io,
    path::{Path, PathBuf},
};

use sluice_core::{ContentId, Digest};

/// A data folder that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No data folder where one was expected.
    #[error("no data folder at {}; name the right one with --data, or publish something first", .0.display())]
    Missing(PathBuf),
    /// Another `serve` holds the folder.
    #[error("another `sluice serve` is running on {}; stop it, or choose another folder with --data", .0.display())]
    Served(PathBuf),
    /// Another `gc` runs, or a `publish` is starting.
    #[error("another `sluice gc` is running on {}; wait until it ends", .0.display())]
    Collecting(PathBuf),
    /// Written by a newer version.
    #[error("{} was written by a newer sluice; use that version or later", .0.display())]
    TooNew(PathBuf),
    /// SQLite found damage, or the file is no database.
    #[error("the database {} is damaged ({reason}); move it away and restore it from a backup", path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// Another process kept the database locked for longer than we wait.
    #[error("the database {} stays locked by another process; try again when it has ended", .0.display())]
    Busy(PathBuf),
    /// No space, or a quota or file size limit.
    #[error("no space left for {}; free some and run it again", .0.display())]
    Full(PathBuf),
    /// The system refused access.
    #[error("not allowed to use {}; run as its owner or change its permissions", .0.display())]
    Denied(PathBuf),
    /// A key file that others can read.
    #[error("the key {} can be read by others; run: chmod 600 {}", .0.display(), .0.display())]
    LooseKey(PathBuf),
    /// A key file that holds no key.
    #[error("{} is no key of sluice; restore it from a backup, or move it away to get a new one", .0.display())]
    BadKey(PathBuf),
    /// A block whose file is missing, short or altered.
    #[error(
        "block {digest} is damaged on disk ({reason}); restore it from a backup, or remove and publish the work again"
    )]
    Damaged {
        /// The block asked for.
        digest: Digest,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A work that is not here.
    #[error("no work {0} here; `sluice list` shows what there is")]
    UnknownWork(ContentId),
    /// Any other failure of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure of SQLite.
    #[error("database {}: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// An I/O error at `path`, sorted by what a person can do about it.
    pub fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(path),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied(path)
            }
            _ => Self::Io { path, source },
        }
    }

    /// An SQLite error of the database at `path`, sorted likewise.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                path,
                reason: source.to_string(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(path),
            // SQLite reports a write past a quota or a file size limit as a plain I/O error.
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::SystemIoFailure) if is_write(&source) => Self::Full(path),
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                Self::Denied(path)
            }
            _ => Self::Sqlite { path, source },
        }
    }
}

/// Whether SQLite failed while it wrote or grew a file.
fn is_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    error.sqlite_error().is_some_and(|error| {
        [
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_TRUNCATE,
            ffi::SQLITE_IOERR_SHMSIZE,
        ]
        .contains(&error.extended_code)
    })
}
