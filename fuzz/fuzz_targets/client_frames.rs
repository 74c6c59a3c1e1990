#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| natterjack_wire::fuzzing::client_frames(bytes));
