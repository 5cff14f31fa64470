//! `target/ebpf-toolchain`: a rustc for the BPF target and a linker of its LLVM.
//!
//! What goes out is the file `env`, one `KEY=value` a line, paths absolute:
//! `RUSTC`, `LINKER` and, where there is one, `CLIPPY` are wrapper scripts;
//! `BUILD_STD=1` says that `core` must be built from the compiler's sources. The
//! other keys are this module's own, to tell whether the toolchain still stands.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ebpf::{self, Description};
use crate::sh::{self, Workspace, say};

use super::compiler::{self, Compiler};
use super::scratch::Scratch;
use super::{libraries, linker};

/// Changes whenever a toolchain set up by an older xtask will not do any more.
const RECIPE: &str = "1";

/// Whether the toolchain at `place` is whole, made by this recipe, and what it
/// refers to outside itself is still there.
pub(super) fn is_ready(place: &Path) -> bool {
    let Ok(description) = Description::read(&place.join("env")) else {
        return false;
    };
    let is = |key: &str, value: &str| description.get(key) == Some(value);
    let exists = |key: &str| description.get(key).is_some_and(|path| Path::new(path).exists());
    is("RECIPE", RECIPE)
        && is("LINKER_VERSION", linker::VERSION)
        // A moved checkout still names its old place.
        && description.get("RUSTC").is_some_and(|path| Path::new(path).starts_with(place))
        && ["RUSTC", "LINKER", "DRIVER", "TARGET_LIBRARY"].iter().all(|key| exists(key))
        && (description.get("CLIPPY").is_none() || exists("CLIPPY"))
        && compiler::forced().is_none_or(|source| is("SOURCE", &source))
}

/// Puts a toolchain together in `stage`, which will be renamed to its place.
pub(super) fn assemble(workspace: &Workspace, scratch: &Scratch, stage: &Path) -> Result<()> {
    if sh::program("cc").is_none() {
        bail!(
            "there is no C compiler and linker (cc) here; on Debian: apt-get install gcc libc6-dev"
        );
    }
    let root = stage.join("root");
    let compiler = compiler::obtain(workspace, scratch, stage, &root)?;
    say(format_args!("compiler: {}, LLVM {}", compiler.version, compiler.llvm));
    let llvm = linker::obtain_llvm(scratch, &root, compiler.llvm)?;
    linker::install(workspace, scratch, stage, &llvm)?;
    prune(&root)?;

    let libraries = libraries::folders(&root, &[]);
    write_wrapper(stage, "rustc", &compiler.rustc, &libraries)?;
    write_wrapper(stage, "bpf-linker", &stage.join("linker/bin/bpf-linker"), &libraries)?;
    if let Some(clippy) = &compiler.clippy {
        write_wrapper(stage, "clippy-driver", clippy, &libraries)?;
    }
    check(stage, compiler.build_std)?;
    describe(workspace, stage, &compiler)
}

