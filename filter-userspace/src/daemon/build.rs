//! From the configuration's path to tables that are ready to be put in force.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use filter_common::Class;
use filter_common::abi::Settings;

use super::changes::{Contents, Remembered};
use super::gather::{DIRECTORY, Fault, Gathering, SPF, Tolerance};
pub use super::load::load;
use super::{approvals, directories, mail, restart};
use crate::config::flat::{self, Keys};
use crate::config::{self, Config, Engine};
use crate::control::protocol::ListStatus;
use crate::io::kernel::{Layouts, Prepared};
use crate::io::last_good::Copies;
use crate::io::{clock, files, watch};
use crate::lists::{ListSet, LoadedFile, Table};
use crate::policy::rules::Policy;
use crate::web;

/// The largest configuration file.
const CONFIG_BYTES: u64 = 1024 * 1024;

/// Lists, and the table compiled from them.
pub struct Lists {
    /// The lists, for the question "which line says so?".
    pub set: ListSet,
    /// The table, as the kernel has it.
    pub table: Table,
}

/// Lists that were read and compiled, with what there is to say about them.
pub struct Loaded {
    /// The lists and their table.
    pub lists: Lists,
    /// What decides in SMTP sessions, if there are any.
    pub policy: Option<Policy>,
    /// What an operator is warned of.
    pub warnings: Vec<String>,
    /// Sources that something else is used for.
    pub faults: Vec<Fault>,
    /// The sources that something was read of.
    pub sources: BTreeSet<String>,
    /// What is used of sources that are no lists of addresses.
    pub contents: Contents,
}

impl Lists {
    /// The lists, for people.
    #[must_use]
    pub fn statuses(&self) -> Vec<ListStatus> {
        let mut statuses: Vec<_> = self.set.files().iter().map(list_status).collect();
        statuses.extend(self.set.countries().map(|countries| ListStatus {
            source: countries.name().to_owned(),
            class: "country".to_owned(),
            entries: countries.len() as u64,
            skipped: 0,
            modified: None,
        }));
        statuses
    }
}

/// A generation that is ready to be put in force.
pub struct Built {
    /// The configuration that it was built from: what only a restart can change is as it was
    /// at the start.
    pub config: Config,
    /// Its lists.
    pub lists: Arc<Lists>,
    /// What decides in SMTP sessions, if there are any.
    pub policy: Option<Policy>,
    /// Who may use the console, if there is one.
    pub web: Option<web::Rules>,
    /// Its tables in the kernel, or `None` where those in force are the same.
    pub tables: Option<Prepared>,
    /// How its tables are laid out.
    pub layouts: Layouts,
    /// How long reading, compiling and installing took.
    pub elapsed: Duration,
    /// What an operator is warned of.
    pub warnings: Vec<String>,
    /// Sources that something else is used for.
    pub faults: Vec<Fault>,
    /// The sources that something was read of.
    pub sources: BTreeSet<String>,
    /// The files that are to be watched, as they were before they were read.
    pub seen: Seen,
    /// What is remembered of it, to say what the next one changes.
    pub remembered: Remembered,
    /// What is another than in the one in force, a line each.
    pub changes: Vec<String>,
    /// The answers that were held back and are accepted.
    pub accepted: Vec<String>,
}

/// Files, and what each was at a moment.
pub type Seen = Vec<(PathBuf, u64)>;

/// The tables that are in force, which need not be installed again.
pub struct InForce {
    /// The lists, with their table.
    pub lists: Arc<Lists>,
    /// How the table is laid out.
    pub layouts: Layouts,
    /// The sources that they were read of.
    pub sources: BTreeSet<String>,
    /// What is remembered of it.
    pub remembered: Arc<Remembered>,
    /// The configuration that the daemon was started with.
    pub started_with: Config,
    /// The configuration that is in force.
    pub config: Config,
}

