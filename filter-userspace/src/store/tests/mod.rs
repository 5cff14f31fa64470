//! What every engine of the mail log must do, and a small world of records to do it with.

mod conformance;
mod fan_out;
mod memory;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::options::Options;
use super::traits::Archive;
use crate::record::{Query, Reason, Record, Stage, Status, Stored};

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Options with small files.
pub(super) fn options(folder: &Path) -> Options {
    Options { file_rows: 40, ..Options::new(folder.to_owned()) }
}

/// A record of the tests' small world.
pub(super) fn record(n: u64, time: u64) -> Record {
    let ip = IpAddr::V4(u32::try_from(0xc000_0200 + n % 300).unwrap_or(0).into());
    let (status, stage, reason) = match n % 5 {
        0 => (Status::Delivered, "backend", "accepted"),
        1 => (Status::Permanent, "connection", "blocked_ip"),
        2 => (Status::Temporary, "reputation", "dynamic_reputation"),
        3 => (Status::Permanent, "backend", "backend_refused"),
        _ => (Status::Permanent, "data", "too_large"),
    };
    Record {
        country: (!n.is_multiple_of(3))
            .then(|| ["DE", "AT"][usize::from(n.is_multiple_of(2))].to_owned()),
        sender: (!n.is_multiple_of(7)).then(|| format!("User{}@mail{}.Example.org", n % 11, n % 4)),
        recipient: (!n.is_multiple_of(6)).then(|| format!("box{}@example.com", n % 13)),
        subject: n.is_multiple_of(2).then(|| format!("Invoice number {}", n % 17)),
        message_id: n.is_multiple_of(2).then(|| format!("{n}.abc@mail.example.org")),
        reference: Some(format!("{n:04}-1")),
        session: Some(format!("{n:04}")),
        reply: Some("550 5.7.1 no".to_owned()),
        size: n,
        ..Record::new(time, ip, status, Stage::read(stage), Reason::read(reason))
    }
}

/// All pages of a query, and how many there were.
pub(super) fn all(archive: &dyn Archive, query: &Query) -> (Vec<Stored>, usize) {
    let mut found = Vec::new();
    let mut query = query.clone();
    for pages in 1.. {
        let page = archive.search(&query).unwrap();
        assert!(page.records.len() <= query.limit);
        found.extend(page.records);
        let Some(next) = page.next else { return (found, pages) };
        query.before = Some(next);
    }
    unreachable!("pages do not end")
}
