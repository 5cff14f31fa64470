//! Debian packages, fetched and unpacked without being installed.
//!
//! The host's own package lists are used as they are; where they lack a package
//! or name one that the mirror no longer has, fresh lists are fetched into the
//! scratch folder, not into the host's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh::{self, megabytes, say};

use super::scratch::Scratch;

/// Where Debian has the keys of its archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package as the lists describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    architecture: String,
    size: u64,
    sha256: String,
    /// The names it depends on, first alternatives only, without versions.
    pub(super) depends: Vec<String>,
}

impl Package {
    /// The name that `apt-get download` gives the file.
    fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

/// The package manager's clients, writing to the scratch folder only.
pub(super) struct Apt {
    folder: PathBuf,
    downloads: PathBuf,
    /// The scratch folder's lists are used instead of the host's.
    private_lists: bool,
    /// Those lists were fetched by this very set-up: there are none newer.
    fresh: bool,
    /// Says where packages come from, instead of the host's own sources.
    sources: Option<PathBuf>,
}

impl Apt {
    /// # Errors
    /// This is not a Debian or a relative of it.
    pub(super) fn new(scratch: &Scratch) -> Result<Self> {
        Self::at(scratch, scratch.folder.join("apt"), None)
    }

    /// The packages of another release of Debian, from the archive that the host has its
    /// own from. Its lists are fetched, and to be removed by [`Apt::forget`].
    ///
    /// # Errors
    /// This is not a Debian, or the archive does not have the release.
    pub(super) fn of_release(scratch: &Scratch, release: &str) -> Result<Self> {
        let mut host = Self::new(scratch)?;
        let archive = match host.archive()? {
            Some(archive) => archive,
            None => {
                host.refresh("the host has no package lists")?;
                host.archive()?.context("no package of this host comes from Debian's archive")?
            }
        };
        let folder = scratch.folder.join(format!("apt-{release}"));
        let sources = folder.join("release.sources");
        let mut apt = Self::at(scratch, folder, Some(sources.clone()))?;
        let text = format!(
            "Types: deb\nURIs: {archive}\nSuites: {release}\nComponents: main\n\
             Signed-By: {KEYRING}\n"
        );
        fs::write(&sources, text).with_context(|| format!("cannot write {}", sources.display()))?;
        apt.refresh(&format!("wanted is a package of Debian's {release}"))?;
        Ok(apt)
    }

    /// Removes the lists.
    pub(super) fn forget(self) -> Result<()> {
        sh::remove(&self.folder)
    }

    /// Where the host has the packages of its own release from, if that is Debian.
    fn archive(&self) -> Result<Option<String>> {
        let format = "$(ORIGIN) $(LABEL) $(REPO_URI)";
        let mut client = self.client("apt-get");
        client.args(["indextargets", "--format", format, "Created-By: Packages"]);
        let answer = sh::capture(&mut client)?;
        Ok(answer.lines().find_map(|line| line.strip_prefix("Debian Debian ")).map(str::to_owned))
    }

    fn at(scratch: &Scratch, folder: PathBuf, sources: Option<PathBuf>) -> Result<Self> {
        for name in ["apt-get", "apt-cache", "dpkg", "sha256sum"] {
            if sh::program(name).is_none() {
                bail!(
                    "there is no {name} here: packages can be fetched on Debian and its relatives only"
                );
            }
        }
        let downloads = scratch.downloads();
        for needed in
            [&folder.join("cache/archives/partial"), &folder.join("lists/partial"), &downloads]
        {
            fs::create_dir_all(needed)
                .with_context(|| format!("cannot make {}", needed.display()))?;
        }
        // Where the host's lists did not do for an earlier set-up, they will not now.
        let private_lists = folder.join("lists/complete").exists();
        Ok(Self { folder, downloads, private_lists, fresh: false, sources })
    }

