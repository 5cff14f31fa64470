//! What every contender can be asked.

use anyhow::Result;

use crate::lane::Lane;

/// The frames that a contender dropped so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) listed: u64,
    pub(crate) unlisted: u64,
}

impl Counts {
    pub(crate) const fn total(self) -> u64 {
        self.listed + self.unlisted
    }
}

/// Something that SYNs are sent to.
pub(crate) trait Contender {
    fn lane(&self) -> &Lane;

    /// What it dropped so far, or `None` if it does not tell them apart, and what
    /// its device took in counts.
    fn counts(&mut self) -> Result<Option<Counts>>;
}
