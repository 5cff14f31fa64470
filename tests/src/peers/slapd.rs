//! A real directory: OpenLDAP's slapd with a person for each address.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;

use tempfile::TempDir;

use super::{Process, environment, find};
use crate::daemon::wait_for;
use crate::netns::Namespace;

/// A running slapd, ended when dropped.
pub struct Slapd {
    _folder: TempDir,
    _process: Process,
}

impl Slapd {
    /// Starts one on 127.0.0.1 of a namespace, with people below
    /// dc=example,dc=org that have these addresses.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, addresses: &[&str]) -> Self {
        let folder = TempDir::with_prefix("mxdp-slapd-").expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let slapd = find("slapd");
        let root = slapd.ancestors().find(|root| root.join("etc/ldap/schema").exists());
        let root = root.expect("the schemas of slapd").display();
        let schemas = ["core", "cosine", "inetorgperson"]
            .map(|name| format!("include {root}/etc/ldap/schema/{name}.schema\n"));
        let text = format!(
            "{}modulepath {root}/usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\n\
             suffix \"dc=example,dc=org\"\ndirectory {}\n",
            schemas.concat(),
            path("db").display()
        );
        fs::create_dir(path("db")).expect("a folder");
        fs::write(path("slapd.conf"), text).expect("written");
        let mut people = "dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\n".to_owned();
        for (number, address) in addresses.iter().enumerate() {
            _ = writeln!(
                people,
                "dn: cn=p{number},dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: p{number}\n\
                 sn: p{number}\nmail: {address}\n"
            );
        }
        fs::write(path("people.ldif"), people).expect("written");
        let added = super::command("slapadd")
            .args(["-q".as_ref(), "-f".as_ref(), path("slapd.conf").as_os_str()])
            .args(["-l".as_ref(), path("people.ldif").as_os_str()])
            .output()
            .expect("slapadd runs");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let child = namespace
            .command(slapd)
            .args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}"), "-f"])
            .arg(path("slapd.conf"))
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        let started = Self { _process: Process(child), _folder: folder };
        wait_for("slapd", || {
            namespace.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        });
        started
    }
}
