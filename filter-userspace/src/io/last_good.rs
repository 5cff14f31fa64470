//! What lists, databases and directories last said well: copies in the folder `last-good`
//! of the state folder, from which a start or a reload goes on when a source fails.
//!
//! A copy is a line of JSON that says whose it is and what it holds, with a SHA-256, and
//! then the bytes as they were read. It is written whole or not at all, and one that is
//! not what was written is never used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::files;
use super::state::{self, StateItem};

/// The version of the form of a copy.
const VERSION: u32 = 1;

/// The longest first line, in bytes: counts of many domains.
const HEADER_LIMIT: u64 = 16 << 20;

/// How long the writing of a copy may take.
const LONGEST_WRITE: Duration = Duration::from_secs(600);

/// The bytes that are read at once to be summed up.
const BLOCK: usize = 1 << 16;

/// How many entries something has, all together and of parts of it: countries, domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All entries.
    pub total: u64,
    /// Those of parts that matter by themselves.
    #[serde(default)]
    pub parts: BTreeMap<String, u64>,
}

/// What is known of a copy without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    /// Whose copy it is; see [`Copies::read`].
    source: String,
    /// When the source was as it is here: seconds of the Unix epoch.
    pub at: u64,
    /// Its entries.
    pub counts: Counts,
    /// What there is to say about it, a line of text each.
    #[serde(default)]
    pub remarks: Vec<String>,
    bytes: u64,
    sha256: String,
}

impl Header {
    /// Whether the copy has these bytes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.sha256 == sum(bytes)
    }
}

/// The copies of a state folder.
#[derive(Clone, Debug)]
pub struct Copies {
    folder: PathBuf,
    /// The most bytes of each.
    limit: u64,
}

impl Copies {
    /// The copies in a state folder, of sources of at most `limit` bytes.
    #[must_use]
    pub fn new(state: &Path, limit: u64) -> Self {
        Self::at(StateItem::LastGood.path(state), limit)
    }

    /// The copies in a folder of their own.
    #[must_use]
    pub const fn at(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit }
    }

    /// The most bytes of one.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// What is known of the copy of a source, whose bytes are checked. None where there
    /// is no copy.
    ///
    /// # Errors
    ///
    /// In words: it is damaged, or cannot be read.
    pub fn header(&self, source: &str) -> Result<Option<Header>, String> {
        let Some((header, mut file)) = self.open(source)? else { return Ok(None) };
        let mut context = Context::new(&SHA256);
        let mut block = vec![0; BLOCK];
        let mut left = header.bytes;
        loop {
            let read = file.read(&mut block).map_err(|error| self.failed(source, &error))?;
            if read == 0 {
                break;
            }
            left = left.checked_sub(read as u64).ok_or_else(|| self.damaged(source))?;
            context.update(&block[..read]);
        }
        if left > 0 || hex(context.finish().as_ref()) != header.sha256 {
            return Err(self.damaged(source));
        }
        Ok(Some(header))
    }

    /// The copy of a source, which is any text that no other source has.
    ///
    /// # Errors
    ///
    /// In words: it is damaged, or cannot be read.
    pub fn read(&self, source: &str) -> Result<Option<(Header, Vec<u8>)>, String> {
        let Some((header, file)) = self.open(source)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(header.bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(source, &error))?;
        if header.is_of(&bytes) { Ok(Some((header, bytes))) } else { Err(self.damaged(source)) }
    }

    /// Keeps the bytes of a source in the place of what was kept of it, durably: when it
    /// returns, they survive a power cut.
    ///
    /// # Errors
    ///
    /// In words: there is no room, or the system refused. What was kept is still there.
    pub fn write(
        &self,
        source: &str,
        bytes: &[u8],
        at: u64,
        counts: Counts,
        remarks: Vec<String>,
    ) -> Result<(), String> {
        let path = self.path(source);
        let length = bytes.len() as u64;
        // Each by itself: what belongs to one supplier or tenant never takes another's room.
        if length > self.limit {
            return Err(format!(
                "{source}: has {length} bytes, and {} at most are kept (limits.file_bytes)",
                self.limit
            ));
        }
        let header = Header {
            version: VERSION,
            source: source.to_owned(),
            at,
            counts,
            remarks,
            bytes: length,
            sha256: sum(bytes),
        };
        let first = serde_json::to_string(&header).map_err(|error| error.to_string())? + "\n";
        state::replace_by(&path, &[first.as_bytes(), bytes])
            .map_err(|error| self.failed(source, &error))
    }

    /// Keeps what `from` holds as the copy of `to`, where it holds something.
    ///
    /// # Errors
    ///
    /// As [`Copies::read`] and [`Copies::write`].
    pub fn promote(&self, from: &str, to: &str) -> Result<bool, String> {
        let Some((header, bytes)) = self.read(from)? else { return Ok(false) };
        self.write(to, &bytes, header.at, header.counts, header.remarks)?;
        self.remove(from);
        Ok(true)
    }

    /// Removes the copy of a source.
    pub fn remove(&self, source: &str) {
        // What is not there needs no removal.
        _ = fs::remove_file(self.path(source));
    }

    /// Removes the copies of all sources but these.
    pub fn retain(&self, sources: &BTreeSet<String>) {
        let wanted: BTreeSet<_> = sources.iter().map(|source| self.path(source)).collect();
        for (path, _) in self.files() {
            if !wanted.contains(&path) && !is_being_written(&path) {
                _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self, source: &str) -> PathBuf {
        let digest = sum(source.as_bytes());
        self.folder.join(&digest[..32])
    }

    fn open(&self, source: &str) -> Result<Option<(Header, BufReader<File>)>, String> {
        let path = self.path(source);
        let file = match files::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(source, &error)),
        };
        if !file.metadata().is_ok_and(|file| file.is_file()) {
            return Err(self.damaged(source));
        }
        let mut file = BufReader::new(file);
        let mut first = Vec::new();
        file.by_ref()
            .take(HEADER_LIMIT)
            .read_until(b'\n', &mut first)
            .map_err(|error| self.failed(source, &error))?;
        let header: Header = serde_json::from_slice(&first).map_err(|_| self.damaged(source))?;
        if header.version != VERSION || header.source != source || header.bytes > self.limit {
            return Err(self.damaged(source));
        }
        Ok(Some((header, file)))
    }

    fn files(&self) -> impl Iterator<Item = (PathBuf, u64)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
    }

    fn failed(&self, source: &str, error: &io::Error) -> String {
        format!("{}: {error}", self.path(source).display())
    }

    fn damaged(&self, source: &str) -> String {
        format!("{}: is damaged and not used", self.path(source).display())
    }
}

