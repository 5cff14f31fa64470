//! Completes an unpacked tree with the shared libraries that neither it nor the
//! host has.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::Apt;

/// Folders of shared libraries under `root`: the multiarch ones, whatever the
/// machine's triple is, and `extra` relative to `root`.
pub(super) fn folders(root: &Path, extra: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for parent in ["usr/lib", "lib"] {
        let Ok(entries) = fs::read_dir(root.join(parent)) else {
            continue;
        };
        let multiarch = entries.flatten().map(|entry| entry.path());
        found.extend(multiarch.filter(|path| path.to_string_lossy().contains("-linux-gnu")));
    }
    found.sort();
    found.extend(extra.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()));
    found
}

/// `LD_LIBRARY_PATH` for programs of the tree.
pub(super) fn search_path(root: &Path, extra: &[&str]) -> Result<OsString> {
    std::env::join_paths(folders(root, extra)).context("a library folder has a colon in its name")
}

/// Fetches libraries until none of `programs` lacks one.
///
/// # Errors
/// No package is known for a library, or its package does not help.
pub(super) fn complete(
    apt: &mut Apt,
    root: &Path,
    programs: &[PathBuf],
    extra: &[&str],
) -> Result<()> {
    let mut before = BTreeSet::new();
    loop {
        let missing = missing(root, programs, extra)?;
        if missing.is_empty() {
            return Ok(());
        }
        if missing == before {
            bail!("still no {} after fetching their packages", Vec::from_iter(missing).join(", "));
        }
        let owners =
            missing.iter().map(|soname| owner(apt, soname)).collect::<Result<BTreeSet<_>>>()?;
        apt.unpack(&owners.iter().map(String::as_str).collect::<Vec<_>>(), root)?;
        before = missing;
    }
}

fn missing(root: &Path, programs: &[PathBuf], extra: &[&str]) -> Result<BTreeSet<String>> {
    let path = search_path(root, extra)?;
    let mut missing = BTreeSet::new();
    for program in programs {
        let output = Command::new("ldd")
            .arg(program)
            .env("LD_LIBRARY_PATH", &path)
            .env("LC_ALL", "C")
            .output()
            .context("ldd did not start; it is in Debian's libc-bin")?;
        missing.extend(not_found(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned));
    }
    Ok(missing)
}

/// The names before `=> not found` in ldd's answer.
fn not_found(answer: &str) -> impl Iterator<Item = &str> {
    answer.lines().filter_map(|line| line.trim().strip_suffix(" => not found"))
}

fn owner(apt: &mut Apt, soname: &str) -> Result<String> {
    let candidates = candidates(soname);
    let names: Vec<_> = candidates.iter().map(String::as_str).collect();
    let known = apt.known(&names)?;
    let found = names.iter().find(|name| known.contains_key(**name));
    match found {
        Some(name) => Ok((*name).to_owned()),
        None => bail!(
            "{soname} is missing and no package of its usual names is known ({}); \
             install the package that has it",
            names.join(", ")
        ),
    }
}

