//! The lists and country data of a configuration, read and compiled.

use std::collections::BTreeSet;
use std::path::Path;

use filter_common::Class;

use super::answers;
use super::certificates::certificate_warnings;
use super::contents::Contents;
use super::mail;
use super::protected::on_this_host;
use super::sources::{Fault, Gathering, Source, Told, counts};
use crate::config::{Config, CountrySource, InlineEntry, ListSource};
use crate::io::dns::{NO_SERVER, system};
use crate::io::files;
use crate::io::last_good::Counts;
use crate::lists::{
    self, Compiled, Countries, CountryCode, CountryLimits, CountryPolicy, ListSet, Lists,
    LoadedFile, OnBadLine, ParseOptions, ParsedList, Purpose, UnknownCountry,
};
use crate::policy::rules::Policy;

/// The most files of a country folder: two families for each code, and room.
const COUNTRY_FILES: usize = 2048;

/// How many files of a country folder that were passed over are named.
const PASSED_OVER: usize = 10;

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

/// Reads and compiles the lists of a configuration.
///
/// # Errors
///
/// All errors at once: file, line and text.
pub fn load(config: &Config, mut gathering: Gathering<'_>) -> Result<Loaded, Vec<String>> {
    let mut loaded = Vec::new();
    let mut left = config.limits.prefixes;
    for list in &config.lists {
        let taken = load_file(list, config, left, &mut gathering);
        left = left.saturating_sub(taken.as_ref().map_or(0, |file| file.list.len()));
        loaded.extend(taken);
    }
    for domain in &config.approved_spf {
        let path = answers::networks_file(&config.state.folder, domain);
        gathering.keep(answers::held_networks(domain));
        // Before the first answer there is none.
        if !path.exists() {
            continue;
        }
        match approved_domain(&path, config, left) {
            Ok(file) => {
                left = left.saturating_sub(file.list.len());
                loaded.push(file);
            }
            Err(error) => {
                let name = &domain.domain;
                let instead = format!("no host of {name} is approved until its next look-up");
                gathering.fault(error, &instead);
            }
        }
    }
    // Of what stands in the configuration itself `mxdp check` says so.
    gathering.warnings.extend(lists::wide_approvals(&loaded));
    loaded.extend(inline_files(&config.inline, &config.path));
    let countries = load_countries(config, &mut gathering);
    let policy = mail::policy(config, &mut gathering);
    let unknown = match (&config.countries.source, &countries) {
        // Without data every address would be one without a country.
        (Some(_), None) => UnknownCountry::None,
        _ => config.countries.unknown,
    };
    let country_policy = CountryPolicy {
        approved: config.countries.approved.clone(),
        blocked: config.countries.blocked.clone(),
        unknown,
    };
    let protected = on_this_host(config);
    gathering.warnings.extend(lists::hazards(&loaded, &protected));
    gathering.finish();
    let Gathering { errors, mut warnings, faults, sources, contents, .. } = gathering;
    if !errors.is_empty() {
        return Err(errors);
    }
    let set = ListSet::new(loaded, countries, country_policy);
    let file = config.path.display().to_string();
    warnings.extend(lists::country_hazards(&set, &protected, &file));
    let Compiled { table, conflicts } = lists::compile(&set);
    warnings.splice(0..0, conflicts.lines());
    if config.asks_dns() && config.dns.servers.is_empty() && system::servers().is_empty() {
        warnings.push(format!("{}: {NO_SERVER}", config.path.display()));
    }
    warnings.extend(certificate_warnings(config));
    warnings.extend(policy.iter().flat_map(|policy| policy.tls.unmeetable()));
    Ok(Loaded { lists: Lists { set, table }, policy, warnings, faults, sources, contents })
}

fn load_file(
    list: &ListSource,
    config: &Config,
    left: usize,
    gathering: &mut Gathering<'_>,
) -> Option<LoadedFile> {
    let (section, kind, without) = match list.class {
        Class::ApprovedIp | Class::ApprovedCountry => {
            ("approved", "list of approved addresses", "nothing of it is approved")
        }
        Class::BlockedIp | Class::BlockedCountry => {
            ("blocked", "list of blocked addresses", "nothing of it is blocked")
        }
        Class::KnownSpamSource => {
            ("known_spam_sources", "list of known spam sources", "nothing of it is blocked")
        }
    };
    let source = Source {
        kind,
        path: &list.path,
        place: format!(" ({section}.files at {}:{})", config.path.display(), list.line),
        may_shrink: list.may_shrink,
        without,
        told: Told::Compiled,
    };
    let name = list.path.display().to_string();
    let options = ParseOptions {
        on_bad_line: list.on_bad_line,
        purpose: match list.class.approves() {
            true => Purpose::Approve,
            false => Purpose::Block { force: list.force },
        },
        leave_out_bogons: list.leave_out_bogons,
        max_entries: left,
    };
    let parsed = gathering.take(
        &source,
        || files::read(&list.path, config.limits.file_bytes),
        |bytes| {
            let parsed = lists::parse(bytes, &options).map_err(|error| error.display(&name))?;
            let counts = counts(parsed.len());
            Ok((parsed, counts))
        },
    )?;
    gathering.warnings.extend(parsed.remarks(&name));
    if parsed.skipped() > parsed.len()
        && let Some(first) = parsed.skipped_lines(&name).next()
    {
        let (skipped, entries) = (parsed.skipped(), parsed.len());
        gathering.warnings.push(format!(
            "{first}; {skipped} lines are skipped, and only {entries} entries are read"
        ));
    }
    Some(LoadedFile { name, class: list.class, list: parsed })
}

