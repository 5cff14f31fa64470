//! Lists of one JSON object a line, as Spamhaus publishes DROP: the network in `cidr`,
//! and in the last line how many there are.

use std::borrow::Cow;

use serde::Deserialize;

use super::bad_lines::Why;
use super::line::{Item, Nets, parse_net};

/// What is read of an object; other fields are passed over.
#[derive(Deserialize)]
struct Object {
    cidr: Option<String>,
    sblid: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    records: Option<u64>,
}

/// Reads a line that begins with a brace.
pub(super) fn read(line: &[u8]) -> Result<Item<'static>, Why> {
    let object: Object =
        serde_json::from_slice(line).map_err(|_| "is not a whole JSON object with a `cidr`")?;
    match (object.cidr, object.kind.as_deref(), object.records) {
        (Some(cidr), _, _) => Ok(Item::Entry {
            nets: Nets::One(parse_net(cidr.as_bytes())?),
            note: Cow::Owned(object.sblid.unwrap_or_default().into_bytes()),
            may_be_cut: false,
        }),
        (None, Some("metadata"), Some(records)) => Ok(Item::Records(records)),
        (None, Some("metadata"), None) => Ok(Item::Nothing),
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
        assert_eq!(read(line), Ok(entry));
        let last = br#"{"type":"metadata","timestamp":1,"size":2,"records":1,"terms":"x"}"#;
        assert_eq!(read(last), Ok(Item::Records(1)));
        for bad in [
            &br#"{"cidr":"192.0.2.0/2"#[..],
            br#"{"cidr":"192.0.2.0/33"}"#,
            br#"{"cidr":7}"#,
            br#"{"error":"too many requests"}"#,
            br#"{"asn":64496}"#,
            b"{",
        ] {
            assert!(read(bad).is_err());
        }
    }
}
