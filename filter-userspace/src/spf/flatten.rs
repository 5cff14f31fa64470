//! The networks that a domain's record authorises, without a message: for lists of approved
//! addresses.
//!
//! Terms that cannot be listed (`exists`, `ptr`, macros) are left out and noted. The addresses of
//! an earlier term with another result than pass are subtracted; if that term cannot be listed
//! either, nothing behind it is included. So every listed address passes [`check`](super::check).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::evaluation::Outcome;
use super::known::{Known, Step};
use super::macros::MacroString;
use super::record::{Directive, Lengths, Mechanism};
use super::walk::{Halt, Walk, shown};
use crate::dns::RecordType;

/// The maximum number of networks of a domain.
const NETWORKS: usize = 4096;

/// The maximum number of notes about what was left out.
const NOTES: usize = 100;

/// Shorter prefixes are not a domain's own hosts.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 16;

/// The networks of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Each network, with the record and the term that it comes from.
    pub networks: BTreeMap<IpNet, String>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// How long all of it is valid.
    pub ttl: Duration,
}

impl Networks {
    fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < NOTES {
            self.notes.push(shown(&note()));
        }
    }
}

/// Lists the networks that a domain authorises, by what is known of DNS. The error is in words:
/// names do not resolve for now, or a record is invalid.
#[must_use]
pub fn flatten(domain: &str, known: &Known) -> Step<Result<Networks, String>> {
    let mut walk = Walk::new(known, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut found = Networks::default();
    match record(&mut walk, domain, &mut found) {
        Ok(Some(networks)) => found.networks = networks,
        Ok(None) => return Step::Done(Err(format!("{domain}: has no record"))),
        Err(Halt::Missing) => return Step::Ask(walk.missing),
        Err(Halt::Temporary(why) | Halt::Permanent(why)) => return Step::Done(Err(why)),
        // Without a message, macros have no value.
        Err(Halt::NotAscii) => return Step::Done(Err(format!("{domain}: depends on the message"))),
    }
    let answers = known.answers.values().filter_map(|lookup| lookup.as_ref().ok());
    found.ttl = answers.map(|answer| answer.ttl).min().unwrap_or_default();
    Step::Done(Ok(found))
}

type Found = BTreeMap<IpNet, String>;

fn record(walk: &mut Walk<'_>, domain: &str, notes: &mut Networks) -> Result<Option<Found>, Halt> {
    let Some(record) = walk.record(domain, 0)? else { return Ok(None) };
    let mut found = Found::new();
    // What an earlier term has decided differently.
    let mut taken: Vec<IpNet> = Vec::new();
    for directive in &record.directives {
        if directive.mechanism == Mechanism::All {
            if directive.outcome == Outcome::Pass {
                notes.note(|| format!("{domain}: {}: would be everybody", directive.text));
            }
            return Ok(Some(found));
        }
        let listed = networks(walk, directive, domain, notes)?;
        match (listed, directive.outcome) {
            (Some(listed), Outcome::Pass) => {
                add(&mut found, listed, &taken, domain)?;
            }
            (Some(listed), _) => taken.extend(listed.into_keys()),
            (None, Outcome::Pass) => {
                notes.note(|| format!("{domain}: {}: depends on the message", directive.text));
            }
            (None, _) => {
                let text = &directive.text;
                notes.note(|| format!("{domain}: {text}: nothing behind it can be listed"));
                return Ok(Some(found));
            }
        }
    }
    let Some(redirect) = record.redirect.as_ref() else { return Ok(Some(found)) };
    walk.count_term()?;
    if redirect.has_macros() {
        notes.note(|| format!("{domain}: redirect=: depends on the message"));
        return Ok(Some(found));
    }
    let target = walk.name(redirect, domain)?;
    let Some(rest) = self::record(walk, &target, notes)? else {
        return Err(Halt::Permanent(format!("{domain}: redirect={target} has no record")));
    };
    add(&mut found, rest, &taken, domain)?;
    Ok(Some(found))
}

/// Adds networks after subtracting others, as many as a domain may have.
fn add(found: &mut Found, more: Found, taken: &[IpNet], domain: &str) -> Result<(), Halt> {
    let too_many = || Halt::Permanent(format!("{domain}: more than {NETWORKS} networks"));
    for (network, origin) in more {
        let mut left = Vec::new();
        // The maximum number of parts that one network is split into, within the space that is
        // left.
        if !without(network, taken, NETWORKS, &mut left) {
            return Err(too_many());
        }
        for one in left {
            found.entry(one).or_insert_with(|| origin.clone());
        }
        if found.len() > NETWORKS {
            return Err(too_many());
        }
    }
    Ok(())
}

/// What a term matches; none if that depends on the message.
fn networks(
    walk: &mut Walk<'_>,
    directive: &Directive,
    domain: &str,
    notes: &mut Networks,
) -> Result<Option<Found>, Halt> {
    let origin = format!("{domain}: {}", directive.text);
    let one = |network: IpNet| Found::from([(network.trunc(), origin.clone())]);
    let name = match &directive.mechanism {
        Mechanism::All => return Ok(None),
        Mechanism::Ip4(network) => return Ok(Some(bounded(one((*network).into()), notes))),
        Mechanism::Ip6(network) => return Ok(Some(bounded(one((*network).into()), notes))),
        Mechanism::Ptr(_) | Mechanism::Exists(_) => {
            walk.count_term()?;
            return Ok(None);
        }
        Mechanism::Include(name) => Some(name),
        Mechanism::A(name, _) | Mechanism::Mx(name, _) => name.as_ref(),
    };
    walk.count_term()?;
    if name.is_some_and(MacroString::has_macros) {
        return Ok(None);
    }
    let target = walk.target(name, domain)?;
    let found = match &directive.mechanism {
        Mechanism::Include(_) => {
            let included = record(walk, &target, notes)?;
            included.ok_or_else(|| {
                Halt::Permanent(format!("{domain}: include:{target} has no record"))
            })?
        }
        Mechanism::Mx(_, lengths) => {
            let mut found = Found::new();
            let mut missing = false;
            for host in walk.hosts(&target)? {
                match addresses(walk, &host, *lengths, &origin) {
                    Ok(more) => found.extend(more),
                    Err(Halt::Missing) => missing = true,
                    Err(halt) => return Err(halt),
                }
            }
            if missing {
                return Err(Halt::Missing);
            }
            found
        }
        Mechanism::A(_, lengths) => addresses(walk, &target, *lengths, &origin)?,
        _ => Found::new(),
    };
    Ok(Some(bounded(found, notes)))
}

fn addresses(
    walk: &mut Walk<'_>,
    host: &str,
    lengths: Lengths,
    origin: &str,
) -> Result<Found, Halt> {
    // A host without addresses of one family does not count as an empty answer.
    let answers = [RecordType::A, RecordType::Aaaa].map(|kind| walk.look(host, kind));
    let mut found = Found::new();
    for answer in answers {
        for address in answer?.addresses() {
            let network = match address {
                IpAddr::V4(address) => Ipv4Net::new(address, lengths.v4).map(IpNet::V4),
                IpAddr::V6(address) => Ipv6Net::new(address, lengths.v6).map(IpNet::V6),
            };
            if let Ok(network) = network {
                found.insert(network.trunc(), origin.to_owned());
            }
        }
    }
    Ok(found)
}

/// Leaves out networks that are too large to be intended.
fn bounded(mut found: Found, notes: &mut Networks) -> Found {
    found.retain(|network, origin| {
        let shortest = if network.addr().is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
        let fits = network.prefix_len() >= shortest;
        if !fits {
            notes.note(|| format!("{origin}: {network} is too large"));
        }
        fits
    });
    found
}

/// Adds what is left of a network after subtracting others, in the largest parts; false if that is
/// more than `most`. Each half is compared only with the networks that overlap it.
fn without(network: IpNet, taken: &[IpNet], most: usize, left: &mut Vec<IpNet>) -> bool {
    if taken.iter().any(|taken| taken.contains(&network)) {
        return true;
    }
    let inside: Vec<_> = taken.iter().filter(|taken| network.contains(*taken)).copied().collect();
    if inside.is_empty() {
        left.push(network);
        return left.len() <= most;
    }
    // One is inside, so there are halves.
    let Ok(mut halves) = network.subnets(network.prefix_len() + 1) else { return true };
    halves.all(|half| without(half, &inside, most, left))
}