    /// The candidates of those of `names` that the lists have.
    pub(super) fn known(&self, names: &[&str]) -> Result<BTreeMap<String, Package>> {
        // A name that is not there is an error to apt-cache, but not here.
        let output = self
            .client("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(names)
            .output()
            .context("apt-cache did not start")?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(stanzas(&text).map(|package| (package.name.clone(), package)).collect())
    }

    /// The candidates of all `names`, from fresh lists if need be.
    ///
    /// # Errors
    /// Even fresh lists lack one of them.
    pub(super) fn find(&mut self, names: &[&str]) -> Result<Vec<Package>> {
        loop {
            let known = self.known(names)?;
            let missing: Vec<_> =
                names.iter().filter(|name| !known.contains_key(**name)).copied().collect();
            if missing.is_empty() {
                return Ok(names.iter().filter_map(|name| known.get(*name).cloned()).collect());
            }
            if self.fresh {
                bail!("the package lists have no {}", missing.join(", "));
            }
            self.refresh(&format!("the host's package lists have no {}", missing.join(", ")))?;
        }
    }

    /// Downloads packages by name and unpacks them under `root`.
    pub(super) fn unpack(&mut self, names: &[&str], root: &Path) -> Result<Vec<Package>> {
        let mut packages = self.find(names)?;
        let total = packages.iter().map(|package| package.size).sum();
        say(format_args!("packages to fetch: {}, {}", packages.len(), megabytes(total)));
        if let Err(error) = self.download(&packages) {
            if self.fresh {
                return Err(error);
            }
            self.refresh(&format!("{error:#}"))?;
            packages = self.find(names)?;
            self.download(&packages)?;
        }
        fs::create_dir_all(root)?;
        for package in &packages {
            let file = self.downloads.join(package.file_name());
            sh::capture(Command::new("dpkg").arg("-x").arg(file).arg(root))?;
        }
        Ok(packages)
    }

    fn download(&self, packages: &[Package]) -> Result<()> {
        for (index, package) in packages.iter().enumerate() {
            let Package { name, version, size, .. } = package;
            let step = format!(
                "[{}/{}] {name} {version}, {}",
                index + 1,
                packages.len(),
                megabytes(*size)
            );
            if self.is_downloaded(package) {
                say(format_args!("{step}: here already"));
                continue;
            }
            say(step);
            let wanted = format!("{name}={version}");
            sh::capture(
                self.client("apt-get")
                    .args(["download", "-qq", &wanted])
                    .current_dir(&self.downloads),
            )?;
            if !self.is_downloaded(package) {
                bail!("{wanted} came with another size or checksum than the lists say");
            }
        }
        Ok(())
    }

    /// An interrupted download has the same name as a whole one, so nothing but
    /// the checksum counts.
    fn is_downloaded(&self, package: &Package) -> bool {
        let file = self.downloads.join(package.file_name());
        fs::metadata(&file).is_ok_and(|data| data.len() == package.size)
            && sh::capture(Command::new("sha256sum").arg(&file))
                .is_ok_and(|sum| sum.split_whitespace().next() == Some(package.sha256.as_str()))
    }

    fn refresh(&mut self, reason: &str) -> Result<()> {
        say(format_args!("{reason}; fetching fresh lists into target/setup"));
        self.fresh = true;
        self.private_lists = true;
        sh::run(self.client("apt-get").args(["update", "-q"]))?;
        fs::write(self.folder.join("lists/complete"), "")?;
        Ok(())
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |key: &str, value: &str| {
            command.arg("-o").arg(format!("{key}={value}"));
        };
        option("Dir::Cache", &self.folder.join("cache").to_string_lossy());
        // Some images turn these off; with them a query takes a tenth of the time.
        option("Dir::Cache::pkgcache", "pkgcache.bin");
        option("Dir::Cache::srcpkgcache", "srcpkgcache.bin");
        // apt's own user may not enter the checkout: a home folder often is 0700.
        option("APT::Sandbox::User", "root");
        if let Some(sources) = &self.sources {
            option("Dir::Etc::SourceList", &sources.to_string_lossy());
            option("Dir::Etc::SourceParts", "/dev/null");
            // Package lists alone: neither descriptions nor icons.
            option("Acquire::Languages", "none");
            option("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false");
        }
        if self.private_lists {
            option("Dir::State::Lists", &self.folder.join("lists").to_string_lossy());
        }
        // The answers are parsed.
        command.env("LC_ALL", "C");
        command
    }
}

/// The packages in `apt-cache show`'s answer, blank lines between them
/// (deb822(5)).
fn stanzas(text: &str) -> impl Iterator<Item = Package> {
    text.split("\n\n").map(stanza).filter(|package| !package.name.is_empty())
}

fn stanza(text: &str) -> Package {
    let mut package = Package::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        match key {
            "Package" => package.name = value.to_owned(),
            "Version" => package.version = value.to_owned(),
            "Architecture" => package.architecture = value.to_owned(),
            "SHA256" => package.sha256 = value.to_owned(),
            "Size" => package.size = value.parse().unwrap_or_default(),
            "Depends" => package.depends = value.split(", ").filter_map(first_name).collect(),
            _ => {}
        }
    }
    package
}

/// `debconf (>= 0.5) | debconf-2.0` is `debconf`; `python3:any` is `python3`.
fn first_name(dependency: &str) -> Option<String> {
    dependency.split([' ', ':', '|']).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_packages() {
        let text = "Package: libllvm22\nArchitecture: amd64\nVersion: 1:22.1.8-1\n\
            Depends: libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, python3:any\n\
            Size: 29378692\nSHA256: 8fef\nDescription: Package: not a key\n more: text\n\nPackage: next\n";
        let packages: Vec<_> = stanzas(text).collect();
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].depends, ["libc6", "debconf", "python3"]);
        assert_eq!(packages[0].size, 29_378_692);
        assert_eq!(packages[0].file_name(), "libllvm22_1%3a22.1.8-1_amd64.deb");
    }
}
