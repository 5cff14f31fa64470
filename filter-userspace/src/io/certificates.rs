//! Certificates and keys: loaded, and checked for problems that an operator would want to know
//! before the clients notice.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use super::pem::{self, Block};
use crate::config::smtp::Certificate;

/// The largest file of certificates.
const LARGEST: u64 = 16 * 1024 * 1024;

/// How long before its expiry a certificate raises an alarm, in seconds.
pub const SOON: i64 = 14 * 24 * 3600;

/// The facts of a certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its file.
    pub file: String,
    /// Its place in the configuration.
    pub place: String,
    /// The start of its validity, in seconds of the Unix epoch.
    pub from: i64,
    /// The end of its validity.
    pub until: i64,
}

impl Facts {
    /// The problem with its dates, present or near.
    #[must_use]
    pub fn concern(&self, now: i64) -> Option<String> {
        let Self { file, place, from, until } = self;
        let date = |seconds: i64| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .map_or_else(|_| seconds.to_string(), |time| format!("{} UTC", time.date()))
        };
        if *until <= now {
            return Some(format!("{place}: the certificate {file} expired on {}", date(*until)));
        }
        if *from > now {
            let from = date(*from);
            return Some(format!("{place}: the certificate {file} is not valid before {from}"));
        }
        // The text has the date and not the days left, so that it stays one alarm.
        (*until - now < SOON)
            .then(|| format!("{place}: the certificate {file} expires on {}", date(*until)))
    }
}

/// Loads a certificate with its chain, and its key.
///
/// # Errors
///
/// What is wrong, in a sentence that begins with the file.
pub fn load(certificate: &Certificate) -> Result<CertifiedKey, String> {
    let (chain_name, key_name) = (certificate.chain.display(), certificate.key.display());
    let blocks = read(&certificate.chain, "certificate")?;
    let keys = read(&certificate.key, "private key")?;
    let has_key = |blocks: &[Block]| blocks.iter().any(|block| pem::is_key(&block.label));
    let has_chain = |blocks: &[Block]| blocks.iter().any(is_certificate);
    if !has_chain(&blocks) && !has_key(&keys) && has_key(&blocks) && has_chain(&keys) {
        return Err(format!(
            "{chain_name} holds a private key and {key_name} a certificate: the two are swapped"
        ));
    }
    let chain: Vec<_> = blocks.into_iter().filter(is_certificate).map(der).collect();
    if chain.is_empty() {
        return Err(format!("{chain_name}: there is no certificate in PEM"));
    }
    let key = keys.into_iter().find(|block| pem::is_key(&block.label));
    let key = key.ok_or_else(|| format!("{key_name}: there is no private key in PEM"))?;
    let key = private_key(key).map_err(|error| format!("{key_name}: {error}"))?;
    let key = ring::sign::any_supported_type(&key).map_err(|error| {
        format!("{key_name}: the private key is of a kind that cannot be used: {error}")
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(mismatch(certified, &chain_name.to_string(), &key_name.to_string()))
        }
        Err(error) => Err(format!("{chain_name}: the first certificate cannot be used: {error}")),
    }
}

/// The error of a key that does not belong to the first certificate.
fn mismatch(certified: CertifiedKey, chain: &str, key: &str) -> String {
    let CertifiedKey { cert, key: signer, .. } = certified;
    let is_of = |one: &CertificateDer<'static>| {
        CertifiedKey::new(vec![one.clone()], signer.clone()).keys_match().is_ok()
    };
    match cert.iter().position(is_of) {
        Some(index) => format!(
            "{key} is the private key of certificate {} in {chain}: the host's own certificate \
             must come first",
            index + 1
        ),
        None => format!("{key} is the private key of another certificate than {chain}"),
    }
}

