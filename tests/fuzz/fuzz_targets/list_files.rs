//! Fuzz target: see `mxdp_tests::fuzz::list_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_tests::fuzz::list_files(data));
