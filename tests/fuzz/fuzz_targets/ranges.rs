//! Fuzz target: see `mxdp_tests::fuzz::ranges`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_tests::fuzz::ranges(data));
