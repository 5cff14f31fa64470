//! The columns of the mail log: one table, from which a [`Record`], its JSON, the schema of a
//! database, CSV, the console's views and the command line's tables are made.
//!
//! To add a column: write a row, and fill its field where the fact is known
//! (`io/smtp/events.rs` for sessions, `daemon/syns.rs` for dropped SYNs).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::codes::{Direction, Kind, Reason, Stage, Status};
use super::when;
use crate::policy::relay;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A number, in every record.
    Number,
    /// A code or an address, in every record.
    Code,
    /// A text, in some records.
    Text,
}

/// Where people see a column; it is in JSON and CSV in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// In all tables, and among the details of a record.
    Tables,
    /// In the console's table, and among the details.
    Console,
    /// In the command line's table, and among the details.
    CommandLine,
    /// Among the details.
    Details,
    /// Nowhere else.
    Nowhere,
}

/// A value in the form that a database keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// No value.
    Empty,
    /// A number.
    Number(u64),
    /// A text or a code.
    Text(Cow<'a, str>),
}

/// A column of the mail log.
#[derive(Debug)]
pub struct Column {
    /// Its name in JSON, CSV and databases.
    pub name: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// Where people see it.
    pub shown: Shown,
    /// What it holds.
    pub holds: ColumnType,
    cell: fn(&Record) -> Cell<'_>,
    set: fn(&mut Record, Cell<'_>) -> bool,
    text: fn(&Record) -> Option<&String>,
}

impl Column {
    /// A record's value.
    #[must_use]
    pub fn cell<'a>(&self, record: &'a Record) -> Cell<'a> {
        (self.cell)(record)
    }

    /// Sets a record's value; false if this is not a value of the column.
    #[must_use]
    pub fn set(&self, record: &mut Record, cell: Cell<'_>) -> bool {
        (self.set)(record, cell)
    }

    /// Whether the console's table has it.
    #[must_use]
    pub const fn is_in_console(&self) -> bool {
        matches!(self.shown, Shown::Tables | Shown::Console)
    }

    /// Whether the command line's table has it.
    #[must_use]
    pub const fn is_in_command_line(&self) -> bool {
        matches!(self.shown, Shown::Tables | Shown::CommandLine)
    }
}

/// What a field of a record can be.
trait Value: Sized {
    /// What its column holds.
    const HOLDS: ColumnType;
    /// What it is in a record without facts.
    const BLANK: Self;

    fn cell(&self) -> Cell<'_>;

    fn read(cell: Cell<'_>) -> Option<Self>;

    /// The text, if it holds one.
    fn text(&self) -> Option<&String> {
        None
    }
}

impl Value for u64 {
    const HOLDS: ColumnType = ColumnType::Number;
    const BLANK: Self = 0;

    fn cell(&self) -> Cell<'_> {
        Cell::Number(*self)
    }

    fn read(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Number(number) = cell { Some(number) } else { None }
    }
}

impl Value for Option<String> {
    const HOLDS: ColumnType = ColumnType::Text;
    const BLANK: Self = None;

    fn cell(&self) -> Cell<'_> {
        self.as_deref().map_or(Cell::Empty, |text| Cell::Text(text.into()))
    }

    fn read(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Empty => Some(None),
            Cell::Text(text) => Some(Some(text.into_owned())),
            Cell::Number(_) => None,
        }
    }

    fn text(&self) -> Option<&String> {
        self.as_ref()
    }
}

/// Values that have a code: how it is written and read.
macro_rules! codes {
    ($($type:ty, $blank:expr, $code:expr, $read:expr;)*) => {$(
        impl Value for $type {
            const HOLDS: ColumnType = ColumnType::Code;
            const BLANK: Self = $blank;

            fn cell(&self) -> Cell<'_> {
                let code: fn(&Self) -> Cow<'_, str> = $code;
                Cell::Text(code(self))
            }

            fn read(cell: Cell<'_>) -> Option<Self> {
                let read: fn(&str) -> Option<Self> = $read;
                if let Cell::Text(code) = cell { read(&code) } else { None }
            }
        }
    )*};
}

codes! {
    Kind, Kind::Blocked, |kind| kind.name().into(), Kind::read;
    Status, Status::Temporary, |status| status.name().into(), Status::read;
    Direction, Direction::Mail(relay::Direction::Inbound), |direction| direction.code().into(),
        |code| Some(Direction::read(code));
    Stage, Stage::PacketFilter, |stage| stage.code().into(), |code| Some(Stage::read(code));
    Reason, Reason::Accepted, |reason| reason.code().into(), |code| Some(Reason::read(code));
    IpAddr, IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.to_string().into(), |ip| ip.parse().ok();
}

