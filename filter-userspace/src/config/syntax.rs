//! Broken syntax: each fault once, and the rest of the file as if it were not there.
//!
//! A parser that recovers by itself reports what follows from a fault as faults of their
//! own. Here the statement at fault is blanked out, and the text is parsed again.

use std::ops::Range;

use toml::de::DeTable;

/// The most faults that are looked for.
const FAULTS: usize = 20;

/// A text without its faults.
pub(super) struct Mended {
    /// The text, of the same length; faulty statements are spaces.
    pub(super) text: String,
    /// Where something is wrong, and what, in the order of the text.
    pub(super) faults: Vec<(Range<usize>, String)>,
    /// Whether what is left can be read: else faults hide others.
    pub(super) is_readable: bool,
}

/// Finds the faults of a text.
pub(super) fn mend(text: &str) -> Mended {
    let mut mended = Mended { text: text.to_owned(), faults: Vec::new(), is_readable: false };
    // Where the last statement that was blanked out ends.
    let mut done = None;
    for _ in 0..FAULTS {
        let (_, errors) = DeTable::parse_recoverable(&mended.text);
        let first = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start));
        let Some(first) = first else {
            mended.is_readable = true;
            return mended;
        };
        let span = first.span().unwrap_or(0..0);
        let region = statement(&mended.text, span.start);
        if mended.text[region.clone()].trim().is_empty() {
            mended.faults.push((span, first.message().to_owned()));
            return mended;
        }
        // What begins right behind a fault is what the fault had not ended.
        let goes_on = done.is_some_and(|end: usize| {
            mended.text.get(end..region.start).is_some_and(|between| between.trim().is_empty())
                && region.start <= end
        });
        if !goes_on {
            let said = first.message();
            mended.faults.push(if span.start < region.end {
                (span, said.to_owned())
            } else {
                // Seen where the next one begins, and made here.
                let message = format!("a value is not quoted or does not end: {said}");
                (region.clone(), message)
            });
        }
        let blank: String = mended.text[region.clone()]
            .chars()
            .flat_map(|letter| {
                let blank = if letter == '\n' { '\n' } else { ' ' };
                std::iter::repeat_n(blank, letter.len_utf8())
            })
            .collect();
        mended.text.replace_range(region.clone(), &blank);
        done = Some(region.end);
    }
    mended
}

/// The lines of the statement in which a fault is: from a line that begins a statement to
/// the next one.
fn statement(text: &str, fault: usize) -> Range<usize> {
    let mut fault = fault.min(text.len());
    while !text.is_char_boundary(fault) {
        fault -= 1;
    }
    let mut starts: Vec<usize> = Vec::new();
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        if begins(line) {
            starts.push(place);
        }
        place += line.len();
    }
    let mut index = starts.partition_point(|start| *start <= fault);
    // A fault at the very beginning of a line is what the line before had not ended.
    if let Some(&start) = starts.get(index.wrapping_sub(1))
        && text[start..fault].trim().is_empty()
        && index > 1
    {
        let end = starts.get(index).copied().unwrap_or(text.len());
        let is_good = |place| DeTable::parse_recoverable(&text[place]).1.is_empty();
        // One that stands well by itself is not at fault, where the one before does not.
        if is_good(start..end) && !is_good(starts[index - 2]..start) {
            index -= 1;
        }
    }
    let start = starts.get(index.wrapping_sub(1)).copied().unwrap_or(0);
    let end = starts.get(index).copied().unwrap_or(text.len());
    start..end
}

/// Whether a line begins a statement: a table, or a key and `=`.
fn begins(line: &str) -> bool {
    let line = line.trim_start();
    if let Some(table) = line.strip_prefix('[') {
        let inner = table.trim_start_matches('[').trim_start();
        return inner.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    }
    let key = line.split(['=', '#']).next().unwrap_or_default().trim_end();
    line.contains('=')
        && !key.is_empty()
        && key.chars().all(|letter| letter.is_alphanumeric() || "_-.\"' ".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_found_once_and_the_rest_is_read() {
        for (text, lines) in [
            ("[a]\nb = 1\n", &[][..]),
            ("[a]\nb = [eth0]\n[c]\nd = 1\n", &[2]),
            ("[a\nb = 1\n[c]\nd = 1\n", &[1]),
            ("[a]\nb : 1\n[c]\nd = 1\n", &[2]),
            ("[a]\nb = [\"x\"\n[c]\nd = 1\n", &[2]),
            ("[a]\nb = \n[c]\nd = \n", &[2, 4]),
            ("[a]\nb = 1\nb = 2\n[c]\nd = 1 2\n", &[3, 5]),
            ("[a]\nb = \"x\n[c]\nd = 1\n", &[2]),
        ] {
            let mended = mend(text);
            assert_eq!(mended.text.len(), text.len());
            let line = |at: usize| text[..at].matches('\n').count() + 1;
            let found: Vec<_> = mended.faults.iter().map(|(span, _)| line(span.start)).collect();
            assert_eq!(found, lines, "{text}{:?}", mended.faults);
            assert!(mended.is_readable, "{text}");
            if text.contains("d = 1\n") {
                assert!(mended.text.contains("d = 1\n"), "{}", mended.text);
            }
        }
    }
}
