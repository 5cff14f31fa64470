//! Which sources a round has.

use std::fmt;

/// Where sources come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Random,
    Listed,
    Beside,
    One,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Random, Self::Listed, Self::Beside, Self::One];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Listed => "listed",
            Self::Beside => "beside",
            Self::One => "one",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Random => "uniformly random sources",
            Self::Listed => "listed sources",
            Self::Beside => "sources beside listed ones",
            Self::One => "one listed source",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
