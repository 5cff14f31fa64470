//! Fuzz target: see `mxdp_fuzz::fuzz::list_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_fuzz::fuzz::list_files(data));
