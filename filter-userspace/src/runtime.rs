//! Runtime entries: addresses that operators approve or block while the daemon
//! runs, beside the list files.
//!
//! A pure value, to which the time is an argument; [`crate::io::runtime_file`] keeps it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use filter_common::Class;
use filter_common::abi::Managed;
use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::lists::{Classification, Match, Place, is_too_short, normalise};
use crate::text;

/// The most entries of both lists together. What is longer belongs in a file.
pub const ENTRY_LIMIT: usize = 100_000;

/// The longest note, in characters.
pub const NOTE_LIMIT: usize = 200;

/// The longest time an entry may be given, in seconds: a hundred years.
pub const LONGEST_S: u64 = 100 * 365 * 86_400;

/// The version of the JSON form.
const VERSION: u32 = 1;

/// A list that is changed while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeList {
    /// Approved addresses.
    Approved,
    /// Blocked addresses.
    Blocked,
}

/// A runtime entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeEntry {
    /// The list it stands on.
    pub list: RuntimeList,
    /// The network, masked.
    pub prefix: IpNet,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was added: seconds of the Unix epoch.
    pub added_at: u64,
    /// When it lapses: seconds of the Unix epoch; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl RuntimeEntry {
    /// Whether its time is not over at `now`, by the clock of its times.
    #[must_use]
    pub fn is_in_force(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

/// The runtime entries, by list and prefix.
///
/// Every prefix in it is normalised; see [`normalise`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeEntries {
    by_prefix: BTreeMap<(RuntimeList, IpNet), RuntimeEntry>,
}

/// What is asked to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The list it goes on.
    pub list: RuntimeList,
    /// The network; it is normalised.
    pub prefix: IpNet,
    /// A note for people: one line of at most [`NOTE_LIMIT`] characters.
    pub note: Option<String>,
    /// Seconds from now until it lapses, 1 to [`LONGEST_S`]; none keeps the end that is there.
    pub expires_in_s: Option<u64>,
    /// Makes the entry one for good, whatever end it had.
    pub permanent: bool,
    /// Permits a block of a prefix shorter than /8 (IPv6 /16), or of a protected network.
    pub force: bool,
}

/// A change of the entries, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An entry is added, in the place of that of the same list and prefix.
    Add(RuntimeEntry),
    /// The entry of a list and a prefix is removed.
    Remove(RuntimeList, IpNet),
}

impl Step {
    /// The prefix that it is about.
    #[must_use]
    pub const fn prefix(&self) -> IpNet {
        match self {
            Self::Add(entry) => entry.prefix,
            Self::Remove(_, prefix) => *prefix,
        }
    }
}

/// What [`RuntimeEntries::add`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The entry as it stands now.
    pub entry: RuntimeEntry,
    /// The entry of the same list and prefix that it replaced.
    pub replaced: Option<RuntimeEntry>,
}

/// Why the entries were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The note is longer than [`NOTE_LIMIT`] characters.
    #[error("the note has {0} characters, at most {NOTE_LIMIT} are kept")]
    NoteTooLong(usize),
    /// The note holds a line break or another control character.
    #[error("the note holds a control character; it must be one line of text")]
    NoteControl,
    /// The entry would have lapsed at once, or never.
    #[error("an entry may stand for 1 second to {days} days, not {0} seconds", days = LONGEST_S / 86_400)]
    Expiry(u64),
    /// The entry would have an end, and none.
    #[error("an entry is permanent or has a time: `permanent` and `expires_in_s` are not both")]
    TimeOfPermanent,
    /// A block of so much that it must be forced.
    #[error(
        "{0} is a block of more than a /8 of IPv4 or a /16 of IPv6; if that is meant, use \
         --force (API: \"force\": true; console: the box)"
    )]
    TooShort(IpNet),
    /// The lists are full.
    #[error(
        "there are already {ENTRY_LIMIT} runtime entries; remove some, or keep them in a list file"
    )]
    Full,
    /// There is no such entry.
    #[error("{prefix} is not {list} by a managed entry; see `mxdp {command} list`", command = command(list))]
    NotFound {
        /// The list that was looked at.
        list: &'static str,
        /// The prefix, normalised.
        prefix: IpNet,
    },
}

