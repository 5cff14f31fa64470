//! Certificates, keys and passwords that a configuration names: what is wrong with them, and
//! the SMTP side that is put together with them.

use crate::config::Config;
use crate::config::named::NamedFile;
use crate::config::smtp::{Certificate, Smtp};
use crate::io::smtp::{Generation, certificate_errors as certificate_errors_of};
use crate::io::{certificates, clock, files};
use crate::policy::rules::Policy;
use crate::smtp::address::Domain;

/// The largest password file.
pub const PASSWORD: u64 = 4096;

/// Puts a generation of the SMTP side together; `before` is the active one.
///
/// # Errors
///
/// All that is wrong with certificates, a line each.
pub fn generation(
    config: &Config,
    policy: Policy,
    before: Option<&Generation>,
) -> Result<Option<Generation>, Vec<String>> {
    let Some(smtp) = &config.smtp else { return Ok(None) };
    Generation::new(smtp.clone(), &config.dns, policy, &hostname(smtp), before)
        .map(Some)
        .map_err(|errors| errors.into_iter().map(|error| placed(config, error)).collect())
}

/// An error with the line of the key that names the file, where it is of a file of
/// certificates that are trusted.
fn placed(config: &Config, error: String) -> String {
    let source = config.path.display();
    let found = config.smtp.iter().flat_map(|smtp| &smtp.named).find_map(|file| {
        let before = match file.key {
            "tls.client_ca" => format!("{source}: tls.client_ca: "),
            "backend.ca" => format!("backend {}: ca: ", file.of),
            _ => return None,
        };
        let why = error.strip_prefix(&before)?;
        Some(format!("{}: {why}", place(config, file)))
    });
    found.unwrap_or(error)
}

/// Where a file is named, and for whom.
fn place(config: &Config, file: &NamedFile) -> String {
    let of = if file.of.is_empty() { String::new() } else { format!(" of `{}`", file.of) };
    format!("{}:{}: {}{of}", config.path.display(), file.line, file.key)
}

/// What is wrong with the files without which a directory cannot be asked, a line each.
#[must_use]
pub fn directory_errors(config: &Config) -> Vec<String> {
    let named = config.smtp.iter().flat_map(|smtp| &smtp.named);
    let of_directories = named.filter(|file| file.key.starts_with("ldap."));
    let errors = of_directories.filter_map(|file| {
        let wrong = match file.has_certificates {
            true => certificates::roots(&file.path).err(),
            false => files::read(&file.path, PASSWORD).err(),
        };
        wrong.map(|wrong| format!("{}: {wrong}", place(config, file)))
    });
    errors.collect()
}

/// What is wrong with certificates and keys, of the console too, a line each.
#[must_use]
pub fn certificate_errors(config: &Config) -> Vec<String> {
    let (smtp, source) = (config.smtp.as_ref(), config.path.display().to_string());
    let mut errors =
        smtp.map(|smtp| certificate_errors_of(smtp, &hostname(smtp), &source)).unwrap_or_default();
    errors = errors.into_iter().map(|error| placed(config, error)).collect();
    errors.extend(console_certificate(config).err());
    errors
}

/// Loads the certificate of the console, where there is one.
///
/// # Errors
///
/// What is wrong with it, and where it is named.
pub fn console_certificate(config: &Config) -> Result<(), String> {
    let certificate = config.web.as_ref().and_then(|web| web.certificate.as_ref());
    let Some(certificate) = certificate else { return Ok(()) };
    let place = format!("{}:{}: web.chain", config.path.display(), certificate.line);
    certificates::load(certificate).map(|_| ()).map_err(|error| format!("{place}: {error}"))
}

/// What is wrong with certificates that can be used.
#[must_use]
pub fn certificate_warnings(config: &Config) -> Vec<String> {
    let source = config.path.display().to_string();
    let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
    let mut warnings = Vec::new();
    let mut look = |certificates: &[Certificate], hostname: &str| {
        let (facts, concerns) = certificates::look(certificates, &source, hostname);
        warnings.extend(facts.iter().filter_map(|one| one.concern(now)));
        concerns
    };
    let mut concerns = config
        .smtp
        .as_ref()
        .map_or_else(Vec::new, |smtp| look(&smtp.tls.certificates, &hostname(smtp)));
    if let Some(certificate) = config.web.as_ref().and_then(|web| web.certificate.as_ref()) {
        // By which name the console is called is nobody's to say here.
        let of_web = look(std::slice::from_ref(certificate), "");
        concerns.extend(of_web.into_iter().filter(|concern| !concern.contains(" is not for ")));
    }
    warnings.extend(concerns);
    let own = config.smtp.iter().flat_map(|smtp| &smtp.tls.certificates);
    let own = own.chain(config.web.iter().filter_map(|web| web.certificate.as_ref()));
    for certificate in own {
        let one = std::slice::from_ref(certificate);
        warnings.extend(certificates::chain_concerns(one, &source, now));
    }
    for file in config.smtp.iter().flat_map(|smtp| &smtp.named) {
        if file.has_certificates {
            let place = place(config, file);
            warnings.extend(certificates::trusted_concerns(&file.path, &place, now));
        }
    }
    warnings
}

/// The name of this host.
#[must_use]
pub fn hostname(smtp: &Smtp) -> String {
    if let Some(name) = &smtp.listen.hostname {
        return name.to_string();
    }
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    // A name that could not stand in a greeting is as none.
    let name = name.filter(|name| Domain::parse(name).is_ok());
    name.unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_the_own_certificates_are_named_with_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("bad.pem", "nothing").unwrap();
        let text = "[filter]\ninterfaces = [\"lo\"]\n[listen]\nsmtp = [\"127.0.0.1:25\"]\n\
            [tls]\nself_signed = true\nclient_ca = \"bad.pem\"\n\
            [[domain]]\nnames = [\"a.example\"]\nbackend = \"m\"\nldap = \"people\"\n\
            [[backend]]\nname = \"m\"\nservers = [\"127.0.0.1:2500\"]\ntls = \"verified\"\n\
            ca = \"bad.pem\"\n\
            [[ldap]]\nname = \"people\"\nurl = \"ldaps://127.0.0.1\"\nbase = \"dc=x\"\n\
            ca = \"none.pem\"\nbind_dn = \"cn=x\"\npassword_file = \"none\"\n";
        let path = folder.path().join("m.toml");
        let config = crate::config::parse(text, &path).unwrap();
        let short = |lines: Vec<String>| {
            let folder = format!("{}/", folder.path().display());
            lines.into_iter().map(|line| line.replace(&folder, "")).collect::<Vec<_>>()
        };
        let none = "there is no certificate in PEM";
        assert_eq!(
            short(certificate_errors(&config)),
            [
                format!("m.toml:7: tls.client_ca: bad.pem: {none}"),
                format!("m.toml:16: backend.ca of `m`: bad.pem: {none}"),
            ]
        );
        let errors = short(directory_errors(&config));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(
            errors[0],
            "m.toml:21: ldap.ca of `people`: none.pem: the certificate does not exist"
        );
        assert!(errors[1].starts_with("m.toml:23: ldap.password_file of `people`: none: cannot"));
        write("none", "secret\n").unwrap();
        assert_eq!(directory_errors(&config).len(), 1);
    }
}
