//! Fuzz target: see `mxdp_fuzz::fuzz::spf_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_fuzz::fuzz::spf_record(data));
