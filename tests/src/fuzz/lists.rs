//! Lists: their files, country databases, and tables made of them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use mxdp::lists::ranges::Ranges;
use mxdp::lists::{
    Countries, CountryLimits, OnBadLine, ParseError, ParseOptions, ParsedList, normalise, parse,
};

use crate::tables::Lists;

/// The most entries of a list and networks of a database.
const ENTRIES: usize = 1000;

const SKIP: ParseOptions = ParseOptions {
    on_bad_line: OnBadLine::Skip,
    refuse_default_route: false,
    max_entries: ENTRIES,
};

/// A list of any bytes is read line by line; what it says, written down again, says
/// the same.
///
/// # Panics
///
/// When a line is lost or read as another prefix than the standard library reads, or an
/// error has no line of the file.
pub fn list_files(data: &[u8]) {
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let refuse = ParseOptions { on_bad_line: OnBadLine::Refuse, ..SKIP };
    let list = match (parse(data, &SKIP), parse(data, &refuse)) {
        (Ok(list), Ok(_)) => {
            assert_eq!(list.skipped(), 0, "a bad line was taken");
            list
        }
        (Ok(list), Err(ParseError::BadLines { first, total })) => {
            assert_eq!(list.skipped(), total);
            assert!(!first.is_empty() && first.len() <= total && total <= lines.len());
            for error in first {
                let (line, _) = error.split_once(':').expect("a line number");
                let line: usize = line.parse().expect("a number");
                assert!((1..=lines.len()).contains(&line), "{error}");
                assert!(!error.chars().any(char::is_control) && error.len() < 1000, "{error:?}");
            }
            list
        }
        (Err(ParseError::TooMany { line }), Err(_)) => {
            assert!(line as usize > ENTRIES && line as usize <= lines.len());
            return;
        }
        (skipped, refused) => panic!("skipping: {skipped:?}; refusing: {refused:?}"),
    };
    assert!(list.len() <= ENTRIES);
    for (net, line) in list.entries() {
        assert_eq!(net, net.trunc());
        let text = String::from_utf8_lossy(lines[line as usize - 1]);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_ascii();
        let field = text.split([' ', '\t', '\r', '\x0c', '#', ';']).next().unwrap_or_default();
        let plain = field.parse().or_else(|_| field.parse::<IpAddr>().map(IpNet::from));
        assert_eq!(plain.map(normalise), Ok(net), "line {line}: {text:?}");
    }
    let mut printed = String::new();
    for (net, _) in list.entries() {
        _ = writeln!(printed, "{net}");
    }
    let again = parse(printed.as_bytes(), &refuse).expect("what was printed is a list");
    let nets = |list: &ParsedList| list.entries().map(|(net, _)| net).collect::<Vec<_>>();
    assert_eq!(nets(&again), nets(&list));
}

/// A country database of any bytes is read, or refused in words, in bounded time; what
/// was read answers for any address.
///
/// # Panics
///
/// When more is taken than is permitted, or a refusal says nothing.
pub fn mmdb(data: &[u8]) {
    let limits = CountryLimits { networks: ENTRIES };
    let plain = Countries::from_mmdb("db", data.to_vec(), false, &limits);
    match Countries::from_mmdb("db", data.to_vec(), true, &limits) {
        Ok(countries) => {
            assert!((1..=ENTRIES).contains(&countries.len()));
            for octets in data.as_chunks::<4>().0 {
                let address = Ipv4Addr::from(*octets);
                let mapped = address.to_ipv6_mapped();
                assert_eq!(countries.country(address.into()), countries.country(mapped.into()));
            }
            for octets in data.as_chunks::<16>().0 {
                _ = countries.country(IpAddr::from(*octets));
            }
        }
        Err(error) => {
            assert!(!error.is_empty());
            // Whoever reads more fields finds no less.
            if let Ok(countries) = plain {
                assert!(countries.len() <= ENTRIES && error.contains("limits.prefixes"), "{error}");
            }
        }
    }
}

/// Lists made of any bytes: the compiled table and the ranges say of each boundary
/// what the lists say, entry by entry.
///
/// # Panics
///
/// When one does not.
pub fn ranges(data: &[u8]) {
    let lists = Lists::from_bytes(data);
    let table = lists.table();
    let ranges = Ranges::compile(&table).expect("not that large");
    for address in lists.boundaries() {
        let expected = lists.classes(address);
        assert_eq!(table.lookup(address), expected, "table: {address} of {lists:?}");
        assert_eq!(ranges.lookup(address), expected, "ranges: {address} of {lists:?}");
    }
}
