//! The managed entries of both lists: added, removed, expired, and what they say of an address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use filter_common::Class;
use filter_common::abi::Managed;
use ipnet::IpNet;

use super::entry::{ENTRY_LIMIT, LONGEST_S, RuntimeEntry, RuntimeError, RuntimeList, check_note};
use crate::lists::{Classification, Match, Place, is_too_short, normalise};

/// The managed entries, by list and prefix.
///
/// Every prefix in it is normalised; see [`normalise`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeEntries {
    pub(super) by_prefix: BTreeMap<(RuntimeList, IpNet), RuntimeEntry>,
}

/// What is asked to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The list it goes on.
    pub list: RuntimeList,
    /// The network; it is normalised.
    pub prefix: IpNet,
    /// A note for people: one line of at most [`NOTE_LIMIT`](super::NOTE_LIMIT) characters.
    pub note: Option<String>,
    /// Seconds from now until it expires, 1 to [`LONGEST_S`]; none keeps the end that is there.
    pub expires_in_s: Option<u64>,
    /// Makes the entry permanent, whatever end it had.
    pub permanent: bool,
    /// Permits a block of a prefix shorter than /8 (IPv6 /16), or of a protected network.
    pub force: bool,
}

/// What [`RuntimeEntries::add`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The entry as it stands now.
    pub entry: RuntimeEntry,
    /// The entry of the same list and prefix that it replaced.
    pub replaced: Option<RuntimeEntry>,
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
        self.by_prefix.remove(&(list, prefix)).ok_or(RuntimeError::NotFound { list, prefix })
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

    /// Removes and returns the entries that have expired at `now`, in seconds of
    /// the Unix epoch. An entry expires at its second, not after it.
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

    /// When the next entry expires, in seconds of the Unix epoch.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.iter().filter_map(|entry| entry.expires_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{LONGEST_S, NOTE_LIMIT};
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
    fn entries_expire_at_their_second() {
        let mut entries = RuntimeEntries::default();
        for (host, seconds) in [(1, Some(10)), (2, Some(20)), (3, None)] {
            let prefix = format!("192.0.2.{host}/32");
            entries.add(Addition { expires_in_s: seconds, ..block(&prefix) }, 1000).unwrap();
        }
        assert_eq!(entries.next_expiry(), Some(1010));
        assert_eq!(entries.expire(1009), []);
        let expired = entries.expire(1010);
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].prefix, net("192.0.2.1/32"));
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
        // Of the other list, of another network, or of one that has expired, there is no end.
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
    }
}
