//! Log entries: the outcome for every recipient and for dropped SYNs, as it is kept and
//! searched.
//!
//! Pure: a [`Record`] is a decision with its facts, and [`COLUMNS`] is the one table of them;
//! a [`Query`] says which records are wanted ([`Query::matches`] is what it means, for every
//! store); [`export`] writes them for spreadsheets and scripts. `store` keeps them.

mod codes;
mod columns;
mod entry;
pub mod export;
pub mod folding;
mod page;
mod pattern;
mod query;
mod shown;
mod summary;
pub mod terms;
pub mod when;

pub use self::codes::{Direction, Kind, Reason, Stage, Status};
pub use self::columns::{COLUMNS, Cell, Column, ColumnType, Record, Shown};
pub use self::entry::{everybody, site};
pub use self::page::{Change, Changes, Cursor, Page, Stored};
pub use self::pattern::Pattern;
pub use self::query::{BadQuery, NAMES as PARTS, PAGE_LIMIT, Query};
pub use self::query::{direction_names, reason_names, stage_names, status_names};
pub use self::shown::details;
pub use self::summary::{Counted, Country, Decided, Source, Summary};
