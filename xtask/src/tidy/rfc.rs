//! Citations of RFCs: one spelling, and a section that the RFC has.

use super::finding::Finding;
use super::prose::{Passage, Word};

/// The sections of the RFCs that are cited by section. Of each group the last is named:
/// `4.1.4` says that there are 4.1.1 to 4.1.4.
const SECTIONS: &[(&str, &str)] = &[
    ("791", "3.1"),
    ("1035", "3.2.2 3.5"),
    ("1332", "3"),
    ("1661", "6.6"),
    ("1858", "5"),
    ("1870", "6"),
    ("2034", "5"),
    ("2516", "5"),
    ("2920", "3.2"),
    ("3030", "4"),
    ("3207", "4.3"),
    ("3461", "4.5"),
    ("3463", "3.8"),
    ("3596", "2.5"),
    ("3986", "2.5"),
    ("4291", "2.5.5.2 2.5.7"),
    ("4302", "2.6"),
    ("4511", "4.2.2 4.14.3 5.1"),
    ("4513", "5.1.3"),
    ("4954", "6"),
    ("5072", "4"),
    ("5233", "4"),
    ("5280", "4.1.2.9 4.2"),
    (
        "5321",
        "10 2.3.11 2.4 3.5.3 3.6.3 3.9 4.1.1.11 4.1.5 4.2.5 4.3.2 4.5.3.1.10 4.5.3.2.7 \
         4.5.4.2 4.5.5 5.2 6.4 7.9",
    ),
    ("5322", "2.2.3 3.2.4 3.6"),
    ("5782", "2.4 5"),
    ("6066", "3"),
    ("6177", "2"),
    ("6531", "3.7.4"),
    ("6533", "3"),
    ("6943", "3.1.1"),
    ("7112", "5"),
    ("7208", "12 2.6 3.4 4.6.4 5.7 6.2 7.4 8.7 9.1"),
    ("7435", "3"),
    ("8200", "4"),
    ("8259", "7"),
    ("8446", "4.4.2.4 5.1"),
    ("8616", "4"),
    ("9110", "10.1.3"),
    ("9293", "3.5"),
];

/// All citations that are spelt otherwise, or lead nowhere.
pub(super) fn check(path: &str, passages: &[Passage]) -> Vec<Finding> {
    if path == "xtask/src/tidy/rfc.rs" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for words in passages.iter().map(|passage| &passage.words) {
        for (at, word) in words.iter().enumerate() {
            let Some(rest) = word.text.strip_prefix("RFC") else {
                continue;
            };
            let message = if rest.is_empty() {
                citation(&words[..at], &words[at + 1..])
            } else {
                let number = rest.trim_start_matches('-');
                let is_number = number.starts_with(|letter: char| letter.is_ascii_digit());
                is_number.then(|| format!("write RFC {number}"))
            };
            if let Some(message) = message {
                findings.push(Finding::error("rfc", path, word.line, message).known_as(""));
            }
        }
    }
    findings
}

/// What is wrong with a citation; the words before and after `RFC`.
fn citation(before: &[Word], after: &[Word]) -> Option<String> {
    let text = |at: usize| after.get(at).map_or("", |word| word.text.as_str());
    let number = text(0);
    if !number.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let is_section = |word: &str| ["section", "sections", "sec", "§"].contains(&word);
    let spelling = format!("write RFC {number} section n");
    if let [.., section, _, of] = before
        && of.text == "of"
        && is_section(&section.text)
    {
        return Some(spelling);
    }
    let (comma, word) = if text(1) == "," { (true, text(2)) } else { (false, text(1)) };
    let is_other = word != "section" && word != "sections" || comma;
    if is_section(&word.to_lowercase()) && is_other || word.starts_with('§') {
        return Some(spelling);
    }
    if !is_section(word) {
        return None;
    }
    let listed = after[2..].iter().map(|word| word.text.as_str());
    let listed = listed.take_while(|word| {
        [",", "and", "to"].contains(word)
            || word.starts_with(|letter: char| letter.is_ascii_digit())
    });
    let sections: Vec<_> = listed.filter(|word| word.contains(char::is_numeric)).collect();
    let Some((_, known)) = SECTIONS.iter().find(|(rfc, _)| *rfc == number) else {
        return Some(format!("RFC {number} has no row in xtask/src/tidy/rfc.rs: look it up"));
    };
    if sections.is_empty() {
        return Some(spelling);
    }
    let missing = sections.into_iter().find(|section| !is_there(known, section))?;
    Some(format!("RFC {number} has no section {missing} that xtask/src/tidy/rfc.rs knows"))
}

/// Whether a section is among the known ones.
fn is_there(known: &str, section: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u32>> {
        text.split('.').map(|number| number.parse().ok()).collect()
    };
    let Some(wanted) = numbers(section) else {
        return false;
    };
    known.split_whitespace().filter_map(numbers).any(|last| {
        // One of the same group, or of a group that the known one is in.
        let depth = wanted.len();
        last.len() >= depth
            && last[..depth - 1] == wanted[..depth - 1]
            && (1..=last[depth - 1]).contains(&wanted[depth - 1])
    })
}

#[cfg(test)]
mod tests {
    use super::super::prose;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check("x.md", &prose::of_markdown(text)).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn a_citation_has_one_spelling() {
        for (text, message) in [
            ("RFC5321", "write RFC 5321"),
            ("RFC-5321 has", "write RFC 5321"),
            ("(RFC 7112, section 5)", "write RFC 7112 section n"),
            ("RFC 7112 § 5", "write RFC 7112 section n"),
            ("RFC 7112 Section 5", "write RFC 7112 section n"),
            ("section 4.6.4 of RFC 7208", "write RFC 7208 section n"),
        ] {
            assert_eq!(found(text), [message], "{text}");
        }
        for text in
            ["RFC 5321, RFC 2920", "an RFC", "RFC 5321 appendix C", "RFC 5321 section\n3.2."]
        {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_cited_section_must_be_known() {
        for text in [
            "RFC 5321 section 4.5.3.1.10",
            "RFC 5321 section 4.4",
            "RFC 5321 sections 4.2, 4.3.1 and 4.5.3.1.5",
            "RFC 5321 section 9",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
        for text in [
            "RFC 5321 section 4.5.3.1.11",
            "RFC 5321 section 4.6",
            "RFC 5321 sections 4.2 and 11",
            "RFC 5321 section 0",
            "RFC 1 section 1",
        ] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }
}
