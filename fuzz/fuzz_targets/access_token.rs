#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| natterjack_identity::fuzzing::access_token(bytes));
