//! Which records are wanted: one type for the command line, the API and the web console.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::codes::{Direction, Kind, Reason, Stage, Status};
use super::columns::Record;
use super::page::Cursor;
use super::pattern::Pattern;
use super::when;
use crate::lists::CountryCode;

/// Maximum number of records of one page.
pub const PAGE_LIMIT: usize = 1_000;

/// The default number of records of a page.
const PAGE: usize = 50;

/// The longest value that is searched for, in characters.
const VALUE_LIMIT: usize = 500;

/// Maximum number of words of a search for text: each is searched in every record that is
/// read.
const WORDS: usize = 16;

/// The names of the parts of a query.
pub const NAMES: [&str; 16] = [
    "type",
    "since",
    "until",
    "direction",
    "status",
    "stage",
    "reason",
    "ip",
    "country",
    "sender",
    "recipient",
    "reference",
    "text",
    "before",
    "after",
    "limit",
];

/// Which records are wanted. A part that is empty means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// One view only.
    pub kind: Option<Kind>,
    /// From this time on: milliseconds of the Unix epoch.
    pub since: Option<u64>,
    /// Before this time.
    pub until: Option<u64>,
    /// One direction only.
    pub direction: Option<Direction>,
    /// One of these.
    pub statuses: Vec<Status>,
    /// One of these.
    pub stages: Vec<Stage>,
    /// One of these.
    pub reasons: Vec<Reason>,
    /// Clients of this network.
    pub net: Option<IpNet>,
    /// Clients of one of these countries; [`NO_COUNTRY`] are those that have none.
    pub countries: Vec<String>,
    /// The envelope sender.
    pub sender: Option<Pattern>,
    /// The envelope recipient.
    pub recipient: Option<Pattern>,
    /// A reference, or a session with all that it attempted.
    pub reference: Option<String>,
    /// Words, in lower case; each is in Subject or Message-ID.
    pub words: Vec<String>,
    /// Older than this record.
    pub before: Option<Cursor>,
    /// Newer than this record.
    pub after: Option<Cursor>,
    /// Maximum number of records, at most [`PAGE_LIMIT`].
    pub limit: usize,
}

/// The code of addresses without a country.
pub(super) const NO_COUNTRY: &str = "none";

impl Default for Query {
    fn default() -> Self {
        Self {
            kind: None,
            since: None,
            until: None,
            direction: None,
            statuses: Vec::new(),
            stages: Vec::new(),
            reasons: Vec::new(),
            net: None,
            countries: Vec::new(),
            sender: None,
            recipient: None,
            reference: None,
            words: Vec::new(),
            before: None,
            after: None,
            limit: PAGE,
        }
    }
}

/// A part of a query that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadQuery {
    /// The part.
    pub name: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl std::error::Error for BadQuery {}

