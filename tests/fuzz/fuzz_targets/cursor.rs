//! A pull's cursor, as text and as the document inside.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| colsync_server::fuzzing::cursor(input));
