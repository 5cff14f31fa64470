//! A walk over records: lookups, their limits, and the values of macros.

use std::net::IpAddr;

use super::macros::{MacroString, shortened};
use std::sync::Arc;

use super::evaluation::{Input, TraceLine};
use super::known::Known;
use super::record::{self, Lengths, Record};
use crate::dns::{Answer, Query, Record as DnsRecord, RecordType, reverse_name, reversed};

/// The maximum number of terms that query DNS (RFC 7208 section 4.6.4).
const TERMS: u32 = 10;

/// The maximum number of void lookups (RFC 7208 section 4.6.4).
const VOIDS: u32 = 2;

/// The maximum number of octets in the answers of an evaluation, each counted as often as it is
/// used. No real sender comes near that, and no DNS message may be longer.
const OCTETS: usize = 64 * 1024;

/// The maximum number of terms in all records of an evaluation, each counted as often as it is
/// evaluated.
const TERMS_IN_ALL: usize = 2000;

/// The longest text of a problem or of a mechanism that is kept, in bytes.
const SHOWN: usize = 256;

/// The maximum number of hosts of an `mx`, and of names of an address (RFC 7208 section 4.6.4).
const HOSTS: usize = 10;

/// The longest explanation, in bytes.
const EXPLANATION: usize = 500;

/// Why the walk stops.
pub(super) enum Halt {
    /// Answers are missing.
    Missing,
    /// DNS failed.
    Temporary(String),
    /// A record is invalid.
    Permanent(String),
    /// The value of a macro is not ASCII, which no name may have (RFC 8616 section 4).
    NotAscii,
}

pub(super) type Result<T> = std::result::Result<T, Halt>;

/// The sender that macros refer to.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) input: Input<'a>,
    pub(super) local: &'a str,
    /// The domain that the evaluation began with.
    pub(super) domain: &'a str,
}

