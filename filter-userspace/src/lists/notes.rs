//! The notes of a list's entries, in little memory.

use std::str;

use super::bad_lines::sanitise;

/// The longest note that is kept, in bytes.
const NOTE_LIMIT: usize = 200;

/// Notes of all entries, one behind the other: a length, then the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Vec<u8>);

impl Notes {
    /// Keeps a note and says where; 0 means that there is none.
    pub(super) fn add(&mut self, note: &[u8]) -> u32 {
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

    /// The note at a place.
    pub(super) fn get(&self, place: u32) -> Option<String> {
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
