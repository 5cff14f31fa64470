//! List files: an address, a CIDR or a range a line.
//!
//! Plain lists, Spamhaus DROP (as text and as JSON), FireHOL netsets, DShield and ipsum
//! load as they are: what stands behind an entry is its note.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::bad_lines::{BadLines, Why};
use super::bogons::is_bogon;
use super::file::{file_lines, not_text, without_mark};
use super::formats::{Flaw, Formats, Item};
use super::nets::Nets;
use super::notes::Notes;
use super::options::{OnBadLine, ParseOptions, Purpose};
use super::prefix::{Lengths, normalise};
use super::remarks::{Remark, Remarks};

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
    remarks: Remarks,
    formats: Vec<&'static str>,
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

    /// The names of the formats that its lines are written in.
    #[must_use]
    pub fn formats(&self) -> &[&'static str] {
        &self.formats
    }

    /// The bad lines that were skipped.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.bad.total()
    }

    /// The first bad lines that were skipped, a line of text each.
    pub fn skipped_lines(&self, file: &str) -> impl Iterator<Item = String> {
        self.bad.first().iter().map(move |bad| bad.display(file))
    }

    /// What an operator may not have meant, a line of text each.
    pub fn remarks(&self, file: &str) -> impl Iterator<Item = String> {
        self.remarks.lines(file)
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
    /// Lines that are not addresses.
    BadLines(BadLines),
    /// More entries than permitted.
    TooMany {
        /// The line that was one too many.
        line: u32,
    },
    /// The file as a whole is not a list, or not all of one.
    Unusable {
        /// The line that says so.
        line: u32,
        /// Why.
        why: String,
    },
}

impl ParseError {
    /// The error of a file: a line of text for each bad line.
    #[must_use]
    pub fn display(&self, file: &str) -> String {
        match self {
            Self::BadLines(bad) => bad.named(file).collect::<Vec<_>>().join("\n"),
            Self::TooMany { line } => format!(
                "{file}:{line}: more entries than limits.prefixes permits in all lists together"
            ),
            Self::Unusable { line, why } => format!("{file}:{line}: {why}"),
        }
    }
}

/// Reads a list.
///
/// Host bits may be set and are masked; IPv4-mapped IPv6 prefixes become IPv4; a range is
/// the prefixes that hold it. A last line without a line end may have been cut: it is
/// skipped where bad lines are, and else a bad line where one more digit would narrow it.
///
/// # Errors
///
/// All bad lines, unless they are to be skipped; too many entries; a file that is not a
/// list, has not as many entries as it says, or has nothing but bad lines.
pub fn parse(bytes: &[u8], options: &ParseOptions) -> Result<ParsedList, ParseError> {
    let unusable = |line, why: &str| ParseError::Unusable { line, why: why.to_owned() };
    if let Some(why) = not_text(bytes) {
        return Err(unusable(1, why));
    }
    let mut list = ParsedList::default();
    let mut formats = Formats::new();
    for line in file_lines(without_mark(bytes)) {
        let number = line.number;
        let item = match formats.read(number, line.bytes) {
            Err(Flaw::File(why)) => return Err(unusable(number, &why)),
            Err(Flaw::Line(why)) => Err(why),
            Ok(item) => unless_cut(item, line.has_end, options)
                .and_then(|item| unless_too_wide(item, options)),
        };
        match item {
            Ok(Item::Nothing) => {}
            Ok(Item::Entry { nets, note, .. }) => {
                if !line.has_end {
                    list.remarks.add(number, Remark::NoLineEnd);
                }
                list.remarks.note(number, &note, options.purpose);
                for net in nets.prefixes() {
                    if options.leave_out_bogons && is_bogon(net) {
                        continue;
                    }
                    if list.len() >= options.max_entries {
                        return Err(ParseError::TooMany { line: number });
                    }
                    list.push(net, number, &note);
                }
            }
            Err(why) => {
                if !line.has_end && options.on_bad_line == OnBadLine::Skip {
                    list.remarks.add(number, Remark::CutOff);
                }
                list.bad.add(number, line.bytes, why);
            }
        }
    }
    formats.finish().map_err(|(line, why)| unusable(line, why))?;
    list.formats = formats.used().collect();
    if options.on_bad_line == OnBadLine::Refuse && list.bad.total() > 0 {
        return Err(ParseError::BadLines(list.bad));
    }
    if let Some(first) = list.bad.first().first()
        && list.is_empty()
    {
        let (total, said) = (list.bad.total(), first.said());
        let why = format!("not a single entry can be read, {total} lines are skipped; {said}");
        return Err(unusable(first.line, &why));
    }
    list.finish();
    Ok(list)
}

/// A last line without a line end is believed where nothing wider can come of it: a list
/// that was cut at `10.77.0.2/3`, of `/32`, is an eighth of the Internet.
fn unless_cut<'a>(item: Item<'a>, has_end: bool, options: &ParseOptions) -> Result<Item<'a>, Why> {
    match item {
        Item::Entry { .. } if !has_end && options.on_bad_line == OnBadLine::Skip => {
            Err("the last line has no line end and may have been cut")
        }
        Item::Entry { may_be_cut: true, .. } if !has_end => {
            Err("the last line has no line end, and its prefix length may have been cut; if it is \
                 whole, end the line")
        }
        item => Ok(item),
    }
}

fn unless_too_wide<'a>(item: Item<'a>, options: &ParseOptions) -> Result<Item<'a>, Why> {
    let Item::Entry { nets, .. } = &item else { return Ok(item) };
    let may = options.purpose != Purpose::Block { force: false };
    let left_out = options.leave_out_bogons && nets.prefixes().all(is_bogon);
    if may || left_out || !nets.is_wide() {
        return Ok(item);
    }
    Err(match nets {
        Nets::One(net) if net.prefix_len() == 0 => {
            "would block every address; write `force = true` beside the file if you mean it"
        }
        _ => {
            "would block a very large part of the Internet (more than an IPv4 /8 or an IPv6 /16); \
             write `force = true` beside the file if you mean it"
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFUSE: ParseOptions = ParseOptions {
        on_bad_line: OnBadLine::Refuse,
        purpose: Purpose::Block { force: false },
        leave_out_bogons: false,
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
            "1.2.3.4 1.2.3.5",
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
        let list = parse(format!("{text}192.0.2.1\n").as_bytes(), &SKIP).expect("skipped");
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
            let forced = ParseOptions { purpose: Purpose::Block { force: true }, ..REFUSE };
            assert_eq!(parse(all.as_bytes(), &forced).expect("forced").len(), 1);
        }
    }

    #[test]
    fn entries_are_bounded() {
        let two = ParseOptions { max_entries: 2, ..REFUSE };
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
            let options = ParseOptions { purpose: Purpose::Block { force: true }, ..REFUSE };
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
