//! The recipients of a domain in little memory.

/// Local parts in lower case, sorted, each with its line.
#[derive(Clone, Debug, Default)]
pub(super) struct Locals {
    /// All local parts, one behind the other.
    text: Vec<u8>,
    entries: Vec<Entry>,
    catch_all: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    line: u32,
    length: u16,
}

impl Locals {
    /// Keeps a local part. [`Locals::finish`] must follow before any is found.
    /// `None` if there is no room: 4 GiB of text, or 64 KiB in one.
    #[must_use]
    pub(super) fn push(&mut self, local: &str, line: u32) -> Option<()> {
        let start = self.text.len().try_into().ok()?;
        let length = local.len().try_into().ok()?;
        self.text.extend(local.as_bytes());
        self.entries.push(Entry { start, line, length });
        Some(())
    }

    /// Makes every local part of the domain valid; the first line stays.
    pub(super) fn catch(&mut self, line: u32) {
        self.catch_all.get_or_insert(line);
    }

    /// Sorts; of equal local parts the first line stays.
    pub(super) fn finish(&mut self) {
        let text = &self.text;
        self.entries.sort_unstable_by_key(|entry| (bytes(text, *entry), entry.line));
        self.entries.dedup_by(|later, first| bytes(text, *later) == bytes(text, *first));
        self.entries.shrink_to_fit();
        self.text.shrink_to_fit();
    }

    /// The line of a local part in lower case.
    pub(super) fn find(&self, local: &str) -> Option<u32> {
        let compare = |entry: &Entry| bytes(&self.text, *entry).cmp(local.as_bytes());
        let index = self.entries.binary_search_by(compare).ok()?;
        Some(self.entries[index].line)
    }

    /// The line that makes every local part valid.
    pub(super) const fn catch_all(&self) -> Option<u32> {
        self.catch_all
    }

    /// How many different local parts there are.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The memory taken, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}

fn bytes(text: &[u8], entry: Entry) -> &[u8] {
    usize::try_from(entry.start)
        .ok()
        .and_then(|start| text.get(start..start + usize::from(entry.length)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_ones_the_first_line_stays() {
        let mut locals = Locals::default();
        for (local, line) in [("b", 3), ("a", 2), ("b", 1), ("ab", 4), ("", 5)] {
            locals.push(local, line).unwrap();
        }
        locals.finish();
        assert_eq!(locals.len(), 4);
        let lines = ["a", "ab", "b", "", "c"].map(|local| locals.find(local));
        assert_eq!(lines, [Some(2), Some(4), Some(1), Some(5), None]);
        assert_eq!(locals.push(&"x".repeat(70_000), 6), None);
    }
}
