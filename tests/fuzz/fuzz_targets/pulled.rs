//! What a server answers to a client's pull.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    colsync_client::fuzzing::pulled(input);
    colsync_client::fuzzing::line(input);
});
