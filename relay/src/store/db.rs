//! The SQLite half of the data folder: schema, migrations and every query.
//!
//! A staged work (`seq IS NULL`) belongs to a publish in flight, named by its lease, and is
//! invisible to every query but those of `draft` and `gc`.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use rusqlite_migration::{M, Migrations};
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex};

use super::{StoreError, Work, WorksPage};

/// The database's file name.
pub(super) const FILE: &str = "sluice.db";

/// How long a command waits for another one's write transaction. The longest of ours (deleting a
/// work of a million blocks) takes a few seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// What a block is to its work. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The manifest.
    Manifest = 0,
    /// A card; its index is the sequence number.
    Card = 1,
    /// A poster; its index is the sequence number of the card that brought it.
    Poster = 2,
    /// A hash page.
    Page = 3,
    /// A sealed chunk.
    Chunk = 4,
}

/// Where a block belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// What it is.
    pub kind: Kind,
    /// The file it belongs to; 0 for manifest, card and poster.
    pub file: u32,
    /// Its position among its kind in that file.
    pub index: u64,
}

/// Grows by appending: an entry, once released, never changes.
const MIGRATIONS: &[M<'static>] = &[M::up(
    "CREATE TABLE works (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        -- Order of becoming visible; NULL while a publish is in flight.
        seq INTEGER UNIQUE,
        -- Who stages it; NULL once visible.
        lease TEXT UNIQUE,
        -- The manifest's digest.
        id BLOB UNIQUE,
        unlisted INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        -- The JSON people see.
        summary TEXT NOT NULL DEFAULT '',
        CHECK ((seq IS NULL) = (lease IS NOT NULL)),
        CHECK ((seq IS NULL) OR (id IS NOT NULL))
    ) STRICT;
    CREATE INDEX works_listed ON works (seq DESC) WHERE unlisted = 0;
    CREATE TABLE blocks (
        work INTEGER NOT NULL REFERENCES works (n) ON DELETE CASCADE,
        kind INTEGER NOT NULL,
        file INTEGER NOT NULL,
        idx INTEGER NOT NULL,
        digest BLOB NOT NULL,
        len INTEGER NOT NULL,
        PRIMARY KEY (work, kind, file, idx)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX blocks_by_digest ON blocks (digest);",
)];

/// Opens a connection and brings the schema up to date.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let fail = |error| StoreError::sqlite(path, error);
    let mut connection = Connection::open(path).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(fail)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(fail)?;
    connection
        .pragma_update(None, "foreign_keys", true)
        .map_err(fail)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    use rusqlite_migration::{Error, MigrationDefinitionError};
    let migrations = Migrations::from_slice(MIGRATIONS);
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| StoreError::sqlite(path, error))?;
    if usize::try_from(version) == Ok(MIGRATIONS.len()) {
        return Ok(());
    }
    match migrations.to_latest(connection) {
        Ok(()) => Ok(()),
        Err(Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead)) => {
            Err(StoreError::TooNew(path.into()))
        }
        Err(Error::RusqliteError { err, .. }) => {
            // Another process may have migrated between our look and our try.
            let now: i64 = connection
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .map_err(|error| StoreError::sqlite(path, error))?;
            if usize::try_from(now) == Ok(MIGRATIONS.len()) {
                return Ok(());
            }
            Err(StoreError::sqlite(path, err))
        }
        Err(other) => Err(StoreError::Corrupt {
            path: path.into(),
            reason: other.to_string(),
        }),
    }
}

/// SQLite's integers are signed; nothing we count comes near the end of them.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn uint(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get::<_, [u8; 32]>(column).map(Digest::new)
}

/// A write transaction that holds the lock from its start, so it never fails half way.
pub(super) fn write(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

pub(super) fn ping(db: &Connection) -> rusqlite::Result<()> {
    db.query_row(
        "SELECT COUNT(*) FROM (SELECT 1 FROM works LIMIT 1)",
        [],
        |_| Ok(()),
    )
}

pub(super) fn quick_check(db: &Connection) -> rusqlite::Result<()> {
    let answer: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
        Some(answer),
    ))
}

