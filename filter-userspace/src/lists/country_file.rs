//! For which country a file of a folder is, by its name.

use super::country_code::CountryCode;

/// The ends of the names of list files.
const ENDINGS: [&str; 4] = ["cidr", "zone", "txt", "netset"];

/// What may stand beside the code: the family, and how the file was made.
const FAMILIES: [&str; 8] = ["ipv4", "ipv6", "ip4", "ip6", "v4", "v6", "inet", "inet6"];
const OTHERS: [&str; 6] = ["aggregated", "cidr", "cidrs", "zone", "country", "networks"];

/// What may stand before the word `country`: who located the networks.
const SOURCES: [&str; 12] = [
    "dbip",
    "geo",
    "geoip",
    "geolite",
    "geolite2",
    "id",
    "ip2location",
    "ipdeny",
    "ipinfo",
    "ipip",
    "ipverse",
    "maxmind",
];

/// The country that a file of a folder is for: `de.cidr`, `de.zone`, `de.txt`,
/// `de.netset`, `de-ipv4.txt`, `de-aggregated.zone`, `de_ipv6.cidr`, `country_de.netset`,
/// `ipv4/de.cidr`, and `ipv4-aggregated.txt` in a folder `de`.
///
/// Every word of the name must be known: `my-notes.txt` is not Malaysia.
#[must_use]
pub fn country_of_file(name: &str) -> Option<CountryCode> {
    let name = name.to_ascii_lowercase();
    let (folder, file) = match name.split_once('/') {
        Some((folder, file)) => (Some(folder), file),
        None => (None, name.as_str()),
    };
    let (stem, ending) = file.rsplit_once('.')?;
    if !ENDINGS.contains(&ending) {
        return None;
    }
    let words: Vec<_> = stem.split(['.', '-', '_']).collect();
    match folder {
        None => in_name(&words),
        Some(folder) if FAMILIES.contains(&folder) => in_name(&words),
        Some(folder) => {
            let code = CountryCode::from_data(folder)?;
            let is_known = |word: &&str| is_known(word) || *word == folder;
            words.iter().all(is_known).then_some(code)
        }
    }
}

/// The code at the beginning, or behind the word `country`: `ip2location_country_de`.
fn in_name(words: &[&str]) -> Option<CountryCode> {
    let (code, rest) = match words.iter().position(|word| *word == "country") {
        Some(place) if place + 1 < words.len() => {
            let is_source = |word: &&str| SOURCES.contains(word) || is_known(word);
            if !words[..place].iter().all(is_source) {
                return None;
            }
            (words[place + 1], &words[place + 2..])
        }
        _ => (*words.first()?, words.get(1..)?),
    };
    let code = CountryCode::from_data(code)?;
    rest.iter().all(|word| is_known(word)).then_some(code)
}

fn is_known(word: &str) -> bool {
    FAMILIES.contains(&word) || OTHERS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_country_files() {
        for name in [
            "de.cidr",
            "DE.zone",
            "De.CIDR",
            "de-ipv4.txt",
            "de-aggregated.zone",
            "de_ipv6.cidr",
            "de.netset",
            "de.ipv4.cidr",
            "country_de.netset",
            "id_country_de.netset",
            "ip2location_country_de.netset",
            "country-de-ipv6.txt",
            "geolite2_country_de.netset",
            "ipv4_country_de.netset",
            "de/de-ipv4.txt",
            "de/ipv4-aggregated.txt",
            "de/ipv4.txt",
            "ipv4/de.cidr",
            "IPv6/de-aggregated.zone",
            "v6/country_de.netset",
        ] {
            let code = country_of_file(name).map(|code| code.to_string());
            assert_eq!(code.as_deref(), Some("DE"), "{name}");
        }
        for name in [
            "README.txt",
            "de",
            "de.json",
            "deu.cidr",
            "d.cidr",
            "all/de.txt",
            "de/README",
            "de/README.txt",
            "my-notes.txt",
            "my.notes.txt",
            "to-do.txt",
            "in_use.txt",
            "continent_eu.netset",
            "country.txt",
            "old_country_de.netset",
            "not-country-de.netset",
            "fr_country_de.netset",
            "ipv4/old_country_de.netset",
            "country_continent_eu.netset",
            "notes_my.txt",
            "ipv4/my-notes.txt",
            "cn/old/cn.cidr",
        ] {
            assert_eq!(country_of_file(name), None, "{name}");
        }
    }
}