/// The command that lists the entries of a list.
fn command(list: &str) -> &'static str {
    if list == RuntimeList::Approved.name() { "approve" } else { "block" }
}

impl RuntimeList {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Blocked => "blocked",
        }
    }
}

impl RuntimeEntries {
    /// Adds an entry, or replaces that of the same list and prefix. `now` is in
    /// seconds of the Unix epoch.
    ///
    /// # Errors
    ///
    /// Nothing is changed if the addition breaks one of its bounds or the lists
    /// are full.
    pub fn add(&mut self, addition: Addition, now: u64) -> Result<Added, RuntimeError> {
        let Addition { list, prefix, note, expires_in_s, permanent, force } = addition;
        let prefix = normalise(prefix);
        if list == RuntimeList::Blocked && is_too_short(prefix) && !force {
            return Err(RuntimeError::TooShort(prefix));
        }
        let note = note.filter(|note| !note.is_empty());
        note.as_deref().map_or(Ok(()), check_note)?;
        let expires_at = match expires_in_s {
            Some(_) if permanent => return Err(RuntimeError::TimeOfPermanent),
            None if permanent => None,
            // Who gives a note only does not ask that the entry never end.
            None => {
                let known = self.by_prefix.get(&(list, prefix));
                known.and_then(|entry| entry.expires_at).filter(|end| *end > now)
            }
            Some(seconds @ 1..=LONGEST_S) => Some(now.saturating_add(seconds)),
            Some(seconds) => return Err(RuntimeError::Expiry(seconds)),
        };
        if self.len() >= ENTRY_LIMIT && !self.by_prefix.contains_key(&(list, prefix)) {
            return Err(RuntimeError::Full);
        }
        let entry = RuntimeEntry { list, prefix, note, added_at: now, expires_at };
        let replaced = self.by_prefix.insert((list, prefix), entry.clone());
        Ok(Added { entry, replaced })
    }

    /// Removes the entry of exactly this prefix, normalised, and returns it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NotFound`] if there is none, even if a wider or narrower
    /// one is listed.
    pub fn remove(
        &mut self,
        list: RuntimeList,
        prefix: IpNet,
    ) -> Result<RuntimeEntry, RuntimeError> {
        let prefix = normalise(prefix);
        self.by_prefix
            .remove(&(list, prefix))
            .ok_or(RuntimeError::NotFound { list: list.name(), prefix })
    }

