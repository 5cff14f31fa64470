//! The obvious twin of every engine: all entries in memory, gone through one by one.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::record::{
    Change, Changes, Counted, Country, Cursor, Decided, Kind, Page, Query, Record, Source, Stored,
    Summary,
};
use crate::store::entry::{Entry, Frames};
use crate::store::traits::{Archive, Health, Sink, StoreError};

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    records: Vec<Stored>,
    /// Those to which alike ones are added.
    counted: HashSet<Cursor>,
    changes: Vec<Change>,
    frames: Vec<(u64, Frames)>,
    written: u64,
}

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, record: Record) {
        let is_counted = record.is_counted();
        let alike = |known: &&mut Stored| {
            let of = |one: &Record| {
                let Record { ip, status, direction, reason, session, customer, .. } = one.clone();
                (one.time / 60_000, ip, status, direction, reason, session, customer)
            };
            self.counted.contains(&known.id) && of(&known.record) == of(&record)
        };
        if is_counted && let Some(known) = self.records.iter_mut().find(alike) {
            known.record.count += record.count;
            return;
        }
        let id = self.records.len() as u64 + 1;
        if is_counted {
            self.counted.insert(id);
        }
        self.records.push(Stored { id, record: Record { folds: false, ..record } });
    }
}

impl Sink for Memory {
    fn add(&self, entry: Entry) -> Option<Record> {
        let mut kept = self.kept();
        kept.written += 1;
        match entry {
            Entry::Record(record) => kept.add(*record),
            Entry::Change(change) => kept.changes.push(change),
            Entry::Frames(time, frames) => {
                kept.frames.extend(frames.into_iter().map(|counted| (time, counted)));
            }
        }
        None
    }

    fn flush(&self, _: Duration) -> bool {
        true
    }

    fn health(&self) -> Health {
        let kept = self.kept();
        Health { written: kept.written, records: kept.records.len() as u64, ..Health::default() }
    }
}

impl Archive for Memory {
    fn search(&self, query: &Query) -> Result<Page, StoreError> {
        let kept = self.kept();
        let is_between = |id: Cursor| {
            query.before.is_none_or(|before| id < before)
                && query.after.is_none_or(|after| id > after)
        };
        let wanted = |one: &&Stored| is_between(one.id) && query.matches(&one.record);
        let mut found = kept.records.iter().rev().filter(wanted).cloned();
        let records: Vec<_> = found.by_ref().take(query.limit).collect();
        let next = found.next().and_then(|_| Some(records.last()?.id));
        Ok(Page { records, next, partial: false, skipped: Vec::new() })
    }

    fn changes(&self, limit: usize) -> Result<Changes, StoreError> {
        let changes = self.kept().changes.iter().rev().take(limit).cloned().collect();
        Ok(Changes { changes, skipped: Vec::new() })
    }

    fn summary(&self, since: u64, until: u64) -> Result<Summary, StoreError> {
        let mut summary = Summary::of(since, until);
        let kept = self.kept();
        let (begin, end) = (summary.since, summary.until);
        let step = summary.step_minutes * 60_000;
        let is_within = |time: u64| (begin..end).contains(&time);
        for record in kept.records.iter().map(|stored| &stored.record) {
            if is_within(record.time) {
                sum(&mut summary, (record.time - begin) / step, record);
            }
        }
        for (time, counted) in kept.frames.iter().filter(|(time, _)| is_within(*time)) {
            let new =
                Counted { step: (time - begin) / step, reason: counted.reason.into(), frames: 0 };
            let is_same = |one: &Counted| one.step == new.step && one.reason == new.reason;
            one_of(&mut summary.frames, is_same, new.clone()).frames += counted.frames;
        }
        summary.sort();
        Ok(summary)
    }
}

fn sum(summary: &mut Summary, step: u64, record: &Record) {
    let Record { kind, status, stage, reason, count, country, ip, .. } = record.clone();
    let new = Decided { step, kind, status, stage, reason, count: 0 };
    let is_same = |one: &Decided| Decided { count: 0, ..one.clone() } == new;
    one_of(&mut summary.decisions, is_same, new.clone()).count += count;
    let new = Country { country: country.clone(), blocked: 0, accepted: 0 };
    let of_country = one_of(&mut summary.countries, |one| one.country == country, new);
    match kind {
        Kind::Blocked => of_country.blocked += count,
        Kind::Accepted => of_country.accepted += count,
    }
    if kind == Kind::Blocked {
        let new = Source { ip, country, blocked: 0 };
        one_of(&mut summary.sources, |one| one.ip == ip, new).blocked += count;
    }
}

/// The element of a list that is meant, or a new one.
fn one_of<T>(all: &mut Vec<T>, is_meant: impl Fn(&T) -> bool, new: T) -> &mut T {
    let index = all.iter().position(is_meant).unwrap_or_else(|| {
        all.push(new);
        all.len() - 1
    });
    &mut all[index]
}
