//! Countries of a MaxMind database.

use ipnet::IpNet;
use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;

use super::country::{Countries, CountryLimits};
use super::country_code::CountryCode;
use super::country_error::CountryError;
use super::prefix::normalise;

impl Countries {
    /// Reads a MaxMind database (GeoLite2 Country, or any with the same fields).
    ///
    /// The country is `country.iso_code`, or where that is missing and
    /// `registered` is set, `registered_country.iso_code`.
    ///
    /// # Errors
    ///
    /// When the database is damaged, larger than the limits, or says of no
    /// network in which country it is.
    pub fn from_mmdb(
        name: &str,
        bytes: impl AsRef<[u8]>,
        registered: bool,
        limits: &CountryLimits,
    ) -> Result<Self, CountryError> {
        let mut countries = Self::named(name);
        countries.read_mmdb(bytes.as_ref(), registered, limits)?;
        if countries.is_empty() {
            // An ASN database, say: no country would ever be blocked.
            return Err(CountryError::NoCountry);
        }
        countries.finish();
        Ok(countries)
    }

    fn read_mmdb(
        &mut self,
        bytes: &[u8],
        registered: bool,
        limits: &CountryLimits,
    ) -> Result<(), CountryError> {
        let reader = Reader::from_source(bytes)?;
        // A binary tree has one leaf more than it has nodes. A damaged one whose
        // nodes share children has up to 2^128 paths; counting the empty leaves
        // too ends the walk.
        let leaves = u64::from(reader.metadata().node_count) + 1;
        let options = WithinOptions::default().include_networks_without_data();
        let mut last = None;
        for (count, network) in (1..).zip(reader.networks(options)?) {
            // An IPv6 tree whose first 96 levels are missing has some leaves more.
            if count > leaves + 128 {
                return Err(CountryError::NoTree);
            }
            let network = network?;
            let Some(offset) = network.offset() else {
                continue;
            };
            // Neighbours share their record: decode it once.
            let code = match last {
                Some((known, code)) if known == offset => code,
                _ => {
                    let record: Option<Record<'_>> = network.decode()?;
                    record.and_then(|record| record.code(registered))
                }
            };
            last = Some((offset, code));
            let Some(code) = code else {
                continue;
            };
            if self.len() >= limits.networks {
                return Err(CountryError::TooLarge);
            }
            let net = network.network()?;
            if let Ok(net) = IpNet::new(net.ip(), net.prefix()) {
                self.push(normalise(net), code, 0, 0);
            }
        }
        self.files = vec![self.name().to_owned()];
        Ok(())
    }
}

/// What is read of a record; other fields are passed over.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    country: Option<Country<'a>>,
    #[serde(borrow, default)]
    registered_country: Option<Country<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    #[serde(borrow, default)]
    iso_code: Option<&'a str>,
}

impl Record<'_> {
    fn code(&self, registered: bool) -> Option<CountryCode> {
        let code = |country: &Option<Country<'_>>| {
            country.as_ref().and_then(|country| country.iso_code).and_then(CountryCode::from_data)
        };
        let registered = registered.then_some(&self.registered_country);
        code(&self.country).or_else(|| registered.and_then(code))
    }
}
