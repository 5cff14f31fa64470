//! The recipients of a configuration's files and directories, compiled.

use std::collections::BTreeSet;
use std::path::Path;

use super::answers;
use super::source::{BACKEND_DECIDES, Source};
use super::sources::Sources;
use crate::config::Config;
use crate::config::smtp::{DomainEntry, Smtp};
use crate::io::last_good::Counts;
use crate::lists::OnBadLine;
use crate::policy::domains::{DomainPolicy, Domains, RecipientSource};
use crate::policy::recipients::{self, Import, ImportOptions, RecipientSet};

/// The domains, and the recipients of all files and directories.
pub(super) fn recipients(
    config: &Config,
    smtp: &Smtp,
    sources: &mut Sources<'_>,
) -> (Domains, RecipientSet) {
    let mut domains = Domains::default();
    for entry in &smtp.domains {
        add_domain(&mut domains, entry, |_| recipients_of(entry));
    }
    let mut set = RecipientSet::default();
    let mut left = config.limits.prefixes;
    let lost = of_files(config, smtp, &domains, &mut set, &mut left, sources);
    of_directories(smtp, &domains, &mut set, &mut left, sources);
    // Where something is not known, refusing by the rest would refuse valid recipients.
    let mut known = Domains::default();
    for entry in &smtp.domains {
        let is_lost = entry.recipients.iter().any(|path| lost.contains(path.as_path()));
        let unlisted = if is_lost { Vec::new() } else { unlisted(config, entry, &set, sources) };
        add_domain(&mut known, entry, |index| {
            if is_lost || unlisted.contains(&index) {
                RecipientSource::Backend
            } else {
                recipients_of(entry)
            }
        });
    }
    (known, set)
}

/// Compiles the files, and says of which nothing is known.
fn of_files<'a>(
    config: &Config,
    smtp: &'a Smtp,
    domains: &Domains,
    set: &mut RecipientSet,
    left: &mut usize,
    sources: &mut Sources<'_>,
) -> BTreeSet<&'a Path> {
    let mut read: BTreeSet<&Path> = BTreeSet::new();
    let mut lost = BTreeSet::new();
    for entry in &smtp.domains {
        for path in &entry.recipients {
            // A file of several domains is read once.
            if !read.insert(path) {
                continue;
            }
            let source = Source::of_recipients(path, entry, config);
            let place = source.place.clone();
            let name = path.display().to_string();
            let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: *left };
            let taken = sources.take(&source, |bytes| {
                let import = recipients::parse(bytes, recipients::format_of(&name), &name, options)
                    .map_err(|error| format!("{error}{place}"))?;
                if let Some((line, domain)) = import.open_end()
                    && domains.find(domain).is_none()
                {
                    return Err(format!(
                        "{name}:{line}: the last line has no line end and is of {domain}, \
                             which no [[domain]] has: it may have been cut{place}"
                    ));
                }
                let counts = domain_counts(&import, domains);
                Ok((import, counts))
            });
            match taken {
                Some(import) => {
                    sources.warnings.extend(import.remarks().iter().cloned());
                    *left = left.saturating_sub(import.len());
                    let names_it = |one: &DomainEntry| one.recipients.contains(path);
                    set.import(of_its_domains(import, smtp, domains, names_it, sources));
                }
                None => {
                    lost.insert(path.as_path());
                }
            }
        }
    }
    lost
}

/// Compiles the last answers of directories.
fn of_directories(
    smtp: &Smtp,
    domains: &Domains,
    set: &mut RecipientSet,
    left: &mut usize,
    sources: &mut Sources<'_>,
) {
    let gathered = sources.gathered;
    for (directory, kept) in smtp.directories.iter().zip(&gathered.directories) {
        let key = answers::directory_key(&directory.name);
        sources.keep(answers::held_directory(&directory.name));
        sources.keep(key.clone());
        let name = &directory.name;
        let instead = "the backend decides about recipients until the directory answers";
        let read = kept.as_ref().map_err(Clone::clone).and_then(|kept| {
            let Some((header, bytes)) = kept else { return Ok(None) };
            let options = ImportOptions { on_bad_line: OnBadLine::Skip, max_entries: *left };
            let import = recipients::from_kept(bytes, &key, options)
                .map_err(|error| format!("the last answer of {name}: {error}"))?;
            Ok(Some((header, bytes, import)))
        });
        match read {
            Ok(Some((header, bytes, import))) => {
                sources.contents.add_lines(key.clone(), key, bytes);
                sources.warnings.extend(header.remarks.iter().cloned());
                *left = left.saturating_sub(import.len());
                let names_it = |one: &DomainEntry| one.directory.as_ref() == Some(name);
                set.import(of_its_domains(import, smtp, domains, names_it, sources));
            }
            // Before the first answer there is none: then the backend decides.
            Ok(None) => {}
            Err(error) => sources.fault(error, instead),
        }
    }
}

