//! List files: one address or CIDR a line.
//!
//! Plain lists, Spamhaus DROP, FireHOL netsets and ipsum load as they are: what
//! stands behind the first field is the entry's note.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::OnBadLine;
use super::bad_lines::{BadLines, Why, sanitise};
use super::prefix::{Lengths, normalise};

/// The longest line, in bytes.
const LINE_LIMIT: usize = 4096;

/// The longest note that is kept, in bytes.
const NOTE_LIMIT: usize = 200;

/// How a list is read.
#[derive(Clone, Copy, Debug)]
pub struct ParseOptions {
    /// What a line that is no address does.
    pub on_bad_line: OnBadLine,
    /// Whether 0.0.0.0/0 and ::/0 are bad lines: they would block everyone.
    pub refuse_default_route: bool,
    /// The most entries.
    pub max_entries: usize,
}

/// An entry of a list.
///
/// 16 bytes for IPv4, 28 for IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<P> {
    pub(super) net: P,
    pub(super) line: u32,
    note: u32,
}

/// A list that was read. Its entries are sorted; each knows its line.
#[derive(Clone, Debug, Default)]
pub struct ParsedList {
    pub(super) v4: Vec<Entry<Ipv4Net>>,
    pub(super) v6: Vec<Entry<Ipv6Net>>,
    pub(super) lengths_v4: Lengths,
    pub(super) lengths_v6: Lengths,
    notes: Notes,
    bad: BadLines,
}

impl ParsedList {
    /// A list of prefixes that stand elsewhere than in a list file, each with
    /// its line there and its note.
    pub fn from_entries<'a>(entries: impl Iterator<Item = (IpNet, u32, &'a str)>) -> Self {
        let mut list = Self::default();
        for (net, line, note) in entries {
            list.push(normalise(net), line, note.as_bytes());
        }
        list.finish();
        list
    }

    /// The entries of both families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether the list has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entry with its line, IPv4 first.
    pub fn entries(&self) -> impl Iterator<Item = (IpNet, u32)> {
        let v4 = self.v4.iter().map(|entry| (IpNet::V4(entry.net), entry.line));
        v4.chain(self.v6.iter().map(|entry| (IpNet::V6(entry.net), entry.line)))
    }

    /// The bad lines that were skipped.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.bad.total()
    }

    /// The first bad lines that were skipped, a line of text each.
    pub fn skipped_lines(&self, file: &str) -> impl Iterator<Item = String> {
        self.bad.first().iter().map(move |bad| format!("{file}:{bad}"))
    }

    /// The note of an entry.
    pub(super) fn note<P>(&self, entry: &Entry<P>) -> Option<String> {
        self.notes.get(entry.note)
    }

    fn push(&mut self, net: IpNet, line: u32, note: &[u8]) {
        let note = self.notes.add(note);
        match net {
            IpNet::V4(net) => self.v4.push(Entry { net, line, note }),
            IpNet::V6(net) => self.v6.push(Entry { net, line, note }),
        }
    }

    fn finish(&mut self) {
        self.v4.sort_unstable_by_key(|entry| (entry.net, entry.line));
        self.v6.sort_unstable_by_key(|entry| (entry.net, entry.line));
        self.v4.shrink_to_fit();
        self.v6.shrink_to_fit();
        self.lengths_v4 = Lengths::of(self.v4.iter().map(|entry| entry.net));
        self.lengths_v6 = Lengths::of(self.v6.iter().map(|entry| entry.net));
    }
}

/// Why a list was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Lines that are no addresses: the first of them, and how many there are.
    BadLines {
        /// The first of them, `line: text: why`.
        first: Vec<String>,
        /// How many there are.
        total: usize,
    },
    /// More entries than permitted.
    TooMany {
        /// The line that was one too many.
        line: u32,
    },
}

