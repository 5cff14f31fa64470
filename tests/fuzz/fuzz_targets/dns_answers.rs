//! Fuzz target: see `mxdp_fuzz::fuzz::dns_answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mxdp_fuzz::fuzz::dns_answers(data));
