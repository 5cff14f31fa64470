//! Files of other versions: with fewer columns, with more, and with codes that are not known.

use super::*;

/// The table of records as former versions made it, and an entry of theirs.
const FORMER: &str = "
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
PRAGMA user_version = 1;
";

/// Makes the file of a former version with one entry, changed by some SQL.
fn former(folder: &Path, now: u64, change: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let id = files::number_at(now);
    let path = files::path(folder, id);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(FORMER).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO record (id, time, type, direction, status, reason, stage, ip, size,
                duration_ms, count, subject, from_address)
             VALUES ({id}, {now}, 'blocked', 'inbound', 'permanent', 'blocked_ip', 'connection',
                '192.0.2.1', 10, 20, 1, 'Invoice', 'anna@example.org');
             INSERT INTO minute VALUES ({}, 'blocked', 'inbound', 'permanent', 'connection',
                'blocked_ip', '', 1, 1);
             {change}",
            now / 60_000
        ))
        .unwrap();
    path
}

#[test]
fn a_file_of_a_former_version_is_read_and_written() {
    let now = clock::unix_ms();
    for (change, subject) in [
        ("", Some("Invoice")),
        ("ALTER TABLE record DROP COLUMN subject", None),
        ("ALTER TABLE record ADD COLUMN greylisted INTEGER NOT NULL DEFAULT 0", Some("Invoice")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = former(folder.path(), now, change);
        let store = SqliteStore::start(options(folder.path()));
        let added = record(0, now + 1);
        add(&store, &added);
        settle(&store);
        assert_eq!(record_files(folder.path()), [path]);
        let found: Vec<_> = all(&store, &Query::default()).0;
        assert_eq!(found.len(), 2, "{change}");
        assert_eq!(found[0].record, added, "{change}");
        let former = &found[1].record;
        assert_eq!(former.subject.as_deref(), subject, "{change}");
        assert_eq!(former.from.as_deref(), Some("anna@example.org"), "{change}");
        assert_eq!((former.size, former.duration_ms), (10, 20), "{change}");
    }
}

#[test]
fn codes_of_another_version_are_read_as_they_are() {
    let now = clock::unix_ms();
    let folder = tempfile::tempdir().unwrap();
    let change = "
        UPDATE record SET stage = 'greylist', reason = 'greylisted', direction = 'internal';
        UPDATE minute SET stage = 'greylist', reason = 'greylisted', direction = 'internal';";
    former(folder.path(), now, change);
    let store = SqliteStore::start(options(folder.path()));
    settle(&store);
    let page = store.search(&Query::default()).unwrap();
    assert!(!page.partial, "{page:?}");
    let found = &page.records[0].record;
    assert_eq!(found.stage, Stage::Other("greylist".into()));
    assert_eq!(found.reason, Reason::Other("greylisted".into()));
    assert_eq!(found.direction.code(), "internal");
    let summary = store.summary(now - 60_000, now + 60_000).unwrap();
    assert_eq!(summary.decisions[0].reason.code(), "greylisted");
}
