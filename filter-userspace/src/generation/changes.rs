//! What a reload changes, for the audit trail: keys, and entries of files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::contents::{Contents, of_entries};
use crate::config::flat::{self, Keys};
use crate::config::{Config, CountrySource};
use crate::lists::{Lists, LoadedFile};

/// The lines of changes that are kept of a reload.
const LINES: usize = 50;

/// What is remembered of a rule set to say what the next one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The keys of the configuration.
    pub keys: Keys,
    /// What is used of files and directories that are no lists of addresses.
    contents: Contents,
}

impl Remembered {
    /// What there is to remember of a configuration, of what was gathered for it, and of its
    /// other files: certificates and keys.
    pub fn of(
        keys: Keys,
        config: &Config,
        mut contents: Contents,
        stamps: &[(PathBuf, u64)],
    ) -> Self {
        // What was gathered is known by what is used of it, and not by what lies on the disk.
        let gathered = gathered_files(config);
        for (path, stamp) in stamps.iter().filter(|(path, _)| !gathered.contains(path.as_path())) {
            contents.add_stamp(path.display().to_string(), *stamp);
        }
        Self { keys, contents }
    }

    /// What is another in `new`, a line each; `old` and `new` lists with it.
    pub fn differences(&self, new: &Self, old_lists: &Lists, new_lists: &Lists) -> Vec<String> {
        let mut lines = flat::differences(&self.keys, &new.keys);
        lines.extend(of_lists(old_lists.set.files(), new_lists.set.files()));
        lines.extend(self.contents.differences(&new.contents));
        if lines.len() > LINES {
            let more = lines.len() - LINES;
            lines.truncate(LINES);
            lines.push(format!("and {more} more changes"));
        }
        lines
    }
}

/// The configuration itself, and the files that are gathered for it.
fn gathered_files(config: &Config) -> HashSet<&Path> {
    let mut files: HashSet<&Path> = config.lists.iter().map(|list| list.path.as_path()).collect();
    files.insert(&config.path);
    files.extend(config.countries.source.as_ref().map(CountrySource::path));
    if let Some(smtp) = &config.smtp {
        let recipients = smtp.domains.iter().flat_map(|domain| &domain.recipients);
        let senders = smtp.senders.approved_files.iter().chain(&smtp.senders.blocked_files);
        files.extend(recipients.chain(senders).map(PathBuf::as_path));
    }
    files
}

/// What lists gained and lost, a line a file.
fn of_lists(old: &[LoadedFile], new: &[LoadedFile]) -> Vec<String> {
    let same =
        |one: &&LoadedFile, other: &LoadedFile| one.name == other.name && one.class == other.class;
    let nets = |file: Option<&LoadedFile>| -> Vec<_> {
        let mut nets: Vec<_> =
            file.into_iter().flat_map(|file| file.list.entries().map(|(net, _)| net)).collect();
        nets.sort_unstable();
        nets.dedup();
        nets
    };
    let mut lines = Vec::new();
    for file in new {
        let before = old.iter().find(|known| same(known, file));
        lines.extend(of_entries(&file.name, &nets(before), &nets(Some(file))));
    }
    for file in old.iter().filter(|file| !new.iter().any(|known| same(&known, file))) {
        lines.extend(of_entries(&file.name, &nets(Some(file)), &[]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::generation::files::Tolerance;
    use crate::generation::read;
    use crate::io::last_good::Copies;

    /// A source whose content is held back has not changed, whatever lies on the disk.
    #[test]
    fn what_is_held_back_has_not_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mxdp.toml");
        let write = |name: &str, text: &[u8]| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        std::fs::create_dir(folder.path().join("cc")).expect("a folder");
        write("cc/de.cidr", b"192.0.2.0/25\n");
        write("cc/at.cidr", b"192.0.2.128/25\n");
        write("r.txt", b"ann@a.example\nbob@a.example\n");
        write("s.txt", b"x@b.example\n");
        write(
            "mxdp.toml",
            format!(
                "[filter]\ninterfaces = [\"lo\"]\n[state]\nfolder = \"{0}/state\"\n\
                 [blocked]\ncountries = [\"DE\"]\n[countries]\nfolder = \"cc\"\n\
                 [listen]\nsmtp = [\"127.0.0.1:25\"]\n[senders]\nblocked_files = [\"s.txt\"]\n\
                 [[domain]]\nnames = [\"a.example\"]\nbackend = \"m\"\n\
                 recipients = [\"r.txt\"]\n\
                 [[backend]]\nname = \"m\"\nservers = [\"127.0.0.1:2500\"]\n",
                folder.path().display()
            )
            .as_bytes(),
        );
        let read = |active: &BTreeSet<String>| {
            let gathering = |config: &Config| {
                Ok(Tolerance::LastGood {
                    copies: Copies::new(&config.startup.state.folder, config.limits.file_bytes),
                    accept: &[],
                    active,
                    now: 1,
                })
            };
            let read = read::read(&path, |config| config, gathering)
                .unwrap_or_else(|why| panic!("{why:?}"));
            let (sources, faults) = (read.loaded.sources.clone(), read.loaded.faults.len());
            let contents = read.loaded.contents;
            (
                Remembered::of(read.keys, &read.config, contents, &[]),
                read.loaded.lists,
                sources,
                faults,
            )
        };
        let (before, lists, active, faults) = read(&BTreeSet::new());
        assert_eq!(faults, 0);
        // Cut, emptied, and without the country that is blocked.
        write("r.txt", b"<html>\n");
        write("s.txt", b"");
        std::fs::remove_file(folder.path().join("cc/de.cidr")).expect("removed");
        let (held, held_lists, _, faults) = read(&active);
        assert_eq!(faults, 3);
        assert_eq!(before.differences(&held, &lists, &held_lists), [""; 0]);
        write("r.txt", b"ann@a.example\nbob@a.example\neve@a.example\n");
        let (mended, mended_lists, _, _) = read(&active);
        let said = held.differences(&mended, &held_lists, &mended_lists);
        assert!(said.len() == 1 && said[0].ends_with("r.txt: 1 added (eve@a.example)"), "{said:?}");
    }
}
