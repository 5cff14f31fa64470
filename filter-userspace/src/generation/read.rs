//! A configuration with everything that it names: gathered, compiled, and kept.

use std::collections::BTreeSet;
use std::path::Path;

use super::certificates::certificate_errors;
use super::compile::compile;
use super::files::{Tolerance, gather, gather_copies, keep, zone_keys};
use super::gathered::Gathered;
use super::mail;
use super::rule_set::Loaded;
use super::sources::Sources;
use crate::config::flat::{self, Keys};
use crate::config::smtp::Smtp;
use crate::config::{self, Config};
use crate::io::files;
use crate::policy::reputation::Reputation;

/// The largest configuration file.
const CONFIG_BYTES: u64 = 1024 * 1024;

/// Reads and checks a configuration file.
///
/// # Errors
///
/// All errors at once, a line each: file, line, key and what to do.
pub fn read_config(path: &Path) -> Result<Config, Vec<String>> {
    let bytes = files::read(path, CONFIG_BYTES).map_err(|error| vec![error])?;
    config::parse_bytes(&bytes, path)
        .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
}

/// A configuration with everything that it names.
pub struct Read {
    /// The configuration.
    pub config: Config,
    /// Its lists and policy.
    pub loaded: Loaded,
    /// Its keys as they are written.
    pub keys: Keys,
}

/// Reads a configuration, and every file that it names; `keep` puts back what is to stay as it
/// was, `tolerance` says what becomes of a file that is bad.
///
/// # Errors
///
/// Everything that is wrong with the one and the others: an error in a key hides no error
/// in a file.
pub fn read<'a>(
    path: &Path,
    keep: impl FnOnce(Config) -> Config,
    tolerance: impl FnOnce(&Config) -> Result<Tolerance<'a>, Vec<String>>,
) -> Result<Read, Vec<String>> {
    let bytes = files::read(path, CONFIG_BYTES).map_err(|error| vec![error])?;
    let (config, wrong) = config::parse_all(&bytes, path);
    let mut errors: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    let Some(config) = config else { return Err(errors) };
    if errors.is_empty() {
        let config = keep(config);
        match load(&config, &tolerance(&config)?) {
            Ok(loaded) => {
                let keys = flat::keys(&String::from_utf8_lossy(&bytes));
                return Ok(Read { config, loaded, keys });
            }
            Err(of_files) => errors.extend(of_files),
        }
        errors.extend(certificate_errors(&config));
    } else {
        let of_files = load(&config, &Tolerance::Strict).err();
        errors.extend(of_files.unwrap_or_default());
        errors.extend(certificate_errors(&config));
    }
    // A file that is named twice is read twice.
    let mut said = BTreeSet::new();
    errors.retain(|error| said.insert(error.clone()));
    Err(errors)
}

/// The same, where every bad file is an error.
///
/// # Errors
///
/// All of them at once.
pub fn read_strictly(path: &Path) -> Result<Read, Vec<String>> {
    read(path, |config| config, |_| Ok(Tolerance::Strict))
}

/// Reads and compiles everything that a configuration names.
///
/// # Errors
///
/// All errors at once: file, line and text.
pub fn load(config: &Config, tolerance: &Tolerance<'_>) -> Result<Loaded, Vec<String>> {
    let mut gathered = gather(config, tolerance);
    let (mut result, mut keeping) = compile(config, &gathered);
    // The last good contents are read only where they are used, which is seldom.
    while !keeping.needs.is_empty() {
        drop(result);
        gather_copies(tolerance, keeping.needs, &mut gathered);
        (result, keeping) = compile(config, &gathered);
    }
    keep(tolerance, &gathered, keeping, &mut result);
    result
}

/// The DNS lists of a configuration, with their keys.
///
/// # Errors
///
/// What is wrong with the files of the keys, in lines.
pub fn reputation_of(config: &Config, smtp: &Smtp) -> Result<Reputation, String> {
    let gathered = Gathered { zone_keys: zone_keys(smtp), ..Gathered::default() };
    let mut sources = Sources::new(&gathered);
    let reputation = mail::reputation(config, smtp, &mut sources);
    let errors = sources.errors;
    if errors.is_empty() { Ok(reputation) } else { Err(errors.join("\n")) }
}
