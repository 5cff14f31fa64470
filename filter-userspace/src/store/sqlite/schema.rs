//! What a file looks like, and how records lie in it.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::failure::failure;
use crate::record::{COLUMNS, Cell, Column, ColumnType, Record, Stored, terms};
use crate::store::entry::Frames;
use crate::store::traits::StoreError;

/// The steps from one version of a file to the next; `user_version` counts them.
///
/// `frames` has what the packet filter counted, and is never sampled. `terms` finds records
/// (see `record::terms`): its text is six characters a term, nothing but the number of the
/// record is kept of it. `minute` has the sums that charts are made of. The columns of `record`
/// are those of [`COLUMNS`]: one that a file lacks is added to it ([`add_columns`]), which
/// former versions do not notice.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE record (id INTEGER PRIMARY KEY) STRICT;
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

/// Time limit for a lock that a checkpoint holds.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The name of a column in a file: `from` is a word of SQL.
fn name(column: &Column) -> &'static str {
    if column.name == "from" { "from_address" } else { column.name }
}

/// The type of a column. What a former version wrote has no value.
const fn definition(column: &Column) -> &'static str {
    match column.holds {
        ColumnType::Number => "INTEGER NOT NULL DEFAULT 0",
        ColumnType::Code => "TEXT NOT NULL DEFAULT ''",
        ColumnType::Text => "TEXT",
    }
}

/// All columns, in their order.
fn names() -> String {
    COLUMNS.iter().fold("id".to_owned(), |names, column| names + ", " + name(column))
}

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let values = "?, ".repeat(COLUMNS.len());
    format!("INSERT INTO record ({}) VALUES ({values}?)", names())
});

/// One record.
pub(super) static ONE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM record WHERE id = ?", names()));

/// All records between two numbers.
pub(super) static SCAN: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM record WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC", names())
});

/// The numbers of records that have the terms.
pub(super) const FIND: &str = "SELECT rowid FROM terms WHERE terms MATCH ?1 AND rowid >= ?2 AND rowid <= ?3 \
     ORDER BY rowid DESC";

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
    let step = connection.transaction().map_err(wrong)?;
    for (migration, version) in missing.iter().zip(version + 1..) {
        step.execute_batch(migration).map_err(wrong)?;
        step.pragma_update(None, "user_version", version).map_err(wrong)?;
    }
    add_columns(&step).map_err(wrong)?;
    step.commit().map_err(wrong)
}

/// Adds the columns that a file does not have yet.
fn add_columns(to: &Connection) -> rusqlite::Result<()> {
    let known: Vec<String> = to
        .prepare("SELECT name FROM pragma_table_info('record')")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for column in
        COLUMNS.iter().filter(|column| !known.iter().any(|name| name == self::name(column)))
    {
        let add = format!("ALTER TABLE record ADD COLUMN {} {}", name(column), definition(column));
        to.execute_batch(&add)?;
    }
    Ok(())
}

/// Adds a record, and what finds it.
pub(super) fn write(to: &Connection, id: u64, record: &Record) -> rusqlite::Result<()> {
    let id = signed(id);
    let cells = COLUMNS.iter().map(|column| column.cell(record)).map(value);
    let values = std::iter::once(ToSqlOutput::from(id)).chain(cells);
    to.prepare_cached(&INSERT)?.execute(params_from_iter(values))?;
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
    let id = signed(id);
    let count = signed(record.count);
    to.prepare_cached("UPDATE record SET count = count + ?2 WHERE id = ?1")?
        .execute((id, count))?;
    add_to_minute(to, record, 0)
}

fn add_to_minute(to: &Connection, record: &Record, records: i64) -> rusqlite::Result<()> {
    let minute = signed(record.time / 60_000);
    let count = signed(record.count);
    let country = record.country.as_deref().unwrap_or("");
    to.prepare_cached(
        "INSERT INTO minute VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE \
         SET records = records + excluded.records, count = count + excluded.count",
    )?
    .execute((
        minute,
        record.kind.name(),
        record.direction.code(),
        record.status.name(),
        record.stage.code(),
        record.reason.code(),
        country,
        records,
        count,
    ))?;
    Ok(())
}

/// Adds what the packet filter counted.
pub(super) fn write_frames(to: &Connection, time: u64, frames: &[Frames]) -> rusqlite::Result<()> {
    let minute = signed(time / 60_000);
    let mut insert = to.prepare_cached(
        "INSERT INTO frames VALUES (?,?,?,?) ON CONFLICT DO UPDATE \
         SET frames = frames + excluded.frames",
    )?;
    for counted in frames {
        let count = signed(counted.frames);
        insert.execute((minute, counted.reason.name(), counted.family.name(), count))?;
    }
    Ok(())
}

/// Reads a record of [`SCAN`] or [`ONE`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let mut record = Record::blank();
    for (column, index) in COLUMNS.iter().zip(1..) {
        let value = row.get_ref(index)?;
        let cell = match value {
            ValueRef::Null => Some(Cell::Empty),
            ValueRef::Integer(number) => u64::try_from(number).ok().map(Cell::Number),
            ValueRef::Text(_) => Some(Cell::Text(value.as_str()?.into())),
            ValueRef::Real(_) | ValueRef::Blob(_) => None,
        };
        if !cell.is_some_and(|cell| column.set(&mut record, cell)) {
            return Err(unknown(index, column.name));
        }
    }
    Ok(Stored { id: number(row, 0)?, record })
}

/// A value as SQLite takes it.
fn value(cell: Cell<'_>) -> ToSqlOutput<'_> {
    match cell {
        Cell::Empty => ToSqlOutput::Owned(Value::Null),
        Cell::Number(number) => ToSqlOutput::Owned(Value::Integer(signed(number))),
        Cell::Text(Cow::Borrowed(text)) => ToSqlOutput::Borrowed(text.into()),
        Cell::Text(Cow::Owned(text)) => ToSqlOutput::Owned(Value::Text(text)),
    }
}

/// SQLite's numbers have a sign; what is beyond them is cut.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn unknown(column: usize, name: &str) -> rusqlite::Error {
    let error = format!("a value of `{name}` that mxdp does not write");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
