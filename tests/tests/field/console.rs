//! The command line, the console and the API.

mod access;
mod lists;
