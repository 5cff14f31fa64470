//! The configuration: from the text of a TOML file to values that are right.
//!
//! The file is checked as a whole before anything is touched: every error at
//! once, each with file, line, column and key. Pure: the text comes in, and the
//! files that it names are not opened here.
//!
//! Each section has a file in `keys`. It reads its keys with the readers in `values` and the
//! walker in `section`, neither of which knows a key. `read` puts the sections together.

mod conflicts;
mod doubts;
mod error;
pub mod flat;
mod keys;
pub mod named;
mod names;
mod read;
pub mod reference;
mod section;
pub mod smtp;
mod startup;
mod syntax;
#[cfg(test)]
mod tests;
pub mod units;
mod values;
mod warnings;
mod whole;

pub use doubts::{Doubts, Surroundings};
pub use error::{ConfigError, ConfigErrors};
pub use keys::control::Control;
pub use keys::countries::{Countries, CountrySource};
pub use keys::dns::Dns;
pub use keys::filter::{DEFAULT_PIN, Engine, Filter, FilterStartup, KernelLog, Mode};
pub use keys::limits::Limits;
pub use keys::lists::{InlineEntry, ListSource, SpfDomain};
pub use keys::log::{Format, Level, Log};
pub use keys::reload::Reload;
pub use keys::state::State;
pub use keys::syn_rate::{SynRateStartup, SynRates};
pub use keys::temporary::Temporary;
pub use keys::{record, web};
pub use read::{parse, parse_all, parse_bytes};
pub use startup::Startup;
pub use whole::Config;

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/mxdp/mxdp.toml";
