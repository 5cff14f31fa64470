//! What the fuzz targets do with bytes.
//!
//! Each function panics where something is found. [`TARGETS`] has them all;
//! `tests/fuzz` has a program for each, `tests/fuzz/corpus` bytes to begin with, and
//! `tests/fuzz/regressions` what was found once. `cargo xtask fuzz` runs them guided
//! by coverage; `tests/tests/fuzz.rs` with the committed and with random bytes.

mod config;
mod dns;
mod frames;
mod kernel;
mod lists;
mod proxy;
mod query;
mod smtp;
mod smtp_model;
mod spf;

pub use config::config;
pub use dns::dns_answers;
pub use frames::frames;
pub use kernel::kernel_events;
pub use lists::{list_files, mmdb, ranges};
pub use proxy::proxy_header;
pub use query::api_query;
pub use smtp::{smtp_data, smtp_session, smtp_words};
pub use smtp_model::smtp_model;
pub use spf::spf_record;

/// A target's name and its work.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 14] = [
    ("api_query", api_query),
    ("config", config),
    ("dns_answers", dns_answers),
    ("frames", frames),
    ("kernel_events", kernel_events),
    ("list_files", list_files),
    ("mmdb", mmdb),
    ("proxy_header", proxy_header),
    ("ranges", ranges),
    ("smtp_data", smtp_data),
    ("smtp_model", smtp_model),
    ("smtp_session", smtp_session),
    ("smtp_words", smtp_words),
    ("spf_record", spf_record),
];
