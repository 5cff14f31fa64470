//! Fuzz target: see `mxdp_fuzz::fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_fuzz::fuzz::frames(data));
