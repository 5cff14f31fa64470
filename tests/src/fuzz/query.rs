//! Searches: their parts, and what an index finds of what they mean.

use std::net::IpAddr;

use mxdp::record::{Direction, PAGE_LIMIT, Query, Reason, Record, Stage, Status, terms};

/// A point in time, for those that are so long ago.
const NOW: u64 = 1_795_407_247_000;

/// Each line is a part of a search (`name=value`), or, with `+` before it, a field of
/// the record that is searched.
///
/// # Panics
///
/// When a refusal names no part, when a search that was read is out of bounds, or when
/// the record is wanted and the index would miss it.
pub fn api_query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = Vec::new();
    let mut record = Record::new(
        NOW,
        IpAddr::from([192, 0, 2, 1]),
        Status::Permanent,
        Stage::read("connection"),
        Reason::read("blocked_ip"),
    );
    for line in text.split('\n') {
        match (line.split_once('='), line.strip_prefix('+')) {
            (Some((name, value)), Some(_)) => set(&mut record, &name[1..], value),
            (Some(part), None) => parts.push(part),
            (None, _) => {}
        }
    }
    let query = match Query::read(parts.iter().copied(), NOW) {
        Ok(query) => query,
        Err(wrong) => {
            assert!(!wrong.is_empty(), "refused without a reason");
            for bad in wrong {
                let is_given = parts.iter().any(|(name, _)| *name == bad.name);
                assert!(is_given && !bad.message.is_empty(), "{bad}");
            }
            return;
        }
    };
    assert!((1..=PAGE_LIMIT).contains(&query.limit));
    let required = terms::required(&query);
    let has = terms::of(&record);
    if query.matches(&record) {
        for group in &required {
            assert!(group.iter().any(|term| has.contains(term)), "{query:?} of {record:?}");
        }
    }
}

fn set(record: &mut Record, name: &str, value: &str) {
    let some = || Some(value.to_owned());
    match name {
        "time" => record.time = value.parse().unwrap_or(NOW),
        "status" => {
            let status = Status::ALL.into_iter().find(|status| status.name() == value);
            record.status = status.unwrap_or(Status::Delivered);
        }
        "stage" => record.stage = Stage::read(value),
        "reason" => record.reason = Reason::read(value),
        "direction" => record.direction = Direction::read(value),
        "ip" => record.ip = value.parse().unwrap_or(record.ip),
        "country" => record.country = some(),
        "sender" => record.sender = some(),
        "recipient" => record.recipient = some(),
        "reference" => record.reference = some(),
        "session" => record.session = some(),
        "subject" => record.subject = some(),
        "message_id" => record.message_id = some(),
        _ => {}
    }
}
