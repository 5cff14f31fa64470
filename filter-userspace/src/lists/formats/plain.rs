//! Plain lists: an address, a prefix or a range at the beginning of a line, and a note behind
//! it. FireHOL netsets, Spamhaus DROP as text, DShield and ipsum are written so.
//!
//! What stands behind the first field is a note for people, unless it says more about
//! the network: the end of a range, a netmask, a length. What begins like one of these
//! and cannot be read so is an error, since half of an entry is another entry.

use std::str;

use super::super::bad_lines::Why;
use super::super::invisible::invisible;
use super::super::nets::{
    Nets, net_of, parse_address, parse_length, parse_mask, parse_net, parse_number,
};
use super::format::{Flaw, Format, Item, Line};

/// The format of every line that no other format claims.
pub(super) struct Plain;

impl Format for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn claims(&self, _: &[u8]) -> bool {
        true
    }

    fn read<'a>(&mut self, line: &Line<'a>) -> Result<Item<'a>, Flaw> {
        Ok(parse_line(line.text?)?)
    }
}

/// Reads the text of a line.
fn parse_line(line: &[u8]) -> Result<Item<'_>, Why> {
    let (field, rest) = split_field(line);
    if is_header(field, rest) {
        return Ok(Item::Nothing);
    }
    let read = read_nets(field, rest);
    if let Some(why) = hides(line, &read) {
        return Err(why);
    }
    let (nets, rest) = read?;
    let may_be_cut = rest.is_empty() && is_open(line);
    let rest = rest.trim_ascii();
    let note = rest.strip_prefix(b"#").or_else(|| rest.strip_prefix(b";")).unwrap_or(rest);
    Ok(Item::Entry { nets, note: note.trim_ascii().into(), may_be_cut })
}

/// Why a line is another entry, or none, for a character that nobody sees: without it, it
/// would read otherwise. In a note such characters do no harm.
fn hides(line: &[u8], read: &Result<(Nets, &[u8]), Why>) -> Option<Why> {
    if line.is_ascii() {
        return None;
    }
    let text = str::from_utf8(line).ok()?;
    let why = invisible(text)?;
    let is_seen = |letter: &char| invisible(letter.encode_utf8(&mut [0; 4])).is_none();
    let spaced = |letter: char| if is_seen(&letter) { letter } else { ' ' };
    // Some stand between words and others within one.
    let without = [text.chars().filter(is_seen).collect(), text.chars().map(spaced).collect()];
    let nets = |text: &String| {
        let (field, rest) = split_field(text.trim_ascii().as_bytes());
        read_nets(field, rest).map(|(nets, _)| nets)
    };
    let read = read.as_ref().map(|(nets, _)| *nets).map_err(|why| *why);
    without.iter().any(|text| nets(text) != read).then_some(why)
}

/// The line up to white space or a comment, and what stands behind.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'#' | b';');
    line.split_at(line.iter().position(is_end).unwrap_or(line.len()))
}

/// A part of a line, and what stands behind.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The next word and what stands behind, without the white space before it; none before a
/// comment.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    split_field(text.trim_ascii_start())
}

/// The header of DShield's list of blocks, which is not marked as a comment.
fn is_header(field: &[u8], rest: &[u8]) -> bool {
    field.eq_ignore_ascii_case(b"start") && split_word(rest).0.eq_ignore_ascii_case(b"end")
}

/// The addresses that the field and what stands behind it name, and the rest.
fn read_nets<'a>(field: &[u8], rest: &'a [u8]) -> Result<(Nets, &'a [u8]), Why> {
    if let Some(first) = field.strip_suffix(b"-") {
        let (last, rest) = split_word(rest);
        return Ok((range(first, last)?, rest));
    }
    if let Some(dash) = field.iter().position(|byte| *byte == b'-') {
        return Ok((range(&field[..dash], &field[dash + 1..])?, rest));
    }
    let (word, behind) = split_word(rest);
    if word.is_empty() {
        return Ok((Nets::One(parse_net(field)?), rest));
    }
    if let Some((last, behind)) = end_of_range(word, behind)? {
        return Ok((range(field, last)?, behind));
    }
    if (word == b"," || word == b"&" || word.eq_ignore_ascii_case(b"and"))
        && looks_like_address(split_word(behind).0)
    {
        return Err(SECOND);
    }
    if word.eq_ignore_ascii_case(b"mask") || word.eq_ignore_ascii_case(b"netmask") {
        let (mask, behind) = split_word(behind);
        let length = parse_mask(mask).ok_or(NO_MASK)?;
        return Ok((with_length(field, length)?, behind));
    }
    if let [b'/', length @ ..] = word
        && length.iter().all(u8::is_ascii_digit)
    {
        return Ok((with_length(field, parse_length(length)?)?, behind));
    }
    if looks_like_address(word) {
        return second_address(field, word, behind);
    }
    Ok((Nets::One(parse_net(field)?), rest))
}

