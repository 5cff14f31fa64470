//! The memory limit and usage of this process's control groups (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

/// A limit of at least this means no limit: version 1 has no word for that.
const NONE: u64 = 1 << 60;

/// The usage and the limit of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The bytes in use, without file pages that the kernel can drop.
    pub used: u64,
    /// The limit, in bytes.
    pub limit: u64,
}

/// The files of one version of control groups.
struct Version {
    roots: &'static [&'static str],
    limit: &'static str,
    used: &'static str,
    /// The lines of memory.stat that count file pages.
    files: [&'static str; 2],
}

const ONE: Version = Version {
    roots: &["/sys/fs/cgroup/memory"],
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_active_file", "total_inactive_file"],
};

const TWO: Version = Version {
    roots: &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
    limit: "memory.max",
    used: "memory.current",
    files: ["active_file", "inactive_file"],
};

/// The one of this process's groups that is nearest to its limit; none if none has a limit.
#[must_use]
pub fn usage() -> Option<Usage> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let usages = groups.lines().filter_map(group).flat_map(|(version, path)| {
        let above = Path::new(path).ancestors().map(PathBuf::from).collect::<Vec<_>>();
        let folders = version.roots.iter().flat_map(move |root| {
            let inside = |path: &PathBuf| {
                Path::new(root).join(path.strip_prefix("/").unwrap_or_else(|_| path))
            };
            above.iter().map(inside).collect::<Vec<_>>()
        });
        folders.filter_map(move |folder| usage_of(version, &folder))
    });
    usages.max_by_key(|usage| u128::from(usage.used) * 1000 / u128::from(usage.limit.max(1)))
}

/// The version and the path in a line of /proc/PID/cgroup that concerns memory.
fn group(line: &str) -> Option<(&'static Version, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    match controllers {
        "" => Some((&TWO, path)),
        _ => controllers.split(',').any(|name| name == "memory").then_some((&ONE, path)),
    }
}

fn usage_of(version: &Version, folder: &Path) -> Option<Usage> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    // "max" is not a number, and means no limit.
    let limit = read(version.limit)?.trim().parse().ok().filter(|limit| *limit < NONE)?;
    let used: u64 = read(version.used)?.trim().parse().ok()?;
    let stat = read("memory.stat")?;
    let files: u64 = version.files.iter().filter_map(|name| value(&stat, name)).sum();
    Some(Usage { used: used.saturating_sub(files), limit })
}

fn value(stat: &str, name: &str) -> Option<u64> {
    let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_versions_are_read() {
        let path = |line| group(line).map(|(version, path)| (version.limit, path));
        assert_eq!(path("0::/system.slice/mxdp.service").unwrap().0, "memory.max");
        assert_eq!(path("4:memory:/a:b"), Some(("memory.limit_in_bytes", "/a:b")));
        assert_eq!(path("4:cpu,memory:/"), Some(("memory.limit_in_bytes", "/")));
        assert_eq!(path("4:cpu:/"), None);
        assert_eq!(path("1:name=systemd:/"), None);
        assert_eq!(value("anon 7\nactive_file 12\n", "active_file"), Some(12));
    }

    #[test]
    fn a_group_says_what_it_takes_without_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.current", "1000\n");
        write("memory.stat", "anon 600\nactive_file 100\ninactive_file 200\n");
        assert_eq!(usage_of(&TWO, folder.path()), None);
        write("memory.max", "4000\n");
        assert_eq!(usage_of(&TWO, folder.path()), Some(Usage { used: 700, limit: 4000 }));
    }
}
