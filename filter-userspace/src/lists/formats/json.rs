//! Lists of one JSON object a line, as Spamhaus publishes DROP: the network in `cidr`,
//! and in the last line how many there are.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::bad_lines::Why;
use super::super::nets::{Nets, parse_net};
use super::format::{Flaw, Format, Item, Line};

/// What is read of an object; other fields are passed over.
#[derive(Deserialize)]
struct Object {
    cidr: Option<String>,
    sblid: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    records: Option<u64>,
}

/// What a file of JSON objects says of itself.
#[derive(Default)]
pub(super) struct Json {
    /// The objects with a network, readable or not.
    entries: u64,
    last_line: u32,
    /// Whether they have what Spamhaus's have, which end with their number.
    has_sblid: bool,
    /// Whether their number was there, and right.
    is_whole: bool,
}

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn claims(&self, line: &[u8]) -> bool {
        line.starts_with(b"{")
    }

    fn read<'a>(&mut self, line: &Line<'a>) -> Result<Item<'a>, Flaw> {
        let said = line.text.and_then(said);
        match said {
            Ok(Said::Records(records)) if records == self.entries => {
                self.is_whole = true;
                Ok(Item::Nothing)
            }
            Ok(Said::Records(records)) => {
                let entries = self.entries;
                Err(Flaw::File(format!(
                    "says that there are {records} entries, and {entries} are there"
                )))
            }
            Ok(Said::Item(Item::Nothing)) => Ok(Item::Nothing),
            _ => {
                self.entries += 1;
                self.last_line = line.number;
                self.is_whole = false;
                self.has_sblid |= memchr::memmem::find(line.bytes, b"\"sblid\"").is_some();
                match said? {
                    Said::Item(item) => Ok(item),
                    Said::Records(_) => Ok(Item::Nothing),
                }
            }
        }
    }

    fn finish(&self) -> Result<(), (u32, Why)> {
        match self.has_sblid && !self.is_whole {
            true => {
                Err((self.last_line, "the line with the number of records is missing behind it"))
            }
            false => Ok(()),
        }
    }
}

/// What an object says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// A network, or nothing about one.
    Item(Item<'static>),
    /// The last line of a feed: how many entries stand above.
    Records(u64),
}

fn said(line: &[u8]) -> Result<Said, Why> {
    let object: Object =
        serde_json::from_slice(line).map_err(|_| "is not a whole JSON object with a `cidr`")?;
    match (object.cidr, object.kind.as_deref(), object.records) {
        (Some(cidr), _, _) => Ok(Said::Item(Item::Entry {
            nets: Nets::One(parse_net(cidr.as_bytes())?),
            note: Cow::Owned(object.sblid.unwrap_or_default().into_bytes()),
            may_be_cut: false,
        })),
        (None, Some("metadata"), Some(records)) => Ok(Said::Records(records)),
        (None, Some("metadata"), None) => Ok(Said::Item(Item::Nothing)),
        (None, _, _) => Err("the JSON object has no `cidr`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_the_count_behind_them_are_read() {
        let line = br#"{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"ripencc"}"#;
        let entry = Item::Entry {
            nets: Nets::One("192.0.2.0/24".parse().expect("a prefix")),
            note: Cow::Borrowed(b"SBL1"),
            may_be_cut: false,
        };
        assert_eq!(said(line), Ok(Said::Item(entry)));
        let last = br#"{"type":"metadata","timestamp":1,"size":2,"records":1,"terms":"x"}"#;
        assert_eq!(said(last), Ok(Said::Records(1)));
        for bad in [
            &br#"{"cidr":"192.0.2.0/2"#[..],
            br#"{"cidr":"192.0.2.0/33"}"#,
            br#"{"cidr":7}"#,
            br#"{"error":"too many requests"}"#,
            br#"{"asn":64496}"#,
            b"{",
        ] {
            assert!(said(bad).is_err());
        }
        let hidden = "{\"cidr\":\"192.0.2.0/24\u{200b}\"}";
        let error = said(hidden.as_bytes()).expect_err("an invisible character");
        assert!(error.contains("U+200B ZERO WIDTH SPACE"), "{error}");
    }

    #[test]
    fn the_number_of_records_must_be_there_and_right() {
        let entry = br#"{"cidr":"192.0.2.0/24","sblid":"SBL1"}"#;
        let read = |json: &mut Json, number, bytes: &'static [u8]| {
            json.read(&Line { number, bytes, text: Ok(bytes) })
        };
        let mut json = Json::default();
        read(&mut json, 3, entry).expect("an entry");
        let missing = "the line with the number of records is missing behind it";
        assert_eq!(json.finish(), Err((3, missing)));
        assert_eq!(read(&mut json, 4, br#"{"type":"metadata","records":1}"#), Ok(Item::Nothing));
        assert_eq!(json.finish(), Ok(()));
        read(&mut json, 5, b"{").expect_err("a bad line counts too");
        assert_eq!(json.finish(), Err((5, missing)));
        let wrong = read(&mut json, 6, br#"{"type":"metadata","records":3}"#);
        let why = "says that there are 3 entries, and 2 are there".to_owned();
        assert_eq!(wrong, Err(Flaw::File(why)));
    }
}
