//! Taking the filter off while no daemon runs: with whatever configuration there is, or
//! none.

use std::path::{Path, PathBuf};

use crate::config::{DEFAULT_CONFIG, DEFAULT_PIN};
use crate::control::protocol::{Detached, Failure, FailureKind};
use crate::generation::read;
use crate::io::{files, kernel};

/// The largest configuration that is searched.
const CONFIG_BYTES: u64 = 1024 * 1024;

/// Removes every pin, link and map that a daemon left: where `config`, or the default
/// configuration, says that they are pinned, and on every interface of this network
/// namespace. Without a configuration, or with one that has errors, the default directory
/// is searched. Finding nothing is not an error.
///
/// # Errors
///
/// If something of it could not be removed, or a daemon that runs holds it.
pub fn run(config: Option<&Path>) -> Result<Detached, Failure> {
    let default = Path::new(DEFAULT_CONFIG);
    let path = config.unwrap_or(default);
    let default_pin = || PathBuf::from(DEFAULT_PIN);
    let bases = match read::read_config(path) {
        Ok(config) => vec![config.startup.filter.pin],
        // Whatever is wrong with it, the filter is to come off.
        Err(_) => setting(path, "pin").into_iter().chain([default_pin()]).collect(),
    };
    let mut interfaces = Vec::new();
    let mut failures = Vec::new();
    for base in bases {
        match kernel::detach_pinned(&base) {
            Ok(pinned) => interfaces.extend(pinned),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    match kernel::detach_attached() {
        Ok((attached, held)) => {
            interfaces.extend(attached);
            // The filter of another daemon is not a failure where this one's was taken off.
            if interfaces.is_empty() {
                failures.extend(held);
            }
        }
        Err(error) => failures.push(format!("{error:#}")),
    }
    interfaces.sort();
    interfaces.dedup();
    if failures.is_empty() {
        return Ok(Detached { interfaces });
    }
    Err(Failure { kind: FailureKind::System, message: failures.join("\n") })
}

/// What a configuration that has errors says of a key with a path, as far as its lines
/// can be read.
#[must_use]
pub fn setting(config: &Path, key: &str) -> Option<PathBuf> {
    let bytes = files::read(config, CONFIG_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().find_map(|line| value(line, key))
}

fn value(line: &str, key: &str) -> Option<PathBuf> {
    let (name, rest) = line.split_once('=')?;
    let name = name.trim();
    let is_it = name == key || name.ends_with(&format!(".{key}"));
    let rest = rest.trim();
    let quote = rest.chars().next().filter(|letter| ['"', '\''].contains(letter) && is_it)?;
    let text = rest[1..].split(quote).next()?;
    text.starts_with('/').then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_a_configuration_with_errors() {
        let of = |line| value(line, "pin");
        for line in ["pin = \"/a/b\"", "  pin='/a/b' # here", "filter.pin = \"/a/b\""] {
            assert_eq!(of(line), Some(PathBuf::from("/a/b")), "{line}");
        }
        for line in ["pins = \"/a\"", "# pin = \"/a\"", "pin = 3", "pin = \"a\"", "pin =", "pin"] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
