//! The terms by which an index finds records.
//!
//! [`of`] gives the terms of a record, [`required`] those that every record of a
//! query has: whatever a query matches has at least one term of each group. The
//! opposite does not hold (terms are hashes, and some parts of a query have none), so
//! [`Query::matches`] judges what an index finds.

use std::net::IpAddr;

use ipnet::IpNet;

use super::codes::{Kind, Status};
use super::columns::Record;
use super::pattern::Pattern;
use super::query::{NO_COUNTRY, Query};

/// A term: 30 bits of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u32);

/// What a term says; the same text under two tags gives two terms.
#[derive(Clone, Copy)]
enum Tag {
    Kind,
    Direction,
    Status,
    Stage,
    Reason,
    Country,
    /// A client's network: the length of the prefix, then its bytes.
    Network,
    /// A reference or a session.
    Reference,
    /// Three characters of Subject or Message-ID.
    Text,
    /// Of the sender; the recipient's follow in the same order.
    Sender,
    Recipient,
}

/// What of an address a term says.
#[derive(Clone, Copy)]
enum Part {
    /// All of it.
    Whole,
    /// What stands before the first `@`.
    Local,
    /// What stands behind the last `@`.
    Domain,
    /// A domain above that one.
    Parent,
    /// Three characters.
    Gram,
}

/// The prefix lengths by which networks are found.
const V4_LENGTHS: [u8; 4] = [8, 16, 24, 32];
const V6_LENGTHS: [u8; 5] = [16, 32, 48, 64, 128];

/// The characters of a gram.
const GRAM: usize = 3;

/// The most grams that are asked for one part of a query: each costs, and more say
/// little more.
const GRAMS: usize = 5;

impl Term {
    fn new(tag: Tag, part: u8, text: &[u8]) -> Self {
        // FNV-1a, folded to 30 bits: short keys, no state, the same on every machine.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        add(tag as u8);
        add(part);
        text.iter().copied().for_each(&mut add);
        let folded = (hash ^ (hash >> 32)) & 0x3fff_ffff;
        Self(u32::try_from(folded).unwrap_or(0))
    }

    /// Appends it as six letters and digits.
    pub fn write(self, to: &mut String) {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        for place in (0..6).rev() {
            let digit = (self.0 >> (5 * place)) & 31;
            to.push(char::from(DIGITS[usize::try_from(digit).unwrap_or(0)]));
        }
    }
}

/// The terms of a record; some may come twice.
#[must_use]
pub fn of(record: &Record) -> Vec<Term> {
    let mut terms = vec![
        kind(record.kind),
        named(Tag::Direction, record.direction.code()),
        status(record.status),
        named(Tag::Stage, record.stage.code()),
        named(Tag::Reason, record.reason.code()),
        named(Tag::Country, record.country.as_deref().unwrap_or(NO_COUNTRY)),
    ];
    let ip = record.ip.to_canonical();
    terms.extend(lengths(ip).iter().filter_map(|length| network(IpNet::new(ip, *length).ok()?)));
    for name in [&record.reference, &record.session].into_iter().flatten() {
        terms.push(named(Tag::Reference, name));
    }
    for (tag, address) in [(Tag::Sender, &record.sender), (Tag::Recipient, &record.recipient)] {
        if let Some(address) = address {
            add_address(tag, &address.to_lowercase(), &mut terms);
        }
    }
    for text in [&record.subject, &record.message_id].into_iter().flatten() {
        terms.extend(grams(&text.to_lowercase()).map(|gram| named(Tag::Text, &gram)));
    }
    terms
}

fn add_address(tag: Tag, address: &str, terms: &mut Vec<Term>) {
    terms.push(part(tag, Part::Whole, address));
    if let Some((local, _)) = address.split_once('@') {
        terms.push(part(tag, Part::Local, local));
    }
    let mut rest = address;
    if let Some((_, domain)) = address.rsplit_once('@') {
        terms.push(part(tag, Part::Domain, domain));
        rest = domain;
    }
    while let Some((_, parent)) = rest.split_once('.') {
        terms.push(part(tag, Part::Parent, parent));
        rest = parent;
    }
    terms.extend(grams(address).map(|gram| part(tag, Part::Gram, &gram)));
}

