//! Files of certificates and passwords that stand beside mxdp's own: where the
//! configuration names each.

use std::path::{Path, PathBuf};

use super::section::Section;
use super::smtp::{Backend, Directory};

/// A file that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The key that names it.
    pub key: &'static str,
    /// The name of the backend or directory that it is for; empty for none.
    pub of: String,
    /// The file.
    pub path: PathBuf,
    /// The line of the key.
    pub line: u32,
    /// Whether it has certificates in it, and not a password.
    pub has_certificates: bool,
}

/// The files of some sections.
pub(super) fn of_sections(
    tls: &Section<'_>,
    client_ca: Option<&Path>,
    backends: &[(Backend, Section<'_>)],
    directories: &[(Directory, Section<'_>)],
) -> Vec<NamedFile> {
    let file = |key: &'static str, of: &str, section: &Section<'_>, path: Option<&Path>| {
        let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
        path.map(|path| NamedFile {
            key,
            of: of.to_owned(),
            path: path.to_owned(),
            line: section.line_of(name),
            has_certificates: name != "password_file",
        })
    };
    let of_backends = backends
        .iter()
        .map(|(one, section)| file("backend.ca", &one.name, section, one.ca.as_deref()));
    let of_directories = directories.iter().flat_map(|(one, section)| {
        [
            file("ldap.ca", &one.name, section, one.ca.as_deref()),
            file("ldap.password_file", &one.name, section, one.password_file.as_deref()),
        ]
    });
    let of_clients = file("tls.client_ca", "", tls, client_ca);
    std::iter::once(of_clients).chain(of_backends).chain(of_directories).flatten().collect()
}
