//! Where lists come from, beside files.

use tokio::sync::watch;

/// Where lists come from: what is asked or watched for them, and may fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The SPF record of an approved domain.
    Spf(String),
    /// An LDAP directory of recipients, by its name.
    Directory(String),
    /// The watch over the operator's own files.
    Files,
}

/// Tells a follower what is wanted, where that is news.
pub(super) fn tell<T: PartialEq>(follower: &watch::Sender<T>, wanted: T) {
    follower.send_if_modified(|old| {
        let changed = *old != wanted;
        *old = wanted;
        changed
    });
}