/// The names that the package of a library may have, likeliest first: Debian
/// derives them from the soname (Debian policy 8.1), with few exceptions.
fn candidates(soname: &str) -> Vec<String> {
    let stem = |name: &str| name.to_lowercase().replace('_', "-");
    let (base, version) = soname.split_once(".so.").unwrap_or((soname.trim_end_matches(".so"), ""));
    let major = version.split('.').next().unwrap_or_default();
    let joint = if base.ends_with(|last: char| last.is_ascii_digit()) && !major.is_empty() {
        "-"
    } else {
        ""
    };
    let by_rule = match base {
        "libz" => format!("zlib{major}g"),
        "libcrypto" => format!("libssl{major}"),
        "libatspi" => format!("libatspi2.0-{major}"),
        "libvorbis" => format!("libvorbis{major}a"),
        "libharfbuzz" => format!("libharfbuzz{major}b"),
        "libjpeg" => format!("libjpeg{major}-turbo"),
        "libgio-2.0" | "libgobject-2.0" | "libgmodule-2.0" => format!("libglib2.0-{major}"),
        "libbrotlicommon" | "libbrotlidec" => format!("libbrotli{major}"),
        "libnssutil3" | "libsmime3" => "libnss3".into(),
        "libplc4" | "libplds4" => "libnspr4".into(),
        _ if base.starts_with("libicu") => format!("libicu{major}"),
        // `libdb-5.3.so` is in libdb5.3.
        _ if version.is_empty() => base.replacen('-', "", 1),
        _ => format!("{}{joint}{major}", stem(base)),
    };
    // `libatk-1.0.so.0` is in libatk1.0-0, but `libpango-1.0.so.0` in libpango-1.0-0.
    let closed = base
        .rsplit_once('-')
        .filter(|(_, number)| number.starts_with(|first: char| first.is_ascii_digit()))
        .map(|(name, number)| format!("{}{number}{joint}{major}", stem(name)));
    // The change to 64-bit time renamed packages; a few have no number at all.
    let mut names = vec![by_rule.clone(), format!("{by_rule}t64")];
    names.extend(closed.iter().flat_map(|name| [name.clone(), format!("{name}t64")]));
    names.push(stem(base));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sonames_lead_to_packages() {
        for (soname, package) in [
            ("libLLVM.so.22.1", "libllvm22"),
            ("libz3.so.4", "libz3-4"),
            ("libzstd.so.1", "libzstd1"),
            ("libedit.so.2", "libedit2"),
            ("libffi.so.8", "libffi8"),
            ("libz.so.1", "zlib1g"),
            ("libstdc++.so.6", "libstdc++6"),
            ("libgcc_s.so.1", "libgcc-s1"),
            ("libicuuc.so.72", "libicu72"),
            ("liblzma.so.5", "liblzma5"),
            ("libtinfo.so.6", "libtinfo6"),
            ("libdb-5.3.so", "libdb5.3"),
            ("libsasl2.so.2", "libsasl2-2"),
            ("libcrypto.so.3", "libssl3"),
            ("libgssapi_krb5.so.2", "libgssapi-krb5-2"),
            ("libxml2.so.2", "libxml2"),
            ("libvorbis.so.0", "libvorbis0a"),
            ("libX11.so.6", "libx11-6"),
            ("libXau.so.6", "libxau6"),
            ("libasound.so.2", "libasound2"),
            ("libatk-1.0.so.0", "libatk1.0-0"),
            ("libatk-bridge-2.0.so.0", "libatk-bridge2.0-0"),
            ("libatspi.so.0", "libatspi2.0-0"),
            ("libavahi-client.so.3", "libavahi-client3"),
            ("libbrotlidec.so.1", "libbrotli1"),
            ("libdbus-1.so.3", "libdbus-1-3"),
            ("libgio-2.0.so.0", "libglib2.0-0"),
            ("libglib-2.0.so.0", "libglib2.0-0"),
            ("libharfbuzz.so.0", "libharfbuzz0b"),
            ("libjpeg.so.62", "libjpeg62-turbo"),
            ("liblcms2.so.2", "liblcms2-2"),
            ("libnspr4.so", "libnspr4"),
            ("libnss3.so", "libnss3"),
            ("libplc4.so", "libnspr4"),
            ("libsmime3.so", "libnss3"),
            ("libp11-kit.so.0", "libp11-kit0"),
            ("libpango-1.0.so.0", "libpango-1.0-0"),
            ("libpcre2-8.so.0", "libpcre2-8-0"),
            ("libpixman-1.so.0", "libpixman-1-0"),
            ("libpng16.so.16", "libpng16-16"),
            ("libxcb-render.so.0", "libxcb-render0"),
            ("libidn2.so.0", "libidn2-0"),
            ("libssl.so.3", "libssl3t64"),
        ] {
            assert!(
                candidates(soname).iter().any(|name| name == package),
                "{soname}: {:?}",
                candidates(soname)
            );
        }
    }

    #[test]
    fn only_what_is_not_found_is_missing() {
        let answer = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibz3.so.4 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n";
        assert_eq!(not_found(answer).collect::<Vec<_>>(), ["libz3.so.4"]);
    }
}
