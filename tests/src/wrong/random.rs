//! Random messages that come again with their seed.

/// Numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `end`.
    ///
    /// # Panics
    ///
    /// When `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(self.next() % end).expect("a small number")
    }

    /// One of them.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A message with a Message-ID: of 1 octet to `most` behind its header, as
    /// many short ones as long ones, with lines of dots and 8-bit bytes. Its last
    /// line is ended, or not.
    pub fn message(&mut self, id: &str, most: usize, ended: bool) -> Vec<u8> {
        let header = format!("Message-ID: <{id}@client.example>\r\nSubject: {id}\r\n\r\n");
        let mut message = header.into_bytes();
        let bits = usize::try_from(most.max(2).ilog2()).expect("few") + 1;
        let bits = self.below(bits) + 1;
        let size = (1 + self.below(1 << bits)).min(most);
        let whole = message.len() + size;
        while message.len() < whole {
            match self.below(8) {
                0 => message.extend(std::iter::repeat_n(b'.', 1 + self.below(4))),
                1 => message.extend_from_slice(b".a"),
                2 => {}
                _ => {
                    let length = self.below(200);
                    for _ in 0..length {
                        let octet = self.next().to_le_bytes()[0];
                        message.push(if [0, b'\r', b'\n'].contains(&octet) { b'.' } else { octet });
                    }
                }
            }
            message.extend_from_slice(b"\r\n");
        }
        message.truncate(whole);
        if message.ends_with(b"\r") {
            message.pop();
            message.push(b'.');
        }
        if ended && !message.ends_with(b"\r\n") {
            message.extend_from_slice(b"\r\n");
        }
        message
    }
}
