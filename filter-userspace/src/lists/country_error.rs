//! Why country data cannot be used.

use maxminddb::MaxMindDbError;

use super::parse::ParseError;

/// Why a country database or a folder of country files was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum CountryError {
    /// The database cannot be read.
    #[error("is not a usable country database: {0}")]
    Damaged(#[from] MaxMindDbError),
    /// The search tree of the database has more leaves than nodes permit.
    #[error("is damaged: its search tree is invalid")]
    NoTree,
    /// There are more networks than permitted.
    #[error("has more networks than limits.prefixes permits")]
    TooLarge,
    /// No network has a country: it is a database of something else.
    #[error("names no country: is it a country database?")]
    NoCountry,
    /// Files that cannot be read, each with its name.
    #[error("{}", named(.0))]
    BadFiles(Vec<(String, ParseError)>),
    /// No file of the folder has the name of a country.
    #[error(
        "{0}: holds no country file (such as de.cidr, de-ipv4.txt, ipv4/de.cidr or \
         country_de.netset)"
    )]
    NoFile(String),
}

/// All errors, a line of text each.
fn named(files: &[(String, ParseError)]) -> String {
    files.iter().map(|(name, error)| error.display(name)).collect::<Vec<_>>().join("\n")
}
