//! `[escalation]`: which offences block an address, and for how long.

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::units;
use crate::config::values::read_seconds;
use crate::policy::escalation::{Escalation, Threshold};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "Escalation",
    sections: &["escalation"],
    before: "An offence is what a client did in a session. So many of a kind within a window block the\n\
             address (IPv6: the /64) in the kernel, each time for twice as long. An approved address is\n\
             never blocked, nor is an address of this host, of a backend, of a customer or in\n\
             `listen.proxy_networks`, and one that a list rejects need not be. `mxdp temp list` shows the\n\
             blocks.\n\
             \n\
             A message that the mail system accepts resets all counts of its client. Recipients that do\n\
             not exist are judged by their share: a client that delivered mail within\n\
             `escalation.memory` is never dropped for them, nor for relay attempts or too many\n\
             connections. If it guesses, its recipients are answered 450 4.7.1 for `escalation.first`\n\
             seconds. Bounces (the null sender) are never counted against a client; more than ten times\n\
             `escalation.dictionary.count` of them to recipients that do not exist are answered 450 for\n\
             as long. Where several backends serve the domains, what one of them alone says of recipients is\n\
             held against a client in its own domains only, by 450; two that say the same, or the lists of\n\
             recipients here, are believed for all. A temporary refusal, a refusal of the sender or of the\n\
             message, a full mailbox and too many errors in a session are not offences.",
    after: "",
};

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("escalation");

const REPUTATION: Key = Key::table("reputation");
const DICTIONARY: Key = Key::table("dictionary");
const RELAY: Key = Key::table("relay");
const EARLY_TALKER: Key = Key::table("early_talker");
const ABUSE: Key = Key::table("abuse");
const FLOOD: Key = Key::table("flood");

keys! {
    /// Length of the first block of an address
    live FIRST = "first";
    /// Length of the longest block; each is twice as long as the one before
    live LONGEST = "longest";
    /// How long a block is remembered after its end, restarts included, and how long a
    /// delivered message counts in its client's favour
    live MEMORY = "memory";
    /// Messages refused because of DNS lists. 0 means never: a list may name a provider that
    /// many share
    live REPUTATION_COUNT = "count";
    /// Recipients that do not exist, since the last accepted message of the client. Four times
    /// as many count whatever was accepted in between
    live DICTIONARY_COUNT = "count";
    /// Recipients of domains that are not served here, and recipients that a host of no
    /// customer wants to send to through the relay
    live RELAY_COUNT = "count";
    /// Sessions whose client spoke before the greeting
    live EARLY_TALKER_COUNT = "count";
    /// Breaches of the protocol: commands with bare line ends or NUL, commands in an
    /// unauthorised pipeline
    live ABUSE_COUNT = "count";
    /// Connections over `smtp.connections_per_address`
    live FLOOD_COUNT = "count";
    /// The share of recipients that do not exist, in percent, from which on they count
    live SHARE = "share";
    /// Length of the counting window
    live WINDOW = "window";
}

/// Reads `[escalation]`.
pub(in crate::config) fn read(section: Section<'_>) -> Escalation {
    let first = read_seconds(&section, FIRST, 300);
    let longest = read_seconds(&section, LONGEST, 43_200);
    let memory = read_seconds(&section, MEMORY, 86_400);
    let (dictionary, dictionary_share) = read_dictionary(section.section(DICTIONARY));
    let escalation = Escalation {
        reputation: read_threshold(&section, [REPUTATION, REPUTATION_COUNT], 0, 600),
        dictionary,
        dictionary_share,
        relay: read_threshold(&section, [RELAY, RELAY_COUNT], 100, 600),
        early_talker: read_threshold(&section, [EARLY_TALKER, EARLY_TALKER_COUNT], 3, 600),
        abuse: read_threshold(&section, [ABUSE, ABUSE_COUNT], 10, 600),
        flood: read_threshold(&section, [FLOOD, FLOOD_COUNT], 100, 60),
        first,
        longest,
        memory,
    };
    if escalation.first > escalation.longest {
        let first =
            units::show_milliseconds(u64::try_from(escalation.first.as_millis()).unwrap_or(0));
        section.wrong(LONGEST, format!("is shorter than the first block ({first})"));
    }
    section.finish();
    escalation
}

fn read_threshold(
    section: &Section<'_>,
    [table, key]: [Key; 2],
    count: u32,
    window: u64,
) -> Threshold {
    let section = section.section(table);
    let threshold = read_count(&section, key, count, window);
    section.finish();
    threshold
}

/// Recipients that do not exist: how many, and which share of all.
fn read_dictionary(section: Section<'_>) -> (Threshold, u32) {
    let threshold = read_count(&section, DICTIONARY_COUNT, 100, 600);
    let share = section.integer(SHARE, 1..=100, 80);
    section.finish();
    (threshold, share)
}

fn read_count(section: &Section<'_>, key: Key, count: u32, window: u64) -> Threshold {
    Threshold {
        count: section.integer(key, 0..=1_000_000, count),
        window: read_seconds(section, WINDOW, window),
    }
}
