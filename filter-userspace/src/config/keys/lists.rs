//! `[approved]`, `[blocked]` and `[known_spam_sources]`: the lists of each class.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use filter_common::Class;
use ipnet::IpNet;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, TextOrSection, clean};
use crate::lists::{CountryCode, OnBadLine, breadth, is_too_short, normalise};
use crate::smtp::address::Domain;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "Lists",
    sections: &["approved", "blocked", "known_spam_sources"],
    before: "The classes form a hierarchy, and the first that matches decides: approved\n\
             IP, blocked IP, approved country, blocked country, known spam source. An address\n\
             that no class decides passes, unless it is under a temporary block or over its rate.",
    after: "A list file has one entry a line: an IPv4 or IPv6 address, a CIDR, a range\n\
             (`192.0.2.10 - 192.0.2.20`), an address with a netmask (`192.0.2.0 255.255.255.0`), a block\n\
             as DShield writes it (first address, last address, length), or a JSON object with `cidr`.\n\
             `#` and `;` begin a comment; what stands behind the entry is its note. Host bits may be set\n\
             and are masked; `::ffff:0:0/96` is IPv4. So Spamhaus DROP (text and JSON, whose number of\n\
             records must be right), FireHOL netsets, DShield, ipsum and plain lists load as they are. A\n\
             bad line is shown with file, line and text; a note that begins like an address, a range or\n\
             a netmask and cannot be read so is one. A file that is UTF-16, compressed or an HTML page is\n\
             one error. A last line without a line end may have been cut: with `skip` it is skipped, else\n\
             it is an error where a cut could have widened it (`10.0.0.0/1` of `/16`), and a warning\n\
             otherwise. A block that hits loopback, this host, `listen.proxy_networks`, a backend or a\n\
             customer is a warning with file and line.",
};

keys! {
    /// Lists of approved addresses. A table has `path`, `on_bad_line` and `may_shrink`
    live APPROVED_FILES = "files";
    /// Approved addresses
    live APPROVED_ADDRESSES = "addresses";
    /// Domains whose hosts are approved: the networks of their SPF records, looked up again
    /// when their TTL ends, and kept in `state.folder`. A record that has lost more than half
    /// of its networks is an alarm, and the last ones stay active until `mxdp reload --accept
    /// spf:DOMAIN`. What depends on the message (`exists`, `ptr`, macros) is left out
    live SPF = "spf";
    /// Approved countries
    live APPROVED_COUNTRIES = "countries";
    /// Lists of blocked addresses. A table has the keys below
    live BLOCKED_FILES = "files";
    /// The same for `blocked.addresses`, and for a country file of `blocked.countries`
    live BLOCKED_FORCE = "force";
    /// Blocked addresses
    live BLOCKED_ADDRESSES = "addresses";
    /// Blocked countries
    live BLOCKED_COUNTRIES = "countries";
    /// Feeds of known spam sources, as `blocked.files`
    live FEED_FILES = "files";
    /// As `blocked.force`
    live FEED_FORCE = "force";
    /// Known spam sources
    live FEED_ADDRESSES = "addresses";
}

/// The keys of a table in `files`.
mod file {
    use crate::config::section::key::keys;

    keys! {
        /// The list's file
        live PATH = "path";
        /// Whether a line that is not an address is an error, or skipped and counted: `skip` is for
        /// feeds that others maintain
        live ON_BAD_LINE = "on_bad_line";
        /// Whether the file may block more than an IPv4 /8 or an IPv6 /16 at once
        live FORCE = "force";
        /// Whether networks that no mail from the Internet comes from are left out: loopback,
        /// private, link-local, documentation, multicast and reserved ones. FireHOL level 1 lists
        /// them
        live LEAVE_OUT_BOGONS = "leave_out_bogons";
        /// Whether the file is accepted even when it is empty or has lost more than half of its
        /// entries
        live MAY_SHRINK = "may_shrink";
    }
}

