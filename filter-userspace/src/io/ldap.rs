//! Addresses from a directory by LDAP (RFC 4511).

mod guard;
mod wire;

use std::fmt;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ldap3::controls::{Control, ControlType, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, StdStream};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::io::{certificates, chains};

/// How much of a server's message is shown, in characters.
const SHOWN: usize = 300;

/// The memory overhead of a value: a directory may send millions of two-letter values.
const VALUE: u64 = 64;

/// A search for all addresses of a directory.
#[derive(Clone)]
pub struct Query {
    /// `ldap://host:port`, `ldaps://host:port`, or `ldapi://` with the path of a
    /// socket, percent-encoded. The host must be in the certificate.
    pub url: String,
    /// The DN to bind as; without it, the bind is anonymous.
    pub bind_dn: Option<String>,
    /// The password of the simple bind; in clear text without TLS.
    pub password: Option<String>,
    /// The base of the search, which covers the whole subtree.
    pub base: String,
    /// Which entries are searched (RFC 4515).
    pub filter: String,
    /// The attributes that hold addresses.
    pub attributes: Vec<String>,
    /// The number of entries per page (RFC 2696).
    pub page_size: u16,
    /// The time limit for the whole query.
    pub timeout: Duration,
    /// Whether TLS is started on an `ldap://` connection (RFC 4511 section 4.14); if that fails,
    /// there is no bind.
    pub starttls: bool,
    /// The certificates that are trusted, in PEM, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The maximum number of addresses.
    pub max_entries: usize,
    /// The maximum number of bytes of values, including overhead.
    pub max_bytes: u64,
}

impl fmt::Debug for Query {
    /// Leaves out the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("url", &self.url)
            .field("bind_dn", &self.bind_dn)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("base", &self.base)
            .field("filter", &self.filter)
            .field("attributes", &self.attributes)
            .field("page_size", &self.page_size)
            .field("timeout", &self.timeout)
            .field("starttls", &self.starttls)
            .field("ca", &self.ca)
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .finish()
    }
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The name of its entry.
    pub dn: Arc<str>,
    /// The value as the server sent it. Its reader checks whether it is text: replacing octets of
    /// another encoding here could turn it into an address.
    pub bytes: Vec<u8>,
}

/// The values of the attributes of all entries that are found, unchanged.
///
/// References to other servers within the result (Active Directory sends them for
/// its own partitions) are not followed.
///
/// # Errors
///
/// Names the server and the step, and never the password: the query is invalid; the server cannot
/// be reached, trusted, or logged into in time; it ends the search with anything but success, or
/// reports that it left out values; there are too many addresses, or none. A part of a directory is
/// never taken for all of it.
pub async fn addresses(query: &Query) -> Result<Vec<Value>> {
    check(query)?;
    // A thread of its own, since large answers take a while to be parsed, and the library panics on
    // some malformed ones. It ends by the query's time limit, whether anybody waits or not.
    let (told, hears) = oneshot::channel();
    let asked = query.clone();
    let work = move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| anyhow!("cannot begin: {error}"));
        _ = told.send(runtime.and_then(|runtime| runtime.block_on(run(asked))));
    };
    let began = thread::Builder::new().name("directory".to_owned()).spawn(work);
    let result = match began {
        Ok(_) => hears.await.unwrap_or_else(|_| Err(anyhow!("the server's answer is malformed"))),
        Err(error) => Err(anyhow!("cannot begin: {error}")),
    };
    result.with_context(|| format!("LDAP server {}", query.url))
}

/// Refuses URLs that the library would misinterpret or panic on.
fn check(query: &Query) -> Result<()> {
    let schemes = ["ldap://", "ldaps://", "ldapi://"];
    let host = schemes.iter().find_map(|scheme| query.url.strip_prefix(scheme));
    ensure!(
        host.is_some_and(|host| !host.is_empty() && !host.contains('@')),
        "an LDAP server is written ldap://host, ldaps://host or ldapi://path, without a user"
    );
    let url = &query.url;
    ensure!(
        !query.starttls || url.starts_with("ldap://"),
        "LDAP server {url}: STARTTLS is for ldap:// only"
    );
    ensure!(!query.attributes.is_empty(), "LDAP server {url}: no attribute is asked for");
    ensure!(query.page_size > 0, "LDAP server {url}: the page size is 0");
    // RFC 4513 section 5.1.2: a name without a password is an unauthenticated bind.
    let has_password = query.password.as_ref().is_some_and(|password| !password.is_empty());
    ensure!(
        query.bind_dn.is_some() == has_password,
        "LDAP server {url}: a bind DN and a password need each other"
    );
    Ok(())
}

