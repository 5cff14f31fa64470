//! What decides in SMTP sessions, compiled.

use std::sync::Arc;

use super::recipients;
use super::senders;
use super::sources::Sources;
use crate::config::Config;
use crate::config::smtp::{PeerTls, Smtp};
use crate::policy::reputation::{Kind, Reputation, Service, ZoneKey};
use crate::policy::rules::Policy;
use crate::policy::spf::SpfPolicy;
use crate::policy::tls::{Requirement, TlsPolicy};
use crate::smtp::refusal::Rule;

/// Compiles the policy of the SMTP side; none where the configuration has none.
pub(super) fn policy(config: &Config, sources: &mut Sources<'_>) -> Option<Policy> {
    let smtp = config.smtp.as_ref()?;
    let source = config.path.display().to_string();
    let senders = senders::senders(config, smtp, sources);
    let reputation = reputation(config, smtp, sources);
    let (domains, recipients) = recipients::recipients(config, smtp, sources);
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

fn spf(smtp: &Smtp) -> SpfPolicy {
    let Some(spf) = &smtp.spf else { return SpfPolicy::default() };
    SpfPolicy { exempt: spf.exempt.clone(), header: spf.header, explanation: spf.explanation }
}

/// The DNS lists, with the keys of those that need one. A list whose key cannot be had is
/// not asked.
pub(super) fn reputation(config: &Config, smtp: &Smtp, sources: &mut Sources<'_>) -> Reputation {
    let mut reputation = smtp.reputation.clone();
    let mut lost = Vec::new();
    let gathered = sources.gathered;
    for (key, read) in smtp.zone_keys.iter().zip(&gathered.zone_keys) {
        let place = format!("({}:{})", config.path.display(), key.line);
        let read = read.as_deref().map_err(Clone::clone).and_then(|bytes| {
            zone_key(bytes).ok_or_else(|| {
                format!("{}: is not one label of letters, digits and -", key.file.display())
            })
        });
        let zones = &mut service(&mut reputation, key.kind).zones;
        match (read, zones.get_mut(key.zone)) {
            (Ok(label), Some(zone)) => zone.key = Some(ZoneKey(label)),
            (Err(error), _) => {
                sources.fault(format!("{error} {place}"), "the DNS list is not queried");
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
