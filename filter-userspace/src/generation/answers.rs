//! What directories and SPF records said last: under which names it is kept, and how an
//! operator accepts what was held back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::certificates::PASSWORD;
use crate::config::smtp::Directory;
use crate::config::{Config, SpfDomain};
use crate::io::last_good::Copies;
use crate::io::ldap::Query;
use crate::io::{files, state};

/// What stands before the name of a directory that is to be accepted.
pub const DIRECTORY: &str = "ldap:";

/// What stands before the name of a domain of `approved.spf` that is to be accepted.
pub const SPF: &str = "spf:";

/// Under which name the last good answer of a directory is kept.
#[must_use]
pub fn directory_key(name: &str) -> String {
    format!("{DIRECTORY}{name}")
}

/// Under which name an answer is kept that has lost too much, until it is accepted.
#[must_use]
pub fn held_directory(name: &str) -> String {
    format!("held {DIRECTORY}{name}")
}

/// Where answers are kept.
#[must_use]
pub fn copies(config: &Config) -> Copies {
    Copies::new(&config.startup.state.folder, config.limits.file_bytes)
}

/// Accepts the answer of a directory that was held back. The name is `ldap:` and that of
/// the directory.
///
/// # Errors
///
/// In words: there is no such directory, or no such answer.
pub fn accept_directory(config: &Config, wanted: &str) -> Result<(), String> {
    let mut directories = config.smtp.iter().flat_map(|smtp| &smtp.directories);
    let Some(known) = directories.find(|known| directory_key(&known.name) == wanted) else {
        return Err(format!("--accept {wanted}: there is no [[ldap]] of that name"));
    };
    match copies(config).promote(&held_directory(&known.name), wanted) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("--accept {wanted}: no answer of it is held back")),
        Err(error) => Err(format!("--accept {wanted}: {error}")),
    }
}

/// Where the networks of a domain are kept.
#[must_use]
pub fn networks_file(folder: &Path, domain: &SpfDomain) -> PathBuf {
    state::approved_spf(folder, domain.domain.as_str())
}

/// Under which name networks of a domain are kept that have lost too much, until they are
/// accepted.
#[must_use]
pub fn held_networks(domain: &SpfDomain) -> String {
    format!("held {SPF}{}", domain.domain)
}

/// Accepts the networks of a domain that were held back. The name is `spf:` and the domain.
///
/// # Errors
///
/// In words: there is no such domain, or nothing of it is held back.
pub fn accept_networks(config: &Config, wanted: &str) -> Result<(), String> {
    let refused = |why: String| format!("--accept {wanted}: {why}");
    let is_wanted = |domain: &&SpfDomain| format!("{SPF}{}", domain.domain) == wanted;
    let Some(domain) = config.approved_spf.iter().find(is_wanted) else {
        return Err(refused("approved.spf has no such domain".to_owned()));
    };
    let copies = Copies::new(&config.startup.state.folder, config.limits.file_bytes);
    let Some((_, bytes)) = copies.read(&held_networks(domain)).map_err(refused)? else {
        return Err(refused("no record of it is held back".to_owned()));
    };
    let path = networks_file(&config.startup.state.folder, domain);
    state::replace(&path, &bytes)
        .map_err(|error| refused(format!("{}: {error}", path.display())))?;
    copies.remove(&held_networks(domain));
    Ok(())
}

/// The search for the addresses of a directory, with the password from its file.
///
/// # Errors
///
/// When the file cannot be read.
pub fn query(
    directory: &Directory,
    max_entries: usize,
    max_bytes: u64,
    timeout: Duration,
) -> Result<Query> {
    Ok(Query {
        url: directory.url.clone(),
        bind_dn: directory.bind_dn.clone(),
        password: directory.password_file.as_deref().map(password).transpose()?,
        base: directory.base.clone(),
        filter: directory.filter.clone(),
        attributes: directory.attributes.clone(),
        page_size: 500,
        timeout,
        starttls: directory.starttls,
        ca: directory.ca.clone(),
        max_entries,
        max_bytes,
    })
}

fn password(path: &Path) -> Result<String> {
    let bytes = files::read(path, PASSWORD).map_err(anyhow::Error::msg)?;
    let text = String::from_utf8(bytes).with_context(|| path.display().to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
