//! Files that cannot be read: a search skips them, says so, and goes on.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;

use super::*;

/// A store of three files with 40 records each, and a fourth that is being written.
fn filled(folder: &Path) -> SqliteStore {
    let store = SqliteStore::start(options(folder));
    for part in 0..4 {
        for n in 0..if part < 3 { 40 } else { 5 } {
            add(&store, &record(part * 40 + n, clock::unix_ms()));
        }
        settle(&store);
    }
    assert_eq!(record_files(folder).len(), 4);
    store
}

fn found(store: &SqliteStore) -> Page {
    store.search(&Query { limit: 1_000, ..Query::default() }).unwrap()
}

/// The kinds of damage, and whether the file is put aside for it.
type Damage = (&'static str, bool, fn(&Path));

const DAMAGES: [Damage; 6] = [
    ("not a database", true, |path| fs::write(path, "x".repeat(20_000)).unwrap()),
    ("empty", true, |path| drop(File::create(path).unwrap())),
    ("cut short", true, |path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 4096 / 3 * 4096).unwrap();
    }),
    ("overwritten", true, |path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let size = file.metadata().unwrap().len();
        file.write_all_at(&vec![0xa5; usize::try_from(size).unwrap() - 8192], 8192).unwrap();
    }),
    ("missing", false, |path| fs::remove_file(path).unwrap()),
    // Also for root, who may read everything.
    ("a folder", false, |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
];

/// Whatever is wrong with an older file, found while the daemon runs or at its start: the
/// others are searched, the answer says that it is partial, and so does an alarm.
#[test]
fn a_file_that_cannot_be_read_is_skipped_and_said() {
    for (name, is_aside, damage) in DAMAGES {
        for at_start in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut store = filled(folder.path());
            assert!(!found(&store).partial && store.health().unreadable.is_empty());
            let file = record_files(folder.path())[1].clone();
            // Nothing of it is left in a journal or in a reader.
            drop(store);
            if !at_start {
                store = SqliteStore::start(options(folder.path()));
                damage(&file);
            } else {
                damage(&file);
                store = SqliteStore::start(options(folder.path()));
            }
            for again in 0..3 {
                let page = found(&store);
                let count = page.records.len();
                let case = format!("{name}, at start {at_start}, {again}: {page:?}");
                if at_start && name == "missing" {
                    // Nobody knows that there was such a file.
                    assert_eq!((count, page.partial), (85, false), "{name}");
                    continue;
                }
                assert!((85..125).contains(&count), "{case}");
                assert!(page.partial && page.skipped.len() == 1, "{case}");
                let summary = store.summary(0, clock::unix_ms() + 60_000).unwrap();
                assert!(summary.partial && summary.skipped.len() == 1, "{case}");
                assert_eq!(store.health().unreadable.len(), 1, "{case}");
            }
            let aside = file.with_extension("sqlite.damaged");
            assert_eq!(aside.exists(), is_aside, "{name}, at start {at_start}");
            // A search of another time has all that there is.
            let newest = store.search(&Query { limit: 3, ..Query::default() }).unwrap();
            let newest = newest.records.last().map(|stored| stored.id - 1);
            let recent = Query { after: newest, limit: 3, ..Query::default() };
            let recent = store.search(&recent).unwrap();
            assert_eq!((recent.records.len(), recent.partial), (3, false), "{name}");
        }
    }
}

/// The file that is being written is put aside as well, and what comes goes to another.
#[test]
fn a_damaged_file_that_is_being_written_is_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let newest = record_files(folder.path())[3].clone();
    let file = OpenOptions::new().write(true).open(&newest).unwrap();
    file.write_all_at(&[0xa5; 4096], 0).unwrap();
    let wal = newest.with_extension("sqlite-wal");
    fs::write(wal, "").unwrap();
    let start = Instant::now();
    let mut n = 1_000;
    while found(&store).records.iter().all(|stored| stored.record.size < 1_000) {
        assert!(start.elapsed() < PATIENCE, "{:?}", store.health());
        add(&store, &record(n, clock::unix_ms()));
        n += 1;
        thread::sleep(Duration::from_millis(100));
    }
    assert!(found(&store).partial);
}

/// What was put aside counts against the bytes and goes by age, as every other file.
#[test]
fn what_was_put_aside_counts_and_goes_with_its_age() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let clock = || NOW.load(Ordering::Relaxed);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let age = Duration::from_millis(20 * DAY);
    let start = || SqliteStore::start(Options { clock, steady, age, ..options(folder.path()) });
    let days = |store: &SqliteStore, days: u64| {
        for n in 0..days {
            NOW.fetch_add(DAY, Ordering::Relaxed);
            add(store, &record(n, clock()));
            settle(store);
        }
    };
    let store = start();
    days(&store, 5);
    let oldest = record_files(folder.path())[0].clone();
    fs::write(&oldest, "x".repeat(3 << 20)).unwrap();
    assert!(found(&store).partial);
    let aside = oldest.with_extension("sqlite.damaged");
    days(&store, 1);
    assert!(aside.exists() && store.health().bytes > 3 << 20, "{:?}", store.health());
    drop(store);
    let store = start();
    days(&store, 1);
    assert!(found(&store).partial && store.health().bytes > 3 << 20);
    days(&store, 25);
    assert!(!aside.exists() && !found(&store).partial);
    assert_eq!(store.health().unreadable, Vec::<String>::new());
}

/// A row that holds what mxdp never wrote costs itself, and not its file.
#[test]
fn a_damaged_entry_is_skipped_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let file = record_files(folder.path())[1].clone();
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("UPDATE record SET ip = 'x' WHERE size = 50", []).unwrap();
    drop(connection);
    let store = SqliteStore::start(options(folder.path()));
    let page = found(&store);
    assert_eq!((page.records.len(), page.partial, page.skipped.len()), (124, true, 1), "{page:?}");
    assert!(file.exists());
}

/// What an operator removes, before or after it was put aside, is no longer missing.
#[test]
fn what_was_removed_is_forgotten() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let store = SqliteStore::start(Options { steady, ..options(folder.path()) });
    let file = record_files(folder.path())[1].clone();
    fs::write(&file, "x".repeat(20_000)).unwrap();
    assert!(found(&store).partial);
    fs::remove_file(file.with_extension("sqlite.damaged")).unwrap();
    fs::remove_file(&record_files(folder.path())[0]).unwrap();
    assert!(found(&store).partial);
    NOW.fetch_add(60_000, Ordering::Relaxed);
    add(&store, &record(0, clock::unix_ms()));
    settle(&store);
    assert!(!found(&store).partial && store.health().unreadable.is_empty());
}
