//! A part of a long list: what a page or an answer of the API has room for.
//!
//! Lists of entries and of temporary blocks are ordered by prefix, and a window begins
//! after a prefix, so that pages stay what they are while entries come and go.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The most entries of one window.
pub const WINDOW_LIMIT: usize = 1_000;

/// The longest text that is searched for, in characters.
pub const SEARCH_LIMIT: usize = 500;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Only entries that hold this address or network, lie in it, or have the text in their
    /// note or at the beginning of their prefix; none is all.
    #[serde(default)]
    pub search: Option<String>,
    /// Only entries behind this prefix.
    #[serde(default)]
    pub after: Option<IpNet>,
    /// The most entries, from 1 to [`WINDOW_LIMIT`].
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windowed<T> {
    /// The entries, by prefix.
    pub entries: Vec<T>,
    /// Behind which prefix the next part begins; none where there is nothing more.
    pub next: Option<IpNet>,
    /// How many entries are found in all parts together.
    pub found: u64,
    /// How many entries the list has.
    pub total: u64,
}

/// What is searched for.
enum Search {
    All,
    Net(IpNet),
    Text(String),
}

impl Search {
    fn of(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default().trim();
        if text.is_empty() {
            return Self::All;
        }
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        match address.or_else(|_| text.parse::<IpNet>().map(|net| net.trunc())) {
            Ok(net) => Self::Net(net),
            Err(_) => Self::Text(text.to_lowercase()),
        }
    }

    fn finds(&self, prefix: IpNet, note: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Net(net) => net.contains(&prefix) || prefix.contains(net),
            Self::Text(text) => {
                note.is_some_and(|note| note.to_lowercase().contains(text))
                    || prefix.to_string().starts_with(text.as_str())
            }
        }
    }
}

impl Window {
    /// Cuts the window out of a list that is ordered by prefix. `describe` says of an entry
    /// its prefix and its note.
    pub fn of<'a, E: 'a, T>(
        &self,
        list: impl Iterator<Item = E>,
        describe: impl Fn(&E) -> (IpNet, Option<&str>),
        keep: impl Fn(E) -> T,
    ) -> Windowed<T> {
        let search = Search::of(self.search.as_deref());
        let limit = self.limit.clamp(1, WINDOW_LIMIT);
        let mut windowed = Windowed { entries: Vec::new(), next: None, found: 0, total: 0 };
        let mut last = None;
        for entry in list {
            windowed.total += 1;
            let (prefix, note) = describe(&entry);
            if !search.finds(prefix, note) {
                continue;
            }
            windowed.found += 1;
            if self.after.is_some_and(|after| prefix <= after) {
                continue;
            }
            if windowed.entries.len() < limit {
                last = Some(prefix);
                windowed.entries.push(keep(entry));
            } else {
                windowed.next = last;
            }
        }
        windowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(search: &str, after: Option<&str>, limit: usize) -> (Vec<String>, Option<String>, u64) {
        let mut list: Vec<(IpNet, &str)> = [
            ("192.0.2.0/24", "Office, first floor"),
            ("192.0.2.7/32", ""),
            ("198.51.100.0/24", "ticket 4711"),
            ("2001:db8::/32", "office"),
        ]
        .map(|(prefix, note)| (prefix.parse().unwrap(), note))
        .to_vec();
        list.sort();
        let window = Window {
            search: Some(search.to_owned()),
            after: after.map(|after| after.parse().unwrap()),
            limit,
        };
        let found = window.of(
            list.iter(),
            |(prefix, note)| (*prefix, Some(note)),
            |(prefix, _)| prefix.to_string(),
        );
        assert_eq!(found.total, 4);
        (found.entries, found.next.map(|next| next.to_string()), found.found)
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        let all = cut("", None, 9);
        assert_eq!((all.0.len(), all.1, all.2), (4, None, 4));
        let mut joined = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let (entries, next, found) = cut("", after.as_deref(), 3);
            assert_eq!(found, 4);
            joined.extend(entries);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(joined, all.0);
    }

    #[test]
    fn a_search_finds_addresses_networks_and_words() {
        let found = |search: &str| cut(search, None, 9).0;
        assert_eq!(found("192.0.2.7"), ["192.0.2.0/24", "192.0.2.7/32"]);
        assert_eq!(found("192.0.0.0/16"), ["192.0.2.0/24", "192.0.2.7/32"]);
        assert_eq!(found("::ffff:198.51.100.9"), ["198.51.100.0/24"]);
        assert_eq!(found("OFFICE"), ["192.0.2.0/24", "2001:db8::/32"]);
        assert_eq!(found("2001:"), ["2001:db8::/32"]);
        assert_eq!(found("4711"), ["198.51.100.0/24"]);
        assert!(found("203.0.113.1").is_empty());
    }
}
