//! mxdp: the first thing an SMTP sender meets on a mail edge host.

pub mod cli;
pub mod control;
pub mod daemon;
pub mod detach;
pub mod io {
    //! The edges to the outside.
    pub mod runtime_file;
}
pub mod lists;
pub mod offline;
pub mod runtime;
