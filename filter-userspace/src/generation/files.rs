//! What a configuration names, read: every byte that a rule set is made of. Nothing of it is
//! parsed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::answers;
use super::certificates::certificate_warnings;
use super::fault::Fault;
use super::folder::pack;
use super::gathered::{Gathered, Kept, KeptAnswer, Networks, Said, Tolerated};
use super::protected::on_this_host;
use super::rule_set::Loaded;
use super::source::Source;
use super::sources::Keeping;
use crate::config::Config;
use crate::config::smtp::Smtp;
use crate::io::dns::{NO_SERVER, system};
use crate::io::files;
use crate::io::last_good::Copies;
use crate::lists;

/// The most files of a country folder: two families for each code, and room.
const COUNTRY_FILES: usize = 2048;

/// How many files of a country folder that were passed over are named.
const PASSED_OVER: usize = 10;

/// The largest file of a zone's key.
const ZONE_KEY: u64 = 4096;

/// What becomes of a source that fails.
pub enum Tolerance<'a> {
    /// It is an error: for `mxdp check`, and for questions without a daemon.
    Strict,
    /// Its last good content is used.
    LastGood {
        /// Where that is kept.
        copies: Copies,
        /// The sources that are accepted however little they have left.
        accept: &'a [String],
        /// The sources of the rule set that is active: without a copy of one of these,
        /// the active rule set stays.
        active: &'a BTreeSet<String>,
        /// Seconds of the Unix epoch.
        now: u64,
    },
}

/// Reads everything that a configuration names.
#[must_use]
pub fn gather(config: &Config, tolerance: &Tolerance<'_>) -> Gathered {
    let sources = Source::all(config);
    let mut read = BTreeMap::new();
    for source in &sources {
        read.entry(source.key())
            .or_insert_with(|| said(source, config.limits.file_bytes, tolerance));
    }
    let mut remarks = Vec::new();
    if config.asks_dns() && config.dns.servers.is_empty() && system::servers().is_empty() {
        remarks.push(format!("{}: {NO_SERVER}", config.path.display()));
    }
    remarks.extend(certificate_warnings(config));
    let folder = sources.iter().find(|source| source.is_folder).map(|source| &source.path);
    Gathered {
        tolerance: match tolerance {
            Tolerance::Strict => None,
            Tolerance::LastGood { active, .. } => Some(Tolerated { active: (*active).clone() }),
        },
        sources: read,
        copies: BTreeMap::new(),
        unknown: unknown(&sources, tolerance),
        networks: networks(config),
        directories: directories(config),
        zone_keys: config.smtp.as_ref().map(zone_keys).unwrap_or_default(),
        passed_over: folder.and_then(|folder| passed_over(folder)),
        protected: on_this_host(config),
        remarks,
    }
}

/// Reads the last good contents that a rule set is to be made of.
pub fn gather_copies(
    tolerance: &Tolerance<'_>,
    needs: impl IntoIterator<Item = String>,
    gathered: &mut Gathered,
) {
    let Tolerance::LastGood { copies, .. } = tolerance else { return };
    gathered.copies.extend(needs.into_iter().map(|key| {
        let copy = copies.read(&key);
        (key, copy)
    }));
}

/// Keeps what good sources contain, and removes the copies of what is no longer a source, unless
/// the rule set is refused.
pub fn keep(
    tolerance: &Tolerance<'_>,
    gathered: &Gathered,
    keeping: Keeping,
    result: &mut Result<Loaded, Vec<String>>,
) {
    for problem in &keeping.problems {
        tracing::warn!("{problem}");
    }
    let Tolerance::LastGood { copies, now, .. } = tolerance else { return };
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for (key, copy) in keeping.copies {
        let Some(Said { now: Ok(bytes), .. }) = gathered.sources.get(&key) else { continue };
        match (copies.write(&key, bytes, *now, copy.counts, Vec::new()), copy.damaged) {
            (Err(error), _) => faults.push(Fault::new(format!(
                "the last good content of {key} cannot be kept: {error}"
            ))),
            (Ok(()), Some(damaged)) => warnings.push(format!("{damaged}; it was made anew")),
            (Ok(()), None) => {}
        }
    }
    if let Ok(loaded) = result {
        copies.retain(&keeping.named);
        loaded.faults.extend(faults);
        loaded.warnings.extend(warnings);
    }
}

fn said(source: &Source, limit: u64, tolerance: &Tolerance<'_>) -> Said {
    let now = match source.is_folder {
        true => read_folder(&source.path, limit),
        false => files::read(&source.path, limit),
    };
    let Tolerance::LastGood { copies, accept, .. } = tolerance else {
        return Said { now, kept: Kept::Nothing, is_accepted: false };
    };
    let is_accepted = accept.iter().any(|name| is_named(&source.path, name));
    Said { kept: kept(copies, &source.key(), &now), now, is_accepted }
}

