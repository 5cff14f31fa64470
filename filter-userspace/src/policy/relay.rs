//! The outgoing relay: customers, their hosts and domains, and hosts that behave as if they were
//! compromised.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use lru::LruCache;

use super::clients::Open;
use crate::lists::ClientNetwork;
use crate::smtp::address::Domain;
use crate::smtp::session::BackendName;

/// The number of hosts that are watched at once; the least recently used is forgotten first.
const HOSTS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Which way a message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From anybody to the domains that are served here.
    #[default]
    Inbound,
    /// From customers to anybody.
    Outgoing,
}

impl Direction {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outgoing => "outgoing",
        }
    }
}

/// Who may send out through here, and for which domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// The backend for their mail; without one there is no relay.
    pub backend: Option<BackendName>,
    /// The customers.
    pub customers: Vec<Customer>,
    /// The action on incoming mail from a stranger with a customer's domain as its sender.
    pub own_domain: OwnDomain,
    /// Its line in the configuration.
    pub line: u32,
}

/// A customer, who may send out through the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Its name.
    pub name: Arc<str>,
    /// Its hosts.
    pub networks: Vec<IpNet>,
    /// The fingerprints of its hosts' TLS certificates: `sha256:` and lower-case hex.
    pub certificates: Vec<String>,
    /// Its domains; `true` includes all subdomains.
    pub domains: Vec<(Domain, bool)>,
    /// Its line in the configuration.
    pub line: u32,
}

/// The action on a forged sender of incoming mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnDomain {
    /// Nothing.
    Accept,
    /// The message gets a header field.
    #[default]
    Tag,
    /// 550.
    Reject,
}

impl Relay {
    /// The customer whose host a client is: by its certificate, or else by the longest of the
    /// networks that contain its address.
    #[must_use]
    pub fn customer_of(&self, client: IpAddr, certificate: Option<&str>) -> Option<&Customer> {
        let shown = certificate.and_then(|shown| {
            self.customers.iter().find(|one| one.certificates.iter().any(|known| known == shown))
        });
        shown.or_else(|| {
            let length = |customer: &Customer| {
                let networks = customer.networks.iter();
                let has = networks.filter(|network| network.contains(&client));
                has.map(IpNet::prefix_len).max()
            };
            let lengths = self.customers.iter().filter_map(|one| Some((length(one)?, one)));
            lengths.max_by_key(|(length, _)| *length).map(|(_, customer)| customer)
        })
    }

    /// The customer who owns a domain: the nearest name counts.
    #[must_use]
    pub fn owner_of(&self, domain: &Domain) -> Option<&Customer> {
        let of = |name: &str, below: bool| {
            self.customers.iter().find(|customer| {
                let mut names = customer.domains.iter();
                names.any(|(known, is_below)| *is_below == below && known.as_str() == name)
            })
        };
        if let Some(owner) = of(domain.as_str(), false) {
            return Some(owner);
        }
        let mut name = domain.as_str();
        while let Some((_, above)) = name.split_once('.') {
            if let Some(owner) = of(above, true) {
                return Some(owner);
            }
            name = above;
        }
        None
    }
}

/// Whether the recipient's domain accepts mail (RFC 5321 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deliverability {
    /// It has a mail exchange, or an address.
    Deliverable,
    /// There is no such domain, or it has no host.
    NoDomain,
    /// The domain accepts no mail (RFC 7505).
    NullMx,
    /// Name servers give no answer; why.
    Unknown(String),
}

/// What a host may do within a window before it is considered compromised; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayLimits {
    /// The window.
    pub window: Duration,
    /// Recipients.
    pub recipients: u32,
    /// The share of recipients that are not valid, in percent.
    pub invalid_percent: u32,
    /// The number of recipients from which on that share is checked.
    pub invalid_minimum: u32,
    /// The number of different sender domains.
    pub sender_domains: u32,
    /// The length of a suspension.
    pub suspension: Duration,
}

