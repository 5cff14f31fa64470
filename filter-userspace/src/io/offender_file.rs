//! What is kept of clients' conduct in the state folder, a client network a line, with times
//! in seconds of [`super::timeline`].
//!
//! `ended.txt` keeps which blocks have ended: the address, how many seconds the last block
//! lasted, and when that ended. `delivered.txt` keeps who delivered mail: the address, and when.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::files;
use super::state::{self, StateItem};
use crate::lists::ClientNetwork;

/// The largest file: more than is ever remembered.
const SIZE_LIMIT: u64 = 64 << 20;

/// A block that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The client.
    pub client: ClientNetwork,
    /// How long the block lasted, in seconds.
    pub lasted: u64,
    /// When it ended.
    pub ended: u64,
}

/// What is kept in `folder`, and how many lines of it are not as they were written.
///
/// # Errors
///
/// In words, if the file cannot be read.
pub fn load(folder: &Path) -> Result<(Vec<Ended>, usize), String> {
    lines(&StateItem::EndedBlocks.path(folder), parse)
}

/// Who delivered mail and when, as is kept in `folder`, and how many lines of it are not as
/// they were written.
///
/// # Errors
///
/// In words, if the file cannot be read.
pub fn load_delivered(folder: &Path) -> Result<(Vec<(ClientNetwork, u64)>, usize), String> {
    lines(&StateItem::Deliveries.path(folder), |line| {
        let (address, time) = line.split_once(' ')?;
        Some((ClientNetwork::of(address.parse().ok()?), time.parse().ok()?))
    })
}

fn lines<T>(path: &Path, parse: fn(&str) -> Option<T>) -> Result<(Vec<T>, usize), String> {
    if !path.exists() {
        return Ok((Vec::new(), 0));
    }
    let text = files::read(path, SIZE_LIMIT)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(parse).collect();
    let bad = lines.iter().filter(|line| line.is_none()).count();
    Ok((lines.into_iter().flatten().collect(), bad))
}

fn parse(line: &str) -> Option<Ended> {
    let mut words = line.split(' ');
    let ended = Ended {
        client: ClientNetwork::of(words.next()?.parse().ok()?),
        lasted: words.next()?.parse().ok()?,
        ended: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(ended)
}

/// Keeps `ended` in the place of what is in `folder`, whole or not at all.
///
/// # Errors
///
/// If anything of it fails. What was kept before is then still there.
pub fn save(folder: &Path, ended: impl Iterator<Item = Ended>) -> io::Result<()> {
    let mut text = String::new();
    for Ended { client, lasted, ended } in ended {
        let address = client.first();
        // Writing to a text does not fail.
        _ = writeln!(text, "{address} {lasted} {ended}");
    }
    state::replace(&StateItem::EndedBlocks.path(folder), text.as_bytes())
}

/// The same for who delivered mail, and when.
///
/// # Errors
///
/// If anything of it fails. What was kept before is then still there.
pub fn save_delivered(
    folder: &Path,
    delivered: impl Iterator<Item = (ClientNetwork, u64)>,
) -> io::Result<()> {
    let mut text = String::new();
    for (client, time) in delivered {
        let address = client.first();
        // Writing to a text does not fail.
        _ = writeln!(text, "{address} {time}");
    }
    state::replace(&StateItem::Deliveries.path(folder), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_a_damaged_line_costs_itself() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), Ok((Vec::new(), 0)));
        let ended = Ended {
            client: ClientNetwork::of("2001:db8::".parse().unwrap()),
            lasted: 300,
            ended: 7,
        };
        save(folder.path(), [ended].into_iter()).unwrap();
        assert_eq!(load(folder.path()), Ok((vec![ended], 0)));
        fs::write(StateItem::EndedBlocks.path(folder.path()), "x\n2001:db8:: 300 7\n192.0.2.1 3\n")
            .unwrap();
        assert_eq!(load(folder.path()), Ok((vec![ended], 2)));
        let delivered = [(ended.client, 9)];
        save_delivered(folder.path(), delivered.into_iter()).unwrap();
        assert_eq!(load_delivered(folder.path()), Ok((delivered.to_vec(), 0)));
        fs::write(StateItem::Deliveries.path(folder.path()), "2001:db8:: 9\n192.0.2.1\n").unwrap();
        assert_eq!(load_delivered(folder.path()), Ok((delivered.to_vec(), 1)));
        for kept in [StateItem::EndedBlocks, StateItem::Deliveries] {
            kept.remove(folder.path());
        }
        assert_eq!(load(folder.path()), Ok((Vec::new(), 0)));
        assert_eq!(load_delivered(folder.path()), Ok((Vec::new(), 0)));
    }
}
