//! Reputation of addresses by DNS lists (RFC 5782): what to query, and what the answers mean.
//!
//! Two services of zones: *standard* lists known sources of spam, and refuses permanently;
//! *dynamic* lists current sources, and refuses temporarily. A zone's listing has a weight; a
//! service refuses when the weights of the zones that list an address reach its threshold. A
//! negative weight counts in favour of an address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dns::{Lookup, Query, RecordType, reversed};
use crate::smtp::refusal::{Own, Reason, Refusal, Rule};

/// The weight of a listing, unless the zone configures another.
pub const WEIGHT: i32 = 10;

/// The thresholds of the levels 1 to 4 of the dynamic service.
pub const LEVELS: [i32; 4] = [20, 10, 5, 1];

/// The longest text of a zone that is passed on, in characters.
const TEXT: usize = 200;

/// Both services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reputation {
    /// The stable lists.
    pub standard: Service,
    /// The fast-moving lists.
    pub dynamic: Service,
    /// The time limit for all answers, from the first RCPT on.
    pub budget: Duration,
    /// How often zones that work are checked.
    pub control_interval: Duration,
    /// How often zones that do not work are checked.
    pub retry_interval: Duration,
}

/// The kind of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Refuses permanently.
    Standard,
    /// Refuses temporarily.
    Dynamic,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Dynamic => "dynamic",
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Standard => Reason::StandardReputation,
            Self::Dynamic => Reason::DynamicReputation,
        }
    }
}

/// A service: its zones, and the action on a hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its zones; without any, it is off.
    pub zones: Vec<Zone>,
    /// The weight that is a hit; none means never (level 0).
    pub threshold: Option<i32>,
    /// The action on a hit.
    pub action: Action,
    /// The reply to a hit, instead of the usual one.
    pub own: Option<Own>,
}

/// The action on a hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Refuses the recipient.
    #[default]
    Refuse,
    /// Refuses, and ends the connection.
    Close,
    /// Only records the hit.
    Log,
}

/// The key of an account at a DNS list: a label of the queried names.
#[derive(Clone, PartialEq, Eq)]
pub struct ZoneKey(pub Arc<str>);

impl fmt::Debug for ZoneKey {
    /// The key is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZoneKey(…)")
    }
}

/// A DNS list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without the key.
    pub name: Arc<str>,
    /// The account's key, a label before the name; never shown.
    pub key: Option<ZoneKey>,
    /// The answers that are listings.
    pub codes: Vec<Codes>,
    /// The answers that are neither listings nor errors.
    pub ignored: Vec<Codes>,
    /// The weight of a listing.
    pub weight: i32,
    /// Whether its TXT record is part of the reply.
    pub text: bool,
    /// Whether it lists IPv4 addresses.
    pub v4: bool,
    /// Whether it lists IPv6 addresses.
    pub v6: bool,
    /// Whether it has the test entries of RFC 5782 section 5.
    pub control: bool,
    /// Its line in the configuration.
    pub line: u32,
}

/// Some answers of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// A range, including both ends.
    Range(Ipv4Addr, Ipv4Addr),
    /// Answers in 127.0.0.0/8 with any of these bits.
    Mask(u32),
}

impl Codes {
    /// Parses `127.0.0.2`, `127.0.0.2-127.0.0.11` or `&0.0.0.6`; none for any other text, and for
    /// one that includes an answer that no listing may have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(bits) = text.strip_prefix('&') {
            let bits = u32::from(bits.trim().parse::<Ipv4Addr>().ok()?);
            return (bits != 0 && bits >> 24 == 0).then_some(Self::Mask(bits));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to): (Ipv4Addr, Ipv4Addr) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        let fits = from <= to
            && from.is_loopback()
            && to.is_loopback()
            && (to < ERRORS.0 || from > ERRORS.1);
        fits.then_some(Self::Range(from, to))
    }

    fn has(self, answer: Ipv4Addr) -> bool {
        match self {
            Self::Range(from, to) => (from..=to).contains(&answer),
            Self::Mask(bits) => u32::from(answer) & bits != 0,
        }
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(from, to) if from == to => write!(f, "{from}"),
            Self::Range(from, to) => write!(f, "{from}-{to}"),
            Self::Mask(bits) => write!(f, "&{}", Ipv4Addr::from(*bits)),
        }
    }
}

