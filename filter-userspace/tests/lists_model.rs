//! The compiled table against an evaluator that knows no trick: it goes through
//! every list, entry by entry.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::{Class, ClassSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mxdp::lists::{
    Countries, CountryCode, CountryLimits, CountryPolicy, ListSet, LoadedFile, ParsedList, Table,
    UnknownCountry, compile,
};
use proptest::prelude::*;

const CODES: [&str; 4] = ["AT", "DE", "FR", "GB"];

/// Addresses that never have a country.
const BOGONS: [&str; 21] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/96",
    "100::/64",
    "2001:db8::/32",
    "3fff::/20",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Lists as a person writes them down.
#[derive(Clone, Debug)]
struct Written {
    /// Files of a class and their prefixes.
    files: Vec<(Class, Vec<IpNet>)>,
    /// Networks of each of [`CODES`].
    countries: Vec<(usize, IpNet)>,
    approved: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    unknown: UnknownCountry,
}

impl Written {
    /// Every list, entry by entry.
    fn classes(&self, address: IpAddr) -> ClassSet {
        let mut classes = ClassSet::EMPTY;
        for (class, nets) in &self.files {
            if nets.iter().any(|net| net.contains(&address)) {
                classes = classes.with(*class);
            }
        }
        // The longest network; of equal ones the first code's.
        let mut country: Option<(u8, usize)> = None;
        // A 6to4 or NAT64 address is in the country of the IPv4 address in it.
        let address = inside(address).unwrap_or(address);
        let bogons = || BOGONS.iter().map(|net| net.parse::<IpNet>().expect("a prefix"));
        let is_bogon = || bogons().any(|net| net.contains(&address));
        for (code, net) in &self.countries {
            if net.contains(&address) {
                let candidate = (net.prefix_len(), *code);
                country = Some(match country {
                    Some((length, code))
                        if (length, std::cmp::Reverse(code))
                            > (candidate.0, std::cmp::Reverse(candidate.1)) =>
                    {
                        (length, code)
                    }
                    _ => candidate,
                });
            }
        }
        match country {
            Some((_, code)) => {
                if self.approved.contains(&code) {
                    classes = classes.with(Class::ApprovedCountry);
                }
                if self.blocked.contains(&code) {
                    classes = classes.with(Class::BlockedCountry);
                }
            }
            // It never has a country.
            None if is_bogon() => {}
            None if self.unknown == UnknownCountry::Approve => {
                classes = classes.with(Class::ApprovedCountry);
            }
            None if self.unknown == UnknownCountry::Block => {
                classes = classes.with(Class::BlockedCountry);
            }
            None => {}
        }
        classes
    }

    fn set(&self) -> ListSet {
        let files = self.files.iter().enumerate().map(|(index, (class, nets))| LoadedFile {
            name: format!("file{index}"),
            class: *class,
            list: ParsedList::from_entries((1..).zip(nets).map(|(line, net)| (*net, line, ""))),
        });
        let mut folder: Vec<(String, Vec<u8>)> = CODES
            .iter()
            .map(|code| (format!("{}.cidr", code.to_lowercase()), Vec::new()))
            .collect();
        for (code, net) in &self.countries {
            folder[*code].1.extend(format!("{net}\n").bytes());
        }
        let countries = Countries::from_folder("geo", &folder, &CountryLimits { networks: 10_000 });
        let codes = |set: &BTreeSet<usize>| -> BTreeSet<CountryCode> {
            set.iter().map(|code| CODES[*code].parse().expect("a code")).collect()
        };
        let policy = CountryPolicy {
            approved: codes(&self.approved),
            blocked: codes(&self.blocked),
            unknown: self.unknown,
        };
        ListSet::new(files.collect(), Some(countries.expect("countries")), policy)
    }

    /// The first and last address of every prefix, and those beside them.
    fn boundaries(&self) -> Vec<IpAddr> {
        let listed = self.files.iter().flat_map(|(_, nets)| nets);
        let nets = listed.chain(self.countries.iter().map(|(_, net)| net));
        nets.flat_map(|net| match net {
            IpNet::V4(net) => {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                    .map(|address| IpAddr::V4(Ipv4Addr::from(address)))
            }
            IpNet::V6(net) => {
                let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                    .map(|address| IpAddr::V6(Ipv6Addr::from(address)))
            }
        })
        .collect()
    }
}