/// What is known of the last good content of a source.
fn kept(copies: &Copies, key: &str, now: &Result<Vec<u8>, String>) -> Kept {
    match copies.header(key) {
        Ok(None) => Kept::Nothing,
        Err(damaged) => Kept::Damaged(damaged),
        Ok(Some(header)) if now.as_ref().is_ok_and(|bytes| header.is_of(bytes)) => {
            Kept::Same(header)
        }
        Ok(Some(header)) => Kept::Other(header),
    }
}

/// What was to be accepted and is not a source, a line each.
fn unknown(sources: &[Source], tolerance: &Tolerance<'_>) -> Vec<String> {
    let Tolerance::LastGood { accept, .. } = tolerance else { return Vec::new() };
    let is_source = |name: &String| sources.iter().any(|source| is_named(&source.path, name));
    let unknown = accept.iter().filter(|name| !is_source(name));
    unknown
        .map(|name| {
            format!(
                "--accept {name}: the configuration names no list, database or file of recipients \
                 or senders of that name"
            )
        })
        .collect()
}

/// Whether a file is meant by a name.
fn is_named(file: &Path, name: impl AsRef<Path>) -> bool {
    let name = name.as_ref();
    file == name
        || file.canonicalize().is_ok_and(|file| name.canonicalize().is_ok_and(|name| name == file))
}

/// The networks that were last found in the SPF records of approved domains.
fn networks(config: &Config) -> Vec<Networks> {
    let of = |domain| {
        let path = answers::networks_file(&config.startup.state.folder, domain);
        let said = path.exists().then(|| files::read(&path, config.limits.file_bytes));
        Networks { path, said }
    };
    config.approved_spf.iter().map(of).collect()
}

/// The last answers of directories.
fn directories(config: &Config) -> Vec<KeptAnswer> {
    let copies = answers::copies(config);
    let directories = config.smtp.iter().flat_map(|smtp| &smtp.directories);
    directories.map(|one| copies.read(&answers::directory_key(&one.name))).collect()
}

/// The files of the keys of DNS lists.
pub(super) fn zone_keys(smtp: &Smtp) -> Vec<Result<Vec<u8>, String>> {
    smtp.zone_keys.iter().map(|key| files::read(&key.file, ZONE_KEY)).collect()
}

/// The country files of a folder, packed into one.
fn read_folder(folder: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut packed = Vec::new();
    // All of its files are held at once: the bound is on their sum.
    let mut left = limit;
    for (name, path) in files::list(folder, COUNTRY_FILES)? {
        if lists::country_of_file(&name).is_some() {
            let bytes = files::read(&path, left)?;
            left = left.saturating_sub(bytes.len() as u64);
            pack(&mut packed, &name, &bytes);
        }
    }
    Ok(packed)
}

/// A line about the files of a country folder that no country is known for.
fn passed_over(folder: &Path) -> Option<String> {
    let all = files::list(folder, COUNTRY_FILES).ok()?;
    let others: Vec<_> = all
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| lists::country_of_file(name).is_none())
        .chain(files::deeper(folder, COUNTRY_FILES))
        .map(|name| name.escape_debug().to_string())
        .collect();
    if others.is_empty() {
        return None;
    }
    let more = match others.len().saturating_sub(PASSED_OVER) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = others[..others.len().min(PASSED_OVER)].join(", ");
    Some(format!(
        "{}: files that are not named as a country's are passed over: {named}{more}",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::folder::unpack;
    use super::*;

    #[test]
    fn a_folder_that_was_packed_is_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("ipv4")).expect("a folder");
        for (name, text) in
            [("de.cidr", "192.0.2.0/24\n"), ("ipv4/at.cidr", ""), ("my-notes.txt", "x")]
        {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let packed = read_folder(folder.path(), 1000).expect("read");
        let files = unpack(&packed).expect("whole");
        let expected = [
            ("de.cidr".to_owned(), b"192.0.2.0/24\n".to_vec()),
            ("ipv4/at.cidr".to_owned(), Vec::new()),
        ];
        assert_eq!(files, expected);
        assert!((1..packed.len()).any(|length| unpack(&packed[..length]).is_none()));
        assert!(passed_over(folder.path()).is_some_and(|line| line.ends_with(": my-notes.txt")));
        std::fs::create_dir_all(folder.path().join("sub/deep")).expect("a folder");
        std::fs::write(folder.path().join("sub/deep/de.cidr"), "x").expect("written");
        let line = passed_over(folder.path()).expect("files");
        assert!(line.ends_with(": my-notes.txt, sub/deep/"), "{line}");
    }
}
