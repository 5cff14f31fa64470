//! A record: how it begins, whose it is, and how much room it takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::codes::{Kind, Reason, Stage, Status};
use super::columns::Record;
use crate::lists::ClientNetwork;
use crate::smtp::refusal;

/// The part of an IPv6 address that one customer of a provider is given, a /48 (RFC 6177
/// section 2), or a whole IPv4 address.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    let network = ClientNetwork::of(address);
    network.site().map_or(network.first(), IpAddr::V6)
}

/// The address of entries that stand for everybody: `0.0.0.0`, or `::`.
#[must_use]
pub const fn everybody(one: IpAddr) -> IpAddr {
    match one {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

impl Record {
    /// A record without its facts.
    #[must_use]
    pub fn new(
        time: u64,
        ip: IpAddr,
        status: Status,
        stage: impl Into<Stage>,
        reason: impl Into<Reason>,
    ) -> Self {
        let (stage, reason) = (stage.into(), reason.into());
        let kind = kind(status, &reason);
        Self { time, kind, status, reason, stage, ip, count: 1, ..Self::blank() }
    }

    /// How many attempts are folded into it, if there are several.
    #[must_use]
    pub fn folded(&self) -> Option<u64> {
        (self.status != Status::Dropped && self.count > 1).then_some(self.count)
    }

    /// Whether it is one of many that a record counts.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.status == Status::Dropped || self.folds
    }

    /// The address or site whose share of the queue it takes ([`site`]). Entries that are
    /// counted are few, and take nobody's.
    #[must_use]
    pub fn owner(&self) -> Option<IpAddr> {
        (!self.is_counted()).then(|| site(self.ip))
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let texts: usize = self.texts().map(|text| text.capacity() + 16).sum();
        (size_of::<Self>() + texts) as u64
    }

    /// The status for people.
    #[must_use]
    pub fn status_text(&self) -> &'static str {
        match (self.status, self.kind) {
            (Status::Delivered, _) => "Delivered",
            (Status::Dropped, _) => "Dropped before SMTP",
            _ if is_size_limit(&self.reason) => "Size limit",
            (Status::Temporary, Kind::Blocked) => "Temporary",
            (Status::Permanent, Kind::Blocked) => "Permanent",
            (Status::Temporary, Kind::Accepted) => "Rejected by backend (temporary)",
            (Status::Permanent, Kind::Accepted) => "Rejected by backend (permanent)",
        }
    }
}

fn kind(status: Status, reason: &Reason) -> Kind {
    let by_backend = *reason == refusal::Reason::BackendRefused.into();
    if status == Status::Delivered || by_backend { Kind::Accepted } else { Kind::Blocked }
}

const fn is_size_limit(reason: &Reason) -> bool {
    use refusal::Reason::{DeclaredSize, TooLarge};
    matches!(reason, Reason::Refused(DeclaredSize | TooLarge))
}
