//! mxdp: the first thing an SMTP sender meets on a mail edge host.

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod detach;
pub mod dns;
pub mod generation;
pub mod io;
pub mod lists;
pub mod log;
pub mod offline;
pub mod policy;
pub mod record;
pub mod runtime;
pub mod smtp;
pub mod spf;
pub mod store;
pub mod text;
pub mod web;