    /// Takes a step that was checked when it was first taken.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Add(entry) => {
                let prefix = normalise(entry.prefix);
                self.by_prefix.insert((entry.list, prefix), RuntimeEntry { prefix, ..entry });
            }
            Step::Remove(list, prefix) => {
                self.by_prefix.remove(&(list, normalise(prefix)));
            }
        }
    }

    /// What the entries say of the addresses in a prefix that no longer listed prefix holds,
    /// if it is listed; `end` gives the time of CLOCK_BOOTTIME of an entry's end.
    #[must_use]
    pub fn said_of(&self, prefix: IpNet, end: impl Fn(u64) -> u64) -> Option<Managed> {
        let is_listed = [RuntimeList::Approved, RuntimeList::Blocked]
            .iter()
            .any(|list| self.by_prefix.contains_key(&(*list, prefix)));
        is_listed.then(|| {
            let around = std::iter::successors(Some(prefix), IpNet::supernet);
            let until = |list, net| {
                let entry = self.by_prefix.get(&(list, net))?;
                Some(entry.expires_at.map_or(Managed::FOREVER, &end))
            };
            around.fold(Managed::default(), |said, net| {
                let approved = until(RuntimeList::Approved, net).unwrap_or(0);
                let blocked = until(RuntimeList::Blocked, net).unwrap_or(0);
                said.union(Managed::until(approved, blocked))
            })
        })
    }

    /// The listed prefixes whose addresses an entry of `prefix` says something of, and
    /// itself.
    #[must_use]
    pub fn affected_by(&self, prefix: IpNet) -> BTreeSet<IpNet> {
        let inside = |list: RuntimeList| {
            let from = self.by_prefix.range((list, prefix)..).map(|(key, _)| *key);
            let inside = from.take_while(move |(of, net)| *of == list && prefix.contains(net));
            inside.map(|(_, net)| net)
        };
        let lists = [RuntimeList::Approved, RuntimeList::Blocked].into_iter();
        lists.flat_map(inside).chain([prefix]).collect()
    }

    /// What all entries say, by prefix, as [`Self::said_of`].
    #[must_use]
    pub fn said_of_all(&self, end: impl Fn(u64) -> u64) -> HashMap<IpNet, Managed> {
        let nets = self.by_prefix.keys().map(|(_, net)| *net);
        nets.filter_map(|net| Some((net, self.said_of(net, &end)?))).collect()
    }

    /// What the entries say of an address.
    #[must_use]
    pub fn classify(&self, address: IpAddr) -> Classification {
        let mut found = Classification::default();
        let lists =
            [(RuntimeList::Approved, Class::ApprovedIp), (RuntimeList::Blocked, Class::BlockedIp)];
        for (list, class) in lists {
            let nets =
                std::iter::successors(Some(IpNet::from(address.to_canonical())), IpNet::supernet);
            let mut entries = nets.filter_map(|net| self.by_prefix.get(&(list, net)));
            if let Some(entry) = entries.next() {
                found.classes = found.classes.with(class);
                found.matches.push(Match {
                    class,
                    prefix: entry.prefix,
                    place: Place::whole("runtime"),
                    note: entry.note.clone(),
                });
            }
        }
        found
    }

    /// The entries of a list, by prefix.
    pub fn list(&self, list: RuntimeList) -> impl Iterator<Item = &RuntimeEntry> {
        self.iter().filter(move |entry| entry.list == list)
    }

    /// Every entry, by list and prefix.
    pub fn iter(&self) -> impl Iterator<Item = &RuntimeEntry> {
        self.by_prefix.values()
    }

    /// How many entries both lists have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_prefix.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// Removes and returns the entries that have lapsed at `now`, in seconds of
    /// the Unix epoch. An entry lapses at its second, not after it.
    pub fn expire(&mut self, now: u64) -> Vec<RuntimeEntry> {
        self.by_prefix
            .extract_if(.., |_, entry| entry.expires_at.is_some_and(|at| at <= now))
            .map(|(_, entry)| entry)
            .collect()
    }

    /// Puts the times of all entries forward by some seconds, or back.
    pub fn put_forward(&mut self, seconds: i64) {
        for entry in self.by_prefix.values_mut().filter(|_| seconds != 0) {
            entry.added_at = entry.added_at.saturating_add_signed(seconds);
            entry.expires_at = entry.expires_at.map(|at| at.saturating_add_signed(seconds));
        }
    }

    /// When the next entry lapses, in seconds of the Unix epoch.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.iter().filter_map(|entry| entry.expires_at).min()
    }

    /// The entries as JSON, one a line, so that people can read and compare it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = format!("{{\"version\": {VERSION}, \"entries\": [");
        for (index, entry) in self.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            // An entry holds strings, numbers and a prefix: all have JSON forms.
            text.push_str(&serde_json::to_string(entry).unwrap_or_default());
        }
        text.push_str("\n]}\n");
        text
    }

    /// The entries of what [`Self::to_json`] wrote, or a person after it.
    ///
    /// # Errors
    ///
    /// Says with line and column what is not as it should be: a text that is not
    /// JSON, another version, an entry that [`Self::add`] would refuse, the same
    /// prefix twice, too many entries.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        // Another version would show as some unknown field; say what it is.
        let Versioned { version: Supported } = serde_json::from_slice(text)?;
        let stored: Stored = serde_json::from_slice(text)?;
        Ok(stored.entries)
    }
}

fn check_note(note: &str) -> Result<(), RuntimeError> {
    let characters = note.chars().count();
    if characters > NOTE_LIMIT {
        return Err(RuntimeError::NoteTooLong(characters));
    }
    if note.contains(text::is_active) {
        return Err(RuntimeError::NoteControl);
    }
    Ok(())
}

