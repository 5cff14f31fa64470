//! The closed sets of a record: type, status, direction, stage and reason.
//!
//! Each has a code in JSON, CSV, databases and searches. Direction, stage and reason belong to
//! the policy, the packet filter and the table of refusals; a code that none of them knows was
//! written by another version of mxdp and is kept as it is (`Other`).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use filter_common::{Disposition, Reason as FrameReason};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::policy::relay;
use crate::smtp::refusal;

/// Which of the two views a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// mxdp stopped it.
    Blocked,
    /// mxdp let it pass to the backend, which may have rejected it.
    Accepted,
}

impl Kind {
    /// Both types.
    pub const ALL: [Self; 2] = [Self::Blocked, Self::Accepted];

    /// Its code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Accepted => "accepted",
        }
    }

    /// The type with a code.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == code)
    }
}

/// The outcome of an attempt, as the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// 4xx, or the connection ended before there was a reply.
    Temporary,
    /// 5xx.
    Permanent,
    /// The SYN was dropped, before SMTP.
    Dropped,
    /// The backend has it.
    Delivered,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Temporary, Self::Permanent, Self::Dropped, Self::Delivered];

    /// Its code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Permanent => "permanent",
            Self::Dropped => "dropped",
            Self::Delivered => "delivered",
        }
    }

    /// The status with a code.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == code)
    }
}

/// Which way a message goes.
#[derive(Clone, Debug)]
pub enum Direction {
    /// A direction of the policy.
    Mail(relay::Direction),
    /// A code of another version.
    Other(Box<str>),
}

impl Direction {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Mail(direction) => direction.name(),
            Self::Other(code) => code,
        }
    }

    /// The known codes.
    pub(super) fn codes() -> impl Iterator<Item = &'static str> {
        DIRECTIONS.into_iter().map(relay::Direction::name)
    }

    /// The direction with a code.
    #[must_use]
    pub fn read(code: &str) -> Self {
        let known = DIRECTIONS.into_iter().find(|known| known.name() == code);
        known.map_or_else(|| Self::Other(code.into()), Self::Mail)
    }
}

/// The directions of the policy.
const DIRECTIONS: [relay::Direction; 2] = [relay::Direction::Inbound, relay::Direction::Outgoing];

impl From<relay::Direction> for Direction {
    fn from(direction: relay::Direction) -> Self {
        Self::Mail(direction)
    }
}

/// The code of the packet filter's stage.
const PACKET_FILTER: &str = "syn";

/// The stage that decided.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The packet filter, before SMTP.
    PacketFilter,
    /// A stage of a session.
    Session(refusal::Stage),
    /// A code of another version.
    Other(Box<str>),
}

impl Stage {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::PacketFilter => PACKET_FILTER,
            Self::Session(stage) => stage.name(),
            Self::Other(code) => code,
        }
    }

    /// The stage with a code.
    #[must_use]
    pub fn read(code: &str) -> Self {
        let session = refusal::Stage::ALL.into_iter().find(|known| known.name() == code);
        match session {
            _ if code == PACKET_FILTER => Self::PacketFilter,
            Some(stage) => Self::Session(stage),
            None => Self::Other(code.into()),
        }
    }

    /// The known codes, in the order in which the stages decide.
    pub(super) fn codes() -> impl Iterator<Item = &'static str> {
        std::iter::once(PACKET_FILTER).chain(refusal::Stage::ALL.into_iter().map(|one| one.name()))
    }
}

impl From<refusal::Stage> for Stage {
    fn from(stage: refusal::Stage) -> Self {
        Self::Session(stage)
    }
}

/// The code of what nothing refused.
const ACCEPTED: &str = "accepted";

/// Why something was decided. Two reasons with the same code are equal: what the packet filter
/// drops and what SMTP refuses is often on the same list, and the stage tells them apart.
#[derive(Clone, Debug)]
pub enum Reason {
    /// Nothing refused it.
    Accepted,
    /// A refusal of a session.
    Refused(refusal::Reason),
    /// A verdict of the packet filter.
    Frame(FrameReason),
    /// A code of another version.
    Other(Box<str>),
}