/// Reads the configuration and its lists and fills tables in the kernel, unless the
/// same are in force. Nothing that is in force is touched. A source that fails does not
/// fail the rest: its last good content is used. The sources in `accept` are accepted
/// however little they have left.
///
/// # Errors
///
/// All errors at once, a line each.
pub fn build(
    path: &Path,
    in_force: Option<&InForce>,
    accept: &[String],
) -> Result<Built, Vec<String>> {
    let start = Instant::now();
    let configuration = watch::stamp(path);
    let (accepted, files): (Vec<_>, Vec<_>) = accept
        .iter()
        .cloned()
        .partition(|name| name.starts_with(DIRECTORY) || name.starts_with(SPF));
    let nothing = BTreeSet::new();
    let mut awaited = Vec::new();
    // Everything is built by what is in force until a restart: another state folder, say, has
    // none of the answers and copies that this daemon goes by.
    let keep = |config: Config| match in_force {
        None => config,
        Some(old) => {
            awaited = restart::needs_restart(&old.started_with, &config);
            restart::keep_until_restart(&old.started_with, &old.config, config)
        }
    };
    let Read { config, loaded, keys } = read(path, keep, |config| {
        let accept = |name: &String| match name.starts_with(SPF) {
            true => approvals::accept(config, name).err(),
            false => directories::accept(config, name).err(),
        };
        let refused: Vec<_> = accepted.iter().filter_map(accept).collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(Gathering::new(Tolerance::LastGood {
            copies: Copies::new(&config.state.folder, config.limits.file_bytes),
            accept: &files,
            active: in_force.map_or(&nothing, |in_force| &in_force.sources),
            now: clock::unix_seconds(),
        }))
    })?;
    let mut seen = see(watched_paths(path, &config));
    if let Some((_, stamp)) = seen.iter_mut().find(|(seen, _)| seen == path) {
        *stamp = configuration;
    }
    let web = config.web.as_ref().map(|web| web::Rules::load(web, &path.display().to_string()));
    let web = web.transpose().map_err(|error| vec![error])?;
    let Loaded { lists, policy, mut warnings, faults, sources, contents } = loaded;
    let lists = Arc::new(lists);
    warnings.splice(0..0, config.warnings());
    let (engine, table) = (config.filter.engine, &lists.table);
    let layouts = Layouts::choose(engine, table);
    if layouts.lacks_ranges(engine, table) {
        warnings.push(format!(
            "filter.engine: without CAP_PERFMON the kernel takes no ranges; {} prefixes stay in \
             tries, which are slow when large",
            table.len()
        ));
    }
    warnings.extend(awaited);
    let remembered = Remembered::of(keys, &config, contents, &see(files_of(path, &config)));
    let changes = in_force
        .map_or_else(Vec::new, |old| old.remembered.differences(&remembered, &old.lists, &lists));
    let is_in_force =
        in_force.is_some_and(|old| old.layouts == layouts && old.lists.table == *table);
    let tables = if is_in_force { None } else { Some(install(table, engine)?) };
    let elapsed = start.elapsed();
    Ok(Built {
        config,
        lists,
        policy,
        web,
        tables,
        layouts,
        elapsed,
        warnings,
        faults,
        sources,
        seen,
        remembered,
        changes,
        accepted,
    })
}

/// Files as they are now.
#[must_use]
pub fn see(paths: Vec<PathBuf>) -> Seen {
    let stamp = |path: PathBuf| {
        let stamp = watch::stamp(&path);
        (path, stamp)
    };
    paths.into_iter().map(stamp).collect()
}

