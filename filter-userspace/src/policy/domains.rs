//! The domains that mail is accepted for.

use std::collections::HashMap;

use super::spf::Actions;
use crate::smtp::address::Domain;
use crate::smtp::session::BackendName;

/// Where the valid recipients of a domain come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientSource {
    /// From files.
    Listed,
    /// From a directory, and possibly files, once it has answered.
    Directory,
    /// Only from the backend, which decides at RCPT.
    Backend,
}

/// The policy of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPolicy {
    /// The backend.
    pub backend: BackendName,
    /// Where its valid recipients come from.
    pub recipients: RecipientSource,
    /// The separator between a user and a detail.
    pub subaddress: Option<char>,
    /// The actions on results of SPF; none if SPF is not checked.
    pub spf: Option<Actions>,
    /// Its line in the configuration.
    pub line: u32,
}

/// All domains.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    exact: HashMap<Box<str>, DomainPolicy>,
    below: HashMap<Box<str>, DomainPolicy>,
    first: Option<DomainPolicy>,
    /// Whether they have several backends.
    is_shared: bool,
}

impl Domains {
    /// Adds a domain, or with `below` all its subdomains.
    pub fn add(&mut self, domain: &Domain, below: bool, policy: DomainPolicy) {
        let first = self.first.get_or_insert_with(|| policy.clone());
        self.is_shared |= first.backend != policy.backend;
        let map = if below { &mut self.below } else { &mut self.exact };
        map.insert(domain.as_str().into(), policy);
    }

    /// The policy of a domain: its own, or else that of the nearest wildcard.
    #[must_use]
    pub fn find(&self, domain: &Domain) -> Option<&DomainPolicy> {
        nearest(&self.exact, &self.below, domain)
    }

    /// Whether they have several backends, which may belong to strangers.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The policy of the first domain, which gets mail to a bare `<Postmaster>`.
    #[must_use]
    pub const fn first(&self) -> Option<&DomainPolicy> {
        self.first.as_ref()
    }
}

/// The entry of a domain itself, or else of the nearest domain above it.
pub(super) fn nearest<'a, T>(
    exact: &'a HashMap<Box<str>, T>,
    below: &'a HashMap<Box<str>, T>,
    domain: &Domain,
) -> Option<&'a T> {
    let mut name = domain.as_str();
    if let Some(found) = exact.get(name) {
        return Some(found);
    }
    while let Some((_, parent)) = name.split_once('.') {
        if let Some(found) = below.get(parent) {
            return Some(found);
        }
        name = parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_counts() {
        let policy = |line| DomainPolicy {
            backend: "b".into(),
            recipients: RecipientSource::Backend,
            subaddress: None,
            spf: None,
            line,
        };
        let domain = |name: &str| Domain::parse(name).unwrap();
        let mut domains = Domains::default();
        domains.add(&domain("example.org"), true, policy(1));
        domains.add(&domain("a.example.org"), false, policy(2));
        domains.add(&domain("b.example.org"), true, policy(3));
        let line = |name: &str| domains.find(&domain(name)).map(|policy| policy.line);
        assert_eq!(line("example.org"), None);
        assert_eq!(line("x.example.org"), Some(1));
        assert_eq!(line("a.example.org"), Some(2));
        assert_eq!(line("x.a.example.org"), Some(1));
        assert_eq!(line("x.y.b.example.org"), Some(3));
        assert_eq!(line("notexample.org"), None);
        assert_eq!(domains.first().map(|policy| policy.line), Some(1));
        assert!(!domains.is_shared());
        let other = DomainPolicy { backend: "other".into(), ..policy(4) };
        domains.add(&domain("example.com"), false, other);
        assert!(domains.is_shared());
    }
}
