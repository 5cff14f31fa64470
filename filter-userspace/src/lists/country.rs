//! Countries: from an address to its ISO 3166-1 alpha-2 code.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::country_code::CountryCode;
use super::country_error::CountryError;
use super::country_file::country_of_file;
use super::embedded::embedded;
use super::options::{OnBadLine, ParseOptions, Purpose};
use super::parse::parse;
use super::place::Place;
use super::prefix::{Lengths, Prefix, canonical};
use super::protected::is_too_short;

/// How many disagreements of a folder's files are kept to be shown.
const CONFLICTS: usize = 20;

/// The bounds on a country database.
#[derive(Clone, Copy, Debug)]
pub struct CountryLimits {
    /// The most networks of both families.
    pub networks: usize,
}

/// A network of a country.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountryNet<P> {
    pub(super) net: P,
    pub(super) code: CountryCode,
    file: u16,
    line: u32,
}

/// The networks of all countries. Of nested networks the inner one counts.
#[derive(Clone, Debug, Default)]
pub struct Countries {
    name: String,
    pub(super) files: Vec<String>,
    pub(super) v4: Vec<CountryNet<Ipv4Net>>,
    pub(super) v6: Vec<CountryNet<Ipv6Net>>,
    lengths_v4: Lengths,
    lengths_v6: Lengths,
    conflicts: Vec<String>,
    conflict_count: usize,
}

/// An address's country and where it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) code: CountryCode,
    pub(super) prefix: IpNet,
    pub(super) place: Place,
}

impl Countries {
    /// None yet, of a file or a folder.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Reads the files of a folder, as (name in the folder, bytes); see
    /// [`country_of_file`] for the names. Other files are left alone.
    ///
    /// # Errors
    ///
    /// The bad lines of all files, with file and line; too many networks; no
    /// file with a country's name.
    pub fn from_folder(
        folder: &str,
        files: &[(String, Vec<u8>)],
        limits: &CountryLimits,
    ) -> Result<Self, CountryError> {
        let mut countries = Self::named(folder);
        let mut errors = Vec::new();
        for (name, bytes) in files {
            let Some(code) = country_of_file(name) else {
                continue;
            };
            let path = format!("{}/{name}", folder.trim_end_matches('/'));
            let options = ParseOptions {
                on_bad_line: OnBadLine::Refuse,
                purpose: Purpose::Country,
                leave_out_bogons: false,
                max_entries: limits.networks.saturating_sub(countries.len()),
            };
            match parse(bytes, &options) {
                Ok(list) => {
                    let file =
                        u16::try_from(countries.files.len()).map_err(|_| CountryError::TooLarge)?;
                    for (net, line) in list.entries() {
                        countries.push(net, code, file, line);
                    }
                    countries.files.push(path);
                }
                Err(error) => errors.push((path, error)),
            }
        }
        if !errors.is_empty() {
            return Err(CountryError::BadFiles(errors));
        }
        if countries.files.is_empty() {
            return Err(CountryError::NoFile(folder.to_owned()));
        }
        countries.finish();
        Ok(countries)
    }