/// Why a host is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// More recipients than permitted.
    Recipients,
    /// Too many of them are not valid.
    Invalid,
    /// Too many sender domains.
    SenderDomains,
}

impl Suspicion {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Recipients, Self::Invalid, Self::SenderDomains];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recipients => "recipients",
            Self::Invalid => "invalid_recipients",
            Self::SenderDomains => "sender_domains",
        }
    }
}

/// A host that is suspended from sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The client network of the host.
    pub host: ClientNetwork,
    /// The customer.
    pub customer: Arc<str>,
    /// The reason.
    pub suspicion: Suspicion,
    /// The end of the suspension.
    pub until: Instant,
}

/// A customer, and the client network of a host of theirs. Several customers may send from
/// one client network: by certificates, or by networks that are longer. None of them is to
/// answer for what another does.
type Known = (Arc<str>, ClientNetwork);

/// The conduct of customers' hosts.
#[derive(Debug)]
pub struct Watch {
    hosts: LruCache<Known, Host>,
    suspended: LruCache<Known, Suspension>,
    hasher: RandomState,
    open: Open,
}

#[derive(Debug)]
struct Host {
    since: Instant,
    recipients: u32,
    invalid: u32,
    /// Recipients that were temporarily refused.
    deferred: u32,
    /// Hashes of sender domains, at most one more than permitted.
    domains: HashSet<u64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            hosts: LruCache::new(HOSTS),
            suspended: LruCache::new(HOSTS),
            hasher: RandomState::new(),
            open: Open::default(),
        }
    }
}

impl Watch {
    /// Counts a recipient that a host named, and suspends the host if that was one too many.
    pub fn count(
        &mut self,
        limits: &RelayLimits,
        (host, customer): (ClientNetwork, &Arc<str>),
        sender: Option<&str>,
        valid: bool,
        now: Instant,
    ) -> Option<&Suspension> {
        if self.is_suspended(host, customer, now) {
            return None;
        }
        let (key, open) = ((customer.clone(), host), self.open.of(host));
        let domain = sender.map(|domain| self.hasher.hash_one(domain));
        let known = self.host(limits, key.clone(), now);
        known.recipients += 1;
        known.invalid += u32::from(!valid);
        let most = usize::try_from(limits.sender_domains).unwrap_or(usize::MAX);
        if let Some(domain) = domain.filter(|_| known.domains.len() <= most) {
            known.domains.insert(domain);
        }
        let Host { recipients, invalid, deferred, .. } = *known;
        let named = [recipients, deferred, open].map(u64::from).iter().sum::<u64>();
        let share = u64::from(invalid) * 100 > named * u64::from(limits.invalid_percent);
        let suspicion = if limits.recipients > 0 && recipients > limits.recipients {
            Suspicion::Recipients
        } else if limits.invalid_percent > 0 && recipients >= limits.invalid_minimum && share {
            Suspicion::Invalid
        } else if limits.sender_domains > 0 && known.domains.len() > most {
            Suspicion::SenderDomains
        } else {
            return None;
        };
        self.hosts.pop(&key);
        let until = now + limits.suspension;
        let suspension = Suspension { host, customer: customer.clone(), suspicion, until };
        self.suspended.put(key.clone(), suspension);
        self.suspended.peek(&key)
    }

    /// Notes the number of accepted recipients of a session whose message is under way, and the
    /// number before.
    pub fn note_open(&mut self, host: ClientNetwork, before: usize, open: usize) {
        self.open.change(host, before, open);
    }

    /// The counts of a customer's host in the window.
    fn host(&mut self, limits: &RelayLimits, host: Known, now: Instant) -> &mut Host {
        let new =
            || Host { since: now, recipients: 0, invalid: 0, deferred: 0, domains: HashSet::new() };
        let known = self.hosts.get_or_insert_mut(host, new);
        if now.duration_since(known.since) > limits.window {
            *known = new();
        }
        known
    }

