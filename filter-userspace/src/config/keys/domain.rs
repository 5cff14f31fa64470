//! `[[domain]]`: the domains that mail is accepted for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::spf::{DOMAIN_SPF, Spf, read_domain_spf};
use crate::config::names::Names;
use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::values::{DomainName, read_domain_names, read_paths, read_required};
use crate::policy::spf::Actions;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Domains", sections: &["domain"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("domain");

keys! {
    /// The domains; `*.example.org` means all domains below example.org, and not itself. The
    /// nearest name counts. A bare `<postmaster>` belongs to the first domain
    live NAMES = "names";
    /// The `[[backend]]` that gets their mail
    live BACKEND = "backend";
    /// Files of valid recipients: text (an address a line, or several with white space, `,` or
    /// `;` between them), `.csv` (a header names the columns; a first line `sep=;` is
    /// understood) or `.ldif`. What cannot be read as an address is an error with its line, and
    /// an invisible character is named. Entries for domains other than this one are ignored. If
    /// two files list the same domain, the later replaces the earlier. `@example.org` makes all
    /// recipients of a domain valid. Without files and `ldap` the backend's reply to RCPT
    /// decides, and is remembered for a minute when it is 550 5.1.1
    live RECIPIENTS = "recipients";
    /// The `[[ldap]]` directory that valid recipients come from; its entries for other domains
    /// are ignored. Until it has answered once, the backend decides
    live LDAP = "ldap";
    /// The separator of user and detail: with `+`, user+detail is valid if user is
    live SUBADDRESS = "subaddress";
}

/// Domains, and what becomes of mail for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEntry {
    /// The names; `*.` before one stands for all below it.
    pub names: Vec<DomainName>,
    /// The backend's name.
    pub backend: Arc<str>,
    /// Files of valid recipients; later ones replace whole domains of earlier.
    pub recipients: Vec<PathBuf>,
    /// The directory that valid recipients come from.
    pub directory: Option<String>,
    /// What separates a user from a detail: `+` in `user+detail`.
    pub subaddress: Option<char>,
    /// What results of SPF do; none where it is not checked.
    pub spf: Option<Actions>,
    /// The line of the configuration.
    pub line: u32,
}

/// Reads a `[[domain]]`.
pub(in crate::config) fn read<'a>(
    section: Section<'a>,
    folder: &Path,
    spf: Option<&Spf>,
    known: &Names,
) -> (DomainEntry, Section<'a>) {
    section.describe(NAMES, "", "required");
    section.describe(BACKEND, "name", "");
    section.describe(RECIPIENTS, "", "");
    section.describe(LDAP, "name", "");
    section.describe(SUBADDRESS, "`+`, `-`, `=`, `_`", "");
    section.describe(DOMAIN_SPF, "", "as `[spf]`");
    let names = read_domain_names(&section, NAMES);
    section.needs_some(NAMES, "name at least one, such as [\"example.org\"]");
    let subaddress = section.string(SUBADDRESS).and_then(|text| {
        let mut letters = text.value.chars();
        let letter = letters.next().filter(|letter| "+-=_".contains(*letter));
        if letter.is_none() || letters.next().is_some() {
            section.error(&text.span, SUBADDRESS, "is one of \"+\", \"-\", \"=\", \"_\"");
        }
        letter
    });
    let entry = DomainEntry {
        names,
        backend: read_required(&section, BACKEND).into(),
        recipients: read_paths(&section, RECIPIENTS, folder),
        directory: section.string(LDAP).map(|text| text.value.to_owned()),
        subaddress,
        spf: read_domain_spf(section.section(DOMAIN_SPF), spf),
        line: section.line(),
    };
    known.backend(&section, BACKEND, &entry.backend);
    if let Some(name) = &entry.directory {
        known.directory(&section, LDAP, name);
    }
    (entry, section)
}

/// A domain belongs to one table.
pub(in crate::config) fn check_names(domains: &[(DomainEntry, Section<'_>)]) {
    let mut seen: Vec<&DomainName> = Vec::new();
    for (entry, section) in domains {
        for name in &entry.names {
            if seen.contains(&name) {
                let below = if name.below { "*." } else { "" };
                section.wrong(NAMES, format!("{below}{} is named twice", name.domain));
            }
            seen.push(name);
        }
    }
}
