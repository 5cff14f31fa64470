//! Sums over files, from the tables that keep them by the minute.

use std::collections::HashMap;
use std::net::IpAddr;

use rusqlite::{Connection, Row};

use super::files::{RecordFile, TIME_SHIFT};
use super::reader::{Reader, bounds};
use super::schema::signed;
use crate::record::{
    Counted, Country, Decided, Kind, Query, Reason, Source, Stage, Status, Summary,
};
use crate::store::traits::StoreError;

/// The blocked records, the newest, whose sources are counted.
const RECENT: u64 = 50_000;

const DECISIONS: &str = "\
SELECT (minute - ?1) / ?3, type, status, stage, reason, sum(count) FROM minute
WHERE minute >= ?1 AND minute < ?2 GROUP BY 1, 2, 3, 4, 5";

const FRAMES: &str = "\
SELECT (minute - ?1) / ?2, reason, sum(frames) FROM frames
WHERE minute >= ?1 AND minute < ?3 GROUP BY 1, 2";

const COUNTRIES: &str = "\
SELECT country, type, sum(count) FROM minute WHERE minute >= ?1 AND minute < ?2 GROUP BY 1, 2";

const SOURCES: &str = "\
SELECT ip, country, sum(count), count(*) FROM (
    SELECT ip, country, count FROM record
    WHERE id >= ?1 AND id <= ?2 AND time >= ?3 AND time < ?4 AND type = 'blocked'
    ORDER BY id DESC LIMIT ?5
) GROUP BY ip";

#[derive(Default)]
struct Sums {
    decisions: HashMap<Key, u64>,
    frames: HashMap<(u64, Reason), u64>,
    countries: HashMap<String, [u64; 2]>,
    sources: HashMap<IpAddr, (Option<String>, u64)>,
    recent: u64,
}

/// Step, type, status, stage and reason.
type Key = (u64, Kind, Status, Stage, Reason);

impl Reader {
    /// Adds up what happened in the time of a summary.
    pub(super) fn summary(
        &mut self,
        files: &[RecordFile],
        mut summary: Summary,
    ) -> Result<Summary, StoreError> {
        let mut sums = Sums::default();
        for file in files.iter().rev() {
            // Numbers are never behind the times of their records.
            let begins = (file.first >> TIME_SHIFT).saturating_sub(file.skew);
            if begins >= summary.until || file.last >> TIME_SHIFT < summary.since {
                continue;
            }
            summary.skipped.extend(file.missing());
            if file.is_aside() {
                continue;
            }
            let added =
                self.within(file, |connection| add(connection, file, &summary, &mut sums))?;
            if let Err(missing) = added
                && file.broken.is_none()
            {
                summary.skipped.push(missing);
            }
        }
        summary.partial = !summary.skipped.is_empty();
        for ((step, kind, status, stage, reason), count) in sums.decisions {
            summary.decisions.push(Decided { step, kind, status, stage, reason, count });
        }
        let frames = sums.frames.into_iter();
        summary.frames =
            frames.map(|((step, reason), frames)| Counted { step, reason, frames }).collect();
        let countries = sums.countries.into_iter();
        summary.countries = countries
            .map(|(country, [blocked, accepted])| Country {
                country: Some(country).filter(|country| !country.is_empty()),
                blocked,
                accepted,
            })
            .collect();
        let sources = sums.sources.into_iter();
        summary.sources =
            sources.map(|(ip, (country, blocked))| Source { ip, country, blocked }).collect();
        summary.sort();
        Ok(summary)
    }
}

fn add(
    connection: &Connection,
    file: &RecordFile,
    summary: &Summary,
    sums: &mut Sums,
) -> rusqlite::Result<()> {
    let (since, until) = (signed(summary.since / 60_000), signed(summary.until / 60_000));
    let step = signed(summary.step_minutes);
    let mut select = connection.prepare_cached(DECISIONS)?;
    let mut rows = select.query((since, until, step))?;
    while let Some(row) = rows.next()? {
        let code = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let (kind, status) = (Kind::read(code(1)?), Status::read(code(2)?));
        let (stage, reason) = (Stage::read(code(3)?), Reason::read(code(4)?));
        if let (Some(kind), Some(status)) = (kind, status) {
            let key = (number(row, 0)?, kind, status, stage, reason);
            *sums.decisions.entry(key).or_default() += number(row, 5)?;
        }
    }
    let mut select = connection.prepare_cached(FRAMES)?;
    let mut rows = select.query((since, step, until))?;
    while let Some(row) = rows.next()? {
        let reason = Reason::read(row.get_ref(1)?.as_str()?);
        *sums.frames.entry((number(row, 0)?, reason)).or_default() += number(row, 2)?;
    }
    let mut select = connection.prepare_cached(COUNTRIES)?;
    let mut rows = select.query((since, until))?;
    while let Some(row) = rows.next()? {
        let is_blocked = row.get_ref(1)?.as_str()? == "blocked";
        let counts = sums.countries.entry(row.get(0)?).or_default();
        counts[usize::from(!is_blocked)] += number(row, 2)?;
    }
    let query =
        Query { since: Some(summary.since), until: Some(summary.until), ..Query::default() };
    if sums.recent < RECENT
        && let Some((from, to)) = bounds(file, &query)
    {
        // Numbers may be ahead of times, so that the times have the last word.
        let (since, until) = (signed(summary.since), signed(summary.until));
        let most = signed(RECENT - sums.recent);
        let mut select = connection.prepare_cached(SOURCES)?;
        let mut rows = select.query((signed(from), signed(to), since, until, most))?;
        while let Some(row) = rows.next()? {
            let Ok(ip) = row.get_ref(0)?.as_str()?.parse() else { continue };
            let source = sums.sources.entry(ip).or_insert((row.get(1)?, 0));
            source.1 += number(row, 2)?;
            sums.recent += number(row, 3)?;
        }
    }
    Ok(())
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    Ok(u64::try_from(number).unwrap_or(0))
}
