//! The keys of name servers, DNS lists, SPF and escalation.

use std::path::Path;

use super::Dns;
use super::section::{Section, Unit, clean};
use super::smtp::{Spf, ZoneKey};
use super::units;
use super::values::{networks, path, required, seconds, sockets};
use crate::policy::escalation::{Escalation, Threshold};
use crate::policy::reputation::{Action, Codes, Kind, LEVELS, Reputation, Service, WEIGHT, Zone};
use crate::policy::spf::{Action as SpfAction, Actions};
use crate::smtp::address::Domain;
use crate::smtp::refusal::Own;

/// The most zones of a service.
const ZONES: usize = 64;

/// The longest text of a reply that an operator may set, in letters.
const TEXT: usize = 200;

pub(super) fn dns(section: Section<'_>) -> Dns {
    let default = Dns::default();
    section.describe("servers", "", "the system's");
    let dns = Dns {
        servers: sockets(&section, "servers"),
        timeout: section.duration("timeout_ms", Unit::Milliseconds, 50..=60_000, 2000),
        attempts: section.integer("attempts", 1..=10, default.attempts),
        cache: section.integer("cache", 0..=10_000_000, default.cache),
        cache_bytes: section.integer("cache_bytes", 0..=1 << 40, default.cache_bytes),
        private_clients: section.boolean("private_clients", default.private_clients),
    };
    section.finish();
    dns
}

/// Both services, and where the keys of their zones are.
pub(super) fn reputation(section: Section<'_>, folder: &Path) -> (Reputation, Vec<ZoneKey>) {
    let mut keys = Vec::new();
    let standard = section.section("standard");
    let threshold = standard.integer("threshold", 1..=1_000_000, WEIGHT);
    let standard = service(standard, Kind::Standard, Some(threshold), folder, &mut keys);
    let dynamic = section.section("dynamic");
    let level: usize = dynamic.integer("level", 0..=4, 2);
    let threshold = level.checked_sub(1).and_then(|index| LEVELS.get(index)).copied();
    let dynamic = service(dynamic, Kind::Dynamic, threshold, folder, &mut keys);
    let reputation = Reputation {
        standard,
        dynamic,
        budget: section.duration("budget_ms", Unit::Milliseconds, 50..=60_000, 5000),
        control_interval: seconds(&section, "control_interval", 600),
        retry_interval: seconds(&section, "retry_interval", 30),
    };
    // Read for the whole configuration, since it concerns the packet filter.
    section.boolean("ers_compatible", false);
    section.finish();
    (reputation, keys)
}

fn service(
    section: Section<'_>,
    kind: Kind,
    threshold: Option<i32>,
    folder: &Path,
    keys: &mut Vec<ZoneKey>,
) -> Service {
    let action = section.choice(
        "action",
        &[("refuse", Action::Refuse), ("close", Action::Close), ("log", Action::Log)],
        Action::Refuse,
    );
    let default = if kind == Kind::Standard { "`550`" } else { "`450`" };
    let own = Own { code: code(&section, default), text: text(&section), more: None };
    let zones: Vec<_> = section.sections("zones");
    if let Some(surplus) = zones.get(ZONES) {
        surplus.wrong("name", format!("at most {ZONES} zones"));
    }
    let zones = zones.into_iter().enumerate().map(|(index, one)| {
        if let Some(file) = path(&one, "key_file", folder) {
            keys.push(ZoneKey { kind, zone: index, file, line: one.line() });
        }
        zone(one)
    });
    let zones = zones.collect();
    section.finish();
    Service { zones, threshold, action, own: (own != Own::default()).then_some(own) }
}

fn code(section: &Section<'_>, default: &str) -> Option<u16> {
    const CODES: [u16; 8] = [421, 450, 451, 452, 521, 550, 553, 554];
    let codes = CODES.map(|code| code.to_string()).join(", ");
    section.describe("code", &codes, default);
    if !section.has("code") {
        return None;
    }
    let code: u16 = section.integer("code", 400..=599, 550);
    if !CODES.contains(&code) {
        let message = format!("{code} is not one of {codes}");
        section.wrong("code", message);
    }
    Some(code)
}

fn text(section: &Section<'_>) -> Option<String> {
    section.describe("text", "text", "mxdp's own");
    let text = section.string("text")?;
    let printable = text.value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if text.value.trim().is_empty() || text.value.len() > TEXT || !printable {
        let message = format!("must be printable ASCII, of at most {TEXT} letters");
        section.error(&text.span, "text", message);
    }
    Some(text.value.trim().to_owned())
}

