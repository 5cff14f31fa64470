//! ISO 3166-1 alpha-2 country codes.

use std::fmt;
use std::str::FromStr;

/// An ISO 3166-1 alpha-2 country code, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountryCode([u8; 2]);

/// A text that is not a country code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an assigned ISO 3166-1 alpha-2 country code (such as DE){hint}")]
pub struct CountryCodeError {
    text: String,
    hint: &'static str,
}

/// The codes assigned by ISO 3166-1, and XK, which the standard leaves to its
/// users and the databases use for Kosovo.
const ASSIGNED: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW \
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV \
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA \
    ZM ZW";

impl CountryCode {
    /// The code of a database or a file's name: any two letters, since databases
    /// also use codes that are no country's (EU, AP).
    #[must_use]
    pub fn from_data(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for CountryCode {
    type Err = CountryCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = Self::from_data(text).filter(|code| {
            ASSIGNED.split_ascii_whitespace().any(|assigned| assigned == code.as_str())
        });
        code.ok_or_else(|| CountryCodeError {
            text: text.chars().take(20).collect(),
            hint: if text.eq_ignore_ascii_case("UK") { "; the United Kingdom is GB" } else { "" },
        })
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assigned_codes_are_parsed() {
        assert_eq!(ASSIGNED.split_ascii_whitespace().count(), 250);
        assert!(ASSIGNED.split_ascii_whitespace().is_sorted());
        for code in ["DE", "de", "De", "XK", "US"] {
            let parsed: CountryCode = code.parse().expect(code);
            assert_eq!(parsed.as_str(), code.to_ascii_uppercase());
        }
        for code in ["", "D", "DEU", "XX", "EU", "D1", "ÄÖ"] {
            assert!(code.parse::<CountryCode>().is_err(), "{code}");
        }
        let error = "uk".parse::<CountryCode>().expect_err("not assigned").to_string();
        assert!(error.ends_with("the United Kingdom is GB"), "{error}");
    }
}