/// The networks that were last found in the SPF record of an approved domain.
fn approved_domain(path: &Path, config: &Config, left: usize) -> Result<LoadedFile, String> {
    let bytes = files::read(path, config.limits.file_bytes)?;
    let name = path.display().to_string();
    let options = ParseOptions {
        on_bad_line: OnBadLine::Refuse,
        purpose: Purpose::Approve,
        leave_out_bogons: false,
        max_entries: left,
    };
    let list = lists::parse(&bytes, &options).map_err(|error| error.display(&name))?;
    Ok(LoadedFile { name, class: Class::ApprovedIp, list })
}

/// The addresses that stand in the configuration itself, as a list for each class.
fn inline_files(entries: &[InlineEntry], path: &Path) -> Vec<LoadedFile> {
    Class::ALL
        .into_iter()
        .filter_map(|class| {
            let of_class = entries.iter().filter(|entry| entry.class == class);
            let list = ParsedList::from_entries(of_class.map(|entry| (entry.net, entry.line, "")));
            let name = path.display().to_string();
            (!list.is_empty()).then_some(LoadedFile { name, class, list })
        })
        .collect()
}

fn load_countries(config: &Config, gathering: &mut Gathering<'_>) -> Option<Countries> {
    let limits = CountryLimits { networks: config.limits.prefixes };
    let from = config.countries.source.as_ref()?;
    let path = from.path();
    let key = match from {
        CountrySource::Database { .. } => "database",
        CountrySource::Folder { .. } => "folder",
    };
    let source = Source {
        kind: "country data",
        path,
        place: format!(" (countries.{key} in {})", config.path.display()),
        may_shrink: false,
        without: "no address has a country",
        told: Told::Whole,
    };
    let name = path.display().to_string();
    let found = match from {
        CountrySource::Database { registered_country, .. } => gathering.take(
            &source,
            || files::read(path, config.limits.file_bytes),
            |bytes| {
                let countries = Countries::from_mmdb(&name, bytes, *registered_country, &limits)
                    .map_err(|error| format!("{name}: {error}"))?;
                let counts = country_counts(config, &countries);
                Ok((countries, counts))
            },
        ),
        CountrySource::Folder { .. } => {
            let found = gathering.take(
                &source,
                || read_folder(path, config.limits.file_bytes),
                |bytes| {
                    let contents = unpack(bytes)
                        .ok_or_else(|| format!("{name}: its files cannot be told apart"))?;
                    let countries = Countries::from_folder(&name, &contents, &limits)?;
                    refuse_too_wide(config, &countries)?;
                    let counts = country_counts(config, &countries);
                    Ok((countries, counts))
                },
            );
            gathering.warnings.extend(passed_over(path));
            found
        }
    };
    let countries = found?;
    let wide = countries.too_wide(&config.countries.approved).take(PASSED_OVER);
    gathering.warnings.extend(wide.map(|(place, net)| lists::wide_approval(&place, net)));
    let known = countries.counts();
    let lists = [("approved", &config.countries.approved), ("blocked", &config.countries.blocked)];
    for (section, codes) in lists {
        for code in codes.iter().filter(|code| !known.contains_key(code)) {
            let text = format!(
                "{}: {section}.countries: {code} has no network in {name}, so nothing of it is \
                 {section}",
                config.path.display()
            );
            gathering.warn_and_alarm(text);
        }
    }
    Some(countries)
}

/// Refuses country files that block more than a country has, unless that is forced.
fn refuse_too_wide(config: &Config, countries: &Countries) -> Result<(), String> {
    if config.countries.force {
        return Ok(());
    }
    let wide: Vec<_> = countries
        .too_wide(&config.countries.blocked)
        .take(PASSED_OVER)
        .map(|(place, net)| {
            format!(
                "{place}: {net} would block {}; write `force = true` in [blocked] if you mean it",
                lists::breadth(net)
            )
        })
        .collect();
    if wide.is_empty() { Ok(()) } else { Err(wide.join("\n")) }
}

/// The networks of all countries, and of each one that is approved or blocked.
fn country_counts(config: &Config, countries: &Countries) -> Counts {
    let is_listed = |code: &CountryCode| {
        config.countries.approved.contains(code) || config.countries.blocked.contains(code)
    };
    let parts = countries.counts().into_iter().filter(|(code, _)| is_listed(code));
    Counts {
        total: countries.len() as u64,
        parts: parts.map(|(code, count)| (code.to_string(), count as u64)).collect(),
    }
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
            packed.extend((name.len() as u64).to_be_bytes());
            packed.extend((bytes.len() as u64).to_be_bytes());
            packed.extend(name.as_bytes());
            packed.extend(bytes);
        }
    }
    Ok(packed)
}

/// The files that [`read_folder`] packed.
fn unpack(mut packed: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    while !packed.is_empty() {
        let (lengths, rest) = packed.split_first_chunk::<16>()?;
        let (name, bytes) = lengths.split_first_chunk::<8>()?;
        let length = |bytes: [u8; 8]| usize::try_from(u64::from_be_bytes(bytes)).ok();
        let (name, rest) = rest.split_at_checked(length(*name)?)?;
        let (bytes, rest) = rest.split_at_checked(length(bytes.try_into().ok()?)?)?;
        files.push((std::str::from_utf8(name).ok()?.to_owned(), bytes.to_vec()));
        packed = rest;
    }
    Some(files)
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
