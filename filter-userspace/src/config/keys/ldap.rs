//! `[[ldap]]`: directories that recipients come from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, code};
use crate::config::values::{read_path, read_required, read_seconds};

/// What is searched for in a directory unless the configuration says otherwise.
const DEFAULT_FILTER: &str = "(mail=*)";

/// Where the addresses are in what was found.
const DEFAULT_ATTRIBUTE: &str = "mail";

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Directories", sections: &["ldap"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("ldap");

keys! {
    /// The name of the directory
    live NAME = "name";
    /// The server of the directory
    live URL = "url";
    /// Whether ldap:// is upgraded by STARTTLS
    live STARTTLS = "starttls";
    /// The certificates that are trusted, in PEM
    live CA = "ca";
    /// The DN to bind as, with the password of `ldap.password_file`
    live BIND_DN = "bind_dn";
    /// The file that holds the password
    live PASSWORD_FILE = "password_file";
    /// Search base
    live BASE = "base";
    /// Search filter
    live FILTER = "filter";
    /// The attributes that hold addresses. An `smtp:` or `mailto:` prefix is removed; values
    /// with another known prefix (`x400:`, `sip:`) are ignored. A `*` before the `@` is a name
    /// like any other
    live ATTRIBUTES = "attributes";
    /// Time between searches. The last complete answer is kept in `state.folder`
    live REFRESH = "refresh";
}

/// An LDAP directory that recipients come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its name, for domains.
    pub name: String,
    /// `ldap://` or `ldaps://`.
    pub url: String,
    /// Whether STARTTLS is used.
    pub starttls: bool,
    /// Certificates that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whom to bind as; anonymous where there is none.
    pub bind_dn: Option<String>,
    /// The file of the password.
    pub password_file: Option<PathBuf>,
    /// Where to search.
    pub base: String,
    /// For what.
    pub filter: String,
    /// The attributes with addresses.
    pub attributes: Vec<String>,
    /// How often.
    pub refresh: Duration,
}

/// Reads an `[[ldap]]`.
pub(in crate::config) fn read<'a>(section: Section<'a>, folder: &Path) -> (Directory, Section<'a>) {
    section.describe(URL, "ldap:// or ldaps://", "");
    section.describe(CA, "", "the system's");
    section.describe(BIND_DN, "DN", "anonymous");
    section.describe(BASE, "DN", "");
    section.describe(FILTER, "filter", &code(DEFAULT_FILTER));
    section.describe(
        ATTRIBUTES,
        "array of names",
        &code(format_args!("[\"{DEFAULT_ATTRIBUTE}\"]")),
    );
    let url = read_required(&section, URL);
    if !["ldap://", "ldaps://"].iter().any(|scheme| url.starts_with(scheme)) && !url.is_empty() {
        section.wrong(URL, "begins with ldap:// or ldaps://");
    }
    if url.contains('@') {
        let message = "is shown in errors, and must have no password: see bind_dn, password_file";
        section.wrong(URL, message);
    }
    if section.has(STARTTLS) && url.starts_with("ldaps://") {
        section.wrong(STARTTLS, "ldaps:// begins with TLS: leave `starttls` out, or write ldap://");
    }
    let attributes: Vec<_> =
        section.strings(ATTRIBUTES).iter().map(|text| text.value.to_owned()).collect();
    let directory = Directory {
        name: read_required(&section, NAME),
        url,
        starttls: section.boolean(STARTTLS, false),
        ca: read_path(&section, CA, folder),
        bind_dn: section.string(BIND_DN).map(|text| text.value.to_owned()),
        password_file: read_path(&section, PASSWORD_FILE, folder),
        base: read_required(&section, BASE),
        filter: section
            .string(FILTER)
            .map_or(DEFAULT_FILTER.to_owned(), |text| text.value.to_owned()),
        attributes: if attributes.is_empty() {
            vec![DEFAULT_ATTRIBUTE.to_owned()]
        } else {
            attributes
        },
        refresh: read_seconds(&section, REFRESH, 900),
    };
    if section.has(BIND_DN) != section.has(PASSWORD_FILE) {
        section.missing(BIND_DN, "bind_dn and password_file go together");
    }
    (directory, section)
}