    /// Counts a recipient that was temporarily refused: it may be valid.
    pub fn defer(
        &mut self,
        limits: &RelayLimits,
        (host, customer): (ClientNetwork, &Arc<str>),
        now: Instant,
    ) {
        let known = self.host(limits, (customer.clone(), host), now);
        known.deferred = known.deferred.saturating_add(1);
    }

    /// Whether a customer's host is suspended.
    #[must_use]
    pub fn is_suspended(&self, host: ClientNetwork, customer: &Arc<str>, now: Instant) -> bool {
        self.suspended
            .peek(&(customer.clone(), host))
            .is_some_and(|suspension| suspension.until > now)
    }

    /// The hosts that are suspended.
    #[must_use]
    pub fn suspended(&self, now: Instant) -> Vec<Suspension> {
        let suspended = self.suspended.iter().map(|(_, suspension)| suspension);
        suspended.filter(|suspension| suspension.until > now).cloned().collect()
    }

    /// Suspends a host again that was suspended before.
    pub fn restore(&mut self, suspension: Suspension) {
        self.suspended.put((suspension.customer.clone(), suspension.host), suspension);
    }

    /// Lifts suspensions, and returns them.
    pub fn resume(
        &mut self,
        is_meant: impl Fn(&Suspension) -> bool,
        now: Instant,
    ) -> Vec<Suspension> {
        let mut meant = self.suspended(now);
        meant.retain(is_meant);
        for suspension in &meant {
            self.suspended.pop(&(suspension.customer.clone(), suspension.host));
        }
        meant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(name: &str, networks: &[&str], domains: &[(&str, bool)]) -> Customer {
        Customer {
            name: name.into(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            certificates: vec![format!("CN={name}")],
            domains: domains.iter().map(|(d, below)| (Domain::parse(d).unwrap(), *below)).collect(),
            line: 1,
        }
    }

    #[test]
    fn hosts_and_domains_have_owners() {
        let relay = Relay {
            customers: vec![
                customer("wide", &["192.0.2.0/24", "2001:db8::/32"], &[("wide.example", false)]),
                customer(
                    "near",
                    &["192.0.2.128/25"],
                    &[("near.example", true), ("a.near.example", false)],
                ),
            ],
            ..Relay::default()
        };
        let host = |ip: &str, shown| {
            relay.customer_of(ip.parse().unwrap(), shown).map(|customer| &*customer.name)
        };
        assert_eq!(host("192.0.2.1", None), Some("wide"));
        assert_eq!(host("192.0.2.200", None), Some("near"));
        assert_eq!(host("192.0.2.200", Some("CN=wide")), Some("wide"));
        assert_eq!(host("198.51.100.1", Some("CN=near")), Some("near"));
        assert_eq!(host("198.51.100.1", Some("CN=other")), None);
        let owner = |name: &str| {
            relay.owner_of(&Domain::parse(name).unwrap()).map(|customer| &*customer.name)
        };
        assert_eq!(owner("wide.example"), Some("wide"));
        assert_eq!(owner("x.wide.example"), None);
        assert_eq!(owner("b.a.near.example"), Some("near"));
        assert_eq!(owner("near.example"), None);
    }

    const LIMITS: RelayLimits = RelayLimits {
        window: Duration::from_secs(60),
        recipients: 100,
        invalid_percent: 50,
        invalid_minimum: 10,
        sender_domains: 5,
        suspension: Duration::from_secs(600),
    };

    /// The reason of a host's suspension after a number of recipients.
    fn after(count: u32, step: impl Fn(u32) -> (String, bool, u64)) -> Option<(u32, Suspicion)> {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let host = (ClientNetwork::of([192, 0, 2, 1].into()), &Arc::from("c"));
        for number in 1..=count {
            let (sender, valid, second) = step(number);
            let now = start + Duration::from_secs(second);
            if let Some(found) = watch.count(&LIMITS, host, Some(&sender), valid, now) {
                return Some((number, found.suspicion));
            }
        }
        None
    }

    #[test]
    fn hosts_that_misbehave_are_suspended() {
        let own = || "own.example".to_owned();
        assert_eq!(after(100, |_| (own(), true, 0)), None);
        assert_eq!(after(200, |_| (own(), true, 0)), Some((101, Suspicion::Recipients)));
        assert_eq!(after(200, |n| (own(), true, u64::from(n))), None, "slowly");
        assert_eq!(after(200, |_| (own(), false, 0)), Some((10, Suspicion::Invalid)));
        assert_eq!(after(100, |n| (own(), n % 2 == 1, 0)), None, "half of them");
        let many = |n: u32| (format!("d{n}.example"), true, 0);
        assert_eq!(after(200, many), Some((6, Suspicion::SenderDomains)));
    }

    #[test]
    fn what_is_to_come_again_may_be_valid() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let (host, name) = (ClientNetwork::of([192, 0, 2, 1].into()), Arc::from("c"));
        for _ in 0..40 {
            watch.defer(&LIMITS, (host, &name), now);
            watch.defer(&LIMITS, (host, &name), now);
            assert_eq!(watch.count(&LIMITS, (host, &name), None, false, now), None);
        }
    }

    #[test]
    fn recipients_of_a_message_under_way_are_named_too() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let (host, name) = (ClientNetwork::of([192, 0, 2, 1].into()), Arc::from("c"));
        for number in 1..=40 {
            watch.note_open(host, number - 1, number);
            assert_eq!(watch.count(&LIMITS, (host, &name), None, false, now), None);
        }
        // The suspension was lifted: the counts begin again.
        watch.note_open(host, 40, 0);
        assert!(watch.count(&LIMITS, (host, &name), None, false, now).is_some());
    }

