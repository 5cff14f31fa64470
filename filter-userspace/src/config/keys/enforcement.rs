//! `[enforcement]`: what each class that blocks does to a SYN.

use filter_common::Enforcement;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::lists::EnforcementTable;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "What happens to a SYN",
    sections: &["enforcement"],
    before: "",
    after: "`drop` ends the SYN in the kernel. `reject` admits it, and SMTP answers 550 to each\n\
             recipient, so that the mail log has sender and recipient; without `[listen]` nothing\n\
             answers, and `mxdp check` warns of it. `monitor` only counts; checking goes on with the\n\
             next class.",
};

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("enforcement");

keys! {
    /// What happens to SYNs of addresses on a blocked list
    live BLOCKED_IP = "blocked_ip";
    /// What happens to SYNs of addresses in a blocked country
    live BLOCKED_COUNTRY = "blocked_country";
    /// What happens to SYNs of addresses on a known spam source feed
    live KNOWN_SPAM_SOURCE = "known_spam_source";
}

/// Reads `[enforcement]`.
pub(in crate::config) fn read(section: Section<'_>) -> EnforcementTable {
    let choices = [Enforcement::Drop, Enforcement::Reject, Enforcement::Monitor]
        .map(|enforcement| (enforcement.name(), enforcement));
    let table = EnforcementTable {
        blocked_ip: section.choice(BLOCKED_IP, &choices, Enforcement::Drop),
        blocked_country: section.choice(BLOCKED_COUNTRY, &choices, Enforcement::Drop),
        known_spam_source: section.choice(KNOWN_SPAM_SOURCE, &choices, Enforcement::Reject),
    };
    section.finish();
    table
}