    /// The file or folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The networks of both families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is no network.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many networks each country has.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<CountryCode, usize> {
        let mut counts = BTreeMap::new();
        let codes = self.v4.iter().map(|net| net.code).chain(self.v6.iter().map(|net| net.code));
        for code in codes {
            *counts.entry(code).or_default() += 1;
        }
        counts
    }

    /// The networks of the files of some countries that are too large for a country (shorter
    /// than an IPv4 /8 or an IPv6 /16), each with file and line. A database has no lines, and
    /// joins what stands side by side.
    pub fn too_wide<'a>(
        &'a self,
        codes: &'a BTreeSet<CountryCode>,
    ) -> impl Iterator<Item = (Place, IpNet)> + 'a {
        let v4 = self.v4.iter().filter(|found| is_too_short(found.net.into()));
        let v4 = v4.filter(|found| found.line > 0 && codes.contains(&found.code));
        let v6 = self.v6.iter().filter(|found| is_too_short(found.net.into()));
        let v6 = v6.filter(|found| found.line > 0 && codes.contains(&found.code));
        let v4 = v4.map(|found| self.located(found));
        let v6 = v6.map(|found| self.located(found));
        v4.chain(v6).map(|located| (located.place, located.prefix))
    }

    /// The first network of some countries inside a network, without those around it.
    pub(super) fn inside(
        &self,
        net: IpNet,
        codes: &BTreeSet<CountryCode>,
    ) -> impl Iterator<Item = IpAddr> {
        fn first<P: Prefix>(
            entries: &[CountryNet<P>],
            net: P,
            codes: &BTreeSet<CountryCode>,
        ) -> Option<IpAddr> {
            let start = entries.partition_point(|entry| entry.net < net);
            let mut inside = entries[start..].iter().take_while(|entry| net.holds(entry.net));
            inside.find(|entry| codes.contains(&entry.code)).map(|entry| entry.net.any().network())
        }
        let found = match net {
            IpNet::V4(net) => first(&self.v4, net, codes),
            IpNet::V6(net) => first(&self.v6, net, codes),
        };
        found.into_iter()
    }

    /// The networks that a folder's files give to two countries: the first file
    /// counts.
    pub fn conflicts(&self) -> impl Iterator<Item = String> {
        let more = self.conflict_count - self.conflicts.len();
        let rest = (more > 0).then(|| format!("{}: and {more} more such networks", self.name));
        self.conflicts.iter().cloned().chain(rest)
    }

    /// The country of an address.
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<CountryCode> {
        match canonical(address) {
            IpAddr::V4(address) => {
                find(&self.v4, &self.lengths_v4, address).map(|found| found.code)
            }
            // Whatever is said of the IPv6 networks around such an address: it is where
            // the IPv4 address in it is.
            IpAddr::V6(address) => match embedded(address) {
                Some(inside) => self.country(inside.into()),
                None => find(&self.v6, &self.lengths_v6, address).map(|found| found.code),
            },
        }
    }

    /// The country of an address, and which line says so.
    pub(super) fn locate(&self, address: IpAddr) -> Option<Located> {
        match canonical(address) {
            IpAddr::V4(address) => {
                find(&self.v4, &self.lengths_v4, address).map(|found| self.located(found))
            }
            IpAddr::V6(address) => match embedded(address) {
                Some(inside) => self.locate(inside.into()),
                None => find(&self.v6, &self.lengths_v6, address).map(|found| self.located(found)),
            },
        }
    }

    fn located<P: Prefix>(&self, found: &CountryNet<P>) -> Located {
        let file = self.files.get(usize::from(found.file)).unwrap_or(&self.name);
        let place = Place { file: file.clone(), line: found.line };
        Located { code: found.code, prefix: found.net.any(), place }
    }

    pub(super) fn push(&mut self, net: IpNet, code: CountryCode, file: u16, line: u32) {
        match net {
            IpNet::V4(net) => self.v4.push(CountryNet { net, code, file, line }),
            IpNet::V6(net) => self.v6.push(CountryNet { net, code, file, line }),
        }
    }

    pub(super) fn finish(&mut self) {
        let mut v4 = std::mem::take(&mut self.v4);
        let mut v6 = std::mem::take(&mut self.v6);
        self.settle(&mut v4);
        self.settle(&mut v6);
        self.lengths_v4 = Lengths::of(v4.iter().map(|entry| entry.net));
        self.lengths_v6 = Lengths::of(v6.iter().map(|entry| entry.net));
        self.v4 = v4;
        self.v6 = v6;
    }

    /// Sorts, and lets the first of equal networks stand.
    fn settle<P: Prefix>(&mut self, entries: &mut Vec<CountryNet<P>>) {
        entries.sort_unstable_by_key(|entry| (entry.net, entry.file, entry.line));
        entries.dedup_by(|later, first| {
            if later.net != first.net {
                return false;
            }
            if later.code != first.code {
                self.conflict_count += 1;
                if self.conflicts.len() < CONFLICTS {
                    let (first, later) = (self.located(first), self.located(later));
                    self.conflicts.push(format!(
                        "{}: {} is in {} and, by {}, in {}; the first counts",
                        first.place, first.prefix, first.code, later.place, later.code
                    ));
                }
            }
            true
        });
        entries.shrink_to_fit();
    }
}