/// The version alone, read before anything else is.
#[derive(Deserialize)]
struct Versioned {
    version: Supported,
}

#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct Supported;

impl TryFrom<u32> for Supported {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == VERSION {
            return Ok(Self);
        }
        Err(format!("it has version {version}, this mxdp reads version {VERSION}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(rename = "version")]
    _version: Supported,
    entries: RuntimeEntries,
}

impl<'de> Deserialize<'de> for RuntimeEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

impl Serialize for RuntimeEntries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = RuntimeEntries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of runtime entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RuntimeEntries, A::Error> {
        let mut entries = RuntimeEntries::default();
        while seq.next_element_seed(EntryInto(&mut entries))?.is_some() {}
        Ok(entries)
    }
}

/// Reads one entry into the others. What is wrong with it is found while its
/// object is read, so that the error bears its line and no later one.
struct EntryInto<'a>(&'a mut RuntimeEntries);

impl<'de> DeserializeSeed<'de> for EntryInto<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntryInto<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a runtime entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut entry = RuntimeEntry::deserialize(MapAccessDeserializer::new(map))?;
        entry.prefix = normalise(entry.prefix);
        entry.note.as_deref().map_or(Ok(()), check_note).map_err(A::Error::custom)?;
        let key = (entry.list, entry.prefix);
        if let Some(old) = self.0.by_prefix.insert(key, entry) {
            let (prefix, list) = (old.prefix, old.list.name());
            return Err(A::Error::custom(format!("{prefix} is {list} twice")));
        }
        if self.0.len() > ENTRY_LIMIT {
            return Err(A::Error::custom(format!("more than {ENTRY_LIMIT} entries")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn block(prefix: &str) -> Addition {
        Addition {
            list: RuntimeList::Blocked,
            prefix: net(prefix),
            note: None,
            expires_in_s: None,
            permanent: false,
            force: false,
        }
    }

    #[test]
    fn an_addition_replaces_what_names_the_same_network() {
        let mut entries = RuntimeEntries::default();
        let first = entries.add(block("192.0.2.77/24"), 100).unwrap();
        assert_eq!(first.entry.prefix, net("192.0.2.0/24"));
        assert_eq!(first.replaced, None);

        let again = Addition { note: Some("spam run".into()), ..block("::ffff:192.0.2.1/120") };
        let second = entries.add(again, 200).unwrap();
        assert_eq!(second.replaced, Some(first.entry));
        assert_eq!(second.entry.added_at, 200);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries.list(RuntimeList::Approved).count(), 0);
    }

    #[test]
    fn a_removal_needs_the_exact_network() {
        let mut entries = RuntimeEntries::default();
        entries.add(block("2001:db8::/32"), 0).unwrap();
        let error = entries.remove(RuntimeList::Blocked, net("2001:db8::/33")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2001:db8::/33 is not blocked by a managed entry; see `mxdp block list`"
        );
        assert!(entries.remove(RuntimeList::Approved, net("2001:db8::/32")).is_err());
        assert!(entries.remove(RuntimeList::Blocked, net("2001:db8::1/32")).is_ok());
        assert!(entries.is_empty());
    }

    #[test]
    fn blocking_very_much_needs_force() {
        for all in ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "64.0.0.0/7", "2000::/15"] {
            let mut entries = RuntimeEntries::default();
            assert!(matches!(entries.add(block(all), 0), Err(RuntimeError::TooShort(_))));
            assert!(entries.is_empty());
            entries.add(Addition { list: RuntimeList::Approved, ..block(all) }, 0).unwrap();
            entries.add(Addition { force: true, ..block(all) }, 0).unwrap();
            assert_eq!(entries.len(), 2);
        }
    }

    #[test]
    fn what_is_said_of_a_prefix_is_what_those_around_it_say_too() {
        let mut entries = RuntimeEntries::default();
        let mut add = |list, prefix: &str, expires_in_s| {
            let addition = Addition { list, expires_in_s, ..block(prefix) };
            entries.add(addition, 100).unwrap();
        };
        add(RuntimeList::Blocked, "10.0.0.0/8", Some(50));
        add(RuntimeList::Approved, "10.1.0.0/16", Some(20));
        add(RuntimeList::Blocked, "10.1.2.0/24", Some(10));
        add(RuntimeList::Blocked, "2001:db8::/32", None);
        let end = |at: u64| at * 10;
        let said = |prefix: &str| entries.said_of(net(prefix), end);
        assert_eq!(said("10.0.0.0/8"), Some(Managed::until(0, 1500)));
        assert_eq!(said("10.1.0.0/16"), Some(Managed::until(1200, 1500)));
        // The longer time counts, when the entry itself has ended.
        assert_eq!(said("10.1.2.0/24"), Some(Managed::until(1200, 1500)));
        assert_eq!(said("2001:db8::/32"), Some(Managed::until(0, Managed::FOREVER)));
        assert_eq!(said("10.1.2.0/25"), None);
        let all = entries.said_of_all(end);
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|(prefix, said)| entries.said_of(*prefix, end) == Some(*said)));
        let affected = |prefix: &str| {
            entries.affected_by(net(prefix)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(affected("10.0.0.0/8"), ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"]);
        assert_eq!(affected("10.1.2.0/24"), ["10.1.2.0/24"]);
        assert_eq!(affected("10.1.2.0/23"), ["10.1.2.0/23", "10.1.2.0/24"]);
        assert_eq!(affected("192.0.2.0/24"), ["192.0.2.0/24"]);
        let found = entries.classify("::ffff:10.1.2.3".parse().unwrap());
        let prefixes: Vec<_> = found.matches.iter().map(|one| one.prefix.to_string()).collect();
        assert_eq!(prefixes, ["10.1.0.0/16", "10.1.2.0/24"]);
    }

    #[test]
    fn a_note_is_one_line_of_bounded_length() {
        let mut entries = RuntimeEntries::default();
        let noted = |note: &str| Addition { note: Some(note.into()), ..block("192.0.2.1/32") };
        for bad in ["a\nb", "\u{1b}[2J", "x\u{2028}y", &"é".repeat(NOTE_LIMIT + 1)] {
            assert!(entries.add(noted(bad), 0).is_err(), "{bad:?}");
        }
        entries.add(noted(&"é".repeat(NOTE_LIMIT)), 0).unwrap();
        assert_eq!(entries.add(noted(""), 0).unwrap().entry.note, None);
    }

    #[test]
    fn entries_lapse_at_their_second() {
        let mut entries = RuntimeEntries::default();
        for (host, seconds) in [(1, Some(10)), (2, Some(20)), (3, None)] {
            let prefix = format!("192.0.2.{host}/32");
            entries.add(Addition { expires_in_s: seconds, ..block(&prefix) }, 1000).unwrap();
        }
        assert_eq!(entries.next_expiry(), Some(1010));
        assert_eq!(entries.expire(1009), []);
        let lapsed = entries.expire(1010);
        assert_eq!(lapsed.len(), 1);
        assert_eq!(lapsed[0].prefix, net("192.0.2.1/32"));
        assert_eq!(entries.next_expiry(), Some(1020));
        assert_eq!(entries.expire(u64::MAX).len(), 1);
        assert_eq!((entries.next_expiry(), entries.len()), (None, 1));

        for seconds in [0, LONGEST_S + 1, u64::MAX] {
            let addition = Addition { expires_in_s: Some(seconds), ..block("192.0.2.9/32") };
            assert_eq!(entries.add(addition, 1000), Err(RuntimeError::Expiry(seconds)));
        }
    }

    #[test]
    fn an_addition_without_a_time_leaves_the_end_as_it_is() {
        let mut entries = RuntimeEntries::default();
        let timed = Addition { expires_in_s: Some(60), ..block("192.0.2.0/24") };
        entries.add(timed.clone(), 1000).unwrap();
        let noted = Addition { note: Some("b".into()), ..block("192.0.2.0/24") };
        let entry = entries.add(noted, 1010).unwrap().entry;
        assert_eq!((entry.note.as_deref(), entry.expires_at), (Some("b"), Some(1060)));
        // Of the other list, of another network, or of one that has lapsed, there is no end.
        let approval = Addition { list: RuntimeList::Approved, ..block("192.0.2.0/24") };
        assert_eq!(entries.add(approval, 1010).unwrap().entry.expires_at, None);
        assert_eq!(entries.add(block("192.0.2.0/25"), 1010).unwrap().entry.expires_at, None);
        assert_eq!(entries.add(block("192.0.2.0/24"), 1060).unwrap().entry.expires_at, None);
        // Nor where it is asked for.
        entries.add(timed.clone(), 2000).unwrap();
        let permanent = Addition { permanent: true, ..block("192.0.2.0/24") };
        assert_eq!(entries.add(permanent, 2001).unwrap().entry.expires_at, None);
        assert_eq!(entries.add(block("192.0.2.0/24"), 2002).unwrap().entry.expires_at, None);
        let both = Addition { permanent: true, ..timed };
        assert_eq!(entries.add(both, 2003), Err(RuntimeError::TimeOfPermanent));
    }

    #[test]
    fn full_lists_still_take_replacements() {
        let mut entries = RuntimeEntries::default();
        for host in 0..u32::try_from(ENTRY_LIMIT).unwrap() {
            entries.add(block(&format!("{}/32", std::net::Ipv4Addr::from(host))), 0).unwrap();
        }
        assert_eq!(entries.add(block("2001:db8::/64"), 0), Err(RuntimeError::Full));
        assert!(entries.add(block("0.0.0.1/32"), 5).unwrap().replaced.is_some());
        assert_eq!(RuntimeEntries::from_json(entries.to_json().as_bytes()).unwrap(), entries);
    }

    #[test]
    fn json_comes_back_and_is_readable() {
        let mut entries = RuntimeEntries::default();
        assert_eq!(entries.to_json(), "{\"version\": 1, \"entries\": [\n]}\n");
        let noted = Addition { note: Some("\"quoted\"".into()), ..block("192.0.2.0/24") };
        entries.add(noted, 7).unwrap();
        entries
            .add(
                Addition {
                    list: RuntimeList::Approved,
                    expires_in_s: Some(3),
                    ..block("2001:db8::/32")
                },
                8,
            )
            .unwrap();
        let json = entries.to_json();
        assert_eq!(
            json,
            r#"{"version": 1, "entries": [
{"list":"approved","prefix":"2001:db8::/32","added_at":8,"expires_at":11},
{"list":"blocked","prefix":"192.0.2.0/24","note":"\"quoted\"","added_at":7}
]}
"#
        );
        assert_eq!(RuntimeEntries::from_json(json.as_bytes()).unwrap(), entries);
    }

    #[test]
    fn damaged_json_is_an_error_with_its_place() {
        let entry = r#"{"list":"blocked","prefix":"192.0.2.0/24","added_at":7}"#;
        for (text, expected) in [
            (String::new(), "EOF while parsing a value at line 1 column 0"),
            (r#"{"version": 1, "entries": ["#.into(), "EOF while parsing a list at line 1 column 27"),
            (
                r#"{"version": 2, "entries": {}}"#.into(),
                "it has version 2, this mxdp reads version 1 at line 1 column 13",
            ),
            (
                format!("{{\"version\": 1, \"entries\": [\n{entry},\n{entry}\n]}}"),
                "192.0.2.0/24 is blocked twice at line 3 column",
            ),
            (
                "{\"version\": 1, \"entries\": [\n{\"list\":\"blocked\",\"prefix\":\"192.0.2.0/33\",\"added_at\":7}]}".into(),
                "invalid IP address syntax at line 2 column",
            ),
            (r#"{"version": 1, "entries": [], "more": 1}"#.into(), "unknown field `more`"),
        ] {
            let error = RuntimeEntries::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(RuntimeEntries::from_json(b"{\"version\": 1, \"entries\": [\"\xff\"]}").is_err());
    }
}
