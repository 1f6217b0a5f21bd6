#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ascribe_fuzz::one_line(ascribe::read::bytes::weights(bytes)));
