//! Pages of records that a search found, and of changes that operators made.

use serde::{Deserialize, Serialize};

use super::columns::Record;
use super::when;

/// The place of a record in its store; newer records have greater ones.
pub type Cursor = u64;

/// A record in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its place: newer records have greater ones.
    #[serde(with = "cursor_text")]
    pub id: Cursor,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

/// Records that a search found, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The records.
    pub records: Vec<Stored>,
    /// Where the next page begins; none if there is nothing more.
    #[serde(with = "cursor_option")]
    pub next: Option<Cursor>,
    /// Whether records may be missing: the search stopped before the page was full because
    /// it had read as many records as one search may, and `next` continues it; or files could
    /// not be read, which `skipped` names.
    pub partial: bool,
    /// The parts of the mail log that could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// Changes that operators made, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The changes.
    pub changes: Vec<Change>,
    /// The parts of the audit trail that could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// What an operator changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When: milliseconds of the Unix epoch.
    #[serde(with = "when::rfc3339")]
    pub time: u64,
    /// Who: a user of the control socket, or a token of the API.
    pub who: String,
    /// The request.
    pub what: String,
    /// `done`, or why not.
    pub outcome: String,
}

/// Cursors in JSON are text: JavaScript's numbers have 53 bits.
mod cursor_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        cursor: &super::Cursor,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(cursor)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<super::Cursor, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod cursor_option {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        cursor: &Option<super::Cursor>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match cursor {
            Some(cursor) => to.collect_str(cursor),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<super::Cursor>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
