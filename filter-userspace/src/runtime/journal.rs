//! The journal of managed entries: each change is a step, and a line.
//!
//! A step may be taken twice and then changes nothing, since what is in the journal may be in
//! the file of all entries too.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::entries::RuntimeEntries;
use super::entry::{RuntimeEntry, RuntimeList};
use crate::lists::normalise;

/// A change of the entries, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An entry is added, in the place of that of the same list and prefix.
    Add(RuntimeEntry),
    /// The entry of a list and a prefix is removed.
    Remove(RuntimeList, IpNet),
}

impl Step {
    /// The prefix that it is about.
    #[must_use]
    pub const fn prefix(&self) -> IpNet {
        match self {
            Self::Add(entry) => entry.prefix,
            Self::Remove(_, prefix) => *prefix,
        }
    }

    /// The step as a line of the journal, without the line end.
    ///
    /// # Errors
    ///
    /// None that a step can cause.
    pub fn to_line(&self) -> Result<String, StepError> {
        serde_json::to_string(self).map_err(StepError)
    }

    /// The step of what [`Self::to_line`] wrote.
    ///
    /// # Errors
    ///
    /// When the line is damaged: half of one after a power cut, say.
    pub fn from_line(line: &[u8]) -> Result<Self, StepError> {
        serde_json::from_slice(line).map_err(StepError)
    }
}

/// Why a line is not a step.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StepError(serde_json::Error);

impl RuntimeEntries {
    /// Takes a step that was checked when it was first taken.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Add(entry) => {
                let prefix = normalise(entry.prefix);
                self.by_prefix.insert((entry.list, prefix), RuntimeEntry { prefix, ..entry });
            }
            Step::Remove(list, prefix) => {
                self.by_prefix.remove(&(list, normalise(prefix)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_back_from_its_line_and_may_be_taken_twice() {
        let prefix: IpNet = "192.0.2.0/24".parse().unwrap();
        let list = RuntimeList::Blocked;
        let entry = RuntimeEntry { list, prefix, note: None, added_at: 1, expires_at: Some(2) };
        let mut entries = RuntimeEntries::default();
        for (step, count) in [(Step::Add(entry), 1), (Step::Remove(list, prefix), 0)] {
            let line = step.to_line().unwrap();
            for _ in 0..2 {
                let read = Step::from_line(line.as_bytes()).unwrap();
                assert_eq!((&read, read.prefix()), (&step, prefix));
                entries.take(read);
                assert_eq!(entries.len(), count);
            }
            assert!(Step::from_line(&line.as_bytes()[..line.len() / 2]).is_err());
        }
    }
}
