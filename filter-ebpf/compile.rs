// How the program for the kernel is compiled. Included by the build script that embeds it
// (`filter-userspace/build.rs`) and by the checks (`xtask/src/ebpf.rs`), which both have `Path`
// and `Command` in scope.

/// Makes a cargo command compile for the BPF target of a host's `architecture`, in release
/// mode: the verifier rejects the debug profile's unoptimised code.
pub(crate) fn configure(
    cargo: &mut Command,
    rustc: &Path,
    linker: &Path,
    architecture: &str,
    build_std: bool,
) {
    // What the outer cargo was told is about the host's target.
    for key in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(key);
    }
    let flags = [
        // LLVM 20 and newer compile for the v3 instruction set by default; it is
        // named all the same, since compare-and-exchange needs it (kernel 5.12).
        "-Ctarget-cpu=v3",
        "-Cdebuginfo=2",
        "-Cpanic=abort",
        "-Clink-arg=--btf",
        // Without it, each value that is cleared or copied is a call of a loop that
        // goes byte by byte: a third of the program's time.
        "-Clink-arg=--disable-expand-memcpy-in-order",
        &format!("-Clinker={}", linker.display()),
        &format!("--cfg=bpf_target_arch=\"{architecture}\""),
    ]
    .join("\x1f");
    cargo
        .args(["--release", "--target", "bpfel-unknown-none"])
        .env("RUSTC", rustc)
        // The target is a tier 3 one: build-std and the linker's flags are unstable.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    if build_std {
        cargo.args(["-Z", "build-std=core"]);
    }
}
