//! Where an entry of a list is written.

use std::fmt;

/// A line of a file, or a source that has no lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as operators name it; or a database, or `runtime` for managed entries.
    pub file: String,
    /// The line, from 1; 0 where the source has none.
    pub line: u32,
}

impl Place {
    /// A source that has no lines.
    #[must_use]
    pub fn whole(name: impl Into<String>) -> Self {
        Self { file: name.into(), line: 0 }
    }
}

/// `file:line`; a source without lines is named alone.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_file_and_line() {
        let line = Place { file: "/etc/mxdp/a:b.txt".to_owned(), line: 7 };
        assert_eq!(line.to_string(), "/etc/mxdp/a:b.txt:7");
        assert_eq!(Place::whole("country.mmdb").to_string(), "country.mmdb");
    }
}
