//! From the configuration's path to tables that are ready to become active.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use filter_common::Class;
use filter_common::abi::Settings;

use super::answers::{self, DIRECTORY, SPF};
use super::changes::Remembered;
use super::fault::Fault;
use super::files::Tolerance;
use super::read::{Read, read};
use super::rule_set::Loaded;
use super::watched::{FileStamps, files_of, stamps, watched_stamps};
use crate::config::{Config, Engine};
use crate::io::kernel::{Layouts, Prepared};
use crate::io::last_good::Copies;
use crate::io::{clock, watch};
use crate::lists::{Lists, Table};
use crate::policy::rules::Policy;
use crate::web;

/// A rule set that is ready to become active.
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
    /// Its tables in the kernel, or `None` where the active ones are the same.
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
    pub seen: FileStamps,
    /// What is remembered of it, to say what the next one changes.
    pub remembered: Remembered,
    /// What differs from the active one, a line each.
    pub changes: Vec<String>,
    /// The answers that were held back and are accepted.
    pub accepted: Vec<String>,
}

/// The active rule set, whose tables need not be installed again.
pub struct Previous {
    /// The lists, with their table.
    pub lists: Arc<Lists>,
    /// How the table is laid out.
    pub layouts: Layouts,
    /// The sources that they were read of.
    pub sources: BTreeSet<String>,
    /// What is remembered of it.
    pub remembered: Arc<Remembered>,
    /// Its configuration.
    pub config: Config,
}

/// Reads the configuration and its lists and fills tables in the kernel, unless the
/// same are active. Nothing that is active is touched. A source that fails does not
/// fail the rest: its last good content is used. The sources in `accept` are accepted
/// however little they have left.
///
/// # Errors
///
/// All errors at once, a line each.
pub fn build(
    path: &Path,
    previous: Option<&Previous>,
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
    // Everything is built by what is active until a restart: another state folder, say, has
    // none of the answers and copies that this daemon goes by.
    let keep = |config: Config| match previous {
        None => config,
        Some(old) => {
            awaited = config.needs_restart(&old.config);
            config.until_restart(&old.config)
        }
    };
    let mut seen = FileStamps::new();
    let Read { config, loaded, keys } = read(path, keep, |config| {
        // A change while the files are read is noticed afterwards.
        seen = watched_stamps(path, config, configuration);
        accept_answers(config, &accepted)?;
        Ok(Tolerance::LastGood {
            copies: Copies::new(&config.startup.state.folder, config.limits.file_bytes),
            accept: &files,
            active: previous.map_or(&nothing, |previous| &previous.sources),
            now: clock::unix_seconds(),
        })
    })?;
    let web = config.web.as_ref().map(|web| web::Rules::load(web, &path.display().to_string()));
    let web = web.transpose().map_err(|error| vec![error])?;
    let Loaded { lists, policy, mut warnings, faults, sources, contents } = loaded;
    let lists = Arc::new(lists);
    warnings.splice(0..0, config.warnings());
    let (engine, table) = (config.filter.engine, &lists.table);
    let layouts = Layouts::choose(engine, table);
    if layouts.lacks_ranges(engine, table) {
        warnings.push(without_ranges(table));
    }
    warnings.extend(awaited);
    let remembered = Remembered::of(keys, &config, contents, &stamps(files_of(path, &config)));
    let changes = previous
        .map_or_else(Vec::new, |old| old.remembered.differences(&remembered, &old.lists, &lists));
    let is_previous =
        previous.is_some_and(|old| old.layouts == layouts && old.lists.table == *table);
    let tables = if is_previous { None } else { Some(install(table, engine)?) };
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

/// Accepts answers of directories and SPF records that were held back.
fn accept_answers(config: &Config, names: &[String]) -> Result<(), Vec<String>> {
    let accept = |name: &String| match name.starts_with(SPF) {
        true => answers::accept_networks(config, name).err(),
        false => answers::accept_directory(config, name).err(),
    };
    let refused: Vec<_> = names.iter().filter_map(accept).collect();
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

fn without_ranges(table: &Table) -> String {
    format!(
        "filter.engine: without CAP_PERFMON the kernel takes no ranges; {} prefixes stay in \
         tries, which are slow when large",
        table.len()
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::read::read_config;

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
        std::fs::create_dir(&started.startup.state.folder).expect("a folder");
        let networks =
            answers::networks_file(&started.startup.state.folder, &started.approved_spf[0]);
        std::fs::write(networks, "198.51.100.0/24 a.example\n").expect("written");
        write("new");
        let mut awaited = Vec::new();
        let keep = |config: Config| {
            awaited = config.needs_restart(&started);
            config.until_restart(&started)
        };
        let strict = |_: &Config| Ok(Tolerance::Strict);
        let Read { config, loaded, .. } = read(&path, keep, strict).expect("read");
        assert_eq!(config.startup, started.startup);
        assert_eq!(loaded.lists.set.files().len(), 1);
        let is_said = |line: &String| line.starts_with("state.folder was changed");
        assert!(awaited.iter().any(is_said), "{awaited:?}");
    }
}
