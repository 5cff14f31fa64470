//! The keys: for each its type, its range and its default, in one place.

use std::collections::BTreeSet;
use std::path::Path;

use filter_common::abi::SynRate;
use filter_common::{Class, Enforcement};
use ipnet::IpNet;
use toml::de::DeTable;

use super::reference::Descriptions;
use super::section::{Document, Section, TextOrSection, clean};
use super::smtp::Smtp;
use super::smtp_keys;
use super::syntax::{Mended, mend};
use super::values::{absolute, duplicates};
use super::{
    Config, ConfigError, ConfigErrors, Control, Countries, CountrySource, Debug, EnforcementTable,
    Engine, Filter, Format, InlineEntry, Level, Limits, ListSource, Log, Mode, Reload, SpfDomain,
    State, SynRates, Temporary,
};
use super::{meaning, record, reputation_keys, web};
use crate::lists::{CountryCode, OnBadLine, UnknownCountry, breadth, is_too_short, normalise};
use crate::smtp::address::Domain;

/// The longest interface name, in bytes (IFNAMSIZ less its zero).
const INTERFACE_NAME: usize = 15;

/// The longest path of a unix socket, in bytes (unix(7), less its zero).
const SOCKET_PATH: usize = 107;

/// The port that is protected, with those that are listened on, unless the configuration
/// says otherwise.
const PORT: u16 = 25;

/// Checks the text of a configuration file. Relative paths in it are taken from
/// the folder of `path`.
///
/// # Errors
///
/// Everything that is wrong, in the order of the file.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigErrors> {
    let file = path.display().to_string();
    let document = Document::new(text, &file);
    let config = read(&document, &mend(text), path);
    let errors = document.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
}

/// The same, with what could be read beside the errors: what it names can be checked too.
/// There is nothing where faults of syntax may hide others.
#[must_use]
pub fn parse_all(bytes: &[u8], path: &Path) -> (Option<Config>, Vec<ConfigError>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let errors = super::parse_bytes(bytes, path).err();
        return (None, errors.map(|errors| errors.0).unwrap_or_default());
    };
    let file = path.display().to_string();
    let document = Document::new(text, &file);
    let mended = mend(text);
    let config = read(&document, &mended, path);
    (mended.is_readable.then_some(config), document.into_errors())
}

/// What reading a configuration says of its keys.
pub(super) fn describe(text: &str, path: &Path) -> Descriptions {
    let file = path.display().to_string();
    let document = Document::described(text, &file);
    _ = read(&document, &mend(text), path);
    document.into_descriptions()
}

fn read(document: &Document<'_>, mended: &Mended, path: &Path) -> Config {
    for (span, message) in &mended.faults {
        document.is_broken();
        document.error(span, "", message);
    }
    let (table, _) = DeTable::parse_recoverable(&mended.text);
    config(Section::root(document, &table), path)
}

fn config(root: Section<'_>, path: &Path) -> Config {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut lists =
        Lists { folder, files: Vec::new(), entries: Vec::new(), domains: Vec::new(), force: false };
    let mut filter = filter(root.section("filter"));
    let enforcement = enforcement(root.section("enforcement"));
    let approved = lists.read(root.section("approved"), Class::ApprovedIp);
    let blocked = lists.read(root.section("blocked"), Class::BlockedIp);
    lists.read(root.section("known_spam_sources"), Class::KnownSpamSource);
    let mut countries = countries(root.section("countries"), lists.folder, approved, blocked);
    countries.force = lists.force;
    let smtp = smtp_keys::smtp(&root, folder);
    if filter.ports.is_empty() {
        filter.ports = smtp.iter().flat_map(Smtp::ports).chain([PORT]).collect();
        filter.ports.sort_unstable();
        filter.ports.dedup();
    }
    let asked_for = root.section("reputation").boolean("ers_compatible", false);
    let has_feed = lists.files.iter().any(|list| list.class == Class::KnownSpamSource)
        || lists.entries.iter().any(|entry| entry.class == Class::KnownSpamSource);
    let has_zone = smtp.as_ref().is_some_and(|smtp| !smtp.reputation.standard.zones.is_empty());
    let ignores_blocked = asked_for && !has_feed && !has_zone;
    let state = state(root.section("state"));
    let config = Config {
        ignores_blocked,
        path: path.to_owned(),
        filter,
        enforcement: if ignores_blocked { enforcement.without_blocked() } else { enforcement },
        lists: lists.files,
        inline: lists.entries,
        countries,
        temporary: temporary(root.section("temporary")),
        syn_rate: syn_rate(root.section("syn_rate")),
        control: control(root.section("control")),
        record: record::record(root.section("record"), &state.folder),
        state,
        web: web::web(root.section("web"), folder),
        reload: reload(root.section("reload")),
        limits: limits(root.section("limits")),
        log: log(root.section("log")),
        dns: reputation_keys::dns(root.section("dns")),
        approved_spf: lists.domains,
        smtp,
    };
    meaning::cannot_work(&root);
    root.finish();
    config
}