impl Query {
    /// Reads a query from names and values, such as those of a URL. Empty values
    /// mean nothing; lists are separated by commas.
    ///
    /// # Errors
    ///
    /// Every part that is wrong.
    pub fn read<'a>(
        parts: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: u64,
    ) -> Result<Self, Vec<BadQuery>> {
        let mut query = Self::default();
        let mut wrong = Vec::new();
        for (name, value) in parts {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            if let Err(message) = query.set(name, value, now) {
                wrong.push(BadQuery { name: name.to_owned(), message });
            }
        }
        wrong.extend(query.contradictions());
        if wrong.is_empty() { Ok(query) } else { Err(wrong) }
    }

    /// Parts that are valid each, and together cannot match any record.
    fn contradictions(&self) -> Vec<BadQuery> {
        let bad = |name: &str, message: &str| BadQuery {
            name: name.to_owned(),
            message: message.to_owned(),
        };
        let mut wrong = Vec::new();
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            wrong.push(bad("until", "the search ends before it begins"));
        }
        if let (Some(after), Some(before)) = (self.after, self.before)
            && after >= before
        {
            wrong.push(bad("after", "must be less than `before`"));
        }
        let only = |status| self.statuses == [status];
        if self.kind == Some(Kind::Blocked) && only(Status::Delivered) {
            wrong.push(bad("status", "what was delivered is accepted traffic, not blocked"));
        }
        if self.kind == Some(Kind::Accepted) && only(Status::Dropped) {
            wrong.push(bad("status", "what was dropped is blocked traffic, not accepted"));
        }
        wrong
    }

    fn set(&mut self, name: &str, value: &str, now: u64) -> Result<(), String> {
        if value.chars().count() > VALUE_LIMIT {
            return Err(format!("longer than {VALUE_LIMIT} characters"));
        }
        match name {
            "type" => {
                self.kind = Some(one_of(value, &Kind::ALL.map(|kind| (kind.name(), kind)))?);
            }
            "since" => self.since = Some(when::read(value, now)?),
            "until" => self.until = Some(when::read(value, now)?),
            "direction" => {
                self.direction = Some(one_of(value, &known(direction_names(), Direction::read))?);
            }
            "status" => {
                self.statuses = each_of(value, &Status::ALL.map(|status| (status.name(), status)))?;
            }
            "stage" => self.stages = each_of(value, &known(stage_names(), Stage::read))?,
            "reason" => self.reasons = each_of(value, &known(reason_names(), Reason::read))?,
            "ip" => self.net = Some(net(value)?),
            "country" => self.countries = each(value, country)?,
            "sender" => self.sender = Some(Pattern::read(value)?),
            "recipient" if value == "<>" => {
                return Err("only a sender can be null: write bob@example.org".to_owned());
            }
            "recipient" => self.recipient = Some(Pattern::read(value)?),
            "reference" => self.reference = Some(reference(value)?),
            "text" => {
                let words: Vec<_> = value.split_whitespace().map(str::to_lowercase).collect();
                if words.len() > WORDS {
                    let count = words.len();
                    return Err(format!("{count} words are too many: {WORDS} at most"));
                }
                self.words = words;
            }
            "before" => self.before = Some(cursor(value)?),
            "after" => self.after = Some(cursor(value)?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_LIMIT).contains(limit));
                self.limit =
                    limit.ok_or_else(|| format!("expected a number from 1 to {PAGE_LIMIT}"))?;
            }
            _ => {
                return Err(format!(
                    "not a part of a search; expected one of {}",
                    NAMES.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Whether a record is wanted; what the query means, wherever records are kept.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.kind.is_none_or(|kind| record.kind == kind)
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.direction.as_ref().is_none_or(|direction| record.direction == *direction)
            && (self.statuses.is_empty() || self.statuses.contains(&record.status))
            && (self.stages.is_empty() || self.stages.contains(&record.stage))
            && (self.reasons.is_empty() || self.reasons.contains(&record.reason))
            && self.net.is_none_or(|net| net.contains(&record.ip.to_canonical()))
            && (self.countries.is_empty() || self.has_country(record))
            && is_match(self.sender.as_ref(), record.sender.as_deref())
            && is_match(self.recipient.as_ref(), record.recipient.as_deref())
            && self.reference.as_ref().is_none_or(|wanted| {
                [&record.reference, &record.session].into_iter().flatten().any(|is| is == wanted)
            })
            && (self.words.is_empty() || self.has_words(record))
    }

    fn has_country(&self, record: &Record) -> bool {
        let country = record.country.as_deref().unwrap_or(NO_COUNTRY);
        self.countries.iter().any(|wanted| wanted == country)
    }

    fn has_words(&self, record: &Record) -> bool {
        let lower = |text: &Option<String>| text.as_deref().map(str::to_lowercase);
        let texts = [lower(&record.subject), lower(&record.message_id)];
        self.words.iter().all(|word| texts.iter().flatten().any(|text| text.contains(word)))
    }
}

fn is_match(pattern: Option<&Pattern>, address: Option<&str>) -> bool {
    match (pattern, address) {
        (None, _) => true,
        (Some(pattern), Some(address)) => pattern.matches(address),
        (Some(_), None) => false,
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Codes, each with what it means.
fn known<T>(codes: Vec<&'static str>, read: impl Fn(&str) -> T) -> Vec<(&'static str, T)> {
    codes.into_iter().map(|code| (code, read(code))).collect()
}

fn one_of<T: Clone>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == value);
    found.map(|(_, item)| item.clone()).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        format!("`{value}` is not one of {}", names.join(", "))
    })
}

fn each_of<T: Clone>(value: &str, known: &[(&str, T)]) -> Result<Vec<T>, String> {
    each(value, |item| one_of(item, known))
}

/// The elements of a list. Commas alone are not a list; they would match everything.
fn each<T>(value: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items: Vec<T> = list(value).map(read).collect::<Result<_, _>>()?;
    if items.is_empty() { Err(format!("`{value}` is an empty list")) } else { Ok(items) }
}

/// A reference as replies have it: letters, digits and `-`.
fn reference(value: &str) -> Result<String, String> {
    let is_one = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if value.chars().all(is_one) {
        Ok(value.to_ascii_uppercase())
    } else {
        Err(format!("`{value}` is not a reference such as 1M85655RH000Y-1"))
    }
}

/// The codes of stages, in the order in which they decide.
#[must_use]
pub fn stage_names() -> Vec<&'static str> {
    Stage::codes().collect()
}

/// The codes of reasons.
#[must_use]
pub fn reason_names() -> Vec<&'static str> {
    Reason::codes()
}

/// The codes of statuses.
#[must_use]
pub fn status_names() -> Vec<&'static str> {
    Status::ALL.iter().map(|status| status.name()).collect()
}

/// The codes of directions.
#[must_use]
pub fn direction_names() -> Vec<&'static str> {
    Direction::codes().collect()
}

fn cursor(value: &str) -> Result<Cursor, String> {
    value
        .parse()
        .map_err(|_| format!("`{value}` is not a cursor: use the value of an `id` or of `next`"))
}