/// The answers of large lists that refuse to answer: a blocked or public resolver, too many
/// queries.
const ERRORS: (Ipv4Addr, Ipv4Addr) =
    (Ipv4Addr::new(127, 255, 255, 0), Ipv4Addr::new(127, 255, 255, 255));

/// A zone's answer about an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Nothing.
    No,
    /// It lists it, with this answer.
    Yes(Ipv4Addr),
    /// Its answer does not count.
    Error(String),
}

impl Zone {
    /// The query about an address; none if the zone is not for its family.
    #[must_use]
    pub fn query(&self, address: IpAddr) -> Option<Query> {
        let address = address.to_canonical();
        let wanted = if address.is_ipv4() { self.v4 } else { self.v6 };
        wanted.then(|| self.named(&reversed(address), RecordType::A))
    }

    /// The query for the text of a listing.
    #[must_use]
    pub fn text_query(&self, address: IpAddr) -> Query {
        self.named(&reversed(address), RecordType::Txt)
    }

    fn named(&self, reversed: &str, kind: RecordType) -> Query {
        let name = match &self.key {
            Some(ZoneKey(key)) => format!("{reversed}.{key}.{}", self.name),
            None => format!("{reversed}.{}", self.name),
        };
        Query::new(&name, kind)
    }

    /// The queries for the test entries: one that must be listed, and one that must not (RFC 5782
    /// section 5).
    #[must_use]
    pub fn controls(&self) -> (Query, Query) {
        let [listed, unlisted] = if self.v4 {
            [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 1)].map(reversed_v4)
        } else {
            [0x7f00_0002_u32, 0x7f00_0001].map(reversed_mapped)
        };
        (self.named(&listed, RecordType::A), self.named(&unlisted, RecordType::A))
    }

    /// The problem of the zone, by the answers about its test entries.
    #[must_use]
    pub fn failure(&self, listed: &Lookup, unlisted: &Lookup) -> Option<String> {
        let (listed, unlisted) = match (listed, unlisted) {
            (Ok(listed), Ok(unlisted)) => (listed, unlisted),
            (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
        };
        let (test, clean) = if self.v4 {
            ("127.0.0.2", "127.0.0.1")
        } else {
            ("::ffff:127.0.0.2", "::ffff:127.0.0.1")
        };
        if let Some(answer) = listed.v4().find(|answer| is_error(*answer)) {
            return Some(format!("answers {answer}, which is an error"));
        }
        if listed.v4().next().is_none() {
            return Some(format!("does not list {test}, as every working list does"));
        }
        if unlisted.v4().next().is_some() {
            return Some(format!("lists {clean}, and with it probably every address"));
        }
        None
    }

    /// The meaning of an answer.
    #[must_use]
    pub fn read(&self, lookup: &Lookup) -> Listing {
        let answer = match lookup {
            Ok(answer) => answer,
            Err(failure) => return Listing::Error(failure.to_string()),
        };
        if let Some(error) = answer.v4().find(|answer| is_error(*answer)) {
            return Listing::Error(format!("answers {error}, which is an error"));
        }
        let listed = |answer: &Ipv4Addr| self.codes.iter().any(|codes| codes.has(*answer));
        if let Some(listed) = answer.v4().find(listed) {
            return Listing::Yes(listed);
        }
        let ignored = |answer: &Ipv4Addr| self.ignored.iter().any(|codes| codes.has(*answer));
        answer.v4().find(|answer| !ignored(answer)).map_or(Listing::No, |unexpected| {
            Listing::Error(format!("answers {unexpected}, which no code of it names"))
        })
    }
}

fn is_error(answer: Ipv4Addr) -> bool {
    !answer.is_loopback() || (ERRORS.0..=ERRORS.1).contains(&answer)
}

fn reversed_v4(address: Ipv4Addr) -> String {
    reversed(address.into())
}