fn filter(section: Section<'_>) -> Filter {
    section.describe("interfaces", "list of 1 to 64 names", "required");
    let interfaces = section.strings("interfaces");
    for name in &interfaces {
        let wrong = name.value.is_empty()
            || name.value.len() > INTERFACE_NAME
            || name.value.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        if wrong {
            let message =
                format!("`{}` is not an interface name (see `ip link`)", clean(name.value));
            section.error(&name.span, "interfaces", message);
        }
    }
    duplicates(&section, "interfaces", &interfaces);
    section.needs_some("interfaces", "name at least one, such as [\"eth0\"]");
    if let Some(surplus) = interfaces.get(64) {
        section.error(&surplus.span, "interfaces", "at most 64");
    }
    section.describe("ports", "", "`25`, and the ports that mxdp listens on for mail");
    let ports = section.integers::<u16>("ports", &(1..=65_535));
    duplicates(&section, "ports", &ports);
    if section.has("ports") {
        section.needs_some("ports", "name at least one, such as 25");
    }
    let ports: Vec<u16> = ports.iter().map(|port| port.value).collect();
    let filter = Filter {
        interfaces: interfaces.iter().map(|name| name.value.to_owned()).collect(),
        mode: section.choice(
            "mode",
            &[("auto", Mode::Auto), ("native", Mode::Native), ("generic", Mode::Generic)],
            Mode::Auto,
        ),
        ports,
        engine: section.choice(
            "engine",
            &[("auto", Engine::Auto), ("trie", Engine::Trie), ("ranges", Engine::Ranges)],
            Engine::Auto,
        ),
        pin: absolute(&section, "pin", super::DEFAULT_PIN),
        persist: section.boolean("persist", true),
        events_per_second: section.integer("events_per_second", 0..=100_000, 256),
        debug: section.choice(
            "debug",
            &[
                ("off", Debug::Off),
                ("error", Debug::Error),
                ("warn", Debug::Warn),
                ("info", Debug::Info),
                ("debug", Debug::Debug),
                ("trace", Debug::Trace),
            ],
            Debug::Off,
        ),
    };
    section.finish();
    filter
}

fn enforcement(section: Section<'_>) -> EnforcementTable {
    let choices = [Enforcement::Drop, Enforcement::Reject, Enforcement::Monitor]
        .map(|enforcement| (enforcement.name(), enforcement));
    let table = EnforcementTable {
        blocked_ip: section.choice("blocked_ip", &choices, Enforcement::Drop),
        blocked_country: section.choice("blocked_country", &choices, Enforcement::Drop),
        known_spam_source: section.choice("known_spam_source", &choices, Enforcement::Reject),
    };
    section.finish();
    table
}

/// The lists of all classes.
struct Lists<'a> {
    folder: &'a Path,
    files: Vec<ListSource>,
    entries: Vec<InlineEntry>,
    /// Domains whose hosts are approved.
    domains: Vec<SpfDomain>,
    /// Whether `[blocked]` may block a very large part of the Internet at once.
    force: bool,
}

