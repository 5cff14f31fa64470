//! The sources that a configuration names: lists, country data, senders and recipients.

use std::path::{Path, PathBuf};

use filter_common::Class;

use crate::config::smtp::DomainEntry;
use crate::config::{Config, CountrySource, ListSource};

/// What follows where the recipients of a domain are not known.
pub(super) const BACKEND_DECIDES: &str = "the backend decides which of its recipients are valid";

/// A source, as an operator knows it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is for; the same file may be several things.
    pub kind: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Where the configuration names it, ` (…)`.
    pub place: String,
    /// Whether it is a folder of country files.
    pub is_folder: bool,
    /// Whether it may become as small as it likes.
    pub may_shrink: bool,
    /// What follows where nothing of it is known.
    pub without: &'static str,
    /// How the audit trail knows what it contains.
    pub told: Told,
}

/// How the audit trail knows what a source contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By what is compiled from it.
    Compiled,
    /// By its lines.
    Lines,
    /// As a whole.
    Whole,
}

impl Source {
    /// The name that no other source has.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.kind, self.path.display())
    }

    /// Every source that a configuration names, in the order in which they are compiled.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let mut all: Vec<_> = config.lists.iter().map(|list| Self::of_list(list, config)).collect();
        all.extend(config.countries.source.iter().map(|from| Self::of_countries(from, config)));
        let Some(smtp) = &config.smtp else { return all };
        let senders = &smtp.senders;
        all.extend(senders.approved_files.iter().map(|path| Self::of_approved(path, config)));
        all.extend(senders.blocked_files.iter().map(|path| Self::of_blocked(path, config)));
        for entry in &smtp.domains {
            let files = entry.recipients.iter();
            all.extend(files.map(|path| Self::of_recipients(path, entry, config)));
        }
        all
    }

    /// A list of addresses.
    pub(super) fn of_list(list: &ListSource, config: &Config) -> Self {
        let (section, kind, without) = match list.class {
            Class::ApprovedIp | Class::ApprovedCountry => {
                ("approved", "list of approved addresses", "nothing of it is approved")
            }
            Class::BlockedIp | Class::BlockedCountry => {
                ("blocked", "list of blocked addresses", "nothing of it is blocked")
            }
            Class::KnownSpamSource => {
                ("known_spam_sources", "list of known spam sources", "nothing of it is blocked")
            }
        };
        Self {
            may_shrink: list.may_shrink,
            without,
            told: Told::Compiled,
            ..Self::new(
                kind,
                &list.path,
                format!(" ({section}.files at {}:{})", config.path.display(), list.line),
            )
        }
    }

    /// The country data.
    pub(super) fn of_countries(from: &CountrySource, config: &Config) -> Self {
        let (key, is_folder) = match from {
            CountrySource::Database { .. } => ("database", false),
            CountrySource::Folder { .. } => ("folder", true),
        };
        let place = format!(" (countries.{key} in {})", config.path.display());
        Self {
            is_folder,
            without: "no address has a country",
            told: Told::Whole,
            ..Self::new("country data", from.path(), place)
        }
    }

    /// A list of approved senders.
    pub(super) fn of_approved(path: &Path, config: &Config) -> Self {
        Self::new("list of approved senders", path, senders_in(config))
    }

    /// A list of blocked senders.
    pub(super) fn of_blocked(path: &Path, config: &Config) -> Self {
        Self::new("list of blocked senders", path, senders_in(config))
    }

    /// A file of recipients, which the table of a domain names.
    pub(super) fn of_recipients(path: &Path, entry: &DomainEntry, config: &Config) -> Self {
        let place = format!(" ({}:{})", config.path.display(), entry.line);
        Self { without: BACKEND_DECIDES, ..Self::new("recipients", path, place) }
    }

    fn new(kind: &'static str, path: &Path, place: String) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            place,
            is_folder: false,
            may_shrink: false,
            without: "nothing of it is used",
            told: Told::Lines,
        }
    }
}

fn senders_in(config: &Config) -> String {
    format!(" (senders in {})", config.path.display())
}