/// A list file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSource {
    /// What it makes of the addresses in it.
    pub class: Class,
    /// The file.
    pub path: PathBuf,
    /// What a bad line does.
    pub on_bad_line: OnBadLine,
    /// Whether it may block more than an IPv4 /8 or an IPv6 /16 at once.
    pub force: bool,
    /// Whether networks that no mail from the Internet comes from are left out of it.
    pub leave_out_bogons: bool,
    /// Whether it is accepted however few entries it has left.
    pub may_shrink: bool,
    /// The line of the configuration that names it.
    pub line: u32,
}

impl ListSource {
    /// A file that is named without anything beside it.
    pub(crate) const fn plain(class: Class, path: PathBuf, line: u32) -> Self {
        Self {
            class,
            path,
            on_bad_line: OnBadLine::Refuse,
            force: false,
            leave_out_bogons: false,
            may_shrink: false,
            line,
        }
    }
}

/// An address in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineEntry {
    /// What it is.
    pub class: Class,
    /// The network, masked.
    pub net: IpNet,
    /// Its line.
    pub line: u32,
}

/// A domain whose hosts are approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfDomain {
    /// The domain.
    pub domain: Domain,
    /// The line of the configuration.
    pub line: u32,
}

/// The keys of the section of a class.
struct ClassKeys {
    class: Class,
    section: Key,
    files: Key,
    addresses: Key,
    force: Option<Key>,
    spf: Option<Key>,
    countries: Option<Key>,
}

const APPROVED: ClassKeys = ClassKeys {
    class: Class::ApprovedIp,
    section: Key::table("approved"),
    files: APPROVED_FILES,
    addresses: APPROVED_ADDRESSES,
    force: None,
    spf: Some(SPF),
    countries: Some(APPROVED_COUNTRIES),
};

const BLOCKED: ClassKeys = ClassKeys {
    class: Class::BlockedIp,
    section: Key::table("blocked"),
    files: BLOCKED_FILES,
    addresses: BLOCKED_ADDRESSES,
    force: Some(BLOCKED_FORCE),
    spf: None,
    countries: Some(BLOCKED_COUNTRIES),
};

const KNOWN_SPAM_SOURCES: ClassKeys = ClassKeys {
    class: Class::KnownSpamSource,
    section: Key::table("known_spam_sources"),
    files: FEED_FILES,
    addresses: FEED_ADDRESSES,
    force: Some(FEED_FORCE),
    spf: None,
    countries: None,
};

/// The lists of all classes.
#[derive(Default)]
pub(in crate::config) struct AllLists {
    pub(in crate::config) files: Vec<ListSource>,
    pub(in crate::config) entries: Vec<InlineEntry>,
    /// Domains whose hosts are approved.
    pub(in crate::config) domains: Vec<SpfDomain>,
    pub(in crate::config) approved_countries: BTreeSet<CountryCode>,
    pub(in crate::config) blocked_countries: BTreeSet<CountryCode>,
    /// Whether `[blocked]` may block a very large part of the Internet at once.
    pub(in crate::config) force: bool,
}

/// Reads the sections of all classes.
pub(in crate::config) fn read(root: &Section<'_>, folder: &Path) -> AllLists {
    let mut lists = AllLists::default();
    lists.approved_countries = lists.read(root, &APPROVED, folder);
    lists.blocked_countries = lists.read(root, &BLOCKED, folder);
    lists.read(root, &KNOWN_SPAM_SOURCES, folder);
    lists
}

impl AllLists {
    /// Whether there is anything of a class, in files or in the configuration itself.
    pub(in crate::config) fn has(&self, class: Class) -> bool {
        self.files.iter().any(|list| list.class == class)
            || self.entries.iter().any(|entry| entry.class == class)
    }

