//! From the configuration's SMTP side and its files to what decides in sessions.

use std::sync::{Arc, PoisonError, RwLock};

use filter_common::Class;
use filter_common::verdict::decide;

use super::build::Lists;
use super::gather::{Gathering, Tolerance};
use super::{directories, envelope};
use crate::config::named::NamedFile;
use crate::config::smtp::{Certificate, PeerTls, Smtp};
use crate::config::{Config, EnforcementTable};
use crate::io::smtp::{Classify, Generation, certificate_errors as certificate_errors_of};
use crate::io::{certificates, clock, files};
use crate::lists::Classification;
use crate::policy::facts::{Connection, Standing};
use crate::policy::reputation::{Kind, Reputation, Service, ZoneKey};
use crate::policy::rules::Policy;
use crate::policy::spf::SpfPolicy;
use crate::policy::tls::{Requirement, TlsPolicy};
use crate::runtime::RuntimeEntries;
use crate::smtp::refusal::{Reason, Rule};

/// The largest file of a zone's key.
const ZONE_KEY: u64 = 4096;

/// Reads every file of the SMTP side; none where the configuration has none.
pub fn policy(config: &Config, gathering: &mut Gathering<'_>) -> Option<Policy> {
    let smtp = config.smtp.as_ref()?;
    let source = config.path.display().to_string();
    let senders = envelope::senders(config, smtp, gathering);
    let reputation = reputation(config, smtp, gathering);
    let (domains, recipients) = envelope::recipients(config, smtp, gathering);
    Some(Policy {
        message_size: smtp.limits.message_size,
        senders,
        tls: tls_policy(smtp, &source),
        approve_requires_spf_pass: smtp.senders.approve_requires_spf_pass,
        reputation,
        ask_private: config.dns.private_clients,
        spf: spf(smtp),
        relay: smtp.relay.as_ref().map(|relay| relay.policy.clone()).unwrap_or_default(),
        domains,
        recipients,
        source,
    })
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
    Generation::new(smtp.clone(), &config.dns, policy, &hostname(smtp), before)
        .map(Some)
        .map_err(|errors| errors.into_iter().map(|error| placed(config, error)).collect())
}

/// An error with the line of the key that names the file, where it is of a file of
/// certificates that are trusted.
fn placed(config: &Config, error: String) -> String {
    let source = config.path.display();
    let found = config.smtp.iter().flat_map(|smtp| &smtp.named).find_map(|file| {
        let before = match file.key {
            "tls.client_ca" => format!("{source}: tls.client_ca: "),
            "backend.ca" => format!("backend {}: ca: ", file.of),
            _ => return None,
        };
        let why = error.strip_prefix(&before)?;
        Some(format!("{}: {why}", place(config, file)))
    });
    found.unwrap_or(error)
}

/// Where a file is named, and for whom.
fn place(config: &Config, file: &NamedFile) -> String {
    let of = if file.of.is_empty() { String::new() } else { format!(" of `{}`", file.of) };
    format!("{}:{}: {}{of}", config.path.display(), file.line, file.key)
}

/// What is wrong with the files without which a directory cannot be asked, a line each.
#[must_use]
pub fn directory_errors(config: &Config) -> Vec<String> {
    let named = config.smtp.iter().flat_map(|smtp| &smtp.named);
    let of_directories = named.filter(|file| file.key.starts_with("ldap."));
    let errors = of_directories.filter_map(|file| {
        let wrong = match file.has_certificates {
            true => certificates::roots(&file.path).err(),
            false => files::read(&file.path, directories::PASSWORD).err(),
        };
        wrong.map(|wrong| format!("{}: {wrong}", place(config, file)))
    });
    errors.collect()
}

/// What is wrong with certificates and keys, of the console too, a line each.
#[must_use]
pub fn certificate_errors(config: &Config) -> Vec<String> {
    let (smtp, source) = (config.smtp.as_ref(), config.path.display().to_string());
    let mut errors =
        smtp.map(|smtp| certificate_errors_of(smtp, &hostname(smtp), &source)).unwrap_or_default();
    errors = errors.into_iter().map(|error| placed(config, error)).collect();
    errors.extend(console_certificate(config).err());
    errors
}

/// Loads the certificate of the console, where there is one.
///
/// # Errors
///
/// What is wrong with it, and where it is named.
pub fn console_certificate(config: &Config) -> Result<(), String> {
    let certificate = config.web.as_ref().and_then(|web| web.certificate.as_ref());
    let Some(certificate) = certificate else { return Ok(()) };
    let place = format!("{}:{}: web.chain", config.path.display(), certificate.line);
    certificates::load(certificate).map(|_| ()).map_err(|error| format!("{place}: {error}"))
}