/// Loads trusted certificates.
///
/// # Errors
///
/// What is wrong with the file, in a sentence that begins with it.
pub fn roots(path: &Path) -> Result<RootCertStore, String> {
    let name = path.display();
    let mut roots = RootCertStore::empty();
    for block in read(path, "certificate")?.into_iter().filter(is_certificate) {
        let line = block.line;
        roots
            .add(der(block))
            .map_err(|error| format!("{name}:{line}: the certificate cannot be used: {error}"))?;
    }
    match roots.is_empty() {
        true => Err(format!("{name}: there is no certificate in PEM")),
        false => Ok(roots),
    }
}

/// The warnings about usable certificates, and when each expires. [`load`] reports unusable ones.
#[must_use]
pub fn look(
    certificates: &[Certificate],
    source: &str,
    hostname: &str,
) -> (Vec<Facts>, Vec<String>) {
    let (mut facts, mut concerns, mut named) = (Vec::new(), Vec::new(), false);
    let mut others = Vec::new();
    for certificate in certificates {
        let place = format!("{source}:{}", certificate.line);
        let Ok(certified) = load(certificate) else { continue };
        let Some(own) = certified.cert.first() else { continue };
        let file = certificate.chain.display().to_string();
        if let Some((from, until)) = validity(own) {
            facts.push(Facts { file: file.clone(), place: place.clone(), from, until });
        }
        match is_for(own, hostname) {
            true => named = true,
            false => others.push(format!(
                "{place}: the certificate {file} is not for {hostname}, the name of this host"
            )),
        }
        let mode = fs::metadata(&certificate.key).map_or(0, |data| data.permissions().mode());
        if mode & 0o027 != 0 {
            concerns.push(format!(
                "{place}: the private key {} has mode {:04o}: others may read or change it; \
                 `chmod 0600` it",
                certificate.key.display(),
                mode & 0o7777
            ));
        }
    }
    // Certificates for other names may be configured beside the host's own.
    if !named {
        concerns.extend(others);
    }
    (facts, concerns)
}

/// The problems with the dates of certificates that [`look`] does not check, one line each: those
/// behind a host's own, without which clients cannot verify that one.
#[must_use]
pub fn chain_concerns(certificates: &[Certificate], source: &str, now: i64) -> Vec<String> {
    let concerns = certificates.iter().flat_map(|certificate| {
        let place = format!("{source}:{}", certificate.line);
        let chain = read(&certificate.chain, "certificate").unwrap_or_default();
        let chain: Vec<_> = chain.into_iter().filter(is_certificate).skip(1).collect();
        date_concerns(&chain, &certificate.chain, &place, now)
    });
    concerns.collect()
}

/// The problems with the dates of trusted certificates, one line each that begins with `place`.
/// [`roots`] reports unusable ones.
#[must_use]
pub fn trusted_concerns(path: &Path, place: &str, now: i64) -> Vec<String> {
    let trusted = read(path, "certificate").unwrap_or_default();
    let trusted: Vec<_> = trusted.into_iter().filter(is_certificate).collect();
    date_concerns(&trusted, path, place, now)
}

/// How many certificates of a file are named. Some of a system's hundreds are always old.
const NAMED: usize = 5;

fn date_concerns(certificates: &[Block], path: &Path, place: &str, now: i64) -> Vec<String> {
    let concerns = certificates.iter().filter_map(|block| {
        let (from, until) = validity(&block.bytes)?;
        let file = format!("that begins at {}:{}", path.display(), block.line);
        Facts { file, place: place.to_owned(), from, until }.concern(now)
    });
    concerns.take(NAMED).collect()
}

/// Whether a certificate is for a name.
#[must_use]
pub fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let parsed = ParsedCertificate::try_from(certificate);
    match (parsed, ServerName::try_from(name)) {
        (Ok(parsed), Ok(name)) => verify_server_name(&parsed, &name).is_ok(),
        _ => false,
    }
}

fn is_certificate(block: &Block) -> bool {
    ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"].contains(&block.label.as_str())
}

fn der(block: Block) -> CertificateDer<'static> {
    CertificateDer::from(block.bytes)
}