const NO_MASK: Why = "the netmask is not one, such as 255.255.255.0";
const SECOND: Why = "a second address follows that is neither the end of a range (`a - b`) nor a \
                     netmask; write one entry a line";

const NO_END: Why = "the end of the range is not an address; write `first - last`";

/// The signs between the first and the last address of a range; longer ones first.
const SIGNS: [&[u8]; 9] = [
    b"...",
    b"..",
    b"->",
    b"-",
    "\u{2010}".as_bytes(),
    "\u{2013}".as_bytes(),
    "\u{2014}".as_bytes(),
    "\u{2026}".as_bytes(),
    "\u{2212}".as_bytes(),
];

/// The words between them.
const WORDS: [&[u8]; 5] = [b"to", b"through", b"thru", b"until", b"till"];

/// The last address of a range behind its first one, where there is one: `- b`, `-b` or
/// `to b`. A dash before a note is not a sign of a range.
///
/// # Errors
///
/// When a number ends the line where the last address should: half of one, or its last
/// octet alone. Before other words a number or a date is part of a note.
fn end_of_range<'a>(word: &'a [u8], behind: &'a [u8]) -> Result<Option<Split<'a>>, Why> {
    let sign = SIGNS.into_iter().find_map(|sign| word.strip_prefix(sign));
    let (last, behind) = match sign {
        Some([]) => split_word(behind),
        Some(last) => (last, behind),
        None if WORDS.into_iter().any(|known| known.eq_ignore_ascii_case(word)) => {
            split_word(behind)
        }
        None => return Ok(None),
    };
    if looks_like_address(last) {
        return Ok(Some((last, behind)));
    }
    let may = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/' | b'*');
    let is_half = last.first().is_some_and(u8::is_ascii_digit) && last.iter().all(may);
    if is_half && split_word(behind).0.is_empty() { Err(NO_END) } else { Ok(None) }
}

/// An address behind an address: a netmask, or the end of a block whose length follows,
/// as DShield has it.
fn second_address<'a>(
    field: &[u8],
    word: &[u8],
    behind: &'a [u8],
) -> Result<(Nets, &'a [u8]), Why> {
    let (third, rest) = split_word(behind);
    let mask = parse_mask(word);
    let is_length = !third.is_empty() && third.len() <= 3 && third.iter().all(u8::is_ascii_digit);
    if is_length && let Ok(last) = parse_address(word) {
        let net = parse_length(third).and_then(|length| with_length(field, length));
        if let Ok(Nets::One(net)) = net
            && net.addr() == parse_address(field)?
            && net.broadcast() == last
        {
            return Ok((Nets::One(net), rest));
        }
        if mask.is_none() {
            return Err("the first address, the last one and the length do not fit each other");
        }
    }
    let length = mask.ok_or(SECOND)?;
    Ok((with_length(field, length)?, behind))
}

/// Whether a word is meant as an address, well written or not.
fn looks_like_address(word: &[u8]) -> bool {
    let word = word.strip_suffix(b",").or_else(|| word.strip_suffix(b";")).unwrap_or(word);
    let count = |wanted: u8| word.iter().filter(|byte| **byte == wanted).count();
    let is_v4 = || {
        let may = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'/' | b'*' | b'-');
        word.first().is_some_and(u8::is_ascii_digit) && word.iter().all(may) && count(b'.') >= 2
    };
    let is_v6 = || {
        let may = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'/' | b'-');
        word.iter().all(may) && (word.windows(2).any(|two| two == b"::") || count(b':') >= 3)
    };
    is_v4() || is_v6()
}

fn range(first: &[u8], last: &[u8]) -> Result<Nets, Why> {
    const NOT_ONE: Why = "is not a range of addresses, `first - last`";
    let address = |text| parse_address(text).map(|address| address.to_canonical());
    let (first, last) = (address(first).map_err(|_| NOT_ONE)?, address(last).map_err(|_| NOT_ONE)?);
    if first.is_ipv4() != last.is_ipv4() {
        return Err("the range has an IPv4 and an IPv6 address");
    }
    if last < first {
        return Err("the range ends before it begins");
    }
    Ok(Nets::Range(first, last))
}

