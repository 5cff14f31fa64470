//! The oldest kernel that mxdp runs on.

use anyhow::{Result, bail};
use nix::sys::utsname::uname;

/// The oldest kernel whose verifier is seen to accept the program. The features that the
/// filter uses need 5.18 (XDP on frames in fragments, `bpf_xdp_load_bytes`).
pub const MINIMUM: Version = Version { major: 6, minor: 1 };

/// A kernel's version, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number of a release.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

impl Version {
    /// The version in a release as uname(2) gives it, such as `6.1.0-49-amd64`.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self { major: major.parse().ok()?, minor: rest[..digits].parse().ok()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Reports that the kernel is too old, before the kernel itself reports only "invalid argument".
///
/// # Errors
///
/// When it is.
pub fn require() -> Result<()> {
    match too_old() {
        Some(message) => bail!(message),
        None => Ok(()),
    }
}

/// The message about a kernel that is too old; none where it is not.
#[must_use]
pub fn too_old() -> Option<String> {
    let name = uname().ok()?;
    complaint(&name.release().to_string_lossy())
}

fn complaint(release: &str) -> Option<String> {
    // Where the release cannot be read, loading the program shows whether it works.
    let version = Version::parse(release)?;
    (version < MINIMUM).then(|| {
        format!(
            "this kernel is Linux {release}, and the filter needs Linux {MINIMUM} or newer: boot a \
             newer kernel (Debian 12 and later have one)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        let version = |major, minor| Some(Version { major, minor });
        for (release, expected) in [
            ("6.1.0-49-amd64", version(6, 1)),
            ("6.12.117+deb13-cloud-amd64", version(6, 12)),
            ("5.15.0", version(5, 15)),
            ("6.1", version(6, 1)),
            ("7.0-rc3", version(7, 0)),
            ("6.1rc", version(6, 1)),
            ("10.0.1", version(10, 0)),
            ("6", None),
            ("6.", None),
            ("6.x", None),
            (".1", None),
            ("", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(Version::parse(release), expected, "{release}");
        }
    }

    #[test]
    fn a_kernel_that_is_too_old_is_named_with_what_is_needed() {
        for release in ["5.10.0-32-cloud-amd64", "5.15.0", "6.0.19", "4.19.0-27-amd64", "2.6.78"] {
            let message = complaint(release).expect("too old");
            assert!(message.contains(release) && message.contains("Linux 6.1 or newer"));
        }
        for release in ["6.1.0-49-amd64", "6.1", "6.10.3", "6.18.44", "7.0.0", "10.0.0", "strange"]
        {
            assert_eq!(complaint(release), None, "{release}");
        }
    }
}