/// A walk over records.
pub(super) struct Walk<'a> {
    known: &'a Known,
    pub(super) client: IpAddr,
    /// None if networks are listed, without a message.
    pub(super) sender: Option<Sender<'a>>,
    terms: u32,
    voids: u32,
    octets: usize,
    terms_in_all: usize,
    /// Whether the term has had a void lookup, which counts once.
    term_is_void: bool,
    pub(super) missing: Vec<Query>,
    pub(super) trace: Vec<TraceLine>,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(known: &'a Known, client: IpAddr) -> Self {
        Self {
            known,
            client,
            sender: None,
            terms: 0,
            voids: 0,
            octets: 0,
            terms_in_all: 0,
            term_is_void: false,
            missing: Vec::new(),
            trace: Vec::new(),
        }
    }

    pub(super) fn say(&mut self, depth: usize, text: impl FnOnce() -> String) {
        if !self.known.untraced {
            self.trace.push(TraceLine { depth, text: text() });
        }
    }

    /// The answer of DNS; if it is not known, it is noted as missing.
    pub(super) fn look(&mut self, name: &str, kind: RecordType) -> Result<&'a Answer> {
        let query = Query::new(name, kind);
        match self.known.answers.get(&query) {
            Some(Ok(answer)) => {
                self.octets = self.octets.saturating_add(answer.octets());
                if self.octets > OCTETS {
                    let why = format!("the answers about it have more than {OCTETS} octets");
                    return Err(Halt::Permanent(why));
                }
                Ok(answer)
            }
            Some(Err(failure)) => Err(Halt::Temporary(format!("{query}: {failure}"))),
            None if self.known.out_of_time => {
                Err(Halt::Temporary(format!("{query}: no time is left to ask")))
            }
            None => {
                // One host may occur in several records.
                if !self.missing.contains(&query) {
                    self.missing.push(query);
                }
                Err(Halt::Missing)
            }
        }
    }

    /// The same, for a term: too many void lookups are an error.
    pub(super) fn look_for_term(&mut self, name: &str, kind: RecordType) -> Result<&'a Answer> {
        let answer = self.look(name, kind)?;
        if answer.records.is_empty() && !self.term_is_void {
            self.term_is_void = true;
            self.voids += 1;
            if self.voids > VOIDS {
                let why = format!("{name}: more than {VOIDS} names that do not resolve");
                return Err(Halt::Permanent(why));
            }
        }
        Ok(answer)
    }

    /// Counts a term that queries DNS.
    pub(super) fn count_term(&mut self) -> Result<()> {
        self.terms += 1;
        self.term_is_void = false;
        if self.terms > TERMS {
            let why = format!("more than {TERMS} terms that ask DNS");
            return Err(Halt::Permanent(why));
        }
        Ok(())
    }

    /// The record of a domain, if it has one (RFC 7208 sections 4.3 to 4.6).
    pub(super) fn record(&mut self, domain: &str, depth: usize) -> Result<Option<Arc<Record>>> {
        if !is_domain(domain) {
            self.say(depth, || format!("{domain}: is no domain that can have a record"));
            return Ok(None);
        }
        let answer = match self.look(domain, RecordType::Txt) {
            Ok(answer) => answer,
            Err(Halt::Temporary(why)) => {
                self.say(depth, || why.clone());
                return Err(Halt::Temporary(why));
            }
            Err(halt) => return Err(halt),
        };
        let mut records = answer.texts().filter(|text| record::is_record(text));
        let Some(text) = records.next() else {
            self.say(depth, || format!("{domain}: has no record"));
            return Ok(None);
        };
        self.say(depth, || format!("{domain}: {}", String::from_utf8_lossy(text)));
        let is_one = records.next().is_none();
        let mut known = self.known.parsed.borrow_mut();
        let parsed = known.entry(domain.to_owned()).or_insert_with(|| {
            let several = Err("there are several records".to_owned());
            let parsed = if is_one { record::parse(text) } else { several };
            Arc::new(parsed.map(Arc::new).map_err(|wrong| shown(&wrong)))
        });
        let parsed = parsed.clone();
        drop(known);
        match &*parsed {
            Ok(record) => {
                self.terms_in_all += record.directives.len();
                if self.terms_in_all > TERMS_IN_ALL {
                    let why = format!("its records have more than {TERMS_IN_ALL} terms");
                    return Err(Halt::Permanent(why));
                }
                Ok(Some(record.clone()))
            }
            Err(wrong) => {
                self.say(depth + 1, || wrong.clone());
                Err(Halt::Permanent(format!("{domain}: {wrong}")))
            }
        }
    }

    /// The mail exchanges of a domain.
    pub(super) fn hosts(&mut self, target: &str) -> Result<Vec<String>> {
        let answer = self.look_for_term(target, RecordType::Mx)?;
        let mut hosts = Vec::new();
        for record in &answer.records {
            if let DnsRecord::Mx(preference, host) = record {
                hosts.push((*preference, host.clone()));
            }
        }
        if hosts.len() > HOSTS {
            let why = format!("{target}: more than {HOSTS} mail exchanges");
            return Err(Halt::Permanent(why));
        }
        hosts.sort();
        Ok(hosts.into_iter().map(|(_, host)| host).collect())
    }

    /// The names of the client that have its address (RFC 7208 section 5.5). A name whose lookup
    /// fails is not one of them.
    pub(super) fn validated_names(&mut self) -> Result<Vec<String>> {
        let names = match self.look(&reverse_name(self.client), RecordType::Ptr) {
            Ok(answer) => answer,
            Err(Halt::Missing) => return Err(Halt::Missing),
            Err(_) => return Ok(Vec::new()),
        };
        let (family, all) = (self.family(), Lengths { v4: 32, v6: 128 });
        let mut missing = false;
        let mut validated = Vec::new();
        for record in names.records.iter().take(HOSTS) {
            let DnsRecord::Ptr(name) = record else { continue };
            match self.look(name, family) {
                Ok(answer) if self.has_client(answer, all) => validated.push(name.clone()),
                Err(Halt::Missing) => missing = true,
                _ => {}
            }
        }
        if missing { Err(Halt::Missing) } else { Ok(validated) }
    }

    pub(super) const fn family(&self) -> RecordType {
        match self.client {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::Aaaa,
        }
    }

    pub(super) fn has_client(&self, answer: &Answer, lengths: Lengths) -> bool {
        answer.addresses().any(|address| match (address, self.client) {
            (IpAddr::V4(address), IpAddr::V4(client)) => {
                let shift = 32 - u32::from(lengths.v4);
                let differ = address.to_bits() ^ client.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(address), IpAddr::V6(client)) => {
                let shift = 128 - u32::from(lengths.v6);
                let differ = address.to_bits() ^ client.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        })
    }

    /// The name that a mechanism is about: its own, or else the domain.
    pub(super) fn target(&mut self, name: Option<&MacroString>, domain: &str) -> Result<String> {
        match name {
            Some(name) => self.name(name, domain),
            None => Ok(domain.to_owned()),
        }
    }

    pub(super) fn name(&mut self, name: &MacroString, domain: &str) -> Result<String> {
        let expanded = self.expand(name, domain)?;
        Ok(shortened(&expanded).to_ascii_lowercase())
    }

    pub(super) fn expand(&mut self, text: &MacroString, domain: &str) -> Result<String> {
        text.expand(|letter| self.value(letter, domain))
    }

    /// The value of a macro's letter (RFC 7208 section 7.2).
    fn value(&mut self, letter: u8, domain: &str) -> Result<String> {
        let Some(sender) = self.sender else {
            return Err(Halt::Permanent("depends on the message".to_owned()));
        };
        if matches!(letter, b's' | b'l') && !sender.local.is_ascii() {
            return Err(Halt::NotAscii);
        }
        Ok(match letter {
            b's' => format!("{}@{}", sender.local, sender.domain),
            b'l' => sender.local.to_owned(),
            b'o' => sender.domain.to_owned(),
            b'd' => domain.to_owned(),
            b'h' => sender.input.helo.to_owned(),
            b'v' => if self.client.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            b'i' => match self.client {
                IpAddr::V4(client) => client.to_string(),
                // An IPv6 address is written in nibbles here.
                IpAddr::V6(_) => reversed(self.client).to_ascii_uppercase().chars().rev().collect(),
            },
            b'p' => self.validated_name(domain)?,
            b'c' => self.client.to_string(),
            b'r' => sender.input.receiver.to_owned(),
            b't' => sender.input.unix.to_string(),
            _ => String::new(),
        })
    }

    fn validated_name(&mut self, domain: &str) -> Result<String> {
        let names = self.validated_names()?;
        let same = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_at_or_below(name, domain));
        let chosen = same.or_else(below).or_else(|| names.first());
        Ok(chosen.map_or_else(|| "unknown".to_owned(), Clone::clone))
    }

    /// The explanation of the domain whose record decided; none if it is invalid.
    pub(super) fn explanation(
        &mut self,
        exp: &MacroString,
        domain: &str,
    ) -> Result<Option<String>> {
        let name = self.name(exp, domain)?;
        let answer = self.look(&name, RecordType::Txt)?;
        let mut texts = answer.texts();
        let (Some(text), None) = (texts.next(), texts.next()) else { return Ok(None) };
        let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
        let Ok(text) = MacroString::explanation(text) else { return Ok(None) };
        let text = self.expand(&text, domain)?;
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let fits = !text.is_empty() && text.len() <= EXPLANATION;
        Ok((printable && fits).then_some(text))
    }
}

/// The beginning of a text that others wrote, within a bound.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(super) fn is_at_or_below(name: &str, domain: &str) -> bool {
    name.eq_ignore_ascii_case(domain)
        || name
            .len()
            .checked_sub(domain.len() + 1)
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.starts_with('.') && end[1..].eq_ignore_ascii_case(domain))
}

/// Whether a name can have a record: more than one label, each of 1 to 63 octets, and not a literal
/// (RFC 7208 section 4.3).
fn is_domain(name: &str) -> bool {
    let mut labels = name.split('.');
    (1..=253).contains(&name.len())
        && name.contains('.')
        && !name.starts_with('[')
        && labels.all(|label| (1..=63).contains(&label.len()))
}