async fn run(query: Query) -> Result<Vec<Value>> {
    let deadline = Instant::now() + query.timeout;
    let with_tls = query.starttls || query.url.starts_with("ldaps://");
    let tls = with_tls.then(|| tls(query.ca.as_deref())).transpose()?;
    let connecting = match (query.starttls, with_tls) {
        (true, _) => "connect and STARTTLS",
        (_, true) => "connect with TLS",
        _ => "connect",
    };
    let connect = wire::connect(&query.url, query.starttls, tls);
    let wire = match timeout_at(deadline, connect).await {
        Ok(connected) => connected.map_err(|error| anyhow!("{connecting}: {error}"))?,
        Err(_) => bail!("{connecting}: not done in time"),
    };
    let (library, moving) = wire::guarded(wire)?;
    tokio::select! {
        biased;
        // The connection's own error is more precise than the library's.
        Err(error) = moving => Err(error),
        found = ask(&query, library, deadline) => found,
    }
}

/// Queries a server through a connected socket.
async fn ask(query: &Query, library: UnixStream, deadline: Instant) -> Result<Vec<Value>> {
    let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(library));
    // The address in the URL no longer matters.
    let connect = LdapConnAsync::with_settings(settings, "ldapi://directory");
    let (connection, mut ldap) = step("connect", deadline, connect).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection.drive());

    if let (Some(name), Some(password)) = (&query.bind_dn, &query.password) {
        let bound = step("bind", deadline, ldap.simple_bind(name, password)).await?;
        step("bind", deadline, async { bound.success() }).await?;
    }
    let found = search(query, &mut ldap, deadline).await?;
    ensure!(!found.is_empty(), "search: no entry has an address");
    // It has answered; an error of the unbind does not matter.
    _ = step("unbind", deadline, ldap.unbind()).await;
    Ok(found)
}

/// Searches page by page.
///
/// The library's own adapter would continue after a failed page with a cookie, and forget the
/// failure.
async fn search(query: &Query, ldap: &mut Ldap, deadline: Instant) -> Result<Vec<Value>> {
    let mut found = Found::default();
    let mut cookie = Vec::new();
    loop {
        let page = PagedResults { size: query.page_size.into(), cookie };
        ldap.with_controls(page);
        let search =
            ldap.streaming_search(&query.base, Scope::Subtree, &query.filter, &query.attributes);
        let mut entries = step("search", deadline, search).await?;
        while let Some(entry) = step("search", deadline, entries.next()).await? {
            if entry.is_ref() || entry.is_intermediate() {
                continue;
            }
            collect(query, SearchEntry::construct(entry), &mut found)?;
        }
        let result = entries.finish().await;
        let result = step("search", deadline, async { result.success() }).await?;
        let next = result.ctrls.iter().find_map(|control| match control {
            Control(Some(ControlType::PagedResults), raw) => Some(raw.parse::<PagedResults>()),
            _ => None,
        });
        match next {
            Some(next) if !next.cookie.is_empty() => cookie = next.cookie,
            // A server without paging has sent everything.
            _ => return Ok(found.values),
        }
    }
}

/// The values found so far: a directory belongs to somebody else, and may send without end.
#[derive(Debug, Default)]
struct Found {
    values: Vec<Value>,
    /// Their size in bytes.
    bytes: u64,
}

/// Adds the values of the requested attributes.
fn collect(query: &Query, entry: SearchEntry, found: &mut Found) -> Result<()> {
    let dn: Arc<str> = shown(&entry.dn).into();
    let texts = entry.attrs.into_iter().map(|(name, values)| {
        (name, values.into_iter().map(String::into_bytes).collect::<Vec<_>>())
    });
    for (name, values) in texts.chain(entry.bin_attrs) {
        let (plain, options) = name.split_once(';').unwrap_or((&name, ""));
        if !query.attributes.iter().any(|wanted| wanted.eq_ignore_ascii_case(plain)) {
            continue;
        }
        // Active Directory sends the first 1500 values: `member;range=0-1499`.
        let is_part = |option: &str| {
            option.to_ascii_lowercase().starts_with("range=") && !option.ends_with("-*")
        };
        if options.split(';').any(is_part) {
            bail!("search: the server left out values of {plain} of {dn}");
        }
        for bytes in values {
            found.bytes = found.bytes.saturating_add(bytes.len() as u64 + VALUE);
            found.values.push(Value { dn: dn.clone(), bytes });
        }
        ensure!(
            found.bytes <= query.max_bytes,
            "search: more than {} bytes of values; raise limits.file_bytes if that is right",
            query.max_bytes
        );
        ensure!(
            found.values.len() <= query.max_entries,
            "search: more than {} addresses; raise the limit if that is right",
            query.max_entries
        );
    }
    Ok(())
}

