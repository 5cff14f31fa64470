//! An import while it is read: what formats and directories hand their addresses to.

use std::collections::HashMap;

use super::import::{Import, ImportError, ImportOptions};
use super::locals::Locals;
use super::one::Recipient;
use crate::lists::{BadLines, OnBadLine, Why};

/// How many remarks on a file are kept.
const REMARKS: usize = 20;

/// What ends the reading of a file.
pub(super) enum Stop {
    TooMany(u32),
    Unusable(u32, Why),
}

/// An import that is being read.
pub(super) struct Reader {
    import: Import,
    options: ImportOptions,
    left: usize,
    /// Whether what is read stands in a last line without a line end.
    is_open: bool,
}

impl Reader {
    pub(super) fn new(name: &str, options: ImportOptions) -> Self {
        let import = Import {
            name: name.to_owned(),
            domains: HashMap::new(),
            bad: BadLines::default(),
            remarks: Vec::new(),
            open_end: None,
        };
        Self { import, options, left: options.max_entries, is_open: false }
    }

    /// Takes an address, or a domain all of whose recipients are valid.
    pub(super) fn address(&mut self, text: &str, line: u32) -> Result<(), Stop> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Stop::TooMany(line));
        };
        let parsed = Recipient::parse(text);
        if self.is_open
            && let Ok(recipient) = &parsed
        {
            self.import.open_end = recipient.domain().map(|domain| (line, domain.clone()));
        }
        match parsed {
            Ok(Recipient::All(domain)) => {
                self.import.domains.entry(domain).or_default().catch(line);
            }
            Ok(Recipient::One(mailbox)) => {
                let local = mailbox.local().to_lowercase();
                let Some(domain) = mailbox.domain() else { return Ok(()) };
                // A look first: the domain is cloned only when it is new.
                let domains = &mut self.import.domains;
                let pushed = match domains.get_mut(domain) {
                    Some(locals) => locals.push(&local, line),
                    None => domains.entry(domain.clone()).or_default().push(&local, line),
                };
                pushed.ok_or(Stop::TooMany(line))?;
            }
            Err(why) => {
                self.bad(line, text.as_bytes(), why);
                return Ok(());
            }
        }
        self.left = left;
        Ok(())
    }

    pub(super) fn bad(&mut self, line: u32, bytes: &[u8], why: Why) {
        self.import.bad.add(line, bytes, why);
    }

    /// Says whether the line that is read next has no line end.
    pub(super) const fn set_open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    /// Whether the line that is read has no line end, so that it may have been cut.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Notes what is not an error, and probably not meant.
    pub(super) fn remark(&mut self, line: u32, what: &str) {
        if self.import.remarks.len() < REMARKS {
            self.import.remarks.push(format!("{}:{line}: {what}", self.import.name));
        }
    }

    pub(super) fn finish(mut self, read: Result<(), Stop>) -> Result<Import, ImportError> {
        let name = self.import.name.clone();
        if let Err(stop) = read {
            return Err(match stop {
                Stop::TooMany(line) => ImportError::TooMany { name, line },
                Stop::Unusable(line, why) => ImportError::Unusable { name, line, why },
            });
        }
        if self.options.on_bad_line == OnBadLine::Refuse && self.import.bad.total() > 0 {
            return Err(ImportError::BadLines { name, bad: self.import.bad });
        }
        self.import.domains.values_mut().for_each(Locals::finish);
        Ok(self.import)
    }
}
