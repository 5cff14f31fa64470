//! The files of a configuration, and what each was when it was read.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::io::watch;

/// Watched files with the stamp each had when it was read.
pub type FileStamps = Vec<(PathBuf, u64)>;

/// Files as they are now.
#[must_use]
pub fn stamps(paths: Vec<PathBuf>) -> FileStamps {
    let stamp = |path: PathBuf| {
        let stamp = watch::stamp(&path);
        (path, stamp)
    };
    paths.into_iter().map(stamp).collect()
}

/// The files whose change asks for a reload; none where that is not wanted.
#[must_use]
pub fn watched_paths(path: &Path, config: &Config) -> Vec<PathBuf> {
    if config.reload.watch { files_of(path, config) } else { Vec::new() }
}

/// The same files as they are now, except the configuration itself, which was stamped before it
/// was read.
#[must_use]
pub fn watched_stamps(path: &Path, config: &Config, configuration: u64) -> FileStamps {
    let mut seen = stamps(watched_paths(path, config));
    if let Some((_, stamp)) = seen.iter_mut().find(|(seen, _)| seen == path) {
        *stamp = configuration;
    }
    seen
}

/// The files of a configuration, itself too.
#[must_use]
pub fn files_of(path: &Path, config: &Config) -> Vec<PathBuf> {
    let mut paths = vec![path.to_owned()];
    let console = config.web.iter().filter_map(|web| web.certificate.as_ref());
    paths.extend(console.flat_map(|one| [one.chain.clone(), one.key.clone()]));
    paths.extend(config.lists.iter().map(|source| source.path.clone()));
    paths.extend(config.countries.source.iter().map(|source| source.path().to_owned()));
    if let Some(smtp) = &config.smtp {
        paths.extend(smtp.domains.iter().flat_map(|domain| domain.recipients.clone()));
        paths.extend(smtp.senders.approved_files.iter().cloned());
        paths.extend(smtp.senders.blocked_files.iter().cloned());
        let certificates = smtp.tls.certificates.iter();
        paths.extend(certificates.flat_map(|one| [one.chain.clone(), one.key.clone()]));
        paths.extend(smtp.tls.client_ca.iter().cloned());
        paths.extend(smtp.backends.iter().filter_map(|backend| backend.ca.clone()));
        paths.extend(smtp.zone_keys.iter().map(|key| key.file.clone()));
    }
    paths
}