fn find<'a, P: Prefix>(
    entries: &'a [CountryNet<P>],
    lengths: &Lengths,
    address: P::Address,
) -> Option<&'a CountryNet<P>> {
    lengths.find(entries, |entry| entry.net, address).and_then(|index| entries.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CountryLimits = CountryLimits { networks: 1000 };

    fn folder(files: &[(&str, &str)]) -> Result<Countries, CountryError> {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect();
        Countries::from_folder("geo", &files, &LIMITS)
    }

    fn code(countries: &Countries, address: &str) -> Option<String> {
        let address = address.parse().expect("an address");
        countries.country(address).map(|code| code.to_string())
    }

    #[test]
    fn a_6to4_or_nat64_address_is_where_its_ipv4_address_is() {
        let files = [("kp.cidr".to_owned(), b"175.45.176.0/22\n".to_vec())];
        let limits = CountryLimits { networks: 10 };
        let countries = Countries::from_folder("folder", &files, &limits).unwrap();
        let country = |text: &str| countries.country(text.parse().unwrap()).map(|c| c.to_string());
        for inside in ["2002:af2d:b001::1", "2002:af2d:b3ff:77::", "64:ff9b::af2d:b001"] {
            assert_eq!(country(inside).as_deref(), Some("KP"), "{inside}");
        }
        for outside in ["2002:af2d:b401::1", "64:ff9b:1::af2d:b001", "2001:db8::af2d:b001"] {
            assert_eq!(country(outside), None, "{outside}");
        }
        // The table of the kernel says the same.
        let policy = crate::lists::CountryPolicy {
            blocked: ["KP".parse().unwrap()].into(),
            ..Default::default()
        };
        let set = crate::lists::ListSet::new(Vec::new(), Some(countries), policy);
        let table = crate::lists::compile(&set).table;
        for address in
            ["2002:af2d:b001::1", "64:ff9b::af2d:b001", "2002:af2d:b401::1", "175.45.176.9"]
        {
            let address = address.parse().unwrap();
            assert_eq!(table.lookup(address), set.classify(address).classes, "{address}");
        }
    }

    #[test]
    fn the_most_specific_network_counts() {
        let countries = folder(&[
            ("de.cidr", "192.0.2.0/24\n2001:db8::/32\n"),
            ("fr.cidr", "192.0.2.128/25\n2001:db8:1::/48\n"),
            ("notes.txt", "nothing to read"),
        ])
        .expect("countries");
        assert_eq!(code(&countries, "192.0.2.1").as_deref(), Some("DE"));
        assert_eq!(code(&countries, "192.0.2.129").as_deref(), Some("FR"));
        assert_eq!(code(&countries, "::ffff:192.0.2.129").as_deref(), Some("FR"));
        assert_eq!(code(&countries, "192.0.3.1"), None);
        assert_eq!(code(&countries, "2001:db8:1::1").as_deref(), Some("FR"));
        assert_eq!(code(&countries, "2001:db8:2::1").as_deref(), Some("DE"));
        let located = countries.locate("192.0.2.200".parse().expect("an address")).expect("found");
        assert_eq!(located.place.to_string(), "geo/fr.cidr:1");
        assert_eq!(located.prefix.to_string(), "192.0.2.128/25");
    }

    #[test]
    fn a_network_of_two_countries_is_reported() {
        let countries = folder(&[("at.cidr", "192.0.2.0/24"), ("de.cidr", "\n192.0.2.0/24")])
            .expect("countries");
        assert_eq!(code(&countries, "192.0.2.1").as_deref(), Some("AT"));
        let conflicts: Vec<_> = countries.conflicts().collect();
        assert_eq!(
            conflicts,
            ["geo/at.cidr:1: 192.0.2.0/24 is in AT and, by geo/de.cidr:2, in DE; the first counts"]
        );
    }

    #[test]
    fn bad_lines_of_all_files_are_named() {
        let error = folder(&[("at.cidr", "x"), ("de.cidr", "192.0.2.1\ny")])
            .expect_err("bad lines")
            .to_string();
        assert!(error.contains("geo/at.cidr:1: `x`"), "{error}");
        assert!(error.contains("geo/de.cidr:2: `y`"), "{error}");
        assert!(
            folder(&[("x.json", "")])
                .expect_err("none")
                .to_string()
                .contains("holds no country file")
        );
    }

    #[test]
    fn what_is_too_wide_for_a_country_is_named() {
        let text = "0.0.0.0/0\n6.0.0.0/7\n8.0.0.0/8\n2000::/15\n2001::/16\n";
        let countries =
            folder(&[("at.cidr", "0.0.0.0/1\n"), ("de.cidr", text)]).expect("countries");
        let codes = |codes: &[&str]| codes.iter().map(|code| code.parse().expect("one")).collect();
        let wide = |of: &[&str]| {
            let codes = codes(of);
            let wide = countries.too_wide(&codes);
            wide.map(|(source, net)| format!("{source} {net}")).collect::<Vec<_>>()
        };
        let of_de =
            ["geo/de.cidr:1 0.0.0.0/0", "geo/de.cidr:2 6.0.0.0/7", "geo/de.cidr:4 2000::/15"];
        assert_eq!(wide(&["DE"]), of_de);
        assert_eq!(wide(&["AT"]), ["geo/at.cidr:1 0.0.0.0/1"]);
        assert_eq!(wide(&[]), [""; 0]);
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for bytes in [&b""[..], b"MaxMind.com", b"\xab\xcd\xefMaxMind.com", &[0xff; 4096]] {
            let error =
                Countries::from_mmdb("x", bytes, false, &LIMITS).expect_err("damaged").to_string();
            assert!(error.contains("is not a usable country database"), "{error}");
        }
    }
}