pub(super) fn totals(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    db.query_row(
        "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM works WHERE seq IS NOT NULL",
        [],
        |row| Ok((uint(row, 0)?, uint(row, 1)?)),
    )
}

/// The length of a block that a visible work has.
pub(super) fn block_len(db: &Connection, digest: &Digest) -> rusqlite::Result<Option<u64>> {
    db.prepare_cached(
        "SELECT b.len FROM blocks b JOIN works w ON w.n = b.work
         WHERE b.digest = ?1 AND w.seq IS NOT NULL LIMIT 1",
    )?
    .query_row([digest.as_bytes()], |row| uint(row, 0))
    .optional()
}

/// Whether any work, visible or staged, claims the block.
pub(super) fn is_claimed(db: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM blocks WHERE digest = ?1 LIMIT 1")?
        .exists([digest.as_bytes()])
}

pub(super) fn chunk_digest(
    db: &Connection,
    id: &ContentId,
    file: FileIndex,
    index: ChunkIndex,
) -> rusqlite::Result<Option<Digest>> {
    db.prepare_cached(
        "SELECT b.digest FROM works w JOIN blocks b ON b.work = w.n
         WHERE w.id = ?1 AND w.seq IS NOT NULL AND b.kind = ?2 AND b.file = ?3 AND b.idx = ?4",
    )?
    .query_row(
        params![id.0.as_bytes(), Kind::Chunk as i64, file.0, int(index.0)],
        |row| digest(row, 0),
    )
    .optional()
}

pub(super) fn newest_card(db: &Connection, id: &ContentId) -> rusqlite::Result<Option<Digest>> {
    db.prepare_cached(
        "SELECT b.digest FROM works w JOIN blocks b ON b.work = w.n
         WHERE w.id = ?1 AND w.seq IS NOT NULL AND b.kind = ?2 ORDER BY b.idx DESC LIMIT 1",
    )?
    .query_row(params![id.0.as_bytes(), Kind::Card as i64], |row| {
        digest(row, 0)
    })
    .optional()
}

pub(super) fn work(db: &Connection, id: &ContentId) -> rusqlite::Result<Option<Work>> {
    db.prepare_cached("SELECT summary FROM works WHERE id = ?1 AND seq IS NOT NULL")?
        .query_row([id.0.as_bytes()], |row| summary(row, 0))
        .optional()
}

pub(super) fn works(
    db: &Connection,
    limit: usize,
    before: Option<u64>,
    unlisted: bool,
) -> rusqlite::Result<WorksPage> {
    let listed = if unlisted { "" } else { "AND unlisted = 0" };
    let mut statement = db.prepare_cached(&format!(
        "SELECT seq, summary FROM works WHERE seq < ?1 {listed} ORDER BY seq DESC LIMIT ?2"
    ))?;
    // One more than asked for tells whether there is a next page.
    let mut rows = statement
        .query_map(
            params![before.map_or(i64::MAX, int), int(limit as u64 + 1)],
            |row| Ok((uint(row, 0)?, summary(row, 1)?)),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(WorksPage {
        next: rows.last().map(|(seq, _)| *seq).filter(|_| more),
        works: rows.into_iter().map(|(_, work)| work).collect(),
    })
}

fn summary(row: &Row<'_>, column: usize) -> rusqlite::Result<Work> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

/// Starts a staged work and returns its number.
pub(super) fn stage_work(db: &Connection, lease: &str) -> rusqlite::Result<i64> {
    db.execute("INSERT INTO works (lease) VALUES (?1)", [lease])?;
    Ok(db.last_insert_rowid())
}

/// Claims a block for a staged work.
pub(super) fn stage_block(
    db: &Connection,
    work: i64,
    slot: Slot,
    digest: &Digest,
    len: u64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO blocks (work, kind, file, idx, digest, len) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        work,
        slot.kind as i64,
        slot.file,
        int(slot.index),
        digest.as_bytes(),
        int(len)
    ])
    .map(drop)
}

