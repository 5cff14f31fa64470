//! Files of certificates and passwords that stand beside mxdp's own: where the
//! configuration names each.

use std::path::{Path, PathBuf};

use super::keys::backend::{self, Backend};
use super::keys::ldap::{self, Directory};
use super::keys::tls;
use super::section::Section;
use super::section::key::Key;

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
    tls_section: &Section<'_>,
    client_ca: Option<&Path>,
    backends: &[(Backend, Section<'_>)],
    directories: &[(Directory, Section<'_>)],
) -> Vec<NamedFile> {
    let file =
        |path: Option<&Path>, of: &str, (name, section): (&'static str, &Section<'_>), key: Key| {
            path.map(|path| NamedFile {
                key: name,
                of: of.to_owned(),
                path: path.to_owned(),
                line: section.line_of(key),
                has_certificates: key != ldap::PASSWORD_FILE,
            })
        };
    let of_backends = backends.iter().map(|(one, section)| {
        file(one.ca.as_deref(), &one.name, ("backend.ca", section), backend::CA)
    });
    let of_directories = directories.iter().flat_map(|(one, section)| {
        let password = one.password_file.as_deref();
        [
            file(one.ca.as_deref(), &one.name, ("ldap.ca", section), ldap::CA),
            file(password, &one.name, ("ldap.password_file", section), ldap::PASSWORD_FILE),
        ]
    });
    let of_clients = file(client_ca, "", ("tls.client_ca", tls_section), tls::CLIENT_CA);
    std::iter::once(of_clients).chain(of_backends).chain(of_directories).flatten().collect()
}
