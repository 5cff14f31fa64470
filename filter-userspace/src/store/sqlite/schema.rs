//! What a file looks like, and how records lie in it.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, ToSql};

use super::failure::failure;
use crate::record::{Kind, Record, Status, Stored, terms};
use crate::store::entry::Frames;
use crate::store::traits::StoreError;

/// The steps from one version of a file to the next; `user_version` counts them.
///
/// `frames` has what the packet filter counted, and is never sampled. `terms` finds records (see `record::terms`): its text is six characters a term,
/// nothing but the number of the record is kept of it. `minute` has the sums that
/// charts are made of.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE record (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, type TEXT NOT NULL,
    direction TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, stage TEXT NOT NULL,
    ip TEXT NOT NULL, country TEXT, sender TEXT, recipient TEXT, rule TEXT, reply TEXT,
    helo TEXT, tls TEXT, reputation TEXT, spf TEXT, size INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL, session TEXT, reference TEXT, customer TEXT, backend TEXT,
    message_id TEXT, from_address TEXT, subject TEXT, count INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE terms USING fts5 (
    words, content = '', detail = none, columnsize = 0, tokenize = 'ascii'
);
CREATE TABLE minute (
    minute INTEGER NOT NULL, type TEXT NOT NULL, direction TEXT NOT NULL,
    status TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, country TEXT NOT NULL,
    records INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (minute, type, direction, status, stage, reason, country)
) STRICT, WITHOUT ROWID;
CREATE TABLE frames (
    minute INTEGER NOT NULL, reason TEXT NOT NULL, family TEXT NOT NULL,
    frames INTEGER NOT NULL, PRIMARY KEY (minute, reason, family)
) STRICT, WITHOUT ROWID;
CREATE TABLE change (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('skew', 0);
"];

/// How long is waited for a lock that a checkpoint holds.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The columns of a record, in the order of [`write()`] and [`read()`].
macro_rules! columns {
    () => {
        "id, time, type, direction, status, reason, stage, ip, country, sender, recipient, \
         rule, reply, helo, tls, reputation, spf, size, duration_ms, session, reference, \
         customer, backend, message_id, from_address, subject, count"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO record (",
    columns!(),
    ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
);

/// One record.
pub(super) const ONE: &str = concat!("SELECT ", columns!(), " FROM record WHERE id = ?");

/// The numbers of records that have the terms.
pub(super) const FIND: &str = "SELECT rowid FROM terms WHERE terms MATCH ?1 AND rowid >= ?2 AND rowid <= ?3 \
     ORDER BY rowid DESC";

/// All records between two numbers.
pub(super) const SCAN: &str =
    concat!("SELECT ", columns!(), " FROM record WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC");

/// Opens a file to write, and makes or renews it.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let wrong = |error: rusqlite::Error| failure(path, &error);
    let mut connection = Connection::open(path).map_err(wrong)?;
    // A commit is on the disk when it returns (synchronous = FULL): a crash of the
    // host loses no more than one of the process.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; \
             PRAGMA wal_autocheckpoint = 4000; PRAGMA trusted_schema = OFF;",
        )
        .map_err(wrong)?;
    connection.busy_timeout(BUSY).map_err(wrong)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens a file to read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let wrong = |error: rusqlite::Error| failure(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    connection
        .execute_batch(
            "PRAGMA query_only = ON; PRAGMA cache_size = -1024; PRAGMA trusted_schema = OFF;",
        )
        .map_err(wrong)?;
    connection.busy_timeout(BUSY).map_err(wrong)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let wrong = |error: rusqlite::Error| failure(path, &error);
    let version: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(wrong)?;
    let missing = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..));
    let Some(missing) = missing else {
        let known = MIGRATIONS.len();
        let error = format!("of a newer mxdp: version {version}, and this one knows {known}");
        return Err(StoreError::of(path, error));
    };
    if missing.is_empty() {
        return Ok(());
    }
    let step = connection.transaction().map_err(wrong)?;
    for (migration, version) in missing.iter().zip(version + 1..) {
        step.execute_batch(migration).map_err(wrong)?;
        step.pragma_update(None, "user_version", version).map_err(wrong)?;
    }
    step.commit().map_err(wrong)
}

