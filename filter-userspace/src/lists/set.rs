//! All lists of a generation, and the question "which line says so?".

use std::collections::BTreeSet;
use std::net::IpAddr;

use filter_common::{Class, ClassSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::bogons::is_bogon;
use super::country::Countries;
use super::country_code::CountryCode;
use super::embedded::embedded;
use super::parse::{Entry, ParsedList};
use super::place::Place;
use super::prefix::canonical;

/// A list file and what it makes of the addresses in it.
#[derive(Clone, Debug)]
pub struct LoadedFile {
    /// Its path, for people.
    pub name: String,
    /// The class of its entries: an IP class or known spam source.
    pub class: Class,
    /// Its entries.
    pub list: ParsedList,
}

/// What an address without a country counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownCountry {
    /// It matches no country list.
    #[default]
    None,
    /// It counts as in an approved country.
    Approve,
    /// It counts as in a blocked country.
    Block,
}

/// What countries are approved and blocked.
#[derive(Clone, Debug, Default)]
pub struct CountryPolicy {
    /// Approved countries.
    pub approved: BTreeSet<CountryCode>,
    /// Blocked countries.
    pub blocked: BTreeSet<CountryCode>,
    /// What an address without a country counts as, but for those that never have one:
    /// private, reserved and the like.
    pub unknown: UnknownCountry,
}

impl CountryPolicy {
    /// The classes of an address in `country`.
    #[must_use]
    pub fn classes(&self, country: Option<CountryCode>) -> ClassSet {
        let Some(country) = country else {
            return match self.unknown {
                UnknownCountry::None => ClassSet::EMPTY,
                UnknownCountry::Approve => ClassSet::of(Class::ApprovedCountry),
                UnknownCountry::Block => ClassSet::of(Class::BlockedCountry),
            };
        };
        let mut classes = ClassSet::EMPTY;
        if self.approved.contains(&country) {
            classes = classes.with(Class::ApprovedCountry);
        }
        if self.blocked.contains(&country) {
            classes = classes.with(Class::BlockedCountry);
        }
        classes
    }
}

/// Everything that gives an address its classes.
#[derive(Clone, Debug, Default)]
pub struct ListSet {
    files: Vec<LoadedFile>,
    countries: Option<Countries>,
    policy: CountryPolicy,
}

/// What the lists say of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classification {
    /// The classes whose lists name it.
    pub classes: ClassSet,
    /// Its country.
    pub country: Option<CountryCode>,
    /// For each of the classes, in hierarchy order, the entry that says so.
    pub matches: Vec<Match>,
}

/// The entry that gives an address a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The class.
    pub class: Class,
    /// The listed prefix: the most specific of the class around the address.
    pub prefix: IpNet,
    /// Where it is listed.
    pub place: Place,
    /// The note beside it.
    pub note: Option<String>,
}

impl ListSet {
    /// The lists of a generation.
    #[must_use]
    pub fn new(
        files: Vec<LoadedFile>,
        countries: Option<Countries>,
        policy: CountryPolicy,
    ) -> Self {
        Self { files, countries, policy }
    }

    /// The list files, in the order of the configuration.
    #[must_use]
    pub fn files(&self) -> &[LoadedFile] {
        &self.files
    }

    /// The country data.
    #[must_use]
    pub const fn countries(&self) -> Option<&Countries> {
        self.countries.as_ref()
    }

    /// What countries are approved and blocked.
    #[must_use]
    pub const fn policy(&self) -> &CountryPolicy {
        &self.policy
    }

    /// What the lists say of an address; an IPv4-mapped one is the IPv4 address.
    #[must_use]
    pub fn classify(&self, address: IpAddr) -> Classification {
        let address = canonical(address);
        let mut found = Classification::default();
        for class in [Class::ApprovedIp, Class::BlockedIp, Class::KnownSpamSource] {
            if let Some(matched) = self.match_of(class, address) {
                found.classes = found.classes.with(class);
                found.matches.push(matched);
            }
        }
        let located = self.countries.as_ref().and_then(|countries| countries.locate(address));
        found.country = located.as_ref().map(|located| located.code);
        let (prefix, place) = match (located, &self.countries) {
            (Some(located), _) => (located.prefix, located.place),
            (None, countries) => (
                everything(address),
                Place::whole(countries.as_ref().map_or("countries", Countries::name)),
            ),
        };
        let classes = match found.country {
            None if never_has_country(address) => ClassSet::EMPTY,
            country => self.policy.classes(country),
        };
        for class in classes.iter() {
            found.classes = found.classes.with(class);
            let place = place.clone();
            found.matches.push(Match { class, prefix, place, note: None });
        }
        found.matches.sort_by_key(|matched| matched.class);
        found
    }

    fn match_of(&self, class: Class, address: IpAddr) -> Option<Match> {
        let matches = self.files.iter().filter(|file| file.class == class);
        let matches = matches.filter_map(|file| file.matched(address));
        // The first of the longest, as `max_by_key` would give the last.
        matches.fold(None, |best: Option<Match>, found| match best {
            Some(best) if best.prefix.prefix_len() >= found.prefix.prefix_len() => Some(best),
            _ => Some(found),
        })
    }
}

impl LoadedFile {
    fn matched(&self, address: IpAddr) -> Option<Match> {
        let list = &self.list;
        match address {
            IpAddr::V4(address) => {
                let index = list.lengths_v4.find(&list.v4, |entry| entry.net, address)?;
                list.v4.get(index).map(|entry| self.match_at(entry, entry.net.into()))
            }
            IpAddr::V6(address) => {
                let index = list.lengths_v6.find(&list.v6, |entry| entry.net, address)?;
                list.v6.get(index).map(|entry| self.match_at(entry, entry.net.into()))
            }
        }
    }

    fn match_at<P>(&self, entry: &Entry<P>, prefix: IpNet) -> Match {
        Match {
            class: self.class,
            prefix,
            place: self.place(entry.line),
            note: self.list.note(entry),
        }
    }

    /// A line of it.
    pub(super) fn place(&self, line: u32) -> Place {
        Place { file: self.name.clone(), line }
    }
}

/// Whether an address can be in no country, so that data without it lack nothing.
fn never_has_country(address: IpAddr) -> bool {
    let inside = match address {
        IpAddr::V6(outer) => embedded(outer).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    is_bogon(inside.unwrap_or(address).into())
}

/// The default route of an address's family.
fn everything(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => Ipv4Net::default().into(),
        IpAddr::V6(_) => Ipv6Net::default().into(),
    }
}