/// The nibbles of an IPv4-mapped address, which are the test entries of a list of IPv6 addresses.
fn reversed_mapped(address: u32) -> String {
    let bits = 0xffff_0000_0000_u128 | u128::from(address);
    let nibbles: Vec<_> = (0..32).map(|i| format!("{:x}", (bits >> (4 * i)) & 15)).collect();
    nibbles.join(".")
}

/// A zone that lists the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The service.
    pub kind: Kind,
    /// The zone.
    pub zone: Arc<str>,
    /// Its answer.
    pub code: Ipv4Addr,
    /// Its weight.
    pub weight: i32,
    /// The text that goes with it, if it is configured.
    pub text: Option<String>,
    /// The zone's line in the configuration.
    pub line: u32,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:+}", self.zone, self.code, self.weight)
    }
}

/// The answers of all zones about an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The zones that list it.
    pub hits: Vec<Hit>,
    /// The zones whose answer did not count, and why.
    pub errors: Vec<(Arc<str>, String)>,
    /// The number of zones that were queried.
    pub asked: usize,
}

impl Verdict {
    /// The hits of a service, and the sum of their weights.
    fn of(&self, kind: Kind) -> (Vec<&Hit>, i32) {
        let hits: Vec<_> = self.hits.iter().filter(|hit| hit.kind == kind).collect();
        let sum = hits.iter().fold(0_i32, |sum, hit| sum.saturating_add(hit.weight));
        (hits, sum)
    }

    /// Whether a zone's answer did not count.
    fn is_unheard(&self, zone: &str) -> bool {
        self.errors.iter().any(|(name, _)| **name == *zone)
    }

    /// The verdict, for people.
    #[must_use]
    pub fn note(&self) -> String {
        let hits: Vec<_> = self.hits.iter().map(ToString::to_string).collect();
        let mut note = match (self.asked, hits.is_empty()) {
            (0, _) => "no zone was asked".to_owned(),
            (asked, true) => format!("listed by none of {asked}"),
            (_, false) => hits.join(", "),
        };
        for (zone, error) in &self.errors {
            note.push_str(&format!("; {zone}: {error}"));
        }
        note
    }
}

impl Reputation {
    /// The services, with their kind.
    #[must_use]
    pub const fn services(&self) -> [(Kind, &Service); 2] {
        [(Kind::Standard, &self.standard), (Kind::Dynamic, &self.dynamic)]
    }

    /// Whether any zone is queried.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.services().iter().any(|(_, service)| !service.zones.is_empty())
    }

    /// The refusal by a verdict: the standard service before the dynamic one. `source` is the name
    /// of the configuration.
    #[must_use]
    pub fn refusal(&self, verdict: &Verdict, address: IpAddr, source: &str) -> Option<Refusal> {
        self.services().into_iter().find_map(|(kind, service)| {
            let (hits, sum) = verdict.of(kind);
            let first = hits.iter().max_by_key(|hit| hit.weight)?;
            // A zone that did not answer might have counted in favour of the address.
            let unheard = service.zones.iter().filter(|zone| zone.weight < 0);
            let unheard = unheard.filter(|zone| verdict.is_unheard(&zone.name));
            let sum = unheard.fold(sum, |sum, zone| sum.saturating_add(zone.weight));
            let is_hit = service.threshold.is_some_and(|threshold| sum >= threshold);
            if !is_hit || service.action == Action::Log {
                return None;
            }
            let entry: Vec<_> = hits.iter().map(ToString::to_string).collect();
            let rule =
                Rule { source: source.to_owned(), line: first.line, entry: entry.join(", ") };
            let mut own = service.own.clone().unwrap_or_default();
            if service.action == Action::Close {
                own.code = Some(421);
            }
            own.more = hits.iter().find_map(|hit| hit.text.clone());
            let refusal = Refusal::by(kind.reason(), address.to_canonical(), Some(rule));
            Some(refusal.saying(own))
        })
    }
}

