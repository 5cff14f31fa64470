//! `[countries]`: where an address's country is looked up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::lists::{CountryCode, UnknownCountry};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Countries", sections: &["countries"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("countries");

keys! {
    /// A MaxMind database with `country.iso_code` (GeoLite2 Country and similar)
    live DATABASE = "database";
    /// A folder of CIDR files, instead of a database: `de.cidr`, `de.zone`, `de-ipv4.txt`,
    /// `country_de.netset`, `ipv4/de.cidr`, `ipv4.txt` in a folder `de` and so on. Files with
    /// other names are ignored, and named in a warning. Of nested networks the inner one
    /// counts. A country that is approved or blocked and has no network is a warning and an
    /// alarm
    live FOLDER = "folder";
    /// Whether `registered_country` counts where the database has no `country`
    live REGISTERED_COUNTRY = "registered_country";
    /// What an address without a country counts as. Private, reserved and similar addresses
    /// never have one, and do not count
    live UNKNOWN = "unknown";
}

/// Countries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countries {
    /// Where an address's country is looked up.
    pub source: Option<CountrySource>,
    /// Approved countries.
    pub approved: BTreeSet<CountryCode>,
    /// Blocked countries.
    pub blocked: BTreeSet<CountryCode>,
    /// Whether a file of a blocked country may have networks that are larger than an IPv4 /8
    /// or an IPv6 /16.
    pub force: bool,
    /// What an address without a country counts as.
    pub unknown: UnknownCountry,
}

/// Where an address's country is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountrySource {
    /// A MaxMind database.
    Database {
        /// The file.
        path: PathBuf,
        /// Whether the registered country counts where there is no other.
        registered_country: bool,
    },
    /// A folder of CIDR files.
    Folder {
        /// The folder.
        path: PathBuf,
    },
}

impl CountrySource {
    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Database { path, .. } | Self::Folder { path } => path,
        }
    }
}

/// Reads `[countries]`, with what the lists say of countries.
pub(in crate::config) fn read(
    section: Section<'_>,
    folder: &Path,
    approved: BTreeSet<CountryCode>,
    blocked: BTreeSet<CountryCode>,
    force: bool,
) -> Countries {
    for key in [DATABASE, FOLDER] {
        section.describe(key, "path", "");
    }
    let database = section.string(DATABASE);
    let files = section.string(FOLDER);
    let registered_country = section.boolean(REGISTERED_COUNTRY, false);
    let unknown = section.choice(
        UNKNOWN,
        &[
            ("none", UnknownCountry::None),
            ("approve", UnknownCountry::Approve),
            ("block", UnknownCountry::Block),
        ],
        UnknownCountry::None,
    );
    if let (Some(_), Some(files)) = (&database, &files) {
        section.error(&files.span, FOLDER, "a database is named as well: choose one");
    }
    if registered_country && !section.has(DATABASE) {
        let message = "has an effect only with a database";
        section.wrong(REGISTERED_COUNTRY, message);
    }
    let source = match (database, files) {
        (Some(database), _) => {
            Some(CountrySource::Database { path: folder.join(database.value), registered_country })
        }
        (None, Some(files)) => Some(CountrySource::Folder { path: folder.join(files.value) }),
        (None, None) => None,
    };
    let needed = !approved.is_empty() || !blocked.is_empty() || unknown != UnknownCountry::None;
    if needed && source.is_none() && !section.has(DATABASE) && !section.has(FOLDER) {
        let message = "is missing: countries are approved or blocked, and nothing says which \
                       address is where; name a database or a folder";
        section.missing(DATABASE, message);
    }
    section.finish();
    Countries { source, approved, blocked, force, unknown }
}