fn private_key(block: Block) -> Result<PrivateKeyDer<'static>, String> {
    let line = block.line;
    match block.label.as_str() {
        "PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs8(block.bytes.into())),
        "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(block.bytes.into())),
        "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(block.bytes.into())),
        other => Err(format!("line {line}: a key of the kind `{other}` cannot be used")),
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<Block>, String> {
    let name = path.display();
    let size = fs::metadata(path).map(|data| data.len());
    if size.is_ok_and(|size| size > LARGEST) {
        return Err(format!("{name}: is larger than {LARGEST} bytes, which no {what} is"));
    }
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{name}: the {what} does not exist"),
        ErrorKind::PermissionDenied => {
            format!("{name}: the {what} cannot be read: permission denied to the user of mxdp")
        }
        _ => format!("{name}: the {what} cannot be read: {error}"),
    })?;
    pem::blocks(&bytes).map_err(|wrong| format!("{name}{wrong}"))
}

/// The validity of a certificate, in seconds of the Unix epoch (RFC 5280 section 4.1).
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    const SEQUENCE: u8 = 0x30;
    let (tag, certificate, _) = element(certificate)?;
    let (tbs, fields, _) = element(certificate)?;
    if (tag, tbs) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    // The version is present only in versions 2 and 3.
    let (first, _, rest) = element(fields)?;
    let rest = if first == 0xa0 { element(rest)?.2 } else { rest };
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (tag, dates, _) = element(rest)?;
    if tag != SEQUENCE {
        return None;
    }
    let (from_kind, from, dates) = element(dates)?;
    let (until_kind, until, _) = element(dates)?;
    Some((time(from_kind, from)?, time(until_kind, until)?))
}

