//! The room that records take: on the disk, and in the queue.

use super::files::RecordFile;
use super::*;

/// The entries of this process for files of the folder that were removed: their blocks
/// are taken until nobody has them open.
fn removed_and_open(folder: &Path) -> Vec<String> {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        let name = target.to_str()?.to_owned();
        (target.starts_with(folder) && name.ends_with(" (deleted)")).then_some(name)
    });
    open.collect()
}

fn open_all(reader: &mut Reader, files: &[RecordFile]) {
    for file in files {
        let connection = reader.open(file).unwrap();
        let rows = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        assert!(connection.query_row("SELECT count(*) FROM record", [], rows).unwrap() > 0);
    }
}

/// Readers stay open between looks, but not on files that are gone: neither those that
/// nobody uses nor one that is in use when they go.
#[test]
fn no_reader_keeps_a_removed_file() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let clock = || NOW.load(Ordering::Relaxed);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let age = Duration::from_millis(20 * DAY);
    let store = SqliteStore::start(Options { clock, steady, age, ..options(folder.path()) });
    let days = |days: u64| {
        for n in 0..days {
            NOW.fetch_add(DAY, Ordering::Relaxed);
            add(&store, &record(n, clock()));
            settle(&store);
        }
    };
    let files = || fs::read_dir(folder.path()).unwrap().count();
    days(15);
    assert!(files() >= 15, "{}", files());
    // Two at once, so that one of them stays idle longer than the other.
    let both = store.read(|one, files| {
        open_all(one, files);
        store.read(|other, files| {
            open_all(other, files);
            Ok(())
        })
    });
    both.unwrap();
    days(15);
    assert_eq!(removed_and_open(folder.path()), Vec::<String>::new());
    let used = store.read(|reader, files| {
        open_all(reader, files);
        days(15);
        // A look that goes on has its files to its end.
        open_all(reader, files);
        assert_ne!(removed_and_open(folder.path()), Vec::<String>::new());
        Ok(())
    });
    used.unwrap();
    assert_eq!(removed_and_open(folder.path()), Vec::<String>::new());
    assert!(!all(&store, &Query::default()).0.is_empty());
}

/// However fast they come, within a day and below the records of a file.
#[test]
fn records_take_no_more_bytes_than_they_may() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    const BYTES: u64 = 4 << 20;
    let clock = || NOW.load(Ordering::Relaxed);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { clock, steady, bytes: BYTES, ..Options::new(folder.path().to_owned()) };
    let store = SqliteStore::start(options);
    let taken = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        sizes.sum::<u64>()
    };
    let mut most = 0;
    for n in 0..30_000 {
        add(&store, &record(n, clock()));
        if n % 200 == 199 {
            // House is kept every ten seconds.
            NOW.fetch_add(10_000, Ordering::Relaxed);
            settle(&store);
            most = most.max(taken());
        }
    }
    // Between two turns comes a share and what is written meanwhile; the file before is
    // being put in order.
    assert!(most <= BYTES + BYTES / 2, "{most}");
    let kept = all(&store, &Query { limit: 1_000, ..Query::default() }).0;
    let newest: Vec<_> = kept.iter().map(|stored| stored.record.size).collect();
    let count = newest.len() as u64;
    assert_eq!(newest, (30_000 - count..30_000).rev().collect::<Vec<_>>());
    // What goes is an eighth at a time.
    assert!((2_000..20_000).contains(&count), "{count}");
}

/// A record at a time makes the journal long, which is not what fills a file.
#[test]
fn what_comes_slowly_fills_files_too() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let clock = || NOW.load(Ordering::Relaxed);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().to_owned());
    let store = SqliteStore::start(Options { clock, steady, bytes: 4 << 20, ..options });
    for n in 0..1_000 {
        NOW.fetch_add(1_000, Ordering::Relaxed);
        add(&store, &record(n, clock()));
        settle(&store);
    }
    assert_eq!(store.health().records, 1_000);
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let files = names.filter(|name| name.to_string_lossy().ends_with(".sqlite")).count();
    assert!(files <= 4, "{files}");
}

/// It is an alarm for a while after the last, and then no longer.
#[test]
fn what_finds_no_room_is_said_for_a_minute() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let pass = |seconds: u64| NOW.fetch_add(1000 * seconds, Ordering::Relaxed);
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("record");
    // A file where the folder should be: nothing can be written.
    fs::write(&folder, "").unwrap();
    let store = SqliteStore::start(Options { queue: 10, steady, ..options(&folder) });
    // More than the queue holds, and what the writer has in its hands.
    let lose = || {
        let before = store.health().lost;
        let start = Instant::now();
        while store.health().lost == before {
            assert!(start.elapsed() < PATIENCE, "{:?}", store.health());
            add(&store, &Record { folds: true, ..record(0, clock::unix_ms()) });
        }
    };
    let is_said = || store.health().is_losing;
    assert!(!is_said());
    lose();
    assert!(is_said());
    pass(59);
    assert!(is_said());
    lose();
    pass(59);
    assert!(is_said());
    pass(1);
    assert!(!is_said() && store.health().lost >= 2, "{:?}", store.health());
    lose();
    assert!(is_said());
}

/// However much is recorded, and however often the oldest records go: what operators changed
/// stays. A queue full of records does not keep a change out either.
#[test]
fn no_flood_of_records_evicts_what_operators_changed() {
    static NOW: AtomicU64 = AtomicU64::new(1_795_000_000_000);
    let clock = || NOW.load(Ordering::Relaxed);
    let steady = || NOW.load(Ordering::Relaxed) * 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().to_owned());
    let options = Options { clock, steady, bytes: 1 << 20, queue: 400, ..options };
    let store = SqliteStore::start(options);
    let change = |what: &str| {
        let (who, what) = ("anna".to_owned(), what.to_owned());
        store.add(Entry::Change(Change { time: clock(), who, what, outcome: "done".to_owned() }));
    };
    change("before the flood");
    for n in 0..12_000 {
        add(&store, &record(n, clock()));
        if n % 200 == 199 {
            NOW.fetch_add(10_000, Ordering::Relaxed);
            settle(&store);
        }
    }
    // Faster than the queue is emptied.
    let start = Instant::now();
    while store.health().lost == 0 {
        assert!(start.elapsed() < PATIENCE, "{:?}", store.health());
        add(&store, &Record { folds: true, ..record(0, clock()) });
    }
    change("in the flood");
    while !store.flush(PATIENCE) {
        assert!(start.elapsed() < PATIENCE * 3, "{:?}", store.health());
    }
    assert!(store.health().records < 12_000, "{:?}", store.health());
    let changes = store.changes(10).unwrap().changes;
    let whats: Vec<_> = changes.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(whats, ["in the flood", "before the flood"]);
    assert_eq!(store.health().audit_lost, 0);
}