impl<'a> Lists<'a> {
    /// Reads the lists of a class, and its countries.
    fn read(&mut self, section: Section<'a>, class: Class) -> CountryList {
        let folder = self.folder;
        section.describe("files", "list of paths or tables", "");
        for element in section.strings_or_sections("files") {
            let place = element.span();
            let source = match element {
                TextOrSection::Text(path) => {
                    Some(ListSource::plain(class, folder.join(path.value), path.line))
                }
                TextOrSection::Section(table) => list_source(table, class, folder),
            };
            if let Some(source) = source {
                if self.files.iter().any(|known| known.class == class && known.path == source.path)
                {
                    let message = format!("{} is named twice", source.path.display());
                    section.error(&place, "files", message);
                }
                self.files.push(source);
            }
        }
        let force = !class.approves() && section.boolean("force", false);
        self.force |= force && class == Class::BlockedIp;
        section.describe("addresses", "list of addresses and CIDRs", "");
        for text in section.strings("addresses") {
            match parse_net(text.value) {
                Some(net) if is_too_short(net) && !class.approves() && !force => {
                    let what = breadth(net);
                    let message = format!(
                        "{net} would block {what}; write `force = true` in this section if you \
                         mean it"
                    );
                    section.error(&text.span, "addresses", message);
                }
                Some(net) => self.entries.push(InlineEntry { class, net, line: text.line }),
                None => {
                    let message = format!("`{}` is not an address or CIDR", clean(text.value));
                    section.error(&text.span, "addresses", message);
                }
            }
        }
        if class == Class::ApprovedIp {
            section.describe("spf", "list of domains", "");
            for text in section.strings("spf") {
                let Ok(domain) = Domain::parse(text.value) else {
                    let message = format!(
                        "`{}` is not a domain name, such as example.org",
                        clean(text.value)
                    );
                    section.error(&text.span, "spf", message);
                    continue;
                };
                self.domains.push(SpfDomain { domain, line: text.line });
            }
        }
        let mut countries = BTreeSet::new();
        if class != Class::KnownSpamSource {
            section.describe("countries", "list of ISO 3166-1 alpha-2 codes", "");
            for text in section.strings("countries") {
                match text.value.parse::<CountryCode>() {
                    Ok(code) if !countries.insert(code) => {
                        section.error(&text.span, "countries", format!("{code} is named twice"));
                    }
                    Ok(_) => {}
                    Err(error) => section.error(&text.span, "countries", error),
                }
            }
        }
        section.finish();
        countries
    }
}

type CountryList = BTreeSet<CountryCode>;

fn list_source(table: Section<'_>, class: Class, folder: &Path) -> Option<ListSource> {
    table.describe("path", "path", "required in a table");
    let path = table.string("path");
    if path.is_none() && !table.has("path") {
        table.missing("path", "is missing: the list's file");
    }
    let choices = [("refuse", OnBadLine::Refuse), ("skip", OnBadLine::Skip)];
    let on_bad_line = table.choice("on_bad_line", &choices, OnBadLine::Refuse);
    let force = !class.approves() && table.boolean("force", false);
    let leave_out_bogons = !class.approves() && table.boolean("leave_out_bogons", false);
    let may_shrink = table.boolean("may_shrink", false);
    table.finish();
    let path = path?;
    let (line, path) = (path.line, folder.join(path.value));
    Some(ListSource { class, path, on_bad_line, force, leave_out_bogons, may_shrink, line })
}

/// A CIDR or a single address; host bits are masked.
fn parse_net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok();
    net.or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from)).map(normalise)
}

