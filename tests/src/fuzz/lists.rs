//! Lists: their files, country databases, and tables made of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mxdp::lists::ranges::Ranges;
use mxdp::lists::{
    Countries, CountryLimits, OnBadLine, ParseError, ParseOptions, ParsedList, Purpose, normalise,
    parse,
};

use crate::tables::Lists;

/// The most entries of a list and networks of a database.
const ENTRIES: usize = 1000;

const SKIP: ParseOptions = ParseOptions {
    on_bad_line: OnBadLine::Skip,
    purpose: Purpose::Block { force: true },
    leave_out_bogons: false,
    max_entries: ENTRIES,
};

/// A list of any bytes is read line by line; what it says, written down again, says
/// the same.
///
/// # Panics
///
/// When a line is lost or read as other addresses than a naive reader reads, or an error
/// has no line of the file.
pub fn list_files(data: &[u8]) {
    let lines = naive_lines(data);
    let is_open = !data.is_empty() && !data.ends_with(b"\n") && !data.ends_with(b"\r");
    let refuse = ParseOptions { on_bad_line: OnBadLine::Refuse, ..SKIP };
    let list = match (parse(data, &SKIP), parse(data, &refuse)) {
        (Ok(list), Ok(whole)) => {
            assert!(list.skipped() <= usize::from(is_open), "a bad line was accepted");
            assert_eq!(whole.skipped(), 0);
            whole
        }
        (Ok(list), Err(ParseError::BadLines(bad))) => {
            let open = usize::from(is_open);
            let (first, total) = (bad.first(), bad.total());
            assert!((total..=total + open).contains(&list.skipped()), "{total}: {list:?}");
            assert!(!first.is_empty() && first.len() <= total && total <= lines.len());
            for bad in first {
                assert!((1..=lines.len()).contains(&(bad.line as usize)), "{bad:?}");
                let is_shown = !bad.text.chars().any(char::is_control) && bad.text.len() < 1000;
                assert!(is_shown && !bad.why.is_empty(), "{bad:?}");
            }
            list
        }
        (Err(ParseError::TooMany { line }), Err(_)) => {
            assert!((1..=lines.len()).contains(&(line as usize)));
            return;
        }
        (Err(ParseError::Unusable { line, why }), refused) => {
            assert!((1..=lines.len()).contains(&(line as usize)), "{line}: {why}");
            // Nothing but a last line that may be cut is a list to one of them.
            assert!(refused.is_err() || (is_open && why.contains("no line end")), "{why}");
            return;
        }
        (Ok(_), Err(ParseError::TooMany { line })) => {
            assert!(is_open && line as usize == lines.len());
            return;
        }
        (skipped, refused) => panic!("skipping: {skipped:?}; refusing: {refused:?}"),
    };
    assert!(list.len() <= ENTRIES);
    let mut by_line: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for (net, line) in list.entries() {
        assert_eq!(net, net.trunc());
        by_line.entry(line).or_default().push(net);
    }
    // The naive reader knows these formats; another has a twin in the tests of its own file.
    let is_known = list.formats().iter().all(|name| ["json", "plain"].contains(name));
    for (line, nets) in by_line.into_iter().filter(|_| is_known) {
        let text = String::from_utf8_lossy(&lines[line as usize - 1]);
        assert_eq!(Some(span(&nets)), naive(text.trim_ascii()), "line {line}: {text:?}");
    }
    let mut printed = String::new();
    for (net, _) in list.entries() {
        _ = writeln!(printed, "{net}");
    }
    let again = parse(printed.as_bytes(), &refuse).expect("what was printed is a list");
    let nets = |list: &ParsedList| list.entries().map(|(net, _)| net).collect::<Vec<_>>();
    assert_eq!(nets(&again), nets(&list));
}

/// The lines of a file, however they end.
fn naive_lines(data: &[u8]) -> Vec<Vec<u8>> {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut lines = vec![Vec::new()];
    for (index, byte) in data.iter().enumerate() {
        match byte {
            b'\n' if index > 0 && data[index - 1] == b'\r' => {}
            b'\r' | b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().expect("never empty").push(*byte),
        }
    }
    lines
}