fn zone(section: Section<'_>) -> Zone {
    section.describe("name", "domain", "");
    section.describe("codes", "", "required");
    section.describe("families", "list of `ipv4`, `ipv6`", "both");
    let name = required(&section, "name");
    let domain = Domain::parse(&name).ok();
    if domain.is_none() && !name.is_empty() {
        let message = format!("`{}` is not a domain name, such as bl.example.org", clean(&name));
        section.wrong("name", message);
    }
    let listed = codes(&section, "codes");
    let message = "is missing: the answers that are listings, such as [\"127.0.0.2\"]; the \
                   zone's own pages say which";
    section.needs_some("codes", message);
    let families = section.strings("families");
    let has =
        |family: &str| families.is_empty() || families.iter().any(|named| named.value == family);
    for wrong in families.iter().filter(|named| !["ipv4", "ipv6"].contains(&named.value)) {
        let message = format!("`{}` is not one of \"ipv4\", \"ipv6\"", clean(wrong.value));
        section.error(&wrong.span, "families", message);
    }
    let zone = Zone {
        name: domain.map_or_else(String::new, |domain| domain.to_string()).into(),
        key: None,
        codes: listed,
        ignored: codes(&section, "ignored"),
        weight: section.integer("weight", -1_000_000..=1_000_000, WEIGHT),
        text: section.boolean("txt", false),
        v4: has("ipv4"),
        v6: has("ipv6"),
        control: section.boolean("control", true),
        line: section.line(),
    };
    section.finish();
    zone
}

fn codes(section: &Section<'_>, key: &'static str) -> Vec<Codes> {
    section.describe(key, "list of answers", "");
    let parse = |text: &super::section::At<&str>| {
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

/// SPF; none without the section.
pub(super) fn spf(section: Section<'_>) -> Option<Spf> {
    let is_there = section.is_there();
    let spf = Spf {
        actions: actions(&section, Actions::default()),
        exempt: networks(&section, "exempt"),
        header: section.boolean("received_spf", false),
        explanation: section.boolean("explanation", false),
        budget: section.duration("budget_ms", Unit::Milliseconds, 50..=120_000, 20_000),
    };
    section.finish();
    is_there.then_some(spf)
}

/// What results do for one domain; none where SPF is not checked for it.
pub(super) fn domain_spf(section: Section<'_>, all: Option<&Spf>) -> Option<Actions> {
    if section.is_there() && all.is_none() {
        section.missing("check", "needs a section [spf]");
    }
    for result in ["none", "neutral", "softfail", "fail", "temperror", "permerror"] {
        section.describe(result, "", &format!("as `spf.{result}`"));
    }
    let checked = section.boolean("check", true);
    let actions = actions(&section, all.map(|all| all.actions).unwrap_or_default());
    section.finish();
    (checked && all.is_some()).then_some(actions)
}

fn actions(section: &Section<'_>, default: Actions) -> Actions {
    let action = |key, default| {
        let choices = [
            ("accept", SpfAction::Accept),
            ("tag", SpfAction::Tag),
            ("defer", SpfAction::Defer),
            ("refuse", SpfAction::Refuse),
        ];
        section.choice(key, &choices, default)
    };
    Actions {
        none: action("none", default.none),
        neutral: action("neutral", default.neutral),
        softfail: action("softfail", default.softfail),
        fail: action("fail", default.fail),
        temperror: action("temperror", default.temperror),
        permerror: action("permerror", default.permerror),
    }
}

pub(super) fn escalation(section: Section<'_>) -> Escalation {
    let (dictionary, dictionary_share) = dictionary(section.section("dictionary"));
    let escalation = Escalation {
        reputation: threshold(section.section("reputation"), 0, 600),
        dictionary,
        dictionary_share,
        relay: threshold(section.section("relay"), 100, 600),
        early_talker: threshold(section.section("early_talker"), 3, 600),
        abuse: threshold(section.section("abuse"), 10, 600),
        flood: threshold(section.section("flood"), 100, 60),
        first: seconds(&section, "first", 300),
        longest: seconds(&section, "longest", 43_200),
        memory: seconds(&section, "memory", 86_400),
    };
    if escalation.first > escalation.longest {
        let first =
            units::show_milliseconds(u64::try_from(escalation.first.as_millis()).unwrap_or(0));
        section.wrong("longest", format!("is shorter than the first block ({first})"));
    }
    section.finish();
    escalation
}

fn threshold(section: Section<'_>, count: u32, window: u64) -> Threshold {
    let threshold = count_in(&section, count, window);
    section.finish();
    threshold
}

/// Recipients that do not exist: how many, and which share of all.
fn dictionary(section: Section<'_>) -> (Threshold, u32) {
    let threshold = count_in(&section, 100, 600);
    let share = section.integer("share", 1..=100, 80);
    section.finish();
    (threshold, share)
}

fn count_in(section: &Section<'_>, count: u32, window: u64) -> Threshold {
    Threshold {
        count: section.integer("count", 0..=1_000_000, count),
        window: seconds(section, "window", window),
    }
}
