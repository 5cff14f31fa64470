//! Whoever follows the sources of the active rule set: the watch over its files, and those who
//! query name servers and directories.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::sync::{mpsc, watch};

use super::message::Origin;
use super::{approvals, directories};
use crate::config::Config;
use crate::generation::answers::{DIRECTORY, SPF};
use crate::generation::read;
use crate::generation::watched::{FileStamps, stamps, watched_paths};

/// The followers, and what fails of what they do.
pub(super) struct Followers {
    /// To the watch: the files that are in use now.
    watched: mpsc::UnboundedSender<FileStamps>,
    /// To the one that follows approved domains.
    approvals: watch::Sender<approvals::Wanted>,
    /// To the one that follows directories.
    directories: watch::Sender<directories::Wanted>,
    /// The sources that fail now, and why.
    failing: BTreeMap<Origin, String>,
}

impl Followers {
    /// The followers at the ends of these channels.
    pub(super) const fn new(
        watched: mpsc::UnboundedSender<FileStamps>,
        approvals: watch::Sender<approvals::Wanted>,
        directories: watch::Sender<directories::Wanted>,
    ) -> Self {
        Self { watched, approvals, directories, failing: BTreeMap::new() }
    }

    /// Tells the file watcher which files to watch, and the SPF and LDAP followers which
    /// sources to query.
    pub(super) fn follow(&self, config: &Config, files: FileStamps) {
        tell(&self.approvals, approvals::Wanted::of(config));
        tell(&self.directories, directories::Wanted::of(config));
        _ = self.watched.send(files);
    }

    /// After a failed reload: has the files watched that the configuration names now too, so
    /// that a list that was missing is loaded when it comes.
    pub(super) fn watch_wanted(&self, path: &Path, config: &Config) {
        let mut paths = watched_paths(path, config);
        if let Ok(wanted) = read::read_config(path) {
            paths.extend(watched_paths(path, &wanted));
        }
        _ = self.watched.send(stamps(paths));
    }

    /// Takes the result of polling a source.
    pub(super) fn checked(&mut self, origin: Origin, failure: Option<String>) {
        match failure {
            Some(failure) => self.failing.insert(origin, failure),
            None => self.failing.remove(&origin),
        };
    }

    /// Forgets the failures of sources whose answers were held back and are accepted.
    pub(super) fn accepted(&mut self, names: &[String]) {
        for name in names {
            let directory = name.strip_prefix(DIRECTORY);
            let origin = directory.map(|name| Origin::Directory(name.to_owned()));
            let domain = name.strip_prefix(SPF).map(|name| Origin::Spf(name.to_owned()));
            if let Some(origin) = origin.or(domain) {
                self.failing.remove(&origin);
            }
        }
    }

    /// The alarms of sources that fail and are in the configuration.
    pub(super) fn alarms(&mut self, config: &Config) -> Vec<String> {
        let approved = &config.approved_spf;
        let smtp = config.smtp.as_ref();
        self.failing.retain(|origin, _| match origin {
            Origin::Spf(name) => approved.iter().any(|domain| domain.domain.as_str() == name),
            Origin::Files => true,
            Origin::Directory(name) => {
                smtp.is_some_and(|smtp| smtp.directories.iter().any(|known| known.name == *name))
            }
        });
        self.failing.values().cloned().collect()
    }
}

/// Tells a follower what is wanted, where that is news.
fn tell<T: PartialEq>(follower: &watch::Sender<T>, wanted: T) {
    follower.send_if_modified(|old| {
        let changed = *old != wanted;
        *old = wanted;
        changed
    });
}
