//! Compares what the clients, the backends and the mail log say.

use std::collections::HashMap;
use std::time::Duration;

use mxdp_tests::wrong::backend::Ended;
use mxdp_tests::wrong::without_received;
use serde_json::Value;

use crate::plans::{BOUND, Try};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: usize,
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unheard: usize,
    pub(crate) duplicates: usize,
    pub(crate) longest: Duration,
    pub(crate) wrong: Vec<String>,
}

/// Holds the clients' word against the backends'.
pub(crate) fn compare(tries: &[Try], ended: &[Ended], may_repeat: impl Fn(&Try) -> bool) -> Tally {
    let mut tally = Tally::default();
    let mut by_sender: HashMap<&str, Vec<&Ended>> = HashMap::new();
    for one in ended {
        let sender = one.sender.trim_start_matches('<').split('>').next().unwrap_or_default();
        by_sender.entry(sender).or_default().push(one);
    }
    for one in tries {
        let mut wrong =
            |what: &str| tally.wrong.push(format!("{what}: {} {:?}", one.name, one.sent));
        let found = by_sender.remove(one.mail.sender.as_str()).unwrap_or_default();
        let taken = found.iter().filter(|ended| ended.taken).count();
        if !found.is_empty() && !one.sent.ended {
            wrong("the backend has an end that the client did not send");
        }
        for ended in &found {
            let mut expected = one.mail.message.clone();
            if !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            if without_received(&ended.message) != Some(&expected) {
                wrong("the message is not what was sent");
            }
            let accepted = one.sent.recipients.iter().filter(|(_, code)| *code == Some(250));
            if ended.recipients.len() != accepted.count() {
                wrong("the backend has other recipients");
            }
        }
        match (one.sent.is_taken(), taken) {
            (true, 0) => wrong("LOST"),
            (true, 1) | (false, 0) => {}
            (true, _) => wrong("delivered more than once"),
            (false, _) if may_repeat(one) => tally.duplicates += 1,
            (false, _) => wrong("delivered, and the client was not told"),
        }
        if one.longest > BOUND {
            wrong(&format!("waited {:?}", one.longest));
        }
        tally.messages += 1;
        tally.acknowledged += usize::from(one.sent.is_taken());
        tally.refused += usize::from(one.sent.told.is_some_and(|code| code / 100 != 2));
        tally.unheard += usize::from(one.sent.told.is_none());
        tally.longest = tally.longest.max(one.longest);
    }
    for sender in by_sender.keys() {
        tally.wrong.push(format!("nobody sent what the backend has of {sender}"));
    }
    tally
}

/// The records of the log, by recipient.
pub(crate) fn records(log: &str) -> HashMap<String, Vec<Value>> {
    let mut records: HashMap<String, Vec<Value>> = HashMap::new();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let fields = &line["fields"];
        if fields["message"] == "recipient" {
            let recipient = fields["recipient"].as_str().unwrap_or_default();
            records
                .entry(recipient.trim_matches(['<', '>']).to_owned())
                .or_default()
                .push(fields.clone());
        }
    }
    records
}

/// One entry for each recipient that got a reply, with that reply.
pub(crate) fn compare_records(tries: &[Try], log: &str, wrong: &mut Vec<String>) -> usize {
    let records = records(log);
    let mut count = 0;
    for one in tries {
        for (recipient, code) in &one.sent.recipients {
            let found = records.get(recipient).map_or(&[][..], Vec::as_slice);
            count += found.len();
            let wanted = if code.is_some() { 1..=1 } else { 0..=1 };
            if !wanted.contains(&found.len()) {
                wrong.push(format!("{recipient} has {} records: {}", found.len(), one.name));
            }
            let accepted = found.iter().any(|record| record["outcome"] == "accepted");
            if one.sent.is_taken() && *code == Some(250) && !accepted {
                wrong.push(format!("{recipient} has no record of its acceptance: {}", one.name));
            }
            if accepted && one.sent.told.is_some() && !one.sent.is_taken() {
                wrong.push(format!("{recipient} is said to be accepted: {}", one.name));
            }
        }
    }
    count
}
