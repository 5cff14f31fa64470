//! What a format of recipient files must say of itself.

use super::super::reader::{Reader, Stop};

/// How a file of recipients is written.
#[derive(Debug)]
pub struct Format {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What its files' names end with, behind the last dot, in lower case.
    pub(super) endings: &'static [&'static str],
    /// Reads a file, and hands each address to the reader with its line.
    pub(super) read: fn(&[u8], &mut Reader) -> Result<(), Stop>,
}