/// Whether a file is the next version of a copy, and no remains of a crash.
fn is_being_written(path: &Path) -> bool {
    let age = || fs::metadata(path).ok()?.modified().ok()?.elapsed().ok();
    state::is_next(path) && age().is_none_or(|age| age < LONGEST_WRITE)
}

fn sum(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&SHA256, bytes).as_ref())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        // Writing to a text does not fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(total: u64) -> Counts {
        Counts { total, parts: BTreeMap::from([("DE".to_owned(), total)]) }
    }

    #[test]
    fn what_was_kept_comes_back_and_what_is_damaged_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let copies = Copies::new(&folder.path().join("state"), 1000);
        assert_eq!(copies.read("list /a"), Ok(None));
        copies.write("list /a", b"192.0.2.1\n", 7, counts(1), vec!["x".to_owned()]).expect("kept");
        let (header, bytes) = copies.read("list /a").expect("whole").expect("there");
        assert_eq!((header.at, &bytes[..]), (7, &b"192.0.2.1\n"[..]));
        assert_eq!(copies.header("list /a"), Ok(Some(header.clone())));
        assert!(header.is_of(b"192.0.2.1\n") && !header.is_of(b"192.0.2.2\n"));
        assert_eq!(copies.read("list /b"), Ok(None));

        let path = copies.path("list /a");
        let good = fs::read(&path).expect("read");
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).expect("written");
            assert!(copies.read("list /a").is_err() && copies.header("list /a").is_err());
        }
        for position in 0..good.len() {
            let mut flipped = good.clone();
            flipped[position] ^= 1;
            fs::write(&path, &flipped).expect("written");
            let read = copies.read("list /a");
            assert_eq!(read.is_ok(), copies.header("list /a").is_ok());
            // A time or a count that is another is not seen; the bytes are what they were.
            assert!(read.is_err() || read.is_ok_and(|copy| copy.expect("there").1 == bytes));
        }
        fs::write(&path, [&good[..], b"\n"].concat()).expect("written");
        assert!(copies.read("list /a").is_err() && copies.header("list /a").is_err());
        // The copy of another source is not this one's.
        fs::rename(&path, copies.path("list /b")).expect("renamed");
        assert!(copies.read("list /b").is_err_and(|error| error.contains("is damaged")));
    }

    #[test]
    fn copies_are_bounded_and_go_with_their_sources() {
        let folder = tempfile::tempdir().expect("a folder");
        let copies = Copies::new(folder.path(), 300);
        let write = |source: &str, size: usize| {
            copies.write(source, &vec![b'x'; size], 1, counts(1), Vec::new())
        };
        write("a", 100).expect("kept");
        write("b", 100).expect("kept");
        assert!(write("c", 301).is_err_and(|error| error.contains("c: has 301 bytes, and 300")));
        write("d", 300).expect("kept, however much others have");
        // What it replaces does not count.
        write("b", 90).expect("kept");
        let next = copies.path("e").with_extension("next");
        fs::write(&next, "half").expect("written");
        copies.retain(&BTreeSet::from(["b".to_owned(), "c".to_owned()]));
        assert!(next.exists(), "what is being written was removed");
        assert_eq!(copies.read("a"), Ok(None));
        assert!(copies.read("b").is_ok_and(|copy| copy.is_some()));
        assert_eq!(copies.promote("b", "d"), Ok(true));
        assert_eq!(copies.promote("b", "d"), Ok(false));
        assert!(copies.read("d").is_ok_and(|copy| copy.is_some()));
        StateItem::LastGood.remove(folder.path());
        assert_eq!(copies.read("d"), Ok(None));
    }
}