macro_rules! columns {
    ($($(#[$meta:meta])* $field:ident: $type:ty, $name:literal, $label:literal, $shown:ident;)*) => {
        /// A decision with its facts: one recipient that a client attempted, or the SYNs of a
        /// source that were dropped for a reason within a minute.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Record {
            $($(#[$meta])* #[serde(rename = $name)] pub $field: $type,)*
            /// Whether it counts towards an entry of the same minute, client and reason, if
            /// there is one already. Not stored.
            #[serde(skip)]
            pub folds: bool,
        }

        /// The columns: the five of the view first.
        pub const COLUMNS: &[Column] = &[$(Column {
            name: $name,
            label: $label,
            shown: Shown::$shown,
            holds: <$type as Value>::HOLDS,
            cell: |record| Value::cell(&record.$field),
            set: |record, cell| match Value::read(cell) {
                Some(value) => {
                    record.$field = value;
                    true
                }
                None => false,
            },
            text: |record| Value::text(&record.$field),
        }),*];

        impl Record {
            /// A record in which nothing is filled in.
            #[must_use]
            pub const fn blank() -> Self {
                Self { $($field: <$type as Value>::BLANK,)* folds: false }
            }
        }
    };
}

// Field, what it holds, its name, its label, and where people see it.
columns! {
    /// When it was decided: milliseconds of the Unix epoch.
    #[serde(with = "when::rfc3339")]
    time: u64, "time", "Timestamp (UTC)", Tables;
    /// The envelope sender, empty for the null sender; none if there was no MAIL.
    sender: Option<String>, "sender", "Sender", Tables;
    /// The envelope recipient; none if there was no RCPT.
    recipient: Option<String>, "recipient", "Recipient", Tables;
    /// Why; `accepted` if nothing refused it.
    reason: Reason, "reason", "Reason", Tables;
    /// The client.
    ip: IpAddr, "ip", "Sender IP", Tables;
    /// The outcome.
    status: Status, "status", "Status", Details;
    /// Whether mxdp stopped it.
    kind: Kind, "type", "Type", Nowhere;
    /// Which way it went.
    direction: Direction, "direction", "Direction", Details;
    /// The stage that decided.
    stage: Stage, "stage", "Stage", Details;
    /// The client's country, ISO 3166-1 alpha-2.
    country: Option<String>, "country", "Country", Tables;
    /// The list entry that decided: file and line, or DNS list.
    rule: Option<String>, "rule", "Rule", Details;
    /// The reply as it was sent, or the backend's as it was passed on.
    reply: Option<String>, "reply", "Reply", Details;
    /// The name that the client gave itself.
    helo: Option<String>, "helo", "HELO", Details;
    /// Version of TLS and cipher.
    tls: Option<String>, "tls", "TLS", Details;
    /// The result of SPF.
    spf: Option<String>, "spf", "SPF", Details;
    /// The DNS lists that list the client.
    reputation: Option<String>, "reputation", "Reputation", Details;
    /// The bytes of the message, as far as it arrived.
    size: u64, "size", "Size", Details;
    /// The time from MAIL to the decision, in milliseconds.
    duration_ms: u64, "duration_ms", "Duration", Details;
    /// The session.
    session: Option<String>, "session", "Session", Details;
    /// The reference that the client was given.
    reference: Option<String>, "reference", "Reference", CommandLine;
    /// The customer whose host the client is, of outgoing mail.
    customer: Option<String>, "customer", "Customer", Details;
    /// The backend and its server.
    backend: Option<String>, "backend", "Backend", Details;
    /// Message-ID, without angle brackets.
    message_id: Option<String>, "message_id", "Message-ID", Details;
    /// The first address of From.
    from: Option<String>, "from", "From", Details;
    /// Subject, decoded.
    subject: Option<String>, "subject", "Subject", Console;
    /// How many SYNs, estimated if events are sampled; or how many attempts were folded into
    /// one entry (`folding`).
    count: u64, "count", "Count", CommandLine;
}

impl Record {
    /// Its texts: what strangers choose the length of.
    pub(super) fn texts(&self) -> impl Iterator<Item = &String> {
        COLUMNS.iter().filter_map(|column| (column.text)(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with another value in each column.
    fn filled() -> Record {
        let mut record = Record::blank();
        for (column, number) in COLUMNS.iter().zip(1..) {
            let text = match column.name {
                "ip" => "2001:db8::1",
                "status" => "delivered",
                "type" => "accepted",
                name => name,
            };
            let cell = match column.holds {
                ColumnType::Number => Cell::Number(number),
                ColumnType::Code | ColumnType::Text => Cell::Text(text.into()),
            };
            assert!(column.set(&mut record, cell.clone()), "{}", column.name);
            assert_eq!(column.cell(&record), cell, "{}", column.name);
        }
        record
    }

    #[test]
    fn every_column_is_a_field_of_the_json() {
        let record = filled();
        let json = serde_json::to_value(&record).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
        columns.sort_unstable();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(names, columns);
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
    }

    #[test]
    fn a_value_of_another_kind_is_not_taken() {
        let mut record = Record::blank();
        for column in COLUMNS {
            let other = match column.holds {
                ColumnType::Number => Cell::Text("1".into()),
                ColumnType::Code | ColumnType::Text => Cell::Number(1),
            };
            assert!(!column.set(&mut record, other), "{}", column.name);
            let may_be_empty = column.holds == ColumnType::Text;
            assert_eq!(column.set(&mut record, Cell::Empty), may_be_empty, "{}", column.name);
        }
        for name in ["ip", "status", "type"] {
            let column = COLUMNS.iter().find(|column| column.name == name).unwrap();
            assert!(!column.set(&mut record, Cell::Text("x".into())), "{name}");
        }
        assert_eq!(record, Record::blank());
    }

    #[test]
    fn all_texts_count() {
        let record = filled();
        let texts = COLUMNS.iter().filter(|column| column.holds == ColumnType::Text);
        assert!(record.texts().map(String::as_str).eq(texts.map(|column| column.name)));
    }
}