/// What is wrong with certificates that can be used.
#[must_use]
pub fn certificate_warnings(config: &Config) -> Vec<String> {
    let source = config.path.display().to_string();
    let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
    let mut warnings = Vec::new();
    let mut look = |certificates: &[Certificate], hostname: &str| {
        let (facts, concerns) = certificates::look(certificates, &source, hostname);
        warnings.extend(facts.iter().filter_map(|one| one.concern(now)));
        concerns
    };
    let mut concerns = config
        .smtp
        .as_ref()
        .map_or_else(Vec::new, |smtp| look(&smtp.tls.certificates, &hostname(smtp)));
    if let Some(certificate) = config.web.as_ref().and_then(|web| web.certificate.as_ref()) {
        // By which name the console is called is nobody's to say here.
        let of_web = look(std::slice::from_ref(certificate), "");
        concerns.extend(of_web.into_iter().filter(|concern| !concern.contains(" is not for ")));
    }
    warnings.extend(concerns);
    let own = config.smtp.iter().flat_map(|smtp| &smtp.tls.certificates);
    let own = own.chain(config.web.iter().filter_map(|web| web.certificate.as_ref()));
    for certificate in own {
        let one = std::slice::from_ref(certificate);
        warnings.extend(certificates::chain_concerns(one, &source, now));
    }
    for file in config.smtp.iter().flat_map(|smtp| &smtp.named) {
        if file.has_certificates {
            let place = place(config, file);
            warnings.extend(certificates::trusted_concerns(&file.path, &place, now));
        }
    }
    warnings
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

fn spf(smtp: &Smtp) -> SpfPolicy {
    let Some(spf) = &smtp.spf else { return SpfPolicy::default() };
    SpfPolicy { exempt: spf.exempt.clone(), header: spf.header, explanation: spf.explanation }
}

/// The DNS lists of a configuration, with their keys.
///
/// # Errors
///
/// What is wrong with the files of the keys, in lines.
pub fn reputation_of(config: &Config, smtp: &Smtp) -> Result<Reputation, String> {
    let mut gathering = Gathering::new(Tolerance::Strict);
    let reputation = reputation(config, smtp, &mut gathering);
    let errors = gathering.errors;
    if errors.is_empty() { Ok(reputation) } else { Err(errors.join("\n")) }
}

/// The DNS lists, with the keys of those that need one. A list whose key cannot be had is
/// not asked.
fn reputation(config: &Config, smtp: &Smtp, gathering: &mut Gathering<'_>) -> Reputation {
    let mut reputation = smtp.reputation.clone();
    let mut lost = Vec::new();
    for key in &smtp.zone_keys {
        let place = format!("({}:{})", config.path.display(), key.line);
        let read = files::read(&key.file, ZONE_KEY).and_then(|bytes| {
            zone_key(&bytes).ok_or_else(|| {
                format!("{}: is not one label of letters, digits and -", key.file.display())
            })
        });
        let zones = &mut service(&mut reputation, key.kind).zones;
        match (read, zones.get_mut(key.zone)) {
            (Ok(label), Some(zone)) => zone.key = Some(ZoneKey(label)),
            (Err(error), _) => {
                gathering.fault(format!("{error} {place}"), "the DNS list is not queried");
                lost.push((key.kind, key.zone));
            }
            (Ok(_), None) => {}
        }
    }
    // The last first, so that the places of the others stay.
    lost.sort_by_key(|(_, zone)| std::cmp::Reverse(*zone));
    for (kind, zone) in lost {
        let zones = &mut service(&mut reputation, kind).zones;
        if zone < zones.len() {
            zones.remove(zone);
        }
    }
    reputation
}

const fn service(reputation: &mut Reputation, kind: Kind) -> &mut Service {
    match kind {
        Kind::Standard => &mut reputation.standard,
        Kind::Dynamic => &mut reputation.dynamic,
    }
}

/// The key in a file: a label of a name. It stands in no error.
fn zone_key(bytes: &[u8]) -> Option<Arc<str>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let is_label = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_label.then(|| text.into())
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
pub fn classify(
    files: Arc<Lists>,
    runtime: Arc<RwLock<RuntimeEntries>>,
    enforcement: EnforcementTable,
) -> Classify {
    Arc::new(move |address| {
        let managed = runtime.read().unwrap_or_else(PoisonError::into_inner).classify(address);
        let said = [managed, files.set.classify(address)];
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

    #[test]
    fn files_beside_the_own_certificates_are_named_with_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("bad.pem", "nothing").unwrap();
        let text = "[filter]\ninterfaces = [\"lo\"]\n[listen]\nsmtp = [\"127.0.0.1:25\"]\n\
            [tls]\nself_signed = true\nclient_ca = \"bad.pem\"\n\
            [[domain]]\nnames = [\"a.example\"]\nbackend = \"m\"\nldap = \"people\"\n\
            [[backend]]\nname = \"m\"\nservers = [\"127.0.0.1:2500\"]\ntls = \"verified\"\n\
            ca = \"bad.pem\"\n\
            [[ldap]]\nname = \"people\"\nurl = \"ldaps://127.0.0.1\"\nbase = \"dc=x\"\n\
            ca = \"none.pem\"\nbind_dn = \"cn=x\"\npassword_file = \"none\"\n";
        let path = folder.path().join("m.toml");
        let config = crate::config::parse(text, &path).unwrap();
        let short = |lines: Vec<String>| {
            let folder = format!("{}/", folder.path().display());
            lines.into_iter().map(|line| line.replace(&folder, "")).collect::<Vec<_>>()
        };
        let none = "there is no certificate in PEM";
        assert_eq!(
            short(certificate_errors(&config)),
            [
                format!("m.toml:7: tls.client_ca: bad.pem: {none}"),
                format!("m.toml:16: backend.ca of `m`: bad.pem: {none}"),
            ]
        );
        let errors = short(directory_errors(&config));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(
            errors[0],
            "m.toml:21: ldap.ca of `people`: none.pem: the certificate does not exist"
        );
        assert!(errors[1].starts_with("m.toml:23: ldap.password_file of `people`: none: cannot"));
        write("none", "secret\n").unwrap();
        assert_eq!(directory_errors(&config).len(), 1);
    }
}
