//! `[reputation]`: DNS lists.

use std::path::{Path, PathBuf};

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{At, Section, Unit, clean};
use crate::config::values::{read_path, read_required, read_seconds};
use crate::policy::reputation::{Action, Codes, Kind, LEVELS, Reputation, Service, WEIGHT, Zone};
use crate::smtp::address::Domain;
use crate::smtp::refusal::Own;

/// The most zones of a service.
const MOST_ZONES: usize = 64;

/// The longest text of a reply that an operator may set, in letters.
const LONGEST_TEXT: usize = 200;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "DNS lists",
    sections: &["reputation"],
    before: "A zone lists an address when its answer is one of `codes`; nothing else is a listing.\n\
             Answers in 127.255.255.0/24, answers outside 127.0.0.0/8, answers that neither `codes`\n\
             nor `ignored` has, and no answer at all are errors: they count for nothing and raise an\n\
             alarm. A service refuses when the weights of the zones that list the client add up to its\n\
             threshold. Addresses that a list decides about (approved, blocked, known spam source,\n\
             temporary block) are not queried.",
    after: "",
};

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("reputation");

keys! {
    /// DNS lists that are stable: a hit is 550 5.7.1
    live STANDARD = "standard";
    /// DNS lists that change fast: a hit is 450 4.7.1
    live DYNAMIC = "dynamic";
    /// The weight that makes a hit
    live THRESHOLD = "threshold";
    /// How much weight makes a hit: 0 queries and never refuses; 1 to 4 are thresholds of 20,
    /// 10, 5 and 1
    live LEVEL = "level";
    /// What a hit does: `refuse` sends the reply; `close` sends 421 and ends the connection;
    /// `log` only writes a log entry
    live ACTION = "action";
    /// The code of the reply; 421 ends the session
    live CODE = "code";
    /// The text of the reply, between the address and the reference
    live TEXT = "text";
    /// The zones of the service, a table each
    live ZONES = "zones";
    /// Time limit for the answers of all zones, from the connection on; zones that answer later
    /// count as not listed
    live BUDGET_MS = "budget_ms";
    /// Time between checks of zones that work
    live CONTROL_INTERVAL = "control_interval";
    /// Time between checks of zones that do not work
    live RETRY_INTERVAL = "retry_interval";
    /// Whether blocked addresses and countries are only counted, and let in, while there is no
    /// standard reputation (zones and known spam sources): only dynamic reputation decides then
    live ERS_COMPATIBLE = "ers_compatible";
}

/// The keys of a zone.
mod zone {
    use crate::config::section::key::keys;

    keys! {
        /// The zone, without the key
        live NAME = "name";
        /// The answers that are listings: `127.0.0.2`, a range `127.0.0.2-127.0.0.11`, or bits
        /// `&0.0.0.6` of which an answer has any
        live CODES = "codes";
        /// The answers that are neither listings nor errors
        live IGNORED = "ignored";
        /// The weight of a listing; a list of good addresses has a negative weight
        live WEIGHT = "weight";
        /// The file that holds the account's key, which is put as a label before the zone, and
        /// never shown
        live KEY_FILE = "key_file";
        /// Whether the zone's TXT record is part of the reply
        live TXT = "txt";
        /// The address families that the zone lists
        live FAMILIES = "families";
        /// Whether mxdp checks that the zone lists 127.0.0.2 and not 127.0.0.1, as DNS lists do
        /// (RFC 5782). A zone that stops doing so is not used until it does again
        live CONTROL = "control";
    }
}

/// The file of a zone's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneKey {
    /// The service.
    pub kind: Kind,
    /// Which of its zones, from 0.
    pub zone: usize,
    /// The file.
    pub file: PathBuf,
    /// The line of the configuration.
    pub line: u32,
}

/// Both services, and where the keys of their zones are.
pub(in crate::config) fn read(section: Section<'_>, folder: &Path) -> (Reputation, Vec<ZoneKey>) {
    let mut keys = Vec::new();
    let standard = section.section(STANDARD);
    let threshold = standard.integer(THRESHOLD, 1..=1_000_000, WEIGHT);
    let standard = read_service(standard, Kind::Standard, Some(threshold), folder, &mut keys);
    let dynamic = section.section(DYNAMIC);
    let level: usize = dynamic.integer(LEVEL, 0..=4, 2);
    let threshold = level.checked_sub(1).and_then(|index| LEVELS.get(index)).copied();
    let dynamic = read_service(dynamic, Kind::Dynamic, threshold, folder, &mut keys);
    let reputation = Reputation {
        standard,
        dynamic,
        budget: section.duration(BUDGET_MS, Unit::Milliseconds, 50..=60_000, 5000),
        control_interval: read_seconds(&section, CONTROL_INTERVAL, 600),
        retry_interval: read_seconds(&section, RETRY_INTERVAL, 30),
    };
    // Read for the whole configuration, since it concerns the packet filter.
    section.boolean(ERS_COMPATIBLE, false);
    section.finish();
    (reputation, keys)
}

