//! The list compiler: from lists to the verdict table.
//!
//! The prefixes that hold an address form a chain, from the shortest to the
//! longest. IP lists add up along it; of country networks the innermost counts.
//! So one sorted sweep with a stack gives each prefix its set of classes, and a
//! prefix that says what the one around it says is left out. One longest-prefix
//! match then answers every list at once.
//!
//! Cost: 16 bytes for an IPv4 entry and 32 for IPv6 while compiling, and one sort.

use std::net::IpAddr;

use filter_common::{Class, ClassSet};
use ipnet::{Ipv4Net, Ipv6Net};

use super::bogons;
use super::country::CountryNet;
use super::embedded::{around, is_around};
use super::parse::Entry;
use super::prefix::{Lengths, Prefix, canonical};
use super::set::{CountryPolicy, ListSet, LoadedFile};

/// How many findings of each kind are kept to be shown.
const FINDINGS: usize = 1000;

/// Shorter blocked prefixes are worth a warning, in bits.
const WIDE_V4: u8 = 8;
const WIDE_V6: u8 = 16;

/// A verdict table: for each prefix the classes of the addresses in it that no
/// longer prefix of the table holds. Sorted by address, then by length; minimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The IPv4 prefixes.
    pub v4: Vec<(Ipv4Net, ClassSet)>,
    /// The IPv6 prefixes.
    pub v6: Vec<(Ipv6Net, ClassSet)>,
}

impl Table {
    /// The classes of an address, by longest-prefix match: what the kernel's
    /// tables answer. For tests; it looks at the whole table's lengths each time.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> ClassSet {
        match canonical(address) {
            IpAddr::V4(address) => lookup(&self.v4, address),
            IpAddr::V6(address) => lookup(&self.v6, address),
        }
    }

    /// The prefixes of both families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether no address has a class.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lookup<P: Prefix>(table: &[(P, ClassSet)], address: P::Address) -> ClassSet {
    let lengths = Lengths::of(table.iter().map(|(net, _)| *net));
    let index = lengths.find(table, |(net, _)| *net, address);
    index.map_or(ClassSet::EMPTY, |index| table[index].1)
}

/// The lists of a rule set, and the table compiled from them.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The lists, for the question "which line says so?".
    pub set: ListSet,
    /// The table, as the kernel has it.
    pub table: Table,
}

/// A table and what there is to say about the lists behind it.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The table.
    pub table: Table,
    /// What an operator may not have meant.
    pub conflicts: Conflicts,
}

/// What an operator may not have meant: bounded, with the whole count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    lines: Vec<String>,
    dead: usize,
    wide: usize,
    /// Entries inside another entry of their class: harmless.
    pub redundant: usize,
}

impl Conflicts {
    /// The findings, a line of text each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        for (count, what) in [(self.dead, "dead blocked entries"), (self.wide, "wide blocks")] {
            if count > FINDINGS {
                lines.push(format!("and {} more {what}", count - FINDINGS));
            }
        }
        lines
    }

    /// The blocked entries that an approved one makes void.
    #[must_use]
    pub const fn dead(&self) -> usize {
        self.dead
    }

    fn dead_entry(&mut self, blocked: &dyn Fn() -> String, approved: &dyn Fn() -> String) {
        self.dead += 1;
        if self.dead <= FINDINGS {
            self.lines.push(format!(
                "{} never blocks: {} approves all of it, and approved wins",
                blocked(),
                approved()
            ));
        }
    }

    fn wide_entry(&mut self, blocked: &dyn Fn() -> String) {
        self.wide += 1;
        if self.wide <= FINDINGS {
            self.lines.push(format!("{} blocks a very large part of the internet", blocked()));
        }
    }
}

