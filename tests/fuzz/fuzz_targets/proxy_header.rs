//! Fuzz target: see `mxdp_tests::fuzz::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_tests::fuzz::proxy_header(data));
