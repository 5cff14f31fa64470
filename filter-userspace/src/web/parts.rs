//! The parts of a query string or a form, as the API and the pages read them.

use super::error::ApiError;
use crate::control::protocol::{ExplainedEnvelope, WINDOW_LIMIT, Window};

/// The longest value of a part of a query, in characters.
pub(super) const VALUE_LIMIT: usize = 500;

/// The largest size that a message may be said to have: JSON's numbers are exact up to it.
pub(super) const SIZE_LIMIT: u64 = (1 << 53) - 1;

/// The parts of a query string.
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
        Ok(Self(parsed.0))
    }

    pub(super) fn into_inner(self) -> Vec<(String, String)> {
        self.0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }

    /// The value of a part; empty is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || ApiError::bad_request(format!("{name}: `{text}` is not understood"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    pub(super) fn need<T: std::str::FromStr>(&self, name: &str) -> Result<T, ApiError> {
        self.parse(name)?.ok_or_else(|| ApiError::bad_request(format!("{name} is needed")))
    }

    /// A mistyped part must not be passed over.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::bad_request(format!(
                "there is no `{name}` here; there are {}",
                known.join(", ")
            ))),
        }
    }

    fn size(&self) -> Result<Option<u64>, ApiError> {
        let size = self.parse("size")?;
        if size.is_some_and(|size| size > SIZE_LIMIT) {
            return Err(ApiError::bad_request(format!("size: 0 to {SIZE_LIMIT}")));
        }
        Ok(size)
    }

    /// Which part of a list is wanted: the beginning where nothing is said.
    pub(super) fn window(&self, usual: usize) -> Result<Window, ApiError> {
        let limit = self.parse("limit")?.unwrap_or(usual);
        if !(1..=WINDOW_LIMIT).contains(&limit) {
            return Err(ApiError::bad_request(format!("limit: 1 to {WINDOW_LIMIT}")));
        }
        let after = self.parse("after")?;
        Ok(Window { search: self.get("search").map(str::to_owned), after, limit })
    }

    /// The message that nobody sends.
    pub(super) fn envelope(&self) -> Result<ExplainedEnvelope, ApiError> {
        Ok(ExplainedEnvelope {
            ip: self.need("ip")?,
            helo: self.get("helo").map(str::to_owned),
            from: self.get("from").unwrap_or_default().to_owned(),
            rcpt: self.need("rcpt")?,
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