    #[test]
    fn a_suspension_is_of_one_host_and_ends() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let (bad, good) =
            (ClientNetwork::of([192, 0, 2, 1].into()), ClientNetwork::of([192, 0, 2, 2].into()));
        let name: Arc<str> = "c".into();
        for _ in 0..20 {
            watch.count(&LIMITS, (bad, &name), None, false, now);
            watch.count(&LIMITS, (good, &name), None, true, now);
        }
        let is_suspended = |watch: &Watch, host, now| watch.is_suspended(host, &name, now);
        assert!(is_suspended(&watch, bad, now) && !is_suspended(&watch, good, now));
        assert_eq!(watch.suspended(now).len(), 1);
        assert!(!is_suspended(&watch, bad, now + LIMITS.suspension));
        assert_eq!(watch.resume(|one| *one.customer == *"c", now).len(), 1);
        assert!(!is_suspended(&watch, bad, now));
    }

    #[test]
    fn a_customer_does_not_answer_for_another_at_the_same_address() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let host = ClientNetwork::of([192, 0, 2, 1].into());
        let (bad, good): (Arc<str>, Arc<str>) = ("acme".into(), "bravo".into());
        for _ in 0..20 {
            watch.count(&LIMITS, (host, &bad), None, false, now);
            watch.defer(&LIMITS, (host, &good), now);
            watch.count(&LIMITS, (host, &good), None, true, now);
        }
        assert!(watch.is_suspended(host, &bad, now) && !watch.is_suspended(host, &good, now));
        // Both customers can be suspended, are listed and restored, and one suspension can be
        // lifted.
        for _ in 0..90 {
            watch.count(&LIMITS, (host, &good), None, true, now);
        }
        let both = watch.suspended(now);
        assert_eq!(both.len(), 2);
        let mut watch = Watch::default();
        both.into_iter().for_each(|one| watch.restore(one));
        assert_eq!(watch.resume(|one| one.customer == good, now).len(), 1);
        assert!(watch.is_suspended(host, &bad, now) && !watch.is_suspended(host, &good, now));
    }
}
