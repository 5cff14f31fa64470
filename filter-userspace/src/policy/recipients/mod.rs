//! Which recipients exist, by domain.
//!
//! An [`Import`] is what a file or a directory says; [`RecipientSet::import`]
//! replaces all recipients of each domain in it, so that a deleted mailbox
//! vanishes with the next import and the domains of other sources stay.

mod directory;
mod formats;
mod import;
mod locals;
mod one;
mod reader;
mod set;
mod values;

pub use directory::{address_of, from_kept, to_kept};
pub use formats::{Format, format_of, parse};
pub use import::{Import, ImportError, ImportOptions};
pub use set::{Found, RecipientSet};
