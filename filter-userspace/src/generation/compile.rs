//! From bytes to a rule set: lists, countries and what decides in SMTP sessions. A pure function
//! of the configuration and of what was gathered for it.

use super::gathered::Gathered;
use super::rule_set::Loaded;
use super::sources::{Keeping, Sources};
use super::{countries, lists, mail};
use crate::config::Config;
use crate::lists::{
    CountryPolicy, ListSet, Lists, UnknownCountry, compile as table_of, country_hazards, hazards,
    wide_approvals,
};

/// Compiles the lists and the policy of a configuration, and says what is to be kept of its
/// sources. All errors are found at once: file, line and text.
pub fn compile(config: &Config, gathered: &Gathered) -> (Result<Loaded, Vec<String>>, Keeping) {
    let mut sources = Sources::new(gathered);
    let mut files = lists::files(config, &mut sources);
    // Of what stands in the configuration itself `mxdp check` says so.
    sources.warnings.extend(wide_approvals(&files));
    files.extend(lists::inline(&config.inline, &config.path));
    let countries = countries::countries(config, &mut sources);
    let policy = mail::policy(config, &mut sources);
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
    let protected = &gathered.protected;
    sources.warnings.extend(hazards(&files, protected));
    sources.errors.extend(gathered.unknown.iter().cloned());
    let Sources { errors, mut warnings, faults, used, contents, keeping, .. } = sources;
    if !errors.is_empty() {
        return (Err(errors), keeping);
    }
    let set = ListSet::new(files, countries, country_policy);
    let file = config.path.display().to_string();
    warnings.extend(country_hazards(&set, protected, &file));
    let compiled = table_of(&set);
    warnings.splice(0..0, compiled.conflicts.lines());
    warnings.extend(gathered.remarks.iter().cloned());
    warnings.extend(policy.iter().flat_map(|policy| policy.tls.unmeetable()));
    let lists = Lists { set, table: compiled.table };
    (Ok(Loaded { lists, policy, warnings, faults, sources: used, contents }), keeping)
}