/// The terms that every record of a query has: at least one of each group. Empty
/// where the query has no such parts.
#[must_use]
pub fn required(query: &Query) -> Vec<Vec<Term>> {
    let mut groups: Vec<Vec<Term>> = Vec::new();
    let mut one = |term: Term| groups.push(vec![term]);
    if let Some(reference) = &query.reference {
        one(named(Tag::Reference, reference));
    }
    if let Some(pattern) = &query.sender {
        add_pattern(Tag::Sender, pattern, &mut one);
    }
    if let Some(pattern) = &query.recipient {
        add_pattern(Tag::Recipient, pattern, &mut one);
    }
    if let Some(net) = query.net {
        let lengths = lengths(net.addr()).iter().rev();
        let length = lengths.copied().find(|length| *length <= net.prefix_len());
        let wider = length.and_then(|length| IpNet::new(net.addr(), length).ok());
        wider.and_then(network).into_iter().for_each(&mut one);
    }
    let of_words = query.words.iter().flat_map(|word| grams(word));
    few(of_words.collect()).for_each(|gram| one(named(Tag::Text, &gram)));
    if let Some(kind_wanted) = query.kind {
        one(kind(kind_wanted));
    }
    if let Some(direction) = &query.direction {
        one(named(Tag::Direction, direction.code()));
    }
    groups.push(query.countries.iter().map(|name| named(Tag::Country, name)).collect());
    groups.push(query.reasons.iter().map(|one| named(Tag::Reason, one.code())).collect());
    groups.push(query.stages.iter().map(|one| named(Tag::Stage, one.code())).collect());
    groups.push(query.statuses.iter().map(|wanted| status(*wanted)).collect());
    groups.retain(|group| !group.is_empty());
    groups
}

fn add_pattern(tag: Tag, pattern: &Pattern, one: &mut impl FnMut(Term)) {
    if let Some(address) = pattern.exact() {
        return one(part(tag, Part::Whole, address));
    }
    let [first, middle @ .., last] = pattern.pieces() else { return };
    let mut rest: Vec<&str> = middle.iter().map(String::as_str).collect();
    // `john@*`: nothing but the local part stands before the first @.
    match first.split_once('@') {
        Some((local, behind)) => {
            one(part(tag, Part::Local, local));
            rest.push(behind);
        }
        None => rest.push(first),
    }
    // `*@example.org`, and `*.example.org`: the last @ of an address stands before it.
    match (last.rsplit_once('@'), last.strip_prefix('.')) {
        (Some((before, domain)), _) => {
            one(part(tag, Part::Domain, domain));
            rest.push(before);
        }
        (None, Some(parent)) => one(part(tag, Part::Parent, parent)),
        (None, None) => rest.push(last),
    }
    let of_rest = rest.into_iter().flat_map(grams);
    few(of_rest.collect()).for_each(|gram| one(part(tag, Part::Gram, &gram)));
}

fn kind(kind: Kind) -> Term {
    named(Tag::Kind, kind.name())
}

fn status(status: Status) -> Term {
    named(Tag::Status, status.name())
}

fn named(tag: Tag, name: &str) -> Term {
    Term::new(tag, 0, name.as_bytes())
}

fn part(tag: Tag, part: Part, text: &str) -> Term {
    Term::new(tag, part as u8, text.as_bytes())
}

fn network(net: IpNet) -> Option<Term> {
    let length = net.prefix_len();
    let bytes = match net.network() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let kept = bytes.get(..usize::from(length / 8))?;
    let family = if net.addr().is_ipv4() { 0 } else { 128 };
    Some(Term::new(Tag::Network, family | (length / 8), kept))
}

const fn lengths(ip: IpAddr) -> &'static [u8] {
    match ip {
        IpAddr::V4(_) => &V4_LENGTHS,
        IpAddr::V6(_) => &V6_LENGTHS,
    }
}

/// Each three characters that follow one another.
fn grams(text: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = text.chars().collect();
    let count = (characters.len() + 1).saturating_sub(GRAM);
    (0..count).map(move |start| characters[start..start + GRAM].iter().collect())
}