/// Adds a record, and what finds it.
pub(super) fn write(to: &Connection, id: u64, record: &Record) -> rusqlite::Result<()> {
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let time = i64::try_from(record.time).unwrap_or(i64::MAX);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (kind, status, ip) = (record.kind.name(), record.status.name(), record.ip.to_string());
    let (size, duration, count) =
        (number(record.size), number(record.duration_ms), number(record.count));
    let values: [&dyn ToSql; 27] = [
        &id,
        &time,
        &kind,
        &record.direction,
        &status,
        &record.reason,
        &record.stage,
        &ip,
        &record.country,
        &record.sender,
        &record.recipient,
        &record.rule,
        &record.reply,
        &record.helo,
        &record.tls,
        &record.reputation,
        &record.spf,
        &size,
        &duration,
        &record.session,
        &record.reference,
        &record.customer,
        &record.backend,
        &record.message_id,
        &record.from,
        &record.subject,
        &count,
    ];
    to.prepare_cached(INSERT)?.execute(values)?;
    let all = terms::of(record);
    let mut text = String::with_capacity(7 * all.len());
    for term in all {
        term.write(&mut text);
        text.push(' ');
    }
    to.prepare_cached("INSERT INTO terms (rowid, words) VALUES (?, ?)")?.execute((id, text))?;
    add_to_minute(to, record, 1)
}

/// Adds SYNs, or folded attempts, to a record that is there.
pub(super) fn add_count(to: &Connection, id: u64, record: &Record) -> rusqlite::Result<()> {
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let count = i64::try_from(record.count).unwrap_or(i64::MAX);
    to.prepare_cached("UPDATE record SET count = count + ?2 WHERE id = ?1")?
        .execute((id, count))?;
    add_to_minute(to, record, 0)
}

fn add_to_minute(to: &Connection, record: &Record, records: i64) -> rusqlite::Result<()> {
    let minute = i64::try_from(record.time / 60_000).unwrap_or(i64::MAX);
    let count = i64::try_from(record.count).unwrap_or(i64::MAX);
    let country = record.country.as_deref().unwrap_or("");
    to.prepare_cached(
        "INSERT INTO minute VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE \
         SET records = records + excluded.records, count = count + excluded.count",
    )?
    .execute((
        minute,
        record.kind.name(),
        &record.direction,
        record.status.name(),
        &record.stage,
        &record.reason,
        country,
        records,
        count,
    ))?;
    Ok(())
}

/// Adds what the packet filter counted.
pub(super) fn write_frames(to: &Connection, time: u64, frames: &[Frames]) -> rusqlite::Result<()> {
    let minute = i64::try_from(time / 60_000).unwrap_or(i64::MAX);
    let mut insert = to.prepare_cached(
        "INSERT INTO frames VALUES (?,?,?,?) ON CONFLICT DO UPDATE \
         SET frames = frames + excluded.frames",
    )?;
    for counted in frames {
        let count = i64::try_from(counted.frames).unwrap_or(i64::MAX);
        insert.execute((minute, &counted.reason, &counted.family, count))?;
    }
    Ok(())
}

/// Reads a record of [`SCAN`] or [`ONE`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let kind = kind(row.get_ref(2)?.as_str()?);
    let status = status(row.get_ref(4)?.as_str()?);
    let ip = row.get_ref(7)?.as_str()?;
    let record = Record {
        time: number(row, 1)?,
        kind: kind.ok_or_else(|| unknown(2, "type"))?,
        direction: row.get(3)?,
        status: status.ok_or_else(|| unknown(4, "status"))?,
        reason: row.get(5)?,
        stage: row.get(6)?,
        ip: ip.parse().map_err(|_| unknown(7, ip))?,
        country: row.get(8)?,
        sender: row.get(9)?,
        recipient: row.get(10)?,
        rule: row.get(11)?,
        reply: row.get(12)?,
        helo: row.get(13)?,
        tls: row.get(14)?,
        reputation: row.get(15)?,
        spf: row.get(16)?,
        size: number(row, 17)?,
        duration_ms: number(row, 18)?,
        session: row.get(19)?,
        reference: row.get(20)?,
        customer: row.get(21)?,
        backend: row.get(22)?,
        message_id: row.get(23)?,
        from: row.get(24)?,
        subject: row.get(25)?,
        count: number(row, 26)?,
        folds: false,
    };
    Ok(Stored { id: number(row, 0)?, record })
}

/// The type of a name.
pub(super) fn kind(name: &str) -> Option<Kind> {
    [Kind::Blocked, Kind::Accepted].into_iter().find(|known| known.name() == name)
}

/// The status of a name.
pub(super) fn status(name: &str) -> Option<Status> {
    Status::ALL.into_iter().find(|known| known.name() == name)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn unknown(column: usize, text: &str) -> rusqlite::Error {
    let error = format!("`{text}` is nothing that mxdp writes");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
