//! `target/peers`: real software to test and to measure against, unpacked, not
//! installed.
//!
//! Goes out: the programs under their usual paths, and the file `env` with what
//! to put in front of `PATH` and `LD_LIBRARY_PATH` to run them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Workspace, say};

use super::apt::Apt;
use super::libraries;
use super::scratch::Scratch;

/// A package that tests talk to.
struct Peer {
    package: &'static str,
    /// What tests run of it, relative to the tree.
    programs: &'static [&'static str],
    /// Where it keeps libraries of its own, relative to the tree.
    libraries: &'static [&'static str],
    /// The host's programs of these names do as well.
    host_will_do: bool,
}

const PEERS: &[Peer] = &[
    // Before postfix: both have a sendmail, and postfix's is to stay.
    Peer::with("opensmtpd", &["usr/sbin/smtpd"]),
    Peer {
        package: "postfix",
        programs: &["usr/sbin/postfix", "usr/sbin/smtp-sink", "usr/sbin/smtp-source"],
        libraries: &["usr/lib/postfix"],
        host_will_do: false,
    },
    Peer { package: "iproute2", programs: &["bin/ip"], libraries: &[], host_will_do: true },
    // The machine that the units are started on.
    Peer {
        package: "systemd",
        programs: &["bin/systemctl", "usr/bin/systemd-analyze", "lib/systemd/systemd"],
        libraries: &[],
        host_will_do: true,
    },
    // Its libraries; wanted where its programs are.
    Peer {
        package: "libsystemd-shared",
        programs: &["bin/systemctl"],
        libraries: &["usr/lib/x86_64-linux-gnu/systemd"],
        host_will_do: true,
    },
    Peer::with("swaks", &["usr/bin/swaks"]),
    Peer::with("perl-base", &["usr/bin/perl"]),
    Peer::with("perl-modules-5.36", &[]),
    Peer::with("libperl5.36", &[]),
    Peer::with("libnet-ssleay-perl", &[]),
    Peer::with("msmtp", &["usr/bin/msmtp"]),
    Peer::with("python3.11-minimal", &["usr/bin/python3.11"]),
    Peer::with("libpython3.11-minimal", &[]),
    Peer::with("libpython3.11-stdlib", &[]),
    Peer::with("haproxy", &["usr/sbin/haproxy"]),
    Peer::with("slapd", &["usr/sbin/slapd"]),
    Peer::with("rbldnsd", &["usr/sbin/rbldnsd"]),
    Peer::with("nsd", &["usr/sbin/nsd"]),
    // Other packet filters, to measure against; and what turns a veth's NAPI on for
    // those that are no XDP program.
    Peer::with("nftables", &["usr/sbin/nft"]),
    Peer::with("ipset", &["usr/sbin/ipset"]),
    Peer::with("iptables", &["usr/sbin/xtables-legacy-multi"]),
    Peer::with("xdp-tools", &["usr/sbin/xdp-filter"]),
    Peer::with("libxdp1", &["usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_ip.o"]),
    Peer::with("ethtool", &["sbin/ethtool"]),
    // Another time of day for one program.
    Peer::with("libfaketime", &["usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"]),
    // The test suite of RFC 7208, and two other evaluators to compare with.
    Peer::with("python3-spf", &["usr/lib/python3/dist-packages/spf.py"]),
    Peer::with("python3-dns", &["usr/lib/python3/dist-packages/DNS/__init__.py"]),
    Peer::with("python3-yaml", &["usr/lib/python3/dist-packages/yaml/__init__.py"]),
    // What reads metrics as Prometheus does.
    Peer::with(
        "python3-prometheus-client",
        &["usr/lib/python3/dist-packages/prometheus_client/parser.py"],
    ),
    Peer::with("python3-decorator", &["usr/lib/python3/dist-packages/decorator.py"]),
    Peer::with("libmail-spf-perl", &["usr/share/perl5/Mail/SPF.pm"]),
    Peer::with("libnet-dns-perl", &["usr/share/perl5/Net/DNS.pm"]),
    Peer::with("libnetaddr-ip-perl", &["usr/lib/x86_64-linux-gnu/perl5/5.36/NetAddr/IP.pm"]),
    Peer::with("libnet-ip-perl", &["usr/share/perl5/Net/IP.pm"]),
    Peer::with("liberror-perl", &["usr/share/perl5/Error.pm"]),
    Peer::with("liburi-perl", &["usr/share/perl5/URI.pm"]),
    // A real browser for the page, its driver, and letters for it to show.
    Peer {
        package: "chromium",
        programs: &["usr/lib/chromium/chromium"],
        libraries: &["usr/lib/x86_64-linux-gnu/pulseaudio"],
        host_will_do: false,
    },
    Peer::with("chromium-common", &["usr/lib/chromium/chrome_100_percent.pak"]),
    Peer::with("chromium-driver", &["usr/bin/chromedriver"]),
    Peer::with("fontconfig-config", &["etc/fonts/fonts.conf"]),
    Peer::with("fonts-dejavu-core", &["usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"]),
];

