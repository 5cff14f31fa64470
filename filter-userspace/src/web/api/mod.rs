//! The API for scripts: each handler reads a request ([`asked`]), sends a question to the
//! daemon and returns its typed reply ([`answer`]).

pub(super) mod answer;
pub(super) mod asked;
pub(super) mod entries;
pub(super) mod export;
pub(super) mod log;
pub(super) mod state;