impl Reason {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Accepted => ACCEPTED,
            Self::Refused(reason) => reason.name(),
            Self::Frame(reason) => reason.name(),
            Self::Other(code) => code,
        }
    }

    /// The reason with a code.
    #[must_use]
    pub fn read(code: &str) -> Self {
        let refused = refusal::Reason::ALL.iter().find(|known| known.name() == code);
        let frame = || FrameReason::ALL.into_iter().find(|known| known.name() == code);
        match refused {
            _ if code == ACCEPTED => Self::Accepted,
            Some(reason) => Self::Refused(*reason),
            None => frame().map_or_else(|| Self::Other(code.into()), Self::Frame),
        }
    }

    /// The known codes that a record can have, sorted; each once.
    pub(super) fn codes() -> Vec<&'static str> {
        let is_drop = |reason: &FrameReason| reason.disposition() == Disposition::Drop;
        let frames = FrameReason::ALL.into_iter().filter(is_drop).map(|reason| reason.name());
        let refused = refusal::Reason::ALL.iter().map(|reason| reason.name());
        let mut codes: Vec<_> = frames.chain(refused).chain([ACCEPTED]).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

impl From<refusal::Reason> for Reason {
    fn from(reason: refusal::Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<FrameReason> for Reason {
    fn from(reason: FrameReason) -> Self {
        Self::Frame(reason)
    }
}

/// Compares, shows, writes and reads a set by its codes.
macro_rules! by_code {
    ($($set:ident)*) => {$(
        impl PartialEq for $set {
            fn eq(&self, other: &Self) -> bool {
                self.code() == other.code()
            }
        }

        impl Eq for $set {}

        impl PartialOrd for $set {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $set {
            fn cmp(&self, other: &Self) -> Ordering {
                self.code().cmp(other.code())
            }
        }

        impl Hash for $set {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.code().hash(state);
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.code())
            }
        }

        impl Serialize for $set {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.code())
            }
        }

        impl<'de> Deserialize<'de> for $set {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self::read(&String::deserialize(from)?))
            }
        }
    )*};
}

by_code! { Direction Stage Reason }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_what_wrote_it() {
        for code in Reason::codes() {
            let reason = Reason::read(code);
            assert!(reason.code() == code && !matches!(reason, Reason::Other(_)), "{code}");
        }
        for reason in FrameReason::ALL {
            assert_eq!(Reason::read(reason.name()), reason.into());
        }
        for code in Stage::codes() {
            let stage = Stage::read(code);
            assert!(stage.code() == code && !matches!(stage, Stage::Other(_)), "{code}");
        }
        for code in Direction::codes() {
            let direction = Direction::read(code);
            assert!(direction.code() == code && matches!(direction, Direction::Mail(_)), "{code}");
        }
    }

    #[test]
    fn a_code_of_another_version_stays_what_it_is() {
        for code in ["greylisted", "", "Accepted", "ü"] {
            let json = serde_json::to_string(code).unwrap();
            let reason: Reason = serde_json::from_str(&json).unwrap();
            assert!(matches!(&reason, Reason::Other(other) if **other == *code));
            assert_eq!(serde_json::to_string(&reason).unwrap(), json);
            assert_eq!((Stage::read(code).code(), Direction::read(code).code()), (code, code));
        }
    }

    #[test]
    fn a_reason_of_filter_and_session_is_one() {
        let (frame, refused) = (FrameReason::BlockedIp, refusal::Reason::BlockedIp);
        assert_eq!(Reason::from(frame), Reason::from(refused));
        let codes = Reason::codes();
        assert!(codes.is_sorted_by(|a, b| a < b) && codes.contains(&"accepted"), "{codes:?}");
    }
}
