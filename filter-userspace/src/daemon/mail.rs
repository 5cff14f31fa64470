//! From the configuration's SMTP side and its files to what decides in sessions.

use std::path::Path;
use std::sync::Arc;

use filter_common::Class;
use filter_common::verdict::decide;

use super::build::Lists;
use crate::config::smtp::{DomainEntry, PeerTls, Smtp};
use crate::config::{Config, EnforcementTable};
use crate::io::files;
use crate::io::smtp::{Classify, Generation, Standing};
use crate::lists::{Classification, OnBadLine};
use crate::policy::domains::{DomainPolicy, Domains, RecipientSource};
use crate::policy::pipeline::{Connection, Policy};
use crate::policy::recipients::{self, Format, Import, ImportOptions, RecipientSet};
use crate::policy::reputation::{Kind, Reputation, ZoneKey};
use crate::policy::senders::{SenderClass, SenderLists};
use crate::policy::spf::SpfPolicy;
use crate::policy::tls::{Requirement, TlsPolicy};
use crate::smtp::refusal::{Reason, Rule};

/// The largest file of a zone's key.
const ZONE_KEY: u64 = 4096;

/// Reads every file of the SMTP side; none where the configuration has none.
///
/// # Errors
///
/// All errors at once, a line each.
pub fn policy(config: &Config) -> Result<Option<Policy>, Vec<String>> {
    let Some(smtp) = &config.smtp else { return Ok(None) };
    let mut errors = Vec::new();
    let source = config.path.display().to_string();
    let senders = senders(config, smtp, &mut errors);
    let reputation = reputation(config, smtp, &mut errors);
    let mut domains = Domains::default();
    for entry in &smtp.domains {
        add_domain(&mut domains, entry);
    }
    let recipients = recipients(config, smtp, &domains, &mut errors);
    for entry in &smtp.domains {
        must_be_known(entry, &recipients, &source, &mut errors);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Some(Policy {
        message_size: smtp.limits.message_size,
        senders,
        tls: tls_policy(smtp, &source),
        approve_requires_spf_pass: smtp.senders.approve_requires_spf_pass,
        reputation,
        spf: spf(smtp),
        relay: smtp.relay.as_ref().map(|relay| relay.policy.clone()).unwrap_or_default(),
        domains,
        recipients,
        source,
    }))
}

/// Puts a generation of the SMTP side together; `before` is the one in force.
///
/// # Errors
///
/// All that is wrong with certificates, a line each.
pub fn generation(
    config: &Config,
    policy: Policy,
    before: Option<&Generation>,
) -> Result<Option<Generation>, Vec<String>> {
    let Some(smtp) = &config.smtp else { return Ok(None) };
    Generation::new(smtp.clone(), &config.dns, policy, &hostname(smtp), before).map(Some)
}

/// The name of this host.
#[must_use]
pub fn hostname(smtp: &Smtp) -> String {
    if let Some(name) = &smtp.listen.hostname {
        return name.to_string();
    }
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    // A name that could not stand in a greeting is as none.
    let name = name.filter(|name| crate::smtp::address::Domain::parse(name).is_some());
    name.unwrap_or_else(|| "localhost".to_owned())
}

fn senders(config: &Config, smtp: &Smtp, errors: &mut Vec<String>) -> SenderLists {
    let mut builder = SenderLists::builder(config.limits.prefixes);
    let senders = &smtp.senders;
    let inline =
        [(SenderClass::Approved, &senders.approved), (SenderClass::Blocked, &senders.blocked)];
    let name = config.path.display().to_string();
    for (class, patterns) in inline {
        for (pattern, line) in patterns {
            // Where it stands in the configuration, it stands in this text.
            let above = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
            let text = format!("{}{pattern}\n", "\n".repeat(above));
            builder.add(class, &name, text.as_bytes());
        }
    }
    let listed = [
        (SenderClass::Approved, &senders.approved_files),
        (SenderClass::Blocked, &senders.blocked_files),
    ];
    for (class, paths) in listed {
        for path in paths {
            match files::read(path, config.limits.file_bytes) {
                Ok(bytes) => builder.add(class, &path.display().to_string(), &bytes),
                Err(error) => errors.push(format!("{error} (senders in {name})")),
            }
        }
    }
    builder.build().unwrap_or_else(|wrong| {
        errors.extend(wrong.lines().iter().cloned());
        SenderLists::default()
    })
}

fn spf(smtp: &Smtp) -> SpfPolicy {
    let Some(spf) = &smtp.spf else { return SpfPolicy::default() };
    SpfPolicy { exempt: spf.exempt.clone(), header: spf.header, explanation: spf.explanation }
}