fn net(value: &str) -> Result<IpNet, String> {
    let net = match value.parse::<IpAddr>() {
        Ok(ip) => Ok(IpNet::from(ip.to_canonical())),
        Err(_) => value.parse::<IpNet>(),
    };
    let net = net.map_err(|_| {
        format!("`{value}` is neither an address nor a network, such as 192.0.2.0/24")
    })?;
    // `::ffff:192.0.2.0/120` is 192.0.2.0/24, as everywhere.
    let net = match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => IpNet::new(v4.into(), v6.prefix_len() - 96).unwrap_or(net),
            None => net,
        },
        _ => net,
    };
    Ok(net.trunc())
}

fn country(value: &str) -> Result<String, String> {
    if value.eq_ignore_ascii_case(NO_COUNTRY) {
        return Ok(NO_COUNTRY.to_owned());
    }
    let code = value.to_ascii_uppercase().parse::<CountryCode>();
    code.map(|code| code.to_string()).map_err(|_| {
        format!("`{value}` is not a country code of two letters such as DE, nor `{NO_COUNTRY}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let ip = "192.0.2.7".parse().unwrap();
        Record {
            country: Some("DE".to_owned()),
            sender: Some("Anna@example.org".to_owned()),
            recipient: Some("bob@example.com".to_owned()),
            reference: Some("01ABC-1".to_owned()),
            session: Some("01ABC".to_owned()),
            subject: Some("Größe of the Invoice".to_owned()),
            message_id: Some("x1@example.org".to_owned()),
            ..Record::new(
                1_000_000,
                ip,
                Status::Permanent,
                Stage::read("connection"),
                Reason::read("blocked_ip"),
            )
        }
    }

    fn read(parts: &[(&str, &str)]) -> Result<Query, Vec<BadQuery>> {
        Query::read(parts.iter().copied(), 2_000_000)
    }

    #[test]
    fn each_part_chooses() {
        for (name, meant, not_meant) in [
            ("type", "blocked", "accepted"),
            ("since", "1000s", "999s"),
            ("until", "999s", "1000s"),
            ("direction", "inbound", "outgoing"),
            ("status", "permanent", "temporary,dropped"),
            ("stage", "syn,connection", "spf"),
            ("reason", "blocked_ip,blocked_country", "spf_refused"),
            ("ip", "192.0.2.0/24", "192.0.2.8"),
            ("country", "at,de", "none"),
            ("sender", "*@example.org", "<>"),
            ("recipient", "bob@*", "*@example.org"),
            ("reference", "01abc", "01ABC-2"),
            ("text", "GRÖSSE", "invoice letter"),
            ("text", "invoice x1@", "invoices"),
        ] {
            // ß has no single capital: what people write is folded as they wrote it.
            let meant = if meant == "GRÖSSE" { "GRÖßE" } else { meant };
            assert!(read(&[(name, meant)]).unwrap().matches(&record()), "{name}={meant}");
            let query = read(&[(name, not_meant)]).unwrap();
            assert!(!query.matches(&record()), "{name}={not_meant}");
        }
        assert!(read(&[("sender", "")]).unwrap().matches(&record()));
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let wrong = read(&[
            ("type", "spam"),
            ("since", "yesterday"),
            ("country", "Germany"),
            ("ip", "192.0.2.0/33"),
            ("reason", "blocked_ip,because"),
            ("limit", "0"),
            ("before", "x"),
            ("colour", "red"),
            ("text", &"x".repeat(501)),
        ])
        .unwrap_err();
        let names: Vec<_> = wrong.iter().map(|wrong| wrong.name.as_str()).collect();
        let all = ["type", "since", "country", "ip", "reason", "limit", "before", "colour", "text"];
        assert_eq!(names, all);
        assert!(wrong[4].message.starts_with("`because` is not one of accepted, "));
        for (parts, expected) in [
            (vec![("sender", "a b@example.com")], "sender: `a b@example.com` has a space"),
            (vec![("recipient", "<>")], "recipient: only a sender can be null"),
            (vec![("reference", "1M 2")], "reference: `1M 2` is not a reference"),
            (vec![("reason", ",")], "reason: `,` is an empty list"),
            (vec![("country", " , ")], "country: `,` is an empty list"),
            (vec![("since", "2026-11-23T05:14:07 01:00")], "in a URL, write + as %2B"),
            (vec![("type", "blocked"), ("status", "delivered")], "status: what was delivered"),
            (vec![("type", "accepted"), ("status", "dropped")], "status: what was dropped"),
            (vec![("after", "5"), ("before", "5")], "after: must be less than"),
        ] {
            let wrong = read(&parts).unwrap_err();
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            assert!(wrong[0].to_string().contains(expected), "{expected}: {}", wrong[0]);
        }
        let wrong = read(&[("since", "1h"), ("until", "2h")]).unwrap_err();
        assert_eq!(wrong[0].to_string(), "until: the search ends before it begins");
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        for ip in ["::ffff:192.0.2.7", "::ffff:192.0.2.0/120"] {
            assert!(read(&[("ip", ip)]).unwrap().matches(&record()));
        }
    }
}
