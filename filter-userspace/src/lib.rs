//! mxdp: the first thing an SMTP sender meets on a mail edge host.

pub mod config;
pub mod control;
pub mod io;
pub mod lists;