/// The DNS lists, with the keys of those that need one.
fn reputation(config: &Config, smtp: &Smtp, errors: &mut Vec<String>) -> Reputation {
    let mut reputation = smtp.reputation.clone();
    for key in &smtp.zone_keys {
        let place = format!("({}:{})", config.path.display(), key.line);
        let read = files::read(&key.file, ZONE_KEY).and_then(|bytes| {
            zone_key(&bytes).ok_or_else(|| {
                format!("{}: is not one label of letters, digits and -", key.file.display())
            })
        });
        let service = match key.kind {
            Kind::Standard => &mut reputation.standard,
            Kind::Dynamic => &mut reputation.dynamic,
        };
        match (read, service.zones.get_mut(key.zone)) {
            (Ok(label), Some(zone)) => zone.key = Some(ZoneKey(label)),
            (Err(error), _) => errors.push(format!("{error} {place}")),
            (Ok(_), None) => {}
        }
    }
    reputation
}

/// The key in a file: a label of a name. It stands in no error.
fn zone_key(bytes: &[u8]) -> Option<Arc<str>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let is_label = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_label.then(|| text.into())
}

/// The recipients of all files and directories.
fn recipients(
    config: &Config,
    smtp: &Smtp,
    domains: &Domains,
    errors: &mut Vec<String>,
) -> RecipientSet {
    let mut set = RecipientSet::default();
    let mut left = config.limits.prefixes;
    let mut take = |import: Import, left: usize, names_it: &dyn Fn(&DomainEntry) -> bool| {
        let left = left.saturating_sub(import.len());
        set.import(of_its_domains(import, smtp, domains, names_it));
        left
    };
    let mut read: Vec<&Path> = Vec::new();
    for entry in &smtp.domains {
        for path in &entry.recipients {
            // A file of several domains is read once.
            if read.contains(&path.as_path()) {
                continue;
            }
            read.push(path);
            match import(path, config, left) {
                Ok(import) => left = take(import, left, &|one| one.recipients.contains(path)),
                Err(error) => {
                    errors.push(format!("{error} ({}:{})", config.path.display(), entry.line));
                }
            }
        }
    }
    for directory in &smtp.directories {
        let path = directory_file(&config.state.folder, &directory.name);
        let names_it = |one: &DomainEntry| one.directory.as_ref() == Some(&directory.name);
        // Before the first answer there is none: then the backend decides.
        if path.exists() {
            match import(&path, config, left) {
                Ok(import) => left = take(import, left, &names_it),
                Err(error) => errors.push(error),
            }
        }
    }
    set
}

/// An import without the domains of those that do not name its source: what one tenant's
/// directory says of another's domain is not heard.
fn of_its_domains(
    mut import: Import,
    smtp: &Smtp,
    domains: &Domains,
    names_it: impl Fn(&DomainEntry) -> bool,
) -> Import {
    let lines: Vec<_> =
        smtp.domains.iter().filter(|entry| names_it(entry)).map(|entry| entry.line).collect();
    let others = import
        .retain(|domain| domains.find(domain).is_none_or(|found| lines.contains(&found.line)));
    if let Some(first) = others.first() {
        let (source, count) = (import.name(), others.len());
        tracing::warn!(
            source, first = %first, count, "recipients of domains that do not name it: not heard"
        );
    }
    import
}

/// Where the last answer of a directory is kept: no two names share a file.
#[must_use]
pub fn directory_file(state: &Path, name: &str) -> std::path::PathBuf {
    let safe = |byte: u8| match byte {
        b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    };
    state.join(format!("ldap-{}.txt", name.bytes().map(safe).collect::<String>()))
}

fn import(path: &Path, config: &Config, max_entries: usize) -> Result<Import, String> {
    let bytes = files::read(path, config.limits.file_bytes)?;
    let name = path.display().to_string();
    let options = ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries };
    recipients::parse(&bytes, Format::of_name(&name), &name, options)
        .map_err(|error| error.to_string())
}

fn add_domain(domains: &mut Domains, entry: &DomainEntry) {
    for name in &entry.names {
        let policy = DomainPolicy {
            backend: entry.backend.clone(),
            recipients: recipients_of(entry),
            subaddress: entry.subaddress,
            spf: entry.spf,
            line: entry.line,
        };
        domains.add(&name.domain, name.below, policy);
    }
}

