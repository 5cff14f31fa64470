//! The tree as a Debian package.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::files::{read, source_date, write};
use super::tree::{CONFIGURATION, Tree, compress, files_below};
use crate::sh::{self, Workspace, say};

/// Version of the packaging, beside that of mxdp.
const REVISION: u32 = 1;

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// # Errors
/// The tools are not there.
pub(super) fn require() -> Result<()> {
    for (tool, package) in [("dpkg-deb", "dpkg"), ("strip", "binutils"), ("gzip", "gzip")] {
        ensure!(
            sh::program(tool).is_some(),
            "there is no {tool} here: install {package}; a system without Debian's packages takes \
             `cargo xtask install`"
        );
    }
    Ok(())
}

/// Makes the package and returns its path. `quick` spares the time to compress it.
pub(super) fn build(workspace: &Workspace, tree: &Tree, quick: bool) -> Result<PathBuf> {
    let date = source_date(workspace)?;
    let version = format!("{}-{REVISION}", env!("CARGO_PKG_VERSION"));
    let architecture = sh::capture(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let log = tree.root.join("usr/share/doc/mxdp/changelog.Debian");
    write(&log, changelog(&version, &date)?)?;
    compress(&log)?;

    let control = tree.root.join("DEBIAN");
    let size: u64 = files_below(&tree.root)?
        .iter()
        .map(|file| Ok(fs::metadata(file)?.len().div_ceil(1024)))
        .sum::<Result<_>>()?;
    let libc = libc_version(&fs::read(&tree.binary)?).context("the binary names no glibc")?;
    write(&control.join("control"), fields(&version, architecture, size, libc))?;
    write(&control.join("conffiles"), format!("/{CONFIGURATION}\n"))?;
    for name in SCRIPTS {
        let script = control.join(name);
        write(&script, read(&workspace.root.join("config/debian").join(name))?)?;
        fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    }
    settle_modes(&tree.root)?;

    let folder = workspace.target().join("package");
    let file = folder.join(format!("mxdp_{version}_{architecture}.deb"));
    let compression = if quick { "-Zgzip -z1" } else { "-Zxz" };
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--root-owner-group").args(compression.split(' ')).arg("--build");
    // It bounds every time in the archive by this one.
    sh::capture(dpkg.arg(&tree.root).arg(&file).env("SOURCE_DATE_EPOCH", &date))?;
    say(format_args!("{}: {}", file.display(), sh::megabytes(fs::metadata(&file)?.size())));
    Ok(file)
}

/// The same modes whatever the umask of this process is.
fn settle_modes(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let mode = fs::metadata(&path)?.mode();
        let wanted = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
        fs::set_permissions(&path, Permissions::from_mode(wanted))?;
        if path.is_dir() {
            settle_modes(&path)?;
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(Into::into)
}

fn fields(version: &str, architecture: &str, size: u64, (major, minor): (u32, u32)) -> String {
    format!(
        "Package: mxdp\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: {maintainer}\n\
         Installed-Size: {size}\n\
         Depends: libc6 (>= {major}.{minor}), libgcc-s1, init-system-helpers\n\
         Recommends: ca-certificates\n\
         Suggests: bash-completion\n\
         Section: mail\n\
         Priority: optional\n\
         Homepage: {homepage}\n\
         Description: packet filter and SMTP proxy in front of mail servers\n \
         An XDP program decides on each SYN by lists of approved and blocked addresses\n \
         and countries. An SMTP proxy checks the connections that pass, stage by stage,\n \
         and passes accepted mail directly to the mail server. The mail log has every\n \
         decision, from the first packet to the last reply.\n",
        maintainer = maintainer(),
        homepage = env!("CARGO_PKG_REPOSITORY"),
    )
}

/// Whoever builds the package, as Debian's tools are told.
fn maintainer() -> String {
    let word = |name: &str, otherwise: &str| {
        std::env::var(name).ok().filter(|word| !word.is_empty()).unwrap_or(otherwise.into())
    };
    format!("{} <{}>", word("DEBFULLNAME", "The mxdp authors"), word("DEBEMAIL", "root@localhost"))
}

fn changelog(version: &str, date: &str) -> Result<String> {
    let mut date_of = Command::new("date");
    date_of.env("LC_ALL", "C").args(["-u", "-R", "-d", &format!("@{date}")]);
    let when = sh::capture(&mut date_of)?;
    Ok(format!(
        "mxdp ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {}  {}\n",
        maintainer(),
        when.trim()
    ))
}

/// The newest glibc of which the binary wants a symbol: `GLIBC_2.34` in its table.
fn libc_version(binary: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let versions = binary.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    versions.filter_map(|(at, _)| version_at(&binary[at + MARK.len()..])).max()
}

fn version_at(bytes: &[u8]) -> Option<(u32, u32)> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_counts() {
        let table = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_3";
        assert_eq!(libc_version(table), Some((2, 34)));
        assert_eq!(libc_version(b"static"), None);
    }

    #[test]
    fn the_changelog_is_of_the_given_time() {
        let text = changelog("0.1.0-1", "0").unwrap();
        assert!(text.ends_with("  Thu, 01 Jan 1970 00:00:00 +0000\n"), "{text}");
    }
}
