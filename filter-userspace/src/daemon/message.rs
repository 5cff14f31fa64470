//! What the daemon's thread is told.

use filter_common::abi::Event;

use crate::control::server::Incoming;
use crate::generation::build::Built;
use crate::io::smtp::Block;

/// What the thread is told.
pub(super) enum Message {
    /// An operator's request.
    Request(Incoming),
    /// Files changed, or a signal asked for it.
    Reload(&'static str),
    /// A reload was built, or could not be.
    Built(Box<Result<Built, Vec<String>>>),
    /// Sampled events.
    Events(Vec<Event>),
    /// SMTP asks for a temporary block.
    Block(Block),
    /// The result of polling a source of lists: why it failed, if it did.
    SourceChecked(Origin, Option<String>),
    /// A second has passed.
    Tick,
    /// The daemon is to end.
    Stop(&'static str),
}

/// A source of lists: what is queried or watched for them, and may fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The SPF record of an approved domain.
    Spf(String),
    /// An LDAP directory of recipients, by its name.
    Directory(String),
    /// The watch over the operator's own files.
    Files,
}