/// Some of the grams: first those with digits and signs, which fewer texts have than
/// letters alone; of each kind from all over the text.
fn few(grams: Vec<String>) -> impl Iterator<Item = String> {
    let is_common = |gram: &String| gram.chars().all(char::is_alphabetic);
    let (common, rare): (Vec<_>, Vec<_>) = grams.into_iter().partition(is_common);
    let spread = |grams: Vec<String>| {
        // Both ends, and as many between them as there may be.
        let (count, last) = (grams.len().min(GRAMS), grams.len().saturating_sub(1));
        let place = move |index: usize| index * last / count.saturating_sub(1).max(1);
        (0..count).map(move |index| grams[place(index)].clone())
    };
    spread(rare).chain(spread(common)).take(GRAMS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::codes::{Reason, Stage};

    fn finds(query: &Query, record: &Record) -> bool {
        let terms = of(record);
        required(query).iter().all(|group| group.iter().any(|term| terms.contains(term)))
    }

    fn address() -> impl Strategy<Value = Option<String>> {
        prop_oneof![
            Just(None),
            Just(Some(String::new())),
            "[aAbü@.]{0,6}(@[ab]{0,3}(\\.[abB]{0,2}){0,3})?".prop_map(Some),
        ]
    }

    fn sometimes<S: Strategy>(value: S) -> impl Strategy<Value = Option<S::Value>> {
        proptest::option::weighted(0.3, value)
    }

    fn ip() -> impl Strategy<Value = IpAddr> {
        let v4 = (0..4_u32).prop_map(|n| IpAddr::V4((0xc000_0200 ^ (n << (n * 8))).into()));
        let v6 = (0..8_u128).prop_map(|n| IpAddr::V6(((0x2001 << 112) | (n << (n * 16))).into()));
        prop_oneof![v4, v6]
    }

    prop_compose! {
        fn records()(
            time in 0..10_u64, ip in ip(), status in 0..4_usize, reason in 0..3_usize,
            country in sometimes("DE|AT"), sender in address(), recipient in address(),
            subject in sometimes("[abA ß\u{130}]{0,8}"),
            message_id in sometimes("[ab@]{0,6}"),
            reference in sometimes("[AB]-1"),
        ) -> Record {
            let reason = ["blocked_ip", "backend_refused", "too_large"][reason];
            Record {
                country, sender, recipient, subject, message_id,
                session: reference.as_ref().map(|text| text[..1].to_owned()), reference,
                ..Record::new(time, ip, Status::ALL[status], Stage::read("connection"), Reason::read(reason))
            }
        }
    }

    prop_compose! {
        fn queries()(
            sender in sometimes("[ab@.*ü]{1,6}"),
            recipient in sometimes("(\\*@|a)[ab.*]{0,4}"),
            ip in sometimes((ip(), 0..129_u8)),
            country in sometimes("none|DE(,AT)?"),
            reason in sometimes("blocked_ip|too_large,backend_refused"),
            status in sometimes("dropped|temporary,permanent"),
            kind in sometimes("blocked|accepted"),
            text in sometimes("[ab Ass@]{1,6}"),
            reference in sometimes("A|[ab]-1"),
            since in sometimes(0..10_u64),
        ) -> Query {
            let net = ip.map(|(ip, length)| {
                let longest = if ip.is_ipv4() { 32 } else { 128 };
                format!("{ip}/{}", length.min(longest))
            });
            let parts = [
                ("ip", net), ("country", country),
                ("reason", reason), ("status", status), ("text", text),
                ("reference", reference),
            ];
            let parts: Vec<_> =
                parts.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
            let query = Query::read(parts, 0).unwrap_or_else(|wrong| panic!("{wrong:?}"));
            // Patterns that no address can match are read as well, here.
            let pattern = |text: Option<String>| text.map(|text| Pattern::new(&text));
            let kind = kind.map(|kind| match kind.as_str() {
                "blocked" => Kind::Blocked,
                _ => Kind::Accepted,
            });
            Query { since, kind, sender: pattern(sender), recipient: pattern(recipient), ..query }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What a query matches, the index finds.
        #[test]
        fn nothing_that_matches_is_missed(query in queries(), record in records()) {
            if query.matches(&record) {
                prop_assert!(finds(&query, &record));
            }
        }
    }

    #[test]
    fn most_of_what_does_not_match_is_not_found() {
        let ip = "192.0.2.7".parse().unwrap();
        let record = Record {
            sender: Some("john.smith@mail.example.org".to_owned()),
            recipient: Some("anna@example.com".to_owned()),
            subject: Some("Your invoice".to_owned()),
            ..Record::new(
                0,
                ip,
                Status::Permanent,
                Stage::read("connection"),
                Reason::read("blocked_ip"),
            )
        };
        let query = |name, value| Query::read([(name, value)], 0).unwrap();
        for (name, found, not_found) in [
            ("sender", "john.smith@mail.example.org", "john.smith@mail.example.com"),
            ("sender", "john.smith@*", "smith@*"),
            ("sender", "*@mail.example.org", "*@example.org"),
            ("sender", "*.example.org", "*.example.com"),
            ("sender", "*smith*org", "*smithy*"),
            ("ip", "192.0.2.0/24", "192.0.3.0/24"),
            ("ip", "192.0.2.7", "192.0.2.8"),
            ("country", "none", "DE"),
            ("text", "INVOICE", "invoices"),
            ("recipient", "anna@example.com", "john.smith@mail.example.org"),
        ] {
            assert!(finds(&query(name, found), &record), "{name}={found}");
            assert!(!finds(&query(name, not_found), &record), "{name}={not_found}");
        }
    }

    #[test]
    fn terms_are_six_letters_and_digits() {
        let mut text = String::new();
        Term(0).write(&mut text);
        Term(0x3fff_ffff).write(&mut text);
        assert_eq!(text, "000000vvvvvv");
    }
}
