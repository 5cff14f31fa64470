//! Reads a configuration: every section, and what holds between them.

use std::path::Path;

use filter_common::Class;
use toml::de::DeTable;

use super::conflicts::note_conflicts;
use super::error::{ConfigError, ConfigErrors};
use super::keys::{
    control, countries, dns, enforcement, filter, limits, lists, log, record, reload, reputation,
    state, syn_rate, temporary, web,
};
use super::section::key::Descriptions;
use super::section::{Document, Section};
use super::smtp;
use super::startup::Startup;
use super::syntax::{Mended, mend};
use super::whole::Config;

/// The port that is protected, with those that are listened on, unless the configuration
/// says otherwise.
const PORT: u16 = 25;

/// Checks the text of a configuration file. Relative paths in it are taken from
/// the folder of `path`.
///
/// # Errors
///
/// Everything that is wrong, in the order of the file.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigErrors> {
    let file = path.display().to_string();
    let document = Document::new(text, &file);
    let config = read(&document, &mend(text), path);
    let errors = document.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
}

/// Checks the bytes of a configuration file. Relative paths in it are taken from
/// the folder of `path`.
///
/// # Errors
///
/// Everything that is wrong, also where the bytes are no text.
pub fn parse_bytes(bytes: &[u8], path: &Path) -> Result<Config, ConfigErrors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(ConfigErrors(vec![ConfigError {
                file: path.display().to_string(),
                line,
                column: 1,
                key: String::new(),
                message: "the line is not UTF-8 text".to_owned(),
            }]))
        }
    }
}

/// The same, with what could be read beside the errors: what it names can be checked too.
/// There is nothing where faults of syntax may hide others.
#[must_use]
pub fn parse_all(bytes: &[u8], path: &Path) -> (Option<Config>, Vec<ConfigError>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let errors = parse_bytes(bytes, path).err();
        return (None, errors.map(|errors| errors.0).unwrap_or_default());
    };
    let file = path.display().to_string();
    let document = Document::new(text, &file);
    let mended = mend(text);
    let config = read(&document, &mended, path);
    (mended.is_readable.then_some(config), document.into_errors())
}

/// What reading a configuration says of its keys.
pub(super) fn describe(text: &str, path: &Path) -> Descriptions {
    let file = path.display().to_string();
    let document = Document::described(text, &file);
    _ = read(&document, &mend(text), path);
    document.into_descriptions()
}

fn read(document: &Document<'_>, mended: &Mended, path: &Path) -> Config {
    for (span, message) in &mended.faults {
        document.is_broken();
        document.error(span, "", message);
    }
    let (table, _) = DeTable::parse_recoverable(&mended.text);
    let root = Section::root(document, &table);
    let config = read_sections(&root, path);
    root.finish();
    config
}

fn read_sections(root: &Section<'_>, path: &Path) -> Config {
    let folder = path.parent().unwrap_or(Path::new(""));
    let (filter_startup, mut filter) = filter::read(root.section(filter::SECTION));
    let enforcement = enforcement::read(root.section(enforcement::SECTION));
    let mut lists = lists::read(root, folder);
    let approved = std::mem::take(&mut lists.approved_countries);
    let blocked = std::mem::take(&mut lists.blocked_countries);
    let countries = root.section(countries::SECTION);
    let countries = countries::read(countries, folder, approved, blocked, lists.force);
    let (mail, smtp) = smtp::read(root, folder).unzip();
    let ers_compatible =
        root.section(reputation::SECTION).boolean(reputation::ERS_COMPATIBLE, false);
    let has_zone = smtp.as_ref().is_some_and(|smtp| !smtp.reputation.standard.zones.is_empty());
    let ignores_blocked = ers_compatible && !lists.has(Class::KnownSpamSource) && !has_zone;
    let (syn_rate_startup, syn_rate) = syn_rate::read(root.section(syn_rate::SECTION));
    let state = state::read(root.section(state::SECTION));
    let (web_startup, web) = web::read(root.section(web::SECTION), folder).unzip();
    let startup = Startup {
        filter: filter_startup,
        temporary: temporary::read(root.section(temporary::SECTION)),
        syn_rate: syn_rate_startup,
        control: control::read(root.section(control::SECTION)),
        record: record::read(root.section(record::SECTION), &state.folder),
        state,
        log: log::read(root.section(log::SECTION)),
        web: web_startup,
        mail,
    };
    if filter.ports.is_empty() {
        // What another program listens on, 465 and 587 say, is that one's business.
        let own = startup.mail_listeners().map(|(_, address)| address.port());
        filter.ports = own.chain([PORT]).collect();
        filter.ports.sort_unstable();
        filter.ports.dedup();
    }
    let config = Config {
        ignores_blocked,
        path: path.to_owned(),
        startup,
        filter,
        enforcement: if ignores_blocked { enforcement.without_blocked() } else { enforcement },
        lists: lists.files,
        inline: lists.entries,
        countries,
        syn_rate,
        web,
        reload: reload::read(root.section(reload::SECTION)),
        limits: limits::read(root.section(limits::SECTION)),
        dns: dns::read(root.section(dns::SECTION)),
        approved_spf: lists.domains,
        smtp,
    };
    note_conflicts(root);
    config
}