/// The IPv4 address in a 6to4 (`2002:a.b.c.d::/48`) or NAT64 (`64:ff9b::a.b.c.d`) address.
fn inside(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let bytes = address.octets();
    let at = match bytes {
        [0x20, 0x02, ..] => 2,
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, ..] => 12,
        _ => return None,
    };
    let inside: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
    Some(inside.into())
}

/// Prefixes of a small universe, so that they nest, meet and coincide.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (0_u8..4, 0_u8..4, any::<u8>(), prop_oneof![0_u8..=32, 8_u8..=32]).prop_map(
        |(a, b, c, length)| {
            let address = Ipv4Addr::new(192 + a, b << 6, c, c);
            Ipv4Net::new(address, length).expect("a prefix").trunc().into()
        },
    );
    let v6 = (0_u16..4, 0_u16..4, any::<u16>(), 0_u8..=128).prop_map(|(a, b, c, length)| {
        let address = Ipv6Addr::new(0x2001 + a, b << 14, c, 0, 0, 0, c, c);
        Ipv6Net::new(address, length).expect("a prefix").trunc().into()
    });
    prop_oneof![v4, v6]
}

fn written() -> impl Strategy<Value = Written> {
    let class =
        prop_oneof![Just(Class::ApprovedIp), Just(Class::BlockedIp), Just(Class::KnownSpamSource)];
    let files = prop::collection::vec((class, prop::collection::vec(prefix(), 0..20)), 0..5);
    let countries = prop::collection::vec((0..CODES.len(), prefix()), 0..25);
    let codes = || prop::collection::btree_set(0..CODES.len(), 0..3);
    let unknown = prop_oneof![
        Just(UnknownCountry::None),
        Just(UnknownCountry::Approve),
        Just(UnknownCountry::Block)
    ];
    (files, countries, codes(), codes(), unknown).prop_map(
        |(files, countries, approved, blocked, unknown)| Written {
            files,
            countries,
            approved,
            blocked,
            unknown,
        },
    )
}

fn is_minimal(table: &Table) -> bool {
    let v4 = table.v4.iter().enumerate().all(|(index, (net, value))| {
        let parents = table.v4[..index].iter().filter(|(other, _)| other.contains(net));
        let parent = parents.max_by_key(|(other, _)| other.prefix_len());
        parent.map_or(ClassSet::EMPTY, |(_, value)| *value) != *value
    });
    let v6 = table.v6.iter().enumerate().all(|(index, (net, value))| {
        let parents = table.v6[..index].iter().filter(|(other, _)| other.contains(net));
        let parent = parents.max_by_key(|(other, _)| other.prefix_len());
        parent.map_or(ClassSet::EMPTY, |(_, value)| *value) != *value
    });
    v4 && v6
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn table_and_search_say_what_the_lists_say(
        lists in written(),
        v4 in prop::collection::vec(any::<u32>(), 20),
        v6 in prop::collection::vec(any::<u128>(), 20),
    ) {
        let set = lists.set();
        let table = compile(&set).table;
        let mut addresses = lists.boundaries();
        addresses.extend(v4.iter().map(|address| IpAddr::V4((*address).into())));
        addresses.extend(v6.iter().map(|address| IpAddr::V6((*address).into())));
        let bogons = BOGONS.iter().map(|net| net.parse::<IpNet>().expect("a prefix"));
        addresses.extend(bogons.flat_map(|net| [net.network(), net.broadcast()]));
        addresses.push("2002:a00::1".parse().expect("an address"));
        addresses.push("64:ff9b::127.0.0.1".parse().expect("an address"));
        for address in addresses {
            // ::ffff:0:0/96 is IPv4 everywhere; the generated IPv6 prefixes may hold it.
            let address = address.to_canonical();
            let expected = lists.classes(address);
            prop_assert_eq!(table.lookup(address), expected, "table: {}", address);
            let found = set.classify(address);
            prop_assert_eq!(found.classes, expected, "search: {}", address);
            let classes: Vec<_> = found.matches.iter().map(|matched| matched.class).collect();
            prop_assert_eq!(classes, expected.iter().collect::<Vec<_>>());
            // Of an address in an address, the country's network is of the inner one.
            let holds = |net: &IpNet| {
                net.contains(&address) || inside(address).is_some_and(|inner| net.contains(&inner))
            };
            prop_assert!(found.matches.iter().all(|matched| holds(&matched.prefix)));
        }
        prop_assert!(is_minimal(&table));
        prop_assert!(table.v4.is_sorted() && table.v6.is_sorted());
    }
}

