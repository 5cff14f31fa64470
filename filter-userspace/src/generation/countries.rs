//! The country data of a configuration, compiled.

use super::folder::unpack;
use super::source::Source;
use super::sources::Sources;
use crate::config::{Config, CountrySource};
use crate::io::last_good::Counts;
use crate::lists::{self, Countries, CountryCode, CountryLimits};

/// How many networks that are too wide are named.
const TOO_WIDE: usize = 10;

/// The country data of a configuration.
pub(super) fn countries(config: &Config, sources: &mut Sources<'_>) -> Option<Countries> {
    let limits = CountryLimits { networks: config.limits.prefixes };
    let from = config.countries.source.as_ref()?;
    let source = Source::of_countries(from, config);
    let name = source.path.display().to_string();
    let found = match from {
        CountrySource::Database { registered_country, .. } => sources.take(&source, |bytes| {
            let countries = Countries::from_mmdb(&name, bytes, *registered_country, &limits)
                .map_err(|error| format!("{name}: {error}"))?;
            let counts = country_counts(config, &countries);
            Ok((countries, counts))
        }),
        CountrySource::Folder { .. } => {
            let found = sources.take(&source, |bytes| {
                let contents = unpack(bytes)
                    .ok_or_else(|| format!("{name}: its files cannot be told apart"))?;
                let countries = Countries::from_folder(&name, &contents, &limits)
                    .map_err(|error| error.to_string())?;
                refuse_too_wide(config, &countries)?;
                let counts = country_counts(config, &countries);
                Ok((countries, counts))
            });
            sources.warnings.extend(sources.gathered.passed_over.clone());
            found
        }
    };
    let countries = found?;
    let wide = countries.too_wide(&config.countries.approved).take(TOO_WIDE);
    sources.warnings.extend(wide.map(|(place, net)| lists::wide_approval(&place, net)));
    let known = countries.counts();
    let lists = [("approved", &config.countries.approved), ("blocked", &config.countries.blocked)];
    for (section, codes) in lists {
        for code in codes.iter().filter(|code| !known.contains_key(code)) {
            let text = format!(
                "{}: {section}.countries: {code} has no network in {name}, so nothing of it is \
                 {section}",
                config.path.display()
            );
            sources.warn_and_alarm(text);
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
        .take(TOO_WIDE)
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
