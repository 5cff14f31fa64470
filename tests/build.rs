//! Hands the eBPF programs of the benchmarks, which the build script of
//! `filter-userspace` builds, to them.

use std::env;

fn main() {
    match env::var("DEP_MXDP_EBPF_BENCH") {
        Ok(object) => println!("cargo::rustc-env=MXDP_BENCH_OBJECT={object}"),
        Err(error) => println!("cargo::error=DEP_MXDP_EBPF_BENCH: {error}"),
    }
    println!("cargo::rerun-if-changed=build.rs");
}