/// Compiles the lists of a generation.
#[must_use]
pub fn compile(set: &ListSet) -> Compiled {
    let mut conflicts = Conflicts::default();
    for country in set.policy().approved.intersection(&set.policy().blocked) {
        conflicts.lines.push(format!(
            "country {country} is approved and blocked: approved wins, and nothing in it is blocked"
        ));
    }
    conflicts.lines.extend(set.countries().into_iter().flat_map(|all| all.conflicts()));
    let (files, policy) = (set.files(), set.policy());
    let countries = set.countries();
    let v4 = items(
        files.iter().map(|file| (file.class, file.list.v4.as_slice())),
        countries.map(|countries| countries.v4.as_slice()),
        bogons::v4(),
        policy,
    );
    let mut v6 = items(
        files.iter().map(|file| (file.class, file.list.v6.as_slice())),
        countries.map(|countries| countries.v6.as_slice()),
        bogons::v6(),
        policy,
    );
    v6.retain(|item| !(matches!(item.kind, Kind::Country(_)) && is_around(item.net)));
    v6.extend(embedded(countries.map(|countries| countries.v4.as_slice()), policy));
    v6.sort_unstable_by_key(|item| (item.net, item.kind, item.file, item.line));
    let unknown = policy.classes(None);
    let v4 = Sweep::new(files, unknown, WIDE_V4, &mut conflicts).run(&v4);
    let v6 = Sweep::new(files, unknown, WIDE_V6, &mut conflicts).run(&v6);
    Compiled { table: Table { v4, v6 }, conflicts }
}

/// A listed prefix of any kind.
#[derive(Clone, Copy)]
struct Item<P> {
    net: P,
    kind: Kind,
    file: u16,
    line: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A list file's entry.
    Listed(Class),
    /// A network of a country with these classes, which may be none.
    Country(ClassSet),
    /// A network that never has a country: it is not one whose country is unknown.
    Bogon,
}

/// The prefixes of all lists, sorted.
fn items<'a, P: Prefix + 'a>(
    files: impl Iterator<Item = (Class, &'a [Entry<P>])>,
    countries: Option<&[CountryNet<P>]>,
    bogons: impl Iterator<Item = P>,
    policy: &CountryPolicy,
) -> Vec<Item<P>> {
    let mut items = Vec::new();
    for (file, (class, entries)) in (0..).zip(files) {
        items.extend(entries.iter().map(|entry| Item {
            net: entry.net,
            kind: Kind::Listed(class),
            file,
            line: entry.line,
        }));
    }
    // Without a policy, no country's network can make a difference.
    let has_policy = !policy.approved.is_empty()
        || !policy.blocked.is_empty()
        || !policy.classes(None).is_empty();
    if has_policy {
        items.extend(countries.unwrap_or_default().iter().map(|network| Item {
            net: network.net,
            kind: Kind::Country(policy.classes(Some(network.code))),
            file: 0,
            line: 0,
        }));
    }
    if !policy.classes(None).is_empty() {
        items.extend(bogons.map(|net| Item { net, kind: Kind::Bogon, file: 0, line: 0 }));
    }
    items.sort_unstable_by_key(|item| (item.net, item.kind, item.file, item.line));
    items
}

/// What countries' IPv4 networks say of the 6to4 and NAT64 addresses that have one in them:
/// it counts in place of what is said of the IPv6 networks around those.
fn embedded(
    countries: Option<&[CountryNet<Ipv4Net>]>,
    policy: &CountryPolicy,
) -> Vec<Item<Ipv6Net>> {
    let nets = items(std::iter::empty(), countries, bogons::v4(), policy);
    let mut nothing = Conflicts::default();
    let mut table = Sweep::new(&[], policy.classes(None), WIDE_V4, &mut nothing).run(&nets);
    // The table leaves out what goes without saying, and here it does not.
    if table.first().is_none_or(|(net, _)| net.prefix_len() > 0) {
        table.push((Ipv4Net::default(), ClassSet::EMPTY));
    }
    let item = |net, classes| Item { net, kind: Kind::Country(classes), file: 0, line: 0 };
    table
        .into_iter()
        .flat_map(|(net, classes)| around(net).map(move |net| item(net, classes)))
        .collect()
}

/// What is known at a prefix: the sum of those around it and its own.
#[derive(Clone, Copy)]
struct Level<P> {
    net: Option<P>,
    listed: ClassSet,
    country: ClassSet,
    /// Whether a network of a country is at or around it.
    has_country: bool,
    /// The value of the nearest emitted prefix at or around this one.
    emitted: ClassSet,
    approved: Option<Item<P>>,
}

impl<P: Prefix> Level<P> {
    fn holds(&self, net: P) -> bool {
        self.net.is_none_or(|own| own.holds(net))
    }
}

struct Sweep<'a, P> {
    files: &'a [LoadedFile],
    unknown: ClassSet,
    wide: u8,
    conflicts: &'a mut Conflicts,
    /// Never empty: the first level is around every prefix. At most one level
    /// for each prefix length.
    stack: Vec<Level<P>>,
    table: Vec<(P, ClassSet)>,
}