    /// Reads the section of a class; what it says of countries is returned.
    fn read(
        &mut self,
        root: &Section<'_>,
        keys: &ClassKeys,
        folder: &Path,
    ) -> BTreeSet<CountryCode> {
        let section = root.section(keys.section);
        self.read_files(&section, keys, folder);
        let force = keys.force.is_some_and(|key| section.boolean(key, false));
        self.force |= force && keys.class == Class::BlockedIp;
        self.read_addresses(&section, keys, force);
        if let Some(key) = keys.spf {
            self.read_spf(&section, key);
        }
        let countries = keys.countries.map(|key| read_countries(&section, key));
        section.finish();
        countries.unwrap_or_default()
    }

    fn read_files(&mut self, section: &Section<'_>, keys: &ClassKeys, folder: &Path) {
        let ClassKeys { class, files, .. } = *keys;
        section.describe(files, "array of paths or tables", "");
        for element in section.strings_or_sections(files) {
            let place = element.span();
            let source = match element {
                TextOrSection::Text(path) => {
                    Some(ListSource::plain(class, folder.join(path.value), path.line))
                }
                TextOrSection::Section(table) => read_source(table, class, folder),
            };
            if let Some(source) = source {
                if self.files.iter().any(|known| known.class == class && known.path == source.path)
                {
                    let message = format!("{} is named twice", source.path.display());
                    section.error(&place, files, message);
                }
                self.files.push(source);
            }
        }
    }

    fn read_addresses(&mut self, section: &Section<'_>, keys: &ClassKeys, force: bool) {
        let ClassKeys { class, addresses, .. } = *keys;
        section.describe(addresses, "array of addresses and CIDRs", "");
        for text in section.strings(addresses) {
            match parse_net(text.value) {
                Some(net) if is_too_short(net) && !class.approves() && !force => {
                    let what = breadth(net);
                    let message = format!(
                        "{net} would block {what}; write `force = true` in this section if you \
                         mean it"
                    );
                    section.error(&text.span, addresses, message);
                }
                Some(net) => self.entries.push(InlineEntry { class, net, line: text.line }),
                None => {
                    let message = format!("`{}` is not an address or CIDR", clean(text.value));
                    section.error(&text.span, addresses, message);
                }
            }
        }
    }

    fn read_spf(&mut self, section: &Section<'_>, key: Key) {
        section.describe(key, "array of domains", "");
        for text in section.strings(key) {
            let Ok(domain) = Domain::parse(text.value) else {
                let message =
                    format!("`{}` is not a domain name, such as example.org", clean(text.value));
                section.error(&text.span, key, message);
                continue;
            };
            self.domains.push(SpfDomain { domain, line: text.line });
        }
    }
}

fn read_countries(section: &Section<'_>, key: Key) -> BTreeSet<CountryCode> {
    let mut countries = BTreeSet::new();
    section.describe(key, "array of ISO 3166-1 alpha-2 codes", "");
    for text in section.strings(key) {
        match text.value.parse::<CountryCode>() {
            Ok(code) if !countries.insert(code) => {
                section.error(&text.span, key, format!("{code} is named twice"));
            }
            Ok(_) => {}
            Err(error) => section.error(&text.span, key, error),
        }
    }
    countries
}

fn read_source(table: Section<'_>, class: Class, folder: &Path) -> Option<ListSource> {
    table.describe(file::PATH, "path", "required in a table");
    let path = table.string(file::PATH);
    if path.is_none() && !table.has(file::PATH) {
        table.missing(file::PATH, "is missing: the list's file");
    }
    let choices = [("refuse", OnBadLine::Refuse), ("skip", OnBadLine::Skip)];
    let on_bad_line = table.choice(file::ON_BAD_LINE, &choices, OnBadLine::Refuse);
    let force = !class.approves() && table.boolean(file::FORCE, false);
    let leave_out_bogons = !class.approves() && table.boolean(file::LEAVE_OUT_BOGONS, false);
    let may_shrink = table.boolean(file::MAY_SHRINK, false);
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