fn countries(
    section: Section<'_>,
    folder: &Path,
    approved: CountryList,
    blocked: CountryList,
) -> Countries {
    for key in ["database", "folder"] {
        section.describe(key, "path", "");
    }
    let database = section.string("database");
    let files = section.string("folder");
    let registered_country = section.boolean("registered_country", false);
    let unknown = section.choice(
        "unknown",
        &[
            ("none", UnknownCountry::None),
            ("approve", UnknownCountry::Approve),
            ("block", UnknownCountry::Block),
        ],
        UnknownCountry::None,
    );
    if let (Some(_), Some(files)) = (&database, &files) {
        section.error(&files.span, "folder", "a database is named as well: choose one");
    }
    if registered_country && !section.has("database") {
        let message = "means something only with a database";
        section.wrong("registered_country", message);
    }
    let source = match (database, files) {
        (Some(database), _) => {
            Some(CountrySource::Database { path: folder.join(database.value), registered_country })
        }
        (None, Some(files)) => Some(CountrySource::Folder { path: folder.join(files.value) }),
        (None, None) => None,
    };
    let needed = !approved.is_empty() || !blocked.is_empty() || unknown != UnknownCountry::None;
    if needed && source.is_none() && !section.has("database") && !section.has("folder") {
        let message = "is missing: countries are approved or blocked, and nothing says which \
                       address is where; name a database or a folder";
        section.missing("database", message);
    }
    section.finish();
    Countries { source, approved, blocked, force: false, unknown }
}

fn temporary(section: Section<'_>) -> Temporary {
    let capacity = section.integer("capacity", 1024..=2_097_152, 131_072);
    section.finish();
    Temporary { capacity }
}

fn syn_rate(section: Section<'_>) -> SynRates {
    for family in ["ipv4", "ipv6"] {
        section.describe(family, "table", "off");
    }
    let rates = SynRates {
        ipv4: rate(section.section("ipv4")),
        ipv6: rate(section.section("ipv6")),
        capacity: section.integer("capacity", 1024..=16_777_216, 65_536),
    };
    section.finish();
    rates
}

/// SYNs a second and a burst, as a generic cell rate.
fn rate(section: Section<'_>) -> SynRate {
    if section.is_there() && !section.has("per_second") {
        section.missing("per_second", "is missing: SYNs a second");
    }
    section.describe("per_second", "", "required in the table");
    section.describe("burst", "", "as `per_second`");
    let per_second: u64 = section.integer("per_second", 1..=1_000_000, 0);
    let burst = section.integer("burst", 1..=1_000_000, per_second.max(1));
    section.finish();
    if per_second == 0 {
        return SynRate::default();
    }
    let interval_ns = 1_000_000_000 / per_second;
    SynRate { interval_ns, tolerance_ns: (burst - 1) * interval_ns }
}

fn control(section: Section<'_>) -> Control {
    let kind = format!("absolute path of at most {SOCKET_PATH} bytes");
    section.describe("socket", &kind, "");
    let socket = absolute(&section, "socket", "/run/mxdp/mxdp.sock");
    if socket.as_os_str().len() > SOCKET_PATH {
        let message = format!("is longer than {SOCKET_PATH} bytes, which no socket may be");
        section.wrong("socket", message);
    }
    section.finish();
    Control { socket }
}

fn state(section: Section<'_>) -> State {
    let folder = absolute(&section, "folder", "/var/lib/mxdp");
    section.finish();
    State { folder }
}

fn reload(section: Section<'_>) -> Reload {
    let watch = section.boolean("watch", true);
    section.finish();
    Reload { watch }
}

fn limits(section: Section<'_>) -> Limits {
    let limits = Limits {
        file_bytes: section.size("file_bytes", 1024..=4_294_967_296, 268_435_456),
        prefixes: section.integer("prefixes", 1..=67_108_864, 16_777_216),
    };
    section.finish();
    limits
}

fn log(section: Section<'_>) -> Log {
    let log = Log {
        level: section.choice(
            "level",
            &[
                ("error", Level::Error),
                ("warn", Level::Warn),
                ("info", Level::Info),
                ("debug", Level::Debug),
                ("trace", Level::Trace),
            ],
            Level::Info,
        ),
        format: section.choice(
            "format",
            &[("text", Format::Text), ("json", Format::Json)],
            Format::Text,
        ),
    };
    section.finish();
    log
}
