//! The file of managed entries: JSON, an entry a line.

use std::fmt;

use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::entries::RuntimeEntries;
use super::entry::{ENTRY_LIMIT, RuntimeEntry, RuntimeList, check_note};
use crate::lists::normalise;

/// The version of the JSON form.
const VERSION: u32 = 1;

/// What is wrong with a file that is JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum StoredError {
    #[error("it has version {0}, this mxdp reads version {VERSION}")]
    Version(u32),
    #[error("{prefix} is {} twice", list.name())]
    Twice { list: RuntimeList, prefix: IpNet },
    #[error("more than {ENTRY_LIMIT} entries")]
    TooMany,
}

impl RuntimeEntries {
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

/// The version alone, read before anything else is.
#[derive(Deserialize)]
struct Versioned {
    version: Supported,
}

#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct Supported;

impl TryFrom<u32> for Supported {
    type Error = StoredError;

    fn try_from(version: u32) -> Result<Self, StoredError> {
        if version == VERSION { Ok(Self) } else { Err(StoredError::Version(version)) }
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
        f.write_str("a list of managed entries")
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
        f.write_str("a managed entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut entry = RuntimeEntry::deserialize(MapAccessDeserializer::new(map))?;
        entry.prefix = normalise(entry.prefix);
        entry.note.as_deref().map_or(Ok(()), check_note).map_err(A::Error::custom)?;
        let key = (entry.list, entry.prefix);
        if let Some(old) = self.0.by_prefix.insert(key, entry) {
            return Err(A::Error::custom(StoredError::Twice {
                list: old.list,
                prefix: old.prefix,
            }));
        }
        if self.0.len() > ENTRY_LIMIT {
            return Err(A::Error::custom(StoredError::TooMany));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::Addition;
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
    fn full_lists_come_back() {
        let mut entries = RuntimeEntries::default();
        for host in 0..u32::try_from(ENTRY_LIMIT).unwrap() {
            entries.add(block(&format!("{}/32", std::net::Ipv4Addr::from(host))), 0).unwrap();
        }
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
