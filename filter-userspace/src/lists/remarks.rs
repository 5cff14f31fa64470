//! What stands in a list that can be read and is probably not meant.

use super::parse::Purpose;

/// What is not an error of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remark {
    /// The note of a blocked address says to let it pass.
    SaysPass,
    /// The note of an approved address says to refuse it.
    SaysRefuse,
    /// The last line has no line end.
    NoLineEnd,
    /// The same, and it is skipped.
    CutOff,
}

const ALL: [Remark; 4] = [Remark::SaysPass, Remark::SaysRefuse, Remark::NoLineEnd, Remark::CutOff];

/// Actions of access tables, which say the contrary of a list that blocks.
const PASS: [&[u8]; 9] = [
    b"permit",
    b"ok",
    b"dunno",
    b"allow",
    b"accept",
    b"pass",
    b"approve",
    b"approved",
    b"whitelist",
];

/// Actions of access tables, which say the contrary of a list that approves.
const REFUSE: [&[u8]; 7] =
    [b"reject", b"deny", b"drop", b"block", b"discard", b"refuse", b"blacklist"];

/// For each remark its first line, and how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    found: [(u32, usize); ALL.len()],
}

impl Remarks {
    pub(super) fn add(&mut self, line: u32, remark: Remark) {
        let (first, count) = &mut self.found[remark as usize];
        if *count == 0 {
            *first = line;
        }
        *count += 1;
    }

    /// Looks whether a note says the contrary of what the list does.
    pub(super) fn note(&mut self, line: u32, note: &[u8], purpose: Purpose) {
        let is_end = |byte: &u8| !byte.is_ascii_alphabetic();
        let word = &note[..note.iter().position(is_end).unwrap_or(note.len())];
        let is = |words: &[&[u8]]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        match purpose {
            Purpose::Block { .. } if is(&PASS) => self.add(line, Remark::SaysPass),
            Purpose::Approve if is(&REFUSE) => self.add(line, Remark::SaysRefuse),
            _ => {}
        }
    }

    /// A line of text for each.
    pub(super) fn lines(&self, file: &str) -> impl Iterator<Item = String> {
        ALL.into_iter().filter_map(move |remark| {
            let (line, count) = self.found[remark as usize];
            let what = match remark {
                Remark::SaysPass => {
                    "the note says to let the address pass, and this list blocks it"
                }
                Remark::SaysRefuse => {
                    "the note says to refuse the address, and this list approves it"
                }
                Remark::NoLineEnd => "the last line has no line end: is the file whole?",
                Remark::CutOff => "the last line has no line end and is skipped: it may be cut",
            };
            let more = match count {
                0 => return None,
                1 => String::new(),
                _ => format!(" (and {} more lines like it)", count - 1),
            };
            Some(format!("{file}:{line}: {what}{more}"))
        })
    }
}