/// The text of a listing in a form that fits into a reply: printable ASCII, and short.
#[must_use]
pub fn clean_text(text: &[u8]) -> Option<String> {
    let letters = text.iter().take(TEXT).map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => ' ',
    });
    let text: String = letters.collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The state of a zone, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneState {
    /// Its name.
    pub zone: String,
    /// Why it is not used; none when it is.
    pub disabled: Option<String>,
    /// The last error, while it is new.
    pub error: Option<String>,
    /// How many addresses it was queried about.
    pub asked: u64,
    /// How many of them it lists.
    pub listed: u64,
    /// How many queries came to nothing.
    pub errors: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Answer, Failure, Record};

    fn zone(codes: &[&str]) -> Zone {
        Zone {
            name: "bl.example".into(),
            key: None,
            codes: codes.iter().map(|text| Codes::parse(text).unwrap()).collect(),
            ignored: vec![Codes::parse("127.0.0.10-127.0.0.11").unwrap()],
            weight: WEIGHT,
            text: false,
            v4: true,
            v6: true,
            control: true,
            line: 3,
        }
    }

    fn answer(addresses: &[&str]) -> Lookup {
        let records = addresses.iter().map(|text| Record::A(text.parse().unwrap())).collect();
        Ok(Answer { records, exists: true, ttl: Duration::from_secs(1) })
    }

    #[test]
    fn codes_are_single_ranges_or_masks() {
        for (text, yes, no) in [
            ("127.0.0.2", "127.0.0.2", "127.0.0.3"),
            ("127.0.0.2-127.0.0.4", "127.0.0.4", "127.0.0.5"),
            ("127.0.0.2 - 127.0.1.4", "127.0.0.255", "127.0.1.5"),
            ("&0.0.0.6", "127.0.0.4", "127.0.0.9"),
        ] {
            let codes = Codes::parse(text).unwrap();
            assert!(codes.has(yes.parse().unwrap()), "{text}");
            assert!(!codes.has(no.parse().unwrap()), "{text}");
            assert_eq!(Codes::parse(&codes.to_string()), Some(codes));
        }
        for text in [
            "",
            "x",
            "192.0.2.1",
            "127.0.0.4-127.0.0.2",
            "127.0.0.1-127.255.255.0",
            "127.255.255.254",
            "&0.0.0.0",
            "&127.0.0.2",
            "126.0.0.1-127.0.0.1",
        ] {
            assert_eq!(Codes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_configured_answers_are_listings() {
        let zone = zone(&["127.0.0.2-127.0.0.4", "&0.0.1.0"]);
        let is_error =
            |addresses: &[&str]| matches!(zone.read(&answer(addresses)), Listing::Error(_));
        assert_eq!(zone.read(&answer(&[])), Listing::No);
        assert_eq!(zone.read(&answer(&["127.0.0.3"])), Listing::Yes([127, 0, 0, 3].into()));
        assert_eq!(zone.read(&answer(&["127.0.1.9"])), Listing::Yes([127, 0, 1, 9].into()));
        assert_eq!(zone.read(&answer(&["127.0.0.10"])), Listing::No);
        assert_eq!(
            zone.read(&answer(&["127.0.0.10", "127.0.0.2"])),
            Listing::Yes([127, 0, 0, 2].into())
        );
        assert!(is_error(&["127.0.0.9"]));
        assert!(is_error(&["127.255.255.254"]));
        assert!(is_error(&["127.0.0.2", "127.255.255.252"]));
        assert!(is_error(&["203.0.113.7"]));
        assert!(matches!(zone.read(&Err(Failure::TimedOut)), Listing::Error(_)));
    }

    #[test]
    fn a_key_is_asked_with_and_not_shown() {
        let zone = Zone { key: Some(ZoneKey("secret".into())), ..zone(&["127.0.0.2"]) };
        let query = zone.query([192, 0, 2, 1].into()).unwrap();
        assert_eq!(query.to_string(), "1.2.0.192.secret.bl.example A");
        assert_eq!(&*zone.name, "bl.example");
        let v4 = Zone { v6: false, ..zone };
        assert_eq!(v4.query("2001:db8::1".parse().unwrap()), None);
        assert!(v4.query("::ffff:192.0.2.1".parse().unwrap()).is_some());
    }

    #[test]
    fn a_zone_must_list_the_test_entry_and_not_everything() {
        let zone = zone(&["127.0.0.2"]);
        let (listed, unlisted) = zone.controls();
        assert_eq!(listed.name, "2.0.0.127.bl.example");
        assert_eq!(unlisted.name, "1.0.0.127.bl.example");
        let works = |listed: &[&str], unlisted: &[&str]| {
            zone.failure(&answer(listed), &answer(unlisted)).is_none()
        };
        assert!(works(&["127.0.0.9"], &[]));
        assert!(!works(&[], &[]));
        assert!(!works(&["127.0.0.2"], &["127.0.0.2"]));
        assert!(!works(&["127.255.255.254"], &[]));
        assert!(!works(&["203.0.113.7"], &[]));
        assert!(zone.failure(&Err(Failure::TimedOut), &answer(&[])).is_some());
        let v6 = Zone { v4: false, ..zone };
        assert!(v6.controls().0.name.starts_with("2.0.0.0.0.0.f.7.f.f.f.f.0.0."));
    }

    #[test]
    fn weights_add_up_to_the_threshold_of_a_service() {
        let hit = |kind, weight| Hit {
            kind,
            zone: "z".into(),
            code: [127, 0, 0, 2].into(),
            weight,
            text: None,
            line: 1,
        };
        let service = |threshold| Service {
            zones: vec![zone(&["127.0.0.2"])],
            threshold,
            ..Service::default()
        };
        let reason = |threshold, hits: Vec<Hit>| {
            let reputation = Reputation {
                standard: service(Some(WEIGHT)),
                dynamic: service(threshold),
                ..Reputation::default()
            };
            let verdict = Verdict { hits, errors: Vec::new(), asked: 2 };
            let refusal = reputation.refusal(&verdict, [192, 0, 2, 1].into(), "c");
            refusal.map(|refusal| refusal.reason)
        };
        let (standard, dynamic) = (Kind::Standard, Kind::Dynamic);
        assert_eq!(reason(Some(10), vec![]), None);
        assert_eq!(reason(Some(10), vec![hit(dynamic, 9)]), None);
        assert_eq!(reason(Some(10), vec![hit(dynamic, 10)]), Some(Reason::DynamicReputation));
        assert_eq!(reason(Some(10), vec![hit(dynamic, 10), hit(dynamic, -1)]), None);
        assert_eq!(reason(None, vec![hit(dynamic, 1000)]), None);
        let both = vec![hit(dynamic, 10), hit(standard, 10)];
        assert_eq!(reason(Some(10), both), Some(Reason::StandardReputation));
        let forgiven = vec![hit(standard, 10), hit(standard, -10), hit(dynamic, 10)];
        assert_eq!(reason(Some(10), forgiven), Some(Reason::DynamicReputation));
    }

    #[test]
    fn a_good_list_that_is_silent_is_given_the_benefit_of_the_doubt() {
        let good = Zone { name: "good.example".into(), weight: -20, ..zone(&["127.0.0.2"]) };
        let reputation = Reputation {
            standard: Service {
                zones: vec![zone(&["127.0.0.2"]), good],
                threshold: Some(WEIGHT),
                ..Service::default()
            },
            ..Reputation::default()
        };
        let hit = Hit {
            kind: Kind::Standard,
            zone: "bl.example".into(),
            code: [127, 0, 0, 2].into(),
            weight: WEIGHT,
            text: None,
            line: 1,
        };
        let mut verdict = Verdict { hits: vec![hit], errors: Vec::new(), asked: 2 };
        let client = [192, 0, 2, 1].into();
        assert!(reputation.refusal(&verdict, client, "c").is_some());
        verdict.errors.push(("good.example".into(), "no answer in time".to_owned()));
        assert!(reputation.refusal(&verdict, client, "c").is_none());
    }

    #[test]
    fn texts_of_zones_are_harmless() {
        assert_eq!(clean_text(b"see\r\n250 ok").unwrap(), "see  250 ok");
        assert_eq!(clean_text("\u{e4}".as_bytes()), None);
        assert_eq!(clean_text(&[b'x'; 1000]).unwrap().len(), TEXT);
    }
}