/// Makes a staged work visible.
pub(super) fn reveal(db: &Connection, work: i64, summary: &Work) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE works SET lease = NULL, id = ?2, unlisted = ?3, bytes = ?4, summary = ?5,
             seq = (SELECT COALESCE(MAX(seq), 0) + 1 FROM works)
         WHERE n = ?1",
        params![
            work,
            summary.id.0.as_bytes(),
            summary.unlisted,
            int(summary.bytes),
            text(summary)
        ],
    )
    .map(drop)
}

/// Hands the blocks of a staged work to the visible work `summary.id` and drops the stage.
///
/// False if that work is gone, or already has a card of this sequence number.
pub(super) fn attach(db: &Connection, staged: i64, summary: &Work) -> rusqlite::Result<bool> {
    let target: Option<i64> = db
        .query_row(
            "SELECT n FROM works w WHERE id = ?1 AND seq IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM blocks b WHERE b.work = w.n AND b.kind = ?2 AND b.idx >= ?3)",
            params![
                summary.id.0.as_bytes(),
                Kind::Card as i64,
                int(summary.card_seq)
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(target) = target else {
        return Ok(false);
    };
    db.execute(
        "UPDATE blocks SET work = ?1 WHERE work = ?2",
        [target, staged],
    )?;
    db.execute("DELETE FROM works WHERE n = ?1", [staged])?;
    db.execute(
        "UPDATE works SET unlisted = ?2, summary = ?3 WHERE n = ?1",
        params![target, summary.unlisted, text(summary)],
    )?;
    Ok(true)
}

fn text(summary: &Work) -> String {
    serde_json::to_string(summary).expect("strings and numbers always have a JSON form")
}

/// Deletes a staged work's rows. Its block files are then anybody's to collect.
pub(super) fn drop_stage(db: &Connection, lease: &str) -> rusqlite::Result<()> {
    db.execute("DELETE FROM works WHERE lease = ?1", [lease])
        .map(drop)
}

/// The leases of all staged works.
pub(super) fn leases(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT lease FROM works WHERE lease IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The digests of all blocks that the work with this lease claims.
pub(super) fn staged_blocks(db: &Connection, lease: &str) -> rusqlite::Result<Vec<Digest>> {
    db.prepare("SELECT digest FROM blocks WHERE work = (SELECT n FROM works WHERE lease = ?1)")?
        .query_map([lease], |row| digest(row, 0))?
        .collect()
}

/// Deletes a visible work and returns the digests it had; `None` if there is none.
pub(super) fn remove(db: &Connection, id: &ContentId) -> rusqlite::Result<Option<Vec<Digest>>> {
    let n: Option<i64> = db
        .query_row(
            "SELECT n FROM works WHERE id = ?1 AND seq IS NOT NULL",
            [id.0.as_bytes()],
            |row| row.get(0),
        )
        .optional()?;
    let Some(n) = n else {
        return Ok(None);
    };
    let digests = db
        .prepare("SELECT digest FROM blocks WHERE work = ?1")?
        .query_map([n], |row| digest(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    db.execute("DELETE FROM works WHERE n = ?1", [n])?;
    Ok(Some(digests))
}

/// Calls `each` with every block of a visible work: the work, the digest, the length.
pub(super) fn for_each_block(
    db: &Connection,
    mut each: impl FnMut(ContentId, Digest, u64),
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT w.id, b.digest, b.len FROM blocks b JOIN works w ON w.n = b.work
         WHERE w.seq IS NOT NULL ORDER BY b.work, b.kind, b.file, b.idx",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(ContentId(digest(row, 0)?), digest(row, 1)?, uint(row, 2)?);
    }
    Ok(())
}
