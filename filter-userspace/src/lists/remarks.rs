//! What stands in a list that can be read and is probably not meant.

use super::options::Purpose;

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

/// What may stand before an action: `action=permit`.
const KEYS: [&[u8]; 5] = [b"action", b"policy", b"verdict", b"access", b"result"];

/// Whether a note is the action of an access table that lets pass.
pub(crate) fn says_pass(note: &[u8]) -> bool {
    is_one_of(&PASS, action(note))
}

/// Whether a note is the action of an access table that refuses.
pub(crate) fn says_refuse(note: &[u8]) -> bool {
    is_one_of(&REFUSE, action(note))
}

fn is_one_of(words: &[&[u8]], word: &[u8]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// The word of a note that may be an action: the first one, or the one behind a key.
fn action(note: &[u8]) -> &[u8] {
    let split =
        |text: &[u8], is_end: fn(&u8) -> bool| text.iter().position(is_end).unwrap_or(text.len());
    // An address that begins like an action is not one.
    if note[..split(note, |byte| byte.is_ascii_whitespace())].contains(&b'@') {
        return b"";
    }
    let (word, rest) = note.split_at(split(note, |byte| !byte.is_ascii_alphabetic()));
    match rest.trim_ascii_start() {
        [b'=' | b':', value @ ..] if is_one_of(&KEYS, word) => {
            let value = value.trim_ascii_start();
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            &value[..split(value, |byte| !byte.is_ascii_alphabetic())]
        }
        _ => word,
    }
}

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
        match purpose {
            Purpose::Block { .. } if says_pass(note) => self.add(line, Remark::SaysPass),
            Purpose::Approve if says_refuse(note) => self.add(line, Remark::SaysRefuse),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_known_however_they_are_written() {
        for note in ["permit", "OK - a customer", "action=permit", "Action: \"ALLOW\"", "dunno"] {
            assert!(says_pass(note.as_bytes()), "{note}");
            assert!(!says_refuse(note.as_bytes()), "{note}");
        }
        for note in ["REJECT", "policy = deny", "discard (spam)"] {
            assert!(says_refuse(note.as_bytes()), "{note}");
        }
        for note in ["", "reject@example.org", "okay", "action", "x=permit", "to permit", "=ok"] {
            assert!(!says_pass(note.as_bytes()) && !says_refuse(note.as_bytes()), "{note}");
        }
    }
}