/// An element of DER: its tag, its content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        _ => {
            let count = usize::from(first & 0x7f);
            let (digits, rest) = rest.split_at_checked(count).filter(|_| count <= 4)?;
            let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Reads `UTCTime` or `GeneralizedTime` (RFC 5280 section 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, rest) = match (tag, digits.len()) {
        (0x17, 12) => {
            let year: i32 = digits.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
        }
        (0x18, 14) => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    let part = |index: usize| rest.get(2 * index..2 * index + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(1)?).ok()?;
    let time = Time::from_hms(part(2)?, part(3)?, part(4)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str, mode: u32) -> std::path::PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn issue(name: &str, years: (i32, i32)) -> (String, String) {
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn each_fault_has_a_sentence_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (chain, key) = issue("mx.example.org", (2020, 2400));
        let (other_chain, other_key) = issue("other.example", (2020, 2021));
        let file = |name: &str, text: &str| write(folder, name, text, 0o600);
        let wrong = |chain: &str, key: &str| {
            let certificate = Certificate { chain: file("c", chain), key: file("k", key), line: 1 };
            load(&certificate).map(|_| ()).unwrap_err().replace(&folder.display().to_string(), "")
        };
        assert_eq!(
            wrong(&key, &chain),
            "/c holds a private key and /k a certificate: the two are swapped"
        );
        assert_eq!(
            wrong(&chain, &other_key),
            "/k is the private key of another certificate than /c"
        );
        assert_eq!(
            wrong(&format!("{other_chain}{chain}"), &key),
            "/k is the private key of certificate 2 in /c: the host's own certificate must come first"
        );
        assert_eq!(wrong("x", &key), "/c: there is no certificate in PEM");
        assert_eq!(wrong(&chain, "x"), "/k: there is no private key in PEM");
        let cut = &chain[..chain.len() - 20];
        assert!(wrong(cut, &key).starts_with("/c:1: the CERTIFICATE that begins here has no end"));
        let gone = Certificate { chain: folder.join("gone"), key: folder.join("k"), line: 1 };
        assert!(load(&gone).unwrap_err().ends_with("/gone: the certificate does not exist"));
        // Joined lines lose nothing.
        let joined = format!("{}{other_chain}", chain.trim_end());
        let certificate = Certificate { chain: file("c", &joined), key: file("k", &key), line: 1 };
        assert_eq!(load(&certificate).unwrap().cert.len(), 2);
        assert_eq!(roots(&certificate.chain).unwrap().len(), 2);
    }

    #[test]
    fn what_can_be_used_may_be_wrong_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut certificates = Vec::new();
        for (name, years) in [("old.example", (2020, 2021)), ("new.example", (2300, 2400))] {
            let (chain, key) = issue(name, years);
            let chain = write(folder, &format!("{name}.pem"), &chain, 0o644);
            let key = write(folder, &format!("{name}.key"), &key, 0o666);
            certificates.push(Certificate { chain, key, line: 3 });
        }
        let (facts, concerns) = look(&certificates, "mxdp.toml", "mx.example.org");
        assert_eq!((facts[0].from, facts[0].until), (1_577_836_800, 1_609_459_200));
        let concern = |index: usize, now| facts[index].concern(now).unwrap_or_default();
        assert!(concern(0, 1_609_459_200).ends_with("old.example.pem expired on 2021-01-01 UTC"));
        assert!(concern(0, 1_609_459_199).ends_with("expires on 2021-01-01 UTC"));
        assert_eq!(concern(0, 1_609_459_200 - SOON), "");
        assert!(concern(1, 1_700_000_000).ends_with("is not valid before 2300-01-01 UTC"));
        let all = concerns.join("\n");
        assert_eq!(all.matches("has mode 0666: others may read or change it").count(), 2, "{all}");
        assert_eq!(all.matches("is not for mx.example.org").count(), 2, "{all}");
        // One for the host's own name is enough.
        let (_, concerns) = look(&certificates, "mxdp.toml", "new.example");
        assert!(!concerns.join("\n").contains("is not for"), "{concerns:?}");
    }

    #[test]
    fn certificates_beside_the_own_one_end_too() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (own, key) = issue("mx.example.org", (2020, 2400));
        let (old, _) = issue("old.example", (2020, 2021));
        let (new, _) = issue("new.example", (2300, 2400));
        let chain = write(folder, "chain.pem", &format!("{own}{old}{own}{new}"), 0o644);
        let key = write(folder, "key.pem", &key, 0o600);
        let certificate = Certificate { chain: chain.clone(), key, line: 7 };
        let said = chain_concerns(&[certificate], "m.toml", 1_700_000_000);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("m.toml:7: the certificate that begins at "), "{said:?}");
        let lines = own.lines().count() + 1;
        assert!(said[0].ends_with(&format!("chain.pem:{lines} expired on 2021-01-01 UTC")));
        assert!(said[1].ends_with("is not valid before 2300-01-01 UTC"), "{said:?}");
        // The host's own certificate is checked elsewhere, and is a trusted one here.
        let lone = write(folder, "ca.pem", &old, 0o644);
        let said = trusted_concerns(&lone, "m.toml:9: tls.client_ca", 1_700_000_000);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("m.toml:9: tls.client_ca: the certificate that"), "{said:?}");
        assert!(said[0].ends_with("ca.pem:1 expired on 2021-01-01 UTC"), "{said:?}");
        assert!(trusted_concerns(&folder.join("none"), "p", 0).is_empty());
        let all = write(folder, "all.pem", &old.repeat(9), 0o644);
        assert_eq!(trusted_concerns(&all, "p", 1_700_000_000).len(), NAMED);
    }

    #[test]
    fn dates_are_read_whatever_comes() {
        let (chain, _) = issue("mx.example.org", (2049, 2051));
        let der = &pem::blocks(chain.as_bytes()).unwrap()[0].bytes;
        assert_eq!(validity(der), Some((2_493_072_000, 2_556_144_000)));
        for end in 0..der.len().min(200) {
            assert_eq!(validity(&der[..end]), None);
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
