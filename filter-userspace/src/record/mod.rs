//! The record: what became of every recipient and of dropped SYNs, as it is kept
//! and searched.
//!
//! Pure: a [`Record`] is a decision with its facts, a [`Query`] says which records
//! are wanted ([`Query::matches`] is what it means, for every store), [`export`]
//! writes them for spreadsheets and scripts. Where they are kept is `store`'s.

pub mod export;
pub mod folding;
mod pattern;
mod query;
mod summary;
pub mod terms;
pub mod when;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use pattern::Pattern;
pub use query::{BadQuery, Cursor, NAMES as PARTS, PAGE_LIMIT, Query};
pub use query::{direction_names, reason_names, stage_names, status_names};
pub use summary::{Counted, Country, Decided, Source, Summary};

/// What is kept of a decision: one recipient that a client attempted, or the SYNs of
/// a source that were dropped for a reason within a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was decided: milliseconds of the Unix epoch.
    #[serde(with = "when::rfc3339")]
    pub time: u64,
    /// Whether mxdp stopped it.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// `inbound` or `outgoing`.
    pub direction: String,
    /// What became of it.
    pub status: Status,
    /// Why; `accepted` where nothing refused it.
    pub reason: String,
    /// The stage that decided; `syn` is the packet filter.
    pub stage: String,
    /// The client.
    pub ip: IpAddr,
    /// Its country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The envelope sender, empty for the null sender; none where there was no MAIL.
    pub sender: Option<String>,
    /// The envelope recipient; none where there was no RCPT.
    pub recipient: Option<String>,
    /// What decided: file and line, or DNS list.
    pub rule: Option<String>,
    /// The reply as it was sent, or the backend's as it was passed on.
    pub reply: Option<String>,
    /// What the client called itself.
    pub helo: Option<String>,
    /// Version of TLS and cipher.
    pub tls: Option<String>,
    /// The DNS lists that have the client.
    pub reputation: Option<String>,
    /// The result of SPF.
    pub spf: Option<String>,
    /// The octets of the message, as far as it came.
    pub size: u64,
    /// From MAIL to the decision.
    pub duration_ms: u64,
    /// The session.
    pub session: Option<String>,
    /// What the client was told to refer to.
    pub reference: Option<String>,
    /// Whose host the client is, of what goes out.
    pub customer: Option<String>,
    /// The backend and its server.
    pub backend: Option<String>,
    /// Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// The first address of From.
    pub from: Option<String>,
    /// Subject, decoded.
    pub subject: Option<String>,
    /// How many SYNs; an estimate where events are sampled. Recipients are one each, but
    /// for those that are folded into one entry ([`folding`]).
    pub count: u64,
    /// Whether it counts towards an entry of the same minute, client and reason, where
    /// there is one already. Not kept.
    #[serde(skip)]
    pub folds: bool,
}

/// What one customer of a provider is given (RFC 6177 section 2): an IPv4 address, or an IPv6
/// /48.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    }
}

/// Under which address entries stand that are of everybody: `0.0.0.0`, or `::`.
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
    pub fn new(time: u64, ip: IpAddr, status: Status, stage: &str, reason: &str) -> Self {
        Self {
            time,
            kind: Kind::of(status, reason),
            direction: "inbound".to_owned(),
            status,
            reason: reason.to_owned(),
            stage: stage.to_owned(),
            ip,
            country: None,
            sender: None,
            recipient: None,
            rule: None,
            reply: None,
            helo: None,
            tls: None,
            reputation: None,
            spf: None,
            size: 0,
            duration_ms: 0,
            session: None,
            reference: None,
            customer: None,
            backend: None,
            message_id: None,
            from: None,
            subject: None,
            count: 1,
            folds: false,
        }
    }

    /// How many attempts are folded into it, where they are many.
    #[must_use]
    pub fn folded(&self) -> Option<u64> {
        (self.status != Status::Dropped && self.count > 1).then_some(self.count)
    }

    /// Whether it is one of many that a record counts.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.status == Status::Dropped || self.folds
    }

    /// Whose share of the room for entries it takes: that of an IPv4 address or an IPv6 /48,
    /// which is what one customer of a provider is given (RFC 6177 section 2). Entries that
    /// are counted are few, and take nobody's.
    #[must_use]
    pub fn owner(&self) -> Option<IpAddr> {
        (!self.is_counted()).then(|| site(self.ip))
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let texts = [
            &self.country,
            &self.sender,
            &self.recipient,
            &self.rule,
            &self.reply,
            &self.helo,
            &self.tls,
            &self.reputation,
            &self.spf,
            &self.session,
            &self.reference,
            &self.customer,
            &self.backend,
            &self.message_id,
            &self.from,
            &self.subject,
        ];
        let text = |text: &String| text.capacity() + 16;
        let texts: usize = texts.into_iter().flatten().map(text).sum();
        let named = [&self.direction, &self.reason, &self.stage].map(text).iter().sum::<usize>();
        (size_of::<Self>() + texts + named) as u64
    }

    /// The status as people read it.
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

fn is_size_limit(reason: &str) -> bool {
    use crate::smtp::refusal::Reason;
    reason == Reason::DeclaredSize.name() || reason == Reason::TooLarge.name()
}

/// A record in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its place: newer records have greater ones.
    #[serde(with = "query::cursor_text")]
    pub id: Cursor,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

/// Records that were found, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The records.
    pub records: Vec<Stored>,
    /// Where the next page begins; none where there is nothing more.
    #[serde(with = "query::cursor_option")]
    pub next: Option<Cursor>,
    /// Whether records may be missing: the search stopped before the page was full because
    /// it had looked at as many records as one search may, and `next` goes on; or files could
    /// not be read, which `skipped` names.
    pub partial: bool,
    /// What of the mail log could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// Changes that operators made, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The changes.
    pub changes: Vec<Change>,
    /// What of the audit trail could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// What an operator changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When: milliseconds of the Unix epoch.
    #[serde(with = "when::rfc3339")]
    pub time: u64,
    /// Who: a user of the control socket, or a token of the interface.
    pub who: String,
    /// What was asked for.
    pub what: String,
    /// `done`, or why not.
    pub outcome: String,
}

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
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Accepted => "accepted",
        }
    }

    fn of(status: Status, reason: &str) -> Self {
        let by_backend = reason == crate::smtp::refusal::Reason::BackendRefused.name();
        if status == Status::Delivered || by_backend { Self::Accepted } else { Self::Blocked }
    }
}

/// What became of an attempt, as the client was told.
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

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Permanent => "permanent",
            Self::Dropped => "dropped",
            Self::Delivered => "delivered",
        }
    }
}
