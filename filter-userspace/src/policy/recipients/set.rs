//! The valid recipients of all domains, and whether a recipient is one of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::import::Import;
use super::locals::Locals;
use crate::smtp::address::{Domain, Mailbox};

/// Whether a recipient exists, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// It does.
    Valid {
        /// The name of the file or directory.
        source: &'a str,
        /// The line there, from 1 (for a directory, the number of the value); 0
        /// for a postmaster who is not listed but must exist (RFC 5321 section
        /// 4.5.1).
        line: u32,
    },
    /// Its domain is known and has no such recipient.
    Invalid,
    /// No import has its domain.
    UnknownDomain,
}

/// The valid recipients of all domains.
///
/// Takes 12 bytes and the local part for each recipient; a clone shares them.
#[derive(Clone, Debug, Default)]
pub struct RecipientSet {
    domains: HashMap<Domain, Recipients>,
}

#[derive(Clone, Debug)]
struct Recipients {
    source: Arc<str>,
    locals: Arc<Locals>,
}

impl RecipientSet {
    /// Replaces all recipients of each domain that is in the import.
    pub fn import(&mut self, import: Import) {
        let source: Arc<str> = import.name.into();
        for (domain, locals) in import.domains {
            let recipients = Recipients { source: Arc::clone(&source), locals: Arc::new(locals) };
            self.domains.insert(domain, recipients);
        }
    }

    /// Whether a recipient exists. With a `subaddress` separator, `bob+x` exists
    /// when `bob` does (RFC 5233 section 1).
    #[must_use]
    pub fn check(&self, recipient: &Mailbox, subaddress: Option<char>) -> Found<'_> {
        let Some(known) = recipient.domain().and_then(|domain| self.domains.get(domain)) else {
            return Found::UnknownDomain;
        };
        let local = recipient.local().to_lowercase();
        let user = subaddress
            .and_then(|separator| local.split_once(separator))
            .map(|(user, _)| user)
            .filter(|user| !user.is_empty());
        let postmaster = || (local == "postmaster").then_some(0);
        let line = known
            .locals
            .find(&local)
            .or_else(|| known.locals.find(user?))
            .or_else(postmaster)
            .or(known.locals.catch_all());
        line.map_or(Found::Invalid, |line| Found::Valid { source: &known.source, line })
    }

    /// Whether an import has this very recipient.
    #[must_use]
    pub fn names(&self, recipient: &Mailbox) -> bool {
        let known = recipient.domain().and_then(|domain| self.domains.get(domain));
        known.is_some_and(|known| known.locals.find(&recipient.local().to_lowercase()).is_some())
    }

    /// Whether any import has the domain.
    #[must_use]
    pub fn knows(&self, domain: &Domain) -> bool {
        self.domains.contains_key(domain)
    }

    /// The domains, with the number of their recipients, in no order.
    pub fn domains(&self) -> impl Iterator<Item = (&Domain, usize)> {
        self.domains.iter().map(|(domain, recipients)| (domain, recipients.locals.len()))
    }

    /// How many recipients there are, catch-alls not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.domains().map(|(_, count)| count).sum()
    }

    /// Whether no domain is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::formats::{format_of, parse};
    use super::super::import::ImportOptions;
    use super::*;
    use crate::lists::OnBadLine;

    const OPTIONS: ImportOptions =
        ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 2_000_000 };

    fn import(set: &mut RecipientSet, name: &str, text: &str) {
        set.import(parse(text.as_bytes(), format_of(name), name, OPTIONS).unwrap());
    }

    fn check<'a>(set: &'a RecipientSet, address: &str) -> Found<'a> {
        set.check(&Mailbox::parse(address).unwrap(), Some('+'))
    }

    #[test]
    fn an_import_replaces_whole_domains() {
        let mut set = RecipientSet::default();
        import(&mut set, "one", "Bob@A.example\nann@a.example\nbob@b.example\n");
        import(&mut set, "two", "# new\neve@a.example\n");
        assert_eq!(check(&set, "bob@a.example"), Found::Invalid);
        assert_eq!(check(&set, "EVE@a.EXAMPLE"), Found::Valid { source: "two", line: 2 });
        assert_eq!(check(&set, "bob@b.example"), Found::Valid { source: "one", line: 3 });
        assert_eq!(check(&set, "bob@c.example"), Found::UnknownDomain);
        assert_eq!(check(&set, "bob@[192.0.2.1]"), Found::UnknownDomain);
        assert_eq!((set.len(), set.domains().count(), set.is_empty()), (2, 2, false));
        assert!(set.knows(&Domain::parse("a.example").unwrap()));
    }

    #[test]
    fn subaddresses_postmasters_and_catch_alls() {
        let mut set = RecipientSet::default();
        import(&mut set, "f", "bob@d.example\nx+y@d.example\n*@all.example\nbob@all.example\n");
        assert_eq!(check(&set, "bob+tag+x@d.example"), Found::Valid { source: "f", line: 1 });
        assert_eq!(check(&set, "x+y@d.example"), Found::Valid { source: "f", line: 2 });
        for address in ["x+z@d.example", "+bob@d.example", "eve@d.example", "bob-x@d.example"] {
            assert_eq!(check(&set, address), Found::Invalid, "{address}");
        }
        let bob = Mailbox::parse("bob+x@d.example").unwrap();
        assert_eq!(set.check(&bob, None), Found::Invalid);
        assert_eq!(set.check(&bob, Some('-')), Found::Invalid);
        assert_eq!(check(&set, "PostMaster@d.example"), Found::Valid { source: "f", line: 0 });
        assert_eq!(check(&set, "postmaster@e.example"), Found::UnknownDomain);
        assert_eq!(check(&set, "any@all.example"), Found::Valid { source: "f", line: 3 });
        assert_eq!(check(&set, "bob@all.example"), Found::Valid { source: "f", line: 4 });
    }

    #[test]
    fn a_million_recipients_are_compact_and_found() {
        let mut text = String::new();
        for number in 0..1_000_000 {
            text.push_str(&format!("user.number{number}@big.example\n"));
        }
        let mut set = RecipientSet::default();
        import(&mut set, "big", &text);
        assert_eq!(set.len(), 1_000_000);
        assert!(set.domains.values().next().unwrap().locals.bytes() < 32_000_000);
        let last = check(&set, "user.number999999@big.example");
        assert_eq!(last, Found::Valid { source: "big", line: 1_000_000 });
    }

    proptest! {
        #[test]
        fn the_set_equals_a_naive_model(
            files in prop::collection::vec(prop::collection::vec("[abAB]{1,2}@[abc]\\.d", 0..12), 1..4),
            asked in "[ab]{1,2}", domain in "[abc]",
        ) {
            let mut set = RecipientSet::default();
            let mut model: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (index, file) in files.iter().enumerate() {
                import(&mut set, &format!("file{index}"), &file.join("\n"));
                let mut domains: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                for address in file {
                    let (local, domain) = address.split_once('@').unwrap();
                    domains.entry(domain.to_owned()).or_default().insert(local.to_lowercase());
                }
                model.extend(domains);
            }
            let domain = format!("{domain}.d");
            let found = check(&set, &format!("{asked}@{domain}"));
            match model.get(&domain) {
                None => prop_assert_eq!(found, Found::UnknownDomain),
                Some(locals) => {
                    prop_assert_eq!(matches!(found, Found::Valid { .. }), locals.contains(&asked));
                }
            }
            prop_assert_eq!(set.len(), model.values().map(BTreeSet::len).sum::<usize>());
        }
    }
}