impl ParseError {
    /// The error of a file: a line of text for each bad line.
    #[must_use]
    pub fn display(&self, file: &str) -> String {
        match self {
            Self::BadLines { first, total } => {
                let mut text = String::new();
                for bad in first {
                    _ = writeln!(text, "{file}:{bad}");
                }
                if *total > first.len() {
                    _ = writeln!(text, "{file}: and {} more bad lines", total - first.len());
                }
                text.truncate(text.trim_end().len());
                text
            }
            Self::TooMany { line } => format!(
                "{file}:{line}: more entries than limits.prefixes permits in all lists together"
            ),
        }
    }
}

/// Reads a list.
///
/// Host bits may be set and are masked; IPv4-mapped IPv6 prefixes become IPv4.
///
/// # Errors
///
/// All bad lines, unless they are to be skipped; too many entries.
pub fn parse(bytes: &[u8], options: &ParseOptions) -> Result<ParsedList, ParseError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut list = ParsedList::default();
    for (number, line) in (1_u32..).zip(bytes.split(|byte| *byte == b'\n')) {
        match parse_line(line, options.refuse_default_route) {
            Ok(None) => {}
            Ok(Some((net, note))) => {
                if list.len() >= options.max_entries {
                    return Err(ParseError::TooMany { line: number });
                }
                list.push(net, number, note);
            }
            Err(why) => list.bad.add(number, line, why),
        }
    }
    if options.on_bad_line == OnBadLine::Refuse && list.bad.total() > 0 {
        let first = list.bad.first().to_vec();
        return Err(ParseError::BadLines { first, total: list.bad.total() });
    }
    list.finish();
    Ok(list)
}

/// The prefix and note of a line; `None` for a comment or nothing.
fn parse_line(line: &[u8], refuse_default_route: bool) -> Result<Option<(IpNet, &[u8])>, Why> {
    if line.len() > LINE_LIMIT {
        return Err("the line is longer than 4096 bytes");
    }
    let line = line.trim_ascii();
    if matches!(line, [] | [b'#' | b';', ..]) {
        return Ok(None);
    }
    if !line.is_ascii() && str::from_utf8(line).is_err() {
        return Err("the line is not UTF-8 text");
    }
    let end = line
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'#' | b';'))
        .unwrap_or(line.len());
    let (field, rest) = line.split_at(end);
    let net = parse_net(field)?;
    if refuse_default_route && net.prefix_len() == 0 {
        return Err("would block every address; write `force = true` beside the file if you \
                    mean it");
    }
    let note = rest.trim_ascii();
    let note = note.strip_prefix(b"#").or_else(|| note.strip_prefix(b";")).unwrap_or(note);
    Ok(Some((net, note.trim_ascii())))
}

fn parse_net(field: &[u8]) -> Result<IpNet, Why> {
    let slash = field.iter().position(|byte| *byte == b'/');
    let (address, length) = match slash {
        Some(slash) => (&field[..slash], Some(parse_length(&field[slash + 1..])?)),
        None => (field, None),
    };
    const WRONG_LENGTH: Why = "the prefix length is too large for the address";
    if address.contains(&b':') {
        let text = str::from_utf8(address).map_err(|_| "is not an IPv6 address")?;
        let address: Ipv6Addr = text.parse().map_err(|_| "is not an IPv6 address")?;
        let net = Ipv6Net::new(address, length.unwrap_or(128)).map_err(|_| WRONG_LENGTH)?;
        return Ok(normalise(net.into()));
    }
    let address = parse_v4(address).ok_or("is not an IPv4 or IPv6 address or CIDR")?;
    let net = Ipv4Net::new(address, length.unwrap_or(32)).map_err(|_| WRONG_LENGTH)?;
    Ok(net.trunc().into())
}

/// Dotted decimal of four numbers without leading zeros (RFC 6943, section 3.1.1:
/// other readings of them differ between programs).
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut fields = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        *octet = parse_number(fields.next()?)?;
    }
    fields.next().is_none().then(|| octets.into())
}

fn parse_length(text: &[u8]) -> Result<u8, Why> {
    parse_number(text).ok_or("the prefix length is not a number")
}

