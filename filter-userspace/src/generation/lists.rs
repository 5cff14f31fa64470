//! The lists of a configuration, compiled.

use std::path::Path;

use filter_common::Class;

use super::answers;
use super::source::Source;
use super::sources::{Sources, counts};
use crate::config::{Config, InlineEntry, ListSource};
use crate::lists::{self, LoadedFile, OnBadLine, ParseOptions, ParsedList, Purpose};

/// The list files, and the networks of approved domains.
pub(super) fn files(config: &Config, sources: &mut Sources<'_>) -> Vec<LoadedFile> {
    let mut files = Vec::new();
    let mut left = config.limits.prefixes;
    for list in &config.lists {
        let taken = list_file(list, config, left, sources);
        left = left.saturating_sub(taken.as_ref().map_or(0, |file| file.list.len()));
        files.extend(taken);
    }
    let gathered = sources.gathered;
    for (domain, networks) in config.approved_spf.iter().zip(&gathered.networks) {
        sources.keep(answers::held_networks(domain));
        // Before the first answer there is none.
        let Some(said) = &networks.said else { continue };
        let read = said.as_deref().map_err(Clone::clone);
        match read.and_then(|bytes| approved_domain(&networks.path, bytes, left)) {
            Ok(file) => {
                left = left.saturating_sub(file.list.len());
                files.push(file);
            }
            Err(error) => {
                let name = &domain.domain;
                let instead = format!("no host of {name} is approved until its next look-up");
                sources.fault(error, &instead);
            }
        }
    }
    files
}

fn list_file(
    list: &ListSource,
    config: &Config,
    left: usize,
    sources: &mut Sources<'_>,
) -> Option<LoadedFile> {
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
    let parsed = sources.take(&Source::of_list(list, config), |bytes| {
        let parsed = lists::parse(bytes, &options).map_err(|error| error.display(&name))?;
        let counts = counts(parsed.len());
        Ok((parsed, counts))
    })?;
    sources.warnings.extend(parsed.remarks(&name));
    if parsed.skipped() > parsed.len()
        && let Some(first) = parsed.skipped_lines(&name).next()
    {
        let (skipped, entries) = (parsed.skipped(), parsed.len());
        sources.warnings.push(format!(
            "{first}; {skipped} lines are skipped, and only {entries} entries are read"
        ));
    }
    Some(LoadedFile { name, class: list.class, list: parsed })
}

/// The networks that were last found in the SPF record of an approved domain.
fn approved_domain(path: &Path, bytes: &[u8], left: usize) -> Result<LoadedFile, String> {
    let name = path.display().to_string();
    let options = ParseOptions {
        on_bad_line: OnBadLine::Refuse,
        purpose: Purpose::Approve,
        leave_out_bogons: false,
        max_entries: left,
    };
    let list = lists::parse(bytes, &options).map_err(|error| error.display(&name))?;
    Ok(LoadedFile { name, class: Class::ApprovedIp, list })
}

/// The addresses that stand in the configuration itself, as a list for each class.
pub(super) fn inline(entries: &[InlineEntry], path: &Path) -> Vec<LoadedFile> {
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
