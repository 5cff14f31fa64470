//! Lists: what an address is, from the bytes of files to the verdict table.
//!
//! In come the bytes of list files and country databases; out go the verdict
//! table that the kernel is given ([`compile()`]) and the answer to "which line
//! says so?" ([`ListSet::classify`]). Pure: no file, no clock, no socket is
//! touched here.
//!
//! May import: `filter-common`, `ipnet`, `maxminddb`, `memchr`, `serde_json`.

mod answer;
mod bad_lines;
mod bogons;
mod client_network;
mod compile;
mod country;
mod country_code;
mod country_database;
mod country_error;
mod country_file;
mod embedded;
mod enforcement;
mod file;
mod formats;
mod hazards;
mod invisible;
mod nets;
mod notes;
mod options;
mod parse;
mod place;
mod prefix;
mod protected;
pub mod ranges;
mod remarks;
mod set;

pub use answer::Answer;
pub(crate) use bad_lines::Why;
pub use bad_lines::{BadLine, BadLines};
pub use client_network::ClientNetwork;
pub use compile::{Compiled, Conflicts, Lists, Table, compile};
pub use country::{Countries, CountryLimits};
pub use country_code::{CountryCode, CountryCodeError};
pub use country_error::CountryError;
pub use country_file::country_of_file;
pub use enforcement::EnforcementTable;
pub(crate) use file::{file_lines, not_text, without_mark};
pub use hazards::{country_hazards, hazards, wide_approval, wide_approvals};
pub(crate) use invisible::invisible;
pub use options::{OnBadLine, ParseOptions, Purpose};
pub use parse::{ParseError, ParsedList, parse};
pub use place::Place;
pub use prefix::normalise;
pub use protected::{Holder, Protected, breadth, is_too_short};
pub(crate) use remarks::{says_pass, says_refuse};
pub use set::{Classification, CountryPolicy, ListSet, LoadedFile, Match, UnknownCountry};