/// A decimal number up to 255, without sign or leading zero.
fn parse_number(digits: &[u8]) -> Option<u8> {
    if !(1..=3).contains(&digits.len()) || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    digits.iter().try_fold(0_u8, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Notes of all entries, one behind the other: a length, then the bytes.
#[derive(Clone, Debug, Default)]
struct Notes(Vec<u8>);

impl Notes {
    /// Keeps a note and says where; 0 is no note.
    fn add(&mut self, note: &[u8]) -> u32 {
        if note.is_empty() {
            return 0;
        }
        let Ok(place) = u32::try_from(self.0.len() + 1) else {
            return 0;
        };
        let kept = &note[..note.len().min(NOTE_LIMIT)];
        self.0.push(u8::try_from(kept.len()).unwrap_or(0));
        self.0.extend(kept);
        place
    }

    fn get(&self, place: u32) -> Option<String> {
        let start = usize::try_from(place).ok()?.checked_sub(1)?;
        let length = usize::from(*self.0.get(start)?);
        let bytes = self.0.get(start + 1..start + 1 + length)?;
        // A note that was cut inside a character loses that character.
        let text = str::from_utf8(bytes)
            .or_else(|error| str::from_utf8(&bytes[..error.valid_up_to()]))
            .unwrap_or_default();
        Some(sanitise(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFUSE: ParseOptions = ParseOptions {
        on_bad_line: OnBadLine::Refuse,
        refuse_default_route: true,
        max_entries: 100,
    };
    const SKIP: ParseOptions = ParseOptions { on_bad_line: OnBadLine::Skip, ..REFUSE };

    fn read(text: &[u8]) -> Vec<String> {
        let list = parse(text, &REFUSE).unwrap_or_else(|error| panic!("{}", error.display("list")));
        let note = |note: Option<String>| note.map_or(String::new(), |note| format!(" ({note})"));
        let v4 = list.v4.iter().map(|e| format!("{}:{}{}", e.line, e.net, note(list.note(e))));
        let v6 = list.v6.iter().map(|e| format!("{}:{}{}", e.line, e.net, note(list.note(e))));
        v4.chain(v6).collect()
    }

    fn errors(text: &[u8]) -> String {
        parse(text, &REFUSE).expect_err("bad lines").display("list")
    }

    #[test]
    fn the_formats_of_well_known_lists() {
        let plain = b"# comment\n\n  ; another\n192.0.2.1\n2001:db8::/32\r\n";
        assert_eq!(read(plain), ["4:192.0.2.1/32", "5:2001:db8::/32"]);
        let drop = b"; Spamhaus DROP List\n1.10.16.0/20 ; SBL256894\n";
        assert_eq!(read(drop), ["2:1.10.16.0/20 (SBL256894)"]);
        let netset = b"#\n# fullbogons\n#\n5.0.0.0/8\n6.1.2.3\n";
        assert_eq!(read(netset), ["4:5.0.0.0/8", "5:6.1.2.3/32"]);
        assert_eq!(read(b"192.0.2.9\t10\n"), ["1:192.0.2.9/32 (10)"]);
        assert_eq!(read(b"192.0.2.9# seen twice"), ["1:192.0.2.9/32 (seen twice)"]);
        assert_eq!(read(b"\xef\xbb\xbf192.0.2.9\n"), ["1:192.0.2.9/32"]);
        assert_eq!(read(b""), [""; 0]);
    }

    #[test]
    fn host_bits_are_masked_and_mapped_addresses_folded() {
        assert_eq!(read(b"123.123.123.123/24"), ["1:123.123.123.0/24"]);
        assert_eq!(read(b"::ffff:192.0.2.77/120"), ["1:192.0.2.0/24"]);
        assert_eq!(read(b"::ffff:c000:24d"), ["1:192.0.2.77/32"]);
        let seed = "2001:0db7:85a3:0000:0000:8a2e:0370:7334";
        assert_eq!(read(seed.as_bytes()), ["1:2001:db7:85a3::8a2e:370:7334/128"]);
    }

    #[test]
    fn what_is_no_address_is_named_with_its_line() {
        for bad in [
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.256",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/08",
            "1.2.3.4/-1",
            "1.2.3.4/+8",
            "::1/129",
            "::g",
            "fe80::1%eth0",
            "example.com",
            "1.2.3.4,x",
            "0x1.2.3.4",
            "1.2.3.4/8/9",
            "/8",
            "1 2.3.4",
        ] {
            let text = format!("# head\n192.0.2.1\n{bad}\n");
            let errors = errors(text.as_bytes());
            assert!(errors.starts_with("list:3: `"), "{bad}: {errors}");
            assert_eq!(errors.lines().count(), 1);
        }
    }

    #[test]
    fn all_bad_lines_are_counted_and_the_first_are_shown() {
        let text = "x\n".repeat(50);
        let errors = errors(text.as_bytes());
        assert_eq!(errors.lines().count(), 21);
        assert!(errors.ends_with("list: and 30 more bad lines"), "{errors}");
        let list = parse(format!("{text}192.0.2.1").as_bytes(), &SKIP).expect("skipped");
        assert_eq!((list.len(), list.skipped(), list.v4[0].line), (1, 50, 51));
        assert_eq!(
            list.skipped_lines("f").next().expect("one"),
            "f:1: `x`: is not an IPv4 or IPv6 address or CIDR"
        );
    }

    #[test]
    fn hostile_text_is_shown_harmless_and_short() {
        assert_eq!(
            errors(b"\x1b[2J\xff\n"),
            "list:1: `\\u{1b}[2J\u{fffd}`: the line is not UTF-8 text"
        );
        let long = "1".repeat(5000);
        let errors = errors(long.as_bytes());
        assert!(errors.len() < 200 && errors.contains("longer than 4096 bytes"), "{errors}");
        assert_eq!(read(b"192.0.2.1 a\x1b[31mb"), ["1:192.0.2.1/32 (a\\u{1b}[31mb)"]);
        let cut = format!("192.0.2.1 {}", "ü".repeat(150));
        assert_eq!(read(cut.as_bytes())[0].chars().filter(|c| *c == 'ü').count(), 100);
    }

    #[test]
    fn a_default_route_needs_force() {
        for all in ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "1.2.3.4/0"] {
            assert!(errors(all.as_bytes()).contains("force = true"), "{all}");
            let forced = ParseOptions { refuse_default_route: false, ..REFUSE };
            assert_eq!(parse(all.as_bytes(), &forced).expect("forced").len(), 1);
        }
    }

    #[test]
    fn entries_are_bounded() {
        let two = ParseOptions { max_entries: 2, ..SKIP };
        assert_eq!(parse(b"1.1.1.1\n#\n1.1.1.2", &two).expect("two").len(), 2);
        let error = parse(b"1.1.1.1\n#\n1.1.1.2\n::1", &two).expect_err("three");
        assert!(error.display("f").starts_with("f:4: more entries"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            _ = parse(&bytes, &SKIP).map(|list| list.skipped_lines("f").count());
        }

        #[test]
        fn every_prefix_comes_back(address: u128, length in 0_u8..=128, v4: u32, short in 0_u8..=32) {
            let v6 = Ipv6Net::new(address.into(), length).expect("a prefix");
            let v4 = Ipv4Net::new(v4.into(), short).expect("a prefix");
            let options = ParseOptions { refuse_default_route: false, ..REFUSE };
            let list = parse(format!("{v6}\n{v4} note").as_bytes(), &options).expect("a list");
            prop_assert_eq!(list.len(), 2);
            prop_assert!(list.v4.iter().any(|entry| entry.net == v4.trunc()));
            let mapped = normalise(v6.into());
            prop_assert!(
                list.v6.iter().any(|entry| IpNet::from(entry.net) == mapped)
                    || list.v4.iter().any(|entry| IpNet::from(entry.net) == mapped)
            );
        }
    }
}