/// An import without the domains of those that do not name its source: what one tenant's
/// directory says of another's domain is not heard.
fn of_its_domains(
    mut import: Import,
    smtp: &Smtp,
    domains: &Domains,
    names_it: impl Fn(&DomainEntry) -> bool,
    sources: &mut Sources<'_>,
) -> Import {
    let lines: Vec<_> =
        smtp.domains.iter().filter(|entry| names_it(entry)).map(|entry| entry.line).collect();
    let others = import
        .retain(|domain| domains.find(domain).is_none_or(|found| lines.contains(&found.line)));
    let unknown = import.domains().filter(|(domain, _)| domains.find(domain).is_none());
    let mut unknown: Vec<_> = unknown.map(|(domain, _)| domain.to_string()).collect();
    unknown.sort();
    let name = import.name();
    let mut warn = |first: Option<String>, count: usize, what: &str| {
        let Some(first) = first else { return };
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        sources.warnings.push(format!("{name}: recipients of {first}{more} {what}"));
    };
    let first = others.first().map(ToString::to_string);
    warn(first, others.len(), "count for nothing: the domain's table names other sources");
    let (first, count) = (unknown.first().cloned(), unknown.len());
    warn(first, count, "count for nothing: no [[domain]] has that name");
    import
}

/// How many recipients each domain of the configuration has.
fn domain_counts(import: &Import, domains: &Domains) -> Counts {
    let ours = import.domains().filter(|(domain, _)| domains.find(domain).is_some());
    let parts = ours.map(|(domain, count)| (domain.to_string(), count as u64)).collect();
    Counts { total: import.domains().map(|(_, count)| count as u64).sum(), parts }
}

/// The names of a table whose files have none of them: they would refuse all their mail.
fn unlisted(
    config: &Config,
    entry: &DomainEntry,
    recipients: &RecipientSet,
    sources: &mut Sources<'_>,
) -> Vec<usize> {
    if recipients_of(entry) != RecipientSource::Listed {
        return Vec::new();
    }
    let is_unlisted = |index: &usize| {
        let name = &entry.names[*index];
        !name.below && !recipients.knows(&name.domain)
    };
    let found: Vec<_> = (0..entry.names.len()).filter(is_unlisted).collect();
    for index in &found {
        let text = format!(
            "{}:{}: domain.recipients: no file lists a recipient of {}, so all of its mail would \
             be refused",
            config.path.display(),
            entry.line,
            entry.names[*index].domain
        );
        sources.fault(text, BACKEND_DECIDES);
    }
    found
}

fn add_domain(
    domains: &mut Domains,
    entry: &DomainEntry,
    recipients: impl Fn(usize) -> RecipientSource,
) {
    for (index, name) in entry.names.iter().enumerate() {
        let policy = DomainPolicy {
            backend: entry.backend.clone(),
            recipients: recipients(index),
            subaddress: entry.subaddress,
            spf: entry.spf,
            line: entry.line,
        };
        domains.add(&name.domain, name.below, policy);
    }
}

const fn recipients_of(entry: &DomainEntry) -> RecipientSource {
    match (&entry.directory, entry.recipients.is_empty()) {
        (Some(_), _) => RecipientSource::Directory,
        (None, false) => RecipientSource::Listed,
        (None, true) => RecipientSource::Backend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::generation::files::{Tolerance, gather};
    use crate::generation::mail;
    use crate::generation::sources::counts;
    use crate::policy::recipients::Found;
    use crate::smtp::address::Mailbox;

    #[test]
    fn a_source_speaks_for_the_domains_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("a.txt", "bob@a.example\nbob@sub.b.example\nx@nobody.example\n").unwrap();
        let text = format!(
            "[filter]\ninterfaces = [\"lo\"]\n[state]\nfolder = \"{}\"\n\
             [listen]\nsmtp = [\"127.0.0.1:25\"]\n\
             [[domain]]\nnames = [\"a.example\"]\nbackend = \"m\"\nrecipients = [\"a.txt\"]\n\
             [[domain]]\nnames = [\"b.example\", \"*.b.example\"]\nbackend = \"m\"\nldap = \"people\"\n\
             [[domain]]\nnames = [\"sub.b.example\"]\nbackend = \"m\"\n\
             [[backend]]\nname = \"m\"\nservers = [\"127.0.0.1:2500\"]\n\
             [[ldap]]\nname = \"people\"\nurl = \"ldap://127.0.0.1\"\nbase = \"dc=x\"\n",
            folder.path().display()
        );
        let config = config::parse(&text, &folder.path().join("mxdp.toml")).unwrap();
        let addresses = ["eve@a.example", "eve@b.example", "eve@x.sub.b.example"];
        let kept = recipients::to_kept(addresses.into_iter());
        let key = answers::directory_key("people");
        let copies = answers::copies(&config);
        copies.write(&key, kept.as_bytes(), 1, counts(3), Vec::new()).unwrap();
        let gathered = gather(&config, &Tolerance::Strict);
        let mut gathering = Sources::new(&gathered);
        let policy = mail::policy(&config, &mut gathering).unwrap();
        assert_eq!(gathering.errors, [""; 0]);
        let found = |address: &str| {
            let mailbox = Mailbox::parse(address).unwrap();
            match policy.recipients.check(&mailbox, None) {
                Found::Valid { .. } => "valid",
                Found::Invalid => "invalid",
                Found::UnknownDomain => "unknown",
            }
        };
        assert_eq!(found("bob@a.example"), "valid");
        assert_eq!(found("eve@a.example"), "invalid");
        assert_eq!(found("eve@b.example"), "valid");
        assert_eq!(found("eve@x.sub.b.example"), "valid");
        // Its own table names no source: the backend decides.
        assert_eq!(found("bob@sub.b.example"), "unknown");
    }
}