impl<'a, P: Prefix> Sweep<'a, P> {
    fn new(
        files: &'a [LoadedFile],
        unknown: ClassSet,
        wide: u8,
        conflicts: &'a mut Conflicts,
    ) -> Self {
        Self { files, unknown, wide, conflicts, stack: Vec::new(), table: Vec::new() }
    }

    fn run(mut self, items: &[Item<P>]) -> Vec<(P, ClassSet)>
    where
        P: Default,
    {
        let everything = P::default();
        let mut root = Level {
            net: None,
            listed: ClassSet::EMPTY,
            country: self.unknown,
            has_country: false,
            emitted: ClassSet::EMPTY,
            approved: None,
        };
        let has_default = items.first().is_some_and(|item| item.net == everything);
        if !self.unknown.is_empty() && !has_default {
            self.table.push((everything, self.unknown));
            root.emitted = self.unknown;
        }
        self.stack.push(root);
        for group in items.chunk_by(|a, b| a.net == b.net) {
            if let Some(first) = group.first() {
                self.enter(first.net, group);
            }
        }
        self.table.shrink_to_fit();
        self.table
    }

    /// Takes the entries of one prefix.
    fn enter(&mut self, net: P, group: &[Item<P>]) {
        while self.stack.len() > 1 && !self.stack.last().is_some_and(|level| level.holds(net)) {
            self.stack.pop();
        }
        let Some(parent) = self.stack.last().copied() else {
            return;
        };
        let mut level = Level { net: Some(net), ..parent };
        for item in group {
            match item.kind {
                Kind::Listed(class) => {
                    self.conflicts.redundant += usize::from(level.listed.contains(class));
                    if class == Class::ApprovedIp && level.approved.is_none() {
                        level.approved = Some(*item);
                    }
                    level.listed = level.listed.with(class);
                }
                Kind::Country(classes) => {
                    level.country = classes;
                    level.has_country = true;
                }
                // The last at a prefix: whatever country is said to have it counts.
                Kind::Bogon if level.has_country => {}
                Kind::Bogon => level.country = ClassSet::EMPTY,
            }
        }
        self.find_conflicts(&level, group);
        let value = level.listed.union(level.country);
        if value != parent.emitted {
            self.table.push((net, value));
            level.emitted = value;
        }
        self.stack.push(level);
    }

    fn find_conflicts(&mut self, level: &Level<P>, group: &[Item<P>]) {
        let files = self.files;
        for item in group {
            let blocked = || describe(files, item);
            match (item.kind, &level.approved) {
                (Kind::Listed(Class::BlockedIp), Some(approved)) => {
                    self.conflicts.dead_entry(&blocked, &|| describe(files, approved));
                }
                (Kind::Listed(Class::BlockedIp | Class::KnownSpamSource), None)
                    if item.net.length() < self.wide =>
                {
                    self.conflicts.wide_entry(&blocked);
                }
                _ => {}
            }
        }
    }
}

fn describe<P: Prefix>(files: &[LoadedFile], item: &Item<P>) -> String {
    let place = files.get(usize::from(item.file)).map(|file| file.place(item.line).to_string());
    format!("{} ({})", item.net.any(), place.unwrap_or_default())
}