/// Writes the script that runs `program` with the tree's libraries. Paths within
/// the stage are written relative to the script, since the stage will be renamed.
fn write_wrapper(stage: &Path, name: &str, program: &Path, libraries: &[PathBuf]) -> Result<()> {
    let relative = |path: &Path| match path.strip_prefix(stage) {
        Ok(inside) => format!("\"$here\"/{}", quoted(inside)),
        Err(_) => quoted(path),
    };
    // The script is always called by a path, so no program is needed to find
    // its folder; it runs once for every crate.
    let mut script = "#!/bin/sh\nhere=${0%/*}\n".to_owned();
    if !libraries.is_empty() {
        let path = libraries.iter().map(|folder| relative(folder)).collect::<Vec<_>>().join(":");
        script += &format!("export LD_LIBRARY_PATH={path}\n");
    }
    script += &format!("exec {} \"$@\"\n", relative(program));
    let file = stage.join(name);
    fs::write(&file, script)
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// A word of the shell, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// Removes what only the building of the linker needed: most of the bytes.
fn prune(root: &Path) -> Result<()> {
    for folder in ["usr/share", "usr/include"] {
        sh::remove(&root.join(folder))?;
    }
    let Ok(entries) = fs::read_dir(root.join("usr/lib")) else {
        return Ok(());
    };
    for llvm in
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"))
    {
        for file in fs::read_dir(llvm.path().join("lib")).into_iter().flatten().flatten() {
            // The shared library may live here, the static ones are not used.
            if file.path().extension().is_some_and(|extension| extension == "a") {
                fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}

/// Tries what was put together before anything relies on it.
fn check(stage: &Path, build_std: bool) -> Result<()> {
    say("trying the toolchain on a small program");
    sh::capture(Command::new(stage.join("rustc")).arg("-vV"))
        .context("the fetched compiler does not run")?;
    sh::capture(Command::new(stage.join("bpf-linker")).arg("--version"))
        .context("bpf-linker does not run")?;
    let probe = stage.join("probe");
    fs::create_dir(&probe)?;
    fs::write(probe.join("main.rs"), PROBE)?;
    fs::write(probe.join("Cargo.toml"), PROBE_MANIFEST)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&probe)
        .env("CARGO_TARGET_DIR", probe.join("target"))
        .args(["build", "--quiet"]);
    let (rustc, linker) = (stage.join("rustc"), stage.join("bpf-linker"));
    ebpf::configure(&mut cargo, &rustc, &linker, std::env::consts::ARCH, build_std);
    sh::capture(&mut cargo).context("the fetched compiler and linker do not make a BPF program")?;
    let object = probe.join("target/bpfel-unknown-none/release/probe");
    let head = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    if !is_bpf(&head) {
        bail!("what the toolchain made is not an eBPF object");
    }
    sh::remove(&probe)
}

const PROBE_MANIFEST: &str = "[package]\nname = \"probe\"\nedition = \"2024\"\n\
    [[bin]]\nname = \"probe\"\npath = \"main.rs\"\n[workspace]\n";

/// An XDP program that passes everything.
const PROBE: &str = r#"#![no_std]
#![no_main]
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn probe(_: *mut u8) -> u32 { 2 }
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
"#;

/// ELF, little-endian, `e_machine` `EM_BPF` (247).
fn is_bpf(object: &[u8]) -> bool {
    object.starts_with(b"\x7fELF") && object.get(18..20) == Some(&[247, 0])
}

fn describe(workspace: &Workspace, stage: &Path, compiler: &Compiler) -> Result<()> {
    let place = workspace.target().join("ebpf-toolchain");
    let home = |path: &Path| match path.strip_prefix(stage) {
        Ok(inside) => place.join(inside),
        Err(_) => path.to_owned(),
    };
    let mut lines = vec![
        ("RUSTC", place.join("rustc").into_os_string()),
        ("LINKER", place.join("bpf-linker").into_os_string()),
        ("BUILD_STD", if compiler.build_std { "1" } else { "0" }.into()),
    ];
    if compiler.clippy.is_some() {
        lines.push(("CLIPPY", place.join("clippy-driver").into_os_string()));
    }
    lines.extend([
        ("RECIPE", OsString::from(RECIPE)),
        ("LINKER_VERSION", linker::VERSION.into()),
        ("SOURCE", compiler.source.into()),
        ("VERSION", compiler.version.clone().into()),
        // Its name has a hash, so that an update of the host's rustc is noticed.
        ("DRIVER", home(&compiler.driver).into_os_string()),
        ("TARGET_LIBRARY", home(&compiler.target_library).into_os_string()),
    ]);
    let mut text = String::new();
    for (key, value) in lines {
        let value = value.into_string().ok().context("the checkout's path is not UTF-8")?;
        text += &format!("{key}={value}\n");
    }
    fs::write(stage.join("env"), text).context("cannot write the toolchain's description")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapper_still_runs_after_its_folder_is_renamed() {
        let folder =
            std::env::temp_dir().join(format!("xtask it's a wrapper {}", std::process::id()));
        let (stage, place) = (folder.join("stage"), folder.join("place"));
        sh::remove(&folder).unwrap();
        fs::create_dir_all(&stage).unwrap();
        let program = stage.join("program");
        fs::write(&program, "#!/bin/sh\necho \"$LD_LIBRARY_PATH\" \"$@\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        write_wrapper(&stage, "wrapper", &program, &[stage.join("root/usr/lib")]).unwrap();
        fs::rename(&stage, &place).unwrap();
        let answer = sh::capture(Command::new(place.join("wrapper")).args(["a b", "c"])).unwrap();
        assert_eq!(answer, format!("{} a b c\n", place.join("root/usr/lib").display()));
        sh::remove(&folder).unwrap();
    }

    #[test]
    fn only_bpf_objects_are_bpf_objects() {
        let mut head = [0; 64];
        head[..4].copy_from_slice(b"\x7fELF");
        head[18] = 247;
        assert!(is_bpf(&head));
        head[18] = 62;
        assert!(!is_bpf(&head));
        assert!(!is_bpf(b""));
    }

    #[test]
    fn an_absent_or_foreign_toolchain_is_not_ready() {
        assert!(!is_ready(Path::new("/nonexistent")));
    }
}
