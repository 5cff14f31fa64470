//! HTTP as a script speaks it, from inside a namespace.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, http};

use crate::netns::Namespace;

/// A client of one site.
pub struct Http<'a> {
    namespace: &'a Namespace,
    agent: Agent,
    base: String,
    headers: Vec<(String, String)>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header field; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is not valid.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl<'a> Http<'a> {
    /// A client of `base`, such as `http://127.0.0.1:8025`; with TLS it believes `ca`.
    #[must_use]
    pub fn new(namespace: &'a Namespace, base: &str, ca: Option<&Path>) -> Self {
        let roots = ca.map_or(RootCerts::WebPki, |path| {
            let pem = std::fs::read(path).expect("the authority");
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            RootCerts::new_with_certs(&certificates.collect::<Vec<_>>())
        });
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent();
        Self { namespace, agent, base: base.to_owned(), headers: Vec::new() }
    }

    /// The same client with one more header field in every request.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name.to_owned(), value.to_owned()));
        let (agent, base) = (self.agent.clone(), self.base.clone());
        Self { namespace: self.namespace, agent, base, headers }
    }

    /// Asks, with a body where one is given.
    ///
    /// # Errors
    ///
    /// When there is no HTTP response.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<Answer, Box<ureq::Error>> {
        let mut request =
            http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(body.unwrap_or_default().to_owned());
        let request = request.expect("a request");
        self.namespace.run(|| {
            let mut response = self.agent.run(request)?;
            let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
            Ok(Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        })
    }

    /// Fetches a path.
    ///
    /// # Panics
    ///
    /// When there is no response.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Sends JSON.
    ///
    /// # Panics
    ///
    /// When there is no response.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let typed = self.with("content-type", "application/json");
        let answer = typed.ask("POST", path, Some(&body.to_string()));
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