fn lists(files: &[(Class, &str, &[&str])]) -> ListSet {
    let files = files.iter().map(|(class, name, nets)| LoadedFile {
        name: (*name).to_owned(),
        class: *class,
        list: ParsedList::from_entries(
            (1..).zip(*nets).map(|(line, net)| (net.parse().expect("a prefix"), line, "a note")),
        ),
    });
    ListSet::new(files.collect(), None, CountryPolicy::default())
}

/// The seed's own example: an approved /30 holds a blocked /31, and wins.
#[test]
fn an_approved_range_beats_the_blocked_range_inside_it() {
    let set = lists(&[
        (Class::ApprovedIp, "approved", &["172.31.15.164/30"]),
        (Class::BlockedIp, "blocked", &["172.31.15.164/31"]),
    ]);
    let compiled = compile(&set);
    for last in 164..168 {
        let address = IpAddr::V4(Ipv4Addr::new(172, 31, 15, last));
        assert_eq!(compiled.table.lookup(address).first(), Some(Class::ApprovedIp));
    }
    assert_eq!(
        compiled.conflicts.lines(),
        ["172.31.15.164/31 (blocked:1) never blocks: 172.31.15.164/30 (approved:1) approves all \
          of it, and approved wins"]
    );
}

#[test]
fn conflicts_are_named_and_intended_use_is_not() {
    let set = lists(&[
        (
            Class::BlockedIp,
            "blocked",
            &["192.0.2.0/24", "198.51.100.7/32", "10.0.0.0/7", "2000::/3"],
        ),
        (Class::ApprovedIp, "approved", &["192.0.2.128/25", "198.51.100.7/32"]),
        (Class::KnownSpamSource, "feed", &["198.51.100.7/32", "192.0.2.0/25"]),
    ]);
    let conflicts = compile(&set).conflicts;
    assert_eq!(
        conflicts.lines(),
        [
            "10.0.0.0/7 (blocked:3) blocks a very large part of the internet",
            "198.51.100.7/32 (blocked:2) never blocks: 198.51.100.7/32 (approved:2) approves all \
             of it, and approved wins",
            "2000::/3 (blocked:4) blocks a very large part of the internet",
        ]
    );
}

#[test]
fn the_most_specific_entry_is_named_with_its_line_and_note() {
    let set = lists(&[
        (Class::BlockedIp, "first", &["192.0.2.0/24", "192.0.2.0/28"]),
        (Class::BlockedIp, "second", &["192.0.2.0/28", "192.0.2.1/32"]),
    ]);
    let matched = |address: &str| set.classify(address.parse().expect("an address")).matches;
    assert_eq!(matched("192.0.2.1")[0].place.to_string(), "second:2");
    assert_eq!(matched("192.0.2.2")[0].place.to_string(), "first:2");
    assert_eq!(matched("::ffff:192.0.2.99")[0].place.to_string(), "first:1");
    assert_eq!(matched("192.0.2.99")[0].note.as_deref(), Some("a note"));
    assert!(matched("192.0.3.1").is_empty());
}

#[test]
fn findings_are_bounded_and_counted() {
    let blocked: Vec<String> = (0..1500).map(|n| Ipv4Addr::from(n).to_string() + "/32").collect();
    let blocked: Vec<&str> = blocked.iter().map(String::as_str).collect();
    let set = lists(&[
        (Class::ApprovedIp, "approved", &["0.0.0.0/8"]),
        (Class::BlockedIp, "blocked", &blocked),
    ]);
    let conflicts = compile(&set).conflicts;
    assert_eq!(conflicts.dead(), 1500);
    let lines = conflicts.lines();
    assert_eq!(lines.len(), 1001);
    assert_eq!(lines[1000], "and 500 more dead blocked entries");
}