/// The first and the last address of prefixes, which must stand side by side.
fn span(nets: &[IpNet]) -> (IpAddr, IpAddr) {
    for two in nets.windows(2) {
        let next = match two[0].broadcast() {
            IpAddr::V4(last) => IpAddr::from(Ipv4Addr::from_bits(last.to_bits() + 1)),
            IpAddr::V6(last) => IpAddr::from(Ipv6Addr::from_bits(last.to_bits() + 1)),
        };
        assert_eq!(next, two[1].network(), "{nets:?}");
    }
    (nets[0].network(), nets[nets.len() - 1].broadcast())
}

/// The separators between the first and the last address of a range.
const SIGNS: [&str; 9] =
    ["-", "->", "..", "...", "\u{2010}", "\u{2013}", "\u{2014}", "\u{2026}", "\u{2212}"];
const WORDS: [&str; 5] = ["to", "through", "thru", "until", "till"];

/// The addresses of a line that was accepted, from the first to the last, read word by word
/// with what the standard library and `ipnet` have.
fn naive(line: &str) -> Option<(IpAddr, IpAddr)> {
    let of = |net: IpNet| {
        let net = normalise(net);
        Some((net.network(), net.broadcast()))
    };
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let range = |first: &str, last: &str| {
        Some((address(first)?.to_canonical(), address(last)?.to_canonical()))
    };
    let joined = |word: &str| {
        let mut lasts = SIGNS.iter().filter_map(|sign| word.strip_prefix(sign));
        lasts.find(|last| address(last).is_some()).map(str::to_owned)
    };
    let masked =
        |first: &str, mask: &str| of(IpNet::with_netmask(address(first)?, address(mask)?).ok()?);
    if line.starts_with('{') {
        let object: serde_json::Value = serde_json::from_str(line).ok()?;
        return naive(object.get("cidr")?.as_str()?);
    }
    let entry = line.split(['#', ';']).next()?;
    let words: Vec<_> = entry.split_ascii_whitespace().collect();
    let is = |word: &str, known: &str| word.eq_ignore_ascii_case(known);
    match words.as_slice() {
        [first, last, ..] if first.ends_with('-') => range(first.strip_suffix('-')?, last),
        [both, ..] if both.contains('-') => {
            let (first, last) = both.split_once('-')?;
            range(first, last)
        }
        [first, word, last, ..]
            if (SIGNS.contains(word) || WORDS.iter().any(|known| is(word, known)))
                && address(last).is_some() =>
        {
            range(first, last)
        }
        [first, last, ..] if joined(last).is_some() => range(first, &joined(last)?),
        [first, word, mask, ..] if is(word, "mask") || is(word, "netmask") => masked(first, mask),
        [first, length, ..]
            if length.strip_prefix('/').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) =>
        {
            of(format!("{first}{length}").parse().ok()?)
        }
        [first, second, third, ..]
            if third.len() <= 3
                && format!("{first}/{third}").parse().is_ok_and(|net: IpNet| {
                    Some(net.network()) == address(first)
                        && Some(net.broadcast()) == address(second)
                }) =>
        {
            of(format!("{first}/{third}").parse().ok()?)
        }
        [first, second, ..] if address(second).is_some() => masked(first, second),
        [single, ..] => match single.split_once('/') {
            Some((first, mask)) if mask.contains('.') => masked(first, mask),
            Some(_) => of(single.parse().ok()?),
            None => of(address(single)?.into()),
        },
        [] => None,
    }
}

/// A country database of any bytes is read, or refused in words, in bounded time; what
/// was read answers for any address.
///
/// # Panics
///
/// When more is accepted than is permitted, or a refusal has no text.
pub fn mmdb(data: &[u8]) {
    let limits = CountryLimits { networks: ENTRIES };
    let plain = Countries::from_mmdb("db", data, false, &limits);
    match Countries::from_mmdb("db", data, true, &limits) {
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
            let error = error.to_string();
            assert!(!error.is_empty());
            // Reading more fields finds at least as much.
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
