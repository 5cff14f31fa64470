//! Recipients from LDAP directories: asked in turn, and kept in a file of the
//! state folder, which is read like any other file of recipients. So a directory
//! that is away changes nothing, not even across a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::core::{Message, Origin};
use super::mail::directory_file;
use crate::config::Config;
use crate::config::smtp::Directory;
use crate::io::files;
use crate::io::ldap::{self, Query};
use crate::smtp::address::Mailbox;

/// How long an answer may take.
const TIME: Duration = Duration::from_secs(120);

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// The largest password file.
const PASSWORD: u64 = 4096;

/// What is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    directories: Vec<Directory>,
    state: PathBuf,
    max_entries: usize,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        let smtp = config.smtp.as_ref();
        Self {
            directories: smtp.map(|smtp| smtp.directories.clone()).unwrap_or_default(),
            state: config.state.folder.clone(),
            max_entries: config.limits.prefixes,
        }
    }
}

/// Follows the directories that are wanted, until the daemon ends. One whose keys
/// change is asked anew.
pub(super) async fn follow(mut wanted: watch::Receiver<Wanted>, messages: mpsc::Sender<Message>) {
    let mut before: Option<Wanted> = None;
    let mut tasks: Vec<(Directory, JoinSet<()>)> = Vec::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        let limit_stays = before.is_some_and(|before| before.max_entries == now.max_entries);
        // A set that is dropped ends its task.
        tasks.retain(|(known, _)| limit_stays && now.directories.contains(known));
        for directory in &now.directories {
            if tasks.iter().any(|(known, _)| known == directory) {
                continue;
            }
            let mut set = JoinSet::new();
            let path = directory_file(&now.state, &directory.name);
            set.spawn(follow_one(directory.clone(), path, now.max_entries, messages.clone()));
            tasks.push((directory.clone(), set));
        }
        before = Some(now);
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Follows a directory. What it answers is written to its file; where that is news, a
/// reload is asked for.
async fn follow_one(
    directory: Directory,
    path: PathBuf,
    max_entries: usize,
    messages: mpsc::Sender<Message>,
) {
    let name = &directory.name;
    loop {
        let (failure, wait) = match refresh(&directory, &path, max_entries).await {
            Ok(changed) => {
                if changed && messages.send(Message::Reload("a directory changed")).await.is_err() {
                    return;
                }
                (None, directory.refresh)
            }
            Err(error) => {
                let known = if path.exists() { "its last answer stands" } else { "none is known" };
                let failure = format!("recipients of {name}: {error:#}; {known} meanwhile");
                (Some(failure), RETRY.min(directory.refresh))
            }
        };
        let origin = Origin::Directory(name.clone());
        if messages.send(Message::Asked(origin, failure)).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// Asks once; whether the answer was another than before.
async fn refresh(directory: &Directory, path: &Path, max_entries: usize) -> Result<bool> {
    let password = directory.password_file.as_deref().map(password).transpose()?;
    let query = Query {
        url: directory.url.clone(),
        bind_dn: directory.bind_dn.clone(),
        password,
        base: directory.base.clone(),
        filter: directory.filter.clone(),
        attributes: directory.attributes.clone(),
        page_size: 500,
        timeout: TIME,
        starttls: directory.starttls,
        ca: directory.ca.clone(),
        max_entries,
    };
    let values = ldap::addresses(&query).await?;
    let mut addresses: Vec<_> = values.iter().filter_map(|value| address(value)).collect();
    let skipped = values.len() - addresses.len();
    // An answer without a single address would refuse everybody.
    anyhow::ensure!(!addresses.is_empty(), "none of {skipped} values is an address");
    if skipped > 0 {
        tracing::debug!(directory = directory.name, skipped, "values that are no addresses");
    }
    addresses.sort();
    addresses.dedup();
    let text = addresses.join("\n") + "\n";
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    files::replace(path, text.as_bytes()).with_context(|| path.display().to_string())?;
    Ok(true)
}

/// The address in a value: `a@b`, or `smtp:a@b` as Exchange has it, beside other
/// kinds such as `X400:`.
fn address(value: &str) -> Option<String> {
    let plain = match value.split_once(':') {
        Some((kind, address)) if kind.eq_ignore_ascii_case("smtp") => address,
        Some(_) => return None,
        None => value,
    };
    Mailbox::parse(plain.trim()).map(|mailbox| mailbox.to_string())
}

fn password(path: &Path) -> Result<String> {
    let bytes = files::read(path, PASSWORD).map_err(anyhow::Error::msg)?;
    let text = String::from_utf8(bytes).with_context(|| path.display().to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
