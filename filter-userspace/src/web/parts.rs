//! The parameters of a query string or a form, as the API and the pages read them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::error::ApiError;
use crate::config::units;
use crate::control::protocol::{WINDOW_LIMIT, Window};
use crate::policy::explain::ExplainedEnvelope;

/// The maximum length of the value of a parameter, in characters.
pub(super) const VALUE_LIMIT: usize = 500;

/// The largest size that a message may declare: JSON's numbers are exact up to it.
pub(super) const SIZE_LIMIT: u64 = (1 << 53) - 1;

/// The parameters of a query string.
#[derive(Clone)]
pub(super) struct Parts(Vec<(String, String)>);

impl Parts {
    pub(super) fn of(query: Option<&str>) -> Result<Self, ApiError> {
        let uri = format!("/?{}", query.unwrap_or_default()).parse();
        let uri = uri.map_err(|_| ApiError::bad_request("the query string is malformed"))?;
        let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let parsed = parsed.map_err(|error| ApiError::bad_request(error.body_text()))?;
        let too_long = parsed.0.iter().find(|(_, value)| value.chars().count() > VALUE_LIMIT);
        if let Some((name, _)) = too_long {
            let message = format!("{name}: longer than {VALUE_LIMIT} characters");
            return Err(ApiError::bad_request(message));
        }
        let parts = Self(parsed.0);
        // One of two values would be ignored.
        for (index, (name, value)) in parts.0.iter().enumerate() {
            let is_given = |(other, given): &(String, String)| other == name && !given.is_empty();
            if !value.is_empty() && parts.0[..index].iter().any(is_given) {
                return Err(ApiError::bad_request(format!(
                    "{name} is given twice; separate several values by commas"
                )));
            }
        }
        Ok(parts)
    }

    pub(super) fn into_inner(self) -> Vec<(String, String)> {
        self.0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }

    /// The value of a parameter; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is present but may be empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).max_by_key(|value| !value.is_empty())
    }

    pub(super) fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || {
            let expected = expected(name);
            ApiError::bad_request(format!("{name}: `{text}` is invalid; expected {expected}"))
        };
        text.trim().parse().map(Some).map_err(|_| wrong())
    }

    pub(super) fn need<T: std::str::FromStr>(&self, name: &str) -> Result<T, ApiError> {
        self.parse(name)?.ok_or_else(|| ApiError::bad_request(format!("{name} is required")))
    }

    /// Refuses unknown parameters: a mistyped one must not be ignored.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let Some((name, _)) = self.0.iter().find(|(name, _)| !known.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let known = match known {
            [] => "this path has none".to_owned(),
            known => format!("expected one of {}", known.join(", ")),
        };
        Err(ApiError::bad_request(format!("unknown parameter `{name}`; {known}")))
    }

    /// A network, or an address that stands for itself.
    pub(super) fn network(&self, name: &str) -> Result<IpNet, ApiError> {
        let net = self.parse::<IpNet>(name);
        net.or_else(|_| self.parse::<IpAddr>(name).map(|ip| ip.map(IpNet::from)))?
            .ok_or_else(|| ApiError::bad_request(format!("{name} is required")))
    }

    /// Bytes: a plain number, or one with a unit.
    fn size(&self) -> Result<Option<u64>, ApiError> {
        let size = match self.get("size").map(units::bytes) {
            None => None,
            Some(Ok(bytes)) => Some(bytes),
            Some(Err(_)) => self.parse("size")?,
        };
        if size.is_some_and(|size| size > SIZE_LIMIT) {
            return Err(ApiError::bad_request(format!("size: 0 to {SIZE_LIMIT}")));
        }
        Ok(size)
    }

    /// The part of a list that is requested; the first one by default.
    pub(super) fn window(&self, usual: usize) -> Result<Window, ApiError> {
        let limit = self.parse("limit")?.unwrap_or(usual);
        if !(1..=WINDOW_LIMIT).contains(&limit) {
            return Err(ApiError::bad_request(format!("limit: 1 to {WINDOW_LIMIT}")));
        }
        let after = self.parse("after")?;
        Ok(Window { search: self.get("search").map(str::to_owned), after, limit })
    }

    /// The hypothetical message.
    pub(super) fn envelope(&self) -> Result<ExplainedEnvelope, ApiError> {
        self.envelope_of(self.need("ip")?, self.need("rcpt")?)
    }

    /// The same with a client and a recipient that were read elsewhere.
    pub(super) fn envelope_of(
        &self,
        ip: IpAddr,
        rcpt: String,
    ) -> Result<ExplainedEnvelope, ApiError> {
        Ok(ExplainedEnvelope {
            ip,
            helo: self.get("helo").map(str::to_owned),
            from: self.get("from").unwrap_or_default().to_owned(),
            rcpt,
            size: self.size()?,
            tls: match self.get("tls") {
                None | Some("none") => None,
                Some("1.2") => Some(12),
                Some("1.3") => Some(13),
                Some(_) => return Err(ApiError::bad_request("tls: none, 1.2 or 1.3")),
            },
            certificate: self.parse("certificate")?.unwrap_or(false),
            relay: self.parse("relay")?.unwrap_or(false),
        })
    }
}

/// Encodes a text as part of a URL (RFC 3986 section 2.3).
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// What a parameter holds, with an example.
fn expected(name: &str) -> &'static str {
    match name {
        "ip" | "address" => "an address such as 192.0.2.7 or 2001:db8::7",
        "prefix" | "net" => "an address or network such as 192.0.2.0/24",
        "size" => "bytes such as 4096, or with a unit such as 5MB",
        "certificate" | "relay" | "force" => "true or false",
        _ => "a whole number",
    }
}

/// A network, or an address that stands for itself.
pub(super) struct Network(pub(super) IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let wrong = |_| {
            D::Error::custom(format!("`{text}` is not an address or network such as 192.0.2.0/24"))
        };
        net.map(Self).map_err(wrong)
    }
}