/// A domain whose files have none of it would refuse all its mail.
fn must_be_known(
    entry: &DomainEntry,
    recipients: &RecipientSet,
    source: &str,
    errors: &mut Vec<String>,
) {
    if recipients_of(entry) != RecipientSource::Listed {
        return;
    }
    for name in entry.names.iter().filter(|name| !name.below && !recipients.knows(&name.domain)) {
        errors.push(format!(
            "{source}:{}: domain.recipients: no file lists a recipient of {}, so all of its mail \
             would be refused",
            entry.line, name.domain
        ));
    }
}

const fn recipients_of(entry: &DomainEntry) -> RecipientSource {
    match (&entry.directory, entry.recipients.is_empty()) {
        (Some(_), _) => RecipientSource::Directory,
        (None, false) => RecipientSource::Listed,
        (None, true) => RecipientSource::Backend,
    }
}

fn tls_policy(smtp: &Smtp, source: &str) -> TlsPolicy {
    let requirement = |tls: &PeerTls, rule| Requirement {
        mode: tls.mode,
        minimum: tls.minimum,
        certificate: tls.certificate,
        rule,
    };
    let mut policy = TlsPolicy::new(requirement(&smtp.tls.default, None));
    for peer in &smtp.tls.peers {
        let rule = |entry: String| Some(Rule { source: source.to_owned(), line: peer.line, entry });
        for name in &peer.domains {
            let requirement = requirement(&peer.tls, rule(name.domain.to_string()));
            policy.add_domain(&name.domain, name.below, requirement);
        }
        for network in &peer.networks {
            policy.add_network(*network, requirement(&peer.tls, rule(network.to_string())));
        }
    }
    policy
}

/// What the lists say of addresses, for sessions.
pub fn classify(files: Arc<Lists>, runtime: Arc<Lists>, enforcement: EnforcementTable) -> Classify {
    Arc::new(move |address| {
        let said = [runtime.set.classify(address), files.set.classify(address)];
        standing(&said, enforcement)
    })
}

/// What several sets of lists say of an address together.
#[must_use]
pub fn standing(said: &[Classification], enforcement: EnforcementTable) -> Standing {
    let classes =
        said.iter().fold(filter_common::ClassSet::EMPTY, |all, one| all.union(one.classes));
    let decision = decide(classes, |class| enforcement.of(class));
    let country = said.iter().find_map(|one| one.country).map(|country| country.to_string());
    let mut connection = Connection::default();
    if let Some((class, _)) = decision.decided {
        let rule = rule(class, said);
        if class.approves() {
            connection.approved = rule;
        } else if let Some(reason) = refusal(class) {
            connection.refused = Some((reason, rule));
        }
    }
    Standing { connection, country }
}

/// The entry that gives an address its class.
fn rule(class: Class, said: &[Classification]) -> Option<Rule> {
    let matched = said.iter().flat_map(|one| &one.matches).find(|one| one.class == class)?;
    let (source, line) = match matched.source.rsplit_once(':') {
        Some((file, line)) => match line.parse() {
            Ok(line) => (file.to_owned(), line),
            Err(_) => (matched.source.clone(), 0),
        },
        None => (matched.source.clone(), 0),
    };
    Some(Rule { source, line, entry: matched.prefix.to_string() })
}

/// What SMTP answers to an address that a class blocks. One that is to be dropped
/// is refused as well: its connection may be older than its listing, or the
/// filter may be off.
const fn refusal(class: Class) -> Option<Reason> {
    match class {
        Class::BlockedIp => Some(Reason::BlockedIp),
        Class::BlockedCountry => Some(Reason::BlockedCountry),
        Class::KnownSpamSource => Some(Reason::KnownSpamSource),
        Class::ApprovedIp | Class::ApprovedCountry => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::recipients::Found;
    use crate::smtp::address::Mailbox;

    #[test]
    fn no_two_directories_share_a_file() {
        let names = ["a-b", "a_b", "a b", "a/b", "../a", "ab", "ä", "a_2fb", "A-b"];
        let file = |name: &&str| directory_file(Path::new("/s"), name);
        let files: std::collections::BTreeSet<_> = names.iter().map(file).collect();
        assert_eq!(files.len(), names.len());
        assert!(files.iter().all(|file| file.parent() == Some(Path::new("/s"))));
    }

    #[test]
    fn a_source_speaks_for_the_domains_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("a.txt", "bob@a.example\nbob@sub.b.example\nx@nobody.example\n").unwrap();
        write("ldap-people.txt", "eve@a.example\neve@b.example\neve@x.sub.b.example\n").unwrap();
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
        let policy = policy(&config).unwrap().unwrap();
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
