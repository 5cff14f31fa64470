//! The file that keeps temporary blocks: `temporary.txt` in the state folder, a
//! block a line: address, reason, when it began and when it ends, in seconds of
//! the Unix epoch.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use filter_common::abi::TemporaryReason;

use super::files;
use super::state::{self, StateItem};
use crate::lists::ClientNetwork;

/// The largest file: more than the largest map of blocks takes.
const SIZE_LIMIT: u64 = 2 << 30;

/// A block that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The client.
    pub client: ClientNetwork,
    /// Why it is blocked.
    pub reason: TemporaryReason,
    /// When it began, in seconds of the Unix epoch.
    pub created: u64,
    /// When it ends, in seconds of the Unix epoch.
    pub expires: u64,
}

/// Reads the blocks kept in `folder`, and how many lines are not as they were written and
/// cost themselves alone; without a file there are none.
///
/// # Errors
///
/// In words, if the file cannot be read.
pub fn load(folder: &Path) -> Result<(Vec<Saved>, usize), String> {
    let path = StateItem::TemporaryBlocks.path(folder);
    if !path.exists() {
        return Ok((Vec::new(), 0));
    }
    let text = files::read(&path, SIZE_LIMIT)?;
    Ok(parse(&text))
}

/// The blocks of a text, and how many lines are none.
fn parse(text: &[u8]) -> (Vec<Saved>, usize) {
    let text = String::from_utf8_lossy(text);
    let (mut blocks, mut bad) = (Vec::new(), 0);
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut saved = || {
            let saved = Saved {
                client: ClientNetwork::of(words.next()?.parse().ok()?),
                reason: words.next().and_then(reason)?,
                created: words.next()?.parse().ok()?,
                expires: words.next()?.parse().ok()?,
            };
            words.next().is_none().then_some(saved)
        };
        match saved() {
            Some(saved) => blocks.push(saved),
            None => bad += 1,
        }
    }
    (blocks, bad)
}

fn reason(name: &str) -> Option<TemporaryReason> {
    TemporaryReason::ALL.into_iter().find(|reason| reason.name() == name)
}

/// Keeps `blocks` in the place of those in `folder`, whole or not at all.
///
/// # Errors
///
/// If anything of it fails. What was kept before is then still there.
pub fn save(folder: &Path, blocks: impl Iterator<Item = Saved>) -> io::Result<()> {
    let mut text = String::new();
    for Saved { client, reason, created, expires } in blocks {
        let address = client.first();
        // Writing to a text does not fail.
        _ = writeln!(text, "{address} {} {created} {expires}", reason.name());
    }
    state::replace(&StateItem::TemporaryBlocks.path(folder), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        assert_eq!(load(&folder).unwrap(), (Vec::new(), 0));
        let saved: Vec<_> = TemporaryReason::ALL
            .into_iter()
            .zip(["192.0.2.1", "2001:db8::", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"])
            .map(|(reason, address)| Saved {
                client: ClientNetwork::of(address.parse().unwrap()),
                reason,
                created: 1,
                expires: 2,
            })
            .collect();
        save(&folder, saved.iter().copied()).unwrap();
        assert_eq!(load(&folder).unwrap(), (saved.clone(), 0));
        for damaged in ["x", "192.0.2.1 operator 1", "192.0.2.1 operator 1 2 3", "192.0.2.1 x 1 2"]
        {
            let text = format!("192.0.2.1 operator 1 2\n{damaged}\n2001:db8:: operator 1 2\n");
            let (blocks, bad) = parse(text.as_bytes());
            assert_eq!((blocks.len(), bad), (2, 1), "{damaged}");
        }
        StateItem::TemporaryBlocks.remove(&folder);
        assert_eq!(load(&folder).unwrap(), (Vec::new(), 0));
    }
}