/// Puts a table into the kernel, with a line of log a second.
fn install(table: &Table, engine: Engine) -> Result<Prepared, Vec<String>> {
    let total = table.len();
    let mut reported = Instant::now();
    Prepared::build(table, engine, |done| {
        if reported.elapsed() > Duration::from_secs(1) {
            reported = Instant::now();
            tracing::info!(done, total, "installing prefixes");
        }
    })
    .map_err(|error| vec![format!("{error:#}")])
}

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
/// was, `gathering` says what becomes of a file that is bad.
///
/// # Errors
///
/// Everything that is wrong with the one and the others: an error in a key hides no error
/// in a file.
pub fn read<'a>(
    path: &Path,
    keep: impl FnOnce(Config) -> Config,
    gathering: impl FnOnce(&Config) -> Result<Gathering<'a>, Vec<String>>,
) -> Result<Read, Vec<String>> {
    let bytes = files::read(path, CONFIG_BYTES).map_err(|error| vec![error])?;
    let (config, wrong) = config::parse_all(&bytes, path);
    let mut errors: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    let Some(config) = config else { return Err(errors) };
    if errors.is_empty() {
        let config = keep(config);
        match load(&config, gathering(&config)?) {
            Ok(loaded) => {
                let keys = flat::keys(&String::from_utf8_lossy(&bytes));
                return Ok(Read { config, loaded, keys });
            }
            Err(of_files) => errors.extend(of_files),
        }
        errors.extend(mail::certificate_errors(&config));
    } else {
        let of_files = load(&config, Gathering::new(Tolerance::Strict)).err();
        errors.extend(of_files.unwrap_or_default());
        errors.extend(mail::certificate_errors(&config));
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
    read(path, |config| config, |_| Ok(Gathering::new(Tolerance::Strict)))
}

fn list_status(file: &LoadedFile) -> ListStatus {
    ListStatus {
        source: file.name.clone(),
        class: file.class.name().to_owned(),
        entries: file.list.len() as u64,
        skipped: file.list.skipped() as u64,
        modified: None,
    }
}

/// The settings of a generation.
#[must_use]
pub fn settings(config: &Config, generation: u64) -> Settings {
    let mut settings = Settings::new(generation);
    for port in &config.filter.ports {
        settings.protect(*port);
    }
    for class in Class::ALL {
        settings.enforce(class, config.enforcement.of(class));
    }
    settings.syn_rate_v4 = config.syn_rate.ipv4;
    settings.syn_rate_v6 = config.syn_rate.ipv6;
    settings.events_per_second = config.filter.events_per_second;
    settings
}

/// The files whose change asks for a reload; none where that is not wanted.
#[must_use]
pub fn watched_paths(path: &Path, config: &Config) -> Vec<PathBuf> {
    if config.reload.watch { files_of(path, config) } else { Vec::new() }
}

/// The files of a configuration, itself too.
fn files_of(path: &Path, config: &Config) -> Vec<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What only a restart can change changes nothing of what is built: another state folder
    /// has no networks of `approved.spf`, no answers of directories and no good copies.
    #[test]
    fn another_state_folder_is_used_after_a_restart_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mxdp.toml");
        let write = |state: &str| {
            let text = format!(
                "[filter]\ninterfaces = [\"lo\"]\n[state]\nfolder = \"{}/{state}\"\n\
                 [approved]\nspf = [\"a.example\"]\n",
                folder.path().display()
            );
            std::fs::write(&path, text).expect("written");
        };
        write("old");
        let started = read_config(&path).expect("a configuration");
        std::fs::create_dir(&started.state.folder).expect("a folder");
        let networks = approvals::file(&started.state.folder, &started.approved_spf[0]);
        std::fs::write(networks, "198.51.100.0/24 a.example\n").expect("written");
        write("new");
        let mut awaited = Vec::new();
        let keep = |config: Config| {
            awaited = restart::needs_restart(&started, &config);
            restart::keep_until_restart(&started, &started, config)
        };
        let strict = |_: &Config| Ok(Gathering::new(Tolerance::Strict));
        let Read { config, loaded, .. } = read(&path, keep, strict).expect("read");
        assert_eq!(config.state, started.state);
        assert_eq!(loaded.lists.set.files().len(), 1);
        let is_said = |line: &String| line.starts_with("state.folder was changed");
        assert!(awaited.iter().any(is_said), "{awaited:?}");
    }
}