fn read_service(
    section: Section<'_>,
    kind: Kind,
    threshold: Option<i32>,
    folder: &Path,
    keys: &mut Vec<ZoneKey>,
) -> Service {
    let action = section.choice(
        ACTION,
        &[("refuse", Action::Refuse), ("close", Action::Close), ("log", Action::Log)],
        Action::Refuse,
    );
    let default = if kind == Kind::Standard { "`550`" } else { "`450`" };
    let own = Own { code: read_code(&section, default), text: read_text(&section), more: None };
    let zones: Vec<_> = section.sections(ZONES);
    if let Some(surplus) = zones.get(MOST_ZONES) {
        surplus.wrong(zone::NAME, format!("at most {MOST_ZONES} zones"));
    }
    let zones = zones.into_iter().enumerate().map(|(index, one)| {
        if let Some(file) = read_path(&one, zone::KEY_FILE, folder) {
            keys.push(ZoneKey { kind, zone: index, file, line: one.line() });
        }
        read_zone(one)
    });
    let zones = zones.collect();
    section.finish();
    Service { zones, threshold, action, own: (own != Own::default()).then_some(own) }
}

fn read_code(section: &Section<'_>, default: &str) -> Option<u16> {
    const CODES: [u16; 8] = [421, 450, 451, 452, 521, 550, 553, 554];
    let codes = CODES.map(|code| code.to_string()).join(", ");
    section.describe(CODE, &codes, default);
    if !section.has(CODE) {
        return None;
    }
    let code: u16 = section.integer(CODE, 400..=599, 550);
    if !CODES.contains(&code) {
        let message = format!("{code} is not one of {codes}");
        section.wrong(CODE, message);
    }
    Some(code)
}

fn read_text(section: &Section<'_>) -> Option<String> {
    section.describe(TEXT, "string", "mxdp's own");
    let text = section.string(TEXT)?;
    let printable = text.value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if text.value.trim().is_empty() || text.value.len() > LONGEST_TEXT || !printable {
        let message = format!("must be printable ASCII, of at most {LONGEST_TEXT} letters");
        section.error(&text.span, TEXT, message);
    }
    Some(text.value.trim().to_owned())
}

fn read_zone(section: Section<'_>) -> Zone {
    section.describe(zone::NAME, "domain", "");
    section.describe(zone::CODES, "", "required");
    section.describe(zone::FAMILIES, "array of `ipv4`, `ipv6`", "both");
    let name = read_required(&section, zone::NAME);
    let domain = Domain::parse(&name).ok();
    if domain.is_none() && !name.is_empty() {
        let message = format!("`{}` is not a domain name, such as bl.example.org", clean(&name));
        section.wrong(zone::NAME, message);
    }
    let listed = read_codes(&section, zone::CODES);
    let message = "is missing: the answers that are listings, such as [\"127.0.0.2\"]; the \
                   zone's own pages say which";
    section.needs_some(zone::CODES, message);
    let families = section.strings(zone::FAMILIES);
    let has =
        |family: &str| families.is_empty() || families.iter().any(|named| named.value == family);
    for wrong in families.iter().filter(|named| !["ipv4", "ipv6"].contains(&named.value)) {
        let message = format!("`{}` is not one of \"ipv4\", \"ipv6\"", clean(wrong.value));
        section.error(&wrong.span, zone::FAMILIES, message);
    }
    let zone = Zone {
        name: domain.map_or_else(String::new, |domain| domain.to_string()).into(),
        key: None,
        codes: listed,
        ignored: read_codes(&section, zone::IGNORED),
        weight: section.integer(zone::WEIGHT, -1_000_000..=1_000_000, WEIGHT),
        text: section.boolean(zone::TXT, false),
        v4: has("ipv4"),
        v6: has("ipv6"),
        control: section.boolean(zone::CONTROL, true),
        line: section.line(),
    };
    section.finish();
    zone
}

fn read_codes(section: &Section<'_>, key: Key) -> Vec<Codes> {
    section.describe(key, "array of answers", "");
    let parse = |text: &At<&str>| {
        let codes = Codes::parse(text.value);
        if codes.is_none() {
            let message = format!(
                "`{}` is not an answer of a list; write 127.0.0.2, a range 127.0.0.2-127.0.0.11, or bits \
                 &0.0.0.6; 127.255.255.0/24 never is",
                clean(text.value)
            );
            section.error(&text.span, key, message);
        }
        codes
    };
    section.strings(key).iter().filter_map(parse).collect()
}