/// A prefix whose length stands apart from its address.
fn with_length(field: &[u8], length: u8) -> Result<Nets, Why> {
    if field.contains(&b'/') {
        return Err("has two prefix lengths");
    }
    net_of(parse_address(field)?, length).map(Nets::One)
}

/// Whether the line ends in a prefix length to which another digit could belong.
fn is_open(line: &[u8]) -> bool {
    let Some(slash) = line.iter().rposition(|byte| *byte == b'/') else { return false };
    let longest = if line.contains(&b':') { 128 } else { 32 };
    parse_number(&line[slash + 1..])
        .is_some_and(|length| length > 0 && u16::from(length) * 10 <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Vec<String>, String), Why> {
        match parse_line(line.as_bytes())? {
            Item::Entry { nets, note, .. } => {
                let nets = nets.prefixes().map(|net| net.to_string()).collect();
                Ok((nets, String::from_utf8_lossy(&note).into_owned()))
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn ranges_netmasks_and_lengths_are_what_they_say() {
        for (line, nets, note) in [
            (
                "198.51.100.0\t198.51.100.255\t24\t350\tNAME\tDE",
                &["198.51.100.0/24"][..],
                "350\tNAME\tDE",
            ),
            (
                "198.51.100.10 - 198.51.100.20",
                &["198.51.100.10/31", "198.51.100.12/30", "198.51.100.16/30", "198.51.100.20/32"],
                "",
            ),
            ("198.51.100.10-198.51.100.11 x", &["198.51.100.10/31"], "x"),
            ("198.51.100.10- 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 -198.51.100.11 ; x", &["198.51.100.10/31"], "x"),
            ("198.51.100.10 – 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 to 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 — 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 .. 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 ..198.51.100.11 x", &["198.51.100.10/31"], "x"),
            ("198.51.100.10 … 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 -> 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 through 198.51.100.11", &["198.51.100.10/31"], ""),
            ("198.51.100.10 Thru 198.51.100.11", &["198.51.100.10/31"], ""),
            ("2001:db8:: - 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", &["2001:db8::/32"], ""),
            ("198.51.100.0 255.255.255.0", &["198.51.100.0/24"], ""),
            ("198.51.100.0 255.255.255.0 lab", &["198.51.100.0/24"], "lab"),
            ("198.51.100.0 255.255.255.0 5 hits", &["198.51.100.0/24"], "5 hits"),
            ("240.0.0.0\t255.255.255.255\t4", &["240.0.0.0/4"], ""),
            ("198.51.100.0 netmask 255.255.255.0", &["198.51.100.0/24"], ""),
            ("198.51.100.0/255.255.255.0", &["198.51.100.0/24"], ""),
            ("198.51.100.0 /24 x", &["198.51.100.0/24"], "x"),
            ("192.0.2.9\t10", &["192.0.2.9/32"], "10"),
            ("192.0.2.1 - spammer", &["192.0.2.1/32"], "- spammer"),
            ("192.0.2.1 - 20 hits", &["192.0.2.1/32"], "- 20 hits"),
            ("192.0.2.1 - 2026-11-28", &["192.0.2.1/32"], "- 2026-11-28"),
            ("192.0.2.1 — spammer", &["192.0.2.1/32"], "— spammer"),
            ("192.0.2.1 through a\u{a0}proxy", &["192.0.2.1/32"], "through a\u{a0}proxy"),
            ("192.0.2.1 , a spammer", &["192.0.2.1/32"], ", a spammer"),
            ("192.0.2.1 10:30 seen", &["192.0.2.1/32"], "10:30 seen"),
            ("192.0.2.1 2026-11-28T10:30:00Z", &["192.0.2.1/32"], "2026-11-28T10:30:00Z"),
            ("192.0.2.1 1.5", &["192.0.2.1/32"], "1.5"),
            ("192.0.2.1 to be looked at", &["192.0.2.1/32"], "to be looked at"),
            ("192.0.2.1 # 192.0.2.2 too", &["192.0.2.1/32"], "192.0.2.2 too"),
            ("192.0.2.1; 192.0.2.2 too", &["192.0.2.1/32"], "192.0.2.2 too"),
            ("192.0.2.0 - 192.0.2.1#x", &["192.0.2.0/31"], "x"),
            ("192.0.2.0 255.255.255.0;x", &["192.0.2.0/24"], "x"),
        ] {
            let expected: Vec<_> = nets.iter().map(|net| (*net).to_owned()).collect();
            assert_eq!(read(line), Ok((expected, note.to_owned())), "{line}");
        }
        assert_eq!(parse_line(b"Start\tEnd\tNetmask\tAttacks"), Ok(Item::Nothing));
    }

    #[test]
    fn half_an_entry_is_an_error() {
        for line in [
            "192.0.2.1 192.0.2.2",
            "192.0.2.1 192.0.2.300",
            "192.0.2.1 192.0.2.0/24",
            "192.0.2.1 - 192.0.2",
            "192.0.2.9 - 192.0.2.1",
            "192.0.2.1-",
            "198.51.100.10 - 20",
            "198.51.100.10 -20",
            "198.51.100.10 - 20 # the office",
            "198.51.100.10 – 20",
            "198.51.100.10 .. 20",
            "198.51.100.10 to 198.51",
            "198.51.100.10 through 20",
            "198.51.100.10 — 198.51.100.9",
            "2001:db8:: - 2001:db8",
            "2001:db8:: to 5",
            "192.0.2.1 , 192.0.2.2",
            "192.0.2.1 and 192.0.2.2",
            "192.0.2.0/24 - 192.0.3.0/24",
            "192.0.2.0 - 2001:db8::",
            "198.51.100.0 255.255.255",
            "198.51.100.0 255.0.255.0",
            "198.51.100.0 0.0.0.255",
            "198.51.100.0 netmask 24",
            "198.51.100.0/24 255.255.255.0",
            "198.51.100.0/24 /24",
            "198.51.100.0 /33",
            "198.51.100.0\t198.51.100.255\t25",
            "198.51.100.1\t198.51.100.255\t24",
            "198.51.100.0\t198.51.100.255",
            "192.0.2.1 2001:db8::1",
            "2001:db8::1 ::2",
            "192.0.2.1,192.0.2.2",
        ] {
            assert!(parse_line(line.as_bytes()).is_err(), "{line}");
        }
        let error = read("192.0.2.1\u{200b}").expect_err("an invisible character");
        assert!(error.contains("U+200B ZERO WIDTH SPACE"), "{error}");
        for line in [
            "2001:db8::1\u{200b}",
            "192.0.2.0/24\u{200b}",
            "192.0.2.0/\u{200b}24",
            "\u{200b}192.0.2.0/24",
            "2001:db8::\u{200b}/32",
            "192.0.2.1 - 192.0.2.5\u{200b}",
            "192.0.2.1 -\u{200b}192.0.2.5",
            "192.0.2.1\u{200b} - 192.0.2.5",
            "192.0.2.0 255.255.255.0\u{200b} lab",
            "192.0.2.0 netmask\u{200b} 255.255.255.0",
            "192.0.2.0 /24\u{200b}",
        ] {
            let error = parse_line(line.as_bytes()).expect_err(line);
            assert!(error.contains("U+200B ZERO WIDTH SPACE"), "{line}: {error}");
        }
    }

    #[test]
    fn a_length_that_may_go_on_is_open() {
        let open = |line: &str| {
            matches!(parse_line(line.as_bytes()), Ok(Item::Entry { may_be_cut: true, .. }))
        };
        for line in ["10.77.0.2/3", "10.77.0.0/1", "2001:db8::/3", "2001:db8::/12", "::/6"] {
            assert!(open(line), "{line}");
        }
        for line in ["10.77.0.2/32", "10.77.0.2/8", "10.77.0.2", "10.77.0.2/3 x", "::/13", "::/0"] {
            assert!(!open(line), "{line}");
        }
    }

    #[test]
    fn what_takes_force() {
        let wide = |line: &str| match parse_line(line.as_bytes()) {
            Ok(Item::Entry { nets, .. }) => nets.is_wide(),
            other => panic!("{other:?}"),
        };
        for line in ["0.0.0.0/0", "10.0.0.0/7", "::/0", "2000::/15", "10.0.0.0 - 11.0.0.0"] {
            assert!(wide(line), "{line}");
        }
        for line in ["10.0.0.0/8", "2001::/16", "10.0.0.0 - 10.255.255.255"] {
            assert!(!wide(line), "{line}");
        }
    }
}