/// The trusted certificates: the file's, or the system's.
fn tls(ca: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            roots = certificates::roots(path).map_err(|error| anyhow!("certificates {error}"))?;
        }
        None => {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            ensure!(!roots.is_empty(), "the system has no trusted certificates");
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")?;
    let verifier = chains::bounded(roots).map_err(|error| anyhow!("certificates {error}"))?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Runs a step until the deadline. The library's errors become text here: they contain the request,
/// with the password.
async fn step<T>(
    name: &str,
    deadline: Instant,
    work: impl Future<Output = ldap3::result::Result<T>>,
) -> Result<T> {
    match timeout_at(deadline, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(anyhow!("{name}: {}", shown(&error.to_string()))),
        Err(_) => Err(anyhow!("{name}: not done in time")),
    }
}

/// A server's text, escaped for a terminal or a log, and short.
fn shown(text: &str) -> String {
    let letters = text.chars().take(SHOWN);
    letters.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn query() -> Query {
        Query {
            url: "ldap://127.0.0.1:1".to_owned(),
            bind_dn: Some("cn=mxdp".to_owned()),
            password: Some("s3cret".to_owned()),
            base: "dc=example".to_owned(),
            filter: "(mail=*)".to_owned(),
            attributes: vec!["mail".to_owned()],
            page_size: 100,
            timeout: Duration::from_secs(5),
            starttls: false,
            ca: None,
            max_entries: 3,
            max_bytes: 1000,
        }
    }

    fn error(change: impl FnOnce(&mut Query)) -> String {
        let mut query = query();
        change(&mut query);
        check(&query).expect_err("refused").to_string()
    }

    #[test]
    fn a_query_that_makes_no_sense_is_refused() {
        assert!(check(&query()).is_ok());
        for url in ["", "ldap:", "ldap://", "http://x", "127.0.0.1", "ldap:x", "ldap://a:b@c"] {
            assert!(error(|query| query.url = url.to_owned()).contains("is written"), "{url}");
        }
        assert!(error(|query| query.password = None).contains("need each other"));
        assert!(error(|query| query.password = Some(String::new())).contains("need each other"));
        assert!(error(|query| query.bind_dn = None).contains("need each other"));
        assert!(error(|query| query.attributes.clear()).contains("no attribute"));
        assert!(error(|query| query.page_size = 0).contains("page size"));
        let ldaps = |query: &mut Query| {
            query.url = "ldaps://x".to_owned();
            query.starttls = true;
        };
        assert!(error(ldaps).contains("STARTTLS"));
    }

    #[test]
    fn the_password_is_not_shown() {
        let text = format!("{:?} {:#?}", query(), query());
        assert!(!text.contains("s3cret") && text.contains("cn=mxdp"), "{text}");
    }

    #[test]
    fn values_are_bounded_and_parts_refused() {
        let entry = |name: &str, values: usize| SearchEntry {
            dn: "uid=x".to_owned(),
            attrs: HashMap::from([(name.to_owned(), vec!["a@b.c".to_owned(); values])]),
            bin_attrs: HashMap::new(),
        };
        let mut found = Found::default();
        for name in ["MAIL", "mail;lang-de", "mail;Range=0-*", "uid"] {
            collect(&query(), entry(name, 1), &mut found).expect("taken");
        }
        assert_eq!((found.values.len(), found.bytes), (3, 15 + 3 * VALUE));
        let many = collect(&query(), entry("mail", 1), &mut found).expect_err("too many");
        assert!(many.to_string().contains("more than 3"));
        let part = collect(&query(), entry("mail;range=0-1499", 1), &mut found).expect_err("part");
        assert!(part.to_string().contains("left out values of mail of uid=x"));
        // Source: values of 32 KB without end took all the memory of the host.
        let long = SearchEntry {
            dn: "uid=x".to_owned(),
            attrs: HashMap::from([("mail".to_owned(), vec!["x".repeat(2000)])]),
            bin_attrs: HashMap::new(),
        };
        let long = collect(&query(), long, &mut Found::default()).expect_err("too long");
        assert!(long.to_string().contains("more than 1000 bytes of values"), "{long}");
    }

    #[test]
    fn values_that_are_not_text_come_as_they_are() {
        let entry = SearchEntry {
            dn: "uid=x".to_owned(),
            attrs: HashMap::new(),
            bin_attrs: HashMap::from([("mail".to_owned(), vec![b"j\xf6rg@a.b".to_vec()])]),
        };
        let mut found = Found::default();
        collect(&query(), entry, &mut found).expect("taken");
        assert_eq!(found.values[0].bytes, b"j\xf6rg@a.b");
    }
}