impl Peer {
    /// A package of which the host's own is not good enough.
    const fn with(package: &'static str, programs: &'static [&'static str]) -> Self {
        Self { package, programs, libraries: &[], host_will_do: false }
    }

    fn is_on_host(&self) -> bool {
        self.host_will_do
            && self.programs.iter().all(|path| {
                Path::new(path)
                    .file_name()
                    .is_some_and(|name| sh::program(&name.to_string_lossy()).is_some())
            })
    }
}

/// Whether all peers that the host lacks are there. The whole folder is put into
/// place at once, so its description stands for it.
pub(super) fn is_ready(place: &Path) -> bool {
    fs::read_to_string(place.join("env")).is_ok_and(|text| text == description(place, place))
        && wanted().all(|peer| peer.programs.iter().all(|program| place.join(program).exists()))
}

fn wanted() -> impl Iterator<Item = &'static Peer> {
    PEERS.iter().filter(|peer| !peer.is_on_host())
}

/// Puts the peers together in `stage`, which will be renamed to its place.
pub(super) fn assemble(workspace: &Workspace, scratch: &Scratch, stage: &Path) -> Result<()> {
    let names: Vec<_> = wanted().map(|peer| peer.package).collect();
    let private: Vec<_> = wanted().flat_map(|peer| peer.libraries).copied().collect();
    if !names.is_empty() {
        let mut apt = Apt::new(scratch).context("the test peers are Debian's packages")?;
        apt.unpack(&names, stage)?;
        let programs: Vec<PathBuf> =
            wanted().flat_map(|peer| peer.programs).map(|program| stage.join(program)).collect();
        for program in &programs {
            ensure!(program.exists(), "the package of {} does not have it", program.display());
        }
        libraries::complete(&mut apt, stage, &programs, &private)?;
        say(format_args!("test peers: {}", names.join(", ")));
    }
    let text = description(stage, &workspace.target().join("peers"));
    fs::write(stage.join("env"), text).context("cannot write the peers' description")
}

/// The search paths of the tree at `tree`, as they will be at `place`.
fn description(tree: &Path, place: &Path) -> String {
    let join = |folders: Vec<PathBuf>| {
        let at_place = folders.iter().filter_map(|folder| folder.strip_prefix(tree).ok());
        at_place
            .map(|inside| place.join(inside).display().to_string())
            .collect::<Vec<_>>()
            .join(":")
    };
    let programs = ["usr/sbin", "usr/bin", "sbin", "bin"].map(|folder| tree.join(folder));
    let programs = programs.into_iter().filter(|folder| folder.is_dir()).collect();
    format!("PATH={}\nLD_LIBRARY_PATH={}\n", join(programs), join(library_folders(tree)))
}

/// The folders of libraries of the tree.
pub(super) fn library_folders(tree: &Path) -> Vec<PathBuf> {
    let private: Vec<_> = PEERS.iter().flat_map(|peer| peer.libraries).copied().collect();
    libraries::folders(tree, &private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_tree_is_described_at_its_place() {
        let stage = std::env::temp_dir().join(format!("xtask-peers-{}", std::process::id()));
        sh::remove(&stage).unwrap();
        for folder in ["usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib/postfix", "usr/lib/other"] {
            fs::create_dir_all(stage.join(folder)).unwrap();
        }
        assert_eq!(
            description(&stage, Path::new("/p")),
            "PATH=/p/usr/sbin\nLD_LIBRARY_PATH=/p/usr/lib/x86_64-linux-gnu:/p/usr/lib/postfix\n"
        );
        assert!(!is_ready(&stage));
        sh::remove(&stage).unwrap();
    }
}
